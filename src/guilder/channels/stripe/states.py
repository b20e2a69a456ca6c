"""What Stripe's words mean: statuses, errors, and the objects that carry them.

A declined PaymentIntent goes back to `requires_payment_method` and can be tried again, as long as somebody has its client secret.  By the
way `token` nobody tries again: FAILED.  By the way `elements` the payer has the form before him and may take another card: PENDING, with
the reason of the last try.
"""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from guilder.channels.model import Dispute as Complaint
from guilder.channels.model import DisputeState, Next, Outcome, Problem, Redirect, Retry, Sdk, State
from guilder.channels.reading import read_as, read_json
from guilder.core.amount import INT64, Amount
from guilder.core.clock import from_unix
from guilder.core.exchange import HttpReply

KEY, WAY, PAYMENT = "guilder_key", "guilder_way", "guilder_payment"  # our entries in their metadata

PAYMENT_STATE = {
    "requires_payment_method": State.PENDING,
    "requires_confirmation": State.PENDING,
    "requires_action": State.PENDING,
    "processing": State.PENDING,
    "requires_capture": State.AUTHORISED,
    "succeeded": State.SUCCEEDED,
    "canceled": State.CLOSED,
}
REFUND_STATE = {
    "pending": State.PENDING,
    "requires_action": State.PENDING,
    "succeeded": State.SUCCEEDED,
    "failed": State.FAILED,
    "canceled": State.CLOSED,
}
PAYOUT_STATE = {
    "pending": State.PENDING,
    "in_transit": State.PENDING,
    "paid": State.SUCCEEDED,  # and may still fail within five working days
    "failed": State.FAILED,
    "canceled": State.CLOSED,
}
DISPUTE_STATE = {
    "warning_needs_response": DisputeState.NEEDS_RESPONSE,
    "warning_under_review": DisputeState.UNDER_REVIEW,
    "warning_closed": DisputeState.WON,
    "needs_response": DisputeState.NEEDS_RESPONSE,
    "under_review": DisputeState.UNDER_REVIEW,
    "prevented": DisputeState.WON,
    "won": DisputeState.WON,
    "lost": DisputeState.LOST,
}
# Error types that say for certain that nothing was done.  Every other (`api_error`, and what comes next year) is doubtful.
REFUSES = frozenset({"card_error", "invalid_request_error"})
# Codes of card errors that come without a decline code, in our words.
DECLINED = {
    "payment_intent_authentication_failure": "authentication_required",
    "authentication_required": "authentication_required",
    "expired_card": "expired_card",
    "incorrect_cvc": "incorrect_cvc",
    "incorrect_number": "incorrect_number",
    "processing_error": "processing_error",
    "balance_insufficient": "insufficient_funds",
    "insufficient_funds": "insufficient_funds",
}
HUNDREDS = frozenset({"ISK", "UGX"})  # have no cents, and are written to Stripe as if they had

Units = Annotated[int, msgspec.Meta(ge=0, le=INT64)]
Signed = Annotated[int, msgspec.Meta(ge=-INT64, le=INT64)]
Seconds = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799)]
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Currency = Annotated[str, msgspec.Meta(pattern="^[a-z]{3}$")]


def to_wire(amount: Amount) -> int:
    """Stripe's "smallest unit" is ours, except of two currencies."""
    return amount.units * 100 if amount.asset in HUNDREDS else amount.units


def from_wire(units: int, currency: str) -> Amount:
    """ValueError if Stripe says a part of what has no parts."""
    asset = currency.upper()
    if not -INT64 <= units <= INT64:
        raise ValueError(f"{units} is no amount")
    if asset not in HUNDREDS:
        return Amount(units, asset)
    if units % 100:
        raise ValueError(f"{units} is no amount of {asset}: it has no cents")
    return Amount(units // 100, asset)


class Named(msgspec.Struct, frozen=True):
    """An object of which we want no more than its id."""

    id: Id


def id_of(thing: Named | str | None) -> str | None:
    """References come as ids, or expanded."""
    return thing.id if isinstance(thing, Named) else thing


class BalanceTransaction(msgspec.Struct, frozen=True):
    """What a charge or dispute did to our balance."""

    created: Seconds
    currency: Currency
    net: Signed
    fee: Signed


class Charge(msgspec.Struct, frozen=True):
    """The money of a payment; its balance transaction is there once it has moved."""

    id: Id
    created: Seconds
    balance_transaction: BalanceTransaction | str | None = None


class Failure(msgspec.Struct, frozen=True):
    """`error` of a refusal, `last_payment_error` of an intent."""

    type: str = ""
    code: str | None = None
    decline_code: str | None = None
    message: str | None = None
    param: str | None = None
    payment_intent: Any = None

    def problem(self, retry: Retry) -> Problem:
        code = self.code or self.type
        own = DECLINED.get(code, "generic_decline" if self.type == "card_error" else "processing_error")
        return Problem(code, self.message or "", self.decline_code or own, retry)


class Refusal(msgspec.Struct, frozen=True):
    """An error reply: {"error": {...}}."""

    error: Failure

    @classmethod
    def read(cls, reply: HttpReply) -> Failure:
        """From any reply that is no success; one that cannot be read has its status for a type, which settles nothing."""
        try:
            return read_as(cls, read_json(reply.body)).error
        except ValueError:
            return Failure(f"HTTP_{reply.status}")


class ToUrl(msgspec.Struct, frozen=True):
    url: str


class NextAction(msgspec.Struct, frozen=True):
    type: str
    redirect_to_url: ToUrl | None = None


class PaymentIntent(msgspec.Struct, frozen=True):
    """A payment, in replies, errors and events alike."""

    object: Literal["payment_intent"]
    id: Id
    status: str
    amount: Units
    currency: Currency
    amount_received: Units | None = None
    metadata: dict[str, str] = {}
    client_secret: str | None = None
    next_action: NextAction | None = None
    last_payment_error: Failure | None = None
    latest_charge: Charge | str | None = None
    payment_method: Named | str | None = None

    def outcome(self, publishable_key: str, at: datetime | None = None) -> Outcome:
        """`at` is when an event said so; else the charge tells when its money moved."""
        state = PAYMENT_STATE.get(self.status, State.UNKNOWN)
        problem = None
        if self.status == "requires_payment_method" and self.last_payment_error is not None:
            problem = self.last_payment_error.problem(Retry.NEW_KEY)
            state = State.PENDING if self.metadata.get(WAY) == "elements" else State.FAILED
        moved = state is State.SUCCEEDED
        units = self.amount_received if moved else self.amount
        balance = self._balance()
        said = Outcome(
            state,
            key=self.metadata.get(KEY),
            channel_ref=self.id,
            amount=None if units is None else from_wire(units, self.currency),
            at=(at or self._moved_at()) if moved or state is State.AUTHORISED else None,
            next=self._next(publishable_key) if state is State.PENDING else None,
            problem=problem,
            payer=id_of(self.payment_method),
            memo=self.id,
        )
        if balance is not None and balance.currency == self.currency:
            return replace(said, fee=from_wire(balance.fee, balance.currency))
        return said

    def _balance(self) -> BalanceTransaction | None:
        charge = self.latest_charge
        balance = charge.balance_transaction if isinstance(charge, Charge) else None
        return balance if isinstance(balance, BalanceTransaction) else None

    def _moved_at(self) -> datetime | None:
        moved = self._balance() or self.latest_charge
        return None if moved is None or isinstance(moved, str) else from_unix(moved.created)

    def _next(self, publishable_key: str) -> Next | None:
        """A bank's page, or the hosted fields: to be filled in, or to go on by themselves."""
        action = self.next_action
        if action is not None and action.type == "redirect_to_url" and action.redirect_to_url is not None:
            if urlsplit(action.redirect_to_url.url).scheme not in ("http", "https"):
                raise ValueError("the page to go to is none")
            return Redirect(action.redirect_to_url.url)
        waits = action is not None or self.status in ("requires_payment_method", "requires_confirmation")
        if not waits or not self.client_secret:
            return None
        known = {"client_secret": self.client_secret, "publishable_key": publishable_key, "payment_intent": self.id}
        return Sdk("card_elements", known)


class Refund(msgspec.Struct, frozen=True):
    """A refund.  One that succeeded may fail later: the payer's bank gives it back."""

    object: Literal["refund"]
    id: Id
    amount: Units
    currency: Currency
    status: str | None
    created: Seconds
    metadata: dict[str, str] | None = None
    payment_intent: Named | str | None = None
    failure_reason: str | None = None

    @property
    def key(self) -> str | None:
        return (self.metadata or {}).get(KEY)

    @property
    def payment_key(self) -> str | None:
        return (self.metadata or {}).get(PAYMENT)

    def outcome(self) -> Outcome:
        state = REFUND_STATE.get(self.status or "", State.UNKNOWN)
        why = self.failure_reason or "failed"
        failed = Problem(why, f"The refund failed ({why}); its money is back at Stripe.", "do_not_honor", Retry.NEVER)
        return Outcome(
            state,
            key=self.key,
            channel_ref=self.id,
            amount=from_wire(self.amount, self.currency),
            at=from_unix(self.created) if state is State.SUCCEEDED else None,
            problem=failed if state is State.FAILED else None,
            memo=self.id,
        )


class Payout(msgspec.Struct, frozen=True):
    """Money on its way to our own bank account."""

    object: Literal["payout"]
    id: Id
    amount: Units
    currency: Currency
    status: str
    arrival_date: Seconds
    metadata: dict[str, str] | None = None
    failure_code: str | None = None
    failure_message: str | None = None

    def outcome(self) -> Outcome:
        state = PAYOUT_STATE.get(self.status, State.UNKNOWN)
        why = Problem(self.failure_code or "failed", self.failure_message or "", "do_not_honor", Retry.NEW_KEY)
        return Outcome(
            state,
            key=(self.metadata or {}).get(KEY),
            channel_ref=self.id,
            amount=from_wire(self.amount, self.currency),
            at=from_unix(self.arrival_date) if state is State.SUCCEEDED else None,
            problem=why if state is State.FAILED else None,
            memo=self.id,
        )


class _Evidence(msgspec.Struct, frozen=True):
    due_by: Seconds | None = None


class Dispute(msgspec.Struct, frozen=True):
    """A payer's complaint.  Its balance transactions tell what Stripe has taken from us, and given back."""

    object: Literal["dispute"]
    id: Id
    amount: Units
    currency: Currency
    status: str
    reason: str
    payment_intent: Named | str | None = None
    evidence_details: _Evidence = _Evidence()
    balance_transactions: list[BalanceTransaction] = []

    def outcome(self) -> Outcome:
        """SUCCEEDED: that is what it is.  ValueError for a status that we do not know."""
        if self.status not in DISPUTE_STATE:
            raise ValueError(f"a dispute that is {self.status!r}")
        due, moved = self.evidence_details.due_by, self.balance_transactions
        complaint = Complaint(
            ref=self.id,
            state=DISPUTE_STATE[self.status],
            amount=from_wire(self.amount, self.currency),
            reason=self.reason,
            due_at=None if due is None else from_unix(due),
            fee=from_wire(sum(b.fee for b in moved), moved[0].currency) if moved else None,
            taken=sum(b.net for b in moved) < 0,
        )
        payment = id_of(self.payment_intent)
        return Outcome(State.SUCCEEDED, channel_ref=payment, memo=payment, dispute=complaint)
