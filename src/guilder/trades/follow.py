"""Follow: what becomes of a trade when its payments and refunds end.  Heard twice, it counts once; heard in another order, it ends the same."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from guilder.core import clock
from guilder.payments import pledges
from guilder.payments import refund as refunding
from guilder.payments.present import Face
from guilder.platform import context
from guilder.platform.db import Tx
from guilder.platform.outbox import Heard, Subscription
from guilder.trades import life, store
from guilder.trades.life import Scene
from guilder.trades.model import NO_ITEM, Changes, Key, Part, Whole

PAID, ENDED = "payment_intent.succeeded", "payment_intent.canceled"
BACK, NOT_BACK = "refund.updated", "refund.failed"
_NONE: Any = None  # an environment: nothing that is rendered here needs one


class _Payment(msgspec.Struct):
    """What we read of the payment that an event shows."""

    amount_received: int = 0


_payment = msgspec.json.Decoder(_Payment).decode


@dataclass(frozen=True, slots=True)
class _Face(Face):
    """A face for what shows nothing but the mode."""

    live: bool = False

    @property
    def livemode(self) -> bool:
        return self.live


async def handle_many(tx: Tx, heard: list[Heard]) -> None:
    """Take note of payments and refunds of trades, in one lock, one journal batch and one save."""
    of_payments = await store.trades_of_intents(tx, _objects(heard, PAID, ENDED))
    of_refunds = await store.trades_of_refunds(tx, _objects(heard, BACK, NOT_BACK))
    trades = await store.lock(tx, [*of_payments.values(), *of_refunds.values()])
    changes, at = Changes(), clock.now()
    excess: list[tuple[Whole, Part]] = []
    scene = Scene(changes, at, context.current().env == "live")
    for e in heard:
        key = e.book_id, e.object_id
        whole = trades.get(of_payments.get(key) or of_refunds.get(key) or key)
        if whole is None:
            continue  # of no trade: a surplus that went back
        part = whole.part(e.object_id)
        if part is not None:
            if e.type == PAID:
                if life.paid(scene, whole, part, _payment(e.data).amount_received):
                    excess.append((whole, part))
            else:
                life.ended(scene, whole, part)
        elif e.type == BACK:
            life.refunded(scene, whole, e.object_id)
        else:
            life.refund_failed(scene, whole, e.object_id)
    await _give_excess_back(tx, scene, excess)
    await store.save(tx, changes)


def _objects(heard: Iterable[Heard], *types: str) -> list[Key]:
    return [(e.book_id, e.object_id) for e in heard if e.type in types]


async def _give_excess_back(tx: Tx, scene: Scene, excess: Sequence[tuple[Whole, Part]]) -> None:
    """(T2) What no item wanted any more goes back to who has paid it."""
    if not excess:
        return
    now, face = context.current(), _Face(_NONE, scene.livemode)
    wishes = []
    for whole, p in excess:
        by = context.carry_on(whole.trade.root_id, book_id=p.book_id, actor=now.actor, env=now.env)
        wishes.append(refunding.Wish(p.book_id, p.intent_id, p.excess, "duplicate", {}, by, face, named=True))
    made: dict[UUID, UUID] = {r.intent_id: r.id for r in await refunding.reserve_many(tx, wishes)}
    await tx.flush()
    for whole, part in excess:
        life.give_back(scene, whole, made[part.intent_id], [(NO_ITEM, part.excess)])


SUBSCRIPTIONS = [Subscription("trades", (PAID, ENDED, BACK, NOT_BACK), handle_many, origin=pledges.ORIGIN)]
