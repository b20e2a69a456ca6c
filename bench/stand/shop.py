"""Process: the shop.  It hears webhooks, verifies each as a careful merchant would, and tells when each payment's came.

    python -m stand.shop RECEIPTS        (a descriptor to write receipts to)

Standard input and output are lines of JSON: it says `{"port": n}`, is told the secrets (one per path `/0`, `/1` ...), and
answers `{}` with its counts.  `/callback` takes anything: a channel's callback that nobody waits for.
"""

import asyncio
import hashlib
import hmac
import os
import re
import struct
import sys
import time
from collections import Counter

import msgspec
import uvloop

from stand.line import Messages

RECEIPT = struct.Struct("<29sd")  # the payment's id, and time.monotonic() of its webhook
TOLERANCE_S = 300
_STRIPE = re.compile(rb"\r\nstripe-signature: *t=(\d+),(v1=[^\r]*)\r", re.IGNORECASE)
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_NO = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


class _Object(msgspec.Struct):
    id: str
    status: str


class _Data(msgspec.Struct):
    object: _Object


class _Event(msgspec.Struct):
    type: str
    data: _Data


_read = msgspec.json.Decoder(_Event).decode


class Shop:
    """What it knows and has heard."""

    def __init__(self, receipts: int) -> None:
        self.secrets: list[bytes] = []
        self.counts: Counter[str] = Counter()
        self._seen: set[str] = set()
        self._receipts = receipts

    def hear(self, head: bytes, body: bytes) -> bytes:
        """The answer to one request."""
        path = head.split(b" ", 2)[1]
        if path == b"/callback":
            return _OK
        signed = _STRIPE.search(head)
        if signed is None or not self._authentic(int(path[1:]), signed[1], signed[2], body):
            self.counts["forged"] += 1
            return _NO
        event = _read(body)
        if event.type != "payment_intent.succeeded" or event.data.object.status != "succeeded":
            self.counts["others"] += 1
            return _OK
        id = event.data.object.id
        self.counts["twice" if id in self._seen else "once"] += 1
        self._seen.add(id)
        os.write(self._receipts, RECEIPT.pack(id.encode(), time.monotonic()))
        return _OK

    def _authentic(self, number: int, at: bytes, given: bytes, body: bytes) -> bool:
        expected = hmac.new(self.secrets[number], at + b"." + body, hashlib.sha256).hexdigest().encode()
        fresh = abs(time.time() - int(at)) < TOLERANCE_S
        return fresh and any(hmac.compare_digest(b"v1=" + expected, one) for one in given.split(b","))


class _Till(Messages):
    def __init__(self, shop: Shop) -> None:
        super().__init__()
        self._shop = shop

    def message(self, head: bytes, body: bytes) -> None:
        self.write(self._shop.hear(head, body))


async def serve(receipts: int) -> None:
    """Until standard input ends."""
    shop = Shop(receipts)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Till(shop), "127.0.0.1", 0, backlog=1024)
    _say({"port": server.sockets[0].getsockname()[1]})
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        told = msgspec.json.decode(line)
        shop.secrets = [secret.encode() for secret in told.get("secrets", [])] or shop.secrets
        _say(dict(shop.counts))


def _say(what: object) -> None:
    sys.stdout.write(msgspec.json.encode(what).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
