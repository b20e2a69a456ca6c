"""The sweep: payouts that are open are asked about on the channel's own schedule, and asked for where nobody has yet."""

from collections.abc import Sequence
from uuid import UUID

from guilder.payments.askers import AT_ONCE, Askers
from guilder.payouts import ask, store
from guilder.payouts.model import Payout
from guilder.payouts.record import record
from guilder.payouts.states import OPEN_PAYOUT
from guilder.platform import context
from guilder.platform.db import Tx
from guilder.platform.environment import Env
from guilder.platform.jobs import Loop
from guilder.platform.sql import load

Q = load(__package__)
LEASE_S = 60


async def claim(rt: Env, room: int, full: Sequence[UUID] = ()) -> list[Payout]:
    """Up to `room` payouts that are due, of channel accounts that are not `full`; nobody else asks about them during the lease."""

    async def work(tx: Tx) -> list[Payout]:
        return [store.payout_of(r) for r in await tx.rows(Q.claim_payouts_to_ask, room, LEASE_S, list(full))]

    return await rt.db.transact(work)


async def _ask_about(rt: Env, p: Payout) -> None:
    if p.state in OPEN_PAYOUT:
        account = await ask.the_account(rt, p)
        outcome, door = await ask.find_out(rt, p, account)
        await record(rt, p.book_id, p.id, account, outcome, door, context.current())


LOOPS = (Loop("payouts.open", 0.5, Askers(claim, _ask_about), full=AT_ONCE),)
