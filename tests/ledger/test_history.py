"""History: what any account stood at at any instant, statements page by page, mirrors, and what is dated back."""

import asyncio
import random
from datetime import datetime, timedelta
from itertools import accumulate
from uuid import UUID

import pytest
from msgspec import structs

from book import book as page_of
from book import page, shown
from guilder.core import clock, ids
from guilder.core.errors import Invalid, NotFound
from guilder.ledger import Posted, Transfer, capture, hold, post, release, sweep
from guilder.ledger.closing import close_account, close_period, closings, end_of, in_period
from guilder.ledger.history import balance_at, effective_balance_at, reverse, statement, trial_balance
from guilder.platform.db import Database
from guilder.platform.sql import Query
from journals import PAYABLE, RECEIVABLE, SURPLUS, journal, move

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio

OWN_A, OWN_B = structs.replace(PAYABLE, code="own:a"), structs.replace(PAYABLE, code="own:b")


def between(rng: random.Random) -> Transfer:
    debit, credit = rng.sample([PAYABLE, RECEIVABLE, OWN_A, OWN_B], 2)
    return Transfer(debit, credit, rng.randint(1, 99))


async def posted(db: Database, *journals: object) -> list[str]:
    return [p.code.value for p in await db.transact(lambda tx: post(tx, journals))]


@pytest.mark.parametrize("limit", [1, 2, 7, 1000])
async def test_a_statement_is_the_fold_of_its_lines_page_by_page(db: Database, limit: int) -> None:
    book, rng, held = ids.new_id(), random.Random(limit), ids.new_id()
    moments: list[tuple[datetime, int, int]] = []
    for batch in range(25):
        said = [
            journal(f"{batch}:{n}", *(between(rng) for _ in range(rng.randint(1, 3))), book=book)
            for n in range(rng.randint(1, 6))
        ]
        if batch == 3:
            said.append(journal("hold", Transfer(RECEIVABLE, PAYABLE, 1), hold(PAYABLE, 50, held), book=book))
        if batch == 9:
            said.append(journal("take", capture(held, PAYABLE, OWN_A, 20), release(held, PAYABLE, 10), book=book))
        await posted(db, *said)
        stood = await db.row(
            sql("SELECT balance, held FROM ledger.account WHERE book_id = $1 AND id = $2"), book, PAYABLE.id(book)
        )
        moments.append(
            (clock.now() + timedelta(milliseconds=1), stood["balance"] if stood else 0, stood["held"] if stood else 0)
        )
        await asyncio.sleep(0.003)

    lines, after = [], None
    while rows := await statement(db, book, PAYABLE, after=after, limit=limit):
        assert len(rows) <= limit
        lines += rows
        after = rows[-1]["journal_id"], rows[-1]["line"]
    all_at_once = await statement(db, book, PAYABLE, limit=10_000)
    assert [dict(r) for r in lines] == [dict(r) for r in all_at_once]
    expected = await db.rows(sql(
        "SELECT t.journal_id, t.line, CASE WHEN t.credit_id IS NULL THEN 0 WHEN t.credit_id = $2 THEN units ELSE -units END AS moved "
        "FROM ledger.transfer t WHERE t.book_id = $1 AND $2 IN (t.debit_id, t.credit_id) ORDER BY 1, 2"), book, PAYABLE.id(book))  # fmt: skip
    assert [(r["journal_id"], r["line"]) for r in lines] == [(r["journal_id"], r["line"]) for r in expected]
    assert [r["balance"] for r in lines] == list(accumulate(r["moved"] for r in expected))
    assert [r["held"] for r in lines if r["kind"] not in ("move",)] == [50, 30, 20]
    for at, balance, reserved in moments:
        stood = await balance_at(db, book, PAYABLE, at)
        assert (stood.balance, stood.held) == (balance, reserved)
    half = moments[12][0]
    first, second = (
        await statement(db, book, PAYABLE, until=half, limit=1000),
        await statement(db, book, PAYABLE, half, limit=1000),
    )
    assert [dict(r) for r in [*first, *second]] == [dict(r) for r in lines]
    assert await balance_at(db, book, PAYABLE, clock.now() - timedelta(days=1)) == await balance_at(
        db, ids.new_id(), PAYABLE, clock.now()
    )


def sql(text: str) -> Query:
    return Query("test", text)


async def test_a_mirror_takes_a_journal_back_once_and_names_it(db: Database) -> None:
    book = ids.new_id()
    [made] = await db.transact(
        lambda tx: post(tx, [journal("fee:1", Transfer(PAYABLE, OWN_A, 7), Transfer(PAYABLE, OWN_B, 2), book=book)])
    )

    first = await db.transact(lambda tx: reverse(tx, book, made.journal_id, note='{"why":"wrong merchant"}'))
    again = await db.transact(lambda tx: reverse(tx, book, made.journal_id))

    assert (first.code, again.code, again.journal_id) == ("created", "exists", first.journal_id)
    assert await shown(db, book) == {}
    assert await page_of(db, book) == page("""
        fee:1
          payable -> own   0.07 CNY
          payable -> own   0.02 CNY
        reverse:fee:1
          own -> payable   0.07 CNY
          own -> payable   0.02 CNY
    """)
    assert (
        await db.value(sql("SELECT reverses FROM ledger.journal WHERE book_id = $1 AND key = 'reverse:fee:1'"), book)
        == made.journal_id
    )
    with pytest.raises(NotFound):
        await db.transact(lambda tx: reverse(tx, book, ids.new_id()))
    [of_hold] = await db.transact(lambda tx: post(tx, [journal("h", hold(OWN_A, 1, ids.new_id()), book=book)]))
    with pytest.raises(Invalid, match="release"):
        await db.transact(lambda tx: reverse(tx, book, of_hold.journal_id))


def dated(key: str, units: int, at: datetime, book: UUID):
    return structs.replace(move(key, RECEIVABLE, PAYABLE, units, book), at=at)


async def test_what_is_dated_back_changes_no_booked_balance(db: Database) -> None:
    book, now = ids.new_id(), clock.now()
    await posted(db, dated("today", 100, now, book))
    booked = clock.now() + timedelta(milliseconds=1)
    await asyncio.sleep(0.003)
    await posted(db, dated("found late", 30, now - timedelta(days=40), book))

    assert (await balance_at(db, book, PAYABLE, booked)).balance == 100
    assert [await effective_balance_at(db, book, PAYABLE, now - timedelta(days=d)) for d in (41, 39, -1)] == [
        0,
        30,
        130,
    ]


async def test_L8_a_closed_period_refuses_and_its_balances_stay(db: Database) -> None:
    book, zone = ids.new_id(), "Asia/Shanghai"
    october, november = end_of("2026-09", zone), end_of("2026-10", zone)
    assert (october.isoformat(), november.isoformat()) == ("2026-10-01T00:00:00+08:00", "2026-11-01T00:00:00+08:00")
    await posted(
        db,
        dated("a", 100, october - timedelta(seconds=1), book),
        dated("b", 7, october, book),
        dated("c", 20, november, book),
    )

    assert (await db.transact(lambda tx: close_period(tx, book, october))).code == "created"
    assert await posted(db, dated("late", 1, october - timedelta(microseconds=1), book)) == ["period_closed"]
    assert await posted(db, dated("in time", 5, october, book)) == ["created"]
    assert (await db.transact(lambda tx: close_period(tx, book, november))).code == "created"

    assert [tuple(r.values()) for r in await closings(db, book, october)] == [
        ("payable", "CNY", "credit", 0, 0, 100, 100), ("receivable:a", "CNY", "debit", 0, 100, 0, -100),
    ]  # fmt: skip
    assert [tuple(r.values())[3:] for r in await closings(db, book, november)] == [
        (100, 0, 12, 112),
        (-100, 12, 0, -112),
    ]
    later = await in_period(db, book, november, clock.now() + timedelta(days=2))
    assert [tuple(int(n) for n in tuple(r.values())[3:]) for r in later] == [(112, 0, 20, 132), (-112, 20, 0, -132)]
    assert await effective_balance_at(db, book, PAYABLE, november + timedelta(days=1)) == 132
    assert await effective_balance_at(db, book, PAYABLE, november) == 112
    assert await effective_balance_at(db, book, PAYABLE, october) == 100
    assert await db.transact(sweep) == []


async def test_L8_what_has_happened_is_booked_on_the_first_open_instant(db: Database) -> None:
    """A payment that is told late: its money is there, whatever was closed meanwhile."""
    book, now = ids.new_id(), clock.now()
    until = now - timedelta(days=1)
    await db.transact(lambda tx: close_period(tx, book, until))
    late = structs.replace(dated("late", 5, until - timedelta(days=3), book), carried=True)
    ahead = structs.replace(dated("ahead", 5, now + timedelta(days=9), book), carried=True)

    assert await posted(db, late, ahead, late) == ["created", "created", "exists"]

    rows = await db.rows(
        sql("SELECT key, at FROM ledger.journal WHERE book_id = $1 AND rule = 'charge' ORDER BY key"), book
    )
    assert rows[1]["at"] == until and now < rows[0]["at"] < now + timedelta(days=2)
    assert await db.transact(sweep) == []


async def test_L8_a_period_is_closed_once_when_it_is_over_and_never_opened(db: Database) -> None:
    book, now = ids.new_id(), clock.now()

    async def close(at: datetime) -> Posted:
        return await db.transact(lambda tx: close_period(tx, book, at))

    assert (await close(now + timedelta(hours=1))).code == "dated_ahead"
    assert (await close(now - timedelta(days=1))).code == "created", "an empty book is closed like any other"
    assert (await close(now - timedelta(days=1))).code == "exists"
    assert (await close(now - timedelta(days=2))).code == "period_closed"
    assert await posted(db, dated("ahead", 1, now + timedelta(days=2), book)) == ["dated_ahead"]
    for wrong in ("2026-13", "2026-02-30", "yesterday", ""):
        with pytest.raises(Invalid):
            end_of(wrong, "Asia/Shanghai")
    assert await db.transact(sweep) == []


async def test_L8_a_closed_account_takes_nothing_until_it_is_opened(db: Database) -> None:
    book = ids.new_id()
    await posted(db, move("in", RECEIVABLE, SURPLUS, 5, book))

    async def close(**more: bool) -> str:
        return (await db.transact(lambda tx: close_account(tx, book, SURPLUS, **more))).code

    assert await close() == "account_not_empty"
    await posted(db, move("out", SURPLUS, PAYABLE, 5, book))
    assert [await close(), await close()] == ["created", "nothing_changes"]
    assert await posted(db, move("again", RECEIVABLE, SURPLUS, 5, book)) == ["account_closed"]
    assert [await close(reopen=True), await close(reopen=True)] == ["created", "nothing_changes"]
    assert await posted(db, move("and again", RECEIVABLE, SURPLUS, 5, book)) == ["created"]
    assert (await db.transact(lambda tx: close_account(tx, book, OWN_B))).code == "account_not_found"
    assert await db.transact(sweep) == []


async def test_the_trial_balance_is_even_in_every_asset(db: Database) -> None:
    book = ids.new_id()
    usd = structs.replace
    await posted(db, move("1", RECEIVABLE, PAYABLE, 70, book), move("2", PAYABLE, OWN_A, 20, book),
                 move("3", usd(RECEIVABLE, asset="USD"), usd(PAYABLE, asset="USD"), 9, book))  # fmt: skip

    rows = await trial_balance(db, book)

    assert [(r["code"], r["asset"], r["debit"], r["credit"]) for r in rows] == [
        ("own", "CNY", 0, 20), ("payable", "CNY", 0, 50), ("receivable", "CNY", 70, 0), ("payable", "USD", 0, 9), ("receivable", "USD", 9, 0),
    ]  # fmt: skip
    everything = await trial_balance(db)
    for asset in {r["asset"] for r in everything}:
        assert sum(r["balance"] for r in everything if r["asset"] == asset) == 0
