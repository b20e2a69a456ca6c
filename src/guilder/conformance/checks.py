"""What pytest collects when `run` runs the suite: see there."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from guilder.conformance.cases import Suite
from guilder.conformance.holds import Holds
from guilder.conformance.payouts import Payee, PayoutConformance
from guilder.conformance.statements import Statements
from guilder.conformance.suite import Case, Conformance, World, open_world

pytestmark = pytest.mark.anyio
chosen: dict[str, Any] = {"suite": Suite(()), "simulator": ""}  # by `run`, in this process


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each way of the channel, each payee."""
    suite: Suite = chosen["suite"]
    if "payee" in metafunc.fixturenames:
        metafunc.parametrize(("case", "payee"), suite.payees, ids=lambda v: str(v) if isinstance(v, Case) else "payee")
    elif "case" in metafunc.fixturenames:
        metafunc.parametrize("case", suite.cases, ids=str)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def world(case: Case) -> AsyncIterator[World]:
    async with open_world(case, chosen["simulator"]) as world:
        yield world


class TestConformance(Conformance, Holds, Statements):
    """For each way."""


class TestPayouts(PayoutConformance):
    """For each payee; none: the channel pays nobody."""

    @pytest.fixture(autouse=True)
    def who(self, payee: Payee) -> Payee:
        return payee
