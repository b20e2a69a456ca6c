"""The trial shop on a real port, in a thread of its own: SDKs and tools call it as anybody would."""

import socket
import threading
from collections.abc import Iterator

import pytest
import uvloop
from trial_shop import Running, Shelf, shop

from guilder.platform.web.server import make


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """The trial shop, serving; a request may take one second to arrive."""
    shelf = Shelf()
    sock = socket.create_server(("127.0.0.1", 0))
    server = make(shop(shelf), grace_s=1, request_timeout_s=1.0)
    thread = threading.Thread(target=uvloop.run, args=(server.serve(sockets=[sock]),))
    thread.start()
    yield Running(sock.getsockname()[1], shelf)
    server.should_exit = True
    thread.join()
