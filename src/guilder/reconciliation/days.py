"""A channel's days: where they begin and end, and which files are due."""

from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from guilder.channels.info import Info

CUTOVER = timedelta(minutes=5)  # two clocks near midnight may name different days
KEPT_DAYS = 7  # a worker that was away catches up so far
_NOON = time(12)  # a day that begins later is named for the one on which it ends: UnionPay's 18th, on the 17th at 23:00


def bounds(info: Info, day: date) -> tuple[datetime, datetime]:
    """The first instant of the channel's `day`, and that of the next."""
    return _start(info, day), _start(info, day + timedelta(days=1))


def _start(info: Info, day: date) -> datetime:
    if info.day_cut >= _NOON:
        day -= timedelta(days=1)
    return datetime.combine(day, info.day_cut, info.zone).astimezone(UTC)


def day_of(info: Info, at: datetime) -> date:
    """The channel's day of an instant."""
    local = at.astimezone(info.zone)
    begins = local.date() if local.time() >= info.day_cut else local.date() - timedelta(days=1)
    return begins + timedelta(days=1) if info.day_cut >= _NOON else begins


def due(info: Info, account_id: UUID, now: datetime) -> list[date]:
    """The days whose files may be fetched by `now`, newest first: no older than KEPT_DAYS, nor than the account."""
    today = now.astimezone(info.zone).date()
    made = day_of(info, datetime.fromtimestamp((account_id.int >> 80) / 1000, UTC))  # a UUIDv7 begins with its time
    days = (today - timedelta(days=back) for back in range(1, KEPT_DAYS + 1))
    return [day for day in days if day >= made and now >= ready_at(info, day)]


def ready_at(info: Info, day: date) -> datetime:
    """From when the channel gives the file of `day`."""
    return datetime.combine(day + timedelta(days=1), info.statement_from, info.zone).astimezone(UTC)
