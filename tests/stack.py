"""Everything, running: PostgreSQL, API, cashier, worker and simulators, as `guilder up` starts them, on free ports.

stack = start_stack(folder, GUILDER_API_WORKERS="2")
shop = await stack.merchant()
shop.client().v1.payment_intents.create(...)
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import stripe

from guilder.app import environments, provision
from guilder.app.environments import World
from guilder.core import ids
from guilder.platform import settings

READY_S = 120


@dataclass
class Shop:
    """A merchant of one test."""

    stack: "Stack"
    demo: provision.Demo

    @property
    def key(self) -> str:
        return self.demo.secret_key

    @property
    def book_id(self) -> Any:
        return ids.read("acct", self.demo.merchant)

    def client(self, **options: Any) -> stripe.StripeClient:
        """The official SDK, pointed at this stack."""
        return stripe.StripeClient(self.key, base_addresses={"api": self.stack.api}, **options)


@dataclass
class Stack:
    """A running installation."""

    state: Path
    environ: dict[str, str]
    process: subprocess.Popen[bytes]
    addresses: dict[str, Any] = field(default_factory=dict)

    @property
    def api(self) -> str:
        return self.addresses["api"]

    @property
    def cashier(self) -> str:
        return self.addresses["cashier"]

    @property
    def simulators(self) -> str:
        return self.addresses["simulators"]

    def settings(self) -> settings.Settings:
        """As its processes see them."""
        ports = {f"{name}_port": int(self.addresses[key].rsplit(":", 1)[1]) for name, key in
                 (("api", "api"), ("cashier", "cashier"), ("simulators", "simulators"), ("metrics", "metrics"))}  # fmt: skip
        return settings.load(self.environ, **ports)

    @asynccontextmanager
    async def world(self) -> AsyncIterator[World]:
        """The same environments, opened in this process: to look into the database, or to make merchants."""
        async with environments.open_world(self.settings()) as world:
            yield world

    async def merchant(self, name: str = "Shop", **options: Any) -> Shop:
        """A new merchant with an account at each simulated channel."""
        async with self.world() as world:
            return Shop(self, await provision.make_merchant(world, name, **options))

    def simulator(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
        """Call the simulators' control API."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.simulators + path, data=data, headers={"content-type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
            return json.loads(text) if text else None

    def pay(self, next_action: Any, action: str = "pay") -> Any:
        """What the payer does with the code of a WeChat Pay payment."""
        return self.simulator(
            "/sim/pay",
            {"channel": "wechatpay", "code": next_action["wechat_pay_display_qr_code"]["data"], "action": action},
        )

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def logs(self) -> str:
        """The end of every log, for a failing test."""
        return "\n".join(
            f"== {f.name}\n{f.read_text(errors='replace')[-3000:]}" for f in sorted((self.state / "logs").glob("*.log"))
        )


def start_stack(folder: Path, **environ: str) -> Stack:
    """Start an installation with its data in `folder`; `environ` are settings as the environment says them."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GUILDER_")}
    ports = {f"GUILDER_{name}_PORT": "0" for name in ("API", "CASHIER", "SIMULATORS", "METRICS")}
    ours = {**ports, "GUILDER_STATE": str(folder), "GUILDER_ENVIRONMENTS": "test", **environ}
    said = folder.with_name(folder.name + ".out")
    folder.mkdir(parents=True, exist_ok=True)
    with said.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "guilder.app.cli", "up"],
            env=clean | ours,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
        )
    stack = Stack(folder, ours, process)
    deadline = time.monotonic() + READY_S
    while not (folder / "up.json").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            stack.stop()
            raise RuntimeError(f"the stack did not start:\n{said.read_text()}\n{stack.logs()}")
        time.sleep(0.05)
    stack.addresses = json.loads((folder / "up.json").read_text())
    return stack


@contextmanager
def running(folder: Path, **environ: str) -> Iterator[Stack]:
    """A stack for the length of a test; its database goes with it."""
    from guilder.platform import embedded

    stack = start_stack(folder, **environ)
    try:
        yield stack
    finally:
        stack.stop()
        embedded.destroy(folder)


async def eventually(look: Any, *, within_s: float = 15, every_s: float = 0.05) -> Any:
    """The first true answer of `look()` (which may be a coroutine function); fails after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        seen = look()
        if asyncio.iscoroutine(seen):
            seen = await seen
        if seen:
            return seen
        assert time.monotonic() < deadline, f"it did not come to pass within {within_s} s"
        await asyncio.sleep(every_s)
