"""What every client script shares: its task on stdin, a door for callbacks, and the report on stdout.

Runs inside the client's own environment, so it may use the standard library only.
"""

import json
import queue
import sys
import threading
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Report:
    """One line per operation: what was asked, by which call of the client, and what came of it."""

    def __init__(self) -> None:
        task = json.load(sys.stdin)
        self.url: str = task["url"]
        self.config: dict[str, str] = task["config"]
        self.rows: list[dict[str, str]] = []
        self.callbacks: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()
        self.ack = b"{}"
        report = self

        class Door(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                report.callbacks.put((dict(self.headers), body))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(report.ack)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._door = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.notify_url = f"http://127.0.0.1:{self._door.server_port}/callback"
        threading.Thread(target=self._door.serve_forever, daemon=True).start()

    def sim(self, path: str, **body: Any) -> Any:
        """A call of the simulators' control API."""
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.load(reply)

    def step(self, operation: str, call: str, act: Callable[[], Any]) -> Any:
        """Do one operation; an exception is what came of it."""
        try:
            result = act()
        except Exception as error:
            self.rows.append({"operation": operation, "call": call, "result": f"{type(error).__name__}: {error}"})
            raise SystemExit(self.end()) from error
        self.rows.append({"operation": operation, "call": call, "result": "ok"})
        return result

    def end(self) -> int:
        """Print the report."""
        json.dump(self.rows, sys.stdout, ensure_ascii=False)
        return 0


def check(condition: object, what: object) -> None:
    """Raise with what was seen unless the condition holds."""
    if not condition:
        raise AssertionError(what)
