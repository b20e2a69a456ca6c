"""Decide on what waits for approval: yes or no, cancel, claim, expire.

    1. before        read who has decided so far, and what they and the caller may do now: fresh, in the control database
    2. transaction   lock the approval; whoever decided meanwhile is not known: begin again (Unread)
                     the last yes does the command here, in this commit (A6)

A command that is refused rolls the whole transaction back (Spoiled), and a second one writes why: no half of it can stay behind, whatever
it had locked or had waiting to be written, which a savepoint would have to know of.  If somebody else was faster meanwhile, he is seen.
"""

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from guilder.core import clock, ids
from guilder.core.check import must
from guilder.core.errors import Forbidden, NotFound, Rejected, WrongState
from guilder.core.page import Page, PageQuery, turn
from guilder.platform import approval, context, trail
from guilder.platform.approval import Approval, Command, Decision, Step, approval_of
from guilder.platform.db import Database, Tx
from guilder.platform.environment import Env
from guilder.platform.sql import load, walked
from guilder.platform.web.cursor import cursor

Q = load(__package__)
May = Callable[[Step], bool]
ANYBODY = Step()  # a step for whoever may decide at all
_ENDS = {
    "executed": "it is done", "refused": "it was refused", "cancelled": "its maker has cancelled it", "expired": "its time is over",
    "approved": "all have agreed, and it waits for its maker",
}  # fmt: skip


class NotDecided(WrongState):
    """This decision does not count."""

    code = "approval_not_open"


class Unread(Exception):
    """Somebody has decided meanwhile: what he may do is not known here.  Read it, and begin again."""


class Spoiled(Exception):
    """The command was refused: nothing of this transaction stays.  Begin again, and say so."""

    def __init__(self, why: Rejected) -> None:
        self.why = why


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody says to an approval."""

    book_id: UUID
    id: UUID
    actor: str
    yes: bool
    hash: bytes
    why: str
    env: Env
    spoiled: Rejected | None = None  # what its command was refused with a moment ago


async def decide(tx: Tx, said: Said, may: Mapping[str, May]) -> Approval:
    """Take a decision; the last yes does the command.  `may`: what its author, and those of earlier ones, may do now, by actor.

    Raises NotFound, NotDecided, Forbidden; Unread and Spoiled as above.
    """
    a = await _lock(tx, said.book_id, said.id)
    at = clock.now()
    _check(a, said, at)
    yeses = [d for d in a.decisions if d.yes]
    if any(d.actor not in may for d in yeses):
        raise Unread
    step = min(current(a.steps, yeses, may), len(a.steps) - 1)
    if not may[said.actor](a.steps[step] if said.yes else ANYBODY):
        raise Forbidden(f"You may not agree to this: step {step + 1} is for others ({_who(a.steps[step])}).")
    new = Decision(said.actor, step, said.yes, said.hash, said.why, at)
    tx.write(Q.insert_approval_decision, a.book_id, a.id, new.actor, new.step, new.yes, new.hash, new.why, at)
    after = {"decision": "approve" if said.yes else "refuse", "step": step, "hash": said.hash.hex()}
    trail.note(tx, "approval.decided", ids.show("apr", a.id), book_id=a.book_id, after=after, why=said.why)
    a = replace(a, decisions=(*a.decisions, new))
    if not said.yes:
        return _end(tx, a, "refused", at, reason=said.why or f"{said.actor} said no")
    if current(a.steps, [*yeses, new], may) < len(a.steps):
        return a
    return await _carry_out(tx, a, said, at)


def current(steps: Sequence[Step], yeses: Sequence[Decision], may: Mapping[str, May]) -> int:
    """The first step that still wants people (A5: who may not agree any more has not); as many as there are: none."""
    for n, step in enumerate(steps):
        if sum(d.step == n and may[d.actor](step) for d in yeses) < step.people:
            return n
    return len(steps)


def _check(a: Approval, said: Said, at: datetime) -> None:
    state = a.state_at(at)
    if state != "open":
        code = "approval_expired" if state == "expired" else None
        raise NotDecided(f"There is nothing to decide any more: {_ENDS[state]}.", code=code)
    if a.maker == said.actor:
        raise Forbidden("You have asked for this yourself: somebody else has to decide it.", code="approval_own")
    if not hmac.compare_digest(a.hash, said.hash):
        raise NotDecided(
            "This decision is about something else: its hash is not that of the approval. Look at it again.",
            code="approval_hash_stale",
        )
    if any(d.actor == said.actor for d in a.decisions):
        raise NotDecided("You have decided this before; everybody decides once.", code="approval_decided_before")


async def _carry_out(tx: Tx, a: Approval, said: Said, at: datetime) -> Approval:
    """All have agreed."""
    if said.spoiled is not None:
        return _end(tx, a, "refused", at, reason=f"It could not be done: {said.spoiled.message}")
    must(a.kind in approval.kinds(), f"somebody knows what to do with an approved {a.kind}")
    effect = approval.kinds()[a.kind]
    if effect is None:
        return _end(tx, a, "approved", None)
    now = context.current()
    by = context.carry_on(
        a.root_id, request_id=now.request_id, idempotency_key=now.idempotency_key, business_line=a.business_line, book_id=a.book_id,
        actor=said.actor, place=now.place, env=said.env.name,
    )  # fmt: skip
    try:
        result = await effect(tx, Command(a.book_id, a.id, msgspec.json.decode(a.command), by, at, said.env, a.steps))
    except Rejected as why:
        raise Spoiled(why) from why
    return _end(tx, a, "executed", at, result=result)


async def cancel(tx: Tx, book_id: UUID, id: UUID, actor: str, why: str = "", *, anyones: bool = False) -> Approval:
    """Take back what one has asked for.  `anyones`: whoever asked for it.  Raises NotFound, NotDecided, Forbidden."""
    a, at = await _lock(tx, book_id, id), clock.now()
    if a.maker != actor and not anyones:
        raise Forbidden("Only who has asked for this can cancel it; who may decide can refuse it.")
    state = a.state_at(at)
    if state not in ("open", "approved"):
        raise NotDecided(f"There is nothing to cancel any more: {_ENDS[state]}.")
    return _end(tx, a, "cancelled", at, reason=why or None)


async def claim(tx: Tx, book_id: UUID, id: UUID, kind: str, subject: str, actor: str) -> Approval:
    """Use up what all have agreed to: its maker does what he asked for, once.  Raises NotFound, NotDecided, Forbidden."""
    a, at = await _lock(tx, book_id, id), clock.now()
    if (a.kind, a.subject) != (kind, subject):
        raise NotFound(f"{ids.show('apr', id)} is about something else: {a.kind} of {a.subject}.", param="approval")
    if a.maker != actor:
        raise Forbidden("Only who has asked for this may have it.", param="approval")
    state = a.state_at(at)
    if state != "approved":
        why = "it is not decided yet" if state == "open" else _ENDS[state]
        raise NotDecided(f"This approval opens nothing: {why}.", param="approval")
    return _end(tx, a, "executed", at)


async def expire(tx: Tx, most: int) -> int:
    """Note that the time of up to `most` is over; how many there were."""
    rows = await tx.rows(Q.expire_approvals, clock.now(), most)
    for r in rows:
        before, after = {"state": r["was"]}, {"state": "expired"}
        trail.note(tx, "approval.expired", ids.show("apr", r["id"]), book_id=r["book_id"], before=before, after=after)
    return len(rows)


async def find(db: Database, book_id: UUID | None, id: UUID) -> Approval:
    """One approval with its decisions; `book_id` None: of whatever book.  Raises NotFound."""
    row = await db.row(Q.find_approval, book_id, id)
    if row is None:
        raise no_such(ids.show("apr", id))
    return approval_of(row, await db.rows(Q.find_approval_decisions, [row["book_id"]], [id]))


async def page(
    db: Database, book_id: UUID | None, query: PageQuery, state: str | None = None, kind: str | None = None
) -> Page[Approval]:
    """A page of approvals with their decisions, newest first.  `book_id` None: of every book."""
    rows = await db.rows(
        walked(Q.list_approvals, query.ascending), book_id, *cursor(query, "apr"), query.limit + 1, state, kind
    )
    decisions = await db.rows(Q.find_approval_decisions, [r["book_id"] for r in rows], [r["id"] for r in rows])
    return turn(query, [approval_of(r, decisions) for r in rows])


def no_such(shown: str) -> NotFound:
    """There is no such approval, or it is another merchant's."""
    return NotFound(f"No such approval: '{shown}'", param="approval")


async def _lock(tx: Tx, book_id: UUID, id: UUID) -> Approval:
    row = await tx.row(Q.lock_approval, book_id, id)
    if row is None:
        raise no_such(ids.show("apr", id))
    return approval_of(row, await tx.rows(Q.find_approval_decisions, [book_id], [id]))


def _end(
    tx: Tx, a: Approval, state: str, at: datetime | None, *, result: dict[str, Any] | None = None, reason: str | None = None
) -> Approval:  # fmt: skip
    """Have its state written; `at` None: it does not end with it."""
    said = None if result is None else msgspec.json.encode(result).decode()
    tx.write(Q.end_approval, a.book_id, a.id, state, said, reason, at)
    after = {"state": state} | ({"result": result} if result else {})
    trail.note(
        tx, f"approval.{state}", ids.show("apr", a.id), book_id=a.book_id, before={"state": a.state}, after=after, why=reason or "",
    )  # fmt: skip
    return replace(a, state=state, result=result, reason=reason, ended_at=at)


def _who(step: Step) -> str:
    where = "on the platform" if step.at == "platform" else "at the merchant"
    return f"the role {step.role} {where}" if step.role else f"{step.permission} {where}"
