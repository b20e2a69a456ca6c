"""Posting orders: what one book owes another is posted there once, whoever dies, races or refuses; and nothing else moves a clearing account."""

import asyncio
from uuid import UUID

import asyncpg
import pytest

from book import book as page_of
from book import page, shown
from changed import replace
from guilder.core import ids
from guilder.core.check import Impossible
from guilder.core.errors import Invalid
from guilder.ledger import Account, Journal, Order, Transfer, clearing, fees, post, sweep
from guilder.ledger.closing import close_account
from guilder.ledger.history import reverse
from guilder.ledger.orders import post_due, post_ordered
from guilder.ledger.take_in import read
from guilder.platform.db import Database, Tx
from guilder.platform.sql import Query
from journals import PAYABLE, RECEIVABLE, journal, move
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio

ORDERS = Query("orders", "SELECT key, units, problem FROM ledger.order WHERE book_id = $1 ORDER BY key")
CASES = Query("cases", "SELECT kind, subject, seen FROM platform.case WHERE book_id = $1")
NOW = Query("now", "UPDATE ledger.order SET run_at = now() WHERE book_id = $1")


def charged(n: int, shop: UUID, house: UUID, fee: int = 6, asset: str = "CNY") -> Journal:
    """A charge of 1.00 of which the house keeps a fee."""
    due = replace(PAYABLE, asset=asset)
    made = journal(
        f"charge:{n}", Transfer(replace(RECEIVABLE, asset=asset), due, 100), Transfer(due, clearing(house, asset), fee), book=shop
    )  # fmt: skip
    return replace(made, order=Order(house, f"fee:{n:02}", "fee", fees(asset), fee, made.about))


async def posted(db: Database, *journals: Journal) -> list[str]:
    return [p.code.value for p in await db.transact(lambda tx: post(tx, journals))]


async def ordered(db: Database, house: UUID) -> list[str]:
    return [r["key"] for r in await db.rows(ORDERS, house)]


async def test_L9_an_order_is_written_with_its_journal_and_gone_with_the_one_it_posts(db: Database) -> None:
    shop, house = ids.new_id(), ids.new_id()

    assert await posted(db, charged(1, shop, house), charged(2, shop, house, fee=1)) == ["created"] * 2
    assert (await shown(db, shop), await shown(db, house)) == ({"receivable": -200, "payable": 193, "clearing": 7}, {})
    assert await ordered(db, house) == ["fee:01", "fee:02"]
    assert await db.transact(sweep) == [], "what is owed is ordered"
    assert await posted(db, charged(1, shop, house)) == ["exists"], "and ordered once"

    assert [await post_due(db), await post_due(db)] == [2, 0]
    assert (await shown(db, house), await ordered(db, house)) == ({"clearing": -7, "fees": 7}, [])
    assert await page_of(db, house) == page("""
        fee:01
          clearing -> fees   0.06 CNY
        fee:02
          clearing -> fees   0.01 CNY
    """)
    assert await db.transact(sweep) == []


async def test_a_refused_journal_orders_nothing(db: Database) -> None:
    shop, house = ids.new_id(), ids.new_id()
    floored = Transfer(Account("surplus", "CNY"), PAYABLE, 5)
    made = charged(1, shop, house)

    assert await posted(db, replace(made, transfers=(*made.transfers, floored))) == ["insufficient_funds"]

    assert await ordered(db, house) == []
    assert await db.transact(sweep) == []


async def test_workers_that_race_post_every_order_once(db: Database) -> None:
    shops, house = [ids.new_id() for _ in range(5)], ids.new_id()
    for n in range(5):
        await posted(db, *(charged(10 * n + m, shops[m % 5], house) for m in range(10)))

    async def worker() -> int:
        done = 0
        while n := await db.transact(lambda tx: post_ordered(tx, house, 7), lock_timeout_ms=20_000):
            done += n
        return done

    assert sum(await asyncio.gather(*(worker() for _ in range(4)))) == 50
    assert await shown(db, house) == {"clearing": -300, "fees": 300}
    assert await db.transact(sweep) == []


async def test_whoever_dies_between_posting_and_commit_has_done_nothing(db: Database) -> None:
    shop, house = ids.new_id(), ids.new_id()
    await posted(db, charged(1, shop, house))

    async def dies(tx: Tx) -> None:
        assert await post_ordered(tx, house) == 1
        await tx.flush()
        raise KeyError("power")

    with pytest.raises(KeyError):
        await db.transact(dies)
    assert (await shown(db, house), await ordered(db, house)) == ({}, ["fee:01"])
    assert await post_due(db) == 1
    assert (await shown(db, house), await ordered(db, house)) == ({"clearing": -6, "fees": 6}, [])


async def test_what_is_refused_waits_for_a_person_and_holds_nobody_up(db: Database) -> None:
    """Its key is not used up: it is posted when the reason has gone."""
    shop, house = ids.new_id(), ids.new_id()
    points = fees("POINT")
    await posted(
        db,
        move("1", points, Account("own:x", "POINT"), 5, house),
        move("2", Account("own:x", "POINT"), points, 5, house),
    )
    await db.transact(lambda tx: close_account(tx, house, points))
    await posted(db, charged(1, shop, house), charged(2, shop, house, asset="POINT"), charged(3, shop, house))

    assert [await post_due(db) for _ in range(3)] == [1, 2, 0], "the first try finds out which it is"
    assert [dict(r) for r in await db.rows(ORDERS, house)] == [
        {"key": "fee:02", "units": 6, "problem": "account_closed"}
    ]
    assert [tuple(r) for r in await db.rows(CASES, house)] == [("posting_order_refused", "fee:02", 1)]
    assert await db.transact(sweep) == [], "it is owed, and it is ordered"

    await db.transact(lambda tx: close_account(tx, house, points, reopen=True))
    await db.transact(lambda tx: tx.run(NOW, house))
    assert await post_due(db) == 1
    assert (await shown(db, house), await ordered(db, house)) == ({"clearing": -18, "fees": 18}, [])


async def test_an_order_that_comes_twice_is_posted_once_and_told(place: Place, db: Database) -> None:
    shop, house = ids.new_id(), ids.new_id()
    await posted(db, charged(1, shop, house))
    async with place.owner() as owner:
        await owner.execute("CREATE TEMP TABLE kept AS SELECT * FROM ledger.order LIMIT 0")
        await owner.execute("INSERT INTO kept SELECT * FROM ledger.order WHERE book_id = $1", house)
        assert await post_due(db) == 1
        await owner.execute("INSERT INTO ledger.order SELECT * FROM kept")

        await post_due(db)

        assert await shown(db, house) == {"clearing": -6, "fees": 6}
        assert [tuple(r) for r in await db.rows(CASES, house)] == [("posting_order_refused", "fee:01", 1)]
        assert [b.invariant for b in await db.transact(sweep)] == ["L9"]
        await owner.execute("DELETE FROM ledger.order WHERE book_id = $1", house)
    assert await db.transact(sweep) == []


@pytest.mark.parametrize(
    "over",
    [
        {"order": None},
        {"transfers": (Transfer(RECEIVABLE, PAYABLE, 100),)},
        {"transfers": (Transfer(PAYABLE, clearing(ids.PLATFORM, "CNY"), 5),)},
        {"transfers": (Transfer(clearing(ids.PLATFORM, "CNY"), PAYABLE, 6),)},
    ],
    ids=["no order", "nothing owed", "another amount", "the other way"],
)
async def test_L9_PostgreSQL_lets_nobody_owe_what_he_does_not_order(db: Database, over: dict[str, object]) -> None:
    shop = ids.new_id()
    made = charged(1, shop, ids.PLATFORM)

    with pytest.raises(asyncpg.RaiseError, match="L9: what moves on clearing accounts"):
        await posted(db, replace(made, **over))

    assert (await shown(db, shop), await ordered(db, ids.PLATFORM)) == ({}, [])


async def test_L9_nobody_posts_to_a_clearing_account_by_hand(db: Database) -> None:
    shop, house = ids.new_id(), ids.new_id()
    [made] = await db.transact(lambda tx: post(tx, [charged(1, shop, house)]))

    with pytest.raises(Invalid, match="its other half in the other one"):
        await db.transact(lambda tx: reverse(tx, shop, made.journal_id))
    line = f"1,payable,clearing:{ids.text(house)},CNY,5"
    with pytest.raises(Invalid, match="never by hand"):
        read(shop, ["key,debit,credit,asset,units", line])
    with pytest.raises(Impossible, match="posts itself"):
        await posted(db, charged(2, house, house))
    assert await post_due(db) == 1
