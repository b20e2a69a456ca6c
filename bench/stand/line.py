"""HTTP/1.1 with Content-Length on raw asyncio protocols: about a tenth of the CPU of a full client or server."""

import asyncio
import re
from typing import cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
Answer = tuple[int, bytes, bytes]  # status, head, body


class Messages(asyncio.Protocol):
    """Cuts what arrives into messages."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            head = data[: end + 2]
            found = _LENGTH.search(head)
            stop = end + 4 + (int(found[1]) if found else 0)
            if len(data) < stop:
                break
            self.message(head, data[end + 4 : stop])
            data = data[stop:]
        self._rest = data

    def message(self, head: bytes, body: bytes) -> None:
        """One whole message."""
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)


class Line(Messages):
    """One connection of a client: a question at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.open = True
        self._asked: asyncio.Future[Answer] | None = None

    def ask(self, request: bytes) -> "asyncio.Future[Answer]":
        """Send a request; the future has its answer, or ConnectionError."""
        self._asked = asyncio.get_running_loop().create_future()
        self.write(request)
        return self._asked

    def message(self, head: bytes, body: bytes) -> None:
        asked, self._asked = self._asked, None
        if asked is not None and not asked.done():
            asked.set_result((int(head[9:12]), head, body))

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(ConnectionError(f"the connection was closed: {exc}"))


class Lines:
    """As many connections to one address as there are questions at a time; they are kept."""

    def __init__(self, address: str) -> None:
        """`address`: http://host:port."""
        host, _, port = address.rpartition("://")[2].partition(":")
        self._host, self._port = host, int(port)
        self._idle: list[Line] = []
        self.opened = 0

    async def ask(self, request: bytes) -> Answer:
        """Send and wait.  Raises ConnectionError."""
        line = None
        while self._idle and line is None:
            line = self._idle.pop()
            line = line if line.open else None
        if line is None:
            _, line = await asyncio.get_running_loop().create_connection(Line, self._host, self._port)
            self.opened += 1
        answer = await line.ask(request)
        self._idle.append(line)
        return answer


def request(method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    """A request as bytes."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body
