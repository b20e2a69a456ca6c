"""The sweeps: what nobody waits for any more is asked for, closed, sent and ended.

Attempts that are open are asked about on the channel's own schedule; expired ones and those that nobody wants are closed at the
channel first.  Refunds likewise.  Payments past their expiry are ended.  `ask_at` on the row is schedule and lease in one: whoever dies
while asking is followed when it is over.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from guilder.channels.model import State
from guilder.core import clock
from guilder.core.errors import GuilderError
from guilder.payments import asking, store
from guilder.payments.cancel import EXPIRE, Expire
from guilder.payments.model import Attempt, Refund
from guilder.payments.present import Face
from guilder.payments.states import OPEN_ATTEMPT, RefundState
from guilder.platform import context
from guilder.platform.db import DatabaseError, Tx
from guilder.platform.environment import Env
from guilder.platform.failpoints import reach
from guilder.platform.jobs import Loop
from guilder.platform.sql import load

Q = load(__package__)
T = TypeVar("T")
log = logging.getLogger("guilder.payments")
LEASE_S = 30
AT_ONCE = 32


async def sweep_attempts(rt: Env) -> int:
    """Ask about the attempts that are due; how many there were."""

    async def claim(tx: Tx) -> list[Attempt]:
        return [store.attempt_of(r) for r in await tx.rows(Q.claim_attempts_to_ask, AT_ONCE, LEASE_S)]

    due = await rt.db.transact(claim)
    if due:
        reach("jan.claimed", due[0].id)
    await _each(rt, due, _ask_about)
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


async def sweep_refunds(rt: Env) -> int:
    """Send or ask about the refunds that are due."""

    async def claim(tx: Tx) -> list[Refund]:
        return [store.refund_of(r) for r in await tx.rows(Q.claim_refunds_to_ask, AT_ONCE, LEASE_S)]

    due = await rt.db.transact(claim)
    await _each(rt, due, _ask_about_refund)
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


async def _each(rt: Env, things: Sequence[T], ask: Callable[[Env, T], Awaitable[None]]) -> None:
    """Ask about each in its own chain of work; one that fails is asked about again after its lease."""

    async def one(thing: T) -> None:
        about = context.carry_on(
            thing.root_id, business_line=thing.business_line, book_id=thing.book_id, actor="sweep", env=rt.name  # pyrefly: ignore
        )  # fmt: skip
        with context.use(about):
            try:
                await ask(rt, thing)
            except (GuilderError, DatabaseError) as error:
                log.warning("a sweep could not finish: %s", error)
            except Exception:
                log.exception("a sweep failed")

    await asyncio.gather(*(one(t) for t in things))


LOOPS = (
    Loop("payments.attempts", 0.5, sweep_attempts, full=AT_ONCE),
    Loop("payments.refunds", 0.5, sweep_refunds, full=AT_ONCE),
    Loop("payments.expired", 2.0, sweep_expired, full=200),
)
