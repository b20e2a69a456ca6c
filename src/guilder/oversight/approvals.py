"""Decide: say yes or no to what somebody has asked for.  The rules are platform/approval.py's; who may what is people's, and read fresh."""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TypeVar
from uuid import UUID

from guilder.core import ids
from guilder.core.errors import Busy, Forbidden
from guilder.people.model import Authority
from guilder.people.principal import read_authority
from guilder.platform import deciding
from guilder.platform.approval import MACHINE, ApprovalObject, Step, present
from guilder.platform.db import Conflict, Contended, Lost, Tx
from guilder.platform.deciding import ANYBODY, May, Said
from guilder.platform.environment import Env

T = TypeVar("T")
Work = Callable[[Tx], Awaitable[ApprovalObject]]
OPERATOR = "operator"  # whoever is at the machine: nobody in particular, so never a person
DECIDE = "approvals:decide"
TRIES = 60  # others decide meanwhile: each time it begins again, and each time one of them is through


async def decide(
    rt: Env, book_id: UUID, id: UUID, said: tuple[str, bool, bytes, str], run: Callable[[Work], Awaitable[T]]
) -> T:
    """Decide as `said` (actor, yes, hash, why) says, in transactions that `run` runs.

    Raises Busy, and what deciding.decide refuses.  A command that is refused when all have agreed is no error: the approval says why.
    """
    spoiled = None
    for _ in range(TRIES):
        earlier = (await deciding.find(rt.db, book_id, id)).decisions
        may = await standing(rt, book_id, {said[0], *(d.actor for d in earlier)})
        whole = Said(book_id, id, *said, rt, spoiled)
        try:
            return await run(partial(_decided, said=whole, may=may))
        except deciding.Spoiled as found:
            spoiled = found.why
        except (deciding.Unread, Conflict, Contended, Lost):
            continue
    raise Busy


async def _decided(tx: Tx, said: Said, may: dict[str, May]) -> ApprovalObject:
    return present(await deciding.decide(tx, said, may), livemode=said.env.livemode)


async def standing(rt: Env, book_id: UUID, actors: Iterable[str]) -> dict[str, May]:
    """What each of them may do now, as the control database has it this instant."""
    found: dict[str, May] = {}
    for actor in sorted(actors):
        id = ids.read("usr", actor)
        if id is not None:
            found[actor] = _of_person(await read_authority(rt.control, id), book_id)
        else:
            found[actor] = _of_machine if actor == OPERATOR else _of_nobody
    return found


def person(actor: str) -> str:
    """A decision is a person's.  Raises Forbidden for keys and service accounts."""
    if ids.read("usr", actor) is None:
        raise Forbidden("Decisions are made by people: sign in. A key or service account decides nothing.")
    return actor


def _of_person(authority: Authority, book_id: UUID) -> May:
    def may(step: Step) -> bool:
        where = ids.PLATFORM if step.at == "platform" else book_id
        held = authority.over(where)
        if DECIDE not in held or step.role == MACHINE:
            return False
        return step.role in authority.roles(where) if step.role else step.permission in ("", *held)

    return may


def _of_machine(step: Step) -> bool:
    """Whoever is at the machine may stop anything, and agree only where a chain says so: it might be the maker, signed in elsewhere."""
    return step == ANYBODY or step.role == MACHINE


def _of_nobody(step: Step) -> bool:
    return False
