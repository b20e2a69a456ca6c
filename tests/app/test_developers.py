"""`guilder listen` and `guilder trigger`, as a developer runs them against an installation of his own."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import stripe

from command import guilder
from guilder.app.trigger import RECIPES
from stack import Stack, eventually

pytestmark = pytest.mark.anyio


class Endpoint(BaseHTTPRequestHandler):
    """A shop's webhook endpoint that keeps what it hears."""

    heard: list[tuple[bytes, str]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.heard.append((body, self.headers["Stripe-Signature"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def endpoint() -> Iterator[tuple[str, list[tuple[bytes, str]]]]:
    heard: list[tuple[bytes, str]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Mine", (Endpoint,), {"heard": heard}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", heard
    server.shutdown()
    server.server_close()


async def test_what_happens_is_heard_signed_and_once(
    stack: Stack, endpoint: tuple[str, list[tuple[bytes, str]]]
) -> None:
    url, heard = endpoint
    ours = {k: v for k, v in os.environ.items() if not k.startswith("GUILDER_")} | stack.it.environ
    words = [sys.executable, "-m", "guilder.app.cli", "listen", "--forward-to", url, "--events", "payment_intent.*"]
    with subprocess.Popen(words, env=ours, stdout=subprocess.PIPE, text=True) as listening:
        assert listening.stdout is not None
        secret = listening.stdout.readline().split("secret is ")[1].split()[0]
        done = guilder(stack, "trigger", "payment_intent.succeeded")
        assert done.returncode == 0, done.stdout + done.stderr
        await eventually(lambda: any(b'"payment_intent.succeeded"' in body for body, _ in list(heard)))
        listening.send_signal(signal.SIGINT)
        said = listening.stdout.read()
    events = [stripe.Webhook.construct_event(body, signature, secret) for body, signature in heard]
    assert {e.type for e in events} >= {"payment_intent.created", "payment_intent.succeeded"}
    assert all(e.type.startswith("payment_intent.") for e in events) and len({e.id for e in events}) == len(events)
    assert "[200]" in said and json.loads(heard[0][0])["object"] == "event"


@pytest.mark.parametrize("name", RECIPES)
async def test_what_is_triggered_happens(stack: Stack, name: str) -> None:
    done = guilder(stack, "trigger", name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"{name}  evt_")


async def test_what_cannot_be_triggered_is_refused_with_what_can(stack: Stack) -> None:
    done = guilder(stack, "trigger", "payment_intent.eaten")
    assert done.returncode == 1 and "payment_intent.succeeded" in done.stderr
