"""The catalogue of the events of trades, and how they are said.

Every event carries the trade as it is then.  Its version counts the events that were said of it, without gaps.
"""

from datetime import datetime

import msgspec

from guilder.platform.outbox import Event
from guilder.trades import present
from guilder.trades.model import Changes, Whole

CATALOGUE: dict[str, str] = {
    "trade.created": "A trade was made.",
    "trade.partly_paid": "A part of it was paid: a deposit.",
    "trade.paid": "All of it is paid.",
    "trade.released": "What was held went to its sellers.",
    "trade.refunded": "A refund of items is done.",
    "trade.refund_failed": "A refund of items failed: they count as paid again.",
    "trade.canceled": "It is not bought.",
}
_encode = msgspec.json.Encoder().encode


def of_trade(changes: Changes, type: str, whole: Whole, at: datetime, livemode: bool) -> None:
    """Say something of a trade."""
    trade, by = whole.trade, changes.by
    trade.version += 1
    data = _encode(present.trade(whole, livemode=livemode)).decode()
    changes.events.append(
        Event(
            trade.book_id, type, trade.id, trade.version, data, at, trade.root_id, trade.business_line,
            request_id=(by.request_id or None) if by else None, idempotency_key=(by.idempotency_key or None) if by else None,
        )
    )  # fmt: skip
