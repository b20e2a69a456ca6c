"""A PostgreSQL of the tests' own, and a fresh database per test module, copied from one that has every schema.

A plugin: tests that want it say `pytest_plugins = ["database"]`.
"""

import asyncio
import os
import secrets
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from guilder.app import domains
from guilder.platform import embedded, outbox, schema
from guilder.platform.crypto import Keyring
from guilder.platform.db import Database
from guilder.platform.embedded import Server
from guilder.platform.environment import Cache, Env
from guilder.platform.settings import Settings
from place import CountingTx, Place

QUICK = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "64MB"}  # nothing here is about power cuts
TEMPLATE = "every_schema"
KEYRING = Keyring(os.urandom(32))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    state = Path(tmp_path_factory.mktemp("postgres"))
    server = embedded.start(state, settings=QUICK, databases=(TEMPLATE,), say=lambda _: None)
    script = schema.script(domains.SCHEMAS)
    # In a thread of its own: a session's fixture may be made while the event loop of a test runs.
    making = threading.Thread(target=lambda: asyncio.run(schema.apply(server.dsn(TEMPLATE, "owner"), script)))
    making.start()
    making.join()
    yield server
    embedded.destroy(state)


@pytest.fixture(scope="module")
def place(postgres: Server) -> Iterator[Place]:
    """A fresh database for this module."""
    name = f"t_{secrets.token_hex(6)}"
    postgres.ensure_databases([name], template=TEMPLATE)
    yield Place(postgres, name)
    postgres.drop_database(name)


@pytest.fixture
async def db(place: Place) -> AsyncIterator[Database]:
    """The application's pool."""
    outbox.register(())
    pool = await Database("test", place.dsn(), size=10, keyring=KEYRING).open()
    yield pool
    await pool.close()


@pytest.fixture
async def tx(place: Place) -> AsyncIterator[CountingTx]:
    """A transaction that leaves nothing."""
    async with place.tx() as tx:
        yield tx


@pytest.fixture
async def env(db: Database) -> AsyncIterator[Env]:
    """An environment on that pool; its cache is always fresh."""

    async def revision() -> int:
        return 0

    env = Env("test", Settings(), db, db, KEYRING, Cache(revision))
    yield env
    for lane in env._lanes.values():
        await lane.idle()
    if env._wire is not None:
        await env._wire.close()
