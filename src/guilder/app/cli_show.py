"""The command line's flight recorder: `guilder show <any id>`."""

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from guilder.app.cli_ledger import EnvName, in_env
from guilder.core import ids
from guilder.core.errors import NotFound

if TYPE_CHECKING:
    from guilder.platform.environment import Env
    from guilder.platform.timeline import Told
    from guilder.trades.present_timeline import Timeline, TimelineEntry

COLOURS = {"good": "green", "bad": "red", "wait": "yellow", "plain": ""}
KINDS = {
    "request": "bold cyan", "message": "dim", "try": "bold", "refund": "bold", "state": "magenta", "journal": "blue", "event": "cyan",
    "webhook": "cyan", "case": "bold red", "break": "red",
}  # fmt: skip


def show(
    of: Annotated[
        str,
        typer.Argument(
            help="Any id: ours, a channel's key or number, the merchant's order number, a request, a trace."
        ),
    ],
    env: EnvName = "test",
    json: Annotated[bool, typer.Option("--json", help="All that is known, for a program.")] = False,
    bodies: Annotated[bool, typer.Option("--bodies", help="Show what channels and we said, too.")] = False,
) -> None:
    """Tell everything that happened to whatever an id of anybody's names, in one order of time."""
    told = in_env(env, lambda rt: _tell(rt, of))
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(told)).decode())
    else:
        render(told, Console(highlight=False, soft_wrap=False), bodies=bodies)


async def _tell(rt: "Env", of: str) -> "Timeline":
    from guilder.platform import timeline
    from guilder.trades import present_timeline

    told: Told | None = await timeline.tell(rt, of, await every_book(rt))
    if told is None:
        raise NotFound(f"Nothing is known of {of[:200]!r} in the environment {rt.name}.")
    return present_timeline.timeline(told)


async def every_book(rt: "Env") -> list[UUID]:
    """The books of all merchants and channel accounts, and the platform's."""
    from guilder.merchants import channel_accounts, onboard

    merchants = [r["id"] for r in await onboard.everybody(rt.control)]
    return [ids.PLATFORM, *merchants, *(a.id for a in await channel_accounts.all_enabled(rt))]


def render(told: "Timeline", out: Console, *, bodies: bool = False) -> None:
    """A story for a person: what belongs together, and then line by line what happened."""
    out.print(f"[bold]{' '.join(told.things[:12])}[/bold]{' …' if len(told.things) > 12 else ''}")
    out.print(f"[dim]traces {' '.join(told.traces) or 'none'}[/dim]")
    table = Table(
        Column("at (UTC)", no_wrap=True), Column("", no_wrap=True), Column("kind", no_wrap=True), Column("about", no_wrap=True),
        Column("what", overflow="fold", ratio=1), box=None, padding=(0, 1), expand=True,
    )  # fmt: skip
    day, last = "", 0.0
    for e in told.entries:
        today, time = e.at[:10], e.at[11:23]
        if today != day:
            table.add_row(f"[bold]{today}[/bold]", "", "", "", "")
            day = today
        table.add_row(
            time, _after(e, last), _styled(e.kind, KINDS.get(e.kind, "")), _short(e.about), _what(e, bodies=bodies)
        )
        last = _seconds(e)
    out.print(table)
    for name in told.cut:
        out.print(f"[yellow]There is more of {name}: only the first thousand are here.[/yellow]")


def _seconds(e: "TimelineEntry") -> float:
    return e.created + float(e.at[19:26])


def _after(e: "TimelineEntry", last: float) -> str:
    """How long after the line before, where that was long."""
    gap = _seconds(e) - last
    if not last or gap < 1:
        return ""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if gap >= size:
            return f"[yellow]+{gap / size:.0f} {unit}[/yellow]"
    return ""


def _short(shown: str) -> str:
    """An id by its prefix and end: the whole ones stand above."""
    head, _, tail = shown.rpartition("_")
    return f"{head}_…{tail[-5:]}" if len(tail) >= ids.LENGTH else escape(shown[:24])


def _what(e: "TimelineEntry", *, bodies: bool) -> str:
    text = _styled(e.text, COLOURS[e.tone])
    body = e.details.get("body") if bodies else None
    return f"{text}\n[dim]{escape(str(body))}[/dim]" if body else text


def _styled(text: str, style: str) -> str:
    return f"[{style}]{escape(text)}[/{style}]" if style else escape(text)
