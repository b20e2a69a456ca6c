"""Watch: tell open pages when their payment has something new to show.

One task for each environment looks at the payments of all open pages in one query a tick (K6) and ends when the last page is closed.
A page is told a mark (`till.mark_of`); it compares it with its own and fetches itself anew.  So nothing is lost when a
connection is: the first thing that it hears after it reconnects is the mark as it is then.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from uuid import UUID

from guilder.cashier import till
from guilder.core.errors import Busy
from guilder.platform.db import DatabaseError
from guilder.platform.environment import Env
from guilder.platform.sql import load

Q = load(__package__)
log = logging.getLogger("guilder.cashier")
TICK_S = 0.4
HEARTBEAT_S = 15.0
LIFE_S = 300.0  # of one connection; the browser opens another
MOST = 5000  # open pages in one process

Key = tuple[UUID, UUID]


@dataclass(eq=False)
class _Page:
    """One open page."""

    key: Key
    mark: str = ""
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Watch:
    """The open pages of one environment in this process.  `stopping` is asked at each tick: then all streams end."""

    def __init__(self, env: Env, stopping: Callable[[], bool]) -> None:
        self._env = env
        self._stopping = stopping
        self._pages: set[_Page] = set()
        self._poller: asyncio.Task[None] | None = None

    def open(self, key: Key) -> AsyncGenerator[bytes, None]:
        """Server-sent events of one page.  Raises Busy when too many are open; the page then asks now and then."""
        if len(self._pages) >= MOST or self._stopping():
            raise Busy
        return self._stream(_Page(key))

    async def _stream(self, page: _Page) -> AsyncGenerator[bytes, None]:
        self._pages.add(page)
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll())
        end = asyncio.get_running_loop().time() + LIFE_S
        try:
            yield b"retry: 1500\n\n"
            while not self._stopping() and asyncio.get_running_loop().time() < end:
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        await page.news.wait()
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                page.news.clear()
                if self._stopping():
                    return
                yield b"event: mark\ndata: " + page.mark.encode() + b"\n\n"
        finally:
            self._pages.discard(page)

    async def _poll(self) -> None:
        """Look until nobody watches."""
        try:
            while self._pages and not self._stopping():
                try:
                    await self._look()
                except DatabaseError as error:
                    log.warning("open pages could not be looked at: %s", error)
                except Exception:
                    log.exception("looking at open pages failed")
                await asyncio.sleep(TICK_S)
        finally:
            self._poller = None
            for page in self._pages:  # the process is to end: let the streams see it
                page.news.set()

    async def _look(self) -> None:
        keys = sorted({page.key for page in self._pages})
        rows = await self._env.db.rows(Q.look_at_tills, [k[0] for k in keys], [k[1] for k in keys])
        marks = {(r["book_id"], r["id"]): till.mark_of(r) for r in rows}
        for page in self._pages:
            mark = marks.get(page.key, page.mark)
            if mark != page.mark:
                page.mark = mark
                page.news.set()
