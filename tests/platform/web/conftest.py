"""The trial shop on a real port, in a thread of its own: SDKs and tools call it as anybody would."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import uvloop
from shop import Shelf, shop

from guilder.platform.web.server import BoundedHttp, make


@dataclass(frozen=True)
class Running:
    """A server and where it listens."""

    url: str
    port: int
    shelf: Shelf


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """The trial shop, serving."""
    shelf = Shelf()
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    server = make(shop(shelf), grace_s=1)
    thread = threading.Thread(target=uvloop.run, args=(server.serve(sockets=[sock]),))
    thread.start()
    socket.create_connection(("127.0.0.1", port), timeout=10).close()
    yield Running(f"http://127.0.0.1:{port}", port, shelf)
    server.should_exit = True
    thread.join()
