"""The trail: who did what, when, from where, what was before and after, and why.

    trail.note(tx, "refund.created", ids.show("re", refund.id), book_id=refund.book_id, after={"amount": 100}, why="damaged")

It is written in the commit of what it tells.  Who, from where and for which request is the context's.  No secret and nothing personal
belongs in it: it is kept for ever.  It is sealed soon after (trail_seal.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from guilder.core import clock, ids
from guilder.platform import context
from guilder.platform.context import Context
from guilder.platform.db import Database, Row, Tx
from guilder.platform.sql import load, walked

Q = load(__package__)


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that was done.  `by`: whose context it is, where a batch serves many."""

    action: str  # 'refund.created'
    subject: str  # 're_…'
    book_id: UUID = ids.PLATFORM
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    why: str = ""
    by: Context | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which acts are looked for; None: whatever it is."""

    book_id: UUID | None = None
    actor: str | None = None
    subject: str | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def note(
    tx: Tx,
    action: str,
    subject: str,
    *,
    book_id: UUID = ids.PLATFORM,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    why: str = "",
    by: Context | None = None,
) -> None:
    """Have it written with the transaction.  `by`: whose context it is, where a batch serves many."""
    note_many(tx, [Act(action, subject, book_id, before, after, why, by)])


def note_many(tx: Tx, acts: Sequence[Act]) -> None:
    """Have them written with the transaction, however many, by one statement."""
    if not acts:
        return
    at, here = clock.now(), context.current()
    by = [a.by or here for a in acts]
    tx.write(
        Q.insert_trail,
        [a.book_id for a in acts],
        [ids.new_id() for _ in acts],
        [at for _ in acts],
        [c.actor or "operator" for c in by],
        [c.place for c in by],
        [a.action for a in acts],
        [a.subject for a in acts],
        [_json(a.before) for a in acts],
        [_json(a.after) for a in acts],
        [a.why for a in acts],
        [c.request_id for c in by],
        [c.root_id for c in by],
    )


def _json(said: Mapping[str, Any] | None) -> str | None:
    return None if said is None else msgspec.json.encode(said).decode()


async def find(
    db: Database,
    wanted: Wanted,
    limit: int,
    older: UUID | None = None,
    newer: UUID | None = None,
    *,
    ascending: bool = False,
) -> list[Row]:
    """The newest acts that are wanted; `ascending`: the oldest that are newer than `newer`."""

    async def work(tx: Tx) -> list[Row]:
        await tx.run(Q.plan_by_values)
        return await tx.rows(
            walked(Q.list_trail, ascending), wanted.book_id, older, newer, wanted.since, wanted.until, limit, wanted.actor,
            wanted.subject, wanted.action,
        )  # fmt: skip

    return await db.transact(work, durable=False)
