"""The simulators' clock, which a test may set, and what is to happen when.

Business time (success times, expiry, retry schedules, days of statements) runs on this clock.  The
timestamps inside signatures do not: they prove freshness to the other side, whose clock nobody moves.
"""

import asyncio
import heapq
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

BEIJING = timezone(timedelta(hours=8))


class Clock:
    """Milliseconds since 1970, moved by `offset_ms`; and an agenda that moves with it."""

    def __init__(self) -> None:
        self.offset_ms = 0
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._changed = asyncio.Event()

    def now(self) -> int:
        """The time, in ms."""
        return time.time_ns() // 1_000_000 + self.offset_ms

    def set(self, offset_ms: int) -> None:
        """Move the clock; what has become due happens at once."""
        self.offset_ms = offset_ms
        self._changed.set()

    def at(self, due: int, action: Callable[[], None]) -> None:
        """Do something at a time, or at once if that has passed.  The action must not raise."""
        self._count += 1
        heapq.heappush(self._agenda, (due, self._count, action))
        if self._agenda[0][1] == self._count:
            self._changed.set()

    async def run(self) -> None:
        """Keep the agenda, until cancelled."""
        while True:
            self._changed.clear()
            while self._agenda and self._agenda[0][0] <= self.now():
                heapq.heappop(self._agenda)[2]()
            wait_s = (self._agenda[0][0] - self.now()) / 1000 if self._agenda else None
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                continue


def beijing(ms: int) -> datetime:
    """A time as the channels tell it."""
    return datetime.fromtimestamp(ms // 1000, BEIJING)


def rfc3339(ms: int) -> str:
    """2018-06-08T10:34:56+08:00"""
    return beijing(ms).isoformat()


def stamp(ms: int) -> str:
    """2018-06-08 10:34:56, Beijing"""
    return beijing(ms).strftime("%Y-%m-%d %H:%M:%S")


def day_of(ms: int) -> str:
    """The channel's day, 2018-06-08."""
    return beijing(ms).strftime("%Y-%m-%d")


def day_bounds(day: str) -> tuple[int, int]:
    """From and until (not included) of a Beijing day.  Raises ValueError on nonsense."""
    start = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=BEIJING)
    until = start + timedelta(days=1)
    return int(start.timestamp() * 1000), int(until.timestamp() * 1000)


def parse_ms(text: str) -> int:
    """RFC 3339 to ms.  Raises ValueError on nonsense or without an offset from UTC."""
    moment = datetime.fromisoformat(text.replace(" ", "T") if "T" not in text else text)
    if moment.tzinfo is None:
        raise ValueError("a time needs its offset from UTC")
    return int(moment.astimezone(UTC).timestamp() * 1000)


def parse_stamp(text: str) -> int:
    """'2018-06-08 10:34:56' Beijing to ms.  Raises ValueError on nonsense."""
    return int(datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=BEIJING).timestamp() * 1000)
