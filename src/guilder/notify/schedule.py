"""When to try again, and when to stop.

    try 1 at once, then 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h later: 10 tries in 75 h 35 min

The schedule is the example of Standard Webhooks 1.0.0.  Waits are stretched at random by up to a tenth, so that what failed
together does not come back together.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

MAX_WAIT_S = 86_400


class State(StrEnum):
    """A delivery's state.  `pending` covers all that is not over: never tried, under way, to be tried again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"  # given up: the schedule is through, or the endpoint was disabled; it can be asked for again


@dataclass(frozen=True, slots=True)
class Policy:
    """How deliveries are made.  Seconds and counts per process and environment."""

    schedule_s: tuple[float, ...] = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
    timeout_s: float = 20.0  # of a whole try
    lease_s: float = 60.0  # a try that says nothing for so long is lost, and made again
    disable_after_s: float = 3 * 86_400  # of nothing but failures
    endpoint_room: int = 32  # tries of one endpoint at a time
    failing_room: int = 1  # ... while it is failing
    connections: int = 256  # tries of all endpoints at a time
    failing_connections: int = 128  # ... of all that are failing, beside those
    pace_s: float = 0.02  # from one round to the next; the first after a pause starts at once
    gather_s: float = 0.05  # results wait so long for company: one commit for many
    idle_s: float = 1.0  # look at least so often, should a wake-up be lost
    grace_s: float = 2.0  # when the courier is stopped, tries that are under way may end


@dataclass(frozen=True, slots=True)
class Reply:
    """What a try came to.  `status` None: no answer, and `error` says why."""

    status: int | None
    took_ms: int
    error: str | None = None
    response: str = ""
    retry_after: str | None = None

    @property
    def ok(self) -> bool:
        return self.status is not None and 200 <= self.status < 300 and self.error is None


def next_state(policy: Policy, tries: int, reply: Reply, now: datetime, spread: float) -> tuple[State, datetime]:
    """The delivery's state after its try number `tries`, and since when, or when to try again.  `spread` in [0, 1)."""
    if reply.ok:
        return State.DELIVERED, now
    if reply.status == 410 or tries > len(policy.schedule_s):
        return State.DEAD, now
    wait_s = policy.schedule_s[tries - 1] * (1 + spread / 10)
    if reply.status in (429, 503) and (asked_s := retry_after_s(reply.retry_after, now)) is not None:
        wait_s = min(max(wait_s, asked_s), MAX_WAIT_S)
    return State.PENDING, now + timedelta(seconds=wait_s)


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """The seconds that a Retry-After asks for, whichever way it is written (RFC 9110, 10.2.3); None if it cannot be read."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return min(int(value.strip()[:9]), MAX_WAIT_S)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds())
