"""Post: L1 to L5, one answer per journal, whatever the size of the batch."""

import asyncio
import random
from typing import Any

import asyncpg
import pytest

from book import book, page, shown
from guilder.core import ids
from guilder.core.amount import INT64
from guilder.core.check import Impossible
from guilder.ledger import Code, Posted, Transfer, post, sweep
from guilder.platform.db import Conflict, Database, Tx
from guilder.platform.sql import Query
from journals import BOOK, PAYABLE, RECEIVABLE, SURPLUS, account, journal, move
from place import CountingTx, Place

WAITING = Query(
    "waiting", "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
COUNT = Query("count", "SELECT count(*) FROM ledger.journal WHERE book_id = $1")
pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio


def codes(posted: list[Posted]) -> list[str]:
    return [p.code.value for p in posted]


async def test_L1_a_transfer_takes_what_it_gives(tx: CountingTx) -> None:
    await post(tx, [move("charge:1", RECEIVABLE, PAYABLE, 500)])

    assert await book(tx, BOOK) == page("""
        charge:1
          receivable -> payable   5.00 CNY
    """)
    assert await shown(tx, BOOK) == {"receivable": -500, "payable": 500}


@pytest.mark.parametrize(
    "broken",
    [
        lambda: Transfer(RECEIVABLE, PAYABLE, 0),
        lambda: Transfer(RECEIVABLE, PAYABLE, -1),
        lambda: Transfer(RECEIVABLE, PAYABLE, INT64 + 1),
        lambda: Transfer(RECEIVABLE, account("payable", "USD"), 1),
        lambda: Transfer(PAYABLE, PAYABLE, 1),
    ],
)
def test_L1_what_does_not_balance_cannot_be_said(broken: Any) -> None:
    with pytest.raises(Impossible):
        broken()


async def test_L1_an_account_outside_the_chart_crashes(tx: CountingTx) -> None:
    with pytest.raises(Impossible, match="chart"):
        await post(tx, [move("k", RECEIVABLE, account("slush fund"), 1)])


async def test_L1_a_journal_has_transfers_and_not_too_many(tx: CountingTx) -> None:
    for transfers in ((), (Transfer(RECEIVABLE, PAYABLE, 1),) * 101):
        with pytest.raises(Impossible, match="1 to 100"):
            await post(tx, [journal("k", *transfers)])


@pytest.mark.parametrize(
    "statement", ["UPDATE ledger.{} SET book_id = book_id", "DELETE FROM ledger.{}", "TRUNCATE ledger.{}"]
)
@pytest.mark.parametrize("table", ["journal", "transfer"])
async def test_L2_nobody_changes_what_is_written(place: Place, db: Database, table: str, statement: str) -> None:
    await db.transact(lambda tx: post(tx, [move("written", RECEIVABLE, PAYABLE, 1, book=ids.new_id())]))
    statement = statement.format(table)
    async with place.connect("app") as app:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(statement)
    async with place.owner() as owner:
        cascade = " CASCADE" if statement.startswith("TRUNCATE") else ""
        with pytest.raises(asyncpg.RaiseError, match="written once"):
            await owner.execute(statement + cascade)


async def test_L2_the_application_may_change_balances_and_nothing_else_of_accounts(place: Place) -> None:
    async with place.connect("app") as app:
        for statement in (
            "UPDATE ledger.account SET floor = NULL",
            "DELETE FROM ledger.account",
            "TRUNCATE ledger.account",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.execute(statement)


async def test_L3_balances_are_the_sums_of_their_transfers(tx: CountingTx) -> None:
    half = journal(
        "k", Transfer(RECEIVABLE, PAYABLE, 70), Transfer(PAYABLE, SURPLUS, 30), Transfer(SURPLUS, RECEIVABLE, 10)
    )

    await post(tx, [half, move("l", RECEIVABLE, PAYABLE, 5)])

    assert await shown(tx, BOOK) == {"receivable": -65, "payable": 45, "surplus": 20}
    assert await sweep(tx) == []


async def test_L4_a_floor_refuses_and_leaves_nothing(tx: CountingTx) -> None:
    posted = await post(tx, [move("in", RECEIVABLE, SURPLUS, 100), move("out", SURPLUS, RECEIVABLE, 101)])

    assert codes(posted) == ["created", "insufficient_funds"]
    assert await book(tx, BOOK) == page("""
        in
          receivable -> surplus   1.00 CNY
    """)
    assert codes(await post(tx, [move("out", SURPLUS, RECEIVABLE, 100)])) == ["created"], "the key was not used up"


async def test_L4_a_journal_counts_as_a_whole(tx: CountingTx) -> None:
    """Its transfers may dip below a floor on the way; its sum may not."""
    dips = journal("dips", Transfer(SURPLUS, PAYABLE, 10), Transfer(RECEIVABLE, SURPLUS, 10))
    falls = journal("falls", Transfer(RECEIVABLE, SURPLUS, 10), Transfer(SURPLUS, PAYABLE, 11))

    assert codes(await post(tx, [dips, falls])) == ["created", "insufficient_funds"]


async def test_L4_each_journal_sees_what_those_before_it_did(tx: CountingTx) -> None:
    out, in_, again = move("1", SURPLUS, PAYABLE, 5), move("2", RECEIVABLE, SURPLUS, 5), move("3", SURPLUS, PAYABLE, 5)

    assert codes(await post(tx, [out, in_, again])) == ["insufficient_funds", "created", "created"]


async def test_L4_the_table_itself_holds_the_floor(place: Place, db: Database) -> None:
    await db.transact(lambda tx: post(tx, [move("floor", RECEIVABLE, SURPLUS, 3, book=ids.new_id())]))
    async with place.connect("app") as app:
        with pytest.raises(asyncpg.CheckViolationError, match="L4 floor"):
            await app.execute("UPDATE ledger.account SET balance = -1 WHERE code = 'surplus'")


async def test_L4_a_balance_stays_within_64_bits(tx: CountingTx) -> None:
    full, more = move("full", RECEIVABLE, PAYABLE, INT64), move("more", RECEIVABLE, PAYABLE, 1)

    assert codes(await post(tx, [full, more])) == ["created", "balance_overflow"]
    assert codes(await post(tx, [more, move("less", PAYABLE, RECEIVABLE, 1)])) == ["balance_overflow", "created"]


async def test_L5_one_key_moves_money_once(tx: CountingTx) -> None:
    [first] = await post(tx, [move("k1", RECEIVABLE, PAYABLE, 100)])
    [again] = await post(tx, [move("k1", RECEIVABLE, PAYABLE, 100)])

    assert (first.code, again.code, first.journal_id) == (Code.CREATED, Code.EXISTS, again.journal_id)
    assert await shown(tx, BOOK) == {"receivable": -100, "payable": 100}


async def test_L5_one_key_fifty_times_in_one_batch(tx: CountingTx) -> None:
    posted = await post(tx, [move("k", RECEIVABLE, PAYABLE, 100) for _ in range(50)])

    assert codes(posted) == ["created"] + ["exists"] * 49
    assert len({p.journal_id for p in posted}) == 1
    assert await shown(tx, BOOK) == {"receivable": -100, "payable": 100}


@pytest.mark.parametrize("together", [True, False])
async def test_L5_a_key_with_other_transfers_is_another_journal(tx: CountingTx, together: bool) -> None:
    ours = move("k", RECEIVABLE, PAYABLE, 100)
    others = [
        move("k", RECEIVABLE, PAYABLE, 101),
        move("k", PAYABLE, RECEIVABLE, 100),
        move("k", account("receivable:b"), PAYABLE, 100),
        journal("k", Transfer(RECEIVABLE, PAYABLE, 100), Transfer(RECEIVABLE, PAYABLE, 100)),
        journal("k", Transfer(RECEIVABLE, PAYABLE, 100), rule="refund"),
    ]

    posted = await post(tx, [ours, *others]) if together else [*await post(tx, [ours]), *await post(tx, others)]

    assert codes(posted) == ["created"] + ["exists_with_other_transfers"] * 5
    assert [p.booked for p in posted] == [True] + [False] * 5
    assert await shown(tx, BOOK) == {"receivable": -100, "payable": 100}


async def test_L5_a_key_belongs_to_its_book(tx: CountingTx) -> None:
    posted = await post(tx, [move("k", RECEIVABLE, PAYABLE, 1), move("k", RECEIVABLE, PAYABLE, 2, book=ids.new_id())])

    assert codes(posted) == ["created", "created"]


async def test_L5_two_transactions_on_disjoint_accounts_post_one_key_once(db: Database) -> None:
    book_id, held, go = ids.new_id(), asyncio.Event(), asyncio.Event()

    async def first(tx: Tx) -> list[Posted]:
        posted = await post(tx, [move("k", account("receivable:x"), account("own:x"), 5, book=book_id)])
        await tx.flush()
        held.set()
        await go.wait()
        return posted

    async def second(tx: Tx) -> list[Posted]:
        return await post(tx, [move("k", account("receivable:y"), account("own:y"), 5, book=book_id)])

    one = asyncio.create_task(db.transact(first))
    await held.wait()
    two = asyncio.create_task(db.transact(second))
    await waiting_for_a_lock(db)
    go.set()
    assert codes(await one) == ["created"]
    with pytest.raises(Conflict):
        await two
    assert codes(await db.transact(second)) == ["exists_with_other_transfers"], "run again, it sees the first"


async def waiting_for_a_lock(db: Database) -> None:
    async with asyncio.timeout(10):
        while not await db.value(WAITING):
            await asyncio.sleep(0.005)


async def test_eight_writers_on_three_accounts_never_deadlock(db: Database) -> None:
    book_id, accounts = ids.new_id(), [account("payable"), account("own:a"), account("own:b")]

    async def write(seed: int) -> int:
        rng = random.Random(seed)
        moved = 0
        for n in range(12):
            pairs = [rng.sample(accounts, 2) for _ in range(rng.randint(1, 6))]
            journals = [
                move(f"{seed}:{n}:{i}", d, c, rng.randint(1, 99), book=book_id) for i, (d, c) in enumerate(pairs)
            ]
            posted = await db.transact(lambda tx, j=journals: post(tx, j), lock_timeout_ms=20_000)
            moved += codes(posted).count("created")
        return moved

    moved = sum(await asyncio.gather(*(write(seed) for seed in range(8))))

    assert await db.value(COUNT, book_id) == moved
    assert sum((await shown(db, book_id)).values()) == 0
    assert await db.transact(sweep) == []


@pytest.mark.parametrize("size", [1, 7, 300])
async def test_two_statements_whatever_the_size(tx: CountingTx, size: int) -> None:
    await post(tx, [move("open", RECEIVABLE, PAYABLE, 1), move("open s", RECEIVABLE, SURPLUS, 1)])
    await tx.flush()
    tx.statements = 0

    await post(tx, [move(f"k{n}", RECEIVABLE, PAYABLE, 1) for n in range(size)])
    await tx.flush()

    assert tx.statements == 2


async def test_nothing_to_post_asks_nothing(tx: CountingTx) -> None:
    assert (await post(tx, []), tx.statements) == ([], 0)
