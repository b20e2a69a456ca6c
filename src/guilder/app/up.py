"""Start everything: PostgreSQL, API, cashier, worker and the simulators, as children of one supervisor in the foreground."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from guilder.platform import embedded, runtime, settings
from guilder.platform.embedded import Server
from guilder.platform.runtime import Program, RuntimeFailure
from guilder.platform.settings import PREFIX, Settings

Say = Callable[[str], object]


class Hand:
    """A process that has everything loaded, for what only a start needs.  It loads while PostgreSQL starts, and ends with the start."""

    def __init__(self, s: Settings) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "guilder.app.prepare"],
            env={**os.environ, **as_environ(s)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,  # Ctrl-C is for the supervisor
            preexec_fn=partial(runtime.die_with, os.getpid()),  # noqa: PLW1509  two system calls; it takes no lock
        )

    def ask(self, what: str) -> Any:
        """Have something done.  Raises RuntimeFailure with why it cannot be."""
        pipe = self._process
        assert pipe.stdin is not None and pipe.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            pipe.stdin.write(f"{what}\n".encode())
            pipe.stdin.flush()
        answer = pipe.stdout.readline()
        if not answer:
            raise RuntimeFailure(f"What prepares the start ended with {pipe.wait()}; why is said above.")
        said = msgspec.json.decode(answer)
        if "refused" in said:
            raise RuntimeFailure(said["refused"])
        return said["done"]

    def end(self) -> None:
        """Nothing more is asked."""
        with self._process as pipe:
            pipe.kill()


def main() -> int:
    """Everything, in the foreground, until SIGINT or SIGTERM."""
    s = settings.load()
    with held(s) as state:
        sockets = Sockets.open(s)
        s = msgspec.structs.replace(s, **sockets.ports())

        async def ready(demo: dict[str, str] | None) -> None:
            note_addresses(s, state, demo)
            sys.stdout.write(_welcome(s, demo))
            sys.stdout.flush()

        try:
            asyncio.run(up(s, sockets, say=_say, ready=ready))
        finally:
            (state / "up.json").unlink(missing_ok=True)
    return 0


def _say(line: str) -> None:
    sys.stderr.write(f"  · {line}\n")


def _welcome(s: Settings, demo: dict[str, str] | None) -> str:
    rows = [("API", f"{s.api_url}/v1", "reference at /reference"), ("Cashier", s.cashier_url, "where payers pay")]
    if demo is not None:
        rows += [
            ("Simulators", s.simulator_url, "the channels' other side; no money moves"),
            ("Metrics", f"http://{s.host}:{s.metrics_port}/metrics", ""),
            ("Merchant", demo["merchant"], "Demo Shop"),
            ("Test key", demo["secret_key"], ""),
        ]
    widths = [max(len(row[n]) for row in rows) for n in (0, 1)]
    lines = [f"  {name:{widths[0]}}    {value:{widths[1]}}    {what}".rstrip() for name, value, what in rows]
    up = "\033[1mGuilder is up.\033[0m" if sys.stdout.isatty() else "Guilder is up."
    return "\n".join(["", f"{up}  Ctrl-C ends it; `make demo` shows a payment from end to end.", "", *lines, "", ""])


@dataclass(frozen=True, slots=True)
class Sockets:
    """The listening sockets, opened before anything else: a taken port stops the start before it begins."""

    api: socket.socket
    cashier: socket.socket
    metrics: socket.socket
    simulators: socket.socket | None

    @classmethod
    def open(cls, s: Settings) -> "Sockets":
        simulated = "test" in s.environments and not s.simulators_url
        return cls(
            runtime.listen(s.host, s.api_port, "GUILDER_API_PORT"),
            runtime.listen(s.host, s.cashier_port, "GUILDER_CASHIER_PORT"),
            runtime.listen(s.host, s.metrics_port, "GUILDER_METRICS_PORT"),
            runtime.listen(s.host, s.simulators_port, "GUILDER_SIMULATORS_PORT") if simulated else None,
        )

    def ports(self) -> dict[str, int]:
        """The settings that name them, for whoever asked for free ones (port 0)."""
        named = {
            "api_port": self.api,
            "cashier_port": self.cashier,
            "metrics_port": self.metrics,
            "simulators_port": self.simulators,
        }
        return {name: sock.getsockname()[1] for name, sock in named.items() if sock is not None}


def programs(s: Settings, sockets: Sockets) -> list[Program]:
    """The children."""
    env = as_environ(s)
    python = sys.executable
    children = [
        Program("api", [python, "-m", "guilder.app.http", "api"], [sockets.api], env, copies=s.api_workers),
        Program("cashier", [python, "-m", "guilder.app.http", "cashier"], [sockets.cashier], env),
        Program("worker", [python, "-m", "guilder.app.worker"], [], env),
    ]
    if s.fronts:
        children.append(Program("front", [python, "-m", "guilder.app.worker", "front"], [], env, copies=s.fronts))
    if sockets.simulators is not None:
        data = str(s.state_path.absolute() / "simulators")
        fd = str(sockets.simulators.fileno())
        argv = [python, "-m", "guilder.simulators", "--fd", fd, "--data", data]
        children.insert(0, Program("simulators", argv, [sockets.simulators], probe="/sim/clock"))
    return children


def as_environ(s: Settings) -> dict[str, str]:
    """The settings as the children read them."""
    plain = msgspec.to_builtins(s)
    values = {k: ",".join(v) if k == "environments" else str(v) for k, v in plain.items()}
    values["state"] = str(s.state_path.absolute())
    return {f"{PREFIX}{k.upper()}": v for k, v in values.items() if v}


def database(s: Settings, hand: Hand, say: Say) -> Callable[[], Server] | None:
    """How PostgreSQL is started (None: the operator's own serves), the first time with its schemas."""
    if s.database_url:
        return None
    todo = ["schemas"]

    def start() -> Server:
        names = (embedded.CONTROL, *(embedded.database_of(e) for e in s.environments))
        server = embedded.start(s.state_path.absolute(), databases=names, say=say)
        while todo:
            hand.ask(todo[-1])
            todo.pop()
        return server

    return start


async def up(
    s: Settings,
    sockets: Sockets,
    *,
    say: Say,
    ready: Callable[[dict[str, str] | None], Awaitable[None]],
    stop: asyncio.Event | None = None,
) -> None:
    """Run until stopped; `ready` is told the demo merchant (provision.Demo) when everything serves."""
    hand = Hand(s)
    try:
        if s.database_url:
            await asyncio.to_thread(hand.ask, "schemas")

        async def provisioned() -> None:
            demo = await asyncio.to_thread(hand.ask, "demo") if "test" in s.environments else None
            hand.end()
            await ready(demo)

        await runtime.supervise(
            programs(s, sockets), state=s.state_path.absolute(), database=database(s, hand, say), metrics=sockets.metrics,
            on_ready=provisioned, stop=stop, say=say,
        )  # fmt: skip
    finally:
        hand.end()


def note_addresses(s: Settings, state: Path, demo: dict[str, str] | None) -> None:
    """Write where everything serves to `up.json`, for other programs on this machine."""
    addresses = {
        "api": s.api_url,
        "cashier": s.cashier_url,
        "simulators": s.simulator_url,
        "metrics": f"http://{s.host}:{s.metrics_port}",
    }
    keep(state / "up.json", msgspec.json.encode({**addresses, "demo": demo, "pid": os.getpid()}))


@contextlib.contextmanager
def held(s: Settings) -> Iterator[Path]:
    """The state folder, for this supervisor alone."""
    state = s.state_path.absolute()
    state.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("GUILDER_STATE", str(state))
    with runtime.only_one(state):
        yield state


def keep(file: Path, content: bytes) -> None:
    """Write a file that only its owner reads."""
    new = file.with_suffix(".new")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
    new.replace(file)
