"""The live streams behind open pages, with a real database."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import Any

import pytest
from stripe.checkout import Session

from guilder.cashier import watch
from guilder.cashier.watch import Watch
from guilder.core import ids
from guilder.core.errors import Busy
from guilder.platform.db import Database
from stack import Shop, Stack

pytestmark = pytest.mark.anyio


class Counting:
    """A database that counts what it is asked."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.asked = 0

    async def rows(self, *args: Any) -> Any:
        self.asked += 1
        return await self._db.rows(*args)


async def first_mark(stream: AsyncGenerator[bytes, None]) -> bytes:
    """Read a stream until it tells a mark."""
    async with asyncio.timeout(10):
        async for chunk in stream:
            if chunk.startswith(b"event: mark"):
                return chunk
    raise AssertionError("the stream ended")


async def test_K6_fifty_open_pages_are_one_query_a_tick(stack: Stack, shop: Shop, make: Callable[..., Session]) -> None:
    intents = [ids.read("pi", str(make().payment_intent)) for _ in range(5)]
    async with stack.world() as world:
        counting = Counting(world.envs["test"].db)
        env = replace(world.envs["test"], db=counting)
        open_pages = Watch(env, lambda: False)
        streams = [open_pages.open((shop.book_id, intents[i % 5])) for i in range(50)]
        marks = await asyncio.gather(*map(first_mark, streams))
        assert len(marks) == 50
        assert counting.asked <= 2
        for stream in streams:
            await stream.aclose()


async def test_streams_end_when_the_process_is_to_end(stack: Stack, shop: Shop, make: Callable[..., Session]) -> None:
    intent, stopping = ids.read("pi", str(make().payment_intent)), False
    async with stack.world() as world:
        open_pages = Watch(world.envs["test"], lambda: stopping)
        stream = open_pages.open((shop.book_id, intent))
        await first_mark(stream)
        stopping = True
        async with asyncio.timeout(3 * watch.TICK_S):
            assert [chunk async for chunk in stream] == []
        with pytest.raises(Busy):
            open_pages.open((shop.book_id, intent))
