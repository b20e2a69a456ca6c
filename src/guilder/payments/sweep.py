"""The sweeps: what nobody waits for any more is asked for, closed, sent and ended.

Attempts that are open are asked about on the channel's own schedule; expired ones and those that nobody wants are closed at the
channel first.  Refunds likewise.  Payments past their expiry are ended.  `ask_at` on the row is schedule and lease in one: whoever dies
while asking is followed when it is over.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, TypeVar
from uuid import UUID

from guilder.channels.model import State
from guilder.core import clock
from guilder.core.errors import GuilderError
from guilder.payments import asking, store
from guilder.payments.cancel import EXPIRE, Expire
from guilder.payments.model import Attempt, Refund
from guilder.payments.present import Face
from guilder.payments.states import OPEN_ATTEMPT, RefundState
from guilder.platform import context
from guilder.platform.db import CommitUnknown, DatabaseError, Tx
from guilder.platform.environment import Env
from guilder.platform.failpoints import reach
from guilder.platform.jobs import Loop
from guilder.platform.sql import load

Q = load(__package__)
T = TypeVar("T", Attempt, Refund)
log = logging.getLogger("guilder.payments")
LEASE_S = 60  # longer than a close, a creation and two queries may take together
AT_ONCE = 32  # claimed in one go
PER_ACCOUNT = 24  # asked at once at one channel account
IN_ALL = 96


async def claim_attempts(rt: Env, room: int, full: Sequence[UUID] = ()) -> list[Attempt]:
    """Up to `room` attempts that are due, of channel accounts that are not `full`; nobody else asks about them during the lease."""

    async def claim(tx: Tx) -> list[Attempt]:
        return [store.attempt_of(r) for r in await tx.rows(Q.claim_attempts_to_ask, room, LEASE_S, list(full))]

    due = await rt.db.transact(claim)
    if due:
        reach("jan.claimed", due[0].id)
    return due


async def sweep_attempts(rt: Env) -> int:
    """Ask about the attempts that are due, and wait for the answers; how many there were."""
    due = await claim_attempts(rt, AT_ONCE)
    await asyncio.gather(*(_in_its_chain(rt, a, _ask_about) for a in due))
    return len(due)


async def _ask_about(rt: Env, attempt: Attempt) -> None:
    if attempt.state not in OPEN_ATTEMPT:
        return
    row = await rt.db.row(Q.find_intent, attempt.book_id, attempt.intent_id)
    account = await asking.the_account(rt, attempt)
    if row is None:
        return
    intent = store.intent_of(row)
    if attempt.close_wanted or attempt.expires_at <= clock.now():
        outcome, door = await asking.close(rt, intent, attempt, account), "close"
    elif attempt.state.value == "unknown":
        outcome, door = await asking.settle_unknown(rt, intent, attempt, account), "query"
    else:
        outcome, door = await asking.query(rt, attempt, account), "query"
    await asking.record(rt, attempt, account, outcome, door, context.current())
    reach("jan.after_commit", attempt.id)


async def claim_refunds(rt: Env, room: int, full: Sequence[UUID] = ()) -> list[Refund]:
    """Up to `room` refunds that are due, of channel accounts that are not `full`."""

    async def claim(tx: Tx) -> list[Refund]:
        return [store.refund_of(r) for r in await tx.rows(Q.claim_refunds_to_ask, room, LEASE_S, list(full))]

    return await rt.db.transact(claim)


async def sweep_refunds(rt: Env) -> int:
    """Send or ask about the refunds that are due, and wait for the answers; how many there were."""
    due = await claim_refunds(rt, AT_ONCE)
    await asyncio.gather(*(_in_its_chain(rt, r, _ask_about_refund) for r in due))
    return len(due)


async def _ask_about_refund(rt: Env, refund: Refund) -> None:
    account = await asking.the_account(rt, refund)
    outcome = await asking.query_refund(rt, refund, account)
    if outcome.state is State.NOT_FOUND or (
        outcome.state is State.UNKNOWN and refund.state is RefundState.UNKNOWN and refund.asked <= 1
    ):
        row = await rt.db.row(Q.find_attempt, refund.book_id, refund.attempt_id)
        if row is not None:  # under the same key: asking twice gives back once
            outcome = await asking.ask_refund(rt, refund, store.attempt_of(row), account)
    await asking.record_refund(rt, refund, account, outcome, "query", context.current())


async def sweep_expired(rt: Env) -> int:
    """End the payments whose time is over; what is open at a channel is closed there first."""
    rows = await rt.db.rows(Q.expired_intents, 200)
    by = context.current()
    lane = rt.lane(EXPIRE)
    await asyncio.gather(
        *(lane.submit(Expire(r["book_id"], r["id"], by, Face(rt)), r["book_id"]) for r in rows), return_exceptions=True
    )
    return len(rows)


async def _in_its_chain(rt: Env, thing: T, ask: Callable[[Env, T], Awaitable[None]]) -> None:
    """Ask about one thing as part of its own chain of work; what fails is asked about again after its lease."""
    about = context.carry_on(
        thing.root_id, business_line=thing.business_line, book_id=thing.book_id, actor="sweep", env=rt.name
    )
    with context.use(about):
        try:
            await ask(rt, thing)
        except (GuilderError, DatabaseError, CommitUnknown) as error:
            log.warning("a sweep could not finish: %s", error)
        except Exception:
            log.exception("a sweep failed")


class Askers(Generic[T]):
    """The askers of one process: many at once, and only so many per channel account, so that a channel that hangs delays no other."""

    def __init__(
        self, claim: Callable[[Env, int, Sequence[UUID]], Awaitable[list[T]]], ask: Callable[[Env, T], Awaitable[None]]
    ) -> None:
        self._claim, self._ask = claim, ask
        self._busy: dict[Env, Counter[UUID]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, rt: Env) -> int:
        """Give what is due to whoever is free, and wait for nobody; how much there was."""
        busy = self._busy.setdefault(rt, Counter())
        full = [account for account, n in busy.items() if n >= PER_ACCOUNT]
        room = min(AT_ONCE, IN_ALL - busy.total())
        due = await self._claim(rt, room, full) if room > 0 else []
        for thing in due:
            busy[thing.channel_account_id] += 1
            task = asyncio.create_task(_in_its_chain(rt, thing, self._ask))
            self._tasks.add(task)
            task.add_done_callback(partial(self._done, busy, thing.channel_account_id))
        return len(due)

    def _done(self, busy: Counter[UUID], account: UUID, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        busy[account] -= 1
        if not busy[account]:
            del busy[account]


LOOPS = (
    Loop("payments.attempts", 0.5, Askers(claim_attempts, _ask_about), full=AT_ONCE),
    Loop("payments.refunds", 0.5, Askers(claim_refunds, _ask_about_refund), full=AT_ONCE),
    Loop("payments.expired", 2.0, sweep_expired, full=200),
)
