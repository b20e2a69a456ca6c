"""Every adapter against its simulator: see `conformance`."""

import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from conformance import Case, Conformance, World, open_world

from guilder.channels.model import StatementProblem
from guilder.channels.registry import CHANNELS

pytestmark = pytest.mark.anyio

ALIPAY = {"known_at_once": False, "refunds_at_once": True, "before_the_file": StatementProblem.EMPTY_DAY}
CASES = [
    Case("wechatpay", "native", "public_key", fee_exponent=5),
    Case("wechatpay", "native", "certificate", fee_exponent=5),
    Case("alipay", "precreate", **ALIPAY),
    Case("alipay", "page", create_asks=False, **ALIPAY),
]


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The simulators in a process of their own, on a socket that is open before they start."""
    data: Path = tmp_path_factory.mktemp("simulators")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port, fd = listening.getsockname()[1], listening.fileno()
        command = [sys.executable, "-m", "guilder.simulators", "--fd", str(fd), "--data", str(data)]
        process = subprocess.Popen(command, pass_fds=[fd])
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(10) in (0, -15)


@pytest.fixture(params=CASES, ids=str)
async def world(request: pytest.FixtureRequest, simulator: str) -> AsyncIterator[World]:
    async with open_world(request.param, simulator) as world:
        yield world


def test_every_way_of_every_channel_is_held():
    assert {(c.channel, c.way) for c in CASES} == {(k.info.code, w) for k in CHANNELS.values() for w in k.info.ways}


class TestConformance(Conformance):
    """All of it, for each case."""
