"""The trail and its seals: whatever is changed, deleted, put in or cut off is found, and no row is lost that was committed late."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from guilder.core import ids
from guilder.core.errors import Invalid
from guilder.platform import context, trail, trail_seal
from guilder.platform.db import Database, Tx
from guilder.platform.trail import Act, Wanted
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio

COLUMNS = """
SELECT c.relname AS table, a.attname AS column, t.typname AS type
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_type t ON t.oid = a.atttypid
 WHERE n.nspname = 'platform' AND c.relname IN ('trail', 'trail_seal') AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, a.attnum
"""
OTHER = {  # another value of each type
    "uuid": "gen_random_uuid()", "text": "coalesce({0}, '') || 'x'", "int8": "{0} + 1000", "int4": "{0} + 1",
    "timestamptz": "{0} - interval '1 microsecond'", "bytea": "set_byte({0}, 0, (get_byte({0}, 0) + 1) % 256)",
    "xid8": "({0}::text::bigint + 1000000)::text::xid8",
}  # fmt: skip


async def acts(db: Database, *names: str) -> None:
    """Something that was done, in one transaction."""

    async def work(tx: Tx) -> None:
        trail.note_many(tx, [Act("tried", name, ids.new_id(), {"was": 1}, {"is": 2}, "因为") for name in names])

    await db.transact(work)


async def lives(db: Database) -> None:
    """Three seals of two rows each, one of them of a row with as little as may be."""
    for n in range(3):
        await acts(db, f"a{n}")
        await db.transact(_bare)
        assert await trail_seal.seal(db) == 2
    assert (await trail_seal.seal(db), await trail_seal.unsealed_age_s(db)) == (0, 0.0)


async def _bare(tx: Tx) -> None:
    trail.note(tx, "tried", "bare")


async def found(source: Any) -> list[str]:
    """What is broken, in the words of `guilder trail verify`."""
    return [f"{f.subject}: {f.fault}" async for f in trail_seal.broken(source, lambda _done, _total: None)]


@pytest.fixture
async def owner(place: Place, db: Database) -> AsyncIterator[asyncpg.Connection]:
    """The owner of every table, alone with a short trail; what it does is taken back."""
    async with place.owner() as connection:
        await connection.execute("TRUNCATE platform.trail, platform.trail_seal")
        await lives(db)
        await connection.execute("BEGIN")
        yield connection
        await connection.execute("ROLLBACK")


async def unguarded(owner: asyncpg.Connection) -> None:
    """Switch the guards off; from now on nobody else reads the trail."""
    for table in ("trail", "trail_seal"):
        await owner.execute(f"ALTER TABLE platform.{table} DISABLE TRIGGER USER")
    await owner.execute("SAVEPOINT one")


async def test_a_changed_value_in_any_column_of_any_row_is_found(owner: asyncpg.Connection) -> None:
    assert await found(Tx(owner)) == []
    await unguarded(owner)
    overlooked, tried = [], 0
    for c in await owner.fetch(COLUMNS):
        rows = await owner.fetch(f"SELECT ctid::text AS at FROM platform.{c['table']} ORDER BY ctid")
        assert len(rows) == (6 if c["table"] == "trail" else 3)
        for row in rows:
            tried += 1
            await owner.execute(
                f"UPDATE platform.{c['table']} SET {c['column']} = {OTHER[c['type']].format(c['column'])} WHERE ctid = '{row['at']}'::tid"
            )
            if not await found(Tx(owner)):
                overlooked.append(f"{c['table']}.{c['column']} of {row['at']}")
            await owner.execute("ROLLBACK TO one")
    assert overlooked == []
    assert tried == 13 * 6 + 7 * 3


async def test_the_row_that_is_not_what_it_was_is_named(owner: asyncpg.Connection) -> None:
    rows = [r["id"] for r in await owner.fetch("SELECT id FROM platform.trail ORDER BY tx, id")]
    await unguarded(owner)
    await owner.execute("UPDATE platform.trail SET why = 'another' WHERE id = $1", rows[3])
    assert await found(Tx(owner)) == [f"seal 2: {ids.show('tra', rows[3])} is not what was sealed"]


async def test_a_row_that_is_gone_is_missed_and_one_that_was_put_in_is_named(owner: asyncpg.Connection) -> None:
    rows = [r["id"] for r in await owner.fetch("SELECT id FROM platform.trail ORDER BY tx, id")]
    await unguarded(owner)
    await owner.execute("DELETE FROM platform.trail WHERE id = $1", rows[0])
    assert await found(Tx(owner)) == [
        f"seal 1: 1 of 2 rows are gone, the first of them before {ids.show('tra', rows[1])}"
    ]
    await owner.execute("ROLLBACK TO one")
    await owner.execute(
        "INSERT INTO platform.trail SELECT (jsonb_populate_record(t, jsonb_build_object('id', $2::uuid))).* FROM platform.trail t WHERE id = $1",
        rows[4], forged := ids.of_int(rows[4].int + 1),
    )  # fmt: skip
    assert await found(Tx(owner)) == [f"seal 3: 1 rows were put in, the first of them is {ids.show('tra', forged)}"]


async def test_a_tail_that_was_cut_off_is_missed_by_a_head_that_was_kept(
    owner: asyncpg.Connection, db: Database
) -> None:
    kept = await trail_seal.head(db)
    assert kept is not None
    assert (kept["seal"], await trail_seal.differs(db, kept)) == (3, None)
    await unguarded(owner)
    await owner.execute(
        "DELETE FROM platform.trail WHERE (tx, id) > (SELECT tx, id FROM platform.trail_seal WHERE n = 2)"
    )
    await owner.execute("DELETE FROM platform.trail_seal WHERE n = 3")
    cut = _Named(owner)
    assert await found(cut) == [], "a chain cannot know its own end"
    assert (
        await trail_seal.differs(cut, kept)
    ).fault == "it was kept, and it is gone: the end of the trail was cut off"

    # Whoever writes the end anew comes to another hash.
    await owner.execute("ROLLBACK TO one")
    await owner.execute("UPDATE platform.trail_seal SET hash = sha256(hash) WHERE n = 3")
    assert (await trail_seal.differs(cut, kept)).fault == "it is not the one that was kept"
    with pytest.raises(Invalid, match="no head of the trail of test"):
        await trail_seal.differs(db, kept | {"database": "live"})


class _Named(Tx):
    """A transaction under the name of its database."""

    name = "test"


async def test_a_transaction_that_was_open_while_later_ones_were_sealed_is_not_lost(place: Place, db: Database) -> None:
    await trail_seal.seal(db)
    async with place.connect() as slow, place.connect() as idle:
        await idle.execute("BEGIN")  # it has read, and has no number yet: nobody waits for it
        await idle.fetch("SELECT * FROM platform.trail")
        await slow.execute("BEGIN")
        tx = Tx(slow)
        trail.note(tx, "tried", "slow")
        await tx.flush()  # its number is lower than that of what follows
        await acts(db, "quick")

        assert await trail_seal.seal(db) == 0, "what may still come comes before it"
        await asyncio.sleep(0.01)
        assert await trail_seal.unsealed_age_s(db) > 0

        await slow.execute("COMMIT")
        assert await trail_seal.seal(db) == 2
        trail.note(late := Tx(idle), "tried", "late")
        await late.flush()
        await acts(db, "quicker")
        await idle.execute("COMMIT")
        assert await trail_seal.seal(db) == 2

    order = await place.fetch("SELECT subject FROM platform.trail ORDER BY tx, id")
    assert [r["subject"] for r in order[-4:]] == ["slow", "quick", "late", "quicker"]
    assert (await found(db), await trail_seal.unsealed_age_s(db)) == ([], 0.0)


async def test_one_that_is_rolled_back_holds_up_nothing_when_it_is_over(place: Place, db: Database) -> None:
    async with place.connect() as other:
        await other.execute("BEGIN")
        tx = Tx(other)
        trail.note(tx, "tried", "never")
        await tx.flush()
        await acts(db, "done")
        assert await trail_seal.seal(db) == 0
        await other.execute("ROLLBACK")
    assert (await trail_seal.seal(db), await found(db)) == (1, [])


async def test_workers_that_seal_at_the_same_time_make_one_chain(db: Database) -> None:
    async def writes(n: int) -> None:
        for m in range(10):
            await acts(db, f"{n}.{m}")
            await trail_seal.seal(db)

    await asyncio.gather(*(writes(n) for n in range(5)))
    await trail_seal.seal(db)
    assert (await found(db), await trail_seal.unsealed_age_s(db)) == ([], 0.0)


async def test_the_application_writes_no_seal_changes_nothing_and_chooses_no_transaction(
    place: Place, db: Database
) -> None:
    await acts(db, "one")
    await trail_seal.seal(db)
    async with place.connect() as app:
        for refused in (
            "UPDATE platform.trail SET why = ''", "DELETE FROM platform.trail", "TRUNCATE platform.trail",
            "UPDATE platform.trail_seal SET entries = 0", "DELETE FROM platform.trail_seal", "TRUNCATE platform.trail_seal",
            "INSERT INTO platform.trail_seal SELECT n + 1, tx, id, entries, marks, at, hash FROM platform.trail_seal ORDER BY n DESC LIMIT 1",
            "ALTER TABLE platform.trail DISABLE TRIGGER USER",
        ):  # fmt: skip
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.execute(refused)
        await app.execute(
            "INSERT INTO platform.trail SELECT (jsonb_populate_record(t, jsonb_build_object('id', gen_random_uuid()))).* FROM platform.trail t LIMIT 1"
        )
    async with place.owner() as owner:
        for table in ("trail", "trail_seal"):
            with pytest.raises(asyncpg.RaiseError, match="written once"):
                await owner.execute(f"DELETE FROM platform.{table}")
    assert await trail_seal.seal(db) == 1, "it lies after what was sealed, whatever it says"
    assert await found(db) == []


async def test_a_thousand_rows_are_sealed_and_proved_in_a_second(db: Database) -> None:
    for n in range(10):
        await acts(db, *(f"{n}.{m}" for m in range(100)))
    begun = time.monotonic()
    assert await trail_seal.seal(db) == 1000
    sealed = time.monotonic()
    assert await found(db) == []
    proved = time.monotonic()
    print(f"sealed in {sealed - begun:.3f} s, proved in {proved - sealed:.3f} s")
    assert max(sealed - begun, proved - sealed) < 1


async def test_who_did_it_is_the_context_of_the_work_or_the_machines_operator(db: Database) -> None:
    book = ids.new_id()
    by = context.mint(actor="usr_1", place="10.0.0.1", request_id="req_1")

    async def work(tx: Tx) -> None:
        trail.note(tx, "tried", "one", book_id=book, by=by)
        with context.use(context.mint()):
            trail.note(tx, "tried", "two", book_id=book)

    await db.transact(work)
    rows = await trail.find(db, Wanted(book), 10)
    assert [(r["subject"], r["actor"], r["place"], r["request_id"]) for r in rows] == [
        ("two", "operator", "", ""),
        ("one", "usr_1", "10.0.0.1", "req_1"),
    ]
    assert [r["subject"] for r in await trail.find(db, Wanted(book, actor="usr_1"), 10)] == ["one"]
    assert await trail.find(db, Wanted(book, action="other"), 10) == []
