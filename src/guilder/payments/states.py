"""The lives of intents, attempts and refunds, as data.

Attempt (one try at one channel):

      unknown <--> pending --> authorised --> succeeded
         |            |
         +------------+------> failed | closed --> surplus
         +------------+------------------------->  surplus

`unknown` is where asking begins and where silence leads.  It is not a failure: money may have moved.
A `surplus` is a success that came after the end, or a second one: it is booked and given back.

The tables are rendered into docs/reference/states.md; G8 checks history against them.
"""

from enum import StrEnum


class IntentStatus(StrEnum):
    """What the API shows of a payment."""

    REQUIRES_PAYMENT_METHOD = "requires_payment_method"
    REQUIRES_CONFIRMATION = "requires_confirmation"
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    REQUIRES_CAPTURE = "requires_capture"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"


class AttemptState(StrEnum):
    UNKNOWN = "unknown"
    PENDING = "pending"
    AUTHORISED = "authorised"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CLOSED = "closed"
    SURPLUS = "surplus"


class RefundState(StrEnum):
    UNKNOWN = "unknown"
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class AsideState(StrEnum):
    WAITS = "waits"
    USED = "used"
    RETURNING = "returning"
    RETURNED = "returned"
    APPLIED = "applied"
    WRITTEN_OFF = "written_off"


_I, _A, _R = IntentStatus, AttemptState, RefundState

INTENT_NEXT: dict[IntentStatus, frozenset[IntentStatus]] = {
    _I.REQUIRES_PAYMENT_METHOD: frozenset({_I.REQUIRES_CONFIRMATION, _I.PROCESSING, _I.CANCELED, _I.SUCCEEDED}),
    _I.REQUIRES_CONFIRMATION: frozenset({_I.REQUIRES_PAYMENT_METHOD, _I.PROCESSING, _I.CANCELED, _I.SUCCEEDED}),
    _I.REQUIRES_ACTION: frozenset(
        {_I.PROCESSING, _I.REQUIRES_CAPTURE, _I.REQUIRES_PAYMENT_METHOD, _I.SUCCEEDED, _I.CANCELED}
    ),
    _I.PROCESSING: frozenset(
        {_I.REQUIRES_ACTION, _I.REQUIRES_CAPTURE, _I.REQUIRES_PAYMENT_METHOD, _I.SUCCEEDED, _I.CANCELED}
    ),
    _I.REQUIRES_CAPTURE: frozenset({_I.PROCESSING, _I.REQUIRES_PAYMENT_METHOD, _I.SUCCEEDED, _I.CANCELED}),
    _I.SUCCEEDED: frozenset(),
    _I.CANCELED: frozenset({_I.SUCCEEDED}),  # only by the merchant's rule late_success = accept
}

ATTEMPT_NEXT: dict[AttemptState, frozenset[AttemptState]] = {
    _A.UNKNOWN: frozenset({_A.PENDING, _A.AUTHORISED, _A.SUCCEEDED, _A.FAILED, _A.CLOSED, _A.SURPLUS}),
    _A.PENDING: frozenset({_A.UNKNOWN, _A.AUTHORISED, _A.SUCCEEDED, _A.FAILED, _A.CLOSED, _A.SURPLUS}),
    _A.AUTHORISED: frozenset({_A.SUCCEEDED, _A.FAILED, _A.CLOSED, _A.SURPLUS}),
    _A.SUCCEEDED: frozenset(),
    _A.FAILED: frozenset({_A.SURPLUS}),
    _A.CLOSED: frozenset({_A.SURPLUS}),
    _A.SURPLUS: frozenset(),
}

REFUND_NEXT: dict[RefundState, frozenset[RefundState]] = {
    _R.UNKNOWN: frozenset({_R.PENDING, _R.SUCCEEDED, _R.FAILED}),
    _R.PENDING: frozenset({_R.UNKNOWN, _R.SUCCEEDED, _R.FAILED}),
    _R.SUCCEEDED: frozenset(),
    _R.FAILED: frozenset(
        {_R.PENDING, _R.SUCCEEDED}
    ),  # only by a person: it is sent elsewhere, or was given back elsewhere
}

_S = AsideState
ASIDE_NEXT: dict[AsideState, frozenset[AsideState]] = {
    _S.WAITS: frozenset({_S.USED, _S.RETURNING, _S.APPLIED, _S.WRITTEN_OFF}),
    _S.RETURNING: frozenset({_S.RETURNED, _S.WAITS}),
    _S.USED: frozenset(),
    _S.RETURNED: frozenset(),
    _S.APPLIED: frozenset(),
    _S.WRITTEN_OFF: frozenset(),
}

OPEN_ATTEMPT = frozenset({_A.UNKNOWN, _A.PENDING, _A.AUTHORISED})
OPEN_REFUND = frozenset({_R.UNKNOWN, _R.PENDING})
CONFIRMABLE = frozenset({_I.REQUIRES_PAYMENT_METHOD, _I.REQUIRES_CONFIRMATION, _I.REQUIRES_ACTION})
CANCELABLE = CONFIRMABLE | {_I.PROCESSING, _I.REQUIRES_CAPTURE}
