"""Batch lanes: B1 to B4, on a real database."""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar

import pytest

from guilder.core import ids
from guilder.core.check import Impossible
from guilder.core.errors import Busy, GuilderError, Invalid, Unknown
from guilder.platform import context
from guilder.platform.batch import Lane, Limits
from guilder.platform.db import Conflict, Database, Lost, Tx
from guilder.platform.sql import Query
from pgproxy import proxied
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio

NOTE = Query(
    "note",
    "INSERT INTO platform.job (kind, key, run_at, root_id) SELECT 'note', k, now(), gen_random_uuid() FROM unnest($1::text[]) k",
)
NOTED = Query("noted", "SELECT key FROM platform.job WHERE key LIKE $1 || '%' ORDER BY key")
LOCK = Query("lock", "SELECT * FROM platform.job WHERE key = ANY ($1) FOR UPDATE")
BOOK = ids.new_id()
ONE = Limits(lanes=1)


class Notes:
    """A use case that writes its items down, and keeps what batches it saw.  What an item says, it does."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.go = asyncio.Event()
        self.go.set()

    async def work(self, tx: Tx, items: list[str]) -> Sequence[str | GuilderError]:
        self.batches.append(items)
        await self.go.wait()
        await tx.run(NOTE, [i for i in items if "refused" not in i])
        if any("poison" in i for i in items):
            raise ZeroDivisionError(str(items))
        if any("null" in i for i in items):
            await tx.run(NOTE, [None])
        return [Invalid(i) if "refused" in i else i.upper() for i in items]


@pytest.fixture
def name() -> str:
    return ids.text(ids.new_id())


@pytest.fixture
def notes() -> Notes:
    return Notes()


async def noted(db: Database, name: str) -> list[str]:
    return [r["key"].removeprefix(name) for r in await db.rows(NOTED, name)]


async def test_one_is_a_batch_of_one(db: Database, notes: Notes, name: str) -> None:
    assert await Lane(db, "notes", notes.work).submit(f"{name}a", BOOK) == f"{name}a".upper()
    assert notes.batches == [[f"{name}a"]]


async def test_calls_gather_while_the_batch_before_commits(db: Database, notes: Notes, name: str) -> None:
    lane = Lane(db, "notes", notes.work, limits=Limits(lanes=1, size=20))
    notes.go.clear()
    first = lane.offer(f"{name}0", BOOK)
    while not notes.batches:
        await asyncio.sleep(0.001)
    rest = [lane.offer(f"{name}{n:02}", BOOK) for n in range(1, 31)]
    notes.go.set()

    answers = await asyncio.gather(first, *rest)

    assert [len(b) for b in notes.batches] == [1, 20, 10]
    assert answers == [i.upper() for b in notes.batches for i in b], "in order, each its own"


async def test_B2_a_refused_item_is_a_value(db: Database, notes: Notes, name: str) -> None:
    lane = Lane(db, "notes", notes.work, limits=ONE)
    a, refused, b = (lane.offer(f"{name}{n}", BOOK) for n in ("a", "refused", "b"))

    assert (await a, await b) == (f"{name}A".upper(), f"{name}B".upper())
    with pytest.raises(Invalid):
        await refused
    assert (len(notes.batches), await noted(db, name)) == (1, ["a", "b"])


@pytest.mark.parametrize("hurts", ["poison", "null"])
async def test_B3_halving_finds_the_one_that_hurts(db: Database, notes: Notes, name: str, hurts: str) -> None:
    lane = Lane(db, "notes", notes.work, limits=ONE)
    items = [f"{n:02}" for n in range(32)]
    items[19] += hurts
    futures = [lane.offer(name + i, BOOK) for i in items]

    answers = await asyncio.gather(*futures, return_exceptions=True)

    failed = [i for i, a in zip(items, answers, strict=True) if isinstance(a, Exception)]
    assert failed == [items[19]]
    assert await noted(db, name) == [i for i in items if hurts not in i], "its neighbours are answered, once"
    assert len(notes.batches) <= 11


async def test_B3_a_conflict_runs_the_batch_once_more(db: Database, name: str) -> None:
    runs = []

    async def work(tx: Tx, items: list[str]) -> list[str]:
        runs.append(list(items))
        await tx.run(NOTE, items)
        if len(runs) == 1:
            raise Conflict("somebody was faster")
        return items

    lane = Lane(db, "work", work, limits=ONE)
    await asyncio.gather(*(lane.offer(f"{name}{n}", BOOK) for n in range(3)))

    assert runs == [[f"{name}{n}" for n in range(3)]] * 2
    assert await noted(db, name) == ["0", "1", "2"]


async def test_B3_what_stays_in_conflict_is_busy_and_left_nothing(db: Database, name: str) -> None:
    await db.transact(lambda tx: tx.run(NOTE, [f"{name}taken"]))
    lane = Lane(db, "notes", Notes().work, limits=ONE)
    taken, free = lane.offer(f"{name}taken", BOOK), lane.offer(f"{name}free", BOOK)

    assert await free
    with pytest.raises(Busy):
        await taken
    assert await noted(db, name) == ["free", "taken"]


async def test_B3_a_lock_that_one_item_waits_for_stalls_its_neighbours_but_shortly(db: Database, name: str) -> None:
    await db.transact(lambda tx: tx.run(NOTE, [f"{name}{n}" for n in range(8)]))
    held, go = asyncio.Event(), asyncio.Event()

    async def holds(tx: Tx) -> None:
        await tx.rows(LOCK, [f"{name}5"])
        held.set()
        await go.wait()

    async def work(tx: Tx, items: list[str]) -> list[str]:
        await tx.rows(LOCK, items)
        return items

    holding = asyncio.create_task(db.transact(holds))
    await held.wait()
    lane = Lane(db, "locks", work, limits=ONE)
    futures = [lane.offer(f"{name}{n}", BOOK) for n in range(8)]
    async with asyncio.timeout(1.5):
        assert await asyncio.gather(*futures[:5]) == [f"{name}{n}" for n in range(5)]
    assert not futures[5].done()
    go.set()
    await holding
    assert await asyncio.gather(*futures) == [f"{name}{n}" for n in range(8)]


async def test_B3_an_answer_too_few_hurts_nobody_silently(db: Database, name: str) -> None:
    async def work(tx: Tx, items: list[str]) -> list[str]:
        await tx.run(NOTE, items)
        return []

    with pytest.raises(Impossible, match="answers every item"):
        await Lane(db, "short", work).submit(name, BOOK)
    assert await noted(db, name) == []


async def test_B4_a_full_queue_is_busy_and_nothing_was_done(db: Database, notes: Notes, name: str) -> None:
    lane = Lane(db, "notes", notes.work, limits=Limits(lanes=1, queue=3))
    taken = [lane.offer(f"{name}{n}", BOOK) for n in range(3)]

    with pytest.raises(Busy):
        await lane.submit(f"{name}late", BOOK)

    await asyncio.gather(*taken)
    assert await noted(db, name) == ["0", "1", "2"]


async def test_B4_past_its_deadline_a_caller_hears_unknown_and_the_item_goes_on(
    db: Database, notes: Notes, name: str
) -> None:
    lane = Lane(db, "notes", notes.work, limits=Limits(deadline_s=0.02))
    notes.go.clear()

    with pytest.raises(Unknown):
        await lane.submit(name, BOOK)

    notes.go.set()
    await lane.idle()
    assert await noted(db, name) == [""]


async def test_B4_a_caller_that_goes_away_takes_nothing_with_it(db: Database, notes: Notes, name: str) -> None:
    lane = Lane(db, "notes", notes.work, limits=ONE)
    notes.go.clear()
    gone, stays = (asyncio.create_task(lane.submit(f"{name}{n}", BOOK)) for n in ("a", "b"))
    while not notes.batches:
        await asyncio.sleep(0.001)
    gone.cancel()
    notes.go.set()

    assert await stays == f"{name}B".upper()
    await lane.idle()
    assert await noted(db, name) == ["a", "b"]


async def test_a_lost_commit_is_answered_and_not_run_again(place: Place, db: Database, notes: Notes, name: str) -> None:
    async with proxied(place.dsn()) as proxy:
        far = await Database("far", proxy.dsn, size=2).open()
        lane = Lane(far, "notes", notes.work, limits=ONE)
        proxy.cut = "after"

        answers = await asyncio.gather(*(lane.submit(f"{name}{n}", BOOK) for n in range(5)))

        assert answers == [f"{name}{n}".upper() for n in range(5)]
        assert (proxy.cuts, len(notes.batches)) == (1, 1)
        await far.close()
    assert len(await noted(db, name)) == 5


async def test_a_commit_that_stays_unknown_is_told_to_every_caller_and_not_run_again(
    place: Place, db: Database, notes: Notes, name: str
) -> None:
    async with proxied(place.dsn()) as proxy:
        far = await Database("far", proxy.dsn, size=1, patience_s=0.1, resolve_s=0.1).open()

        async def work(tx: Tx, items: list[str]) -> Sequence[str | GuilderError]:
            proxy.cut, proxy.away = "after", True
            return await notes.work(tx, items)

        lane = Lane(far, "notes", work, limits=ONE)
        answers = await asyncio.gather(*(lane.submit(f"{name}{n}", BOOK) for n in range(3)), return_exceptions=True)

        assert [type(a) for a in answers] == [Unknown] * 3
        assert len(notes.batches) == 1
        await far.close()
    assert await noted(db, name) == ["0", "1", "2"], "it was committed, and nobody was told otherwise"


async def test_a_connection_lost_in_the_work_runs_it_again(db: Database, name: str) -> None:
    runs = []

    async def work(tx: Tx, items: list[str]) -> list[str]:
        runs.append(1)
        await tx.run(NOTE, items)
        if len(runs) == 1:
            raise Lost("gone")
        return items

    await Lane(db, "work", work).submit(name, BOOK)

    assert (len(runs), await noted(db, name)) == (2, [""])


async def test_a_batch_runs_in_nobodys_context(db: Database, name: str) -> None:
    mine: ContextVar[str] = ContextVar("mine", default="nobody's")
    seen = []

    async def work(tx: Tx, items: list[str]) -> list[str]:
        seen.append((mine.get(), context.peek()))
        return items

    lane = Lane(db, "work", work)
    mine.set("a caller's")
    with context.use(context.mint(actor="key:1")):
        await lane.submit(name, BOOK)

    assert seen == [("nobody's", None)]


async def test_books_have_lanes_of_their_own(db: Database, notes: Notes, name: str) -> None:
    lane = Lane(db, "notes", notes.work, limits=Limits(lanes=2))
    even, odd = (next(b for b in iter(ids.new_id, None) if b.int % 2 == n) for n in (0, 1))

    await asyncio.gather(lane.submit(f"{name}a", even), lane.submit(f"{name}b", odd), lane.submit(f"{name}c", even))

    assert sorted(len(b) for b in notes.batches) == [1, 2]
