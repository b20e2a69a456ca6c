"""Ask a channel, and carry its answer into the room.  Used by confirm, cancel and the sweeps alike.

Nothing here holds a lock or a transaction while a channel thinks; every answer ends in `record`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec

from guilder.channels.info import Operation
from guilder.channels.model import (
    CapturePayment,
    ClosePayment,
    CreatePayment,
    CreateRefund,
    Outcome,
    Problem,
    QueryPayment,
    QueryRefund,
    Retry,
    State,
)
from guilder.core import clock, ids
from guilder.core.amount import Amount
from guilder.core.check import must
from guilder.core.errors import Busy, Unknown
from guilder.core.exchange import patient
from guilder.merchants import channel_accounts
from guilder.merchants.channel_accounts import ChannelAccount
from guilder.payments import hooks, store
from guilder.payments.life import Contract
from guilder.payments.model import Attempt, Intent, Refund
from guilder.payments.present import Face
from guilder.payments.record import RECORD, RECORD_REFUND, Heard, HeardRefund, Recorded
from guilder.payments.states import AttemptState
from guilder.platform import wire
from guilder.platform.context import Context
from guilder.platform.db import CommitUnknown, DatabaseError
from guilder.platform.environment import Env
from guilder.platform.failpoints import reach
from guilder.platform.idempotency import Key, Reply
from guilder.platform.sql import load
from guilder.platform.wire import About, Ready

Q = load(__package__)
CANCELED = Problem(
    "canceled", "It was cancelled at the channel; what was paid went back.", "generic_decline", Retry.NEW_KEY
)
GRACE = timedelta(seconds=60)  # past an expiry, for clocks that differ


def contract_of(account: ChannelAccount) -> Contract:
    """What decisions need to know of a channel account."""
    return Contract(account.id, account.account_ref, account.app_ref, account.funds, account.info, account.fee_bps)


def notify_url(rt: Env, account: ChannelAccount) -> str:
    """Where the channel sends its callbacks for an account."""
    return f"{rt.settings.api_url}/callbacks/{rt.name}/{account.info.code}/{ids.text(account.id)}"


Try = tuple[Ready[Outcome], Attempt, ChannelAccount]
Elsewhere = Callable[
    [Attempt, Outcome], Awaitable[Try | None]
]  # the try that follows one that certainly did nothing, if any


async def collect(rt: Env, tried: Try, by: Context, key: Key, elsewhere: Elsewhere) -> Reply:
    """Phases 2 and 3 of a confirm.  `tried`: what phase 1 has made ready and journaled."""
    return await carry_through(_collect(rt, tried, by, key, elsewhere))


async def carry_through(work: Coroutine[Any, Any, Reply]) -> Reply:
    """Phases 2 and 3, even if the caller hangs up.  Once phase 1 is committed nothing may answer that nothing was done: whatever keeps us
    from writing the channel's answer down leaves it unknown to the caller, and the sweep finds out."""
    try:
        return await asyncio.shield(asyncio.ensure_future(work))
    except (Busy, DatabaseError, CommitUnknown) as error:
        raise Unknown from error


async def _collect(rt: Env, tried: Try, by: Context, key: Key, elsewhere: Elsewhere) -> Reply:
    first, attempt, account = tried
    reach("pay.before_channel", attempt.id)
    refused = await _steps_before(rt, attempt)
    if refused is None:
        outcome = await rt.wire.send(first)
    else:
        rt.wire.withhold(first, refused.problem.message if refused.problem else "")
        outcome = refused
    reach("pay.after_channel", attempt.id)
    if outcome.not_done and (other := await elsewhere(attempt, outcome)) is not None:
        return await _collect(rt, other, by, key, elsewhere)
    reach("pay.before_settle_tx", attempt.id)
    recorded = await record(rt, attempt, account, outcome, "reply", by, key)
    reach("pay.after_commit", attempt.id)
    return replied(recorded)


async def find_out(rt: Env, intent: Intent, attempt: Attempt, by: Context, key: Key | None) -> Reply:
    """What became of a try that somebody else began: ask, record, answer."""
    account = await the_account(rt, attempt)
    if attempt.state is AttemptState.UNKNOWN:
        door, outcome = "query", await settle_unknown(rt, intent, attempt, account)
    else:
        door, outcome = "query", Outcome(State.UNKNOWN)  # decided already, or waiting for the payer: only tell
    return replied(await record(rt, attempt, account, outcome, door, by, key))


def replied(recorded: Recorded) -> Reply:
    if recorded.reply is None:
        raise Unknown
    return recorded.reply


async def the_account(rt: Env, about: Attempt | Refund) -> ChannelAccount:
    """The channel account of an attempt; it cannot be missing."""
    account = await channel_accounts.get(rt, about.channel_account_id)
    must(account is not None, "an attempt's channel account exists")
    assert account is not None
    return account


def first_call(face: Face, intent: Intent, attempt: Attempt, account: ChannelAccount, by: Context) -> Ready[Outcome]:
    """What the channel is to be asked for a new attempt: signed, and sent after the commit that notes it."""
    ask = _collecting(face.env, intent, attempt, account)
    return wire.ready(account.channel.ask(ask), _about(attempt, account, "create"), by.root_id)


async def create(
    rt: Env, intent: Intent, attempt: Attempt, account: ChannelAccount, timeout_s: float | None = None
) -> Outcome:
    """Ask the channel to collect; wait for it as long as the adapter says, or, from a place of the front's, for `timeout_s`."""
    if (refused := await _steps_before(rt, attempt)) is not None:
        return refused
    exchange, about = account.channel.ask(_collecting(rt, intent, attempt, account)), _about(attempt, account, "create")
    if timeout_s is not None:
        exchange, about = patient(exchange, timeout_s), msgspec.structs.replace(about, fronted=True)
    return await rt.wire.carry_out(exchange, about)


async def _steps_before(rt: Env, attempt: Attempt) -> Outcome | None:
    """What plug-ins do before a channel is asked: None if they agree, which is at once where there are none."""
    if not any(p.before_asking for p in hooks.plugins()):
        return None
    row = await rt.db.row(Q.find_intent, attempt.book_id, attempt.intent_id)
    must(row is not None, "an attempt's payment exists")
    assert row is not None
    intent = store.intent_of(row)
    return await hooks.before_asking(hooks.seen(rt.name, intent, intent.method_type or "", attempt))


def _collecting(rt: Env, intent: Intent, attempt: Attempt, account: ChannelAccount) -> CreatePayment:
    return CreatePayment(
        ids.mint_key(attempt.id, attempt.book_id),
        attempt.way,
        attempt.money,
        intent.description or "Payment",
        attempt.expires_at,
        notify_url(rt, account),
        return_url=attempt.return_url,
        attach=attempt.attach,
        created_at=attempt.created_at,
        capture=not attempt.hold,
        given=attempt.given,
    )


async def query(rt: Env, attempt: Attempt, account: ChannelAccount) -> Outcome:
    """Ask the channel what became of an attempt."""
    ask = QueryPayment(ids.mint_key(attempt.id, attempt.book_id), attempt.way, attempt.created_at, attempt.memo)
    return await rt.wire.carry_out(account.channel.ask(ask), _about(attempt, account, "query"))


async def settle_unknown(rt: Env, intent: Intent, attempt: Attempt, account: ChannelAccount) -> Outcome:
    """End an unknown: query; if the channel has nothing, or has it without the code that the payer needs, ask for it again
    under the same key."""
    outcome = await query(rt, attempt, account)
    reach("jan.queried", attempt.id)
    missing = outcome.state is State.NOT_FOUND
    lost_code = outcome.state is State.PENDING and outcome.next is None and attempt.next_action is None
    if (missing or lost_code) and not attempt.close_wanted and attempt.expires_at > clock.now() + timedelta(seconds=5):
        return await again(await create(rt, intent, attempt, account), lambda: query(rt, attempt, account))
    return outcome


async def again(outcome: Outcome, look: Callable[[], Awaitable[Outcome]]) -> Outcome:
    """(P3) What was said of a repetition.  That nothing happened this time, or that we may not ask (a key that was rolled, a right that is
    gone), says nothing of the time before, which ended in silence: a refusal stands where it names what it is about, or where the channel,
    asked once more, has nothing under our key."""
    if outcome.state is not State.FAILED:
        return outcome
    if outcome.problem is not None and outcome.problem.retry is Retry.SAME_KEY:
        return Outcome(State.UNKNOWN)
    if outcome.memo is not None or outcome.channel_ref is not None:
        return outcome
    found = await look()
    if found.state is State.NOT_FOUND:
        return Outcome(State.UNKNOWN) if found.unasked else outcome
    return found


async def close(rt: Env, intent: Intent, attempt: Attempt, account: ChannelAccount) -> Outcome:
    """Make sure that an attempt cannot be paid any more, or learn that it was.

    CLOSED needs the channel's word.  Where it says that there is nothing to close: an attempt that the channel had taken can only
    be waiting for a payer who never came, and its expiry or the wish to cancel ends it; an `unknown` one is made to exist first
    (the same key), so that the channel can close it.
    """
    if attempt.unasked:
        if await rt.db.value(Q.retire_unasked, attempt.book_id, attempt.id) is not None:
            return Outcome(State.CLOSED)  # (W2) our own word: the channel was never asked, and never will be
        attempt = replace(attempt, unasked=False)  # the front was faster
    outcome = await _close_once(rt, attempt, account)
    now, info = clock.now(), account.info
    if outcome.state is State.NOT_FOUND:
        if attempt.state is AttemptState.UNKNOWN:
            if info.collects_at_once(attempt.way):  # asking for it would take the payer's money
                over = (
                    attempt.expires_at + 2 * GRACE <= now
                )  # no request is still under way, and the payer's code is dead
                return Outcome(State.CLOSED) if over and not outcome.unasked else Outcome(State.UNKNOWN)
            if attempt.expires_at <= now + timedelta(seconds=5):
                return outcome  # only the day's statement can tell now
            made = await again(await create(rt, intent, attempt, account), lambda: query(rt, attempt, account))
            if made.state is not State.PENDING:
                return made
            outcome = await _close_once(rt, replace(attempt, memo=made.memo or attempt.memo), account)
        ended = attempt.close_wanted or attempt.expires_at + GRACE <= now
        if outcome.state is State.NOT_FOUND and not outcome.unasked and ended:
            return Outcome(State.CLOSED)
    if outcome.state is State.CLOSED and cancels(account, attempt):
        return replace(
            outcome, problem=outcome.problem or CANCELED
        )  # what was paid went back: whether it was paid would mislead
    if outcome.state is State.CLOSED:
        reach("cl.after_channel_close", attempt.id)
        asked = await query(rt, attempt, account)  # paid in the same moment?
        if asked.state is State.SUCCEEDED:
            return asked
    return outcome


async def capture(rt: Env, attempt: Attempt, account: ChannelAccount) -> Outcome:
    """Ask the channel to collect what is held.  The same ask twice collects once."""
    ask = CapturePayment(
        ids.mint_key(attempt.id, attempt.book_id), attempt.way, attempt.created_at, Amount(attempt.due, attempt.currency), attempt.money,
        attempt.memo,
    )  # fmt: skip
    return await rt.wire.carry_out(account.channel.ask(ask), _about(attempt, account, "capture"))


def cancels(account: ChannelAccount, attempt: Attempt) -> bool:
    """Whether an attempt is ended by the channel's cancel, which also gives back what was paid: where the payer was scanned."""
    return account.info.way(attempt.way).shows == "nothing" and account.info.can(Operation.CANCEL, attempt.way)


async def _close_once(rt: Env, attempt: Attempt, account: ChannelAccount) -> Outcome:
    """Where a channel cannot close, its own expiry does, and asking tells.  A payer who was scanned may be paying at this moment: what is
    cancelled is given back."""
    info, cancel = account.info, cancels(account, attempt)
    if not cancel and not info.can(Operation.CLOSE, attempt.way):
        return await query(rt, attempt, account)
    reach("cl.before_channel_close", attempt.id)
    ask = ClosePayment(ids.mint_key(attempt.id, attempt.book_id), attempt.way, attempt.created_at, cancel, attempt.memo)
    return await rt.wire.carry_out(account.channel.ask(ask), _about(attempt, account, "close"))


async def record(
    rt: Env, attempt: Attempt, account: ChannelAccount, outcome: Outcome, door: str, by: Context, key: Key | None = None
) -> Recorded:
    """Into the room."""
    heard = Heard(attempt.book_id, attempt.id, outcome, contract_of(account), door, by, Face(rt), key)
    return await rt.lane(RECORD).submit(heard, attempt.book_id)


async def ask_refund(rt: Env, refund: Refund, paid: Attempt, account: ChannelAccount) -> Outcome:
    """Ask the channel to give money back."""
    ask = CreateRefund(
        ids.mint_key(refund.id, refund.book_id),
        ids.mint_key(paid.id, paid.book_id),
        await _ref_of(rt, refund, paid),
        refund.money,
        Amount(paid.asked_for, paid.currency),
        refund.reason,
        notify_url(rt, account),
        created_at=refund.created_at,
        payment_memo=paid.memo,
        payment_created_at=paid.created_at,
        memo=refund.memo,
    )
    return await rt.wire.carry_out(account.channel.ask(ask), _about(refund, account, "refund"))


async def _ref_of(rt: Env, refund: Refund, paid: Attempt) -> str | None:
    """The channel's number of what goes back: of the payment, or of the sum that lay aside."""
    if refund.aside_id is None:
        return paid.channel_ref
    row = await rt.db.row(Q.find_aside, refund.book_id, refund.aside_id)
    return paid.channel_ref if row is None else row["channel_ref"]


async def query_refund(rt: Env, refund: Refund, paid: Attempt, account: ChannelAccount) -> Outcome:
    """Ask the channel what became of a refund."""
    ask = QueryRefund(
        ids.mint_key(refund.id, refund.book_id), ids.mint_key(paid.id, paid.book_id), refund.money, refund.created_at, paid.memo,
        refund.memo,
    )  # fmt: skip
    return await rt.wire.carry_out(account.channel.ask(ask), _about(refund, account, "query_refund"))


async def record_refund(
    rt: Env, refund: Refund, account: ChannelAccount, outcome: Outcome, door: str, by: Context, key: Key | None = None
) -> Recorded:
    """Into the room, for a refund."""
    heard = HeardRefund(refund.book_id, refund.id, outcome, contract_of(account), door, by, Face(rt), key)
    return await rt.lane(RECORD_REFUND).submit(heard, refund.book_id)


def _about(about: Attempt | Refund, account: ChannelAccount, op: str) -> About:
    return About(about.book_id, account.id, account.info.code, op, about.id)
