"""Seals: whatever is changed in any column of any table of the ledger is found, and told which entry it is."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from msgspec import structs

from guilder.core import clock, ids
from guilder.ledger import Broken, Transfer, capture, hold, post, seal
from guilder.ledger.verify import verify
from guilder.platform.db import Database, Tx
from journals import PAYABLE, RECEIVABLE, SURPLUS, journal, move
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio

ROWS = """
SELECT c.relname AS table, a.attname AS column, t.typname AS type
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_type t ON t.oid = a.atttypid
 WHERE n.nspname = 'ledger' AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY 1, a.attnum
"""
OTHER = {  # another value of each type
    "uuid": "gen_random_uuid()", "text": "coalesce({0}, '') || 'x'", "int8": "coalesce({0}, 0) + 1000",
    "int4": "{0} + 1", "int2": "{0} + 100", "bool": "NOT {0}", "timestamptz": "coalesce({0}, now()) - interval '1 microsecond'",
    "bytea": "set_byte({0}, 0, (get_byte({0}, 0) + 1) % 256)",
}  # fmt: skip


async def lives(db: Database) -> None:
    """A book with something in every table, sealed in three goes."""
    book = ids.new_id()
    id = ids.new_id()
    noted = structs.replace(
        move("charge:2", RECEIVABLE, PAYABLE, 70, book), note='{"why":"test"}', reverses=ids.new_id()
    )
    later = clock.now().replace(year=clock.now().year + 1)
    for batch in (
        [move("charge:1", RECEIVABLE, PAYABLE, 500, book), noted, move("too much", SURPLUS, PAYABLE, 1, book)],
        [journal("surplus:1", Transfer(RECEIVABLE, SURPLUS, 30), Transfer(SURPLUS, PAYABLE, 10), book=book)],
        [
            journal("hold:1", hold(SURPLUS, 9, id, later), book=book),
            journal("take:1", capture(id, SURPLUS, PAYABLE, 4), book=book),
        ],
    ):
        await db.transact(lambda tx, b=batch: post(tx, b))
        assert await seal.seal(db) >= len(batch)
    assert await seal.seal(db) == 0
    assert await seal.unsealed_age_s(db) == 0.0


async def found(db: Database, kept: dict[str, Any] | None = None) -> list[Broken]:
    return [b async for b in verify(db, lambda _what, _done, _total: None, kept)]


@pytest.fixture
async def owner(place: Place, db: Database) -> AsyncIterator[asyncpg.Connection]:
    """The owner of every table, who has switched the guards off."""
    await lives(db)
    async with place.owner() as connection:
        yield connection


async def test_a_changed_value_in_any_column_of_any_table_is_found(owner: asyncpg.Connection, db: Database) -> None:
    assert await found(db) == []
    overlooked, tried = [], 0
    for row in await owner.fetch(ROWS):
        table, column, type = row["table"], row["column"], row["type"]
        # Every row of the table in turn.
        for n in range(await owner.fetchval(f"SELECT count(*) FROM ledger.{table}")):
            tried += 1
            if not await change(owner, table, column, type, n):
                overlooked.append(f"{table}.{column} of row {n}")
    print(f"{tried} changes, every column of every row")
    assert overlooked == []
    assert tried >= 100


async def change(owner: asyncpg.Connection, table: str, column: str, type: str, n: int) -> bool:
    """Whether a change of one column of the n-th row is found; it is taken back."""
    other = OTHER[type].format(column)
    await owner.execute("BEGIN")
    try:
        await owner.execute(f"ALTER TABLE ledger.{table} DISABLE TRIGGER USER")
        constraints = await owner.fetch("SELECT conname, conrelid::regclass::text AS t FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype = 'c'",
                                        f"ledger.{table}")  # fmt: skip
        for c in constraints:
            await owner.execute(f'ALTER TABLE {c["t"]} DROP CONSTRAINT "{c["conname"]}"')
        key = await owner.fetchval(
            f"SELECT (t.tableoid, t.ctid)::text FROM ledger.{table} t ORDER BY t.tableoid, t.ctid OFFSET {n} LIMIT 1"
        )
        await owner.execute(
            f"UPDATE ledger.{table} t SET {column} = {other} WHERE (t.tableoid, t.ctid)::text = $1", key
        )
        return bool(await inside(owner))
    finally:
        await owner.execute("ROLLBACK")


class Inside(Database):
    """The owner's own transaction as a database: what he has changed and not committed is seen."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        super().__init__("inside", {})
        self._owner = connection

    async def transact(self, work: Any, **_: Any) -> Any:
        return await work(Tx(self._owner))

    async def rows(self, query: Any, *args: object) -> Any:
        return await self._owner.fetch(query.text, *args)

    async def row(self, query: Any, *args: object) -> Any:
        return await self._owner.fetchrow(query.text, *args)


async def inside(owner: asyncpg.Connection) -> list[Broken]:
    return [b for b in await found(Inside(owner)) if "can be changed" not in b.fault]


async def test_which_entry_was_changed_is_told(owner: asyncpg.Connection) -> None:
    await owner.execute("BEGIN; ALTER TABLE ledger.journal DISABLE TRIGGER USER")
    id = await owner.fetchval("UPDATE ledger.journal SET business_line = 'theirs' "
                              "WHERE id = (SELECT id FROM ledger.journal WHERE key = 'surplus:1' LIMIT 1) RETURNING id")  # fmt: skip

    [told] = [b for b in await inside(owner) if b.invariant == "seal"]
    assert told.fault == f"journal {id} is not what was sealed"
    await owner.execute("ROLLBACK")


async def test_a_forger_who_seals_anew_is_found_by_a_head_that_was_kept(
    owner: asyncpg.Connection, db: Database
) -> None:
    kept = await seal.head(db)
    assert await found(db, kept) == []
    await owner.execute(
        "BEGIN; ALTER TABLE ledger.journal DISABLE TRIGGER USER; ALTER TABLE ledger.seal DISABLE TRIGGER USER"
    )
    await owner.execute("UPDATE ledger.journal SET business_line = 'theirs' WHERE key = 'charge:1'")
    await owner.execute("DELETE FROM ledger.seal; SELECT ledger.seal_next(book_id, 10000) FROM ledger.head")

    assert await inside(owner) == [], "the chain he made is a chain"
    told = [b for b in await found(Inside(owner), kept) if b.invariant == "seal"]
    assert {b.fault for b in told} <= {"its seal 3 is gone", "its seal 1 is not the one that was kept"}
    assert len(told) == len(kept)
    await owner.execute("ROLLBACK")


async def test_a_removed_journal_is_found_although_everything_adds_up(owner: asyncpg.Connection, db: Database) -> None:
    """Its transfers, its key, its standings and its share of the balances go with it: only the chain remembers."""
    await owner.execute("BEGIN")
    for table in ("journal", "transfer", "key", "note", "standing", "refusal"):
        await owner.execute(f"ALTER TABLE ledger.{table} DISABLE TRIGGER USER; DELETE FROM ledger.{table}")
    await owner.execute("DELETE FROM ledger.hold; UPDATE ledger.account SET balance = 0, held = 0")
    await owner.execute("UPDATE ledger.head SET id = DEFAULT")

    told = await inside(owner)
    assert {b.invariant for b in told} == {"seal"}
    await owner.execute("ROLLBACK")


async def test_sealing_twice_at_once_seals_once(place: Place, db: Database) -> None:
    await db.transact(lambda tx: post(tx, [move("1", RECEIVABLE, PAYABLE, 1, ids.new_id())]))
    await asyncio.gather(*(seal.seal(db) for _ in range(8)))

    assert await found(db) == []
