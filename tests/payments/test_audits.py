"""The auditor: a sound book keeps it silent, and whatever somebody with the owner's rights plants becomes one case, new or old."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from changed import replace
from disputes import test_disputes as disputes
from guilder import notify
from guilder.app import domains
from guilder.channels.model import Credit, DisputeState, Outcome, State
from guilder.core import clock, ids
from guilder.core.amount import cny
from guilder.ledger.closing import close_period
from guilder.ledger.orders import post_due
from guilder.notify.endpoints import create_many
from guilder.notify.model import Endpoint
from guilder.payments import cancel, capture, confirm, record, refund
from guilder.payments.model import Attempt, Intent
from guilder.platform import audit, outbox
from guilder.platform.db import Database
from guilder.platform.idempotency import Asked
from guilder.platform.sql import Query
from guilder.trades import audits as trades_audits
from payments.scenes import INFO, Desk, an_env, said
from payouts import test_payouts as payouts
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio

CASES = Query("cases", "SELECT subject, seen FROM platform.case WHERE book_id = $1 AND kind = 'drift' ORDER BY subject")
BEGIN = "UPDATE platform.auditor SET run_at = now(), book_id = '00000000-0000-0000-0000-000000000000', id = CASE name WHEN 'full' THEN '00000000-0000-0000-0000-000000000000' ELSE id END"
PRESENT = "UPDATE platform.auditor SET run_at = now(), id = (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint + 1), 12, '0') || repeat('0', 20))::uuid WHERE name = 'fresh'"


GUARDED = (
    "ledger.journal",
    "ledger.transfer",
    "ledger.standing",
    "ledger.key",
    "platform.event",
    "payments.history",
    "payouts.history",
)


@dataclass
class Shop:
    """A book in which every end that a payment can have was reached."""

    desk: Desk
    place: Place

    async def plant(self, sql: str) -> None:
        """As the owner of the schemas, around every guard."""
        async with self.place.owner() as connection, connection.transaction():
            for table in GUARDED:
                await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            done = await connection.execute(sql.replace("$book", f"'{self.desk.book}'"))
            assert int(done.split()[-1]) > 0, "something was planted"
            for table in GUARDED:
                await connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")

    async def cases(self) -> list[str]:
        return [r["subject"].partition(": ")[0] for r in await self.desk.db.rows(CASES, self.desk.book)]

    async def look(self) -> None:
        """The fresh pass, up to now."""
        await self.desk.db.transact(lambda tx: tx.run(Query("begin", BEGIN)))
        while await audit.look(self.desk.env, domains.AUDITS, behind_s=-1):
            pass

    async def walk(self) -> None:
        """The full pass, from the beginning to the end; the fresh one finds nothing that is new."""
        await self.desk.db.transact(lambda tx: tx.run(Query("begin", BEGIN)))
        while True:
            await audit.walk(self.desk.env, domains.AUDITS)
            row = await self.desk.db.row(Query("place", "SELECT id FROM platform.auditor WHERE name = 'full'"))
            if row is None or row["id"] == audit.NEVER:
                return
            await self.desk.db.transact(lambda tx: tx.run(Query("again", "UPDATE platform.auditor SET run_at = now()")))


@pytest.fixture
async def shop(place: Place, db: Database) -> AsyncIterator[Shop]:
    outbox.register((), notify.WITNESSES)
    desk = Desk(an_env(db), fee_bps=60)
    shop = Shop(desk, place)
    hook = Endpoint(desk.book, ids.new_id(), "https://shop.example", ("*",), "v", None, "{}", b"", clock.now())
    await db.transact(lambda tx: create_many(tx, [hook]))
    await shop.plant("UPDATE notify.endpoint SET changed_at = now() - interval '1 hour' WHERE book_id = $book")
    await live(desk)
    await post_due(db)
    await desk.pay(1200)  # its fee is ordered, and not posted yet
    yield shop


async def live(d: Desk) -> None:
    """Paid and refunded, in part and in vain; paid too late, given back and accepted; declined; canceled; open; yesterday closed."""

    async def hear(attempt: Attempt, *states: State) -> None:
        for state in states:
            await d.run(record.record_many, d.heard(attempt, said(attempt, state)))

    async def give_back(intent: Intent, units: int | None, state: State) -> None:
        if units is not None:
            await d.run(refund.begin_many, d.wish_refund(intent.id, units))
        back = (await d.refunds(intent.id))[-1]
        await d.run(record.record_refund_many, d.heard_of_refund(back, said(back, state)))

    intent, _ = await d.pay(500)
    await give_back(intent, 30, State.SUCCEEDED)
    await give_back(intent, 40, State.FAILED)
    await give_back(intent, 50, State.PENDING)
    late, attempt = await d.confirmed(600)
    await hear(attempt, State.PENDING, State.CLOSED, State.SUCCEEDED)
    await give_back(late, None, State.SUCCEEDED)
    _, attempt = await d.confirmed(700, late_success="accept")
    await hear(attempt, State.CLOSED, State.SUCCEEDED)
    _, attempt = await d.confirmed(800)
    await hear(attempt, State.FAILED)
    unwanted, attempt = await d.confirmed(900)
    await hear(attempt, State.PENDING)
    await d.run(cancel.begin_many, d.cancel(unwanted.id))
    await hear(attempt, State.CLOSED)
    twice, first = await d.confirmed(1000)
    await hear(first, State.FAILED)
    [begun] = await d.run(confirm.begin_many, d.begin(twice.id))
    await hear(begun.attempt, State.SUCCEEDED)
    _, attempt = await d.confirmed(1100)
    await hear(attempt, State.PENDING)
    held, attempt = await d.confirmed(1300, extra={"capture_method": "manual"})
    await hear(attempt, State.AUTHORISED)
    await d.run(capture.begin_many, Asked(d.key(), capture.Capture(d.book, held.id, 1250, {}, d.by(), d.face)))
    await d.run(record.record_many, d.heard(attempt, said(attempt, State.SUCCEEDED, amount=cny(1250))))
    parted, attempt = await d.confirmed(1400)
    parts = Outcome(State.PENDING, credits=(Credit(f"1 {attempt.id}", cny(1000)), Credit(f"2 {attempt.id}", cny(455))))
    in_parts = replace(d.contract, info=replace(INFO, collects_in_parts=True))
    await d.run(record.record_many, replace(d.heard(attempt, parts), contract=in_parts))
    await give_back(parted, None, State.SUCCEEDED)
    out = payouts.Desk(d.db, d.book, d.account)
    for units, states in ((11, "SUCCEEDED"), (12, "FAILED"), (13, "SUCCEEDED FAILED"), (14, "PENDING")):
        [made] = await out.begin(out.wish(units))
        for state in states.split():
            await out.hear((made.payout, payouts.said(made.payout, State[state])))
    question = disputes.Desk(d.db, d.book, d.account)
    await question.hear(replace(disputes.OPENED, ref=str(question.charge)))
    await question.hear(
        replace(disputes.OPENED, ref="w" + str(question.charge)),
        replace(disputes.OPENED, ref="w" + str(question.charge), state=DisputeState.WON),
    )
    await d.db.transact(lambda tx: close_period(tx, d.book, clock.now() - timedelta(days=1)))


async def test_a_sound_book_keeps_it_silent(shop: Shop) -> None:
    await shop.look()
    await shop.walk()

    assert await shop.cases() == []
    assert await audit.everything(shop.desk.db, domains.AUDITS, lambda _done, _total: None) == []


PAID, BACK, SO = "G3 what was paid is booked", "G3 what went back is booked", "G3 what is booked is so"
CHARGE, SURPLUS = "G5 one charge if and only if it succeeded", "G5 a surplus goes back or is accepted"
REFUNDS, MOVES = "G6 a charge counts its refunds", "G8 moves are allowed and lead to what stands"
SAID, OPEN = "G10 versions count what was said", "G17 what is open is asked about"
GAPS, DELIVERED = "G10 events have no gaps", "G10 events have their deliveries"
FEES = "G3 fees are ordered or posted"
OWED, ORDERED = "G21 what books owe each other is ordered", "G21 what is ordered is posted"
DISPUTED = "G3 what is in dispute is booked"
LIES, WENT = "G3 what lies aside is booked", "G3 what lay aside went where it says"
OUT = "G3 payouts are held, taken or given back"
POSTED, BALANCES = "G1 journals are what was posted", "G2 balances are where transfers led"
AGAIN = """
INSERT INTO platform.event (book_id, id, type, object_id, object_version, data, root_id, created_at)
SELECT book_id, uuidv7(), type, object_id, object_version, data, root_id, created_at FROM platform.event
 WHERE book_id = $book AND type = 'charge.succeeded' AND object_id = (SELECT id FROM payments.charge WHERE book_id = $book AND amount = 700)
"""
PLANTS: dict[str, tuple[str, list[str]]] = {
    "an attempt of another amount": (
        "UPDATE payments.attempt SET amount = 599 WHERE book_id = $book AND amount = 600", [PAID, SO]),
    "a journal without its attempt": (
        "DELETE FROM payments.attempt WHERE book_id = $book AND amount = 600", [SO, MOVES]),
    "a try that is undone": (
        "UPDATE payments.attempt SET state = 'failed', ask_at = NULL WHERE book_id = $book AND amount = 500", [PAID, SO, OPEN, MOVES]),
    "a charge of another amount": ("UPDATE payments.charge SET amount = 501 WHERE book_id = $book AND amount = 500", [CHARGE]),
    "a charge that is gone": ("DELETE FROM payments.charge WHERE book_id = $book AND amount = 500", [CHARGE, PAID]),
    "a payment that is gone back": (
        "UPDATE payments.intent SET status = 'requires_action' WHERE book_id = $book AND amount = 500", [CHARGE, MOVES]),
    "a payment that says paid": (
        "UPDATE payments.intent SET status = 'succeeded' WHERE book_id = $book AND amount = 1100", [SAID, CHARGE]),
    "a charge that has forgotten a refund": (
        "UPDATE payments.charge SET refunded = refunded - 30 WHERE book_id = $book AND amount = 500", [REFUNDS]),
    "a refund of another amount": (
        "UPDATE payments.refund SET amount = 29 WHERE book_id = $book AND amount = 30", [BACK, SO, REFUNDS]),
    "a refund that is undone": (
        "UPDATE payments.refund SET state = 'pending', ask_at = now(), done_at = NULL WHERE book_id = $book AND amount = 30", [SO, BACK, MOVES]),
    "a surplus that stays here": (
        "DELETE FROM payments.refund WHERE book_id = $book AND amount = 600", [SO, SURPLUS, MOVES]),
    "a move that the table does not have": (
        "UPDATE payments.history SET was = 'succeeded' WHERE book_id = $book AND kind = 'refund' AND was = 'unknown' AND became = 'pending'", [MOVES]),
    "an event that was never said": (
        "DELETE FROM platform.event WHERE book_id = $book AND object_version = 1 AND object_id = (SELECT id FROM payments.intent WHERE book_id = $book AND amount = 900)", [GAPS]),
    "an end that was never said": (
        "DELETE FROM platform.event WHERE book_id = $book AND type = 'payment_intent.succeeded' AND object_id = (SELECT id FROM payments.intent WHERE book_id = $book AND amount = 500)", [SAID]),
    "a version that was never said": (
        "UPDATE payments.intent SET version = version + 1 WHERE book_id = $book AND amount = 1100", [SAID]),
    "an event that was said again": (AGAIN, [GAPS, GAPS, DELIVERED]),
    "a delivery that was never made": (
        "DELETE FROM notify.delivery d USING platform.event e WHERE d.book_id = $book AND e.id = d.event_id AND e.type = 'refund.failed'", [DELIVERED]),
    "an open try that nobody asks about": (
        "UPDATE payments.attempt SET ask_at = NULL WHERE book_id = $book AND amount = 1100", [OPEN]),
    "a balance": ("UPDATE ledger.account SET balance = balance + 1 WHERE book_id = $book AND code = 'surplus'", [BALANCES]),
    "a standing in between": (
        "UPDATE ledger.standing s SET balance = s.balance + 1 FROM ledger.account a WHERE s.book_id = $book AND a.book_id = $book AND a.id = s.account_id "
        "AND a.code = 'payable' AND s.balance = 497", [BALANCES]),
    "a transfer of another amount": (
        "UPDATE ledger.transfer SET units = 501 WHERE book_id = $book AND units = 500", [POSTED, BALANCES, BALANCES, PAID, SO]),
    "a transfer that is gone": (
        "DELETE FROM ledger.transfer WHERE book_id = $book AND units = 500", [POSTED, BALANCES, BALANCES, PAID]),
    "a key that leads nowhere": (
        "DELETE FROM ledger.key WHERE book_id = $book AND key LIKE 'surplus_refund:%'", [POSTED, BACK]),
    "a journal that is gone": (
        "DELETE FROM ledger.journal WHERE book_id = $book AND rule = 'surplus_accepted'", [POSTED, PAID]),
    "a fee of another amount": ("UPDATE payments.charge SET fee = 4 WHERE book_id = $book AND amount = 500", [PAID, FEES]),
    "an order that is gone": ("DELETE FROM ledger.order WHERE from_book = $book", [OWED, FEES]),
    "an order of another amount": ("UPDATE ledger.order SET units = 8 WHERE from_book = $book", [OWED, FEES]),
    "an order that nobody posts": ("UPDATE ledger.order SET made_at = now() - interval '2 minutes' WHERE from_book = $book", [ORDERED]),
    "a payout of another amount": ("UPDATE payouts.payout SET amount = 10 WHERE book_id = $book AND amount = 11", [OUT]),
    "a payout that says paid": ("UPDATE payouts.payout SET state = 'paid' WHERE book_id = $book AND amount = 14", [OUT]),
    "a payout that is undone": ("UPDATE payouts.payout SET state = 'failed' WHERE book_id = $book AND amount = 13", [OUT]),
    "a dispute of another amount": ("UPDATE disputes.dispute SET amount = 999 WHERE book_id = $book AND state <> 'won'", [DISPUTED]),
    "a dispute that gave back": ("UPDATE disputes.dispute SET taken = false WHERE book_id = $book AND state <> 'won'", [DISPUTED]),
    "a captured amount": ("UPDATE payments.attempt SET capture = 1249 WHERE book_id = $book AND amount = 1300", [PAID, SO, CHARGE]),
    "a sum aside of another amount": ("UPDATE payments.aside SET units = 456 WHERE book_id = $book AND units = 455", [LIES, WENT]),
    "a sum aside that is said to wait": ("UPDATE payments.aside SET state = 'waits' WHERE book_id = $book AND units = 455", [WENT]),
    "a sum aside that is gone": ("DELETE FROM payments.aside WHERE book_id = $book AND units = 1000", [LIES, WENT]),
    "a sum aside that came twice": (
        "INSERT INTO payments.aside SELECT book_id, uuidv7(), channel_account_id, 'p3', attempt_id, intent_id, gave, 77, asset, 0, 'applied', 'p3', root_id, "
        "business_line, created_at FROM payments.aside WHERE book_id = $book AND units = 1000", [LIES]),
    "a fee that the platform has forgotten": (
        "DELETE FROM ledger.key k USING ledger.journal j, payments.charge c WHERE k.book_id = j.book_id AND k.key = j.key AND j.rule = 'fee' "
        "AND j.about = c.id AND c.book_id = $book AND c.amount = 500", [FEES]),
}  # fmt: skip


@pytest.mark.parametrize(("sql", "found"), PLANTS.values(), ids=PLANTS.keys())
@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
async def test_what_is_planted_is_found(shop: Shop, sql: str, found: list[str], old: bool) -> None:
    await shop.plant(sql)

    await (shop.walk() if old else shop.look())
    cases = await shop.cases()
    assert sorted(cases) == sorted(found)
    await shop.walk()
    assert await shop.cases() == cases, "the same again opens nothing"


def test_every_audit_has_a_plant() -> None:
    elsewhere = {a.name for a in trades_audits.AUDITS}  # tests/trades
    assert {name for _, found in PLANTS.values() for name in found} == {a.name for a in domains.AUDITS} - elsewhere


async def test_an_old_payment_that_moves_is_looked_at_as_a_whole(shop: Shop) -> None:
    await shop.plant("UPDATE payments.charge SET refunded = 0 WHERE book_id = $book AND amount = 500")
    await shop.desk.db.transact(lambda tx: tx.run(Query("present", PRESENT)))
    await shop.look()
    assert await shop.cases() == [], "nothing has moved since"

    [pending] = [r for r in await shop.desk.refunds() if r.amount == 50]
    await shop.desk.run(record.record_refund_many, shop.desk.heard_of_refund(pending, said(pending, State.SUCCEEDED)))
    await shop.look()

    assert await shop.cases() == [REFUNDS]


async def test_what_is_said_of_an_old_object_is_held_against_what_was(shop: Shop) -> None:
    """Not only against what else lies in its window."""
    await shop.desk.db.transact(lambda tx: tx.run(Query("present", PRESENT)))
    await asyncio.sleep(0.002)
    await shop.plant(AGAIN)
    await shop.look()

    assert await shop.cases() == [GAPS, DELIVERED]


async def test_A1_payments_on_their_way_are_never_drift(shop: Shop) -> None:
    """Payments live while both passes look at nothing else but them."""
    over = asyncio.Event()

    async def look() -> None:
        while not over.is_set():
            await shop.look()
            await audit.everything(shop.desk.db, domains.AUDITS, lambda _done, _total: None)
            await post_due(shop.desk.db)

    looking = asyncio.create_task(look())
    for _ in range(6):
        await asyncio.gather(*(live(shop.desk) for _ in range(3)))
    over.set()
    await looking

    assert await shop.cases() == []


async def test_a_slice_ends_anywhere_and_misses_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "SLICE", 7)
    other = Desk(shop.desk.env)
    await live(other)
    assert await audit.everything(shop.desk.db, (), lambda _done, _total: None) == []
    await shop.plant("UPDATE payments.charge SET refunded = 0 WHERE book_id = $book AND amount = 500")
    await shop.plant("UPDATE ledger.account SET balance = balance + 1 WHERE book_id = $book AND code = 'payable'")

    await shop.walk()

    assert await shop.cases() == [BALANCES, REFUNDS]
    assert await shop.desk.db.rows(CASES, other.book) == []


async def test_A2_a_look_that_ends_before_its_commit_is_made_again(shop: Shop) -> None:
    await shop.plant("UPDATE payments.charge SET refunded = 0 WHERE book_id = $book AND amount = 500")
    slow = Query(
        "slow",
        "SELECT k.book_id, 'at' AS kind, k.id, pg_sleep(60)::text AS fault, '' AS expected, '' AS found FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS k (book_id, id, upto)",
    )
    audits = (*domains.AUDITS, audit.Audit("dies", None, slow))
    await shop.desk.db.transact(lambda tx: tx.run(Query("begin", BEGIN)))

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2):
            await audit.look(shop.desk.env, audits, behind_s=-1)
    assert await shop.cases() == []
    assert await audit.look(shop.desk.env, domains.AUDITS, behind_s=-1) == 0, "(A4) somebody may still be looking"
    assert await shop.cases() == []
    await shop.look()

    assert await shop.cases() == [REFUNDS]


async def test_A3_a_walk_rests_for_its_share(shop: Shop) -> None:
    rests = Query(
        "rests", "SELECT extract(epoch FROM run_at - now())::float8 FROM platform.auditor WHERE name = 'full'"
    )
    await shop.desk.db.transact(lambda tx: tx.run(Query("begin", BEGIN)))
    begun = time.monotonic()

    await audit.walk(shop.desk.env, domains.AUDITS)

    took_s = time.monotonic() - begun
    assert (
        took_s / audit.FULL_SHARE / 2 < await shop.desk.db.value(rests) <= max(audit.REST_S, took_s / audit.FULL_SHARE)
    )
