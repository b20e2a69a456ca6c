"""The HTTP server: uvicorn with uvloop and httptools, and the bounds that it lacks.

    await make(app, grace_s=20).serve(sockets=[sock])     # the supervisor opened the socket; several workers share it

httptools keeps whatever headers come (50 MB were accepted), and uvicorn waits for them without end.  Here a request's line
and headers have 64 kB, and the whole of it, body included, 30 seconds.  What cannot reach the application is answered with the envelope too.
"""

import asyncio

import msgspec
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from guilder.core.ids import new_id, show

MAX_HEADERS = 64 * 1024
MAX_CHUNKING = 1024 * 1024  # what chunked encoding may take beside the body, trailers included
REQUEST_TIMEOUT_S = 30.0


class _TooLong(Exception):
    """Stops httptools in the middle of a request."""


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol with bounds on the size of a request's head and on how long a request may take to arrive."""

    timeout_s = REQUEST_TIMEOUT_S
    _in_head = False
    _in_request = False
    _loose_bytes = 0  # received for this request and not part of its body
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_request:
            self._loose_bytes += len(data)
            if self._loose_bytes > (MAX_HEADERS if self._in_head else MAX_CHUNKING):
                self._refuse(431, "The request's headers are larger than 64 kB.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._in_request, self._loose_bytes = True, True, 0
        if self._deadline is None:
            self._wait()

    def on_headers_complete(self) -> None:
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEADERS:
            self._refuse(431, "The request's headers are larger than 64 kB.")
            raise _TooLong
        self._in_head = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._loose_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_request = False
        self._stop_waiting()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """httptools could not read the request, or we told it to stop."""
        self._refuse(400, "This is not a valid HTTP request.")

    def _unsupported_upgrade_warning(self) -> None:
        """Somebody asks for a websocket; the request is answered as what it is, and no log is filled."""

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(self.timeout_s, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self._in_request:
            self._refuse(408, "The request did not arrive in time.")
        else:
            self.transport.close()

    def _refuse(self, status: int, message: str) -> None:
        """Answer and hang up; only hang up if the answer could be taken for that to another request."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if (
            cycle is not None
            and not cycle.response_complete
            and (self._in_head or cycle.response_started or self.pipeline)
        ):
            self.transport.close()
            return
        body = msgspec.json.encode(
            {"error": {"type": "invalid_request_error", "code": "request_invalid", "message": message}}
        )
        head = (
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\nrequest-id: {show('req', new_id())}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(STATUS_LINE[status] + head.encode() + body)
        self.transport.close()


def make(
    app: ASGIApp,
    *,
    grace_s: int = 20,
    keep_alive_s: int = 65,
    request_timeout_s: float = REQUEST_TIMEOUT_S,
    trusted_proxies: str = "",
) -> uvicorn.Server:
    """A server for `app`.  `await server.serve(sockets=[sock])` runs it until SIGTERM or `server.should_exit`; then it takes
    nothing new and gives running requests `grace_s`.

    `trusted_proxies`: addresses (comma separated) whose X-Forwarded-For is believed; empty: none.
    """
    return uvicorn.Server(
        uvicorn.Config(
            app,
            loop="uvloop",
            http=type("BoundedHttp", (BoundedHttp,), {"timeout_s": request_timeout_s}),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=trusted_proxies or None,
            timeout_keep_alive=keep_alive_s,
            timeout_graceful_shutdown=grace_s,
            backlog=4096,
        )
    )
