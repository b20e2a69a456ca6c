"""Casework: what people do with cases: take, comment, lay evidence to them, wait, resolve.

Who resolves holds no lock while his resolver works: he has read the case, and it is resolved only as he has read it.  So whoever opens it again
meanwhile, or resolves it first, undoes all of it, journal included; and nobody waits for a book while holding a case.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import UNSET, UnsetType

from guilder.core import clock, ids
from guilder.core.errors import Forbidden, Invalid, NotFound, Rejected
from guilder.platform import case, context, trail
from guilder.platform.case import Resolver, Trace, Verdict
from guilder.platform.db import Contended, Database, Row, Tx
from guilder.platform.environment import Env
from guilder.platform.sql import load, walked

Q = load(__package__)
MAX_ATTACHMENT = 1 << 20
LONGEST_WAIT = timedelta(days=366)


class Resolved(Rejected):
    """This case is resolved. It opens again by itself if the same thing is found again."""

    code = "case_resolved"


@dataclass(frozen=True, slots=True)
class Reach:
    """Which cases somebody may touch: those of a book, or of all (None); and of these perhaps only those that he owns."""

    book_id: UUID | None = None
    owner: str | None = None
    books: bool = True  # he may post between accounts of the chart


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which cases are looked for; None: whatever it is."""

    kind: str | None = None
    state: str | None = None
    owner: str | None = None
    overdue: bool | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class File:
    """Something that is laid to a case."""

    name: str
    type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Whole:
    """A case with all that was said about it."""

    row: Row
    comments: Sequence[Row]
    attachments: Sequence[Row]
    decisions: Sequence[Row]


async def page(
    db: Database, reach: Reach, wanted: Wanted, limit: int, older: UUID | None = None, newer: UUID | None = None, *, ascending: bool = False
) -> list[Row]:  # fmt: skip
    """The newest cases that are wanted; `ascending`: the oldest that are newer than `newer`."""
    if reach.owner is not None and wanted.owner not in (None, reach.owner):
        return []

    async def work(tx: Tx) -> list[Row]:
        await tx.run(Q.plan_by_values)
        return await tx.rows(
            walked(Q.page_cases, ascending), reach.book_id, older, newer, wanted.since, wanted.until, limit, wanted.kind, wanted.state,
            reach.owner or wanted.owner, wanted.overdue,
        )  # fmt: skip

    return await db.transact(work, durable=False)


async def find(db: Database, reach: Reach, id: UUID | None) -> Row:
    """A case.  Raises NotFound."""
    return _there(await db.row(Q.find_case, id, reach.book_id, reach.owner))


async def whole(db: Database, row: Row) -> Whole:
    """A case with all that was said about it."""
    about = row["id"], row["book_id"]
    return Whole(
        row, await db.rows(Q.case_comments, *about), await db.rows(Q.case_attachments, *about), await db.rows(Q.case_decisions, *about)
    )  # fmt: skip


async def attachment(db: Database, reach: Reach, id: UUID | None, attachment_id: UUID | None) -> Row:
    """What was laid to a case, with its content.  Raises NotFound."""
    row = await find(db, reach, id)
    found = await db.row(Q.find_case_attachment, row["id"], row["book_id"], attachment_id)
    if found is None:
        raise NotFound("No such attachment.", param="attachment")
    return found


async def change(
    tx: Tx,
    reach: Reach,
    id: UUID | None,
    owner: str | UnsetType | None = UNSET,
    due_at: datetime | UnsetType | None = UNSET,
) -> Row:
    """Give a case to somebody (None: to nobody), or another deadline.  Raises NotFound, Resolved."""
    was = await _lock(tx, reach, id)
    whose, due = was["owner"] if owner is UNSET else owner, was["due_at"] if due_at is UNSET else due_at
    if (whose, due) == (was["owner"], was["due_at"]):
        return was
    return await _move(tx, "case.changed", was, whose, due, was["state"], was["wait_until"])


async def wait(tx: Tx, reach: Reach, id: UUID | None, until: datetime, why: str = "") -> Row:
    """Leave a case alone until somebody else has answered; it is open again at that time.  Raises NotFound, Resolved, Invalid."""
    now = clock.now()
    if not now < until <= now + LONGEST_WAIT:
        raise Invalid("A case waits until a time to come, a year away at most.", param="until")
    was = await _lock(tx, reach, id)
    return await _move(tx, "case.waits", was, was["owner"], was["due_at"], "waiting", until, why)


async def wake(db: Database) -> int:
    """Open again what has waited for long enough; how many."""
    return len(await db.transact(lambda tx: tx.rows(Q.wake_cases)))


async def comment(tx: Tx, reach: Reach, id: UUID | None, text: str) -> Row:
    """Say something to a case, in whatever state it is.  Raises NotFound."""
    row = _there(await tx.row(Q.find_case, id, reach.book_id, reach.owner))
    said = await tx.row(Q.insert_case_comment, row["book_id"], ids.new_id(), row["id"], _actor(), text)
    assert said is not None
    return said


async def attach(tx: Tx, reach: Reach, id: UUID | None, file: File) -> Row:
    """Lay something to a case.  Raises NotFound, Invalid."""
    if not 0 < len(file.content) <= MAX_ATTACHMENT:
        raise Invalid(f"An attachment has 1 to {MAX_ATTACHMENT} bytes, not {len(file.content)}.", param="data")
    row = _there(await tx.row(Q.find_case, id, reach.book_id, reach.owner))
    laid = await tx.row(
        Q.insert_case_attachment, row["book_id"], ids.new_id(), row["id"], _actor(), file.name, file.type, file.content
    )
    assert laid is not None
    return laid


async def resolve(tx: Tx, reach: Reach, id: UUID | None, verdict: Verdict) -> Row:
    """End a case: what the resolver does, the decision, the state and the trail are one commit.

    Raises NotFound, Resolved, Invalid, what the resolver raises; Contended if somebody was faster: run it again.
    """
    was = _there(await tx.row(Q.find_case, id, reach.book_id, reach.owner))
    if was["state"] == "resolved":
        raise Resolved
    about = case.dossier(was)
    ways = {r.name: r for r in case.ways(about)}
    if verdict.resolver not in ways:
        moved = " Money has moved: it is not dismissed." if was["moved"] else ""
        raise Invalid(f"This case ends by {' or '.join(ways) or 'nothing yet'}.{moved}", param="resolver")
    if ways[verdict.resolver].books and not reach.books:
        raise Forbidden("This books between accounts of the platform: its people do that.")
    _check_witness(ways[verdict.resolver], verdict)
    if not verdict.why.strip():
        raise Invalid("Say why: whoever asks in a year has nothing else.", param="why")
    try:
        left = await ways[verdict.resolver].run(tx, about, verdict)
    except Rejected as refused:
        again = _there(await tx.row(Q.find_case, id, reach.book_id, reach.owner))
        if again["version"] != was["version"]:
            raise Contended("somebody else has resolved it: that is why it cannot be done") from refused
        raise
    if left.until is not None:
        return await _wait_for_others(tx, was, left, verdict)
    return await _end(tx, was, verdict.resolver, verdict.why, left)


def _check_witness(way: Resolver, verdict: Verdict) -> None:
    if way.witnessed and not (verdict.reference.strip() and verdict.paid_by):
        raise Invalid(
            "Say who has paid (`paid_by`), and what shows it (`reference`): the number of a transfer, an attachment of the case.",
            param="reference" if verdict.paid_by else "paid_by",
        )
    if not way.witnessed and (verdict.reference or verdict.paid_by):
        raise Invalid(
            "This says nothing of a payment elsewhere: leave `reference` and `paid_by` out.", param="resolver"
        )


async def end_approved(tx: Tx, book_id: UUID, id: UUID | None, resolver: str, why: str, left: Trace) -> None:
    """End a case by what others have agreed to.  Raises Resolved if it ended otherwise meanwhile."""
    was = _there(await tx.row(Q.find_case, id, book_id, None))
    if was["state"] == "resolved":
        raise Resolved("The case that wanted this was resolved otherwise.")
    await _end(tx, was, resolver, why, left)


async def ready(env: Env, reach: Reach, id: UUID | None, verdict: Verdict) -> Verdict:
    """The verdict with what its resolver has to read, or to ask, before the transaction that ends the case.  Raises NotFound."""
    row = await find(env.db, reach, id)
    about = case.dossier(row)
    way = next((r for r in case.ways(about) if r.name == verdict.resolver), None)
    if row["state"] == "resolved" or way is None or way.prepare is None or (way.books and not reach.books):
        return verdict  # refused by `resolve`, or nothing to be read
    return replace(verdict, ground=await way.prepare(env, about, verdict))


async def _wait_for_others(tx: Tx, was: Row, left: Trace, verdict: Verdict) -> Row:
    """The case waits until they have agreed, or their time is over: then it is open again."""
    assert left.approval_id is not None
    shown = ids.show("apr", left.approval_id)
    tx.write(
        Q.insert_case_comment,
        was["book_id"],
        ids.new_id(),
        was["id"],
        _actor(),
        f"{verdict.resolver} waits for {shown}: {verdict.why}",
    )
    return await _move(tx, "case.waits", was, was["owner"], was["due_at"], "waiting", left.until, verdict.why)


async def _end(tx: Tx, was: Row, resolver: str, why: str, left: Trace) -> Row:
    is_now = await tx.row(Q.resolve_case, was["book_id"], was["id"], was["version"])
    if is_now is None:
        raise Contended("the case is not any more what it was when it was read")
    await tx.run(
        Q.insert_case_decision, was["book_id"], ids.new_id(), was["id"], was["reopened"], _actor(), resolver, why,
        left.journal_id, left.approval_id,
    )  # fmt: skip
    await case.ended(tx, case.dossier(was), case.Answer(_actor(), resolver, why))
    after: dict[str, object] = {"state": "resolved", "resolver": resolver}
    if left.journal_id is not None:
        after["journal"] = ids.show("jl", left.journal_id)
    shown = ids.show("case", was["id"])
    trail.note(tx, "case.resolved", shown, book_id=was["book_id"], before={"state": was["state"]}, after=after, why=why)
    return is_now


async def resolve_now(db: Database, reach: Reach, id: UUID | None, verdict: Verdict) -> Row:
    """The same in a transaction of its own; again, if somebody was faster."""
    for _ in range(2):
        try:
            return await db.transact(lambda tx: resolve(tx, reach, id, verdict))
        except Contended:
            continue
    return await db.transact(lambda tx: resolve(tx, reach, id, verdict))


async def measure(db: Database) -> tuple[int, int]:
    """How many cases are not resolved, and how many of them are overdue."""
    row = await db.row(Q.measure_cases)
    assert row is not None
    return row["unresolved"], row["overdue"]


async def _lock(tx: Tx, reach: Reach, id: UUID | None) -> Row:
    row = _there(await tx.row(Q.lock_case, id, reach.book_id, reach.owner))
    if row["state"] == "resolved":
        raise Resolved
    return row


async def _move(
    tx: Tx, action: str, was: Row, owner: str | None, due_at: datetime | None, state: str, wait_until: datetime | None, why: str = ""
) -> Row:  # fmt: skip
    is_now = await tx.row(Q.change_case, was["book_id"], was["id"], owner, due_at, state, wait_until)
    assert is_now is not None
    changed = [name for name in ("owner", "due_at", "state", "wait_until") if was[name] != is_now[name]]
    before, after = ({name: _shown(row[name]) for name in changed} for row in (was, is_now))
    trail.note(tx, action, ids.show("case", was["id"]), book_id=was["book_id"], before=before, after=after, why=why)
    return is_now


def _shown(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def _there(row: Row | None) -> Row:
    if row is None:
        raise NotFound("No such case.", param="case")
    return row


def _actor() -> str:
    return context.current().actor or "operator"
