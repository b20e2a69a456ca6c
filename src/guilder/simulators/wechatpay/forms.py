"""What a trade, refund or payout of WeChat Pay's has beyond the rows that all channels share: JSON in `extra`."""

from typing import Any

import msgspec

from guilder.simulators.model import Payout, Trade


def extra_of(row: Trade | Payout) -> dict[str, Any]:
    """What only WeChat Pay knows of it."""
    return msgspec.json.decode(row.extra)


def with_extra(extra: str, **more: Any) -> str:
    """`extra` with what is not empty of `more`."""
    known = msgspec.json.decode(extra) if extra else {}
    return msgspec.json.encode({**known, **{name: value for name, value in more.items() if value}}).decode()
