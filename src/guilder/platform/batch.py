"""Batch lanes: group commit in the application.

    lane = Lane(db, "create", create_many)
    answer = await lane.submit(item, book)

Concurrent calls of one use case gather while the previous batch commits, then run as one transaction.  Alone, a call is a batch
of one.

    B1  A batch equals its items one at a time, in order.  (The use case keeps this; the tests run sizes 1 and all.)
    B2  An item that is refused is a value in the result list; its neighbours are not disturbed.
    B3  A definite database error runs the batch once more, then halves it until the one that hurts stands alone.
    B4  A full queue answers Busy, and nothing was done.  Past its deadline a caller hears Unknown, and the item goes on.
"""

import asyncio
import contextvars
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Generic, TypeVar
from uuid import UUID

from guilder.core.check import must
from guilder.core.errors import Busy, GuilderError, Unknown
from guilder.platform import telemetry
from guilder.platform.db import CommitUnknown, Conflict, Contended, Database, DatabaseError, Lost, Tx

I = TypeVar("I")  # noqa: E741 - item
O = TypeVar("O")  # noqa: E741 - outcome
log = logging.getLogger("guilder.batch")
COMPANY_S = 0.05
CROWD = 4  # so many at once are a crowd: the next batch waits a little for its like

Work = Callable[[Tx, list[I]], Awaitable[Sequence[O | GuilderError]]]


@dataclass(frozen=True, slots=True)
class Limits:
    """How a lane gathers.  `gather_ms` waits for company before a batch; 0 lets the previous commit do it."""

    size: int = 256
    queue: int = 4096
    lanes: int = 2  # by book: one merchant's lock wait does not stall the rest
    spread: bool = (
        False  # items that wait for nobody's lock take turns instead: one batch is made while another commits
    )
    gather_ms: float = 0.0
    company_ms: float = 8.0  # after a crowd, wait this long for the next: under load fewer and fuller batches
    deadline_s: float = 30.0


class Lane(Generic[I, O]):
    """One use case in one environment."""

    def __init__(
        self, db: Database, name: str, work: Work[I, O], *, limits: Limits | None = None, durable: bool = True
    ) -> None:
        self.name = name
        self._db = db
        self._work = work
        self._limits = limits or Limits()
        self._durable = durable
        self._turns = count()
        self._sizes = telemetry.BATCH.labels(name)
        self._queues: list[deque[tuple[I, asyncio.Future[O]]]] = [deque() for _ in range(self._limits.lanes)]
        self._running: list[asyncio.Task[None] | None] = [None] * self._limits.lanes
        self._company = [0.0] * self._limits.lanes  # until when more than one caller is expected

    async def submit(self, item: I, book: UUID) -> O:
        """Run `item` with whatever else waits.  Raises the item's own refusal, Busy or Unknown.

        A caller that is called off, or whose deadline passes, leaves its item where it is: it runs all the same.
        """
        future = self.offer(item, book)
        deadline = asyncio.get_running_loop().call_later(self._limits.deadline_s, _give_up, future)
        try:
            return await future
        finally:
            deadline.cancel()

    def offer(self, item: I, book: UUID) -> "asyncio.Future[O]":
        """Queue `item`; the future has its answer.  Raises Busy."""
        index = (next(self._turns) if self._limits.spread else book.int) % self._limits.lanes
        queue = self._queues[index]
        if len(queue) >= self._limits.queue:
            telemetry.BUSY.labels(self.name).inc()
            raise Busy
        future: asyncio.Future[O] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_retrieve)
        queue.append((item, future))
        if self._running[index] is None:
            self._running[index] = asyncio.create_task(
                self._drain(index), name=f"lane {self.name} {index}", context=contextvars.Context()
            )  # a batch serves many: it runs in nobody's context, and its items carry theirs
        return future

    async def idle(self) -> None:
        """Wait until nothing is queued or running."""
        while tasks := [t for t in self._running if t is not None]:
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _drain(self, index: int) -> None:
        queue = self._queues[index]
        company = self._company[index] > time.monotonic()
        try:
            while queue:
                # Even 0 lets callbacks of this turn join.  A lane that had a crowd a moment ago expects another.
                await asyncio.sleep((self._limits.company_ms if company else self._limits.gather_ms) / 1000)
                company = len(queue) >= CROWD
                taken = [queue.popleft() for _ in range(min(len(queue), self._limits.size))]
                self._sizes.observe(len(taken))
                await self._run(taken, again=True, hopeful=True)
        finally:
            self._company[index] = time.monotonic() + COMPANY_S if company else 0.0
            self._running[index] = None

    async def _run(self, taken: list[tuple[I, "asyncio.Future[O]"]], *, again: bool, hopeful: bool = False) -> None:
        try:
            results = await self._db.transact(
                lambda tx: self._checked(tx, [item for item, _ in taken]),
                lock_timeout_ms=50 if len(taken) > 1 else 2000,
                durable=self._durable,
                hopeful=hopeful,
            )
        except CommitUnknown:
            return _answer(taken, Unknown())
        except (Conflict, Contended, Lost) as error:
            log.info("lane %s: a batch of %d runs again: %s", self.name, len(taken), error)
            if again:
                return await self._run(taken, again=False)
            if len(taken) == 1:
                return _answer(taken, Busy() if isinstance(error, DatabaseError) else error)
        except Exception as error:
            if len(taken) == 1:
                log.exception("lane %s: an item failed", self.name)
                return _answer(taken, error)
        else:
            for (_, future), result in zip(taken, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, GuilderError):
                    future.set_exception(result)
                else:
                    future.set_result(result)
            return None
        middle = len(taken) // 2
        await self._run(taken[:middle], again=True)
        await self._run(taken[middle:], again=True)
        return None

    async def _checked(self, tx: Tx, items: list[I]) -> Sequence[O | GuilderError]:
        results = await self._work(tx, items)
        must(len(results) == len(items), "a use case answers every item")
        return results


def _answer(taken: list[tuple[Any, "asyncio.Future[Any]"]], error: BaseException) -> None:
    for _, future in taken:
        if not future.done():
            future.set_exception(error)


def _give_up(future: "asyncio.Future[Any]") -> None:
    if not future.done():
        future.set_exception(Unknown())


def _retrieve(future: "asyncio.Future[Any]") -> None:
    """A caller that went away does not read its answer: that is no leak and no warning."""
    if not future.cancelled():
        future.exception()
