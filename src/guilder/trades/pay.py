"""Pay: make a payment for a trade, or for a part of it.  One phase; the payment is confirmed like any other."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from guilder.core import clock, ids
from guilder.core.errors import GuilderError, Invalid, NotFound, WrongState
from guilder.payments import create as payments
from guilder.payments import life as payments_life
from guilder.payments import model as payments_model
from guilder.payments import pledges
from guilder.payments import present as payments_present
from guilder.payments import store as payments_store
from guilder.payments.model import Intent
from guilder.payments.present import Face, PaymentIntent
from guilder.payments.states import IntentStatus
from guilder.platform.context import Context
from guilder.platform.db import Tx
from guilder.platform.environment import LaneSpec
from guilder.platform.idempotency import Asked, Reply
from guilder.platform.once import one_phase
from guilder.trades import store
from guilder.trades.model import Changes, Part, Trade, Whole
from guilder.trades.states import TradeStatus


@dataclass(frozen=True, slots=True)
class Wish:
    """A wish for a payment of `units`; None: the deposit first, and then all that is left."""

    book_id: UUID
    trade_id: UUID
    intent_id: UUID
    units: int | None
    types: tuple[str, ...]
    description: str | None
    metadata: dict[str, str]
    late_success: str
    by: Context
    face: Face


async def pay_many(tx: Tx, wishes: list[Wish]) -> Sequence[Intent | GuilderError]:
    """(T2) Make each payment, each wish seeing what those before it have asked for."""
    trades = await store.lock(tx, [(w.book_id, w.trade_id) for w in wishes])
    changes, paying, at = Changes(), payments_model.Changes(), clock.now()
    results: list[Intent | GuilderError] = []
    for w in wishes:
        whole = trades.get((w.book_id, w.trade_id))
        if whole is None:
            results.append(NotFound(f"No such trade: '{ids.show('trd', w.trade_id)}'", param="trade"))
            continue
        units = _next(whole.trade) if w.units is None else w.units
        refused = _refusal(whole, units)
        if refused is not None:
            results.append(refused)
            continue
        paying.by = w.by
        intent = payments.add(payments_life.Scene(paying, w.face, at, "api"), _intent(w, whole.trade, units, at))
        _part(changes, whole, intent, at)
        results.append(intent)
    await payments_store.save(tx, paying)
    await tx.flush()
    await store.save(tx, changes)
    return results


def _next(trade: Trade) -> int:
    """What is asked for next."""
    first = trade.deposit is not None and not trade.paid and not trade.reserved
    return trade.deposit if first and trade.deposit is not None else trade.rest


def _refusal(whole: Whole, units: int) -> GuilderError | None:
    trade = whole.trade
    shown = ids.show("trd", trade.id)
    if trade.status not in (TradeStatus.OPEN, TradeStatus.PARTLY_PAID):
        return WrongState(f"{shown} is {trade.status.value}: nothing is to be paid for it.")
    if trade.rest == 0 or units > trade.rest:
        opened = [ids.show("pi", p.intent_id) for p in whole.parts if p.state == "open"]
        asked = f" Open payments ask for {trade.reserved} of it: {', '.join(opened)}." if opened else ""
        return Invalid(
            f"{trade.rest} of {trade.amount} are left to be asked for, and not {units or 'more'}.{asked}",
            code="amount_too_large",
            param="amount",
        )
    if trade.type == "pre_authorisation" and units != trade.amount:
        return Invalid("A pre-authorisation is for the whole trade: less may be captured later.", param="amount")
    return None


def _intent(w: Wish, trade: Trade, units: int, at: datetime) -> Intent:
    extra: dict[str, Any] = {"capture_method": "manual"} if trade.type == "pre_authorisation" else {}
    return Intent(
        trade.book_id, w.intent_id, 0, IntentStatus.REQUIRES_PAYMENT_METHOD, units, trade.currency, trade.customer_id, None, None,
        list(w.types), None, None, w.description or trade.description, w.metadata, extra, None, None, None, None, None, None,
        w.late_success, trade.root_id, trade.business_line, at, origin=pledges.ORIGIN,
    )  # fmt: skip


def _part(changes: Changes, whole: Whole, intent: Intent, at: datetime) -> None:
    trade = whole.trade
    purpose = "whole" if intent.amount == trade.amount else "balance" if whole.parts or trade.paid else "deposit"
    part = Part(trade.book_id, intent.id, trade.id, purpose, intent.amount, "open", 0, 0, at)
    trade.reserved += intent.amount
    whole.parts.append(part)
    changes.new_parts[part.key] = part
    changes.touch(trade)


def _render(wish: Wish, intent: Intent) -> PaymentIntent:
    return payments_present.intent(wish.face, intent)


PAY: LaneSpec[Asked[Wish], Reply] = one_phase("trades.pay", pay_many, _render)
