"""Everything, running, and what tests do to it.

shop = await stack.merchant()
shop.client().v1.payment_intents.create(...)
"""

import asyncio
import json
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import stripe

from guilder.app import environments, installation, provision
from guilder.app.environments import World
from guilder.app.installation import Installation
from guilder.core import ids


@dataclass
class Shop:
    """A merchant of one test."""

    stack: "Stack"
    demo: provision.Demo

    @property
    def key(self) -> str:
        return self.demo.secret_key

    @property
    def book_id(self) -> UUID:
        book = ids.read("acct", self.demo.merchant)
        assert book is not None
        return book

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Ask for what no SDK has a call for: `path` after /v1/."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        with urllib.request.urlopen(
            urllib.request.Request(f"{self.stack.api}/v1/{path}", json.dumps(body).encode(), headers), timeout=30
        ) as answer:
            return json.load(answer)

    def get(self, path: str) -> Any:
        """Ask for what no SDK has a call for: `path` after /v1/."""
        headers = {"Authorization": f"Bearer {self.key}"}
        with urllib.request.urlopen(
            urllib.request.Request(f"{self.stack.api}/v1/{path}", headers=headers), timeout=30
        ) as answer:
            return json.load(answer)

    def ledger(self) -> dict[str, list[str]]:
        """Two ledger accounts of the shop's own and two journals between them: their ids, by prefix."""
        accounts = [self.post("ledger/accounts", {"code": f"x:{n}", "asset": "point", "unlimited": True}) for n in "ab"]
        move = {"debit": "x:a", "credit": "x:b", "asset": "point", "units": 1}
        posted = self.post("ledger/journals", {"journals": [{"key": str(n), "transfers": [move]} for n in range(2)]})
        return {"la": [a["id"] for a in accounts], "jl": [a["journal"] for a in posted["answers"]]}

    def counter(self) -> dict[str, str]:
        """A store of the shop's own, a till of it and who stands there: their ids, by prefix."""
        n = ids.text(ids.new_id())
        store = self.post("stores", {"code": n, "name": "Store"})["id"]
        till = self.post("terminals", {"code": n, "name": "Till", "store": store})["id"]
        return {"sto": store, "ter": till, "ope": self.post("operators", {"code": n, "name": "Li"})["id"]}

    def client(self, **options: Any) -> stripe.StripeClient:
        """The official SDK, pointed at this stack."""
        return stripe.StripeClient(self.key, base_addresses={"api": self.stack.api}, **options)


@dataclass
class Stack:
    """A running installation."""

    it: Installation

    @property
    def api(self) -> str:
        return self.it.at.api

    @property
    def cashier(self) -> str:
        return self.it.at.cashier

    @property
    def simulators(self) -> str:
        return self.it.at.simulators

    @asynccontextmanager
    async def world(self) -> AsyncIterator[World]:
        """The same environments, opened in this process: to look into the database, or to make merchants."""
        async with environments.open_world(self.it.settings()) as world:
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
        """What the payer does with the code of a payment."""
        kind = next_action["type"]
        code = next_action[kind]["url" if kind == "alipay_handle_redirect" else "data"]
        return self.simulator("/sim/pay", {"code": code, "action": action})


@contextmanager
def running(folder: Path, **environ: str) -> Iterator[Stack]:
    """A stack for the length of a test; its database goes with it."""
    with installation.running(folder, **environ) as it:
        yield Stack(it)


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
