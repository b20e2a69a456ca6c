"""The command line of what grows: `guilder storage [keep | detach | attach]`."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from guilder.app.cli_ledger import EnvName, in_env, out
from guilder.core.errors import Invalid
from guilder.platform import storage

if TYPE_CHECKING:
    from guilder.platform.environment import Env

app = typer.Typer(add_completion=False, help="What grows: how large it is, and how long it is kept.")
BAR = 16  # characters of the largest table
FOREVER = "forever"
Month = Annotated[datetime, typer.Argument(formats=["%Y-%m"], help="2026-01")]


@app.callback(invoke_without_command=True)
def show(
    called: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="All of it as JSON.")] = False,
    env: EnvName = "test",
) -> None:
    """Show every table that grows: its rule, its size, its partitions that hold something."""
    if called.invoked_subcommand:
        return
    tables = in_env(env, lambda rt: storage.tables(rt.db))
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode([_plain(t) for t in tables])).decode())
        return
    largest = max(t.bytes for t in tables) or 1
    right = (Column(name, justify="right", no_wrap=True) for name in ("rows, about", "size"))
    page = Table(Column("table", no_wrap=True), "kept", *right, Column(min_width=BAR), "from", "until", box=None)
    for t in tables:
        bar = "█" * round(BAR * t.bytes / largest)
        page.add_row(
            t.name, _kept(t.rule.keep_days), f"{t.rows:,}", _size(t.bytes), bar, _day(t.oldest), _day(t.newest)
        )
        for p in t.parts:
            if p.used and p.name != t.name:
                page.add_row(
                    f"  {p.name}", "", f"{p.rows:,}", _size(p.bytes), "", _day(p.since), _day(p.until), style="dim"
                )
    Console(highlight=False, width=120, soft_wrap=True).print(page)


@app.command()
def keep(
    table: Annotated[str, typer.Argument(help="As `guilder storage` names it: platform.event")],
    days: Annotated[str, typer.Argument(help="How many days, or forever.")],
    env: EnvName = "test",
) -> None:
    """Change how long a table is kept.  What it keeps no longer goes within the hour."""
    if days != FOREVER and not (days.isascii() and days.isdecimal() and len(days) <= 5):
        raise Invalid(f"{days!r} is no number of days and not {FOREVER!r}.")
    wanted = None if days == FOREVER else int(days)

    async def work(rt: "Env") -> None:
        await rt.db.transact(lambda tx: storage.keep(tx, table, wanted))

    in_env(env, work)
    out.print(f"{table} is kept {_kept(wanted)}.")


@app.command()
def detach(month: Month, env: EnvName = "test") -> None:
    """Move the oldest month of the book to the schema `archive`, when all its books are closed beyond it.  Nothing is deleted."""
    from guilder.ledger.detaching import detach as detach_month

    def told(what: str, done: int, total: int) -> None:
        progress.update(task, description=what, completed=done, total=max(1, total))

    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("seals what is not")
        books = in_env(env, lambda rt: detach_month(rt.db, month.date(), told))
    out.print(
        f"{month:%Y-%m} is archived, with what {books} books were at its end. `guilder ledger verify` proves the rest from there."
    )


@app.command()
def attach(month: Month, env: EnvName = "test") -> None:
    """Bring the month back that was detached last."""
    from guilder.ledger.detaching import attach as attach_month

    in_env(env, lambda rt: attach_month(rt.db, month.date()))
    out.print(f"{month:%Y-%m} is in the book again.")


def _plain(t: storage.Table) -> dict[str, object]:
    return {
        "table": t.name, "keep_days": t.rule.keep_days, "least_days": t.rule.least_days, "reason": t.rule.reason, "rows": t.rows,
        "bytes": t.bytes, "oldest": t.oldest, "newest": t.newest, "partitions": t.parts,
    }  # fmt: skip


def _kept(days: int | None) -> str:
    return "for ever" if days is None else f"{days} days"


def _day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d}" if at else ""


def _size(n: int) -> str:
    return f"{n / 1e9:.1f} GB" if n >= 1e9 else f"{n / 1e6:.1f} MB" if n >= 1e5 else f"{n / 1e3:.0f} kB"
