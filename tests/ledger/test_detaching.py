"""L10: a month that is detached is lost nowhere, and what stays is proved without it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count
from uuid import UUID

import asyncpg
import pytest
from msgspec import structs
from test_seal import ROWS, change, inside

from guilder.core import clock, ids
from guilder.core.errors import Busy, NotFound
from guilder.ledger import Account, Broken, Journal, Transfer, capture, hold, post, release, seal
from guilder.ledger.audits import AUDITS
from guilder.ledger.closing import close_account
from guilder.ledger.detaching import StaysAttached, Unsound, attach, detach
from guilder.ledger.history import Archived, balance_at, effective_balance_at, reverse, statement
from guilder.ledger.verify import verify
from guilder.platform import audit
from guilder.platform.audit import Window
from guilder.platform.db import Contended, Database, Lost
from guilder.platform.sql import Query
from journals import PAYABLE, RECEIVABLE, SURPLUS
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio

FIVE = ("journal", "transfer", "note", "refusal", "standing")
THIS = clock.now().astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def months_ago(n: int) -> datetime:
    month = THIS
    for _ in range(n):
        month = (month - timedelta(days=1)).replace(day=1)
    return month


FIRST, SECOND, THIRD = months_ago(4), months_ago(3), months_ago(2)  # the months of the tests' history
OWN, OWN_B = Account("own:a", "CNY"), Account("own:b", "CNY")


@dataclass
class Past:
    """A book that lived in other months: every batch is posted as if it were then."""

    db: Database
    place: Place
    id: UUID = field(default_factory=ids.new_id)

    async def post(self, at: datetime, *journals: Journal) -> list[str]:
        """Post as of `at`: ids, dates, clocks."""
        made = ids.new_id
        moment = int(at.timestamp() * 1000) << 80
        ids.new_id = lambda: ids.of_int(moment | (made().int & ((1 << 80) - 1)))
        try:
            said = [structs.replace(j, book_id=self.id, at=j.at if j.rule == "period_closed" else at) for j in journals]
            return [p.code.value for p in await self.db.transact(lambda tx: post(tx, said, now=at))]
        finally:
            ids.new_id = made

    async def close(self, until: datetime, at: datetime | None = None) -> str:
        """Close everything before `until`, as somebody did a day later."""
        return (
            await self.post(
                at or until + timedelta(days=1),
                Journal(self.id, f"close:{until.timestamp():.0f}", "period_closed", (), self.id, until, self.id),
            )
        )[0]


def journal(key: str, *transfers: Transfer, rule: str = "charge") -> Journal:
    return Journal(ids.new_id(), key, rule, transfers, ids.new_id(), clock.now(), ids.new_id())


async def found(db: Database) -> list[Broken]:
    return [b async for b in verify(db, lambda _what, _done, _total: None)]


async def partitions(place: Place) -> None:
    """The months of the past: whoever was there made them in time."""
    for month in (FIRST, SECOND, THIRD, months_ago(1)):
        for table in FIVE:
            await place.fetch(f"SELECT platform.add_partition('ledger.{table}', $1)", month.replace(tzinfo=None))


H1, H2, H3 = (ids.new_id() for _ in range(3))


@pytest.fixture
async def past(db: Database, place: Place) -> AsyncIterator[Past]:
    """Four months of a book with everything that may happen in one, closed until the end of the third; seals lie across the months."""
    await partitions(place)
    book = Past(db, place)
    said = [
        (FIRST + timedelta(days=2), [journal("a", Transfer(RECEIVABLE, PAYABLE, 500)), journal("no", Transfer(SURPLUS, PAYABLE, 1))]),
        (FIRST + timedelta(days=3), [structs.replace(journal("b", Transfer(RECEIVABLE, SURPLUS, 90)), note='{"why":"test"}')]),
        (FIRST + timedelta(days=9), [journal("h1", hold(PAYABLE, 100, H1)), journal("h2", hold(SURPLUS, 40, H2), hold(SURPLUS, 7, H3))]),
        (FIRST + timedelta(days=10), [journal("in", Transfer(RECEIVABLE, OWN_B, 5)), journal("out", Transfer(OWN_B, RECEIVABLE, 5)),
                                      structs.replace(journal("bye", rule="account_closed"), about=OWN_B.id(book.id))]),
        (FIRST + timedelta(days=20), [journal("c1", capture(H1, PAYABLE, OWN, 30)), journal("r3", release(H3, SURPLUS))]),
        (SECOND + timedelta(days=1), [journal("c2", capture(H1, PAYABLE, OWN, 20)), journal("d", Transfer(PAYABLE, OWN, 5))]),
        (SECOND + timedelta(days=8), [journal("e", Transfer(OWN, RECEIVABLE, 3))]),
        (THIRD + timedelta(days=4), [journal("r2", release(H2, SURPLUS, 15)), journal("f", Transfer(RECEIVABLE, PAYABLE, 11))]),
    ]  # fmt: skip
    for n, (at, journals) in enumerate(said):
        assert set(await book.post(at, *journals)) <= {"created", "insufficient_funds"}
        if n in (2, 5):  # what the second one covers lies in two months
            await seal.seal(db)
    for until in (SECOND, THIRD, months_ago(1)):
        assert await book.close(until, months_ago(1) + timedelta(days=1)) == "created"
    await book.post(
        clock.now(), journal("now", Transfer(RECEIVABLE, PAYABLE, 1)), journal("c3", capture(H1, PAYABLE, OWN, 10))
    )
    await seal.seal(db)
    assert await found(db) == []
    yield book
    while rows := await place.fetch("SELECT platform.at_of(id) AS until FROM ledger.boundary"):
        await attach(db, (rows[0]["until"] - timedelta(days=1)).date().replace(day=1))
    async with place.owner() as owner:  # the next test begins with nothing
        tables = [
            r["name"]
            for r in await owner.fetch(
                "SELECT relname AS name FROM pg_class WHERE relnamespace = 'ledger'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition"
            )
        ]
        for name in tables:
            await owner.execute(
                f"ALTER TABLE ledger.{name} DISABLE TRIGGER USER; DELETE FROM ledger.{name}; ALTER TABLE ledger.{name} ENABLE TRIGGER USER"
            )


async def gone(db: Database, month: datetime, patience_s: float = 15.0) -> int:
    return await detach(db, month.date(), lambda _what, _done, _total: None, patience_s=patience_s)


async def parts(place: Place, schema: str, month: datetime) -> int:
    return (await place.fetch("SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = $1::text::regnamespace AND relname LIKE $2",
                              schema, f"%{month:_%Y_%m}"))[0]["count"]  # fmt: skip


async def test_L10_months_go_and_the_rest_is_proved_from_what_they_left(db: Database, place: Place, past: Past) -> None:
    stood = await balance_at(db, past.id, PAYABLE, SECOND)
    lines = [dict(r) for r in await statement(db, past.id, PAYABLE, SECOND)]

    assert await gone(db, FIRST) == 1

    assert (await parts(place, "archive", FIRST), await parts(place, "ledger", FIRST)) == (5, 0)
    assert await found(db) == []
    assert await balance_at(db, past.id, PAYABLE, SECOND) == stood
    assert [dict(r) for r in await statement(db, past.id, PAYABLE, SECOND)] == lines
    assert [dict(r) for r in await statement(db, past.id, PAYABLE)] == lines, "it begins with what is there"

    assert await gone(db, SECOND) == 1
    assert await found(db) == []
    # The book lives on: old keys are known, old holds are captured, released and expired, accounts are closed, and it is sealed.
    assert await past.post(clock.now(), journal("a", Transfer(RECEIVABLE, PAYABLE, 500)), journal("a", Transfer(RECEIVABLE, PAYABLE, 501)),
                           journal("no", Transfer(SURPLUS, PAYABLE, 1)), journal("c4", capture(H1, PAYABLE, OWN, 40)),
                           journal("c5", release(H2, SURPLUS)), journal("r3 again", release(H3, SURPLUS)), journal("h", hold(OWN, 2, H1))) == [
        "exists", "exists_with_different_amount", "already_refused", "created", "created", "hold_ended", "hold_exists"]  # fmt: skip
    await seal.seal(db)
    assert await found(db) == []
    assert await audit.compare(db, AUDITS, [Window(past.id, audit.NEVER, audit.ALWAYS)]) == []


async def test_L10_a_month_goes_and_comes_back_while_others_post(db: Database, past: Past) -> None:
    """Postings and months meet at the tables' locks: whoever waits too long tries again, nothing is lost, nothing is torn."""
    over, booked = asyncio.Event(), 0

    async def poster(name: str) -> None:
        nonlocal booked
        for n in count():
            if over.is_set():
                return
            said = structs.replace(journal(f"{name}:{n}", Transfer(RECEIVABLE, OWN, 1)), book_id=past.id)
            while True:
                try:
                    [posted] = await db.transact(lambda tx, j=said: post(tx, [j]))
                    break
                except Contended:
                    continue
            assert posted.code in {"created", "exists"}
            booked += 1

    posters = [asyncio.create_task(poster(name)) for name in "abc"]
    for month in (FIRST, SECOND):
        await gone(db, month)
    await attach(db, SECOND.date())
    await gone(db, SECOND)
    over.set()
    await asyncio.gather(*posters)

    assert booked > 20
    assert (await balance_at(db, past.id, OWN, clock.now() + timedelta(seconds=1))).balance == 62 + booked
    await seal.seal(db)
    assert await found(db) == []


async def test_L10_what_comes_back_is_as_it_was(db: Database, place: Place, past: Past) -> None:
    sums = "SELECT {0}, sha256(string_agg(t::text, '|' ORDER BY t::text)::bytea) AS sum FROM ledger.{1} t GROUP BY 1"
    before = [await place.fetch(sums.format("1", name)) for name in FIVE]
    await gone(db, FIRST)
    await gone(db, SECOND)
    with pytest.raises(NotFound, match="comes back first"):
        await attach(db, FIRST.date())

    await attach(db, SECOND.date())
    assert await found(db) == []
    await attach(db, FIRST.date())

    assert await found(db) == []
    assert [await place.fetch(sums.format("1", name)) for name in FIVE] == before
    async with place.owner() as owner:
        for statement_ in ("DELETE FROM ledger.journal", f"TRUNCATE ledger.journal_{FIRST:%Y_%m}"):
            with pytest.raises(asyncpg.RaiseError, match="written once"):
                await owner.execute(statement_)
    assert await gone(db, FIRST) == 1, "what was recorded the first time is so the second time"
    assert await found(db) == []
    with pytest.raises(NotFound):
        await attach(db, date(2001, 1, 1))


async def test_L10_what_is_archived_is_said_to_be(db: Database, past: Past) -> None:
    [old] = await db.rows(Query("old", "SELECT id FROM ledger.journal WHERE book_id = $1 AND key = 'd'"), past.id)
    await gone(db, FIRST)
    await gone(db, SECOND)

    for ask in (
        balance_at(db, past.id, PAYABLE, SECOND + timedelta(days=5)), statement(db, past.id, PAYABLE, FIRST),
        effective_balance_at(db, past.id, PAYABLE, SECOND), statement(db, past.id, PAYABLE, after=(old["id"], 0)),
        db.transact(lambda tx: reverse(tx, past.id, old["id"])),
    ):  # fmt: skip
        with pytest.raises(Archived, match="archive"):
            await ask
    assert (await balance_at(db, past.id, OWN, clock.now())).balance == 62
    assert await effective_balance_at(db, past.id, OWN, clock.now()) == 62
    assert await effective_balance_at(db, past.id, PAYABLE, months_ago(1)) == 456


async def test_L10_a_month_stays_until_its_books_are_closed_beyond_it(db: Database, place: Place, past: Past) -> None:
    other = Past(db, place)
    await other.post(FIRST + timedelta(days=1), journal("x", Transfer(RECEIVABLE, PAYABLE, 5)))
    for closed in (None, SECOND):
        if closed:
            await other.close(closed, clock.now())
        with pytest.raises(StaysAttached, match=ids.text(other.id)) as refused:
            await gone(db, FIRST)
        assert ids.text(past.id) not in str(refused.value)
    with pytest.raises(StaysAttached, match="oldest goes first"):
        await gone(db, SECOND)
    with pytest.raises(StaysAttached, match="no partitions"):
        await gone(db, months_ago(9))
    with pytest.raises(StaysAttached, match="not over"):
        await gone(db, THIS)
    async with place.connect("app") as app:
        with pytest.raises(asyncpg.RaiseError, match="cannot be detached: open"):
            await app.execute("SELECT ledger.detach($1)", FIRST.date())
    assert await parts(place, "ledger", FIRST) == 5

    await other.close(THIRD, clock.now())
    assert await gone(db, FIRST) == 2
    assert await found(db) == []


async def test_L10_a_report_is_waited_for_a_while_and_nobody_waits_long_behind(
    db: Database, place: Place, past: Past
) -> None:
    async with place.owner() as reader:
        await reader.execute("BEGIN; SELECT count(*) FROM ledger.transfer")
        going = asyncio.create_task(gone(db, FIRST, patience_s=1.0))
        while not going.done():
            code = await past.post(clock.now(), journal(ids.text(ids.new_id()), Transfer(RECEIVABLE, OWN, 1)))
            assert code == ["created"]
        with pytest.raises(Busy, match="Try again"):
            await going
        await reader.execute("COMMIT")
    assert (await parts(place, "archive", FIRST), await found(db)) == (0, [])
    assert await gone(db, FIRST) == 1


async def test_L10_a_detachment_that_is_killed_at_the_last_step_left_nothing(
    db: Database, place: Place, past: Past
) -> None:
    """Everything is recorded, the tables are about to move: the connection goes away."""
    kill = ("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND wait_event_type = 'Lock' AND query LIKE '%ledger.detach%'")  # fmt: skip
    async with place.owner() as reader, place.connect("app") as killer:
        await reader.execute("BEGIN; SELECT count(*) FROM ledger.standing")
        going = asyncio.create_task(gone(db, FIRST))
        while not await killer.fetch(kill):
            await asyncio.sleep(0.01)
        with pytest.raises(Lost):
            await going
        await reader.execute("COMMIT")
    for table in ("opening", "reserved", "detached", "archived"):
        assert await place.fetch(f"SELECT FROM ledger.{table}") == []
    assert (await parts(place, "ledger", FIRST), await found(db)) == (5, [])
    assert await gone(db, FIRST) == 1
    assert await found(db) == []


async def test_L10_an_unsound_book_is_not_archived(db: Database, place: Place, past: Past) -> None:
    async with place.owner() as owner:
        await owner.execute("UPDATE ledger.account SET held = held + 1 WHERE code = 'payable'")
        with pytest.raises(Unsound, match="L6"):
            await gone(db, FIRST)
        assert await parts(place, "archive", FIRST) == 0
        await owner.execute("UPDATE ledger.account SET held = held - 1 WHERE code = 'payable'")


async def test_L10_a_closed_account_stays_closed_and_idle_books_stay_sound(
    db: Database, place: Place, past: Past
) -> None:
    """An account that was closed in a month that went, and a book that had nothing in it."""
    idle = Past(db, place)
    await idle.post(THIRD + timedelta(days=1), journal("z", Transfer(RECEIVABLE, PAYABLE, 5)))
    assert await gone(db, FIRST) == 1

    assert await past.post(clock.now(), journal("back", Transfer(RECEIVABLE, OWN_B, 5))) == ["account_closed"]
    assert await idle.post(clock.now(), journal("z2", Transfer(PAYABLE, RECEIVABLE, 2))) == ["created"]
    for book in (past, idle):
        assert await book.close(THIS, clock.now()) == "created"
    assert await found(db) == []
    await db.transact(lambda tx: close_account(tx, past.id, OWN_B, reopen=True))
    assert await found(db) == []


@pytest.mark.slow
async def test_L10_whatever_is_changed_of_what_stays_is_found(db: Database, place: Place, past: Past) -> None:
    """Every column of every row of every table of the book, and of what was recorded, in turn."""
    await gone(db, FIRST)
    await gone(db, SECOND)
    assert await found(db) == []
    overlooked, tried = [], 0
    async with place.owner() as owner:
        for row in await owner.fetch(ROWS):
            table, column = row["table"], row["column"]
            for n in range(await owner.fetchval(f"SELECT count(*) FROM ledger.{table}")):
                if table in SUPERSEDED and not await owner.fetchval(SUPERSEDED[table], n):
                    continue
                tried += 1
                if not await change(owner, table, column, row["type"], n):
                    overlooked.append(f"{table}.{column} of row {n}")
    print(f"{tried} changes")
    assert overlooked == []
    assert tried >= 200


SUPERSEDED = {  # a later record took its place: it is not used until the month is attached
    "detached": "SELECT until = (SELECT id FROM ledger.boundary) FROM ledger.detached t ORDER BY t.tableoid, t.ctid OFFSET $1 LIMIT 1",
    "reserved": "SELECT until = (SELECT id FROM ledger.boundary) FROM ledger.reserved t ORDER BY t.tableoid, t.ctid OFFSET $1 LIMIT 1",
    "archived": "SELECT until = (SELECT id FROM ledger.boundary) FROM ledger.archived t ORDER BY t.tableoid, t.ctid OFFSET $1 LIMIT 1",
}


async def test_L10_entries_that_are_slipped_into_an_archived_month_are_found(
    db: Database, place: Place, past: Past
) -> None:
    await gone(db, FIRST)
    async with place.owner() as owner:
        await owner.execute("BEGIN")
        await owner.execute("INSERT INTO ledger.journal SELECT book_id, platform.id_at($1), 'slipped', 'charge', about, root_id, '', at, NULL FROM ledger.journal LIMIT 1",
                            FIRST + timedelta(days=1))  # fmt: skip
        assert {"L10", "L5"} <= {b.invariant for b in await inside(owner)}
        await owner.execute("ROLLBACK")
