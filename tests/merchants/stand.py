"""The API on a real port over a real PostgreSQL, called through the official SDK as any shop would.

A plugin: tests that want it say `pytest_plugins = ["merchants.stand"]`.
"""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import stripe
import uvloop

from guilder import notify
from guilder.merchants import api as merchants_api
from guilder.merchants import customers, keys, onboard
from guilder.merchants.principal import authenticate
from guilder.payments import api_methods
from guilder.platform import embedded, outbox, schema
from guilder.platform.crypto import Keyring
from guilder.platform.db import Database
from guilder.platform.environment import Cache, open_env
from guilder.platform.settings import Settings
from guilder.platform.web import api_key
from guilder.platform.web.app import build
from guilder.platform.web.server import make

SCHEMAS = ("guilder.platform", "guilder.ledger", "guilder.merchants", "guilder.payments", "guilder.notify")


@dataclass
class Stand:
    """A running API."""

    url: str
    control: Database
    loop: asyncio.AbstractEventLoop

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do something in the API's own event loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def client(self, key: str) -> stripe.StripeClient:
        return stripe.StripeClient(key, base_addresses={"api": self.url}, max_network_retries=0)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[embedded.Server]:
    state = Path(tmp_path_factory.mktemp("state"))
    server = embedded.start(state, databases=("guilder_control", "guilder_test"), say=lambda _: None)
    control = schema.script(["guilder.platform"]) + files("guilder.merchants").joinpath("control.sql").read_text()
    asyncio.run(schema.apply(server.dsn("guilder_control", "owner"), control))
    asyncio.run(schema.apply(server.dsn("guilder_test", "owner"), schema.script(SCHEMAS)))
    yield server
    embedded.destroy(state)


@pytest.fixture(scope="session")
def stand(server: embedded.Server) -> Iterator[Stand]:
    """The calls of customers, payment methods and events, serving."""
    sock = socket.create_server(("127.0.0.1", 0))
    ready: list[Stand] = []
    up = threading.Event()
    customers.register(api_methods.STEPS)
    outbox.register(())

    async def serve() -> None:
        control = await Database("control", server.dsn("guilder_control", "app"), size=2).open()
        cache = Cache(lambda: keys.revision(control))
        env = await open_env(
            "test", Settings(), server.dsn("guilder_test", "app"), control, Keyring(os.urandom(32)), cache
        )
        app = build(
            [*merchants_api.ROUTES, *api_methods.ROUTES, *notify.ROUTES],
            authenticate=lambda headers: authenticate({"test": env}, api_key(headers)),
            resources=[*merchants_api.RESOURCES, *api_methods.RESOURCES],
        )
        http = make(app, grace_s=1)
        ready.append(Stand(f"http://127.0.0.1:{sock.getsockname()[1]}", control, asyncio.get_running_loop()))
        stop.append(lambda: setattr(http, "should_exit", True))
        up.set()
        await http.serve(sockets=[sock])
        await env.close()
        await control.close()

    stop: list[Callable[[], None]] = []
    thread = threading.Thread(target=uvloop.run, args=(serve(),))
    thread.start()
    assert up.wait(30)
    yield ready[0]
    stop[0]()
    thread.join()


@dataclass
class Merchant:
    """A merchant and its clients."""

    stand: Stand
    id: Any

    def client(self, kind: str = "sk", *scopes: str) -> stripe.StripeClient:
        """A client with a new key of this merchant."""
        made = self.stand.run(self.stand.control.transact(lambda tx: keys.make(tx, self.id, "test", kind, scopes)))
        return self.stand.client(made.secret)


@pytest.fixture
def new_merchant(stand: Stand) -> Callable[[], Merchant]:
    return lambda: Merchant(stand, stand.run(stand.control.transact(lambda tx: onboard.onboard(tx, "Tea House"))))


@pytest.fixture
def merchant(new_merchant: Callable[[], Merchant]) -> Merchant:
    return new_merchant()


@pytest.fixture
def shop(merchant: Merchant) -> stripe.StripeClient:
    """The official SDK with a secret key of a merchant of this test's own."""
    return merchant.client()


@pytest.fixture
def told(shop: stripe.StripeClient) -> Callable[[], list[tuple[str, Any]]]:
    """What was said of the merchant's things, oldest first: (type, previous_attributes)."""

    def read() -> list[tuple[str, Any]]:
        events = shop.v1.events.list({"limit": 100}).data
        return [(e.type, getattr(e.data, "previous_attributes", None)) for e in reversed(events)]

    return read
