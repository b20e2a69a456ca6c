"""Run the suite for one channel, with pytest inside this process and the simulators beside it."""

import contextlib
import io
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guilder.conformance.table import Result

pytest.register_assert_rewrite("guilder.conformance")  # before what follows is imported: a failure then says why

from guilder.conformance import checks  # noqa: E402
from guilder.conformance.cases import Suite  # noqa: E402

Told = Callable[[Result], object]


class _Listener:
    """Hears what became of each test."""

    def __init__(self, told: Told) -> None:
        self.told, self.results = told, list[Result]()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One result per test: of its call, or of what went wrong around it."""
        if report.when == "call" or report.failed:
            name = report.nodeid.rpartition(".py::")[2]
            case = name.partition("[")[2].rstrip("]")
            self.results.append(Result(case, name, report.passed, "" if report.passed else report.longreprtext))
            self.told(self.results[-1])


@contextlib.contextmanager
def simulators() -> Iterator[str]:
    """The simulators in a process of their own, and where they are."""
    with tempfile.TemporaryDirectory() as data, socket.create_server(("127.0.0.1", 0)) as listening:
        command = [sys.executable, "-m", "guilder.simulators", "--fd", str(listening.fileno()), "--data", data]
        process = subprocess.Popen(command, pass_fds=[listening.fileno()])
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            process.terminate()
            process.wait(10)


def run(suite: Suite, simulator: str, told: Told = lambda result: None) -> tuple[list[Result], str]:
    """Every result, as it comes told to `told` too; and what pytest said."""
    checks.chosen |= {"suite": suite, "simulator": simulator}
    listener, said = _Listener(told), io.StringIO()
    ours = Path(checks.__file__)
    options = [
        "-c",
        os.devnull,
        f"--rootdir={ours.parent}",
        "-p",
        "no:cacheprovider",
        "-q",
        "--no-header",
        "-W",
        "ignore",
    ]
    with contextlib.redirect_stdout(said):
        pytest.main([*options, str(ours)], plugins=[listener])
    return listener.results, said.getvalue()
