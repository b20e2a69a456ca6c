"""Ask a channel, and carry its answer into the room.  Used by confirm, cancel and the sweeps alike.

Nothing here holds a lock or a transaction while a channel thinks; every answer ends in `record`.
"""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

from guilder.channels.model import (
    ClosePayment,
    CreatePayment,
    CreateRefund,
    Outcome,
    QueryPayment,
    QueryRefund,
    Retry,
    State,
)
from guilder.core import clock, ids
from guilder.core.amount import Amount
from guilder.core.check import must
from guilder.core.errors import Busy, Unknown
from guilder.merchants import channel_accounts
from guilder.merchants.channel_accounts import ChannelAccount
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
from guilder.platform.wire import About, Ready

GRACE = timedelta(seconds=60)  # past an expiry, for clocks that differ


def contract_of(account: ChannelAccount) -> Contract:
    """What decisions need to know of a channel account."""
    return Contract(account.id, account.account_ref, account.app_ref, account.funds, account.info, account.fee_bps)


def notify_url(rt: Env, account: ChannelAccount) -> str:
    """Where the channel sends its callbacks for an account."""
    return f"{rt.settings.api_url}/callbacks/{rt.name}/{account.info.code}/{ids.text(account.id)}"


async def collect(
    rt: Env, first: Ready[Outcome], attempt: Attempt, account: ChannelAccount, by: Context, key: Key
) -> Reply:
    """Phases 2 and 3 of a confirm.  `first`: what phase 1 has made ready and journaled."""
    return await carry_through(_collect(rt, first, attempt, account, by, key))


async def carry_through(work: Coroutine[Any, Any, Reply]) -> Reply:
    """Phases 2 and 3, even if the caller hangs up.  Once phase 1 is committed nothing may answer that nothing was done: whatever keeps us
    from writing the channel's answer down leaves it unknown to the caller, and the sweep finds out."""
    try:
        return await asyncio.shield(asyncio.ensure_future(work))
    except (Busy, DatabaseError, CommitUnknown) as error:
        raise Unknown from error


async def _collect(
    rt: Env, first: Ready[Outcome], attempt: Attempt, account: ChannelAccount, by: Context, key: Key
) -> Reply:
    reach("pay.before_channel", attempt.id)
    outcome = await rt.wire.send(first)
    reach("pay.after_channel", attempt.id)
    reach("pay.before_settle_tx", attempt.id)
    recorded = await record(rt, attempt, account, outcome, "reply", by, key)
    reach("pay.after_commit", attempt.id)
    return _replied(recorded)


async def find_out(rt: Env, intent: Intent, attempt: Attempt, by: Context, key: Key | None) -> Reply:
    """What became of a try that somebody else began: ask, record, answer."""
    account = await the_account(rt, attempt)
    if attempt.state is AttemptState.UNKNOWN:
        door, outcome = "query", await settle_unknown(rt, intent, attempt, account)
    else:
        door, outcome = "query", Outcome(State.UNKNOWN)  # decided already, or waiting for the payer: only tell
    return _replied(await record(rt, attempt, account, outcome, door, by, key))


def _replied(recorded: Recorded) -> Reply:
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


async def create(rt: Env, intent: Intent, attempt: Attempt, account: ChannelAccount) -> Outcome:
    """Ask the channel to collect."""
    ask = _collecting(rt, intent, attempt, account)
    return await rt.wire.carry_out(account.channel.ask(ask), _about(attempt, account, "create"))


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
    )


async def query(rt: Env, attempt: Attempt, account: ChannelAccount) -> Outcome:
    """Ask the channel what became of an attempt."""
    ask = QueryPayment(ids.mint_key(attempt.id, attempt.book_id), attempt.way, attempt.created_at)
    return await rt.wire.carry_out(account.channel.ask(ask), _about(attempt, account, "query"))


async def settle_unknown(rt: Env, intent: Intent, attempt: Attempt, account: ChannelAccount) -> Outcome:
    """End an unknown: query; if the channel has nothing, or has it without the code that the payer needs, ask for it again
    under the same key."""
    outcome = await query(rt, attempt, account)
    reach("jan.queried", attempt.id)
    missing = outcome.state is State.NOT_FOUND
    lost_code = outcome.state is State.PENDING and outcome.next is None and attempt.next_action is None
    if (missing or lost_code) and not attempt.close_wanted and attempt.expires_at > clock.now() + timedelta(seconds=5):
        return _again(await create(rt, intent, attempt, account))
    return outcome


def _again(outcome: Outcome) -> Outcome:
    """(P3) That nothing happened this time says nothing of the time before, which ended in silence."""
    same_key = outcome.problem is not None and outcome.problem.retry is Retry.SAME_KEY
    return Outcome(State.UNKNOWN) if outcome.state is State.FAILED and same_key else outcome


async def close(rt: Env, intent: Intent, attempt: Attempt, account: ChannelAccount) -> Outcome:
    """Make sure that an attempt cannot be paid any more, or learn that it was.

    CLOSED needs the channel's word.  Where it says that there is nothing to close: an attempt that the channel had taken can only
    be waiting for a payer who never came, and its expiry or the wish to cancel ends it; an `unknown` one is made to exist first
    (the same key), so that the channel can close it.
    """
    outcome = await _close_once(rt, attempt, account)
    now = clock.now()
    if outcome.state is State.NOT_FOUND:
        if attempt.state is AttemptState.UNKNOWN:
            if attempt.expires_at <= now + timedelta(seconds=5):
                return outcome  # only the day's statement can tell now
            made = _again(await create(rt, intent, attempt, account))
            if made.state is not State.PENDING:
                return made
            outcome = await _close_once(rt, attempt, account)
        if outcome.state is State.NOT_FOUND and (attempt.close_wanted or attempt.expires_at + GRACE <= now):
            return Outcome(State.CLOSED)
    if outcome.state is State.CLOSED:
        reach("cl.after_channel_close", attempt.id)
        again = await query(rt, attempt, account)  # paid in the same moment?
        if again.state is State.SUCCEEDED:
            return again
    return outcome


async def _close_once(rt: Env, attempt: Attempt, account: ChannelAccount) -> Outcome:
    reach("cl.before_channel_close", attempt.id)
    ask = ClosePayment(ids.mint_key(attempt.id, attempt.book_id), attempt.way, attempt.created_at)
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
        paid.channel_ref,
        refund.money,
        Amount(paid.amount, paid.currency),
        refund.reason,
        notify_url(rt, account),
    )
    return await rt.wire.carry_out(account.channel.ask(ask), _about(refund, account, "refund"))


async def query_refund(rt: Env, refund: Refund, account: ChannelAccount) -> Outcome:
    """Ask the channel what became of a refund."""
    ask = QueryRefund(
        ids.mint_key(refund.id, refund.book_id), ids.mint_key(refund.attempt_id, refund.book_id), refund.money
    )
    return await rt.wire.carry_out(account.channel.ask(ask), _about(refund, account, "query_refund"))


async def record_refund(
    rt: Env, refund: Refund, account: ChannelAccount, outcome: Outcome, door: str, by: Context, key: Key | None = None
) -> Recorded:
    """Into the room, for a refund."""
    heard = HeardRefund(refund.book_id, refund.id, outcome, contract_of(account), door, by, Face(rt), key)
    return await rt.lane(RECORD_REFUND).submit(heard, refund.book_id)


def _about(about: Attempt | Refund, account: ChannelAccount, op: str) -> About:
    return About(about.book_id, account.id, account.info.code, op, about.id)
