"""The sweeps: what nobody waits for any more is asked for, closed, sent and ended.

Attempts that are open are asked about on the channel's own schedule; expired ones and those that nobody wants are closed at the
channel first.  Refunds likewise.  Payments past their expiry are ended.  `ask_at` on the row is schedule and lease in one: whoever dies
while asking is followed when it is over.
"""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from guilder.channels.model import State
from guilder.core import clock
from guilder.payments import asking, front, store
from guilder.payments.askers import AT_ONCE, Askers, in_its_chain
from guilder.payments.cancel import EXPIRE, Expire
from guilder.payments.model import Attempt, Refund
from guilder.payments.present import Face
from guilder.payments.states import OPEN_ATTEMPT, AttemptState, RefundState
from guilder.platform import context
from guilder.platform.db import Tx
from guilder.platform.environment import Env
from guilder.platform.failpoints import reach
from guilder.platform.jobs import Loop
from guilder.platform.sql import load

Q = load(__package__)
LEASE_S = 60  # longer than a close, a creation and two queries may take together


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
    await asyncio.gather(*(in_its_chain(rt, a, _ask_about) for a in due))
    return len(due)


async def _ask_about(rt: Env, attempt: Attempt) -> None:
    if attempt.state not in OPEN_ATTEMPT:
        return
    row = await rt.db.row(Q.find_intent, attempt.book_id, attempt.intent_id)
    account = await asking.the_account(rt, attempt)
    if row is None:
        return
    intent = store.intent_of(row)
    capturing = attempt.state is AttemptState.AUTHORISED and attempt.capture is not None and not attempt.close_wanted
    if not capturing and (attempt.close_wanted or attempt.expires_at <= clock.now()):
        outcome, door = await asking.close(rt, intent, attempt, account), "close"
    elif attempt.state is AttemptState.UNKNOWN:
        outcome, door = await asking.settle_unknown(rt, intent, attempt, account), "query"
    else:
        outcome, door = await asking.query(rt, attempt, account), "query"
        if outcome.state is State.AUTHORISED and attempt.capture is not None:
            outcome, door = await asking.capture(rt, attempt, account), "capture"
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
    await asyncio.gather(*(in_its_chain(rt, r, _ask_about_refund) for r in due))
    return len(due)


async def _ask_about_refund(rt: Env, refund: Refund) -> None:
    account = await asking.the_account(rt, refund)
    row = await rt.db.row(Q.find_attempt, refund.book_id, refund.attempt_id)
    if row is None:
        return
    paid = store.attempt_of(row)
    outcome = await asking.query_refund(rt, refund, paid, account)
    if outcome.state is State.NOT_FOUND or (
        outcome.state is State.UNKNOWN and refund.state is RefundState.UNKNOWN and refund.asked <= 1
    ):
        made = await asking.ask_refund(rt, refund, paid, account)  # under the same key: asking twice gives back once
        outcome = await asking.again(made, lambda: asking.query_refund(rt, refund, paid, account))
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


FRONT = Loop("payments.front", 0.2, front.ASKERS, full=front.AT_ONCE)
LOOPS = (
    Loop("payments.attempts", 0.5, Askers(claim_attempts, _ask_about), full=AT_ONCE),
    Loop("payments.refunds", 0.5, Askers(claim_refunds, _ask_about_refund), full=AT_ONCE),
    Loop("payments.expired", 2.0, sweep_expired, full=200),
    FRONT,
)
