"""What PayPal's words mean: statuses, and the issues of its error replies.

An error reply is {"name", "message", "debug_id", "details": [{"issue", "description"}]}; the issue is what counts, the name where there is
none.  What is not listed here is unknown (C1), and so is every 409, 429 and 5xx.
"""

import re
from dataclasses import dataclass
from typing import Any

from guilder.channels.model import DisputeState, Problem, Retry, State
from guilder.channels.reading import read_json
from guilder.core.exchange import HttpReply

# Of an order nothing has moved yet: capturing is ours to ask, and COMPLETED says only that it was asked.
ORDER_OPEN = frozenset({"CREATED", "SAVED", "APPROVED", "PAYER_ACTION_REQUIRED"})
CAPTURE_STATE = {
    "COMPLETED": State.SUCCEEDED,
    "PARTIALLY_REFUNDED": State.SUCCEEDED,
    "REFUNDED": State.SUCCEEDED,
    "PENDING": State.PENDING,  # an eCheck, a review: money may come days later
    "DECLINED": State.FAILED,
    "FAILED": State.FAILED,
}
AUTHORIZATION_STATE = {
    "CREATED": State.AUTHORISED,
    "PENDING": State.PENDING,
    "DENIED": State.FAILED,
    "EXPIRED": State.CLOSED,
    "VOIDED": State.CLOSED,
    "CAPTURED": State.PENDING,  # its capture says more
    "PARTIALLY_CAPTURED": State.PENDING,
}
STILL_HELD = frozenset({"CREATED", "PENDING"})
REFUND_STATE = {
    "COMPLETED": State.SUCCEEDED,
    "PENDING": State.PENDING,
    "FAILED": State.FAILED,
    "CANCELLED": State.CLOSED,
}
PAYOUT_STATE = {
    "SUCCESS": State.SUCCEEDED,
    "NEW": State.PENDING,
    "PENDING": State.PENDING,
    "ONHOLD": State.PENDING,
    "UNCLAIMED": State.PENDING,  # the payee has thirty days to open an account
    "FAILED": State.FAILED,
    "DENIED": State.FAILED,
    "BLOCKED": State.FAILED,
    "RETURNED": State.FAILED,
    "REFUNDED": State.FAILED,
    "REVERSED": State.FAILED,
    "CANCELED": State.CLOSED,
}
BATCH_OVER = {"DENIED": State.FAILED, "CANCELED": State.CLOSED}  # no item of it will be paid

DISPUTE_STATE = {
    "OPEN": DisputeState.NEEDS_RESPONSE,
    "WAITING_FOR_SELLER_RESPONSE": DisputeState.NEEDS_RESPONSE,
    "WAITING_FOR_BUYER_RESPONSE": DisputeState.UNDER_REVIEW,
    "UNDER_REVIEW": DisputeState.UNDER_REVIEW,
    "OTHER": DisputeState.UNDER_REVIEW,
}
DISPUTE_OUTCOME = {
    "RESOLVED_SELLER_FAVOUR": DisputeState.WON,
    "CANCELED_BY_BUYER": DisputeState.WON,
    "DENIED": DisputeState.WON,
    "RESOLVED_BUYER_FAVOUR": DisputeState.LOST,
    "ACCEPTED": DisputeState.LOST,
    "RESOLVED_WITH_PAYOUT": DisputeState.WON,  # PayPal paid the buyer out of its own pocket
}
DISPUTE_REASON = {
    "MERCHANDISE_OR_SERVICE_NOT_RECEIVED": "product_not_received",
    "MERCHANDISE_OR_SERVICE_NOT_AS_DESCRIBED": "product_unacceptable",
    "UNAUTHORISED": "fraudulent",
    "CREDIT_NOT_PROCESSED": "credit_not_processed",
    "DUPLICATE_TRANSACTION": "duplicate",
    "CANCELED_RECURRING_BILLING": "subscription_canceled",
}

# --- issues

NOT_THERE = frozenset({"RESOURCE_NOT_FOUND", "INVALID_RESOURCE_ID"})
# The payer has not agreed yet, or has to once more: nothing happened.
NOT_YET = frozenset({"ORDER_NOT_APPROVED", "PAYER_ACTION_REQUIRED"})
# Somebody was faster, or is at it this moment: what is there decides.
ABOUT_THE_ORDER = frozenset({
    "ORDER_ALREADY_CAPTURED", "ORDER_ALREADY_AUTHORIZED", "ORDER_ALREADY_COMPLETED", "ORDER_COMPLETION_IN_PROGRESS",
    "AUTHORIZATION_ALREADY_CAPTURED", "AUTHORIZATION_ALREADY_COMPLETED", "PREVIOUSLY_CAPTURED", "PREVIOUSLY_VOIDED",
})  # fmt: skip
# These may speak of the refund's own key: what lives under it decides.
ABOUT_THE_REFUND = frozenset({
    "DUPLICATE_INVOICE_ID", "CAPTURE_FULLY_REFUNDED", "REFUND_AMOUNT_EXCEEDED", "MAX_NUMBER_OF_REFUNDS_EXCEEDED",
})  # fmt: skip

_WRONG = ("processing_error", Retry.NEVER)
_BARRED = ("service_not_allowed", Retry.NEVER)
_PAYER = ("generic_decline", Retry.NEW_KEY)
_RULE = ("transaction_not_allowed", Retry.NEW_KEY)
REFUSED: dict[str, tuple[str, Retry]] = {
    # the request itself
    **dict.fromkeys((
        "INVALID_REQUEST", "MALFORMED_REQUEST_JSON", "MISSING_REQUIRED_PARAMETER", "INVALID_PARAMETER_VALUE", "INVALID_PARAMETER_SYNTAX",
        "INVALID_STRING_LENGTH", "INVALID_STRING_MIN_LENGTH", "INVALID_STRING_MAX_LENGTH", "INVALID_ARRAY_LENGTH", "VALIDATION_ERROR",
        "AMOUNT_MISMATCH", "CANNOT_BE_NEGATIVE", "CANNOT_BE_ZERO_OR_NEGATIVE", "DECIMAL_PRECISION", "DECIMALS_NOT_SUPPORTED",
        "CURRENCY_NOT_SUPPORTED", "INVALID_CURRENCY_CODE", "UNSUPPORTED_INTENT", "PAYMENT_SOURCE_NOT_SUPPORTED", "RESOURCE_NOT_FOUND",
        "INVALID_RESOURCE_ID", "CURRENCY_MISMATCH", "REFUND_CAPTURE_CURRENCY_MISMATCH", "AUTH_CAPTURE_CURRENCY_MISMATCH",
        "MAX_CAPTURE_AMOUNT_EXCEEDED", "MAX_CAPTURE_COUNT_EXCEEDED", "SHIPPING_ADDRESS_INVALID", "INVALID_PICKUP_ADDRESS",
    ), _WRONG),
    # what the account may not do
    **dict.fromkeys((
        "NOT_AUTHORIZED", "PERMISSION_DENIED", "AUTHORIZATION_ERROR", "CONSENT_NEEDED", "AUTH_CAPTURE_NOT_ENABLED",
        "NOT_ENABLED_FOR_BANK_PROCESSING", "NOT_ENABLED_FOR_CARD_PROCESSING", "PAYEE_NOT_ENABLED_FOR_BANK_PROCESSING",
        "PAYEE_NOT_ENABLED_FOR_CARD_PROCESSING", "PAYEE_ACCOUNT_INVALID", "PAYEE_ACCOUNT_LOCKED_OR_CLOSED", "PAYEE_ACCOUNT_RESTRICTED",
        "NOT_ELIGIBLE_FOR_TOKEN_PROCESSING", "PERMISSION_DENIED_FOR_DONATION_ITEMS",
    ), _BARRED),
    # the payer, the payer's bank
    **dict.fromkeys((
        "INSTRUMENT_DECLINED", "PAYER_CANNOT_PAY", "PAYER_ACCOUNT_LOCKED_OR_CLOSED", "PAYER_ACCOUNT_RESTRICTED", "TRANSACTION_REFUSED",
        "DECLINED_DUE_TO_RELATED_TXN", "REDIRECT_PAYER_FOR_ALTERNATE_FUNDING", "MAX_NUMBER_OF_PAYMENT_ATTEMPTS_EXCEEDED",
        "AGREEMENT_ALREADY_CANCELLED", "BILLING_AGREEMENT_NOT_FOUND", "REFERENCED_CARD_EXPIRED", "CARD_EXPIRED", "CARD_BRAND_NOT_SUPPORTED",
        "MISSING_CRYPTOGRAM", "MISSING_PREVIOUS_REFERENCE", "PAYPAL_TRANSACTION_ID_EXPIRED", "PNREF_EXPIRED", "TOKEN_ID_NOT_FOUND",
        "AUTHORIZATION_DENIED", "AUTHORIZATION_EXPIRED", "AUTHORIZATION_VOIDED", "PAYMENT_DENIED",
    ), _PAYER),
    # rules and limits
    **dict.fromkeys((
        "COMPLIANCE_VIOLATION", "DOMESTIC_TRANSACTION_REQUIRED", "TRANSACTION_LIMIT_EXCEEDED", "TRANSACTION_RECEIVING_LIMIT_EXCEEDED",
        "PAYEE_BLOCKED_TRANSACTION", "TRANSACTION_BLOCKED_BY_PAYEE", "PAYEE_FX_RATE_ID_EXPIRED",
    ), _RULE),
    # refunds and payouts
    **dict.fromkeys((
        "CAPTURE_FULLY_REFUNDED", "REFUND_AMOUNT_EXCEEDED", "MAX_NUMBER_OF_REFUNDS_EXCEEDED", "PARTIAL_REFUND_NOT_ALLOWED",
        "REFUND_AMOUNT_TOO_LOW", "REFUND_NOT_ALLOWED", "REFUND_TIME_LIMIT_EXCEEDED", "TRANSACTION_DISPUTED",
    ), ("transaction_not_allowed", Retry.NEVER)),
    "PENDING_CAPTURE": ("processing_error", Retry.SAME_KEY),
    "REFUND_FAILED_INSUFFICIENT_FUNDS": ("insufficient_funds", Retry.SAME_KEY),
    "INSUFFICIENT_FUNDS": ("insufficient_funds", Retry.SAME_KEY),
    "DUPLICATE_INVOICE_ID": ("duplicate_transaction", Retry.NEVER),
}  # fmt: skip

_ISSUE = re.compile(r"[A-Z][A-Z0-9_]{2,79}", re.ASCII)
_PAYOUT_AT = re.compile(r"/v1/payments/payouts/([A-Za-z0-9_-]{1,30})$", re.ASCII)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error reply.  `batch` is the payout that has the key already, where that is the complaint."""

    code: str
    message: str
    batch: str = ""

    @classmethod
    def read(cls, reply: HttpReply) -> "Refusal":
        """From any reply that is no success; one that cannot be read has its status for a code."""
        try:
            return cls._read(read_json(reply.body), f"HTTP_{reply.status}")
        except (ValueError, TypeError, LookupError, AttributeError):
            return cls(f"HTTP_{reply.status}", "")

    @classmethod
    def _read(cls, said: dict[str, Any], otherwise: str) -> "Refusal":
        details = [d for d in said.get("details") or [] if isinstance(d, dict)]
        issues = [i for d in details if isinstance(i := d.get("issue"), str) and _ISSUE.fullmatch(i)]
        name = said.get("name")
        code = issues[0] if issues else name if isinstance(name, str) and _ISSUE.fullmatch(name) else otherwise
        words = [w for d in details for w in (d.get("description"), d.get("issue")) if isinstance(w, str)][:1]
        words = words or [w for w in (said.get("message"),) if isinstance(w, str)]
        debug = said.get("debug_id")
        trace = f" (debug_id {debug[:40]})" if isinstance(debug, str) and debug else ""
        return cls(code, "".join(words)[:300] + trace, _batch([*details, said]))

    def problem(self) -> Problem:
        decline_code, retry = REFUSED[self.code]
        return Problem(self.code, self.message, decline_code, retry)


def _batch(said: list[dict[str, Any]]) -> str:
    """The payout that a complaint links to."""
    for part in said:
        for link in [*(part.get("link") or []), *(part.get("links") or [])]:
            if isinstance(link, dict) and isinstance(link.get("href"), str) and (at := _PAYOUT_AT.search(link["href"])):
                return at[1]
    return ""
