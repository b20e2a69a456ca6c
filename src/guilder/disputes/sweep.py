"""The sweep: disputes whose payment was not known when they were told are looked for again."""

import asyncio

from guilder.disputes import strays
from guilder.disputes.record import collected, is_a_twins, record_stray
from guilder.disputes.strays import Stray
from guilder.merchants import channel_accounts
from guilder.payments.askers import in_its_chain
from guilder.platform import context
from guilder.platform.environment import Env
from guilder.platform.jobs import Loop


async def sweep_strays(rt: Env) -> int:
    """Look for the payments of those that are due; how many there were."""
    due = await strays.claim(rt, strays.AT_ONCE)
    await asyncio.gather(*(in_its_chain(rt, s, _look_for) for s in due))
    return len(due)


async def _look_for(rt: Env, stray: Stray) -> None:
    account = await channel_accounts.get(rt, stray.channel_account_id)
    of = None if account is None else await collected(rt, account, stray.payment_key, stray.payment_refs)
    if of is not None:
        await record_stray(rt, of, stray, context.current())
    elif account is not None and await is_a_twins(rt, account, stray.payment_key, stray.payment_refs):
        gone = (stray.book_id, stray.channel_account_id, stray.ref, len(stray.said))
        await rt.db.transact(lambda tx: strays.found(tx, [gone]))  # it is told to the other one, too
    else:
        await strays.ask_a_person(rt, stray, "a channel that is gone" if account is None else account.info.title)


LOOPS = (Loop("disputes.strays", 0.5, sweep_strays, full=strays.AT_ONCE),)
