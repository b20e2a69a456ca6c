"""Cases: what the machine will not decide alone, kept with its evidence until a person has.

      open <--> waiting            a person waits for somebody else's answer
        |          |
        +----------+--> resolved   by a resolver, once
        ^                  |
        +------------------+       the same is found again: the machine opens it again

Any domain opens cases in its own transaction; what people do with them is casework.py.  A case ends only through a resolver (`Resolver`) that
the composition root has registered: it leaves a journal or an approval, or says why nothing was to be done.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from guilder.core import ids
from guilder.core.check import must
from guilder.platform import context, telemetry
from guilder.platform.db import Database, Row, Tx
from guilder.platform.environment import Env
from guilder.platform.sql import load

Q = load(__package__)
DUE_DAYS = 3


@dataclass(frozen=True, slots=True)
class Case:
    """An exception.  One per book, kind and subject; the same evidence again only counts.

    `fact`: what somebody told us, in short.  Told again after the case was resolved, it is no news.  Without one we found it ourselves: if
    it still is so after it was resolved, the case opens again.
    """

    book_id: UUID
    kind: str  # 'amount_mismatch'
    subject: str  # what it is about, stable
    summary: str  # one sentence for a person
    evidence: dict[str, Any]
    fact: str = ""
    moved: bool = False  # money has moved and stands in no book: it cannot be dismissed
    proposal: Mapping[str, Any] | None = None  # what we would do: {"resolver": "book_suspense", "says": "…"}
    due_days: int = DUE_DAYS


@dataclass(frozen=True, slots=True)
class Dossier:
    """A case as a resolver sees it."""

    book_id: UUID
    id: UUID
    kind: str
    subject: str
    evidence: dict[str, Any]
    moved: bool
    round: int  # how often it was opened again: what is done once is done once a round

    @property
    def key(self) -> str:
        """What is done for it, it is done under this name, and so once."""
        return ids.text(self.id) + (f":{self.round}" if self.round else "")


@dataclass(frozen=True, slots=True)
class Verdict:
    """How somebody wants a case to end.  `units`: how much it was, where the evidence does not say."""

    resolver: str
    why: str
    units: int | None = None
    reference: str = ""  # what shows it, outside of here
    paid_by: str = ""  # whose pocket it came from
    ground: Any = None  # what its resolver has read before the transaction


@dataclass(frozen=True, slots=True)
class Trace:
    """What a resolver left.  `until`: others have to agree first; the case waits for them, and ends with what they say."""

    journal_id: UUID | None = None
    approval_id: UUID | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Resolver:
    """A way to end a case, in the transaction that ends it.  `run` raises Rejected, and nothing is left."""

    name: str
    says: str  # one sentence for a person
    fits: Callable[[Dossier], bool]
    run: Callable[[Tx, Dossier, Verdict], Awaitable[Trace]]
    witnessed: bool = False  # it wants to know who has paid, and what shows it
    books: bool = False  # it posts between accounts of the chart: only the platform's people may
    prepare: Callable[[Env, Dossier, Verdict], Awaitable[Any]] | None = (
        None  # what it has to read before the transaction
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """How a case has ended, and by whom."""

    actor: str
    resolver: str
    why: str


Ending = Callable[
    [Tx, Dossier, Answer], Awaitable[None]
]  # what ends with the cases of a kind, in the commit that ends them
_resolvers: dict[str, Resolver] = {}
_endings: dict[str, Ending] = {}


def register(resolvers: Sequence[Resolver], endings: Mapping[str, Ending] | None = None) -> None:
    """The ways in which cases can end, and what ends with those of some kinds; called once, by the composition root."""
    _resolvers.clear()
    _resolvers.update({r.name: r for r in resolvers})
    _endings.clear()
    _endings.update(endings or {})


async def ended(tx: Tx, about: Dossier, answer: Answer) -> None:
    """Have end what was waiting for this case."""
    if (ending := _endings.get(about.kind)) is not None:
        await ending(tx, about, answer)


def ways(about: Dossier) -> list[Resolver]:
    """The ways in which this case can end."""
    return [r for r in _resolvers.values() if r.fits(about)]


def dossier(row: Row) -> Dossier:
    """A case from its row."""
    return Dossier(
        row["book_id"], row["id"], row["kind"], row["subject"], msgspec.json.decode(row["evidence"]), row["moved"], row["reopened"]
    )  # fmt: skip


def open_many(tx: Tx, cases: Sequence[Case]) -> None:
    """Have the cases opened, opened again, or counted again, with this transaction."""
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
        [c.fact for c in ordered],
        [c.moved for c in ordered],
        [None if c.proposal is None else msgspec.json.encode(c.proposal).decode() for c in ordered],
        [c.due_days for c in ordered],
    )
    for c in ordered:
        telemetry.CASES.labels(c.kind).inc()


async def close_many(tx: Tx, closed: Sequence[tuple[UUID, str, str]], resolver: str, why: str) -> None:
    """End cases (book, kind, subject), if they have not ended: what they asked is answered by what else is in this transaction."""
    must(not any(kind in _endings for _, kind, _ in closed), "what waits for a case hears of its answer")
    if closed:
        columns = [list(c) for c in zip(*sorted(set(closed), key=lambda c: (c[0].bytes, *c[1:])), strict=True)]
        by = context.current().actor or "operator"
        await tx.run(Q.close_cases, *columns, [ids.new_id() for _ in columns[0]], by, resolver, why)


async def open_one(db: Database, found: Case) -> None:
    """Open a case in a commit of its own."""

    async def work(tx: Tx) -> None:
        open_many(tx, [found])

    await db.transact(work)
