"""A dispute as Stripe's SDKs read it."""

from typing import Annotated, Any, Literal

import msgspec

from guilder.core import clock, ids
from guilder.disputes.model import Dispute
from guilder.platform.web import expands


class DisputeObject(msgspec.Struct, kw_only=True):
    """A payer's complaint about a charge."""

    id: str
    object: Literal["dispute"] = "dispute"
    amount: int
    balance_transactions: list[Any] = []
    charge: Annotated[str, expands("ch")]
    created: int
    currency: str
    enhanced_eligibility_types: list[str] = []
    evidence: dict[str, Any]
    evidence_details: dict[str, Any]
    is_charge_refundable: bool = False
    livemode: bool
    metadata: dict[str, str]
    network_reason_code: str | None = None
    payment_intent: Annotated[str, expands("pi")] | None
    payment_method_details: dict[str, Any] | None = None
    reason: str
    status: str


def dispute(d: Dispute, *, livemode: bool, evidence: dict[str, str] | None = None) -> DisputeObject:
    """A dispute as the API shows it.  What was answered is shown to whoever asks for it by name, and is in no event."""
    return DisputeObject(
        id=ids.show("dp", d.id),
        amount=d.amount,
        charge=ids.show("ch", d.charge_id),
        created=clock.unix(d.created_at),
        currency=d.currency.lower(),
        evidence={"enhanced_evidence": {}, **(evidence or {})},
        evidence_details={
            "due_by": clock.unix(d.due_at) if d.due_at else None,
            "enhanced_eligibility": {},
            "has_evidence": d.evidence is not None,
            "past_due": d.due_at is not None and d.due_at < clock.now() and d.submitted_at is None,
            "submission_count": 1 if d.submitted_at else 0,
            "submission_method": "manual" if d.submitted_at else "not_submitted",
        },
        livemode=livemode,
        metadata=d.metadata,
        payment_intent=ids.show("pi", d.intent_id),
        reason=d.reason,
        status=d.state.value,
    )
