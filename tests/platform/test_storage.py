"""What grows lies in months, is made ahead, and is let go of by rule: never too early, never from the book."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from guilder.app import domains
from guilder.core import clock, ids
from guilder.core.errors import Invalid, NotFound
from guilder.platform import audit, storage
from guilder.platform.audit import Window
from guilder.platform.db import Database, Tx
from guilder.platform.environment import Env
from guilder.platform.outbox import Event, emit
from guilder.platform.sql import Query
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio

UNRULED = {  # tables without a rule, and why
    "platform.retention": "the rules themselves",
    "platform.runner": "a row per process, gone after a day",
    "platform.outbox": "rows go when they are done",
    "platform.approval_chain": "rules that people made",
    "platform.approval_step": "their steps",
    "platform.auditor": "two rows",
    "platform.counter": "one per thing that is counted; it goes when nothing counts",
    "platform.take": "goes when no window reaches it",
    "platform.tally": "goes when no window reaches it",
    "platform.channel_seen": "a row per channel account, operation and process, gone after a minute",
    "platform.breaker": "one row per channel account that ever moved",
    "ledger.head": "one row per book",
    "ledger.order": "rows go when they are posted",
    "ledger.archived": "one row per month that is detached",
    "notify.endpoint": "merchants make it, and are limited in how many",
    "notify.delivery_try": "goes with its delivery",
    "merchants.channel_account": "one row per contract",
    "schema_version.applied": "one row",
}
PARTITIONED = {
    "ledger.journal", "ledger.transfer", "ledger.note", "ledger.refusal", "ledger.standing", "payments.history", "payments.step", "platform.event",
    "platform.wire_message", "payouts.history", "disputes.history", "trades.move",
}  # fmt: skip
THIS = clock.now().astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
NEXT = (THIS + timedelta(days=32)).replace(day=1)
EVENT = "INSERT INTO platform.event (book_id, id, type, object_id, object_version, data, root_id, created_at) VALUES ($1, $2, 'customer.updated', $3, $4, '{}', $1, now())"
PARTS = "SELECT part FROM platform.partition WHERE name = $1 AND part NOT LIKE '%rest' ORDER BY part"


def part(table: str, month: datetime) -> str:
    return f"{table}_{month:%Y_%m}"


def months_ago(n: int) -> datetime:
    month = THIS
    for _ in range(n):
        month = (month - timedelta(days=1)).replace(day=1)
    return month


def id_of(at: datetime) -> UUID:
    """A fresh id, as it was made at another time."""
    return UUID(int=int(at.timestamp() * 1000) << 80 | ids.new_id().int & ((1 << 80) - 1))


async def parts(place: Place, table: str) -> list[str]:
    return [r["part"] for r in await place.fetch(PARTS, table)]


async def add(place: Place, table: str, month: datetime) -> None:
    """A partition of the past: those who were there made it in time."""
    await place.fetch("SELECT platform.add_partition($1::text::regclass, $2)", table, month.replace(tzinfo=None))


async def said(place: Place, at: datetime, object: UUID, version: int, book: UUID) -> UUID:
    id = id_of(at)
    await place.fetch(EVENT, book, id, object, version)
    return id


async def test_every_table_has_a_rule_or_a_reason(place: Place, db: Database) -> None:
    there = {r["name"] for r in await place.fetch(
        "SELECT n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname !~ '^(pg_|information_schema)'")}  # fmt: skip
    tables = {t.name: t for t in await storage.tables(db)}

    assert there - tables.keys() == UNRULED.keys()
    assert tables.keys() - there == set()
    assert {name for name, t in tables.items() if len(t.parts) > 1} == PARTITIONED
    assert [name for name, t in tables.items() if name.startswith("ledger.") and t.rule.least_days is not None] == []
    assert all(t.rule.reason for t in tables.values())


async def test_this_month_and_the_next_are_there_and_guarded_like_their_table(place: Place) -> None:
    for table in PARTITIONED:
        assert await parts(place, table) == [part(table, THIS), part(table, NEXT)]
    async with place.owner() as owner:
        for name in (part("ledger.journal", NEXT), "ledger.transfer_rest"):
            with pytest.raises(asyncpg.RaiseError, match="written once"):
                await owner.execute(f"TRUNCATE {name}")
        for table in ("ledger.journal", "platform.event", "payments.history"):
            [row] = await owner.fetch("SELECT count(*) FROM pg_trigger WHERE tgrelid = $1::text::regclass AND tgtype & 1 = 1",
                                      part(table, NEXT))  # fmt: skip
            assert row["count"] == 1, f"the rows of {table} are written once in every month"


async def test_what_is_missing_is_made_and_said_where_it_was_missed(place: Place, env: Env) -> None:
    assert await storage.grow(env) == 0
    await place.fetch(f"DROP TABLE {part('platform.event', NEXT)}")
    await place.fetch(f"DROP TABLE {part('ledger.note', NEXT)}")
    assert await storage.grow(env) == 2
    assert storage.REST.labels("test")._value.get() == 0

    await place.fetch(f"DROP TABLE {part('platform.event', NEXT)}")
    await place.fetch(f"DROP TABLE {part('payments.history', NEXT)}")
    book, object = ids.new_id(), ids.new_id()
    id = await said(place, NEXT + timedelta(days=3), object, 1, book)

    assert await storage.grow(env) == 1, "one that cannot be made keeps no other from being made"
    assert storage.REST.labels("test")._value.get() == 1
    [row] = await place.fetch(
        "SELECT tableoid::regclass::text AS part FROM platform.event WHERE book_id = $1 AND id = $2", book, id
    )
    assert row["part"] == "platform.event_rest", "nothing is lost"


async def test_the_application_makes_and_drops_nothing_by_name(place: Place) -> None:
    async with place.connect("app") as app:
        for statement in (
            f"SELECT platform.add_partition('platform.event', '{NEXT:%Y-%m-%d}')", f"DROP TABLE {part('platform.event', THIS)}",
            "UPDATE platform.retention SET least_days = 1", "DELETE FROM platform.retention",
        ):  # fmt: skip
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.execute(statement)
        for rule in ("keep_days = 1 WHERE name = 'platform.event'", "keep_days = 36500 WHERE name = 'ledger.journal'"):
            with pytest.raises(asyncpg.CheckViolationError, match="kept as long as it must be"):
                await app.execute(f"UPDATE platform.retention SET {rule}")


async def test_a_rule_is_changed_within_its_limits(db: Database) -> None:
    async def keep(name: str, days: int | None) -> None:
        await db.transact(lambda tx: storage.keep(tx, name, days))

    for name, days, error in (("platform.event", 89, "90 days at least"), ("ledger.journal", 36500, "for ever: the book"),
                              ("payments.intent", 400, "for ever"), ("notify.delivery", 3, "4 days")):  # fmt: skip
        with pytest.raises(Invalid, match=error):
            await keep(name, days)
    with pytest.raises(NotFound, match=r"platform\.events"):
        await keep("platform.events", 400)
    await keep("platform.wire_message", None)
    await keep("payments.history", 1000)
    rules = {t.name: t.rule.keep_days for t in await storage.tables(db)}
    assert (rules["platform.wire_message"], rules["payments.history"], rules["platform.event"]) == (None, 1000, 400)


async def test_what_its_rule_keeps_no_longer_goes_a_month_at_a_time_and_nothing_else(
    place: Place, db: Database, env: Env
) -> None:
    old, kept, book = months_ago(16), months_ago(12), ids.new_id()
    for table in ("platform.event", "ledger.journal", "payments.history"):
        for month in (old, kept):
            await add(place, table, month)
    await db.transact(lambda tx: storage.keep(tx, "payments.history", None))
    gone, there = [await said(place, m + timedelta(days=3), ids.new_id(), 1, book) for m in (old, kept)]

    assert [await storage.drop(env), await storage.drop(env)] == [1, 0]

    left = [r["id"] for r in await place.fetch("SELECT id FROM platform.event WHERE book_id = $1", book)]
    assert (gone in left, there in left) == (False, True)
    assert part("platform.event", kept) in await parts(place, "platform.event")
    for table in ("ledger.journal", "payments.history"):
        assert part(table, old) in await parts(place, table), f"{table} stays"
    [event] = [t for t in await storage.tables(db) if t.name == "platform.event"]
    assert event.oldest == kept


async def test_the_auditor_does_not_miss_what_was_let_go(place: Place, db: Database, env: Env) -> None:
    """An object from before: its first event is gone, its second is not.  A gap in one that is younger is still a gap."""
    old, book = months_ago(20), ids.new_id()
    before, after = id_of(old + timedelta(days=2)), ids.new_id()
    await add(place, "platform.event", old)
    await said(place, old + timedelta(days=2), before, 1, book)
    assert await storage.drop(env) == 1
    for object in (before, after):
        await said(place, clock.now(), object, 2, book)

    drift = await audit.compare(db, domains.AUDITS, [Window(book, audit.NEVER, audit.ALWAYS)])

    assert [(d.audit, d.fault) for d in drift] == [("G10 events have no gaps", "the version before it was never said")]
    assert str(after) in (drift[0].expected or "")


async def test_an_objects_events_are_looked_for_since_it_was_made(place: Place, db: Database) -> None:
    """A partition from before the object is not looked into."""
    await add(place, "platform.event", months_ago(5))
    object = ids.new_id()
    query = "SELECT count(*) FROM platform.said s WHERE s.object_id = $1 AND s.id >= platform.said_since($1)"
    plan = "\n".join(r[0] for r in await db.rows(Query("plan", f"EXPLAIN (ANALYZE, COSTS OFF) {query}"), object))
    assert part("event", THIS) in plan and part("event", months_ago(5)) not in plan.replace("never executed", "")


async def test_events_are_heard_from_every_month(place: Place, db: Database) -> None:
    """Said through the application, found through the table, whatever partition it is in."""
    book, object = ids.new_id(), ids.new_id()
    event = Event(book, "customer.created", object, 1, "{}", clock.now(), ids.new_id())

    async def say(tx: Tx) -> None:
        emit(tx, [event])

    await db.transact(say)
    [row] = await place.fetch("SELECT tableoid::regclass::text AS part FROM platform.event WHERE book_id = $1", book)
    assert row["part"] == part("platform.event", THIS)
