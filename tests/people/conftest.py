"""Tests of people share one installation, and come from one address."""

from collections.abc import AsyncIterator

import pytest
from people_door import forget_tries

from stack import Stack


@pytest.fixture
async def door(anyio_backend: object, stack: Stack) -> AsyncIterator[Stack]:
    """The installation, in which nobody has tried anything yet."""
    await forget_tries(stack)
    yield stack
    await forget_tries(stack)
