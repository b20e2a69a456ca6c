"""The catalogue of payment events, and how they are said.

Every event carries the object as it is then.  An object's version counts the events that were said of it, without gaps.
"""

from datetime import datetime

from guilder.payments import present
from guilder.payments.model import Changes, Charge, Intent, Refund
from guilder.payments.present import ChargeObject, Face, PaymentIntent, RefundObject
from guilder.platform.outbox import Event
from guilder.platform.persons import take_out

CATALOGUE: dict[str, str] = {
    "payment_intent.created": "A payment was made.",
    "payment_intent.requires_action": "The payer is to scan or to be sent on.",
    "payment_intent.amount_capturable_updated": "The payer's money is held; capture it, or cancel.",
    "payment_intent.processing": "The channel has not said what became of it; Guilder keeps asking.",
    "payment_intent.succeeded": "The payer has paid, and the money is in the book.",
    "payment_intent.payment_failed": "A try failed; another way may be chosen.",
    "payment_intent.canceled": "It can be paid no more.",
    "charge.succeeded": "Money was collected.",
    "charge.refunded": "Money of a charge went back, all of it or a part.",
    "charge.updated": "A refund that was on its way failed: its amount counts as collected again.",
    "refund.created": "A refund was asked for.",
    "refund.updated": "A refund was decided.",
    "refund.failed": "A refund failed.",
    "payment_method.attached": "A way to pay is kept under a customer from now on.",
    "payment_method.detached": "A way to pay is no customer's any more.",
}


def of_intent(changes: Changes, face: Face, type: str, intent: Intent, at: datetime) -> None:
    """Say something of a payment."""
    intent.version += 1
    changes.events.append(_event(changes, intent, type, intent.version, present.intent(face, intent), at, intent))


def of_charge(changes: Changes, face: Face, type: str, charge: Charge, intent: Intent, at: datetime) -> None:
    """Say something of a charge."""
    charge.version += 1
    changes.events.append(
        _event(changes, charge, type, charge.version, present.charge(face, charge, intent), at, intent)
    )


def of_refund(changes: Changes, face: Face, type: str, refund: Refund, intent: Intent, at: datetime) -> None:
    """Say something of a refund."""
    refund.version += 1
    changes.events.append(_event(changes, refund, type, refund.version, present.refund(face, refund), at, intent))


def _event(
    changes: Changes,
    about: Intent | Charge | Refund,
    type: str,
    version: int,
    shape: PaymentIntent | ChargeObject | RefundObject,
    at: datetime,
    chain: Intent,
) -> Event:
    by = changes.by
    blanks = None if isinstance(shape, RefundObject) or not chain.personal else present.PERSONAL[shape.object]
    private = None if blanks is None else take_out(chain.person_id, shape, blanks)
    return Event(
        about.book_id, type, about.id, version, present.encode(shape).decode(), at, chain.root_id, chain.business_line,
        request_id=(by.request_id or None) if by else None,
        idempotency_key=(by.idempotency_key or None) if by else None,
        origin=chain.origin,
        private=private,
    )  # fmt: skip
