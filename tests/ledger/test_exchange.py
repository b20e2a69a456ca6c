"""Between assets and between books, holds that expire: each adds up, and none loses a unit."""

from datetime import timedelta
from fractions import Fraction

import pytest

from book import book as page_of
from book import page, shown
from guilder.core import clock, ids
from guilder.core.check import Impossible
from guilder.ledger import Account, capture, hold, post, sweep
from guilder.ledger.exchange import Trade, between, exchange
from guilder.ledger.history import trial_balance
from guilder.ledger.holds import expire_due
from guilder.platform.db import Database
from guilder.platform.sql import Query
from journals import AT, PAYABLE, RECEIVABLE, SURPLUS, journal, move

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio

USD = Account("payable", "USD")
POINTS = Account("payable", "POINT")


async def posted(db: Database, *journals: object) -> list[str]:
    return [p.code.value for p in await db.transact(lambda tx: post(tx, journals))]


@pytest.mark.parametrize(
    ("bought", "result"), [(98, {"exchange_result": 2}), (100, {}), (103, {"exchange_result": -3})]
)
async def test_an_exchange_books_gain_and_loss_against_the_market(
    db: Database, bought: int, result: dict[str, int]
) -> None:
    book, about = ids.new_id(), ids.new_id()
    trade = Trade(PAYABLE, 700, USD, bought, Fraction(1, 7))

    assert (
        await posted(db, move("in", RECEIVABLE, PAYABLE, 700, book), exchange(book, "fx", trade, about, AT, about))
        == ["created"] * 2
    )

    rows = await db.rows(
        Query("t", "SELECT code, asset, balance FROM ledger.account WHERE book_id = $1 AND balance <> 0"), book
    )
    usd = {r["code"]: r["balance"] for r in rows if r["asset"] == "USD"}
    assert usd == {"payable": bought, "exchange": -100, **result}
    assert {r["code"]: r["balance"] for r in rows if r["asset"] == "CNY"} == {"receivable:a": -700, "exchange": 700}
    note = await db.value(Query("n", "SELECT text FROM ledger.note WHERE book_id = $1"), book)
    assert f'"rate":"1/7","sold":"700 CNY","bought":"{bought} USD","at_market":100,"gain":{100 - bought}' in note
    assert await db.transact(sweep) == []


async def test_an_exchange_of_one_asset_for_itself_crashes() -> None:
    with pytest.raises(Impossible, match="two assets"):
        exchange(ids.new_id(), "fx", Trade(PAYABLE, 1, SURPLUS, 1, Fraction(1)), ids.new_id(), AT, ids.new_id())


async def test_points_are_whole_and_meet_money_nowhere(db: Database) -> None:
    book = ids.new_id()
    source = Account("receivable:a", "POINT")
    assert await posted(db, move("p", source, POINTS, 1250, book), move("no", POINTS, PAYABLE, 1, book)) == [
        "created",
        "asset_mismatch",
    ]
    assert await page_of(db, book) == page("""
        p
          receivable -> payable   1250 POINT
    """)


async def test_between_books_both_move_or_neither(db: Database) -> None:
    a, b, about = ids.new_id(), ids.new_id(), ids.new_id()
    await posted(db, move("in", RECEIVABLE, SURPLUS, 100, a))

    assert await posted(db, *between("fee:1", (a, SURPLUS), (b, PAYABLE), 60, about, AT, about)) == ["created"] * 2
    assert await posted(db, *between("fee:2", (a, SURPLUS), (b, PAYABLE), 41, about, AT, about)) == [
        "insufficient_funds",
        "linked_refused",
    ]
    assert await posted(db, *between("fee:1", (a, SURPLUS), (b, PAYABLE), 60, about, AT, about)) == ["exists"] * 2

    assert (await shown(db, a), await shown(db, b)) == (
        {"receivable": -100, "surplus": 40, "clearing": 60}, {"clearing": -60, "payable": 60},
    )  # fmt: skip
    together = {r["code"]: int(r["balance"]) for r in await trial_balance(db) if r["asset"] == "CNY"}
    assert together.get("clearing", 0) == 0, "over all books nobody owes anybody"


async def test_a_hold_that_expired_is_not_captured_and_the_sweep_gives_it_back_once(db: Database) -> None:
    book, id, soon = ids.new_id(), ids.new_id(), clock.now() + timedelta(minutes=5)
    await posted(db, move("in", RECEIVABLE, SURPLUS, 100, book), journal("h", hold(SURPLUS, 80, id, soon), book=book))
    assert await posted(db, journal("take", capture(id, SURPLUS, PAYABLE, 30), book=book)) == ["created"]
    assert await expire_due(db, clock.now()) == 0
    late = soon + timedelta(seconds=1)

    refused = await db.transact(
        lambda tx: post(tx, [journal("late", capture(id, SURPLUS, PAYABLE, 1), book=book)], now=late)
    )
    assert [p.code for p in refused] == ["hold_expired"]
    assert [await expire_due(db, late), await expire_due(db, late)] == [1, 0]

    [row] = await db.rows(
        Query("h", "SELECT balance, held FROM ledger.account WHERE book_id = $1 AND code = 'surplus'"), book
    )
    assert (row["balance"], row["held"]) == (70, 0)
    assert await db.transact(sweep) == []
