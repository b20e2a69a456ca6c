"""Disputes that overtake their payment, or name none: kept at once, found later, and asked about when they are not."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from disputes.test_disputes import OPENED
from guilder.channels.model import Dispute, DisputeState, Notice, Outcome, State, Subject
from guilder.disputes import record, sweep
from guilder.merchants.channel_accounts import ChannelAccount
from guilder.payments.model import Attempt
from guilder.payments.record import record_many
from guilder.platform import context, outbox
from guilder.platform.db import Database, Row
from guilder.platform.sql import Query
from payments import scenes

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio
WON = replace(OPENED, state=DisputeState.WON, taken=False)
LATER = Query("later", "UPDATE disputes.stray SET try_at = now(), created_at = created_at - make_interval(secs => $1)")


@dataclass
class Room:
    """A desk whose channel account is known, and what came to be at it."""

    desk: scenes.Desk
    events: list[str] = field(default_factory=list)

    async def tell(self, about: Attempt, *said: Dispute) -> None:
        """The channel's callbacks, which name the payment by the channel's own number."""
        for n, one in enumerate(said):
            paid = scenes.said(about, State.SUCCEEDED)
            notice = Notice(
                f"evt_{n}", Subject.DISPUTE, Outcome(State.SUCCEEDED, channel_ref=paid.channel_ref, dispute=one)
            )
            with context.use(self.desk.by()):
                stored = await record.hear_notice(self.desk.env, self.desk.way.account, notice)
            assert stored.found and stored.case is None

    async def paid(self, about: Attempt) -> None:
        await self.desk.run(record_many, self.desk.heard(about, scenes.said(about, State.SUCCEEDED)))

    async def look(self, *, after_s: int = 0) -> int:
        """What the sweep does, so much later."""
        await self.rows(Query("later", f"{LATER.text} RETURNING 1"), after_s)
        return await sweep.sweep_strays(self.desk.env)

    async def rows(self, query: Query, *values: Any) -> list[Row]:
        return await self.desk.db.transact(lambda tx: tx.rows(query, *values))

    async def strays(self) -> list[Row]:
        return await self.rows(Query("s", "SELECT * FROM disputes.stray"))

    async def disputes(self) -> list[Row]:
        return await self.rows(
            Query("d", "SELECT * FROM disputes.dispute WHERE channel_account_id = $1"), self.desk.account
        )

    async def has(self) -> int:
        query = Query("has", "SELECT balance FROM ledger.balance WHERE book_id = $1 AND code = 'payable'")
        return await self.desk.db.value(query, self.desk.book)

    async def cases(self) -> list[tuple[str, str]]:
        query = Query("c", "SELECT kind, state FROM platform.case WHERE book_id = ANY ($1::uuid[]) ORDER BY kind")
        return [(r["kind"], r["state"]) for r in await self.rows(query, [self.desk.book, self.desk.account])]

    async def said(self) -> list[str]:
        query = Query(
            "e",
            "SELECT type FROM platform.event WHERE book_id = $1 AND type LIKE 'charge.dispute.%' ORDER BY object_version",
        )
        return [r["type"].removeprefix("charge.dispute.") for r in await self.rows(query, self.desk.book)]


@pytest.fixture
async def room(db: Database) -> AsyncIterator[Room]:
    outbox.register(())
    desk = scenes.Desk(scenes.an_env(db))

    async def load() -> ChannelAccount:
        return desk.way.account

    await desk.env.cache.get(("channel_account", desk.env.name, desk.account), load)
    await db.transact(lambda tx: tx.run(Query("none", "DELETE FROM disputes.stray")))
    yield Room(desk)


async def test_one_that_overtakes_its_payment_is_kept_at_once_and_recorded_when_it_is_paid(room: Room):
    _, attempt = await room.desk.confirmed(1000)
    began = time.monotonic()
    await room.tell(attempt, OPENED)
    assert time.monotonic() - began < 1.5  # nobody waits for a payment while a channel waits for us
    assert (len(await room.strays()), await room.disputes()) == (1, [])

    assert await room.look() == 1 and len(await room.strays()) == 1
    await room.paid(attempt)
    assert await room.look() == 1

    [dispute] = await room.disputes()
    assert (dispute["state"], dispute["taken"], dispute["fee"], await room.has()) == ("needs_response", True, 100, -100)
    assert await room.said() == ["created", "funds_withdrawn"]
    assert await room.cases() == [("dispute", "open")]
    assert (await room.strays(), await room.look()) == ([], 0)


async def test_heard_twice_it_is_one_row_and_what_was_said_is_heard_in_its_order(room: Room):
    _, attempt = await room.desk.confirmed(1000)
    await room.tell(attempt, OPENED, OPENED, WON, OPENED)

    [stray] = await room.strays()
    assert stray["said"].count('"ref"') == 2
    await room.paid(attempt)
    await room.look()

    [dispute] = await room.disputes()
    assert (dispute["state"], dispute["moves"], await room.has()) == ("won", 2, 900)
    assert await room.said() == ["created", "funds_withdrawn", "funds_reinstated", "closed"]
    assert await room.cases() == [("dispute", "resolved")]


async def test_what_finds_no_payment_is_for_a_person_after_minutes_and_its_case_ends_when_it_is_found(room: Room):
    _, attempt = await room.desk.confirmed(1000)
    await room.tell(attempt, OPENED)
    await room.look()
    assert await room.cases() == []
    for _ in range(3):
        await room.look(after_s=300)
    assert await room.cases() == [("unknown_dispute", "open")]
    query = Query("c", "SELECT seen, evidence FROM platform.case WHERE book_id = $1")
    [case] = await room.rows(query, room.desk.account)
    assert case["seen"] == 1 and str(scenes.said(attempt, State.SUCCEEDED).channel_ref) in case["evidence"]

    await room.paid(attempt)
    await room.look()
    assert await room.cases() == [("dispute", "open"), ("unknown_dispute", "resolved")]
    assert await room.has() == -100


async def test_what_was_told_while_it_was_found_stays_and_is_found_again(room: Room):
    _, attempt = await room.desk.confirmed(1000)
    await room.tell(attempt, OPENED)
    [claimed] = await record.strays.claim(room.desk.env, 10)
    await room.tell(attempt, WON)
    await room.paid(attempt)
    of = await record.collected(room.desk.env, room.desk.way.account, None, claimed.payment_refs)
    assert of is not None
    await record.record_stray(room.desk.env, of, claimed, room.desk.by())

    assert (await room.disputes())[0]["state"] == "needs_response" and len(await room.strays()) == 1
    await room.look()
    assert ((await room.disputes())[0]["state"], await room.strays(), await room.has()) == ("won", [], 900)


async def test_looks_grow_apart_and_end(room: Room):
    _, attempt = await room.desk.confirmed(1000)
    await room.tell(attempt, OPENED)
    apart = Query("a", "SELECT extract(epoch FROM try_at - now())::float AS s, tries FROM disputes.stray")
    found = []
    for _ in range(3):
        await room.look()
        [row] = await room.rows(apart)
        found.append(row["s"])
    assert found[0] < found[1] < found[2] < 3 and row["tries"] == 3

    await room.look(after_s=31 * 86_400)
    assert (await room.rows(apart))[0]["s"] is None and await sweep.sweep_strays(room.desk.env) == 0
    await room.tell(attempt, WON)  # it is heard of again: it is looked for again
    assert await sweep.sweep_strays(room.desk.env) == 1
