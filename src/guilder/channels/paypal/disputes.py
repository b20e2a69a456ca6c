"""Disputes: what a payer complains of, and how it is answered."""

from collections.abc import Mapping
from typing import Any

import msgspec

from guilder.channels.model import Dispute, DisputeState, Outcome, State
from guilder.channels.paypal.money import Money
from guilder.channels.paypal.states import DISPUTE_OUTCOME, DISPUTE_REASON, DISPUTE_STATE
from guilder.channels.reading import instant


class _Seller(msgspec.Struct, frozen=True):
    merchant_id: str | None = None


class _Disputed(msgspec.Struct, frozen=True):
    seller_transaction_id: str | None = None
    invoice_number: str | None = None
    custom: str | None = None
    seller: _Seller = _Seller()


class _Resolved(msgspec.Struct, frozen=True):
    outcome_code: str = ""


class Complaint(msgspec.Struct, frozen=True):
    """A dispute as calls and webhooks show it."""

    dispute_id: str
    status: str
    reason: str = "OTHER"
    disputed_transactions: list[_Disputed] = []
    dispute_amount: Money | None = None
    dispute_outcome: _Resolved = _Resolved()
    dispute_life_cycle_stage: str = ""
    seller_response_due_date: str | None = None

    @property
    def state(self) -> DisputeState | None:
        """None: a word that is not listed."""
        if self.status == "RESOLVED":
            return DISPUTE_OUTCOME.get(self.dispute_outcome.outcome_code)
        return DISPUTE_STATE.get(self.status)

    def outcome(self) -> Outcome:
        """ValueError if it is not of the documented form."""
        about = self.disputed_transactions[0] if self.disputed_transactions else _Disputed()
        state, amount = self.state, self.dispute_amount
        if amount is None:
            raise ValueError("a dispute without an amount")
        if state is None:
            return Outcome(State.UNKNOWN, key=about.invoice_number, channel_ref=about.seller_transaction_id)
        # PayPal holds the money from the moment that an inquiry has become a claim.
        taken = state is DisputeState.LOST or (
            state is not DisputeState.WON and self.dispute_life_cycle_stage not in ("", "INQUIRY")
        )
        dispute = Dispute(
            ref=self.dispute_id,
            state=state,
            amount=amount.amount(),
            reason=DISPUTE_REASON.get(self.reason, "general"),
            due_at=instant(self.seller_response_due_date),
            taken=taken,
        )
        return Outcome(
            State.SUCCEEDED,
            key=about.invoice_number,
            channel_ref=about.seller_transaction_id,
            account_ref=about.seller.merchant_id,
            dispute=dispute,
        )


def evidence(told: Mapping[str, str]) -> dict[str, Any]:
    """What provide-evidence takes: where the goods were sent, or that it was given back already, or whatever can be said in words."""
    carrier, tracking = told.get("shipping_carrier", ""), told.get("shipping_tracking_number", "")
    given_back = told.get("refund_id", "")
    kind, info = "OTHER", {}
    if tracking:
        kind, info = (
            "PROOF_OF_FULFILLMENT",
            {"tracking_info": [{"carrier_name": carrier or "OTHER", "tracking_number": tracking}]},
        )
    elif given_back:
        kind, info = "PROOF_OF_REFUND", {"refund_ids": [{"refund_id": given_back}]}
    used = {"shipping_carrier", "shipping_tracking_number", "refund_id"}
    notes = "\n".join(f"{name.replace('_', ' ')}: {text}" for name, text in told.items() if name not in used and text)
    part: dict[str, Any] = {"evidence_type": kind}
    if info:
        part["evidence_info"] = info
    if notes:
        part["notes"] = notes[:2000]
    return {"evidences": [part]}
