"""The simulators as a process of their own, and a shop that hears their callbacks.  For tests."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Simulators:
    """`python -m guilder.simulators` over a data directory; the port outlives `kill -9`."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Simulators":
        """Start, and return when it answers."""
        fd = self._socket.fileno()
        command = [sys.executable, "-m", "guilder.simulators", "--data", str(self.data), "--fd", str(fd)]
        self._process = subprocess.Popen(command, pass_fds=[fd])
        self.get("/health")  # the socket listens already: this waits in its backlog
        return self

    def kill(self) -> None:
        """kill -9"""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and the end of the port."""
        if self._process is not None:
            self._process.terminate()
            assert self._process.wait(10) in (0, -9, -15)
        self._socket.close()

    def get(self, path: str) -> Any:
        """GET a path of the control API."""
        return self.call("GET", path)

    def post(self, path: str, **body: Any) -> Any:
        """POST to the control API."""
        return self.call("POST", path, body)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """A call of the control API; raises AssertionError with what it said if it refused."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                content = reply.read()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from error
        return json.loads(content) if content.startswith((b"{", b"[")) else content.decode()

    def open_account(self, channel: str, **options: str | dict[str, str]) -> dict[str, str]:
        """What a new merchant is given."""
        return self.post("/sim/accounts", channel=channel, **options)["config"]

    def trade(self, account: str, out_trade_no: str) -> Any:
        """One order with its refunds and callbacks, from the book."""
        [trade] = self.get(f"/sim/book?account={account}&out_trade_no={out_trade_no}")["trades"]
        return trade

    def until(self, look: Callable[[], Any], seconds: float = 10) -> Any:
        """Look until what is seen is true."""
        deadline = time.monotonic() + seconds
        while not (seen := look()):
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.02)
        return seen


@dataclass
class Heard:
    """One callback as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Shop:
    """An HTTP server that takes callbacks; `answer` decides what it says."""

    answer: Callable[[Heard], tuple[int, bytes]] = lambda heard: (200, b"success")
    heard: list[Heard] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._arrived = threading.Condition()
        shop = self

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                heard = Heard(self.path, dict(self.headers), body)
                status, answer = shop.answer(heard)
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                with shop._arrived:
                    shop.heard.append(heard)
                    shop._arrived.notify_all()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """A simulator that was killed has hung up: nothing to say."""

        self._server = Quiet(("127.0.0.1", 0), Door)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def wait(self, count: int, seconds: float = 10) -> list[Heard]:
        """Wait until so many callbacks have come."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.heard) >= count, seconds), f"{len(self.heard)} callbacks"
            return list(self.heard)

    def close(self) -> None:
        """Close the shop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def is_ci() -> bool:
    """Whether a test that cannot run must fail."""
    return os.environ.get("CI", "").lower() == "true"
