"""Counters as a child would keep them: a list of takes, one at a time, everything counted anew.  It shares no code with the counters."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from guilder.platform.counters import Limit, Take

Refusal = tuple[Limit, int, datetime | None]  # what is left, and when it fits


@dataclass
class Row:
    """One take of one counter."""

    book: UUID
    id: UUID
    key: str
    units: int
    at: datetime
    ends: datetime | None


def s(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


@dataclass
class Model:
    rows: list[Row] = field(default_factory=list)

    def lapse(self, now: datetime) -> None:
        self.rows = [r for r in self.rows if r.ends is None or r.ends > now]

    def used(self, book: UUID, key: str, window_s: int, now: datetime) -> int:
        return sum(r.units for r in self.rows if (r.book, r.key) == (book, key) and now < r.at + s(window_s))

    def reserve(self, take: Take, now: datetime) -> str | list[Refusal]:
        self.lapse(now)
        had = {r.key: r.units for r in self.rows if (r.book, r.id) == (take.book_id, take.id)}
        if any(had.get(key, units) != units for key, units in take.units.items()):
            return "differs"
        fresh = {key: units for key, units in take.units.items() if key not in had}
        if not fresh:
            return "exists"
        refusals = [
            refusal for limit in take.limits if limit.key in fresh
            if (refusal := self.refusal(take.book_id, limit, fresh[limit.key], now))
        ]  # fmt: skip
        if refusals:
            return refusals
        ends = None if take.lease_s is None else now + s(take.lease_s)
        self.rows += [Row(take.book_id, take.id, key, units, now, ends) for key, units in fresh.items()]
        return "granted"

    def refusal(self, book: UUID, limit: Limit, units: int, now: datetime) -> Refusal | None:
        used = self.used(book, limit.key, limit.window_s, now)
        if used + units <= limit.most:
            return None
        later = sorted({r.at + s(limit.window_s) for r in self.rows if (r.book, r.key) == (book, limit.key)})
        room = (t for t in later if t > now and self.used(book, limit.key, limit.window_s, t) + units <= limit.most)
        return limit, max(0, limit.most - used), next(room, None)

    def commit(self, names: set[tuple[UUID, UUID]], now: datetime) -> set[Any]:
        self.lapse(now)
        for row in self.rows:
            if (row.book, row.id) in names:
                row.ends = None
        return names & {(r.book, r.id) for r in self.rows}

    def release(self, names: set[tuple[UUID, UUID]], now: datetime) -> set[Any]:
        self.lapse(now)
        gone = names & {(r.book, r.id) for r in self.rows}
        self.rows = [r for r in self.rows if (r.book, r.id) not in gone]
        return gone
