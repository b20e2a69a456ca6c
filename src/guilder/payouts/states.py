"""The life of a payout, as data.

      unknown <--> pending --> paid --> returned
         |            |
         +------------+------> failed

`unknown` is where asking begins and where silence leads.  `returned`: the channel took it for paid, and it came back.
"""

from enum import StrEnum


class PayoutState(StrEnum):
    UNKNOWN = "unknown"
    PENDING = "pending"
    PAID = "paid"
    FAILED = "failed"
    RETURNED = "returned"


_P = PayoutState
PAYOUT_NEXT: dict[PayoutState, frozenset[PayoutState]] = {
    _P.UNKNOWN: frozenset({_P.PENDING, _P.PAID, _P.FAILED}),
    _P.PENDING: frozenset({_P.UNKNOWN, _P.PAID, _P.FAILED}),
    _P.PAID: frozenset({_P.RETURNED}),
    _P.FAILED: frozenset(),
    _P.RETURNED: frozenset(),
}
OPEN_PAYOUT = frozenset({_P.UNKNOWN, _P.PENDING})
