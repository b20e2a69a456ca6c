"""The command line of the book: `guilder ledger verify | head | trial-balance | statement | close | import`."""

import asyncio
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from guilder.core import ids
from guilder.core.amount import shown
from guilder.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeVar

    from guilder.platform.environment import Env

    T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="The book: verify it, read it, close it, post to it.")
out = Console(highlight=False, soft_wrap=True)
wide = Console(highlight=False, soft_wrap=True, width=200)  # for tables of ids: nothing is cut
EnvName = Annotated[str, typer.Option(help="The environment.")]
BookId = Annotated[str, typer.Argument(help="The book: a merchant (acct_…), a channel account (ca_…), or platform.")]


def in_env(name: str, work: "Callable[[Env], Awaitable[T]]") -> "T":
    """Run `work` in an environment."""
    from guilder.app import environments
    from guilder.platform import settings

    async def run() -> "T":
        async with environments.open_world(settings.load()) as world:
            if name not in world.envs:
                raise Invalid(f"There is no environment {name!r} here; there are {', '.join(world.envs)}.")
            return await work(world.envs[name])

    return asyncio.run(run())


def book(shown_id: str) -> UUID:
    """The book that a person names."""
    _, _, text = shown_id.rpartition("_")
    id = ids.PLATFORM if shown_id == "platform" else ids.parse(text)
    if id is None:
        raise Invalid(f"{shown_id!r} is no book: say acct_…, ca_… or platform.")
    return id


def whole(name: str) -> Column:
    """A column of which nothing is cut."""
    return Column(name, no_wrap=True, overflow="fold")


def _number(name: str) -> Column:
    return Column(name, justify="right")


@app.command()
def verify(
    env: EnvName = "test",
    against: Annotated[Path | None, typer.Option(help="What `guilder ledger head` wrote, kept elsewhere.")] = None,
) -> None:
    """Prove every invariant (L1 to L10) and every seal on what is stored.  Ends with 1 if something is broken."""
    from guilder.ledger.verify import verify as verify_all

    kept = msgspec.json.decode(against.read_bytes(), type=dict[str, dict[str, object]]) if against else None

    async def work(rt: "Env") -> int:
        broken = 0
        with Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), console=Console(stderr=True)
        ) as progress:  # fmt: skip
            task = progress.add_task("begins")

            def told(what: str, done: int, total: int) -> None:
                progress.update(task, description=what, completed=done, total=max(1, total))

            async for b in verify_all(rt.db, told, kept):
                broken += 1
                if broken <= 20:
                    out.print(f"[red]{b.invariant}[/red] {b.subject}: {b.fault}")
        return broken

    broken = in_env(env, work)
    out.print(f"{broken} broken." if broken else "L1 to L10 and every seal hold.")
    raise typer.Exit(1 if broken else 0)


@app.command()
def head(env: EnvName = "test") -> None:
    """Print the end of every book's chain of seals, as JSON: keep it elsewhere, and `verify --against` it later."""
    from guilder.ledger import seal

    kept = in_env(env, lambda rt: seal.head(rt.db))
    typer.echo(msgspec.json.format(msgspec.json.encode(kept)).decode())


@app.command("trial-balance")
def trial_balance(
    of: Annotated[str | None, typer.Argument(help="A book (acct_… or platform); default: all books together.")] = None,
    env: EnvName = "test",
) -> None:
    """Show what every kind of account stands at.  Ends with 1 if an asset does not add up to nothing."""
    from guilder.ledger.history import trial_balance as read

    id = None if of is None else book(of)
    rows = in_env(env, lambda rt: read(rt.db, id))
    table = Table("account", "asset", *map(_number, ("accounts", "debit", "credit", "held")))
    sums: dict[str, int] = {}
    for r in rows:
        sums[r["asset"]] = sums.get(r["asset"], 0) + int(r["balance"])
        units = (shown(int(r[c]), r["asset"]) if r[c] else "" for c in ("debit", "credit", "held"))
        table.add_row(r["code"], r["asset"], str(r["accounts"]), *units)
    out.print(table)
    uneven = {asset: units for asset, units in sums.items() if units}
    out.print("Every asset adds up to nothing." if not uneven else f"[red]Not even: {uneven}[/red]")
    raise typer.Exit(1 if uneven else 0)


@app.command()
def statement(
    of: BookId,
    account: Annotated[str, typer.Argument(help="The account's code: payable, receivable:06b2… (see trial-balance)")],
    asset: str = "CNY",
    since: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Booked from this day (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Booked before this day (UTC).")] = None,
    limit: int = 100,
    env: EnvName = "test",
) -> None:
    """Show an account's lines with the balance after each."""
    from guilder.ledger.chart import Account
    from guilder.ledger.history import statement as read

    rows = in_env(env, lambda rt: read(rt.db, book(of), Account(account, asset.upper()), since, until, limit=limit))
    table = Table(
        "booked",
        "moved",
        Column("journal", overflow="fold"),
        Column("with", overflow="fold"),
        *map(_number, ("units", "balance", "held")),
    )
    for r in rows:
        units = (shown(int(r[c]), asset.upper()) for c in ("units", "balance", "held"))
        table.add_row(
            f"{r['booked_at']:%Y-%m-%d %H:%M:%S}", f"{r['at']:%m-%d %H:%M}", r["key"], r["other"] or r["kind"], *units
        )
    out.print(table if rows else "No lines.")


@app.command()
def close(
    of: BookId,
    period: Annotated[str, typer.Argument(help="The last accounting day (2026-10-31) or month (2026-10) to close.")],
    env: EnvName = "test",
) -> None:
    """Close a book up to the end of a day or month: nothing dated before is taken any more.  There is no way back."""
    from guilder.ledger.closing import close_period, closings, end_of

    async def work(rt: "Env") -> tuple[str, list[dict[str, object]]]:
        until = end_of(period, rt.settings.accounting_zone)
        posted = await rt.db.transact(lambda tx: close_period(tx, book(of), until))
        return posted.code.value, [dict(r) for r in await closings(rt.db, book(of), until)]

    code, rows = in_env(env, work)
    if code not in {"created", "exists"}:
        why = {"dated_ahead": "it is not over yet", "period_closed": "a later one is closed already"}.get(code, code)
        raise Invalid(f"{period} was not closed: {why} ({code}).")
    table = Table(
        Column("account", overflow="fold"), "asset", *map(_number, ("opening", "debits", "credits", "closing"))
    )
    for r in rows:
        units = (shown(int(str(r[c])), str(r["asset"])) for c in ("opening", "debits", "credits", "balance"))
        table.add_row(str(r["code"]), str(r["asset"]), *units)
    out.print(table)
    out.print(f"{period} is closed." if code == "created" else f"{period} was closed before.")


@app.command("import")
def import_(
    of: BookId,
    file: Annotated[
        typer.FileText,
        typer.Argument(help="CSV: key,debit,credit,asset,units[,effective_at,group,description]; - reads stdin."),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be answered; post nothing.")] = False,
    env: EnvName = "test",
) -> None:
    """Post journals from a CSV file.  A file can be taken in again: what is in the book says exists.  Ends with 1 if one is refused.

    Where others have to agree to so much, nothing is posted: an approval is opened for the whole file.
    """
    from guilder.ledger.take_in import read, take_in_or_ask, try_out
    from guilder.platform import context
    from guilder.platform.approval import Approval

    async def work(rt: "Env") -> list[tuple[str, str, str]] | UUID:
        with context.use(context.mint(book_id=book(of), actor="operator", env=env)):
            journals = read(book(of), file)
            posted = await (
                try_out(rt.db, journals) if dry_run else take_in_or_ask(rt.db, book(of), journals, file.name)
            )
        if isinstance(posted, Approval):
            return posted.id
        return [
            (j.key.partition(":")[2], p.code.value, p.was.value if p.was else "")
            for j, p in zip(journals, posted, strict=True)
        ]

    answers = in_env(env, work)
    if isinstance(answers, UUID):
        out.print(f"Nothing is posted yet: others have to agree. {ids.show('apr', answers)} is open.")
        return
    counts = Counter(code for _, code, _ in answers)
    refused = [a for a in answers if a[1] not in {"created", "exists"}]
    table = Table(Column("key", overflow="fold"), "answer", "because")
    for row in refused[:50]:
        table.add_row(*row)
    if refused:
        out.print(table)
    said = ", ".join(f"{n} {code}" for code, n in counts.most_common()) or "no journals"
    out.print(f"{'Tried, nothing posted' if dry_run else 'Posted'}: {said}.")
    raise typer.Exit(1 if refused else 0)
