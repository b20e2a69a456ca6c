"""Ask a channel to pay out, or what became of it.  Nothing here holds a lock or a transaction while a channel thinks."""

from datetime import timedelta

import msgspec

from guilder.channels.model import CreatePayout, Outcome, QueryPayout, State
from guilder.core import clock, ids
from guilder.core.check import must
from guilder.merchants import channel_accounts
from guilder.merchants.channel_accounts import ChannelAccount
from guilder.payments.asking import again, notify_url
from guilder.payouts.model import Payout
from guilder.platform.environment import Env
from guilder.platform.wire import About


def sealed_about(p_id: object) -> str:
    """What a sealed payee is bound to."""
    return f"payouts.payout/{p_id}"


async def the_account(rt: Env, p: Payout) -> ChannelAccount:
    """The channel account of a payout; it cannot be missing."""
    account = await channel_accounts.get(rt, p.channel_account_id)
    must(account is not None, "a payout's channel account exists")
    assert account is not None
    return account


async def create(rt: Env, p: Payout, account: ChannelAccount) -> Outcome:
    """Ask for it.  The same ask twice is one payout; who is paid is not known any more: UNKNOWN."""
    if p.payee is None:
        return Outcome(State.UNKNOWN)
    payee = msgspec.json.decode(rt.keyring.open(p.payee, sealed_about(p.id)), type=dict[str, str])
    ask = CreatePayout(
        ids.mint_key(p.id, p.book_id),
        p.money,
        payee,
        p.description or "Payout",
        notify_url(rt, account),
        p.created_at,
        p.attach,
    )
    return await rt.wire.carry_out(account.channel.ask(ask), _about(p, account, "payout"))


async def query(rt: Env, p: Payout, account: ChannelAccount) -> Outcome:
    """Ask what became of it."""
    ask = QueryPayout(ids.mint_key(p.id, p.book_id), p.money, p.created_at, p.memo)
    return await rt.wire.carry_out(account.channel.ask(ask), _about(p, account, "query_payout"))


async def find_out(rt: Env, p: Payout, account: ChannelAccount) -> tuple[Outcome, str]:
    """What became of it, and by which door we know; if the channel has none under this key, ask for it under the same.

    A key that the channel may have forgotten is never asked again: it would pay twice.  A person has to look.
    """
    outcome, key_s = await query(rt, p, account), account.info.key_s
    if outcome.state is not State.NOT_FOUND:
        return outcome, "query"
    if key_s is not None and clock.now() - p.created_at > timedelta(seconds=key_s):
        return Outcome(State.UNKNOWN), "query"
    return await again(await create(rt, p, account), lambda: query(rt, p, account)), "reply"


def _about(p: Payout, account: ChannelAccount, op: str) -> About:
    return About(p.book_id, account.id, account.info.code, op, p.id)
