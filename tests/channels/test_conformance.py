"""Every adapter against its simulator: see `guilder.conformance`."""

from collections.abc import AsyncIterator

import pytest
from conformance_page import compare

from guilder.channels.registry import CHANNELS
from guilder.conformance.cases import CASES
from guilder.conformance.holds import Holds
from guilder.conformance.statements import Statements
from guilder.conformance.suite import Conformance, World, open_world
from guilder.conformance.table import Result

pytestmark = pytest.mark.anyio


@pytest.fixture(params=CASES, ids=str)
async def world(request: pytest.FixtureRequest, simulator: str) -> AsyncIterator[World]:
    async with open_world(request.param, simulator) as world:
        yield world


def test_every_way_of_every_channel_is_held():
    assert {(c.channel, c.way) for c in CASES} == {
        (k.info.code, w.name) for k in CHANNELS.values() for w in k.info.ways
    }


class TestConformance(Conformance, Holds, Statements):
    """All of it, for each case."""


def test_the_table_is_what_the_run_found(suite_results: list[Result]):
    assert compare(CASES, suite_results) is None
