"""Events: said with their commit, heard at least once, a poisonous one harms no other."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg
import pytest

from guilder.core import clock, ids
from guilder.platform import context, outbox
from guilder.platform.db import Conflict, Contended, Database, Tx
from guilder.platform.outbox import Event, Heard, Subscription
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio


def event(type: str = "tea.served", **more: object) -> Event:
    return Event(**{
        "book_id": ids.new_id(), "type": type, "object_id": ids.new_id(), "object_version": 1, "data": "{}", "at": clock.now(),
        "root_id": ids.new_id(),
    } | more)  # fmt: skip


@dataclass
class Ear:
    """A subscriber that remembers, and stumbles over what it is told to."""

    heard: list[UUID] = field(default_factory=list)
    stumbles: Callable[[Heard], Exception | None] = lambda _: None
    roots: list[UUID] = field(default_factory=list)

    async def handle(self, tx: Tx, events: list[Heard]) -> None:
        for e in events:
            if error := self.stumbles(e):
                raise error
        self.heard += [e.id for e in events]
        self.roots += [context.current().root_id]


@pytest.fixture
async def ear(db: Database, place: Place) -> Ear:
    """The only subscriber, of everything about tea; nothing waits for it yet."""
    async with place.owner() as owner:
        await owner.execute("TRUNCATE platform.outbox")
    ear = Ear()
    outbox.register([Subscription("ear", ("tea.*",), ear.handle)])
    return ear


def subscription(ear: Ear) -> Subscription:
    return Subscription("ear", ("tea.*",), ear.handle)


async def say(db: Database, *events: Event) -> list[UUID]:
    async def work(tx: Tx) -> list[UUID]:
        return outbox.emit(tx, events)

    return await db.transact(work)


async def drain_all(db: Database, ear: Ear, limit: int = 200) -> None:
    while await outbox.drain(db, subscription(ear), limit):
        pass


async def test_what_is_said_is_heard_in_order_by_whoever_wants_it(db: Database, ear: Ear) -> None:
    root = ids.new_id()
    said = await say(db, *(event(t, root_id=root) for t in ("tea.served", "coffee.served", "tea.drunk")))

    assert await outbox.drain(db, subscription(ear)) == 2
    assert ear.heard == [said[0], said[2]]
    assert ear.roots == [root], "in the chain of work that said it"
    assert await outbox.drain(db, subscription(ear)) == 0


async def test_an_event_arrives_whole(db: Database, place: Place) -> None:
    got: list[Heard] = []

    async def handle(tx: Tx, events: list[Heard]) -> None:
        got.extend(events)

    s = Subscription("whole", ("*",), handle)
    outbox.register([s])
    e = event(
        data='{"leaf":"茶"}', previous='{"leaf":""}', request_id="req_1", idempotency_key="k", business_line="tea"
    )
    [id] = await say(db, e)
    await outbox.drain(db, s)

    assert got == [Heard(e.book_id, id, e.type, e.object_id, e.data, e.at, e.root_id, "tea", e.previous, "req_1", "k")]


async def test_what_was_rolled_back_was_never_said(db: Database, ear: Ear) -> None:
    async def fails(tx: Tx) -> None:
        outbox.emit(tx, [event()])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await db.transact(fails)
    assert await outbox.drain(db, subscription(ear)) == 0


async def test_a_subscriber_that_dies_hears_again(db: Database, ear: Ear) -> None:
    said = await say(db, event())

    async def dies(tx: Tx, events: list[Heard]) -> None:
        await ear.handle(tx, events)
        raise Contended("killed before its commit")

    with pytest.raises(Contended):
        await outbox.drain(db, Subscription("ear", ("*",), dies))
    await drain_all(db, ear)

    assert ear.heard == said * 2


@pytest.mark.parametrize("error", [ZeroDivisionError("bitter"), Conflict("for ever")])
async def test_a_poisonous_event_is_found_and_postponed_while_others_pass(
    db: Database, ear: Ear, place: Place, error: Exception
) -> None:
    said = await say(db, *(event() for _ in range(23)))
    ear.stumbles = lambda e: error if e.id == said[9] else None

    await drain_all(db, ear)

    assert sorted(ear.heard) == sorted(set(said) - {said[9]}), "each of the others once"
    [waits] = await place.fetch("SELECT event_id, tries, last_error, run_at > now() AS later FROM platform.outbox")
    assert waits == {"event_id": said[9], "tries": 1, "last_error": repr(error), "later": True}


@pytest.mark.parametrize("tries", [0, 5, 31, 1000])
async def test_a_poisonous_event_may_wait_for_days_and_stops_nobody(
    db: Database, ear: Ear, place: Place, tries: int
) -> None:
    await say(db, event())
    ear.stumbles = lambda _: ZeroDivisionError()
    async with place.owner() as owner:
        await owner.execute("UPDATE platform.outbox SET tries = $1", tries)

    assert await outbox.drain(db, subscription(ear)) == 1

    [row] = await place.fetch("SELECT tries, extract(epoch FROM run_at - now())::int AS wait_s FROM platform.outbox")
    assert row["tries"] == tries + 1
    assert abs(row["wait_s"] - min(3600, 2**tries)) <= 2
    async with place.owner() as owner:
        await owner.execute("UPDATE platform.outbox SET run_at = now()")
    ear.stumbles = lambda _: None
    await drain_all(db, ear)
    assert len(ear.heard) == 1, "once it can be taken, it is"


async def test_whoever_postpones_an_event_postpones_that_one(db: Database, ear: Ear, place: Place) -> None:
    """Between the failure and the note another worker may have taken the event; an innocent one must not pay."""
    poison, innocent = await say(db, event(), event())
    holding: list[asyncio.Task[None]] = []

    async def hold() -> None:
        async with place.connect() as other, other.transaction():
            await other.execute("SELECT * FROM platform.outbox WHERE event_id = $1 FOR UPDATE", poison)
            await asyncio.sleep(0.1)

    async def stumble(tx: Tx, events: list[Heard]) -> None:
        if len(events) == 1:
            holding.append(asyncio.create_task(hold()))
        raise ZeroDivisionError

    await outbox.drain(db, Subscription("ear", ("*",), stumble))
    await asyncio.gather(*holding)

    rows = await place.fetch("SELECT event_id, tries FROM platform.outbox ORDER BY event_id")
    assert rows == [{"event_id": poison, "tries": 1}, {"event_id": innocent, "tries": 0}]


async def test_many_workers_hand_each_event_over_once(db: Database, ear: Ear) -> None:
    said = await say(db, *(event() for _ in range(120)))

    await asyncio.gather(*(drain_all(db, ear, limit=7) for _ in range(5)))

    assert sorted(ear.heard) == sorted(said)


async def test_DB18_none_is_lost_however_commits_are_delayed(db: Database, ear: Ear) -> None:
    """Ids are not committed in order; who polls by `id > last` loses what commits late."""
    rng, said, over = random.Random(3), list[UUID](), asyncio.Event()

    async def write() -> None:
        async def work(tx: Tx) -> list[UUID]:
            made = outbox.emit(tx, [event() for _ in range(rng.randint(1, 4))])
            await asyncio.sleep(rng.uniform(0, 0.01))
            return made

        for _ in range(20):
            said.extend(await db.transact(work))

    async def read() -> None:
        while not over.is_set():
            await drain_all(db, ear, limit=20)
            await asyncio.sleep(0)

    readers = [asyncio.create_task(read()) for _ in range(2)]
    await asyncio.gather(*(write() for _ in range(6)))
    over.set()
    await asyncio.gather(*readers)
    await drain_all(db, ear)

    assert sorted(ear.heard) == sorted(said)


async def test_the_pump_hears_at_once_and_goes_on_after_errors(
    db: Database, ear: Ear, caplog: pytest.LogCaptureFixture
) -> None:
    fails = [Contended("a lock"), asyncpg.QueryCanceledError("an operator")]
    wake = asyncio.Event()

    async def pumped(tx: Tx, events: list[Heard]) -> None:
        if fails:
            raise fails.pop()
        await ear.handle(tx, events)

    s = Subscription("ear", ("tea.*",), pumped)
    pumping = asyncio.create_task(outbox.pump(db, s, wake))
    listening = asyncio.create_task(db.listen([outbox.WAKE], lambda _: wake.set()))
    said = await say(db, event(), event())
    async with asyncio.timeout(10):
        while sorted(ear.heard) != sorted(said):
            await asyncio.sleep(0.01)
    assert not pumping.done()
    for task in (pumping, listening):
        task.cancel()
    await asyncio.gather(pumping, listening, return_exceptions=True)


async def test_the_application_cannot_rewrite_what_was_said(db: Database, ear: Ear, place: Place) -> None:
    await say(db, event())
    async with place.connect("app") as app:
        for statement in ("UPDATE platform.event SET data = ''", "DELETE FROM platform.event"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.execute(statement)
    async with place.owner() as owner:
        with pytest.raises(asyncpg.RaiseError, match="written once"):
            await owner.execute("DELETE FROM platform.event")
