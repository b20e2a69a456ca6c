"""Refund: give back items, or parts of them.  One transaction; the refunds of their payments are sent by the sweep.

The trade's lock makes one of two who want the same item wait for the other (T4); the latest payment gives back first.  Whatever takes the
approval of others in a refund takes it here, too: the command then names items and amounts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from guilder.core import clock, ids
from guilder.core.amount import Amount
from guilder.core.check import must
from guilder.core.errors import ApprovalRequired, Invalid, NotFound, WrongState
from guilder.payments import refund as refunding
from guilder.payments import store as payments_store
from guilder.payments.model import Charge
from guilder.payments.present import Face
from guilder.platform import approval
from guilder.platform.approval import Approval, Command, Need
from guilder.platform.context import Context
from guilder.platform.db import Tx
from guilder.trades import life, store
from guilder.trades.life import Scene
from guilder.trades.model import Changes, Item, Whole

KIND = "trade_refund"  # of what waits for approval


@dataclass(frozen=True, slots=True)
class Wanted:
    """An item that is to go back: so many units of money, so many of it, or None of both: all that is left."""

    item_id: UUID
    units: int | None = None
    quantity: int | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """A wish for a refund of items; None: everything that is left."""

    book_id: UUID
    trade_id: UUID
    items: tuple[Wanted, ...] | None
    reason: str | None
    metadata: dict[str, str]
    by: Context
    face: Face


async def refund(tx: Tx, wish: Wish, approved: Sequence[approval.Step] | None = None) -> Whole | ApprovalRequired:
    """Reserve what is to go back, and make its refunds.  `approved`: by whom, if others have agreed.

    Raises NotFound, Invalid, WrongState.
    """
    found = await store.lock(tx, [(wish.book_id, wish.trade_id)])
    whole = found.get((wish.book_id, wish.trade_id))
    if whole is None:
        raise NotFound(f"No such trade: '{ids.show('trd', wish.trade_id)}'", param="trade")
    wanted = _wanted(whole, wish.items)
    charges = await _charges(tx, whole)
    need = await _need(tx, whole, sum(units for _, units in wanted))
    if need is not None and (approved is None or not set(need.steps) <= set(approved)):
        if approved is not None:
            raise WrongState("More went back meanwhile, and so much takes the approval of others: ask again.")
        asked = _asked(whole, wanted, wish, need)
        approval.open_one(tx, asked, wish.by)
        return approval.required(asked, livemode=wish.face.livemode)
    changes, at = Changes(by=wish.by), clock.now()
    scene = Scene(changes, at, wish.face.livemode)
    taken = life.reserve(scene, whole, wanted, [(c.intent_id, c.amount - c.refunded) for c in charges])
    of_charge = [(c, sum(units)) for c, units in zip(charges, taken, strict=True)]
    wishes = [
        refunding.Wish(wish.book_id, c.intent_id, units, wish.reason, wish.metadata, wish.by, wish.face, named=True) for c, units in of_charge if units
    ]  # fmt: skip
    made = await refunding.reserve_many(tx, wishes)
    await tx.flush()
    by_payment = {r.intent_id: r for r in made}
    for c, units in zip(charges, taken, strict=True):
        if c.intent_id in by_payment:
            life.give_back(
                scene, whole, by_payment[c.intent_id].id, [(i.id, n) for (i, _), n in zip(wanted, units, strict=True)]
            )
    await store.save(tx, changes)
    return whole


async def _charges(tx: Tx, whole: Whole) -> list[Charge]:
    """What was collected for the trade, the latest first; its payments are locked."""
    intents = await payments_store.lock(tx, [p.key for p in whole.parts if p.state == "paid"])
    charges = await payments_store.charges(tx, intents)
    return sorted(charges.values(), key=lambda c: (c.created_at, c.id), reverse=True)


def _wanted(whole: Whole, items: Sequence[Wanted] | None) -> list[tuple[Item, int]]:
    """The items and how much of each.  Raises Invalid, NotFound, WrongState."""
    if items is None:
        found = [(i, i.paid - i.refunded) for i in whole.items if i.paid > i.refunded]
    else:
        if len({w.item_id for w in items}) < len(items):
            raise Invalid("Name each item once.", param="items")
        found = [_one(whole, n, w) for n, w in enumerate(items)]
    if not found:
        raise WrongState(
            f"Nothing of {ids.show('trd', whole.trade.id)} is left to go back.", code="charge_already_refunded"
        )
    return found


def _one(whole: Whole, n: int, w: Wanted) -> tuple[Item, int]:
    item, at = whole.item(w.item_id), f"items[{n}]"
    if item is None:
        raise NotFound(
            f"No such item of {ids.show('trd', whole.trade.id)}: '{ids.show('ti', w.item_id)}'", param=f"{at}[item]"
        )
    if w.units is not None and w.quantity is not None:
        raise Invalid("You may give one of amount and quantity.", code="parameters_exclusive", param=f"{at}[quantity]")
    left = item.paid - item.refunded
    units = left if w.units is None and w.quantity is None else w.units or (w.quantity or 0) * item.unit_amount
    if units > left or units == 0:
        raise Invalid(
            f"Of {ids.show('ti', item.id)} {left} are left to go back ({item.paid} were paid for it, {item.refunded} went or are on their way "
            f"back), and not {units}.",
            code="amount_too_large", param=f"{at}[{'quantity' if w.quantity is not None else 'amount'}]",
        )  # fmt: skip
    return item, units


async def _need(tx: Tx, whole: Whole, units: int) -> Need | None:
    """Who has to agree, by the rules of refunds and by those of trades' refunds; what went back of the trade before counts, so that a large
    refund is not made of small ones."""
    trade = whole.trade
    moved = {trade.currency: trade.refunded + units}
    needs = [
        (await approval.rules(tx, kind, [trade.book_id])).need(trade.book_id, moved) for kind in (refunding.KIND, KIND)
    ]
    found = [n for n in needs if n is not None]
    return Need(tuple(s for n in found for s in n.steps), min(n.expires_s for n in found)) if found else None


def _asked(whole: Whole, wanted: Sequence[tuple[Item, int]], wish: Wish, need: Need) -> Approval:
    """What is to be approved: as much as it is now, even if it was asked for as all that is left."""
    trade, units = whole.trade, sum(n for _, n in wanted)
    shown = ids.show("trd", trade.id)
    summary = f"Refund {Amount(units, trade.currency)} of {len(wanted)} items of {shown}; {trade.refunded} of {trade.paid} went back before."
    do = {
        "trade": shown, "items": [{"item": ids.show("ti", i.id), "amount": n} for i, n in wanted], "reason": wish.reason,
        "metadata": wish.metadata,
    }  # fmt: skip
    return approval.ask(trade.book_id, KIND, shown, summary, do, need, wish.by, asset=trade.currency, units=units)


async def give_back(tx: Tx, command: Command) -> dict[str, Any]:
    """Refund the items that all have agreed to.  What is left, and who has to agree, are looked at again."""
    do: Mapping[str, Any] = command.do
    id = ids.read("trd", do["trade"])
    must(id is not None, "a command names its trade")
    items = []
    for said in do["items"]:
        item_id = ids.read("ti", said["item"])
        must(item_id is not None, "a command names its items")
        items.append(Wanted(item_id, said["amount"]))  # pyrefly: ignore[bad-argument-type]
    wish = Wish(command.book_id, id, tuple(items), do["reason"], do["metadata"], command.by, Face(command.env))  # pyrefly: ignore
    whole = await refund(tx, wish, command.steps)
    must(isinstance(whole, Whole), "what is approved is done")
    return {"trade": do["trade"]}
