"""Webhooks: which event tells what.  An order that was approved is PENDING: the money moves when we ask for it, and a query does."""

from dataclasses import replace
from typing import Any

import msgspec

from guilder.channels.model import Notice, State, Subject, Unreadable
from guilder.channels.paypal.disputes import Complaint
from guilder.channels.paypal.objects import Authorization, Capture, Order, Refund
from guilder.channels.paypal.payouts import Batch, Item
from guilder.channels.reading import read_as, read_json

REFUNDS = frozenset({"PAYMENT.CAPTURE.REFUNDED", "PAYMENT.REFUND.PENDING", "PAYMENT.REFUND.FAILED"})
# Taken back by PayPal or the payer's bank.  It comes with a dispute, or stands in the statement; a webhook of it has no state of ours.
REVERSED = "PAYMENT.CAPTURE.REVERSED"


class _Event(msgspec.Struct, frozen=True):
    id: str
    event_type: str
    resource: dict[str, Any]


def read_notice(body: bytes) -> Notice:
    """A verified webhook.  Raises Unreadable."""
    try:
        event = read_as(_Event, read_json(body))
        notice = _read(event.id, event.event_type, event.resource)
    except ValueError as error:
        raise Unreadable(str(error)) from error
    if notice is None:
        raise Unreadable(f"a webhook of another kind: {event.event_type[:80]}")
    return notice


def _read(id: str, kind: str, resource: dict[str, Any]) -> Notice | None:
    if kind in REFUNDS:
        refund = read_as(Refund, resource)
        # A refund made by hand on PayPal's site repeats the payment's invoice: then it is none of ours by name.
        own = refund.invoice_id if refund.invoice_id != refund.custom_id else None
        return Notice(id, Subject.REFUND, replace(refund.outcome(), key=own), refund.custom_id)
    if kind.startswith("CHECKOUT.ORDER."):
        return Notice(id, Subject.PAYMENT, read_as(Order, resource).outcome())
    if kind.startswith("PAYMENT.CAPTURE.") and kind != REVERSED:
        return Notice(id, Subject.PAYMENT, read_as(Capture, resource).outcome())
    if kind.startswith("PAYMENT.AUTHORIZATION."):
        return Notice(id, Subject.PAYMENT, read_as(Authorization, resource).outcome())
    if kind.startswith("PAYMENT.PAYOUTS-ITEM."):
        return Notice(id, Subject.PAYOUT, read_as(Item, resource).outcome())
    if kind.startswith("PAYMENT.PAYOUTSBATCH."):
        return Notice(id, Subject.PAYOUT, read_as(Batch, resource).outcome())
    if kind.startswith("CUSTOMER.DISPUTE."):
        outcome = read_as(Complaint, resource).outcome()
        if outcome.state is State.UNKNOWN:
            raise ValueError("a dispute of a status that is not listed")
        return Notice(id, Subject.DISPUTE, outcome)
    return None
