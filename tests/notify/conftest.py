"""A PostgreSQL, an environment, merchants' servers that really listen, and the courier between them."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web

from guilder.core import clock, ids
from guilder.notify import WAKE, WITNESSES, Policy, pump, sign
from guilder.notify.endpoints import create_many
from guilder.notify.model import Endpoint, about
from guilder.notify.settle import save
from guilder.platform import db, embedded, outbox, schema
from guilder.platform.crypto import Keyring
from guilder.platform.db import Tx
from guilder.platform.environment import Cache, Env
from guilder.platform.outbox import Event
from guilder.platform.settings import Settings
from guilder.platform.sql import Query
from guilder.platform.web.call import VERSION

Respond = Callable[[web.Request], Awaitable[web.Response]]
QUICK = Policy(schedule_s=(0.0,) * 9, timeout_s=2.0, idle_s=0.25, grace_s=0.0)

EVENTS = Query("events", "SELECT * FROM platform.event WHERE book_id = $1 ORDER BY id DESC")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[embedded.Server]:
    state = Path(tmp_path_factory.mktemp("state"))
    yield embedded.start(state, databases=("guilder_test",), say=lambda _: None)
    embedded.destroy(state)


@pytest.fixture(scope="session")
async def database(server: embedded.Server) -> embedded.Server:
    await schema.apply(server.dsn("guilder_test", "owner"), schema.script(["guilder.platform", "guilder.notify"]))
    return server


@pytest.fixture
async def env(database: embedded.Server) -> AsyncIterator[Env]:
    async with connect(database, "test") as env:
        yield env


@asynccontextmanager
async def connect(database: embedded.Server, name: str) -> AsyncIterator[Env]:
    """An environment `name` on the test's database, empty at the end."""
    outbox.register((), WITNESSES)
    pool = await db.Database(name, database.dsn("guilder_test", "app"), size=4).open()
    env = Env(name, Settings(), pool, pool, Keyring(os.urandom(32)), Cache(lambda: asyncio.sleep(0, 0)))
    try:
        yield env
    finally:
        await env.close()
        async with db.connected(database.dsn("guilder_test", "owner")) as connection:
            await connection.execute(
                "TRUNCATE notify.endpoint, notify.delivery, notify.delivery_try, platform.event, platform.outbox, platform.case"
            )


@dataclass
class Shop:
    """A merchant's server, and what it heard."""

    url: str
    respond: Respond
    heard: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def hears(self, n: int, within_s: float = 20.0) -> None:
        """Wait until `n` requests have come."""
        async with asyncio.timeout(within_s), self.news:
            await self.news.wait_for(lambda: len(self.bodies) >= n)

    @property
    def ids(self) -> list[str]:
        return [r.headers["webhook-id"] for r in self.heard]


async def fine(_: web.Request) -> web.Response:
    return web.Response(text="ok")


@pytest.fixture
async def open_shop() -> AsyncIterator[Callable[..., Awaitable[Shop]]]:
    runners: list[web.AppRunner] = []

    async def open_one(respond: Respond = fine, host: str = "127.0.0.1") -> Shop:
        async def handle(request: web.Request) -> web.Response:
            body = await request.read()
            async with shop.news:
                shop.heard.append(request)
                shop.bodies.append(body)
                shop.times.append(asyncio.get_running_loop().time())
                shop.news.notify_all()
            return await shop.respond(request)

        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.0, handler_cancellation=True)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, host, 0)
        await site.start()
        port = runner.addresses[0][1]
        shop = Shop(f"http://{host}:{port}/hook", respond)
        return shop

    yield open_one
    for runner in runners:
        await runner.cleanup()


@dataclass
class Book:
    """A merchant's book: its endpoints and events."""

    env: Env
    id: UUID = field(default_factory=ids.new_id)

    async def endpoint(self, url: str, events: Sequence[str] = ("*",), **more: Any) -> tuple[Endpoint, str]:
        """Make an endpoint; it and its secret."""
        id, secret = ids.new_id(), sign.mint()
        sealed = self.env.keyring.seal(secret.encode(), about(id))
        e = Endpoint(self.id, id, url, tuple(events), VERSION, None, "{}", sealed, clock.now())
        e = replace(e, **more)

        async def work(tx: Tx) -> None:
            assert await create_many(tx, [e]) == [e]
            await save(tx, [e])  # the state that it is to be in already

        await self.env.db.transact(work)
        return e, secret

    async def happens(
        self, *types: str, object_id: UUID | None = None, first_version: int = 1, **more: Any
    ) -> list[str]:
        """Emit events; their ids."""
        object_id = object_id or ids.new_id()
        events = [
            Event(
                self.id, type, object_id, first_version + n, json.dumps({"id": f"pi_{n}", "object": "payment_intent", "amount": n}),
                clock.now(), ids.new_id(), **more,
            )
            for n, type in enumerate(types)
        ]  # fmt: skip

        async def work(tx: Tx) -> list[UUID]:
            return outbox.emit(tx, events)

        made = await self.env.db.transact(work)
        return [ids.show("evt", id) for id in made]

    async def page(self) -> list[tuple[Any, ...]]:
        """The deliveries: (state, tries, statuses), in the order of their events."""
        async with db.connected(self.env.db._dsn) as connection:
            rows = await connection.fetch(
                """SELECT d.state, d.tries, (SELECT array_agg(t.status ORDER BY t.fence) FROM notify.delivery_try t
                    WHERE t.book_id = d.book_id AND t.endpoint_id = d.endpoint_id AND t.event_id = d.event_id) AS statuses
                     FROM notify.delivery d WHERE d.book_id = $1 ORDER BY d.event_id, d.endpoint_id""",
                self.id,
            )
        return [(r["state"], r["tries"], r["statuses"]) for r in rows]

    async def becomes(self, *expected: tuple[Any, ...], within_s: float = 20.0) -> None:
        """Wait until the page reads as expected."""
        async with asyncio.timeout(within_s):
            while (now := await self.page()) != list(expected):
                await asyncio.sleep(0.02)
        assert now == list(expected)


@pytest.fixture
def book(env: Env) -> Book:
    return Book(env)


class Watch:
    """A clock that a test sets forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return clock.now() + self.ahead

    def forward(self, **by: float) -> None:
        self.ahead += timedelta(**by)


@asynccontextmanager
async def courier(env: Env, policy: Policy = QUICK, **more: Any) -> AsyncIterator[asyncio.Event]:
    """The pump and its wake-up, as a worker runs them."""
    wake = asyncio.Event()
    tasks = [
        asyncio.create_task(pump(env, wake, policy=policy, **more)),
        asyncio.create_task(env.db.listen([WAKE], lambda _: wake.set())),
    ]
    try:
        yield wake
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
