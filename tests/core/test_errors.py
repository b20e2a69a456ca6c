"""Errors and time: what a caller hears, and the one clock."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.core import clock, errors
from guilder.core.errors import Busy, GuilderError, Invalid, Rejected, Unknown

KINDS = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, GuilderError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_says_something_and_has_a_status(kind: type[GuilderError]) -> None:
    error = kind()
    assert error.message and error.message in str(error)
    assert (
        (400 <= kind.status < 500) == issubclass(kind, Rejected)
        or issubclass(kind, Busy)
        or kind in (GuilderError, Unknown)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_tree_tells_what_to_do(kind: type[GuilderError]) -> None:
    assert sum(issubclass(kind, k) for k in (Rejected, Busy, Unknown)) == (kind is not GuilderError)
    assert kind.__name__ in (errors.__doc__ or "")


def test_an_error_names_its_parameter_and_keeps_its_code() -> None:
    error = Invalid("too large", param="amount", code="amount_too_large", details={"left": 1})
    assert (error.param, error.code, error.details, Invalid.code) == (
        "amount",
        "amount_too_large",
        {"left": 1},
        "parameter_invalid",
    )


@given(st.integers(0, 4_000_000_000))
def test_seconds_read_back(seconds: int) -> None:
    assert clock.unix(clock.from_unix(seconds)) == seconds


def test_now_is_now_and_aware() -> None:
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
    assert clock.now().tzinfo is UTC


@pytest.mark.parametrize(
    ("at", "day"), [((2026, 9, 1, 15, 59, 59), date(2026, 9, 1)), ((2026, 9, 1, 16), date(2026, 9, 2))]
)
def test_a_day_in_beijing_begins_eight_hours_earlier(at: tuple[int, ...], day: date) -> None:
    assert clock.beijing_day(datetime(*at, tzinfo=UTC)) == day
