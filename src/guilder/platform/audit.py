"""The auditor: what is stored is held against whatever else is stored, without end.

    AUDITS = (Audit("G3 what was paid is booked", Q.touched_payments, Q.audit_paid), ...)     a domain's
    LOOPS = audit.loops(AUDITS)                                                              everybody's, in the worker

Two passes, of one worker each, whichever is free.

    fresh   follows the present at a distance of seconds.  What was written meanwhile (moves, journals, events, new rows: all of them are
            found by the time in their ids) names what was touched, however old it is, and all of that is compared.
    full    walks everything, slice by slice, with FULL_SHARE of the time, and begins again at the end.  It finds what changed without a trace.

    A1  Each comparison is one statement: it sees a transaction whole or not at all, and a payment on its way is never called drift.
    A2  A pass moves on in the commit that opens the cases of what it found: what broke is told at least once, and is one case.
    A3  The full pass rests for so long that it takes no more than its share of the time; what is slow because the machine is busy rests
        longer.  The fresh pass takes what is new, and rests longer (never more than WAIT_S) where the number of books makes it dear.
    A4  Nobody looks at the same time as another; whoever dies while looking is followed when its lease is over.

Cost.   A look takes one statement for each audit and each kind of subject, and one probe of an index for each book and table.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from prometheus_client import Counter, Gauge

from guilder.core import ids
from guilder.platform import case
from guilder.platform.case import Case
from guilder.platform.db import Database, Row, Tx
from guilder.platform.environment import Env
from guilder.platform.jobs import Loop
from guilder.platform.sql import Query, load

Q = load(__package__)
log = logging.getLogger("guilder.audit")

KIND = "drift"
EVERY_S = 10  # between two looks at what is new
BEHIND_S = 5  # what is older is there to be seen, unless its transaction is still open ...
WAIT_S = 25  # ... and for that a look waits so long; what takes longer is left to the full pass
STRIDE_MS = 60_000  # the most that one look takes in, after the worker has been away; less, if that costs more than ...
LOOK_S = 0.1  # ... this, but never less than EVERY_S of it: each look has a part that is the same whatever it takes in
BREATH = 4  # times as long as a statement took is rested before the next one: whoever pays meanwhile should not feel it
SLICE = 5000  # events of a slice of the full pass
SHARE = 0.01  # of the time, for the fresh pass ...
FULL_SHARE = 0.005  # ... and for the full one, which has days
REST_S = 60  # between two full passes, at least
LEASE_S = 60
MOST = 100  # cases that one look opens for one audit: when everything is broken, one of them tells it, and no audit hides another

FOUND = Counter("guilder_drift_found_total", "What the auditor found broken; found again, it counts again", ["audit"])
OPEN = Gauge("guilder_drift_open", "Open cases of drift", ["env"], multiprocess_mode="livemax")
SECONDS = Counter("guilder_audit_seconds_total", "Time that audits took", ["env", "kind"])
UNTIL = Gauge(
    "guilder_audited_until_seconds", "Unix time until when everything was audited: `fresh`, what is new; `full`, all there is",
    ["env", "kind"], multiprocess_mode="livemax",
)  # fmt: skip

NEVER, ALWAYS = UUID(int=0), UUID(int=(1 << 128) - 1)  # before and after every id


@dataclass(frozen=True, slots=True)
class Audit:
    """One comparison: `query` answers book_id, kind, id, fault, expected, found of each thing that is broken.

    It looks at what lies in windows ($1 books, $2 after, $3 up to, *args); or `subjects` finds what was touched in them (book_id, id,
    perhaps `about`), and it looks at those ($1 books, $2 ids, perhaps $3 what they are about as 26 characters, *args).  By indexes, both.
    """

    name: str  # stable: it stands in subjects of cases
    subjects: Query | None
    query: Query
    args: tuple[object, ...] = ()


class Window(NamedTuple):
    """The ids of a book from `after`, exclusive, to `upto`."""

    book_id: UUID
    after: UUID
    upto: UUID


@dataclass(frozen=True, slots=True)
class Drift:
    """Something that does not agree with something else."""

    audit: str
    book_id: UUID
    subject: str  # 'pi_06b2…'
    fault: str
    expected: str | None
    found: str | None

    def case(self) -> Case:
        """What a person gets to see of it."""
        evidence = {"audit": self.audit, "expected": self.expected, "found": self.found}
        return Case(self.book_id, KIND, f"{self.audit}: {self.subject}", self.fault, evidence)


@dataclass(slots=True)
class Stride:
    """How much one look takes in: as much as LOOK_S allows, by what the last one took."""

    ms: int = EVERY_S * 1000

    def took(self, seconds: float) -> None:
        """Take in more next time, or less."""
        self.ms = max(EVERY_S * 1000, min(STRIDE_MS, int(self.ms * min(2.0, LOOK_S / max(seconds, 0.001)))))


@dataclass(slots=True)
class Ease:
    """Asks one statement after the other, and rests after each; `spent_s` is what they took."""

    db: Database
    breath: float = 0.0
    spent_s: float = 0.0

    async def rows(self, query: Query, *args: object) -> list[Row]:
        """Its rows."""
        begun = time.monotonic()
        rows = await self.db.rows(query, *args)
        took_s = time.monotonic() - begun
        self.spent_s += took_s
        if self.breath:
            await asyncio.sleep(self.breath * took_s)
        return rows


OWN = (Audit("G10 events have no gaps", None, Q.audit_events),)


async def compare(db: Database | Ease, audits: Sequence[Audit], windows: Sequence[Window]) -> list[Drift]:
    """What is broken of whatever was touched in these windows."""
    if not windows:
        return []
    touched: dict[Query | None, list[list[Any]]] = {None: [list(column) for column in zip(*windows, strict=True)]}
    drift: list[Drift] = []
    for audit in audits:
        if audit.subjects is not None and audit.subjects not in touched:
            touched[audit.subjects] = _columns(await db.rows(audit.subjects, *touched[None]))
        subjects = touched[audit.subjects]
        for r in await db.rows(audit.query, *subjects, *audit.args) if subjects else ():
            subject = ids.show(r["kind"], r["id"])
            drift.append(Drift(audit.name, r["book_id"], subject, r["fault"], r["expected"], r["found"]))
    return drift


def _columns(rows: Sequence[Row]) -> list[list[Any]]:
    """Subjects as parameters; none of none."""
    columns = list(zip(*rows, strict=True))
    return [list(c) for c in columns[:2]] + [[ids.text(id) for id in c] for c in columns[2:]]


async def look(
    rt: Env, audits: Sequence[Audit], behind_s: float = BEHIND_S, stride: Stride | None = None, breath: float = 0.0
) -> int:
    """Compare what is new, if it is time to and nobody else does; 1 if there is more.  `breath`: see Ease."""
    stride, ease = stride or Stride(STRIDE_MS), Ease(rt.reader or rt.db, breath)
    row = await rt.db.row(Q.claim_audit, "fresh", LEASE_S, behind_s, WAIT_S)
    if row is None:
        return 0
    now_ms = int(row["horizon"].timestamp() * 1000)
    after_ms = (row["id"].int >> 80) or now_ms - STRIDE_MS
    upto_ms = max(after_ms, min(now_ms, after_ms + stride.ms))
    books = [ids.PLATFORM, *(r["book_id"] for r in await ease.rows(Q.list_books))]
    drift = await compare(ease, audits, [Window(b, _at(after_ms), _at(upto_ms)) for b in books])
    behind = upto_ms < now_ms
    rest_s = 0 if behind else max(EVERY_S, min(ease.spent_s / SHARE, WAIT_S))
    await _keep(rt, "fresh", drift, (NEVER, _at(upto_ms)), rest_s, ease.spent_s)
    stride.took(ease.spent_s)
    return int(behind)


async def _look_with_ease(rt: Env, audits: Sequence[Audit], strides: dict[str, Stride]) -> int:
    return await look(rt, audits, stride=strides.setdefault(rt.name, Stride()), breath=BREATH)


async def walk(rt: Env, audits: Sequence[Audit]) -> int:
    """Compare the next slice of everything, if it is time to and nobody else does."""
    begun, db = time.monotonic(), rt.reader or rt.db
    row = await rt.db.row(Q.claim_audit, "full", LEASE_S, BEHIND_S, WAIT_S)
    if row is None:
        return 0
    windows, place, _ = await _slice(db, (row["book_id"], row["id"]))
    drift = await compare(db, audits, windows)
    took_s = time.monotonic() - begun
    rest_s = took_s / FULL_SHARE
    await _keep(rt, "full", drift, place, rest_s if place else max(rest_s, REST_S), took_s)
    return 0


async def everything(db: Database, audits: Sequence[Audit], say: Callable[[int, int], None]) -> list[Drift]:
    """Compare everything at once, and change nothing; `say(done, total)` in events."""
    total, done = await db.value(Q.count_events), 0
    drift: list[Drift] = []
    place: tuple[UUID, UUID] | None = NEVER, NEVER
    while place is not None:
        windows, place, n = await _slice(db, place)
        drift += await compare(db, audits, windows)
        done += n
        say(done, max(done, total))
    return drift


async def _slice(db: Database, place: tuple[UUID, UUID]) -> tuple[list[Window], tuple[UUID, UUID] | None, int]:
    """The windows of the next SLICE events after `place`, where the walk is then (None: at the end), and how many events they were.

    A book that has no more events is taken to its very end: other things may be there that no event tells of.  A slice ends between two
    milliseconds, and so between two batches of the ledger.
    """
    rows = await db.rows(Q.next_events, *place, SLICE)
    n = rows[0]["n"] if rows else 0
    ends = {r["book_id"]: ALWAYS for r in rows}
    book, after = place
    if n == SLICE:
        last = rows[-1]
        ends[last["book_id"]] = _at((last["id"].int >> 80) + 1)
        place = last["book_id"], ends[last["book_id"]]
    windows = [Window(b, after if b == book else NEVER, upto) for b, upto in ends.items()]
    if book != NEVER and book not in ends:
        windows.insert(0, Window(book, after, ALWAYS))
    return windows, place if n == SLICE else None, n


def _at(ms: int) -> UUID:
    """Before every id of this millisecond."""
    return UUID(int=ms << 80)


async def _keep(
    rt: Env, kind: str, drift: Sequence[Drift], place: tuple[UUID, UUID] | None, rest_s: float, took_s: float
) -> None:
    """(A2) Open the cases, and move on."""

    told = [d for group in _by_audit(drift) for d in group[:MOST]]

    async def work(tx: Tx) -> None:
        case.open_many(tx, [d.case() for d in told])
        await tx.run(Q.keep_audit, kind, *(place or (NEVER, NEVER)), rest_s, place is None)

    await rt.db.transact(work)
    SECONDS.labels(rt.name, kind).inc(took_s)
    for d in drift:
        FOUND.labels(d.audit).inc()
    for d in told:
        log.error("drift: %s: %s: %s, expected %s, found %s", d.audit, d.subject, d.fault, d.expected, d.found)


def _by_audit(drift: Sequence[Drift]) -> list[list[Drift]]:
    groups: dict[str, list[Drift]] = {}
    for d in drift:
        groups.setdefault(d.audit, []).append(d)
    return list(groups.values())


async def measure(rt: Env) -> int:
    """How far the passes have come, and what is open."""
    for row in await rt.db.rows(Q.measure_audits):
        if row["name"] == "fresh":
            UNTIL.labels(rt.name, "fresh").set((row["id"].int >> 80) / 1000)
        elif row["done_at"] is not None:
            UNTIL.labels(rt.name, "full").set(row["done_at"].timestamp())
    OPEN.labels(rt.name).set(await rt.db.value(Q.count_open_cases, KIND))
    return 0


def loops(audits: Sequence[Audit]) -> tuple[Loop, ...]:
    """What the worker does with the audits of all domains."""
    return (
        Loop("audit.fresh", 2, partial(_look_with_ease, audits=audits, strides={}), full=1),
        Loop("audit.full", 1, partial(walk, audits=audits)),
        Loop("audit.measure", 5, measure),
    )
