"""A limit for every asynchronous test, in its own loop: it fails where it waits.

pytest-timeout's signal is lost where uvloop sits in its poll, and its thread can only end the whole process; both stand behind this.
"""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable

import pytest

LIMIT_S = 240.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            marker = item.get_closest_marker("timeout")
            item.obj = _limited(item.obj, marker.args[0] * 0.9 if marker else LIMIT_S)


def _limited(test: Callable[..., Awaitable[None]], seconds: float) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def limited(*args: object, **kwargs: object) -> None:
        async with asyncio.timeout(seconds):
            await test(*args, **kwargs)

    return limited
