"""Counters: sliding windows to the microsecond, all or nothing, once per id; against a model (plain_counters.py), and raced."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest

from guilder.core import ids
from guilder.platform import counters, housekeeping
from guilder.platform.counters import Code, Limit, Take, Taken, commit, peek, release, reserve
from guilder.platform.db import Database, Tx
from place import CountingTx, Place
from plain_counters import Model, Refusal

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio

AT = datetime(2026, 1, 1, tzinfo=UTC)
DAY_S = 86400
INSTANT = timedelta(microseconds=1)
DAILY = Limit("k", DAY_S, 100)


@pytest.fixture
def book() -> UUID:
    return ids.new_id()


def after(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def take(book: UUID, units: int, *limits: Limit, id: UUID | None = None, lease_s: int | None = None) -> Take:
    """A take of one counter that stands at once, unless it has a lease."""
    return Take(book, id or ids.new_id(), {"k": units}, limits or (DAILY,), lease_s)


async def codes(tx: Tx, *takes: Take, now: datetime = AT) -> list[str]:
    return [t.code.value for t in await reserve(tx, takes, now=now)]


# --- the model ---------------------------------------------------------------------------------------------------------------

WINDOWS = (10, 600, 40_000)
STEPS_S = (0, 0, 0.000001, 1, 3, 4, 9.999999, 10, 250, 256, 600, 16_384, 39_999, 40_000)


def any_take(random: Random, books: list[UUID], pool: list[UUID]) -> Take:
    units = {
        key: random.randint(1, 30) if key == "amount" else 1 for key in random.sample(["amount", "count", "ip"], 2)
    }
    limits = [
        Limit(key, window_s, random.choice([30, 45, 60]) * (1 + n) if key == "amount" else 2 + n)
        for key in units if key != "ip" for n, window_s in enumerate(WINDOWS) if random.random() < 0.6
    ]  # fmt: skip
    lease_s = random.choice([None, 1, 10, 300, 50_000])
    return Take(random.choice(books), random.choice(pool), units, tuple(limits), lease_s)


def agree(answer: Taken, modelled: str | list[Refusal], coarse: timedelta) -> None:
    """A refusal names the limit that holds the take up for longest, with all that is known of it."""
    if isinstance(modelled, str):
        assert answer == Taken(Code(modelled))
        return
    assert answer.code is Code.REFUSED
    [(left, room)] = [(left, room) for limit, left, room in modelled if limit == answer.limit]
    last = max((r for _, _, r in modelled if r), default=AT)
    assert answer.left == left
    if answer.room_at is None or room is None or any(r is None for _, _, r in modelled):
        assert answer.room_at is room is None
    else:
        assert last <= answer.room_at <= room + coarse


@pytest.mark.parametrize("seed", range(12))
async def test_N4_a_batch_equals_its_takes_one_at_a_time(
    db: Database, place: Place, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(counters, "CROWD", 3 if seed % 3 else 1000)
    random, model, now, said = Random(seed), Model(), AT, Counter[str]()
    books, pool = [ids.new_id() for _ in range(2)], [ids.new_id() for _ in range(60)]
    batch: list[Take] = []
    for _ in range(50):
        now += timedelta(seconds=random.choice(STEPS_S))
        again = random.sample(batch, min(len(batch), random.randint(0, 2)))
        batch = [*again, *(any_take(random, books, pool) for _ in range(random.randint(1, 8))), *again]
        answers = await db.transact(lambda tx, b=batch, at=now: reserve(tx, b, now=at))
        for said_of, answer in zip(batch, answers, strict=True):
            agree(answer, model.reserve(said_of, now), timedelta(seconds=4) if seed % 3 else timedelta())
        said.update(t.code.value for t in answers)

        for ending, of_model in ((commit, model.commit), (release, model.release)):
            names = {(b, id) for b in books for id in random.sample(pool, 6)}
            ended = await db.transact(lambda tx, do=ending, n=names, at=now: do(tx, n, now=at))
            assert ended == of_model(names, now)
            said[ending.__name__] += len(ended)
        asked = [(b, key, w) for b in books for key in ("amount", "count", "ip") for w in (*WINDOWS, 7)]
        assert await peek(db, asked, now=now) == [model.used(*a, now) for a in asked]

    assert said.keys() == {c.value for c in Code} | {"commit", "release"}
    assert min(said.values()) > 0, said
    assert await untrue_tallies(place) == []


async def untrue_tallies(place: Place) -> list[dict[str, Any]]:
    """Tallies that are not the sum of their takes."""
    return await place.fetch("""
        SELECT * FROM (SELECT y.*, (SELECT coalesce(sum(t.units), 0) FROM platform.take t WHERE (t.book_id, t.key) = (y.book_id, y.key)
                                       AND t.at >= y.start AND t.at < y.start + make_interval(secs => y.size)) AS sum
                         FROM platform.tally y) AS s WHERE units <> sum
    """)


# --- windows -----------------------------------------------------------------------------------------------------------------


async def test_N1_a_take_counts_until_exactly_the_end_of_its_window(tx: CountingTx, book: UUID) -> None:
    end = after(DAY_S)
    await reserve(tx, [take(book, 100)], now=AT)

    [refused] = await reserve(tx, [take(book, 1)], now=end - INSTANT)
    assert refused == Taken(Code.REFUSED, DAILY, 0, end)
    assert await codes(tx, take(book, 1), now=end) == ["granted"]


async def test_N1_two_windows_of_one_counter(tx: CountingTx, book: UUID) -> None:
    minute, hour = Limit("k", 60, 2), Limit("k", 3600, 3)
    both = [take(book, 1, minute, hour) for _ in range(5)]

    assert await codes(tx, *both[:3]) == ["granted", "granted", "refused"]
    answers = await reserve(tx, both[2:], now=after(60))
    assert answers == [
        Taken(Code.GRANTED),
        Taken(Code.REFUSED, hour, 0, after(3600)),
        Taken(Code.REFUSED, hour, 0, after(3600)),
    ]


async def test_N1_what_never_fits_is_told_so_and_a_smaller_take_goes_through(tx: CountingTx, book: UUID) -> None:
    answers = await reserve(tx, [take(book, 101), take(book, 70), take(book, 31), take(book, 30)], now=AT)
    assert answers == [
        Taken(Code.REFUSED, DAILY, 100, None),
        Taken(Code.GRANTED),
        Taken(Code.REFUSED, DAILY, 30, after(DAY_S)),
        Taken(Code.GRANTED),
    ]


async def test_N1_a_counter_with_many_takes_is_as_exact(db: Database, place: Place, book: UUID) -> None:
    month = Limit("k", 30 * DAY_S, 3000)
    for n in range(3):
        begun = after(n * 10 * DAY_S)
        await db.transact(lambda tx, at=begun: reserve(tx, [take(book, 1, month) for _ in range(900)], now=at))
    assert await db.transact(lambda tx: codes(tx, take(book, 300, month), now=after(25 * DAY_S))) == ["granted"]

    assert await place.fetch("SELECT crowded FROM platform.counter WHERE book_id = $1", book) == [{"crowded": True}]
    late = after(30 * DAY_S) - INSTANT
    one, many = take(book, 1, month), take(book, 1801, month)
    [sooner, later] = await db.transact(lambda tx: reserve(tx, [one, many], now=late))
    assert (sooner.room_at, later.room_at) == (after(30 * DAY_S + 4), after(50 * DAY_S + 4)), "rounded up"
    assert await db.transact(lambda tx: codes(tx, take(book, 900, month), one, now=late + INSTANT)) == [
        "granted",
        "refused",
    ]
    assert await untrue_tallies(place) == []


# --- all or nothing, once ----------------------------------------------------------------------------------------------------


async def test_N2_all_its_counters_or_none(tx: CountingTx, book: UUID) -> None:
    amount, count = Limit("amount", DAY_S, 1000), Limit("count", 60, 1)
    first, second = (Take(book, ids.new_id(), {"amount": 400, "count": 1}, (amount, count)) for _ in range(2))
    whole = Take(book, ids.new_id(), {"amount": 600}, (amount,))

    answers = await reserve(tx, [first, second, whole], now=AT)
    assert answers == [Taken(Code.GRANTED), Taken(Code.REFUSED, count, 0, after(60)), Taken(Code.GRANTED)]


async def test_N3_twice_said_counts_once(tx: CountingTx, book: UUID) -> None:
    said = take(book, 60)
    assert await codes(tx, said, said, take(book, 40)) == ["granted", "exists", "granted"]
    assert await codes(tx, said, now=after(60)) == ["exists"]
    assert await codes(tx, take(book, 61, id=said.id), now=after(60)) == ["differs"]


async def test_N3_an_id_takes_only_what_it_does_not_have(tx: CountingTx, book: UUID) -> None:
    said = take(book, 100)
    both = Take(book, said.id, {"k": 100, "other": 1}, (DAILY, Limit("other", 60, 1)))
    assert await codes(tx, said, both, both) == ["granted", "granted", "exists"]


async def test_counters_of_other_books_and_ids_of_other_books_are_others(tx: CountingTx, book: UUID) -> None:
    here = take(book, 100)
    assert await codes(tx, here, take(ids.new_id(), 100, id=here.id)) == ["granted", "granted"]


# --- commit, release, lease --------------------------------------------------------------------------------------------------


async def test_a_reservation_lapses_exactly_with_its_lease_and_its_id_may_take_again(
    tx: CountingTx, book: UUID
) -> None:
    held = take(book, 100, lease_s=30)
    await reserve(tx, [held], now=AT)

    assert await codes(tx, take(book, 1), now=after(30) - INSTANT) == ["refused"]
    assert await commit(tx, [(book, held.id)], now=after(30)) == set()
    assert await release(tx, [(book, held.id)], now=after(30)) == set()
    assert await codes(tx, held, held, now=after(30)) == ["granted", "exists"]


async def test_what_is_committed_stands_and_counts_from_when_it_was_reserved(tx: CountingTx, book: UUID) -> None:
    held = take(book, 100, lease_s=30)
    await reserve(tx, [held], now=AT)
    for _ in range(2):
        assert await commit(tx, [(book, held.id)], now=after(29)) == {(book, held.id)}

    assert await codes(tx, take(book, 1), held, now=after(DAY_S) - INSTANT) == ["refused", "exists"]
    assert await codes(tx, take(book, 1), now=after(DAY_S)) == ["granted"]


@pytest.mark.parametrize("committed", [False, True])
async def test_what_is_released_is_free_at_once(tx: CountingTx, book: UUID, committed: bool) -> None:
    """Committed or not: a refund frees what its payment took."""
    held = take(book, 100, lease_s=30)
    await reserve(tx, [held], now=AT)
    if committed:
        await commit(tx, [(book, held.id)], now=AT)

    assert [await release(tx, [(book, held.id)] * 2, now=AT) for _ in range(2)] == [{(book, held.id)}, set()]
    assert await commit(tx, [(book, held.id)], now=AT) == set()
    assert await codes(tx, take(book, 100)) == ["granted"]


async def test_nothing_is_asked_of_nothing(tx: CountingTx, db: Database) -> None:
    assert (await reserve(tx, []), await commit(tx, []), await release(tx, []), await peek(db, [])) == (
        [],
        set(),
        set(),
        [],
    )


async def test_a_batch_of_any_size_takes_the_same_statements(tx: CountingTx, book: UUID) -> None:
    spent = []
    for size in (1, 300):
        fresh = [Take(book, ids.new_id(), {f"{n}": 9}, (Limit(f"{n}", 60, 10),)) for n in range(size)]
        for batch in (fresh, [Take(book, ids.new_id(), t.units, t.limits) for t in fresh]):
            tx.statements = 0
            await reserve(tx, batch, now=after(size * 1000))
            await tx.flush()
            spent.append(tx.statements)
    assert spent == [2, 2, 2, 2], "to grant, and to refuse"


# --- forgetting --------------------------------------------------------------------------------------------------------------


async def test_forgetting_keeps_what_a_window_may_reach(db: Database, place: Place, book: UUID) -> None:
    hour, kept = Limit("k", 3600, 5000), 3600 + DAY_S
    for begun in (0, 1800):
        batch, at = [take(book, 1, hour) for _ in range(1100)], after(begun)
        await db.transact(lambda tx, b=batch, at=at: reserve(tx, b, now=at))

    async def left(at: float) -> tuple[int, int]:
        await db.transact(lambda tx: counters.forget(tx, now=after(at)))
        [row] = await place.fetch(
            "SELECT (SELECT count(*) FROM platform.take WHERE book_id = $1) AS takes, (SELECT count(*) FROM platform.counter WHERE book_id = $1) + "
            "(SELECT count(*) FROM platform.tally WHERE book_id = $1) AS rest", book
        )  # fmt: skip
        return row["takes"], row["rest"]

    assert (await left(kept - 1))[0] == 2200
    assert (await left(kept))[0] == 1100
    assert (await left(kept + 3599))[0] == 1100, "it looks at a counter once an hour"
    assert await left(kept + 3600) == (0, 0)


async def test_the_worker_forgets(env: Any) -> None:
    [loop] = [loop for loop in housekeeping.LOOPS if loop.name == "platform.forget_takes"]
    assert await loop.run(env) >= 0


# --- races -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crowd", [3, 1000])
async def test_N1_eight_writers_never_get_more_than_there_is(
    db: Database, place: Place, book: UUID, monkeypatch: pytest.MonkeyPatch, crowd: int
) -> None:
    """Batches over shared counters in any order, at their limits, said twice and given back; no deadlock (it would raise Contended)."""
    monkeypatch.setattr(counters, "CROWD", crowd)
    keys = [f"key {n}" for n in range(6)]
    limits = {key: (Limit(key, DAY_S, 50), Limit(key, 600, 40)) for key in keys}
    got = Counter[str]()

    async def writer(seed: int) -> None:
        random = Random(seed)
        for _ in range(40):
            batch = []
            for _ in range(random.randint(1, 10)):
                units = {key: random.randint(1, 3) for key in random.sample(keys, 2)}
                batch.append(Take(book, ids.new_id(), units, tuple(m for key in units for m in limits[key])))
            answers = await db.transact(lambda tx, b=batch: reserve(tx, [*b, *b[:2]]))
            names = [(book, t.id) for t, a in zip(batch, answers, strict=False) if a.counts]
            some = random.sample(names, len(names) // 2)
            for ending in (commit, release):
                assert await db.transact(lambda tx, do=ending, n=some: do(tx, n)) == set(some)
            got.update(a.code.value for a in answers)
            used = await peek(db, [(book, key, seconds) for key in keys for seconds in (600, DAY_S)])
            assert max(used) <= 40

    await asyncio.gather(*(writer(seed) for seed in range(8)))

    assert got["refused"] > 30
    assert got["granted"] > 30
    assert 30 <= max(await peek(db, [(book, key, 600) for key in keys])) <= 40
    assert await untrue_tallies(place) == []


async def test_N3_one_id_said_by_all_at_once_takes_once(db: Database, book: UUID) -> None:
    said = [take(book, 10, Limit("k", 60, 50)) for _ in range(10)]
    answers = await asyncio.gather(*(db.transact(lambda tx: reserve(tx, said)) for _ in range(8)))

    assert Counter(a.code.value for one in answers for a in one) == {"granted": 5, "exists": 35, "refused": 40}
    assert await peek(db, [(book, "k", 60)]) == [50]


async def test_a_commit_and_a_reserve_agree_on_who_was_first(db: Database, book: UUID) -> None:
    """Where the clocks of two processes differ, a reservation is committed or its room is given to another, never both."""
    for n in range(30):
        key = Limit(f"{n}", DAY_S, 1)
        held, other = (Take(book, ids.new_id(), {key.key: 1}, (key,), 30) for _ in range(2))
        await db.transact(lambda tx, t=held: reserve(tx, [t], now=AT))
        standing, [taken] = await asyncio.gather(
            db.transact(lambda tx, t=held: commit(tx, [(book, t.id)], now=after(29))),
            db.transact(lambda tx, t=other: reserve(tx, [t], now=after(31))),
        )
        assert bool(standing) is not taken.counts
