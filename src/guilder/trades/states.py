"""The life of a trade, as data.

      open --> partly_paid --> paid
        |           |            |
        |           +------------+--> refunded     all that was paid has gone back
        +--> canceled

A payment that succeeds after its end, under the merchant's rule `late_success = accept`, pays for a canceled or refunded trade, too.
"""

from enum import StrEnum


class TradeStatus(StrEnum):
    """How far a trade has come."""

    OPEN = "open"
    PARTLY_PAID = "partly_paid"
    PAID = "paid"
    REFUNDED = "refunded"
    CANCELED = "canceled"


_T = TradeStatus
TRADE_NEXT: dict[TradeStatus, frozenset[TradeStatus]] = {
    _T.OPEN: frozenset({_T.PARTLY_PAID, _T.PAID, _T.CANCELED}),
    _T.PARTLY_PAID: frozenset({_T.PAID, _T.REFUNDED}),
    _T.PAID: frozenset({_T.REFUNDED}),
    _T.REFUNDED: frozenset({_T.PARTLY_PAID, _T.PAID}),
    _T.CANCELED: frozenset({_T.PARTLY_PAID, _T.PAID}),
}
