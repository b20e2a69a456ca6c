"""Disputes at their lane: D1 to D3, in every order in which a channel can tell."""

import contextlib
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import permutations
from typing import Any
from uuid import UUID

import anyio
import pytest

from guilder import ledger
from guilder.channels import model as channel
from guilder.channels.model import DisputeState
from guilder.core import clock, ids
from guilder.core.amount import Amount, cny
from guilder.disputes import record, store
from guilder.disputes.life import Collected
from guilder.disputes.model import Dispute
from guilder.disputes.states import DISPUTE_NEXT
from guilder.ledger import Journal, Transfer, payable, receivable
from guilder.payments import refund
from guilder.payments.model import Charge
from guilder.platform import context, outbox
from guilder.platform.db import Conflict, Contended, Database
from guilder.platform.idempotency import Reply
from guilder.platform.sql import Query
from payments import scenes as payments

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio
S = DisputeState
ONE = Query("one", "SELECT * FROM disputes.dispute WHERE book_id = $1")


@dataclass
class Desk:
    """One charge of ten yuan, at one channel account."""

    db: Database
    book: UUID = field(default_factory=ids.new_id)
    account: UUID = field(default_factory=ids.new_id)
    charge: UUID = field(default_factory=ids.new_id)

    @property
    def of(self) -> Collected:
        return Collected(
            self.book,
            self.charge,
            self.charge,
            self.charge,
            self.account,
            "stripe",
            "platform",
            1000,
            "CNY",
            self.charge,
            "",
        )

    async def earn(self) -> None:
        journal = Journal(
            self.book, f"charge:{ids.text(self.charge)}", "charge", (Transfer(receivable(self.account, "CNY"), payable("CNY"), 1000),),
            self.charge, clock.now(), self.charge,
        )  # fmt: skip
        [posted] = await self.db.transact(lambda tx: ledger.post(tx, [journal]))
        assert posted.booked

    async def hear(self, *said: channel.Dispute, door: str = "callback") -> list[Any]:
        by = context.mint(request_id="req_1", book_id=self.book, env="test")
        heard = [record.Heard(self.of, s, door, by, False) for s in said]
        return list(await self.db.transact(lambda tx: record.record_many(tx, heard)))

    async def look(self) -> Dispute:
        [row] = await self.db.rows(ONE, self.book)
        return store.dispute_of(row)

    async def has(self) -> int:
        """What the merchant has with us."""
        return await self.db.value(
            Query("has", "SELECT balance FROM ledger.balance WHERE book_id = $1 AND code = 'payable'"), self.book
        )

    async def cases(self, *, open: bool = False) -> list[str]:
        rows = await self.db.rows(
            Query("cases", "SELECT kind, state FROM platform.case WHERE book_id = $1 ORDER BY kind"), self.book
        )
        return [r["kind"] for r in rows if not open or r["state"] != "resolved"]

    async def events(self) -> list[tuple[str, int]]:
        rows = await self.db.rows(
            Query(
                "ev", "SELECT type, object_version AS n FROM platform.event WHERE book_id = $1 ORDER BY object_version"
            ),
            self.book,
        )
        return [(r["type"].removeprefix("charge.dispute."), r["n"]) for r in rows]


@pytest.fixture
async def desk(db: Database) -> Desk:
    outbox.register(())
    made = Desk(db)
    await made.earn()
    return made


OPENED = channel.Dispute(
    "dp_1", S.NEEDS_RESPONSE, cny(1000), "fraudulent", clock.now() + timedelta(days=7), cny(100), taken=True
)


async def test_D2_what_is_taken_is_booked_with_its_fee_once(desk: Desk):
    await desk.hear(OPENED, OPENED)
    await desk.hear(OPENED)

    d = await desk.look()
    assert (d.state, d.taken, d.moves, d.fee) == (S.NEEDS_RESPONSE, True, 1, 100)
    assert await desk.has() == -100
    assert await desk.events() == [("created", 1), ("funds_withdrawn", 2)]
    assert await desk.cases() == ["dispute"]


async def test_D2_won_gives_it_back_and_keeps_the_fee(desk: Desk):
    await desk.hear(OPENED, replace(OPENED, state=S.UNDER_REVIEW), replace(OPENED, state=S.WON, taken=False))

    d = await desk.look()
    assert (d.state, d.taken, d.moves, await desk.has()) == (S.WON, False, 2, 900)
    assert [type for type, _ in await desk.events()] == [
        "created", "funds_withdrawn", "updated", "funds_reinstated", "closed",
    ]  # fmt: skip


async def test_D2_lost_takes_what_was_not_taken_before(desk: Desk):
    await desk.hear(replace(OPENED, taken=False), replace(OPENED, state=S.LOST, taken=False))

    d = await desk.look()
    assert (d.state, d.taken, d.moves, await desk.has()) == (S.LOST, True, 1, -100)


@pytest.mark.parametrize("end", [S.WON, S.LOST])
@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
async def test_D1_in_whatever_order_it_is_told_the_end_is_the_end(
    desk: Desk, order: tuple[int, ...], end: DisputeState
):
    said = [OPENED, replace(OPENED, state=S.UNDER_REVIEW), replace(OPENED, state=end, taken=end is S.LOST)]
    for n in order:
        await desk.hear(said[n])

    d = await desk.look()
    assert (d.state, d.taken) == (end, end is S.LOST)
    assert await desk.has() == (1000 - d.fee if end is S.WON else -d.fee)


@pytest.mark.parametrize("amount", [cny(1001), Amount(1000, "USD")])
async def test_more_than_the_charge_or_another_currency_is_for_a_person(desk: Desk, amount: Amount):
    [recorded] = await desk.hear(replace(OPENED, amount=amount))

    assert recorded.case is not None and await desk.cases() == ["dispute_mismatch"]
    assert (await desk.db.rows(ONE, desk.book), await desk.has()) == ([], 1000)


async def test_another_amount_than_before_is_booked_as_the_difference(desk: Desk):
    await desk.hear(OPENED, replace(OPENED, amount=cny(700)))
    assert (await desk.has(), (await desk.look()).amount) == (200, 700)
    await desk.hear(replace(OPENED, amount=cny(900)), replace(OPENED, amount=cny(900), state=S.LOST))

    d = await desk.look()
    assert (d.state, d.amount, await desk.has()) == (S.LOST, 900, 0)


async def test_more_than_the_charge_later_is_for_a_person(desk: Desk):
    await desk.hear(OPENED)
    [recorded] = await desk.hear(replace(OPENED, amount=cny(1001), state=S.LOST))

    assert recorded.case is not None and recorded.case.kind == "dispute_mismatch"
    assert (await desk.look()).state is S.NEEDS_RESPONSE


async def test_D2_an_older_word_that_comes_late_gives_nothing_back(desk: Desk):
    await desk.hear(OPENED, replace(OPENED, taken=False), replace(OPENED, state=S.UNDER_REVIEW, taken=False))

    assert ((await desk.look()).taken, await desk.has()) == (True, -100)


async def test_D3_the_opposite_of_the_end_is_for_a_person(desk: Desk):
    await desk.hear(OPENED, replace(OPENED, state=S.WON, taken=False))
    [recorded] = await desk.hear(replace(OPENED, state=S.LOST))

    assert recorded.case is not None and recorded.case.kind == "dispute_end_changed"
    assert ((await desk.look()).state, await desk.has()) == (S.WON, 900)


async def test_two_disputes_of_one_charge_are_two(desk: Desk):
    await desk.hear(replace(OPENED, amount=cny(400), fee=None), replace(OPENED, ref="dp_2", amount=cny(600), fee=None))

    assert len(await desk.db.rows(ONE, desk.book)) == 2 and await desk.has() == 0


async def test_told_at_once_by_many_it_is_one(desk: Desk):
    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(_insist, desk)

    assert len(await desk.db.rows(ONE, desk.book)) == 1 and await desk.has() == -100


async def _insist(desk: Desk) -> None:
    """As the lane does: a batch that met somebody faster runs again."""
    for _ in range(5):
        with contextlib.suppress(Conflict, Contended):
            await desk.hear(OPENED)
            return


def test_every_state_leads_to_states():
    assert DISPUTE_NEXT.keys() == set(DisputeState)


async def test_what_the_channel_has_taken_is_not_refunded_too_and_the_case_ends_with_the_dispute(desk: Desk):
    charge = Charge(
        desk.book,
        desk.charge,
        desk.charge,
        desk.charge,
        desk.account,
        "card",
        0,
        1000,
        0,
        "CNY",
        None,
        clock.now(),
        clock.now(),
    )

    async def barred() -> list[str]:
        found = await desk.db.transact(lambda tx: store.bar_refunds(tx, [charge]))
        return [why.code for why in found.values()]

    assert await barred() == []
    await desk.hear(OPENED)
    assert (await barred(), await desk.cases(open=True)) == (["charge_disputed"], ["dispute"])
    await desk.hear(replace(OPENED, state=S.WON, taken=False))
    assert (await barred(), await desk.cases(open=True)) == ([], [])


async def test_a_charge_in_dispute_says_so_and_its_refund_is_refused_until_the_money_is_back(db: Database):
    outbox.register(())
    refund.register((store.bar_refunds,))
    at = payments.Desk(payments.an_env(db))
    intent, _ = await at.pay(1000)
    [row] = await db.rows(Query("c", "SELECT * FROM payments.charge WHERE book_id = $1"), at.book)
    desk = Desk(db, at.book, at.account, row["id"])

    async def ask(units: int) -> Any:
        [begun] = await at.run(refund.begin_many, at.wish_refund(intent.id, units))
        return begun.body if isinstance(begun, Reply) else begun

    await desk.hear(OPENED)
    assert b"charge_disputed" in await ask(100)
    assert await db.value(Query("d", "SELECT disputed FROM payments.charge WHERE id = $1"), row["id"])
    await desk.hear(replace(OPENED, state=S.WON, taken=False))
    assert isinstance(await ask(100), refund.Begun)
    refund.register(())
