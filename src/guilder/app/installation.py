"""A second installation beside whatever runs: its own folder, free ports, ended and removed when done.  For demonstrations and tests."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from guilder.app.provision import Demo
from guilder.core.errors import GuilderError
from guilder.platform import embedded, runtime, settings
from guilder.platform.settings import Settings

READY_S = 120
_PORTS = ("api", "cashier", "simulators", "metrics")


class DidNotStart(GuilderError):
    """The installation did not start."""


class Addresses(msgspec.Struct):
    """Where it serves, as `guilder up` wrote to `up.json`."""

    api: str
    cashier: str
    simulators: str
    metrics: str
    demo: Demo | None
    pid: int


@dataclass
class Installation:
    """A running one."""

    state: Path
    environ: dict[str, str]
    process: subprocess.Popen[bytes]
    at: Addresses

    def settings(self) -> Settings:
        """As its processes see them."""
        ports = {f"{name}_port": int(getattr(self.at, name).rsplit(":", 1)[1]) for name in _PORTS}
        return settings.load(self.environ, **ports)

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        _end(self.process)

    def logs(self) -> str:
        """The end of every log."""
        return _logs(self.state)


def start(state: Path, **environ: str) -> Installation:
    """Start one with its data in `state`; `environ` are settings.  Raises DidNotStart with what it said."""
    ports = {f"GUILDER_{name.upper()}_PORT": "0" for name in _PORTS}
    ours = {**ports, "GUILDER_STATE": str(state), "GUILDER_ENVIRONMENTS": "test", **environ}
    others = {k: v for k, v in os.environ.items() if not k.startswith("GUILDER_")}
    state.mkdir(parents=True, exist_ok=True)
    said = state / "up.out"
    with said.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "guilder.app", "up"],
            env=others | ours,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            # Whoever started it may be killed; it then ends by itself, as SIGTERM ends it.
            preexec_fn=partial(runtime.die_with, os.getpid(), signal.SIGTERM),  # noqa: PLW1509  two system calls; it takes no lock
        )
    deadline = time.monotonic() + READY_S
    while not (state / "up.json").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            _end(process)
            raise DidNotStart(f"The installation did not start.\n{said.read_text()}\n{_logs(state)}")
        time.sleep(0.05)
    return Installation(state, ours, process, msgspec.json.decode((state / "up.json").read_bytes(), type=Addresses))


@contextmanager
def running(state: Path, *, keep: bool = False, **environ: str) -> Iterator[Installation]:
    """One for the length of a block; its database and folder go with it unless `keep`."""
    installation = start(state, **environ)
    try:
        yield installation
    finally:
        installation.stop()
        if not keep:
            remove(state)


def remove(state: Path) -> None:
    """Remove what a stopped installation left: its database and its folder."""
    embedded.destroy(state)
    shutil.rmtree(state, ignore_errors=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
    if process.poll() is None:
        process.kill()
        process.wait()


def _logs(state: Path) -> str:
    return "\n".join(
        f"== {f.name}\n{f.read_text(errors='replace')[-3000:]}" for f in sorted((state / "logs").glob("*.log"))
    )
