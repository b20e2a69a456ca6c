"""Cases: what the machine will not decide alone, kept with its evidence until a person has."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from guilder.core import ids
from guilder.platform import context, telemetry
from guilder.platform.db import Database, Tx
from guilder.platform.sql import load

Q = load(__package__)


@dataclass(frozen=True, slots=True)
class Case:
    """An exception.  One per book, kind and subject; the same evidence again only counts."""

    book_id: UUID
    kind: str  # 'amount_mismatch'
    subject: str  # what it is about, stable
    summary: str  # one sentence for a person
    evidence: dict[str, Any]


def open_many(tx: Tx, cases: Sequence[Case]) -> None:
    """Have the cases opened, or counted again, with this transaction."""
    unique = {(c.book_id, c.kind, c.subject): c for c in cases}
    if not unique:
        return
    ordered = [unique[k] for k in sorted(unique, key=lambda k: (k[0].bytes, k[1], k[2]))]
    root = context.current().root_id
    tx.write(
        Q.open_cases,
        [c.book_id for c in ordered],
        [ids.new_id() for _ in ordered],
        [c.kind for c in ordered],
        [c.subject for c in ordered],
        [c.summary for c in ordered],
        [msgspec.json.encode(c.evidence).decode() for c in ordered],
        [root for _ in ordered],
    )
    for c in ordered:
        telemetry.CASES.labels(c.kind).inc()


async def open_one(db: Database, found: Case) -> None:
    """Open a case in a commit of its own."""

    async def work(tx: Tx) -> None:
        open_many(tx, [found])

    await db.transact(work)
