"""Counters: how much was taken by a key within a sliding window, and never more than a limit lets through.

    [taken] = await reserve(tx, [Take(book, attempt, {key: 4200}, (Limit(key, DAY_S, 1_000_000),))])
    await commit(tx, [(book, attempt)])        # it happened: it counts for its windows, from when it was reserved
    await release(tx, [(book, attempt)])       # it did not, or is undone: it counts no more

Promises.

    N1  A take made at t counts in a window of w seconds while now < t + w, and until its lease is over: to the microsecond.  Where every
        take of a counter is judged by the same limit, no w seconds hold more than `most`, by the times of the takes, whatever the
        clocks of those who took.
    N2  A take is granted on all its counters and by all its limits, or leaves nothing.
    N3  An id takes once from a counter, however often it is said.  One that was given back, or has lapsed, may take again.
    N4  A batch is its takes one at a time, in order.

Cost.   `reserve` takes two statements whatever the size of the batch, one more if any take is refused; `commit`, `release` and `peek`
        one.  A counter with many takes in its windows gets tallies (one more statement, once): a window of 30 days is then a sum over
        some 300 rows and the takes of four seconds, however many it holds, and as exact; only `room_at` is rounded up to 4 s.
Locks.  `reserve` holds the rows of its counters, in key order, `commit` those of its takes, `release` both, until the transaction
        ends.  In one transaction each is said once, for the whole batch, and `reserve` last.

A counter remembers the longest window that was asked of it and a day more: a longer one, asked later, sees what is still there.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from uuid import UUID

import msgspec

from guilder.core import clock
from guilder.core.check import must
from guilder.platform.db import Database, Tx
from guilder.platform.sql import load

Q = load(__package__)
LEASE_S = 900
MOST_UNITS = 10**15  # of one take
CROWD = 1000  # with more takes in a window than these, a counter gets tallies
FORGET_COUNTERS, FORGET_TAKES = 100, 5000  # at a time

Counter = tuple[UUID, str]  # book and key
Window = tuple[UUID, str, int]  # of a counter, in seconds
Name = tuple[UUID, UUID]  # what took: book and id


class Limit(msgspec.Struct, frozen=True):
    """At most so many units of a counter within any `window_s` seconds."""

    key: str  # 'channel:ca_x:CNY'
    window_s: int
    most: int


class Take(msgspec.Struct, frozen=True):
    """Units of one or more counters, by whoever `id` is: an amount here, a count there.  `limits` are of these counters; a counter
    without one just counts."""

    book_id: UUID
    id: UUID
    units: Mapping[str, int]
    limits: tuple[Limit, ...] = ()
    lease_s: int | None = LEASE_S  # from now; None: it stands at once


class Code(Enum):
    """What became of a take."""

    GRANTED = "granted"
    EXISTS = "exists"  # it has these units already: said twice, it keeps its time and its lease
    DIFFERS = "differs"  # it has other units of one of the counters: nothing was done
    REFUSED = "refused"  # a limit would be exceeded: nothing was done


class Taken(msgspec.Struct, frozen=True):
    """A take's answer.  Of limits that refuse it, the one that does so for longest."""

    code: Code
    limit: Limit | None = None
    left: int = 0  # of the limit
    room_at: datetime | None = None  # it fits then if nobody else takes, or up to 4 s sooner; None: it never does

    @property
    def counts(self) -> bool:
        """Whether exactly this take is among what its counters count."""
        return self.code is Code.GRANTED or self.code is Code.EXISTS


@dataclass(frozen=True, slots=True)
class _Over:
    """A limit that refuses a take."""

    limit: Limit
    units: int  # that the take wants
    before: int  # what the window held before the batch
    added: int  # what the batch added until then

    @property
    def need(self) -> int:
        """How much must leave the window first."""
        return self.before + self.added + self.units - self.limit.most


@dataclass(slots=True)
class _Counts:
    """What was locked and read, and what the takes judged so far add to it."""

    had: dict[tuple[UUID, UUID, str], int] = field(default_factory=dict)
    used: dict[Window, int] = field(default_factory=dict)
    crowded: set[Counter] = field(default_factory=set)
    crowding: set[Counter] = field(default_factory=set)
    added: dict[Counter, int] = field(default_factory=lambda: defaultdict(int))
    granted: list[tuple[Take, str]] = field(default_factory=list)


async def reserve(tx: Tx, takes: Sequence[Take], *, now: datetime | None = None) -> list[Taken]:
    """Take in order, each seeing what those before it took; one answer per take (Code).  What is granted is written with the
    transaction's next statement (D5), and ends with its lease unless it is committed."""
    if not takes:
        return []
    _check(takes)
    at = now or clock.now()
    counts = await _open(tx, takes, at)
    judged = [_judge(counts, take) for take in takes]
    rooms = await _rooms(tx, [(t, o) for t, answer in zip(takes, judged, strict=True) for o in _overs(answer)], at)
    if counts.crowding:
        await tx.run(Q.crowd_counters, *_columns(counts.crowding, 2))
    _write(tx, counts, at)
    return [
        Taken(answer) if isinstance(answer, Code) else _refused(take, answer, rooms, at)
        for take, answer in zip(takes, judged, strict=True)
    ]


async def commit(tx: Tx, takes: Collection[Name], *, now: datetime | None = None) -> set[Name]:
    """Make reservations stand; those that do now, on any counter.  The others were given back, have lapsed or never were: of what
    happened all the same, a take without limits makes a note."""
    rows = await tx.rows(Q.commit_takes, *_columns(takes, 2), now or clock.now()) if takes else []
    return {(r["book_id"], r["id"]) for r in rows}


async def release(tx: Tx, takes: Collection[Name], *, now: datetime | None = None) -> set[Name]:
    """Give takes back, on all their counters, committed or not; those that counted until now."""
    rows = await tx.rows(Q.release_takes, *_columns(takes, 2), now or clock.now()) if takes else []
    return {(r["book_id"], r["id"]) for r in rows}


async def peek(db: Database, windows: Sequence[Window], *, now: datetime | None = None) -> list[int]:
    """How many units count in each window; nothing is locked."""
    at = now or clock.now()
    since = [at - timedelta(seconds=seconds) for _, _, seconds in windows]
    return [r["used"] for r in await db.rows(Q.peek_counters, *_columns(windows, 3)[:2], since, at)]


async def forget(tx: Tx, *, now: datetime | None = None) -> int:
    """Forget takes that no window reaches; how much there was to do."""
    return await tx.value(Q.forget_takes, now or clock.now(), FORGET_COUNTERS, FORGET_TAKES)


def _check(takes: Sequence[Take]) -> None:
    """What only a mistake in our own code can get wrong."""
    for take in takes:
        must(
            take.units and all(0 < u <= MOST_UNITS for u in take.units.values()), "a take takes something, and not all"
        )
        must(take.lease_s is None or take.lease_s > 0, "a lease lasts")
        must(all(m.key in take.units and m.window_s > 0 for m in take.limits), "a limit is of a counter of its take")


async def _open(tx: Tx, takes: Sequence[Take], at: datetime) -> _Counts:
    """Lock the counters of the batch, and read what decides it."""
    windows = sorted({(t.book_id, m.key, m.window_s) for t in takes for m in t.limits})
    asked = dict.fromkeys({(t.book_id, key) for t in takes for key in t.units}, 0)
    for book, key, seconds in windows:
        asked[book, key] = seconds  # the longest comes last
    counters = list(asked)
    names = list({(t.book_id, t.id) for t in takes})
    since = [at - timedelta(seconds=seconds) for _, _, seconds in windows]
    counts = _Counts()
    for row in await tx.rows(
        Q.open_counters, *_columns(counters, 2), list(asked.values()), *_columns(names, 2), *_columns(windows, 3)[:2], since, at
    ):  # fmt: skip
        n = row["n"] - 1
        if row["what"] == "crowded":
            counts.crowded.add(counters[n])
        elif row["what"] == "had":
            counts.had[*names[n], row["key"]] = row["units"]
        else:
            counts.used[windows[n]] = row["units"]
            if row["parts"] > CROWD and windows[n][:2] not in counts.crowded:
                counts.crowding.add(windows[n][:2])
    return counts


def _judge(counts: _Counts, take: Take) -> Code | list[_Over]:
    """A take's answer, or the limits that refuse it."""
    book, fresh = take.book_id, {}
    for key, units in take.units.items():
        had = counts.had.get((book, take.id, key))
        if had is None:
            fresh[key] = units
        elif had != units:
            return Code.DIFFERS
    if not fresh:
        return Code.EXISTS
    limited = [m for m in take.limits if m.key in fresh]
    judged = [_Over(m, fresh[m.key], counts.used[book, m.key, m.window_s], counts.added[book, m.key]) for m in limited]
    over = [o for o in judged if o.need > 0]
    if over:
        return over
    for key, units in fresh.items():
        counts.had[book, take.id, key] = units
        counts.added[book, key] += units
        counts.granted.append((take, key))
    return Code.GRANTED


def _overs(answer: Code | list[_Over]) -> list[_Over]:
    return [] if isinstance(answer, Code) else answer


_Rooms = dict[tuple[UUID, str, int, int], datetime]  # by window, and how much must leave it


async def _rooms(tx: Tx, over: Sequence[tuple[Take, _Over]], at: datetime) -> _Rooms:
    """When so much of what windows held before the batch has left them."""
    asked = list({(t.book_id, o.limit.key, o.limit.window_s, o.need) for t, o in over if _waits(o)})
    if not asked:
        return {}
    books, keys, _, needs = _columns(asked, 4)
    since = [at - timedelta(seconds=seconds) for _, _, seconds, _ in asked]
    found = await tx.rows(Q.find_room, books, keys, since, needs)
    return {a: row["at"] + timedelta(seconds=a[2]) for a, row in zip(asked, found, strict=True)}


def _waits(over: _Over) -> bool:
    """Whether it fits as soon as older takes leave: else what the batch took must leave, too, or it never fits."""
    return over.units <= over.limit.most and over.need <= over.before


def _refused(take: Take, overs: Sequence[_Over], rooms: _Rooms, at: datetime) -> Taken:
    answers: list[Taken] = []
    for o in overs:
        limit = o.limit
        if o.units > limit.most:
            room = None
        elif _waits(o):
            room = rooms[take.book_id, limit.key, limit.window_s, o.need]
        else:
            room = at + timedelta(seconds=limit.window_s)
        answers.append(Taken(Code.REFUSED, limit, max(0, limit.most - o.before - o.added), room))
    return max(answers, key=lambda a: (a.room_at is None, a.room_at or at))


def _write(tx: Tx, counts: _Counts, at: datetime) -> None:
    """Have what was granted written with the transaction's next statement."""
    if not counts.granted:
        return
    rows = [
        (t.book_id, t.id, key, t.units[key], None if t.lease_s is None else at + timedelta(seconds=t.lease_s))
        for t, key in counts.granted
    ]
    tx.write(Q.insert_takes, *_columns(rows, 5), at)
    crowded = counts.crowded | counts.crowding
    tallied = [(*counter, units) for counter, units in counts.added.items() if units and counter in crowded]
    if tallied:
        tx.write(Q.add_to_tallies, *_columns(tallied, 3), at)


def _columns(rows: Collection[tuple[object, ...]], width: int) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]
