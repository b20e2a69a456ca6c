"""A channel's days are its own: Beijing's midnight, not ours."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from guilder.channels.wechatpay import INFO
from guilder.core import ids
from guilder.reconciliation.days import bounds, day_of, due


def made(at: datetime) -> UUID:
    """The id of an account that was made then."""
    return UUID(int=int(at.timestamp() * 1000) << 80 | ids.new_id().int & ((1 << 80) - 1))


def test_a_day_is_a_day_in_beijing():
    start, end = bounds(INFO, date(2026, 11, 20))

    assert (start, end) == (datetime(2026, 11, 19, 16, tzinfo=UTC), datetime(2026, 11, 20, 16, tzinfo=UTC))
    assert (day_of(INFO, start), day_of(INFO, end)) == (date(2026, 11, 20), date(2026, 11, 21))


def test_a_day_that_begins_in_the_evening_is_named_for_the_day_on_which_it_ends():
    info = replace(INFO, day_cut=time(23))  # UnionPay's
    start, end = bounds(info, date(2026, 11, 20))

    assert (start, end) == (datetime(2026, 11, 19, 15, tzinfo=UTC), datetime(2026, 11, 20, 15, tzinfo=UTC))
    assert (day_of(info, start), day_of(info, end)) == (date(2026, 11, 20), date(2026, 11, 21))
    assert day_of(info, start - timedelta(seconds=1)) == date(2026, 11, 19)
    assert due(info, made(start), datetime(2026, 11, 21, 2, tzinfo=UTC)) == [date(2026, 11, 20)]


def test_a_file_is_due_from_the_channels_hour_of_the_next_day():
    account = made(datetime(2026, 11, 20, 3, tzinfo=UTC))

    assert due(INFO, account, datetime(2026, 11, 21, 1, 59, tzinfo=UTC)) == []
    assert due(INFO, account, datetime(2026, 11, 21, 2, 0, tzinfo=UTC)) == [date(2026, 11, 20)]


def test_a_worker_that_was_away_catches_up_for_a_week_and_not_before_the_account_was_made():
    now = datetime(2026, 11, 21, 3, tzinfo=UTC)

    assert due(INFO, made(datetime(2026, 11, 18, 12, tzinfo=UTC)), now) == [date(2026, 11, d) for d in (20, 19, 18)]
    assert len(due(INFO, made(datetime(2026, 1, 1, tzinfo=UTC)), now)) == 7
