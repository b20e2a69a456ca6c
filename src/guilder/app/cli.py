"""The command line: `guilder up | demo | doctor | merchants | channels | channel | routes | listen | trigger | keys | ledger | storage | trail | cases | show | customer | people | approvals | services | reconcile | audit | reset`."""

import asyncio
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, TypeVar
from uuid import UUID

import msgspec
import typer
from rich.console import Console
from rich.table import Column, Table

from guilder.app import (
    cli_approvals,
    cli_cases,
    cli_channel,
    cli_customer,
    cli_developers,
    cli_hooks,
    cli_ledger,
    cli_people,
    cli_providers,
    cli_routes,
    cli_services,
    cli_show,
    cli_standing,
    cli_storage,
    cli_stores,
    cli_trail,
)
from guilder.app.telling import failed, told
from guilder.core import ids
from guilder.core.errors import GuilderError, Invalid
from guilder.platform import settings
from guilder.platform.db import CommitUnknown, DatabaseError, DriverError
from guilder.platform.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from guilder.app.environments import World
    from guilder.platform.environment import Env

T = TypeVar("T")
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
out = Console(highlight=False, soft_wrap=True)  # ids are copied: nothing is cut


def _settings() -> Settings:
    return settings.load()


@app.command()
def up() -> None:
    """Start everything in the foreground; Ctrl-C ends it."""
    from guilder.app import up as starting

    raise typer.Exit(starting.main())


@app.command()
def demo(
    keep: Annotated[bool, typer.Option(envvar="KEEP", help="Keep the data of the demonstration.")] = False,
) -> None:
    """Run one story through the official SDK, from payment to reconciliation."""
    from guilder.app.demo import run

    raise typer.Exit(asyncio.run(run(keep=keep)))


@app.command()
def doctor() -> None:
    """Say what is wrong with this installation."""
    from guilder.app.doctor import examine

    raise typer.Exit(asyncio.run(examine(_settings(), out)))


@app.command(name="reconcile")
def reconcile_(
    channel: Annotated[str, typer.Option(help="wechatpay or alipay")],
    day: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The channel's own calendar day.")],
    account: Annotated[
        str | None, typer.Option(help="One channel account (ca_…); default: all of the channel.")
    ] = None,
    env: Annotated[str, typer.Option(help="The environment.")] = "test",
) -> None:
    """Hold a channel's statement of a day against the book.  Ends with 1 if breaks want a person."""
    from guilder.channels.model import StatementError
    from guilder.reconciliation.cli import run_cli
    from guilder.reconciliation.render import render

    async def work(world: "World") -> bool:
        reports = await run_cli(_env(world, env), channel, day.date(), account, console=Console(stderr=True))
        for report in reports:
            out.print(render(report))
        return any(report.open for report in reports)

    try:
        broken = _in_world(work)
    except StatementError as error:
        raise GuilderError(f"There is no statement to read: {error} ({error.problem.value}).") from error
    raise typer.Exit(1 if broken else 0)


merchants_app = typer.Typer(no_args_is_help=True, help="Merchants: list, add, fee.")
app.add_typer(merchants_app, name="merchants")
channels_app = typer.Typer(no_args_is_help=True, help="Channel accounts: list, add, pause, resume, guard.")
app.add_typer(channels_app, name="channels")
channels_app.add_typer(cli_standing.app)


@merchants_app.command("list")
def merchants_list() -> None:
    """Show the merchants."""
    from guilder.merchants import onboard

    table = Table(
        Column("id", no_wrap=True), "name", "business line", Column("fee", justify="right", no_wrap=True), "since"
    )
    for row in _in_world(lambda world: onboard.everybody(world.control)):
        fee, since = f"{row['fee_bps'] / 100:.2f} %", f"{row['created_at']:%Y-%m-%d}"
        table.add_row(ids.show("acct", row["id"]), row["name"], row["business_line"], fee, since)
    out.print(table)


@merchants_app.command("fee")
def merchants_fee(
    merchant: str,
    bps: Annotated[int, typer.Argument(help="Hundredths of a percent of each charge: 60 keeps 0.60 %.")],
) -> None:
    """Set what the platform keeps of each charge, from the next second on."""
    from guilder.merchants import onboard

    book = _read("acct", merchant)
    _in_world(lambda w: w.control.transact(lambda tx: onboard.set_fee(tx, book, bps)))
    out.print(f"The platform keeps {bps / 100:.2f} % of each charge of {merchant}.")


@merchants_app.command("add")
def merchants_add(
    name: str,
    country: str = "CN",
    business_line: Annotated[str, typer.Option(help="Stands in every row and log line of its work.")] = "",
    late_success: Annotated[
        str, typer.Option(help="Paid after the end: refund, or accept (revive the payment).")
    ] = "refund",
) -> None:
    """Take a merchant in.  Make keys and channel accounts for it next."""
    from guilder.merchants import onboard

    made = _in_world(
        lambda w: w.control.transact(
            lambda tx: onboard.onboard(
                tx, name, country=country, business_line=business_line, late_success=late_success
            )
        )
    )
    out.print(ids.show("acct", made))


@channels_app.command("list")
def channels_list(merchant: str, env: str = "test") -> None:
    """Show a merchant's channel accounts; never their secrets."""
    from guilder.merchants import channel_accounts
    from guilder.platform import breaker

    table = Table("id", "channel", "name", "known there as", "funds", "stands")

    async def work(world: "World") -> None:
        rt = _env(world, env)
        accounts = await channel_accounts.of_merchant(rt, _read("acct", merchant))
        stand = await breaker.standing(rt.db, [a.id for a in accounts])
        for a in accounts:
            state = "paused" if stand[a.id]["paused"] else stand[a.id]["state"]
            table.add_row(ids.show("ca", a.id), a.info.code, a.name, a.account_ref, a.funds, state)

    _in_world(work)
    out.print(table)


@channels_app.command("add")
def channels_add(
    merchant: str,
    channel: str,
    config: Annotated[
        typer.FileText,
        typer.Argument(help="A JSON object; `guilder channels fields CHANNEL` says of what. - reads stdin."),
    ],
    env: str = "test",
    name: str = "",
    funds: Annotated[str, typer.Option(help="Whose money the channel collects: platform or merchant.")] = "platform",
) -> None:
    """Store a contract with a channel, encrypted."""
    from guilder.merchants import channel_accounts

    try:
        fields = msgspec.json.decode(config.read(), type=dict[str, str])
    except msgspec.MsgspecError as error:
        raise Invalid(f"The configuration is no JSON object of texts: {error}") from error
    book = _read("acct", merchant)
    made = _in_world(lambda w: channel_accounts.add(_env(w, env), book, channel, fields, name=name, funds=funds))
    out.print(ids.show("ca", made))


@channels_app.command("fields")
def channels_fields(channel: str) -> None:
    """Say what a channel's configuration holds."""
    from guilder.channels.registry import CHANNELS

    if channel not in CHANNELS:
        raise Invalid(f"There is no channel {channel!r}; there are {', '.join(CHANNELS)}.")
    table = Table("field", "secret", "what it is")
    for f in CHANNELS[channel].fields:
        table.add_row(f.name, "yes" if f.secret else "", f.hint + (f" ({' | '.join(f.choices)})" if f.choices else ""))
    out.print(table)


app.add_typer(cli_ledger.app, name="ledger")
app.add_typer(cli_routes.app, name="routes")
app.add_typer(cli_channel.app, name="channel")
app.command("listen")(cli_developers.listen)
app.command("trigger")(cli_developers.trigger)
app.add_typer(cli_storage.app, name="storage")
app.add_typer(cli_trail.app, name="trail")
app.add_typer(cli_cases.app, name="cases")
app.command("hooks")(cli_hooks.list_hooks)
app.command("show")(cli_show.show)
app.add_typer(cli_customer.app, name="customer")
app.add_typer(cli_people.app, name="people")
app.add_typer(cli_approvals.app, name="approvals")
app.add_typer(cli_services.app, name="services")
app.add_typer(cli_stores.app, name="stores")
cli_people.app.add_typer(cli_providers.app, name="providers")
keys_app = typer.Typer(no_args_is_help=True, help="API keys: list, make, roll, revoke.")
app.add_typer(keys_app, name="keys")


@keys_app.command("list")
def keys_list(merchant: str) -> None:
    """Show a merchant's keys; never the keys themselves."""
    from guilder.merchants import keys

    table = Table("id", "key", "scopes", "made", "state")
    for row in _in_world(lambda world: keys.of_merchant(world.control, _read("acct", merchant))):
        state = (
            "revoked"
            if row["revoked_at"]
            else f"until {row['expires_at']:%Y-%m-%d %H:%M}"
            if row["expires_at"]
            else "valid"
        )
        table.add_row(ids.show("key", row["id"]), f"{row['kind']}_{row['env']}_…{row['last4']}", " ".join(row["scopes"]),
                      f"{row['created_at']:%Y-%m-%d %H:%M}", state)  # fmt: skip
    out.print(table)


@keys_app.command("make")
def keys_make(
    merchant: str,
    kind: Annotated[str, typer.Option(help="sk, pk or rk")] = "sk",
    env: str = "test",
    scope: Annotated[list[str] | None, typer.Option(help="For rk: payments:read, refunds:write …")] = None,
    name: str = "",
) -> None:
    """Make a key and show it once."""
    from guilder.merchants import keys

    book = _read("acct", merchant)
    made = _in_world(lambda w: w.control.transact(lambda tx: keys.make(tx, book, env, kind, tuple(scope or ()), name)))
    out.print(f"{ids.show('key', made.id)}  [bold]{made.secret}[/bold]\nIt is shown this once.")


@keys_app.command("roll")
def keys_roll(key: str, overlap_s: Annotated[int, typer.Option(help="How long the old key works on.")] = 86400) -> None:
    """Replace a key; both work until the overlap is over."""
    from guilder.merchants import keys

    made = _in_world(lambda w: w.control.transact(lambda tx: keys.roll(tx, _read("key", key), overlap_s)))
    out.print(f"{ids.show('key', made.id)}  [bold]{made.secret}[/bold]\nIt is shown this once.")


@keys_app.command("revoke")
def keys_revoke(key: str) -> None:
    """Refuse a key from now on, in every process within a second."""
    from guilder.merchants import keys

    _in_world(lambda w: w.control.transact(lambda tx: keys.revoke(tx, _read("key", key))))
    out.print(f"{key} is revoked.")


@app.command()
def audit(env: Annotated[str, typer.Option(help="The environment.")] = "test") -> None:
    """Hold everything that is stored against everything else, as the worker does all day.  Ends with 1 if something does not agree."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from guilder.app import domains
    from guilder.platform.audit import everything

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("events")
        drift = _in_world(
            lambda world: everything(
                _env(world, env).db,
                domains.AUDITS,
                lambda done, total: progress.update(task, completed=done, total=total),
            )
        )
    for d in drift:
        out.print(f"[red]{d.audit}[/red] {d.subject}: {d.fault}; expected {d.expected}, found {d.found}")
    out.print(f"{len(drift)} do not agree." if drift else f"All agree, by {len(domains.AUDITS)} audits.")
    raise typer.Exit(1 if drift else 0)


def _in_world(work: "Callable[[World], Awaitable[T]]") -> T:
    """Run `work` with every environment open."""
    from guilder.app import environments

    async def run() -> T:
        async with environments.open_world(_settings()) as world:
            return await work(world)

    return asyncio.run(run())


def _env(world: "World", name: str) -> "Env":
    if name not in world.envs:
        raise Invalid(f"There is no environment {name!r} here; there are {', '.join(world.envs)}.")
    return world.envs[name]


def _read(prefix: str, shown: str) -> UUID:
    id = ids.read(prefix, shown)
    if id is None:
        raise Invalid(f"{shown!r} is no id that begins with {prefix}_.")
    return id


@app.command()
def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do it: everything in the state folder is lost.")] = False,
) -> None:
    """Remove the embedded database and everything else in the state folder."""
    import shutil

    from guilder.app import up as starting
    from guilder.platform import embedded

    s = _settings()
    state = s.state_path.absolute()
    if not yes:
        out.print(f"This removes all data of {state}. Say `./run reset --yes` to do it.")
        raise typer.Exit(2)
    with starting.held(s):
        embedded.destroy(state)
        for name in ("demo.json", "encryption.key"):
            (state / name).unlink(missing_ok=True)
        for name in ("simulators", "logs", "metrics"):
            shutil.rmtree(state / name, ignore_errors=True)
    out.print(f"{state} is empty.")


def main() -> int:
    """Entry point of everything but `up`."""
    return told(_run)


def _run() -> int:
    try:
        return app(standalone_mode=False) or 0
    except typer.Exit as end:
        return end.exit_code
    except (
        typer.BadParameter.__base__
    ) as error:  # click's UsageError: an unknown command, a missing argument, a wrong value
        error.show()  # pyrefly: ignore
        return 2
    except (DatabaseError, DriverError, CommitUnknown) as error:
        return failed(f"The database does not answer: {error}. Is it up? `./run doctor` says more.")
    except typer.Abort:
        return 130


if __name__ == "__main__":
    sys.exit(main())
