"""A worker that is told to stop stops, whatever else it hears at that moment."""

import asyncio
from dataclasses import replace

import pytest

from guilder.notify import Policy, pump
from guilder.platform.environment import Env

pytestmark = pytest.mark.anyio


async def test_it_ends_when_told_to_just_as_it_is_woken(env: Env):
    """The wake-up must not swallow the end: a worker that does not stop is one that has to be killed."""
    for turns in range(4):  # however far the wake-up has come when the end is told
        wake = asyncio.Event()
        task = asyncio.create_task(pump(env, wake, policy=replace(Policy(), idle_s=3600.0, grace_s=0.0)))
        await asyncio.sleep(0.2)
        wake.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        async with asyncio.timeout(5):
            await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
