"""Health: what channels are like at this moment, seen in the calls that are made anyway, and what one process may ask of them at once.

    with health.watching(about) as watch:              # one exchange
        async with health.turn(about): ...             # each call of it; raises Held
        watch.heard(outcome)

Each process adds up its own calls in memory, by channel account and operation, over the last seconds; `breaker` writes the sums down once a
second and brings those of the other processes, and the state that all share.  A process that hears nothing of the others takes every
channel for well: this module holds nothing back by guess.
"""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol
from uuid import UUID

import msgspec

from guilder.core.exchange import NotSent, Told

WINDOW_S = 6
COLLECTING = frozenset(
    {"create", "payout"}
)  # operations that can be left; the others are about money that moves already
REST_AT_ONCE = 64  # calls of the others, at once at one account in one process
REST_WAITING = 64  # more of them wait for a turn, which comes when a call has ended or run out of time
FULL_S = 2.0  # an account over a limit is not looked at again for so long, at most
_SECONDS = Mapping[str, float]


class Guard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When an account is left alone, and what it may be asked.  What its row does not say is as here."""

    least: int = 10  # calls within the window before they are judged
    bad_percent: int = 30  # so many of them without an answer, or with a slow one, open the breaker
    slow_s: float = 3.0
    open_s: float = 5.0  # the first time; twice as long each time that probing fails
    longest_s: float = 15.0
    probes: int = 5  # answers in a row that close it again
    probe_every_s: float = 0.5  # in one process
    concurrency: int = (
        256  # payments asked for at once, by one process: as many as it has connections, so that none waits for one
    )
    fronted: int = (
        1500  # the same for those that the front asks for: nobody's request hangs on them, and more of them wait
    )
    per_s: float | None = None  # payments asked for in a second, by all processes together
    timeouts: _SECONDS = {}  # seconds by operation, where not the adapter's


class Mood(StrEnum):
    """How the breaker of an account stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Held(NotSent):
    """We keep to what the account may be asked at once: nothing was sent."""


class Subject(Protocol):
    """What a call is about: see wire.About."""

    @property
    def channel_account_id(self) -> UUID: ...
    @property
    def op(self) -> str: ...
    @property
    def fronted(self) -> bool: ...


@dataclass(slots=True)
class Sums:
    """Calls and what came of them."""

    good: int = 0
    refused: int = 0  # answered: declined
    bad: int = 0  # no answer, none that tells anything, or a slow one
    ms: int = 0

    @property
    def calls(self) -> int:
        return self.good + self.refused + self.bad

    def add(self, other: "Sums") -> None:
        self.good += other.good
        self.refused += other.refused
        self.bad += other.bad
        self.ms += other.ms


@dataclass(frozen=True, slots=True)
class Standing:
    """An account as whoever chooses sees it."""

    mood: Mood = Mood.CLOSED
    paused: bool = False
    full: bool = False  # a limit of rules was reached a moment ago
    success: float | None = None  # of the payments asked for within the window; None: too few to say

    @property
    def well(self) -> bool:
        return self.mood is Mood.CLOSED and not self.paused and not self.full


UP = Standing()


@dataclass(eq=False, slots=True)
class Watch:
    """One exchange in progress."""

    op: str
    version: int
    begun: float
    silent: bool = False  # the last call had no answer
    told: Told | None = None
    void: bool = False  # we held it back ourselves: it says nothing of the channel

    def heard(self, value: object) -> None:
        """What the adapter made of it."""
        if isinstance(value, Told):
            self.told = value


_GUARD = Guard()


@dataclass(eq=False, slots=True)
class _Account:
    """What this process knows of one channel account."""

    version: int = 0
    mood: Mood = Mood.CLOSED
    paused: bool = False
    until: float = 0.0  # unix time: an open breaker probes then
    opens: int = 0
    guard: Guard = _GUARD
    own: dict[str, deque[tuple[int, Sums]]] = field(default_factory=lambda: defaultdict(deque))
    others: dict[str, Sums] = field(default_factory=dict)
    processes: int = 1
    flying: set[Watch] = field(default_factory=set)
    collecting: int = 0
    fronted: int = 0
    rest: int = 0
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(REST_AT_ONCE))
    tokens: float = 1.0
    filled_at: float = 0.0
    probe_at: float = 0.0
    full_until: float = 0.0

    def sums(self, op: str, now: float) -> Sums:
        """This process's own calls within the window; one that has been out for long counts as one without an answer."""
        found, seconds = Sums(), self.own.get(op, ())
        for second, sums in seconds:
            if second > now - WINDOW_S:
                found.add(sums)
        slow = self.guard.slow_s
        found.bad += sum(w.op == op and w.version == self.version and now - w.begun > slow for w in self.flying)
        return found

    def end(self, watch: Watch, now: float) -> None:
        self.flying.discard(watch)
        if (
            watch.void or watch.version != self.version
        ):  # it began before the breaker moved, and says nothing of what is now
            return
        seconds = self.own[watch.op]
        if not seconds or seconds[-1][0] != int(now):
            while seconds and seconds[0][0] <= now - WINDOW_S:
                seconds.popleft()
            seconds.append((int(now), Sums()))
        sums, took, told = seconds[-1][1], now - watch.begun, watch.told
        unanswered = told.unanswered if told is not None else watch.silent
        if unanswered or took > self.guard.slow_s:
            sums.bad += 1
        elif told is not None and told.declined:
            sums.refused += 1
        else:
            sums.good += 1
        sums.ms += round(took * 1000)

    def take_token(self, now: float) -> bool:
        """Whether one more payment may be asked for in this second, by this process's share."""
        if self.guard.per_s is None:
            return True
        share = self.guard.per_s / self.processes
        self.tokens = min(max(1.0, share), self.tokens + (now - self.filled_at) * share)
        self.filled_at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Health:
    """Of every channel account, in one process and environment."""

    def __init__(self) -> None:
        self._accounts: dict[UUID, _Account] = {}

    def _of(self, account_id: UUID) -> _Account:
        found = self._accounts.get(account_id)
        if found is None:
            found = self._accounts[account_id] = _Account()
        return found

    # calls

    @contextmanager
    def watching(self, about: Subject) -> Iterator[Watch]:
        """Count an exchange by what comes of it."""
        account = self._of(about.channel_account_id)
        watch = Watch(about.op, account.version, time.monotonic())
        account.flying.add(watch)
        try:
            yield watch
        except BaseException:
            watch.void = (
                watch.void or not watch.silent
            )  # called off, or an adapter that raises: not the channel's doing
            raise
        finally:
            account.end(watch, time.monotonic())

    @asynccontextmanager
    async def turn(self, about: Subject) -> AsyncIterator[None]:
        """Make one call within what the account may be asked at once.  Raises Held."""
        account = self._of(about.channel_account_id)
        if about.op in COLLECTING:
            if about.fronted:
                yield
                return
            if account.collecting >= account.guard.concurrency:
                raise Held(f"{account.collecting} payments are being asked for at this account: no more at once")
            if not account.take_token(time.monotonic()):
                raise Held(f"this account is asked for {account.guard.per_s:g} payments a second: no more")
            account.collecting += 1
            try:
                yield
            finally:
                account.collecting -= 1
            return
        if account.rest >= REST_AT_ONCE + REST_WAITING:
            raise Held("too many calls wait for this account")
        account.rest += 1
        try:
            async with account.turns:
                yield
        finally:
            account.rest -= 1

    @asynccontextmanager
    async def fronting(self, account_id: UUID, within_s: float) -> AsyncIterator[bool]:
        """A place among the payments that the front asks an account for at once; False: there was none within that time, and none may be
        asked for."""
        account, until = self._of(account_id), time.monotonic() + within_s
        while account.fronted >= account.guard.fronted or not account.take_token(time.monotonic()):
            if time.monotonic() >= until:
                yield False
                return
            await asyncio.sleep(0.05)
        account.fronted += 1
        try:
            yield True
        finally:
            account.fronted -= 1

    def timeout_s(self, about: Subject, adapters: float) -> float:
        """How long an answer is waited for."""
        account = self._accounts.get(about.channel_account_id)
        return adapters if account is None else account.guard.timeouts.get(about.op, adapters)

    # choosing

    def standing(self, account_id: UUID) -> Standing:
        """How an account stands."""
        account = self._accounts.get(account_id)
        if account is None:
            return UP
        sums = self.total(account_id, "create")
        success = sums.good / sums.calls if sums.calls >= account.guard.least else None
        return Standing(account.mood, account.paused, time.monotonic() < account.full_until, success)

    def fill(self, account_id: UUID, seconds: float) -> None:
        """An account was found over a limit: the next payments need not find out again."""
        self._of(account_id).full_until = time.monotonic() + min(seconds, FULL_S)

    def may_probe(self, account_id: UUID) -> bool:
        """Whether a payment may try an account that is being probed: one at a time, some moments apart."""
        account, now = self._of(account_id), time.monotonic()
        if now < account.probe_at:
            return False
        account.probe_at = now + account.guard.probe_every_s
        return True

    # what is written down, and brought

    def own(self) -> list[tuple[UUID, str, int, Sums]]:
        """This process's sums: account, operation, version, sums."""
        now = time.monotonic()
        found = [
            (id, op, a.version, a.sums(op, now))
            for id, a in self._accounts.items()
            for op in {*a.own, *(w.op for w in a.flying)}
        ]
        return [row for row in found if row[3].calls]

    def total(self, account_id: UUID, op: str) -> Sums:
        """The calls of all processes."""
        account = self._of(account_id)
        sums = account.sums(op, time.monotonic())
        if op in account.others:
            sums.add(account.others[op])
        return sums

    def hear(self, seen: Iterable[tuple[UUID, UUID, str, int, Sums]]) -> None:
        """What the other processes saw: account, process, operation, version, sums.  What is of another version is of another time."""
        processes: dict[UUID, set[UUID]] = defaultdict(set)
        for account in self._accounts.values():
            account.others = {}
        for account_id, runner, op, version, sums in seen:
            account = self._of(account_id)
            processes[account_id].add(runner)
            if version == account.version:
                account.others.setdefault(op, Sums()).add(sums)
        for account_id, account in self._accounts.items():
            account.processes = 1 + len(processes[account_id])

    def set(
        self, account_id: UUID, version: int, mood: Mood, *, paused: bool, until: float, opens: int, guard: Guard
    ) -> None:
        """The state that all processes share.  With each version counting begins anew."""
        account = self._of(account_id)
        if version != account.version:
            account.own.clear()
            account.others.clear()
        account.version, account.mood, account.paused = version, mood, paused
        account.until, account.opens, account.guard = until, opens, guard

    def known(self) -> list[UUID]:
        """The accounts that anything is known of."""
        return list(self._accounts)

    def shared(self, account_id: UUID) -> tuple[int, Mood, float, int, Guard]:
        """Version, mood, when probing begins, how often it opened in a row, and the guard."""
        a = self._of(account_id)
        return a.version, a.mood, a.until, a.opens, a.guard
