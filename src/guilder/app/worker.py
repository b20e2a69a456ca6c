"""The worker: hands events to subscribers, sends webhooks, sweeps, runs jobs.  Run as many as you like: `python -m guilder.app.worker`."""

import asyncio
import contextlib
import signal
from collections.abc import Coroutine, Iterator
from functools import partial
from typing import Any

import uvloop

from guilder import notify
from guilder.app import domains, environments
from guilder.app.environments import World
from guilder.platform import jobs, outbox, runtime, settings, telemetry
from guilder.platform.environment import Env
from guilder.platform.jobs import Loop


async def work(world: World, stop: asyncio.Event) -> None:
    """Keep everything running until `stop`."""
    tasks = [asyncio.create_task(world.cache.follow(), name="cache")]
    for env in world.envs.values():
        tasks += [asyncio.create_task(c, name=f"{env.name} {name}") for name, c in _chores(env)]
    tasks += [
        asyncio.create_task(jobs.keep(loop, world.shared()), name=f"control {loop.name}")
        for loop in domains.CONTROL_LOOPS
    ]
    environments.settle_memory()
    runtime.tell_ready()
    stopped = asyncio.create_task(stop.wait())
    ended, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in ended - {stopped}:
        task.result()  # a chore never ends by itself: if one did, this process ends with its error and is started again


def _chores(env: Env) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
    events = {s.name: asyncio.Event() for s in domains.SUBSCRIPTIONS}
    deliveries = asyncio.Event()

    def heard(channel: str) -> None:
        if channel == notify.WAKE:
            deliveries.set()
        else:
            for event in events.values():
                event.set()

    yield "listen", env.db.listen([outbox.WAKE, notify.WAKE], heard)
    for subscription in domains.SUBSCRIPTIONS:
        yield f"outbox {subscription.name}", outbox.pump(env.db, subscription, events[subscription.name])
    yield "deliveries", notify.pump(env, deliveries)
    for loop in (*domains.LOOPS, Loop("jobs", 1.0, partial(_run_jobs))):
        yield f"loop {loop.name}", jobs.keep(loop, env)


async def _run_jobs(env: Env) -> int:
    return await jobs.run_due(env, env.db, domains.KINDS)


async def run(s: settings.Settings) -> None:
    """Work until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with environments.open_world(s) as world:
        await work(world, stop)


def main() -> None:
    """Entry point of a child of the supervisor."""
    s = settings.load()
    telemetry.start_logging("worker", s.log_level)
    runtime.wait_for_database()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(run(s))


if __name__ == "__main__":
    main()
