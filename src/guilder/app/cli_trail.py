"""The command line of the trail: `guilder trail list | verify | head`."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from guilder.app.cli_ledger import book, out, whole, wide
from guilder.core.errors import Invalid
from guilder.platform import trail, trail_seal
from guilder.platform.trail import Wanted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from guilder.platform.db import Database

T = TypeVar("T")
app = typer.Typer(no_args_is_help=True, help="The trail: who did what; read it, prove it.")
Where = Annotated[str, typer.Option("--env", help="The environment, or control: people, keys, contracts.")]
Kept = Annotated[Path | None, typer.Option(help="What `guilder trail head` wrote, kept elsewhere.")]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"])]


def _in_database(name: str, work: "Callable[[Database], Awaitable[T]]") -> T:
    """Run `work` on an environment's database, or on the control database."""
    from guilder.app import environments
    from guilder.platform import settings

    async def run() -> T:
        async with environments.open_world(settings.load()) as world:
            if name != "control" and name not in world.envs:
                raise Invalid(f"There is no environment {name!r} here; there are {', '.join(world.envs)}, and control.")
            return await work(world.control if name == "control" else world.envs[name].db)

    return asyncio.run(run())


@app.command("list")
def list_(
    actor: Annotated[str | None, typer.Option(help="Who did it: usr_…, key_…, operator.")] = None,
    subject: Annotated[str | None, typer.Option(help="What it was done to: re_…, case_….")] = None,
    action: Annotated[str | None, typer.Option(help="What was done: refund.created.")] = None,
    of: Annotated[str | None, typer.Option(help="A merchant (acct_…), or platform; default: all.")] = None,
    since: Day = None,
    until: Day = None,
    limit: int = 100,
    env: Where = "test",
) -> None:
    """Show who did what, newest first.  Days are of UTC; `until` is the first that is out again."""
    wanted = Wanted(None if of is None else book(of), actor, subject, action, _utc(since), _utc(until))
    rows = _in_database(env, lambda db: trail.find(db, wanted, limit))
    table = Table(*map(whole, ("when", "who", "from", "what", "to")), Column("before, after, why", overflow="fold"))
    for r in rows:
        said = " ".join(filter(None, (r["before"], "→" if r["before"] else "", r["after"], r["why"])))
        table.add_row(f"{r['at']:%Y-%m-%d %H:%M:%S}", r["actor"], r["place"], r["action"], r["subject"], said)
    wide.print(table if rows else "Nothing of that kind.")


@app.command()
def verify(env: Where = "test", against: Kept = None) -> None:
    """Derive the chain again from what is stored, and name the rows that are not what was sealed.  Ends with 1 if there are any."""
    kept = _read(against)

    async def work(db: "Database") -> int:
        found = 0
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("rows")
            async for fault in trail_seal.broken(
                db, lambda n, of: progress.update(task, completed=n, total=max(1, of))
            ):
                found += 1
                if found <= 20:
                    out.print(f"[red]{fault.subject}[/red]: {fault.fault}")
        return found + await _held(db, kept)

    broken = _in_database(env, work)
    out.print(f"{broken} broken." if broken else f"Every seal of the trail of {env} holds.")
    raise typer.Exit(1 if broken else 0)


@app.command()
def head(env: Where = "test", against: Kept = None) -> None:
    """Print the end of the chain, as JSON: keep it elsewhere.  With --against, say whether an earlier one still is in the chain."""
    if (kept := _read(against)) is not None:
        broken = _in_database(env, lambda db: _held(db, kept))
        out.print(
            f"{broken} broken."
            if broken
            else "The head that was kept is in the chain; `verify` proves what lies before it."
        )
        raise typer.Exit(1 if broken else 0)
    typer.echo(msgspec.json.format(msgspec.json.encode(_in_database(env, trail_seal.head))).decode())


def _read(against: Path | None) -> dict[str, Any] | None:
    """A head that was kept."""
    if against is None:
        return None
    try:
        return msgspec.json.decode(against.read_bytes(), type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise Invalid(f"{against} is no head of a trail: {error}") from error


async def _held(db: "Database", kept: dict[str, Any] | None) -> int:
    """Hold a head that was kept against the chain; how much is broken."""
    fault = None if kept is None else await trail_seal.differs(db, kept)
    if fault is not None:
        out.print(f"[red]{fault.subject}[/red]: {fault.fault}")
    return int(fault is not None)


def _utc(day: datetime | None) -> datetime | None:
    return None if day is None else day.replace(tzinfo=UTC)
