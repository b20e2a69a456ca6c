"""The HTTP processes: `python -m guilder.app.http api` and `… cashier`."""

import asyncio
import socket
import sys
from collections.abc import Callable, Mapping

import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route as Page

from guilder import __version__
from guilder.app import domains, environments
from guilder.app.environments import World
from guilder.merchants.principal import Principal, authenticate
from guilder.payments import callbacks
from guilder.people import principal as people
from guilder.people import sso_pages
from guilder.platform import breaker, idempotency, runtime, settings, telemetry
from guilder.platform.once import context_of
from guilder.platform.settings import Settings
from guilder.platform.web import Call, api_key
from guilder.platform.web.app import build
from guilder.platform.web.server import make

ABOUT = (
    "Guilder's API speaks the dialect of the official stripe server SDKs: point one at this address. What Stripe has and Guilder does "
    "not honour is refused by name. Guilder is compatible with these SDKs and nobody's partner."
)


def api(world: World) -> Starlette:
    """The API with its reference, the channels' callbacks and the health page."""

    async def who(headers: Mapping[str, str]) -> Principal:
        key = api_key(headers)
        if key.partition("_")[0] in people.PREFIXES:
            return await people.authenticate(world.envs, key, headers)
        return await authenticate(world.envs, key)

    def observe(call: Call, name: str, status: int, seconds: float) -> None:
        telemetry.REQUESTS.labels(name, str(status)).observe(seconds)

    any_env = next(iter(world.envs.values()))  # people are the same in all of them
    return build(
        domains.ROUTES,
        authenticate=who,
        resources=domains.RESOURCES,
        others=[*callbacks.routes(world.envs), *sso_pages.routes(any_env), health(world)],
        nobody=people.nobody(any_env),
        begin=context_of,
        observe=observe,
        release=__version__,
        description=ABOUT,
    )


def pages(world: World, stopping: Callable[[], bool]) -> Starlette:
    """The cashier's pages."""
    from guilder.cashier import pages as cashier  # templates, languages, pictures: the API's processes need none of it

    return Starlette(routes=[health(world), *cashier.pages(world.envs, stopping)])


def health(world: World) -> Page:
    """200 while the databases answer."""

    async def answer(request: Request) -> Response:
        await world.cache.refresh()
        return PlainTextResponse("ok\n")

    return Page("/health", answer)


async def serve(kind: str, s: Settings) -> None:
    """Serve until SIGTERM."""
    async with environments.open_world(s) as world:
        app = api(world) if kind == "api" else pages(world, lambda: server.should_exit)
        chores = [
            asyncio.create_task(c)
            for c in (
                world.cache.follow(),
                *(idempotency.beat(e.db) for e in world.envs.values()),
                *(breaker.follow(e.db, e.health) for e in world.envs.values()),
            )
        ]
        sockets = runtime.inherited_sockets() or [
            socket.create_server((s.host, s.api_port if kind == "api" else s.cashier_port))
        ]
        server = make(app, trusted_proxies=s.trusted_proxies)
        environments.settle_memory()
        runtime.tell_ready()
        await server.serve(sockets=sockets)
        for chore in chores:
            chore.cancel()


def main() -> None:
    """Entry point of a child of the supervisor."""
    kind = sys.argv[1]
    s = settings.load()
    telemetry.start_logging(kind, s.log_level)
    if kind == "cashier":
        import guilder.cashier.pages  # noqa: F401  loaded while PostgreSQL starts
    runtime.wait_for_database()
    uvloop.run(serve(kind, s))


if __name__ == "__main__":
    main()
