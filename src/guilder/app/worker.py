"""The worker: hands events to subscribers, sends webhooks, sweeps, runs jobs.  Run as many as you like: `python -m guilder.app.worker`.

`python -m guilder.app.worker front` is the channel front alone: it asks channels for payments that do not wait for them, and nothing else.
"""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Coroutine, Iterator
from functools import partial
from typing import Any

import uvloop

from guilder import notify
from guilder.app import domains, environments
from guilder.app.environments import World
from guilder.payments import hook_steps, sweep
from guilder.platform import breaker, jobs, outbox, runtime, settings, telemetry
from guilder.platform.environment import Env
from guilder.platform.jobs import Loop

WORKER, FRONT = "worker", "front"  # what a process is for


async def work(world: World, stop: asyncio.Event, role: str = WORKER) -> None:
    """Keep everything running until `stop`."""
    tasks = [asyncio.create_task(world.cache.follow(), name="cache")]
    for env in world.envs.values():
        chores = _fronted(env) if role == FRONT else _chores(env, fronted=world.settings.fronts > 0)
        tasks += [asyncio.create_task(c, name=f"{env.name} {name}") for name, c in chores]
    control = () if role == FRONT else domains.CONTROL_LOOPS
    tasks += [asyncio.create_task(jobs.keep(loop, world.shared()), name=f"control {loop.name}") for loop in control]
    environments.settle_memory()
    runtime.tell_ready()
    stopped = asyncio.create_task(stop.wait())
    ended, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in ended - {stopped}:
        task.result()  # a chore never ends by itself: if one did, this process ends with its error and is started again


def _fronted(env: Env) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
    """What the channel front does."""
    yield "breaker", breaker.follow(env.db, env.health)
    yield f"loop {sweep.FRONT.name}", jobs.keep(sweep.FRONT, env)


def _chores(env: Env, *, fronted: bool) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
    """What a worker does; `fronted`: there are processes for the channel front."""
    subscriptions = (*domains.SUBSCRIPTIONS, *hook_steps.subscriptions())
    events = {s.name: asyncio.Event() for s in subscriptions}
    deliveries = asyncio.Event()

    def heard(channel: str) -> None:
        if channel == notify.WAKE:
            deliveries.set()
        else:
            for event in events.values():
                event.set()

    yield "listen", env.db.listen([outbox.WAKE, notify.WAKE], heard)
    for subscription in subscriptions:
        yield f"outbox {subscription.name}", outbox.pump(env.db, subscription, events[subscription.name])
    yield "deliveries", notify.pump(env, deliveries)
    yield "breaker", breaker.follow(env.db, env.health)
    for loop in (*domains.LOOPS, Loop("jobs", 1.0, partial(_run_jobs))):
        if loop is sweep.FRONT and fronted:
            continue
        yield f"loop {loop.name}", jobs.keep(loop, env)


async def _run_jobs(env: Env) -> int:
    return await jobs.run_due(env, env.db, domains.KINDS)


async def run(s: settings.Settings, role: str = WORKER) -> None:
    """Work until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with environments.open_world(s) as world:
        await work(world, stop, role)


def main() -> None:
    """Entry point of a child of the supervisor."""
    s, role = settings.load(), FRONT if FRONT in sys.argv[1:] else WORKER
    telemetry.start_logging(role, s.log_level)
    runtime.wait_for_database()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(run(s, role))


if __name__ == "__main__":
    main()
