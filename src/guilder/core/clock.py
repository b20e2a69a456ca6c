"""Time is an argument.  This is the one place that reads the machine's clock.

Instants are timezone-aware `datetime` in UTC; on the API they are whole unix seconds.
"""

from datetime import UTC, date, datetime, timedelta, timezone

BEIJING = timezone(
    timedelta(hours=8), "Asia/Shanghai"
)  # WeChat Pay, Alipay and UnionPay count days here; no DST since 1991


def now() -> datetime:
    """This instant, in UTC."""
    return datetime.now(UTC)


def unix(at: datetime) -> int:
    """Whole unix seconds, as the API shows them."""
    return int(at.timestamp())


def from_unix(seconds: int) -> datetime:
    """The instant of `seconds` after 1970, in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def beijing_day(at: datetime) -> date:
    """The calendar day at the Chinese channels."""
    return at.astimezone(BEIJING).date()
