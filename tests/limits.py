"""A limit for every asynchronous test, in its own loop: it fails where it waits.

pytest-timeout's signal is lost where uvloop sits in its poll, and its thread can only end the whole process: it stands behind this.  What
failed is also said at once: closing a loop with a connection left open in it may hang, and the report would never come.
"""

import asyncio
import functools
import inspect
import os
from collections.abc import Awaitable, Callable

import pytest

LIMIT_S = 240.0
SCREEN = os.dup(2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            marker = item.get_closest_marker("timeout")
            item.obj = _limited(item.obj, marker.args[0] * 0.9 if marker else LIMIT_S)


def _limited(test: Callable[..., Awaitable[None]], seconds: float) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def limited(*args: object, **kwargs: object) -> None:
        async with asyncio.timeout(seconds):
            try:
                await test(*args, **kwargs)
            except Exception as error:
                os.write(SCREEN, f"\n{test.__qualname__}: {error!r}\n".encode())
                raise

    return limited
