"""What grows, where it lies, and how long it is kept.

Tables that end are partitioned by the month of their ids, and what their rule keeps no longer goes a whole partition at a time.
PostgreSQL decides: `platform.grow` makes what is missing, `platform.drop_expired` drops what the rules (platform.retention) let go of, and
neither asks which.  ADR 11 says why which table is which.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prometheus_client import Gauge

from guilder.core.errors import Invalid, NotFound
from guilder.platform import trail
from guilder.platform.db import Database, Tx
from guilder.platform.sql import load

Q = load(__package__)
log = logging.getLogger("guilder.storage")
WAIT_MS = 500  # for a table that others use: whoever pays meanwhile waits behind us

REST = Gauge(
    "guilder_storage_rest_tables", "Tables of which something lies in no month's partition: the worker was away when the month began",
    ["env"], multiprocess_mode="livemax",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """How long a table is kept."""

    keep_days: int | None  # None: for ever
    least_days: int | None  # nobody may keep it for less; None: nobody may let go of it
    reason: str


@dataclass(frozen=True, slots=True)
class Part:
    """A partition, or a whole table that has none."""

    name: str
    since: datetime | None  # the ids that it takes; None: those that have no partition of their own
    until: datetime | None
    used: bool
    rows: int  # about
    bytes: int


@dataclass(frozen=True, slots=True)
class Table:
    """One table that grows."""

    name: str
    rule: Rule
    parts: Sequence[Part]

    @property
    def rows(self) -> int:
        """About how many."""
        return sum(p.rows for p in self.parts)

    @property
    def bytes(self) -> int:
        """With its indexes."""
        return sum(p.bytes for p in self.parts)

    @property
    def oldest(self) -> datetime | None:
        """When its oldest partition begins that has anything."""
        return min((p.since for p in self.parts if p.used and p.since), default=None)

    @property
    def newest(self) -> datetime | None:
        """When its newest partition ends that has anything."""
        return max((p.until for p in self.parts if p.used and p.until), default=None)


async def tables(db: Database) -> list[Table]:
    """Every table that has a rule."""
    rules = {r["name"]: Rule(r["keep_days"], r["least_days"], r["reason"]) for r in await db.rows(Q.list_rules)}
    parts: dict[str, list[Part]] = {name: [] for name in rules}
    for r in await db.rows(Q.list_partitions):
        parts[r["name"]].append(Part(r["part"], r["since"], r["until"], r["used"], r["rows"], r["bytes"]))
    for r in await db.rows(Q.list_whole_tables, list(rules)):
        parts[r["name"]].append(Part(r["name"], None, None, True, r["rows"], r["bytes"]))
    return [Table(name, rule, parts[name]) for name, rule in rules.items()]


async def keep(tx: Tx, name: str, days: int | None) -> None:
    """Change a table's rule; None: for ever.  Raises NotFound, Invalid."""
    rules = {r["name"]: r for r in await tx.rows(Q.list_rules)}
    if name not in rules:
        raise NotFound(f"No rule is about {name!r}; there are rules about {', '.join(rules)}.")
    least = rules[name]["least_days"]
    if days is not None and least is None:
        raise Invalid(f"{name} is kept for ever: {rules[name]['reason']}.")
    if days is not None and days < least:
        raise Invalid(f"{name} is kept for {least} days at least: {rules[name]['reason']}.")
    await tx.run(Q.keep, name, days)
    trail.note(tx, "storage.kept", name, before={"keep_days": rules[name]["keep_days"]}, after={"keep_days": days})


async def grow(rt: Any) -> int:
    """Make the partitions that are missing, one in a transaction; how many.  Say whether something fell beside them."""
    made = 0
    while await rt.db.transact(lambda tx: tx.value(Q.grow), lock_timeout_ms=WAIT_MS):
        made += 1
    REST.labels(rt.name).set(await rt.db.value(Q.count_rest))
    return made


async def drop(rt: Any) -> int:
    """Drop the partitions that no rule keeps any longer, one in a transaction; how many."""
    dropped = 0
    while row := await rt.db.transact(lambda tx: tx.row(Q.drop_expired), lock_timeout_ms=WAIT_MS):
        log.info("dropped %s, about %d rows and %d bytes: its rule keeps %d days", *row.values())
        dropped += 1
    return dropped
