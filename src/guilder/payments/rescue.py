"""Rescue: a refund that the payer's account did not take goes to a bank account instead, where the channel can do that.

    1. transaction   it is reserved on its charge again, and on its way again          (pending)
    2. network       ask the channel; the bank account is told to it, and kept nowhere
    3. transaction   record, as ever

Who dies in phase 2 has asked, or has not: the sweep learns which, and the refund fails again, or goes on.
"""

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from guilder.channels.info import Operation
from guilder.channels.model import RescueRefund
from guilder.core import clock, ids
from guilder.core.errors import NotFound, WrongState
from guilder.payments import asking, events, life, pledges, store
from guilder.payments.life import Scene
from guilder.payments.model import Attempt, Changes, Refund
from guilder.payments.present import Face
from guilder.payments.states import RefundState
from guilder.platform import context, trail
from guilder.platform.db import Tx
from guilder.platform.environment import Env
from guilder.platform.failpoints import reach
from guilder.platform.sql import load
from guilder.platform.wire import About

Q = load(__package__)
LEASE_S = 20


async def rescue(env: Env, book_id: UUID, id: UUID | None, to: Mapping[str, str]) -> Refund:
    """Send a failed refund to a bank account; what became of it.  Raises NotFound, WrongState."""
    row = await env.db.row(Q.find_refund, book_id, id)
    account = None if row is None else await asking.the_account(env, store.refund_of(row))
    if row is None or account is None:
        raise NotFound("No such refund.", param="refund")
    if not account.info.can(Operation.RESCUE_REFUND):
        raise WrongState(
            f"{account.info.title} sends no refund elsewhere: give it back by hand.", code="refund_not_rescuable"
        )
    refund, paid = await env.db.transact(lambda tx: _again(tx, Face(env), book_id, row["id"]))
    reach("rescue.before_channel", refund.id)
    ask = RescueRefund(
        ids.mint_key(refund.id, book_id), refund.channel_ref or "", ids.mint_key(paid.id, book_id), to, refund.memo
    )
    about = About(book_id, account.id, account.info.code, "rescue_refund", refund.id)
    outcome = await env.wire.carry_out(account.channel.ask(ask), about)
    reach("rescue.after_channel", refund.id)
    await asking.record_refund(env, refund, account, outcome, "reply", context.current())
    after = await env.db.row(Q.find_refund, book_id, refund.id)
    return refund if after is None else store.refund_of(after)


async def _again(tx: Tx, face: Face, book_id: UUID, id: UUID) -> tuple[Refund, Attempt]:
    intents = await store.lock_of_refunds(tx, [(book_id, id)])
    refund = (await store.refunds(tx, intents))[book_id, id]
    intent = intents[book_id, refund.intent_id]
    charge = (await store.charges(tx, intents)).get(intent.key)
    if refund.state is not RefundState.FAILED or refund.charge_id is None or charge is None or not refund.channel_ref:
        raise WrongState(
            "Only a refund that has failed at the channel, and is known there, can be sent elsewhere.",
            code="refund_not_rescuable",
        )
    if charge.amount - charge.refunded < refund.amount:
        raise WrongState("The charge was refunded otherwise meanwhile.", code="charge_already_refunded")
    pledges.must_not_be_a_trades(intent)
    changes, at = Changes(by=context.current()), clock.now()
    scene = Scene(changes, face, at, "api")
    charge.refunded += refund.amount
    changes.charges[charge.key] = charge
    refund.ask_at = at + timedelta(seconds=LEASE_S)
    life.move_refund(scene, refund, RefundState.PENDING)
    events.of_refund(changes, face, "refund.updated", refund, intent, at)
    events.of_charge(changes, face, "charge.updated", charge, intent, at)
    await store.save(tx, changes)
    trail.note(tx, "rescue.begun", ids.show("re", refund.id), book_id=book_id, after={"amount": refund.amount})
    return refund, (await store.attempts(tx, intents))[book_id, refund.attempt_id]
