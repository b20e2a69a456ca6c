"""Jobs: once per key, one worker at a time, fenced; loops that go on."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from guilder.core import clock, ids
from guilder.platform import context, jobs
from guilder.platform.db import Database
from guilder.platform.jobs import Job, Kind, Later, Loop
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio


@pytest.fixture
async def kind(place: Place) -> str:
    """A kind of job of this test's own; jobs of others are gone."""
    async with place.owner() as owner:
        await owner.execute("TRUNCATE platform.job")
    return f"kind {ids.text(ids.new_id())}"


class Worker:
    """Runs jobs of a kind; does to each what it is told."""

    def __init__(self, kind: str, deed: Any = None) -> None:
        self.ran: list[Job] = []
        self.roots: list[Any] = []
        self.deed = deed
        self.kind = Kind(kind, self.run, retry_s=(10, 60))

    async def run(self, env: Any, job: Job) -> None:
        self.ran.append(job)
        self.roots.append(context.current().root_id)
        if self.deed is not None:
            await self.deed(job)


async def put(db: Database, kind: str, key: str = "k", **more: Any) -> None:
    await db.transact(lambda tx: jobs.put(tx, kind, key, clock.now() + timedelta(**more), {"n": 1}))


async def again(place: Place, column: str = "run_at") -> None:
    """Time passes: what waits is due, or the lease of who runs it is over."""
    async with place.owner() as owner:
        await owner.execute(f"UPDATE platform.job SET {column} = now() - interval '1 s'")


async def row(place: Place) -> dict[str, Any]:
    [row] = await place.fetch(
        "SELECT tries, fence, done_at IS NOT NULL AS done, lease_until IS NOT NULL AS leased, last_error, "
        "round(extract(epoch FROM run_at - now()))::int AS in_s FROM platform.job"
    )
    return row


async def test_a_job_is_made_once_and_run_once(db: Database, kind: str) -> None:
    worker, root = Worker(kind), ids.new_id()
    with context.use(context.carry_on(root)):
        for _ in range(3):
            await put(db, kind)

    assert [await jobs.run_due(None, db, [worker.kind]) for _ in range(2)] == [1, 0]
    assert [(j.key, j.payload, j.tries) for j in worker.ran] == [("k", {"n": 1}, 1)]
    assert worker.roots == [root]
    await put(db, kind)
    assert await jobs.run_due(None, db, [worker.kind]) == 0, "a job that is done is not made again"


async def test_a_job_waits_for_its_time_and_its_kind(db: Database, kind: str) -> None:
    worker, other = Worker(kind), Worker("other")
    await put(db, kind, hours=1)
    assert await jobs.run_due(None, db, [worker.kind]) == 0
    await put(db, kind, key="now")
    assert await jobs.run_due(None, db, [other.kind]) == 0
    assert await jobs.run_due(None, db, [worker.kind]) == 1


async def test_one_worker_at_a_time(db: Database, kind: str) -> None:
    go = asyncio.Event()
    worker = Worker(kind, lambda _: go.wait())
    for n in range(6):
        await put(db, kind, key=str(n))
    running = [asyncio.create_task(jobs.run_due(None, db, [worker.kind], limit=2)) for _ in range(5)]
    async with asyncio.timeout(10):
        while len(worker.ran) < 6:
            await asyncio.sleep(0.002)
    go.set()

    assert sum(await asyncio.gather(*running)) == 6
    assert sorted(j.key for j in worker.ran) == list("012345")


async def test_what_fails_comes_again_later_and_later(db: Database, kind: str, place: Place) -> None:
    async def fails(job: Job) -> None:
        raise ZeroDivisionError(job.tries)

    worker, waits = Worker(kind, fails), []
    await put(db, kind)
    for _ in range(4):
        await jobs.run_due(None, db, [worker.kind])
        waits.append((await row(place))["in_s"])
        await again(place)

    assert [abs(w - s) <= 1 for w, s in zip(waits, (10, 60, 60, 60), strict=True)] == [True] * 4
    assert (await row(place))["last_error"] == "ZeroDivisionError(4)"
    worker.deed = None
    await jobs.run_due(None, db, [worker.kind])
    assert (await row(place))["done"]


async def test_a_job_may_say_when_it_is_due_after_all(db: Database, kind: str, place: Place) -> None:
    async def later(_: Job) -> None:
        raise Later(clock.now() + timedelta(hours=2), "the file is not there yet")

    await put(db, kind)
    await jobs.run_due(None, db, [Worker(kind, later).kind])

    now = await row(place)
    assert (now["last_error"], now["leased"], abs(now["in_s"] - 7200) <= 1) == (
        "the file is not there yet",
        False,
        True,
    )


@pytest.mark.parametrize("ending", ["done", "failed", "later"])
async def test_a_worker_that_slept_past_its_lease_changes_nothing(
    db: Database, kind: str, place: Place, ending: str
) -> None:
    async def sleeps(_: Job) -> None:
        asleep.set()
        await wake.wait()
        if ending == "failed":
            raise ZeroDivisionError
        if ending == "later":
            raise Later(clock.now() + timedelta(days=1), "")

    asleep, wake, working = asyncio.Event(), asyncio.Event(), asyncio.Event()
    await put(db, kind)
    sleeper = asyncio.create_task(jobs.run_due(None, db, [Worker(kind, sleeps).kind]))
    await asleep.wait()
    await again(place, "lease_until")
    successor = asyncio.create_task(jobs.run_due(None, db, [Worker(kind, lambda _: working.wait()).kind]))
    async with asyncio.timeout(10):
        while (await row(place))["fence"] < 2:
            await asyncio.sleep(0.002)
    wake.set()
    await sleeper

    assert (await row(place)) | {"in_s": 0} == {
        "tries": 2, "fence": 2, "done": False, "leased": True, "last_error": None, "in_s": 0,
    }  # fmt: skip
    working.set()
    await successor
    assert (await row(place))["done"]


async def test_a_dead_workers_job_is_run_by_another(db: Database, kind: str, place: Place) -> None:
    await put(db, kind)
    started = asyncio.Event()

    async def begins(_: Job) -> None:
        started.set()
        await asyncio.Event().wait()

    dying = asyncio.create_task(jobs.run_due(None, db, [Worker(kind, begins).kind]))
    await started.wait()
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)

    worker = Worker(kind)
    assert await jobs.run_due(None, db, [worker.kind]) == 0, "until the lease is over"
    await again(place, "lease_until")
    assert await jobs.run_due(None, db, [worker.kind]) == 1


async def test_a_loop_goes_on_whatever_it_raises_and_comes_at_once_after_a_full_round() -> None:
    rounds: list[int] = []
    enough = asyncio.Event()

    async def run(_: Any) -> int:
        rounds.append(len(rounds))
        if len(rounds) == 1:
            raise ZeroDivisionError
        if len(rounds) == 6:
            enough.set()
        return 5 if len(rounds) < 6 else 0

    keeping = asyncio.create_task(jobs.keep(Loop("trial", 0.01, run, full=5), None))
    async with asyncio.timeout(5):
        await enough.wait()
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
