"""What the conversations share: a shop in a running installation, and the shop's own server, which hears webhooks."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import stripe
from sdk_talk import CHANNELS, Heard, Hooks, Keys, Talk

from guilder.merchants import channel_accounts, onboard
from guilder.merchants import keys as making
from stack import Shop, Stack


@pytest.fixture(scope="module")
async def shop(anyio_backend: object, stack: Stack) -> Shop:
    """A merchant of this module."""
    return await stack.merchant(channels=CHANNELS)


@pytest.fixture(scope="module")
def client(shop: Shop) -> stripe.StripeClient:
    """The official SDK with the merchant's secret key."""
    return shop.client()


@pytest.fixture(scope="module")
def hooks() -> Iterator[Hooks]:
    """The shop's server: it says 200 to every webhook, and keeps it."""
    heard: list[Heard] = []

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.append(Heard(body, dict(self.headers)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Hooks(f"http://127.0.0.1:{server.server_port}/webhooks", heard)
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
async def keys(anyio_backend: object, shop: Shop) -> Keys:
    """See `Keys`."""
    stack = shop.stack
    opened = stack.simulator("/sim/accounts", {"channel": "wechatpay", "name": "Another", "trust": "public_key"})
    async with stack.world() as world:
        reader = await world.control.transact(
            lambda tx: making.make(tx, shop.book_id, "test", "rk", ("payments:read",))
        )
        other = await world.control.transact(lambda tx: onboard.onboard(tx, "Declined", business_line="demo"))
        declined = await world.control.transact(lambda tx: making.make(tx, other, "test", "sk"))
        wrong = {**opened["config"], "appid": "wx0000000000000000"}
        await channel_accounts.add(world.envs["test"], other, "wechatpay", wrong)
    return Keys(reader.secret, shop.demo.publishable_key, declined.secret)


@pytest.fixture(scope="module")
def talk(shop: Shop, hooks: Hooks, keys: Keys) -> Talk:
    """One shop's side of the conversations."""
    return Talk(shop, hooks, keys)
