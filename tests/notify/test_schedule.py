"""When a delivery is tried again: pure."""

from datetime import UTC, datetime, timedelta

import pytest

from guilder.notify.schedule import Policy, Reply, State, next_state, retry_after_s

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
POLICY = Policy()


def failed(status: int | None = 500, retry_after: str | None = None) -> Reply:
    return Reply(status, 10, "why", retry_after=retry_after)


def test_the_whole_schedule_takes_three_days():
    waits = []
    tries = 1
    while (step := next_state(POLICY, tries, failed(), NOW, 0.0))[0] is State.PENDING:
        waits.append(step[1] - NOW)
        tries += 1
    assert tries == 10
    assert step == (State.DEAD, NOW)
    assert sum(waits, timedelta()) == timedelta(hours=75, minutes=35, seconds=5)


def test_jitter_stretches_by_up_to_a_tenth():
    assert next_state(POLICY, 2, failed(), NOW, 0.5)[1] == NOW + timedelta(seconds=315)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_2xx_is_delivered(status: int):
    assert next_state(POLICY, 1, Reply(status, 10), NOW, 0.0) == (State.DELIVERED, NOW)


@pytest.mark.parametrize("status", [None, 100, 199, 300, 304, 400, 401, 404, 500, 599])
def test_all_else_is_tried_again(status: int | None):
    assert next_state(POLICY, 1, failed(status), NOW, 0.0)[0] is State.PENDING


def test_410_is_the_end():
    assert next_state(POLICY, 1, failed(410), NOW, 0.0) == (State.DEAD, NOW)


@pytest.mark.parametrize(
    ("status", "value", "wait_s"),
    [
        (429, "120", 120),
        (503, "Sun, 01 Nov 2026 12:02:00 GMT", 120),
        (429, "1", 5),  # never sooner than the schedule
        (429, "99999999999999999999", 86_400),
        (429, "soon", 5),
        (429, "-5", 5),
        (429, "Sun, 99 Nov 2026", 5),
        (500, "120", 5),  # only these two say it
    ],
)
def test_retry_after(status: int, value: str, wait_s: int):
    assert next_state(POLICY, 1, failed(status, value), NOW, 0.0)[1] == NOW + timedelta(seconds=wait_s)


def test_a_date_that_is_over_is_now():
    assert retry_after_s("Sun, 01 Nov 2020 12:02:00 GMT", NOW) == 0
