"""Channels: one process of simulators for the suites that every adapter passes, whose assertions are explained like those of a test."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("guilder.conformance", "scripted")

from guilder.conformance.table import Result  # noqa: E402

RESULTS: list[Result] = []  # of test_conformance, for the table at its end


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what became of each test of the suite, in the process that ran it."""
    if "test_conformance.py::TestConformance" in report.nodeid and (report.when == "call" or report.failed):
        RESULTS.append(Result(report.nodeid.partition("[")[2].rstrip("]"), report.nodeid, report.passed))


@pytest.fixture
def suite_results() -> list[Result]:
    return RESULTS


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
