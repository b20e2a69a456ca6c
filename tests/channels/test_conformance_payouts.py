"""Every adapter that sends money to people, against its simulator: see `guilder.conformance.payouts`."""

from collections.abc import AsyncIterator

import pytest

from guilder.channels.info import Operation
from guilder.channels.registry import CHANNELS
from guilder.conformance.cases import PAYEES
from guilder.conformance.payouts import Payee, PayoutConformance
from guilder.conformance.suite import Case, World, open_world

pytestmark = pytest.mark.anyio


@pytest.fixture(params=PAYEES, ids=lambda param: str(param[0]))
def payer(request: pytest.FixtureRequest) -> tuple[Case, Payee]:
    return request.param


@pytest.fixture
def payee(payer: tuple[Case, Payee]) -> Payee:
    return payer[1]


@pytest.fixture
async def world(payer: tuple[Case, Payee], simulator: str) -> AsyncIterator[World]:
    async with open_world(payer[0], simulator) as world:
        yield world


ELSEWHERE = {
    "stripe",
    "paypal",
}  # test_stripe_simulated.py, test_paypal_wire.py: they know no payee of another's choosing


def test_every_channel_that_pays_people_is_held():
    assert {case.channel for case, _ in PAYEES} | ELSEWHERE == {
        kind.info.code for kind in CHANNELS.values() if kind.info.can(Operation.PAYOUT)
    }


class TestPayouts(PayoutConformance):
    """All of it, for each channel."""
