"""Askers: what is due at channels is asked by many at once, and only so many per channel account."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from guilder.core.errors import GuilderError
from guilder.platform import context
from guilder.platform.db import CommitUnknown, DatabaseError
from guilder.platform.environment import Env

log = logging.getLogger("guilder.payments")
AT_ONCE = 32  # claimed in one go
PER_ACCOUNT = 24  # asked at once at one channel account
IN_ALL = 96


class Due(Protocol):
    """An attempt, a refund, a payout: something that a channel is to be asked about."""

    book_id: UUID
    channel_account_id: UUID
    root_id: UUID
    business_line: str


T = TypeVar("T", bound=Due)


async def in_its_chain(rt: Env, thing: T, ask: Callable[[Env, T], Awaitable[None]]) -> None:
    """Ask about one thing as part of its own chain of work; what fails is asked about again after its lease."""
    about = context.carry_on(
        thing.root_id, business_line=thing.business_line, book_id=thing.book_id, actor="sweep", env=rt.name
    )
    with context.use(about):
        try:
            await ask(rt, thing)
        except (GuilderError, DatabaseError, CommitUnknown) as error:
            log.warning("a sweep could not finish: %s", error)
        except Exception:
            log.exception("a sweep failed")


class Askers(Generic[T]):
    """The askers of one process: many at once, and only so many per channel account, so that a channel that hangs delays no other."""

    def __init__(
        self, claim: Callable[[Env, int, Sequence[UUID]], Awaitable[list[T]]], ask: Callable[[Env, T], Awaitable[None]],
        *, at_once: int = AT_ONCE, per_account: int = PER_ACCOUNT, in_all: int = IN_ALL,
    ) -> None:  # fmt: skip
        self._claim, self._ask = claim, ask
        self._at_once, self._per_account, self._in_all = at_once, per_account, in_all
        self._busy: dict[Env, Counter[UUID]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, rt: Env) -> int:
        """Give what is due to whoever is free, and wait for nobody; how much there was."""
        busy = self._busy.setdefault(rt, Counter())
        full = [account for account, n in busy.items() if n >= self._per_account]
        room = min(self._at_once, self._in_all - busy.total())
        due = await self._claim(rt, room, full) if room > 0 else []
        for thing in due:
            busy[thing.channel_account_id] += 1
            task = asyncio.create_task(in_its_chain(rt, thing, self._ask))
            self._tasks.add(task)
            task.add_done_callback(partial(self._done, busy, thing.channel_account_id))
        return len(due)

    def _done(self, busy: Counter[UUID], account: UUID, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        busy[account] -= 1
        if not busy[account]:
            del busy[account]
