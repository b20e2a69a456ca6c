"""The database: D1 to D4, above all a COMMIT whose answer is lost."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

import pgproxy
from guilder.core import ids
from guilder.core.check import Impossible
from guilder.platform import db as database
from guilder.platform.db import CommitUnknown, Conflict, Contended, Database, Lost, Tx
from guilder.platform.sql import Query
from pgproxy import Cut, Proxy, proxied
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio

NOTE = Query(
    "note", "INSERT INTO platform.job (kind, key, run_at, root_id) VALUES ('note', $1, now(), gen_random_uuid())"
)
NOTES = Query("notes", "SELECT count(*) FROM platform.job WHERE key LIKE $1 || '%'")
DIE = Query("die", "SELECT pg_terminate_backend(pg_backend_pid())")
LOCK = Query("lock", "SELECT * FROM platform.job WHERE key = $1 FOR UPDATE")
SHOW = Query("show", "SHOW synchronous_commit")
OPEN = Query(
    "open",
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'",
)


@pytest.fixture
def name() -> str:
    return ids.text(ids.new_id())


@pytest.fixture
async def proxy(place: Place) -> AsyncIterator[Proxy]:
    async with proxied(place.dsn()) as proxy:
        yield proxy


@pytest.fixture
async def far(proxy: Proxy) -> AsyncIterator[Database]:
    """The same database, behind the proxy."""
    pool = await Database("far", proxy.dsn, size=3, patience_s=0.3, resolve_s=0.3).open()
    yield pool
    await pool.close()


ONLY = pgproxy.ONLY.decode()


def noting(name: str, runs: list[str]) -> Callable[[Tx], Awaitable[str]]:
    async def work(tx: Tx) -> str:
        runs.append(name)
        if name.endswith(ONLY):
            tx.write(NOTE, name)
        else:
            await tx.run(NOTE, name)
        return name

    return work


async def test_D1_what_was_returned_is_committed_and_what_raised_left_nothing(db: Database, name: str) -> None:
    async def fails(tx: Tx) -> None:
        await tx.run(NOTE, f"{name} b")
        raise ZeroDivisionError

    assert await db.transact(noting(name, [])) == name
    with pytest.raises(ZeroDivisionError):
        await db.transact(fails)

    assert await db.value(NOTES, name) == 1


async def test_D1_a_swallowed_error_is_not_committed(db: Database, name: str) -> None:
    async def swallows(tx: Tx) -> str:
        await tx.run(NOTE, name)
        try:
            await tx.run(NOTE, name)
        except database.DriverError:
            return "fine"
        return ""

    with pytest.raises(database.DriverError):
        await db.transact(swallows)

    assert await db.value(NOTES, name) == 0


async def test_D1_a_connection_that_dies_in_the_work_is_lost_and_nothing_is_committed(db: Database, name: str) -> None:
    async def dies(tx: Tx) -> None:
        await tx.run(NOTE, name)
        await tx.run(DIE)

    with pytest.raises(Lost):
        await db.transact(dies)

    assert await db.value(NOTES, name) == 0
    assert await db.transact(noting(name, [])) == name, "the pool has another"


@pytest.mark.parametrize("only", ["", ONLY])
@pytest.mark.parametrize(("cut", "ends"), [("before", "lost"), ("after", "committed"), ("at once", "either")])
async def test_D2_a_lost_answer_to_commit_is_resolved_by_its_mark(
    far: Database, db: Database, proxy: Proxy, name: str, cut: Cut, ends: str, only: str
) -> None:
    runs: list[str] = []
    proxy.cut = cut
    name += only

    try:
        answer = await far.transact(noting(name, runs))
    except Lost:
        answer = None

    assert (proxy.cuts, runs) == (1, [name]), "it ran once, whatever became of it"
    assert await db.value(NOTES, name) == (1 if answer == name else 0)
    assert ends == "either" or answer == (name if ends == "committed" else None)


async def test_D2_many_at_once_cut_at_random(place: Place, db: Database, proxy: Proxy, name: str) -> None:
    far = await Database("far", proxy.dsn, size=4).open()
    rng, told = random.Random(7), dict[str, bool]()

    async def one(n: int) -> None:
        key = f"{name} {n}" + rng.choice(("", ONLY))
        proxy.cut = rng.choice((None, "before", "at once", "after"))
        try:
            told[key] = await far.transact(noting(key, [])) == key
        except Lost:
            told[key] = False

    for n in range(0, 60, 4):
        await asyncio.gather(*(one(n + i) for i in range(4)))
    await far.close()

    there = {r["key"] for r in await place.fetch("SELECT key FROM platform.job WHERE key LIKE $1 || '%'", name)}
    assert {key for key, held in told.items() if held} == there
    assert proxy.cuts >= 5


@pytest.mark.parametrize("only", ["", ONLY])
@pytest.mark.parametrize("cut", ["before", "after"])
async def test_D2_a_database_that_stays_away_leaves_it_unknown(
    far: Database, db: Database, proxy: Proxy, name: str, cut: Cut, only: str
) -> None:
    name += only

    async def work(tx: Tx) -> None:
        await noting(name, [])(tx)
        proxy.cut, proxy.away = cut, True

    with pytest.raises(CommitUnknown):
        await far.transact(work)

    assert await db.value(NOTES, name) == (cut == "after")


async def test_D2_whoever_resolves_first_settles_it_for_ever(db: Database, place: Place, name: str) -> None:
    """A transaction that is still on its way when its mark is asked for is waited for; it cannot commit after a 'no'."""
    mark = ids.new_id()
    async with place.connect() as slow:
        inside = slow.transaction()
        await inside.start()
        await slow.execute("INSERT INTO platform.commit_mark (id) VALUES ($1)", mark)
        asking = asyncio.create_task(db._committed(mark))
        done, _ = await asyncio.wait([asking], timeout=0.1)
        assert not done, "it waits for the transaction that holds the mark"
        await inside.commit()
        assert await asking is True
    other = ids.new_id()
    assert await db._committed(other) is False
    async with place.connect() as late:
        with pytest.raises(database.DriverError, match="commit_mark"):
            await late.execute("INSERT INTO platform.commit_mark (id) VALUES ($1)", other)


async def test_D3_transactions_do_not_nest_and_nobody_outside_is_asked_in_one(db: Database) -> None:
    async def nests(tx: Tx) -> None:
        await db.transact(nests)

    async def asks(tx: Tx) -> None:
        database.outside()

    database.outside()
    with pytest.raises(Impossible, match="nest"):
        await db.transact(nests)
    with pytest.raises(Impossible, match="outside"):
        await db.transact(asks)
    database.outside()


async def test_D4_nothing_stays_on_a_pooled_connection(place: Place) -> None:
    pool = await Database("one", place.dsn(), size=1).open()

    async def look(tx: Tx) -> tuple[str, str]:
        return await tx.value(SHOW), await tx.value(Query("lock_timeout", "SHOW lock_timeout"))

    assert await pool.transact(look, durable=False, lock_timeout_ms=50) == ("off", "50ms")
    assert await pool.transact(look) == ("on", "2s")
    assert await pool.value(Query("lock_timeout", "SHOW lock_timeout")) == "250ms"
    await pool.close()


async def test_D5_what_waits_is_seen_by_what_is_read_later(db: Database, name: str) -> None:
    async def work(tx: Tx) -> tuple[int, int]:
        tx.write(NOTE, name + " 1")
        tx.write(NOTE, name + " 2")
        seen = await tx.value(NOTES, name)
        tx.write(NOTE, name + " 3")
        return seen, await tx.value(NOTES, name)

    assert await db.transact(work) == (2, 3)


async def test_D5_a_transaction_that_reads_nothing_is_refused_whole_and_leaves_its_connection_clean(
    place: Place, name: str
) -> None:
    pool = await Database("one", place.dsn(), size=1).open()

    async def work(tx: Tx) -> None:
        tx.write(NOTE, name + " 1")
        tx.write(NOTE, name)

    try:
        await pool.transact(noting(name + ONLY, []))
        await pool.transact(noting(name, []))
        with pytest.raises(Conflict):
            await pool.transact(work)
        assert await pool.value(NOTES, name) == 2, "and nothing of the refused one"
    finally:
        await pool.close()


async def test_a_key_taken_meanwhile_is_a_conflict(db: Database, name: str) -> None:
    await db.transact(noting(name, []))
    with pytest.raises(Conflict):
        await db.transact(noting(name, []))


async def test_a_lock_not_had_in_time_is_contended(db: Database, name: str) -> None:
    await db.transact(noting(name, []))
    held, go = asyncio.Event(), asyncio.Event()

    async def holds(tx: Tx) -> None:
        await tx.rows(LOCK, name)
        held.set()
        await go.wait()

    holding = asyncio.create_task(db.transact(holds))
    await held.wait()
    with pytest.raises(Contended):
        await db.transact(lambda tx: tx.rows(LOCK, name), lock_timeout_ms=20)
    go.set()
    await holding


TYPED = Query("typed", "SELECT count(*) FROM unnest($1::platform.job[]) AS j")
OTHER = Query("other", "SELECT count(*) FROM unnest($1::platform.commit_mark[]) AS m, unnest($2::platform.job[]) AS j")


async def test_what_one_connection_learned_of_types_the_next_one_knows(far: Database, proxy: Proxy) -> None:
    async def both_at_once(tx: Tx) -> int:
        return await tx.value(OTHER, [], []) + await far.value(OTHER, [(ids.new_id(), None)], [])

    assert await far.value(TYPED, []) == 0
    assert await far.value(OTHER, [(ids.new_id(), None)], []) == 0
    assert proxy.asked == 1, "the first connection asks"

    assert await far.transact(both_at_once) == 0
    assert proxy.asked == 1, "the second one has no need to"


async def test_a_pool_that_is_empty_for_too_long_answers_lost(place: Place) -> None:
    pool = await Database("one", place.dsn(), size=1, patience_s=0.05).open()
    go = asyncio.Event()
    holding = asyncio.create_task(pool.transact(lambda tx: go.wait()))
    await asyncio.sleep(0)

    with pytest.raises(Lost, match="no connection"):
        await pool.value(SHOW)

    go.set()
    await holding
    assert await pool.value(SHOW) == "on"
    await pool.close()


async def test_a_wake_up_goes_out_with_its_commit_and_not_without(db: Database) -> None:
    heard: list[str] = []
    news = asyncio.Event()

    def hear(channel: str) -> None:
        heard.append(channel)
        news.set()

    async def wakes(tx: Tx, channel: str, fails: bool) -> None:
        tx.wakes.add(channel)
        if fails:
            raise ZeroDivisionError

    listening = asyncio.create_task(db.listen(["said", "unsaid"], hear))
    async with asyncio.timeout(5):
        while len(heard) < 2:  # each once, for what came before the ear was open
            await news.wait()
            news.clear()
        heard.clear()
        with pytest.raises(ZeroDivisionError):
            await db.transact(lambda tx: wakes(tx, "unsaid", True))
        await db.transact(lambda tx: wakes(tx, "said", False))
        await news.wait()
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)

    assert heard == ["said"]


async def test_listening_goes_on_after_its_connection_was_cut(db: Database, place: Place) -> None:
    heard = asyncio.Queue[str]()
    listening = asyncio.create_task(db.listen(["news"], heard.put_nowait))
    async with asyncio.timeout(5):
        await heard.get()
        async with place.connect() as other:
            await other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
        await heard.get()  # connected again: it says so, for something may have been missed
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def test_work_called_off_at_any_moment_leaves_clean_connections(place: Place, db: Database, name: str) -> None:
    pool = await Database("few", place.dsn(), size=2).open()
    rng = random.Random(11)
    for n in range(150):
        task = asyncio.create_task(pool.transact(noting(f"{name} {n}", [])))
        await asyncio.wait([task], timeout=rng.uniform(0, 0.003))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert await db.value(OPEN) == 0, "nobody is left inside a transaction"
    await asyncio.gather(*(pool.transact(noting(f"{name} after {n}", [])) for n in range(4)))
    assert await db.value(NOTES, f"{name} after") == 4
    await pool.close()


async def test_work_called_off_in_the_middle_is_rolled_back(place: Place, db: Database, name: str) -> None:
    pool = await Database("one", place.dsn(), size=1).open()
    noted = asyncio.Event()

    async def waits(tx: Tx) -> None:
        await tx.run(NOTE, name)
        noted.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(pool.transact(waits))
    await noted.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await pool.transact(noting(f"{name} next", []))

    assert await db.value(NOTES, f"{name} next") == 1
    assert await db.value(NOTES, name) == 1, "what was called off is not in the next one's commit"
    await pool.close()
