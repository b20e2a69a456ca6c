"""Trades on a desk without a network: the table and the fold agree, and whatever is planted becomes one case."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import pytest

from guilder import notify
from guilder.app import domains
from guilder.channels.model import State
from guilder.core import clock, ids
from guilder.ledger.orders import post_due
from guilder.payments import confirm, record
from guilder.platform import audit, outbox
from guilder.platform.db import Database, Tx
from guilder.platform.sql import Query
from guilder.trades import audits as trades_audits
from guilder.trades import create, follow, pay, refund, store
from guilder.trades.model import Item, Trade, Whole
from guilder.trades.refund import Wanted
from guilder.trades.states import TradeStatus
from payments.scenes import Desk, an_env, said
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio
NONE = UUID(int=0)
WAITING = Query(
    "waiting",
    "SELECT e.* FROM platform.outbox o JOIN platform.event e ON e.id = o.event_id WHERE o.subscriber = 'trades' AND e.book_id = $1",
)
GUARDED = ("trades.move", "ledger.transfer", "ledger.key")


@dataclass
class Mall:
    """A book in which a trade was paid in two parts, and one item has gone back."""

    desk: Desk
    place: Place
    trade: UUID = NONE

    async def plant(self, sql: str) -> None:
        """As the owner of the schemas, around every guard."""
        async with self.place.owner() as connection, connection.transaction():
            for table in GUARDED:
                await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            done = await connection.execute(sql.replace("$book", f"'{self.desk.book}'"))
            assert int(done.split()[-1]) > 0, "something was planted"
            for table in GUARDED:
                await connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")

    async def heard(self) -> None:
        while await outbox.drain(self.desk.db, follow.SUBSCRIPTIONS[0]):
            pass
        while await post_due(self.desk.db):
            pass

    async def found(self) -> list[str]:
        drift = await audit.everything(self.desk.db, domains.AUDITS, lambda _done, _all: None)
        return sorted({d.audit for d in drift if d.book_id == self.desk.book})

    async def make(self, *amounts: int, type: str = "purchase") -> Whole:
        id, seller = ids.new_id(), ids.new_id()
        trade = Trade(self.desk.book, id, 0, type, TradeStatus.OPEN, None, None, sum(amounts), "CNY", None, 0, 0, 0, 0, None, None, None, {},
                      ids.new_id(), "", clock.now())  # fmt: skip
        items = [
            Item(self.desk.book, ids.new_id(), id, n, seller if n else self.desk.book, None, "tea", 1, a, a)
            for n, a in enumerate(amounts)
        ]
        [made] = await self.desk.run(create.create_many, create.NewTrade(Whole(trade, items), self.desk.by(), False))
        assert isinstance(made, Whole), made
        self.trade = id
        return made

    async def pay(self, units: int | None = None, *, hear: bool = True) -> None:
        d, id = self.desk, ids.new_id()
        [intent] = await d.run(
            pay.pay_many, pay.Wish(d.book, self.trade, id, units, ("wechat_pay",), None, {}, "refund", d.by(), d.face)
        )  # fmt: skip
        [begun] = await d.run(confirm.begin_many, d.begin(intent.id))
        assert isinstance(begun, confirm.Begun), begun
        await d.run(record.record_many, d.heard(begun.attempt, said(begun.attempt, State.SUCCEEDED)))
        if hear:
            await self.heard()

    async def back(self, item: UUID, units: int, state: State = State.SUCCEEDED) -> None:
        d = self.desk
        wish = refund.Wish(d.book, self.trade, (Wanted(item, units),), None, {}, d.by(), d.face)
        await d.db.transact(lambda tx: refund.refund(tx, wish))
        for r in await d.refunds():
            if r.ask_at is not None:
                await d.run(record.record_refund_many, d.heard_of_refund(r, said(r, state)))
        await self.heard()

    async def whole(self) -> Whole:
        [found] = await self.desk.db.transact(lambda tx: store.find(tx, self.desk.book, [self.trade]))
        return found


@pytest.fixture
async def mall(place: Place, db: Database) -> AsyncIterator[Mall]:
    outbox.register(follow.SUBSCRIPTIONS, notify.WITNESSES)
    mall = Mall(Desk(an_env(db)), place)
    made = await mall.make(300, 700)
    await mall.pay(500)
    await mall.pay()
    await mall.back(made.items[1].id, 250)
    yield mall


async def test_a_trade_that_was_paid_in_parts_and_gave_something_back_is_sound(mall: Mall) -> None:
    now = await mall.whole()

    assert (now.trade.status, now.trade.paid, now.trade.returned) == (TradeStatus.PAID, 1000, 250)
    assert [(i.paid, i.held, i.released, i.returned) for i in now.items] == [(300, 0, 300, 0), (700, 0, 450, 250)]
    assert await mall.found() == []


async def test_told_twice_in_any_order_it_counts_once(mall: Mall) -> None:
    again = Query(
        "again", "INSERT INTO platform.outbox (subscriber, event_id, book_id) SELECT 'trades', id, book_id FROM platform.event WHERE book_id = $1 "
        "AND type IN ('payment_intent.succeeded', 'refund.updated') ORDER BY id DESC",
    )  # fmt: skip
    before = await mall.whole()
    await mall.desk.db.transact(lambda tx: tx.run(again, mall.desk.book))

    await mall.heard()

    after = await mall.whole()
    assert (after.trade.version, after.trade.paid, after.trade.returned) == (before.trade.version, 1000, 250)
    assert await mall.found() == []


async def test_T5_who_dies_while_dealing_out_has_done_nothing_and_is_followed(mall: Mall) -> None:
    class Killed(Exception):
        pass

    async def die(tx: Tx) -> None:
        rows = await tx.rows(WAITING, mall.desk.book)
        assert rows, "it was not heard of yet"
        await follow.handle_many(tx, [outbox.heard(r) for r in rows])
        await tx.flush()
        raise Killed

    made = await mall.make(300, 700)
    await mall.pay(hear=False)
    with pytest.raises(Killed):
        await mall.desk.db.transact(die)
    assert [(i.paid, i.released) for i in (await mall.whole()).items] == [(0, 0), (0, 0)]

    await mall.heard()

    now = await mall.whole()
    assert [(i.id, i.paid, i.released) for i in now.items] == [
        (made.items[0].id, 300, 300),
        (made.items[1].id, 700, 700),
    ]
    assert await mall.found() == []


async def test_T4_the_table_refuses_what_two_let_through(mall: Mall) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match="T4"):
        await mall.plant("UPDATE trades.item SET refunded = paid + 1 WHERE book_id = $book")
    with pytest.raises(asyncpg.CheckViolationError, match="T3"):
        await mall.plant("UPDATE trades.item SET released = released + 1 WHERE book_id = $book")
    with pytest.raises(asyncpg.CheckViolationError, match="T2"):
        await mall.plant("UPDATE trades.trade SET paid = amount + 1 WHERE book_id = $book")


ITEMS, DEALT, BOOKED, PAYMENTS = (a.name for a in trades_audits.AUDITS)
PLANTS: dict[str, tuple[str, list[str]]] = {
    "a trade of another amount": ("UPDATE trades.trade SET amount = amount + 1 WHERE book_id = $book", [ITEMS]),
    "a reservation that nobody made": ("UPDATE trades.trade SET reserved = 1 WHERE book_id = $book", [ITEMS]),
    "an item that has moved on": (
        "UPDATE trades.item SET released = released - 1, held = held + 1 WHERE book_id = $book AND n = 0", [DEALT]),
    "a move that is gone": ("DELETE FROM trades.move WHERE book_id = $book AND kind = 'taken_back'", [DEALT]),
    "a refund that has forgotten its item": ("DELETE FROM trades.give_back WHERE book_id = $book", [DEALT]),
    "a move that was never booked": ("UPDATE trades.move SET journal = journal || 'x' WHERE book_id = $book AND kind = 'taken_back'", [BOOKED]),
    "a move of another amount": (
        "UPDATE ledger.transfer t SET units = units + 1 FROM ledger.journal j WHERE j.id = t.journal_id AND j.rule = 'trade_share' AND t.book_id = $book",
        [BOOKED, "G1 journals are what was posted", "G2 balances are where transfers led", "G21 what books owe each other is ordered"]),
    "a payment that its trade takes for less": (
        "UPDATE trades.part SET received = received - 1, excess = 0 WHERE book_id = $book AND purpose = 'deposit'", [ITEMS, PAYMENTS]),
    "a refund that its trade takes for done": (
        "UPDATE payments.refund SET state = 'failed' WHERE book_id = $book",
        [PAYMENTS, "G3 what went back is booked", "G3 what is booked is so", "G6 a charge counts its refunds", "G8 moves are allowed and lead to what stands",
         "G10 versions count what was said"]),
}  # fmt: skip


@pytest.mark.parametrize(("sql", "found"), PLANTS.values(), ids=PLANTS.keys())
async def test_what_is_planted_is_found(mall: Mall, sql: str, found: list[str]) -> None:
    await mall.plant(sql)

    assert set(found) & {a.name for a in trades_audits.AUDITS} <= set(await mall.found())


def test_every_audit_of_trades_has_a_plant() -> None:
    assert {a.name for a in trades_audits.AUDITS} <= {name for _, found in PLANTS.values() for name in found}
