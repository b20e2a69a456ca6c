"""`guilder doctor`: what is wrong with this installation, and what to do about it."""

import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

from rich.console import Console

from guilder import ledger
from guilder.app import domains, environments
from guilder.app.environments import World
from guilder.channels.model import QueryPayment, State
from guilder.core import clock, ids
from guilder.core.errors import GuilderError
from guilder.merchants import channel_accounts
from guilder.platform import runtime, schema
from guilder.platform.cluster import EmbeddedError
from guilder.platform.db import Database, DatabaseError, DriverError
from guilder.platform.settings import Settings
from guilder.platform.wire import About

MINIMUM_FREE = 1 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.  `remedy` empty: it is well."""

    what: str
    remedy: str = ""


async def examine(s: Settings, out: Console) -> int:
    """Look at everything, say what was found; 1 if something is wrong."""
    wrong = 0
    async for finding in _findings(s):
        wrong += bool(finding.remedy)
        mark = "[red]✗[/red]" if finding.remedy else "[green]✓[/green]"
        out.print(f" {mark} {finding.what}")
        if finding.remedy:
            out.print(f"     {finding.remedy}")
    out.print("\nEverything is well." if not wrong else f"\n{wrong} to mend.")
    return 1 if wrong else 0


async def _findings(s: Settings) -> AsyncIterator[Finding]:
    for finding in (*_folder(s), *_ports(s)):
        yield finding
    try:
        async with environments.open_world(s) as world:
            async for finding in _world(s, world):
                yield finding
    except (OSError, DatabaseError, EmbeddedError, DriverError, GuilderError) as error:
        remedy = (
            "Start it with `make up`." if not s.database_url else "Check GUILDER_DATABASE_URL, its roles and passwords."
        )
        yield Finding(f"the databases cannot be opened: {error or type(error).__name__}", remedy)


def _folder(s: Settings) -> list[Finding]:
    state = s.state_path.absolute()
    if not state.exists():
        return [Finding(f"the state folder {state} does not exist", "Start once with `make up`.")]
    found = []
    for name in ("secrets.json", "encryption.key", "demo.json"):
        file = state / name
        if file.exists() and file.stat().st_mode & 0o077:
            found.append(Finding(f"{file} can be read by others", f"chmod 600 {file}"))
    free = shutil.disk_usage(state).free
    low = "Less than 1 GB is left: make room before the database stops." if free < MINIMUM_FREE else ""
    found.append(Finding(f"{free / 1e9:.1f} GB are free where the data lies", low))
    return found


def _ports(s: Settings) -> list[Finding]:
    up = runtime.is_held(s.state_path)
    found = []
    for name in ("api_port", "cashier_port", "simulators_port", "metrics_port"):
        port = getattr(s, name)
        with socket.socket() as probe:
            taken = probe.connect_ex((s.host, port)) == 0
        if taken and not up:
            found.append(
                Finding(f"port {port} is taken by another program", f"End that program, or set GUILDER_{name.upper()}.")
            )
    return found or [Finding("the ports are free" if not up else "it is running")]


async def _world(s: Settings, world: World) -> AsyncIterator[Finding]:
    yield Finding("the control database and the environments answer")
    for env in world.envs.values():
        yield await _schema(s, env.name)
        broken = await env.db.transact(ledger.sweep)
        detail = "; ".join(f"{b.invariant} {b.subject}: {b.fault}" for b in broken[:3])
        yield Finding(f"{env.name}: the book keeps L1 to L10" if not broken else f"{env.name}: the book is broken: {detail}",
                      "Stop, keep the data, and look at the journals named." if broken else "")  # fmt: skip
        for account in await channel_accounts.all_enabled(env):
            about = About(account.book_id, account.id, account.info.code, "doctor")
            ask = QueryPayment(ids.mint_key(ids.new_id(), account.book_id), account.info.ways[0].name, clock.now())
            outcome = await env.wire.carry_out(account.channel.ask(ask), about)
            known = outcome.state is State.NOT_FOUND
            why = outcome.problem.message if outcome.problem else outcome.state.value
            yield Finding(
                f"{env.name}: {account.name} ({account.info.code}) {'answers to our signature' if known else f'does not answer: {why}'}",
                "" if known else "Check its address, keys and serial numbers; a wrong key looks like silence.",
            )


async def _schema(s: Settings, name: str) -> Finding:
    database = await Database(name, environments.dsn(s, environments.database_of(name)), size=1).open()
    try:
        there = await schema.digest_of(database)
    finally:
        await database.close()
    same = there == schema.digest(schema.script(domains.SCHEMAS))
    return Finding(f"{name}: the schema is this version's" if same else f"{name}: the schema is another version's",
                   "" if same else "Before 0.1 there are no migrations: `./run reset --yes` makes new data.")  # fmt: skip
