"""Batches that are judged over what the one before leaves behind, before it is committed: right, or written nowhere."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from guilder.core import clock, ids
from guilder.ledger import Code, Journal, Posted, Transfer, ahead, capture, hold, post, sweep
from guilder.ledger.chart import Account
from guilder.ledger.closing import close_account
from guilder.ledger.own import open_own
from guilder.platform.db import Contended, Database, Tx
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio

BANK, PURSE, SHOP = (Account(f"x:{name}", "CNY") for name in ("bank", "purse", "shop"))


@pytest.fixture
async def book(db: Database) -> UUID:
    """A book with accounts that this process has posted between, so that it knows them."""
    id = ids.new_id()

    async def opening(tx: Tx) -> None:
        await open_own(tx, id, BANK, "debit", None)
        for account in (PURSE, SHOP):
            await open_own(tx, id, account, "credit", 0)

    await db.transact(opening)
    await say(db, move(id, BANK, PURSE, 100), move(id, PURSE, SHOP, 40))
    return id


@pytest.fixture
async def other(place: Place) -> AsyncIterator[Database]:
    """Another process."""
    pool = await Database("test", place.dsn(), size=2).open()
    yield pool
    await pool.close()


def move(book: UUID, debit: Account, credit: Account, units: int) -> Journal:
    return journal(book, Transfer(debit, credit, units))


def journal(book: UUID, transfer: Transfer) -> Journal:
    id = ids.new_id()
    return Journal(book, f"x:{id}", "manual", (transfer,), id, clock.now(), id)


async def say(db: Database, *journals: Journal, hopeful: bool = True) -> list[Posted]:
    return await db.transact(lambda tx: post(tx, journals), hopeful=hopeful)


def codes(posted: list[Posted]) -> list[Code]:
    return [p.code for p in posted]


async def balances(place: Place, book: UUID) -> dict[str, int]:
    rows = await place.fetch("SELECT code, balance FROM ledger.account WHERE book_id = $1", book)
    return {r["code"]: r["balance"] for r in rows}


async def both(
    db: Database, first: Journal, second: Journal, *, fails: bool
) -> tuple[list[Posted], list[Posted] | None]:
    """Two batches on their way at once, the second judged while the first is not yet sent; the first then fails, or not."""
    judged, go = asyncio.Event(), asyncio.Event()

    async def leads(tx: Tx) -> list[Posted]:
        posted = await post(tx, [first])
        assert not tx.opened, "it was judged ahead"
        judged.set()
        await go.wait()
        if fails:
            raise RuntimeError("called off")
        return posted

    async def follows(tx: Tx) -> list[Posted]:
        posted = await post(tx, [second])
        assert not tx.opened
        told.append(posted)
        go.set()
        await asyncio.sleep(0.05)  # whoever leads is sent before
        return posted

    told: list[list[Posted]] = []
    leading = asyncio.create_task(db.transact(leads, hopeful=True))
    await judged.wait()
    try:
        await db.transact(follows, hopeful=True)
    except Contended:
        with pytest.raises(RuntimeError):
            await leading
        return told[0], None
    return await leading, told[0]


async def test_what_is_not_committed_yet_can_be_spent_by_the_next(db: Database, place: Place, book: UUID) -> None:
    first, second = await both(db, move(book, BANK, PURSE, 50), move(book, PURSE, SHOP, 110), fails=False)

    assert codes(first) == [Code.CREATED]
    assert second is not None and codes(second) == [Code.CREATED]
    assert await balances(place, book) == {"x:bank": -150, "x:purse": 0, "x:shop": 150}
    assert await db.transact(sweep) == []


async def test_what_was_called_off_is_spent_by_nobody(db: Database, place: Place, book: UUID) -> None:
    spend = move(book, PURSE, SHOP, 110)
    judged, second = await both(db, move(book, BANK, PURSE, 50), spend, fails=True)

    assert (codes(judged), second) == ([Code.CREATED], None), "it was judged so, and not written"
    assert codes(await say(db, spend, hopeful=False)) == [Code.INSUFFICIENT_FUNDS]
    assert codes(await say(db, move(book, PURSE, SHOP, 60))) == [Code.CREATED]
    assert await balances(place, book) == {"x:bank": -100, "x:purse": 0, "x:shop": 100}


async def test_another_process_was_faster(db: Database, other: Database, place: Place, book: UUID) -> None:
    assert codes(await say(other, move(book, PURSE, SHOP, 60), hopeful=False)) == [Code.CREATED]

    late = move(book, PURSE, SHOP, 1)
    with pytest.raises(Contended):
        await say(db, late)
    assert codes(await say(db, late, hopeful=False)) == [Code.INSUFFICIENT_FUNDS]
    assert (await balances(place, book))["x:purse"] == 0


async def test_an_account_was_closed_meanwhile(db: Database, other: Database, book: UUID) -> None:
    await say(db, move(book, PURSE, SHOP, 60))
    assert (await other.transact(lambda tx: close_account(tx, book, PURSE))).code is Code.CREATED

    late = move(book, BANK, PURSE, 1)
    with pytest.raises(Contended):
        await say(db, late)
    assert codes(await say(db, late, hopeful=False)) == [Code.ACCOUNT_CLOSED]


async def test_a_key_that_was_used_is_found_by_its_key(db: Database, book: UUID) -> None:
    once = move(book, BANK, PURSE, 7)
    assert codes(await say(db, once)) == [Code.CREATED]
    with pytest.raises(Exception, match="duplicate key"):
        await say(db, once)
    assert codes(await say(db, once, hopeful=False)) == [Code.EXISTS]


async def test_while_somebody_else_posts_too_the_book_is_locked_first(
    db: Database, other: Database, book: UUID
) -> None:
    await say(other, move(book, BANK, PURSE, 1), hopeful=False)
    with pytest.raises(Contended):
        await say(db, move(book, BANK, PURSE, 1))
    await say(db, move(book, BANK, PURSE, 1), hopeful=False)
    seen: list[bool] = []

    async def work(tx: Tx) -> list[Posted]:
        posted = await post(tx, [move(book, BANK, PURSE, 1)])
        seen.append(tx.opened)
        return posted

    await db.transact(work, hopeful=True)
    assert seen == [True]


async def test_many_at_once_leave_what_they_would_one_by_one(
    db: Database, other: Database, place: Place, book: UUID
) -> None:
    """Six callers, two of them of another process, with holds; whatever was answered is in the book."""
    answered: dict[str, int] = {"x:bank": -100, "x:purse": 60, "x:shop": 40}

    async def caller(at: Database, n: int) -> None:
        for turn in range(25):
            id = ids.new_id()
            batch = [
                move(book, BANK, PURSE, 3), journal(book, hold(PURSE, 2, id)), journal(book, capture(id, PURSE, SHOP, 2)),
                move(book, PURSE, SHOP, 1 + 1000 * (turn % 5 == n % 5)),
            ]  # fmt: skip
            try:
                posted = await say(at, *batch)
            except Contended:
                posted = await at.transact(lambda tx, batch=batch: post(tx, batch))
            for j, p in zip(batch, posted, strict=True):
                t = j.transfers[0]
                if p.code is Code.CREATED and t.credit is not None:
                    answered[t.debit.code] -= t.units
                    answered[t.credit.code] += t.units

    await asyncio.gather(*(caller(other if n > 3 else db, n) for n in range(6)))
    assert await balances(place, book) == answered
    assert await db.transact(sweep) == []
    memory = db._memory["ledger"]
    assert (memory.ahead, memory.locking) == ({}, {}), "nobody is counted for ever"


async def test_what_is_remembered_has_an_end(db: Database, book: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten stand for twenty thousand: only the number is another one."""
    monkeypatch.setattr(ahead, "MOST", 10)
    made = [journal(book, hold(PURSE, 1, ids.new_id())) for _ in range(12)]
    assert codes(await say(db, *made)) == [Code.CREATED] * 12
    assert len(db._memory["ledger"].books[book].holds) <= 10
    taken = capture(made[0].transfers[0].hold or book, PURSE, SHOP, 1)
    assert codes(await say(db, journal(book, taken))) == [Code.CREATED], "what was forgotten is looked at"
