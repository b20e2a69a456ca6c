"""Open what a process needs: settings, the control database, and each environment."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from guilder.app import domains
from guilder.merchants import customers, kept, keys
from guilder.payments import callbacks, hook_steps, hooks, refund
from guilder.platform import approval, case, cluster, crypto, embedded, failpoints, outbox, recorder, schema, timeline
from guilder.platform.db import Database
from guilder.platform.embedded import CONTROL, Role, Server, database_of
from guilder.platform.environment import Cache, Env, open_env
from guilder.platform.settings import Settings


@dataclass(frozen=True, slots=True)
class World:
    """Every environment that this process serves, and what they share."""

    settings: Settings
    control: Database
    cache: Cache
    envs: dict[str, Env]

    def shared(self) -> Env:
        """The control database as if it were an environment, for what looks after it."""
        keyring = next(iter(self.envs.values())).keyring
        return Env("control", self.settings, self.control, self.control, keyring, self.cache)


def dsn(settings: Settings, database: str, role: Role = "app") -> dict[str, Any]:
    """How to log in to a database: the operator's server, or the embedded one of the state folder."""
    external = embedded.external(settings.database_url, settings.owner_database_url)
    if external is not None:
        return external.dsn(database, role)
    state = settings.state_path.absolute()
    return Server(cluster.read(state), 0, cluster.passwords(state)).dsn(database, role)


async def apply_schemas(settings: Settings) -> None:
    """Make the schemas of all databases that lack them."""
    control = "\n".join(files(package).joinpath(name).read_text("utf-8") for package, name in domains.CONTROL)
    await schema.apply(dsn(settings, CONTROL, "owner"), control)
    everything = schema.script(domains.SCHEMAS)
    for env in settings.environments:
        await schema.apply(dsn(settings, database_of(env), "owner"), everything)


def settle_memory() -> None:
    """What start-up made stays: no collection walks it again, and collections are rarer.  About a tenth of the CPU of a request."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@asynccontextmanager
async def open_world(settings: Settings) -> AsyncIterator[World]:
    """Connect to everything; close it in order."""
    import os

    failpoints.arm(os.environ, settings.environments)
    hooks.register(hook_steps.installed())
    outbox.register((*domains.SUBSCRIPTIONS, *hook_steps.subscriptions()), domains.WITNESSES)
    customers.register(domains.CUSTOMER_STEPS)
    refund.register(domains.REFUND_BARS)
    case.register(domains.CASE_RESOLVERS, domains.CASE_ENDINGS)
    kept.register(domains.PERSONS, domains.PAYMENTS_OF)
    approval.register(domains.APPROVALS)
    callbacks.register(domains.DOORS)
    timeline.register(domains.TIMELINE)
    recorder.know([a.name for a in domains.AUDITS])
    keyring = crypto.Keyring.load(settings.encryption_key or None, settings.state_path / "encryption.key")
    control = await Database("control", dsn(settings, CONTROL), size=2).open()
    cache = Cache(lambda: keys.revision(control))
    envs: dict[str, Env] = {}
    try:
        for name in settings.environments:
            envs[name] = await open_env(name, settings, dsn(settings, database_of(name)), control, keyring, cache)
        yield World(settings, control, cache, envs)
    finally:
        for env in envs.values():
            await env.close()
        await control.close()
