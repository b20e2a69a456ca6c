"""How channel accounts stand, from the command line: `guilder channels pause | resume | guard | moves`."""

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.table import Column, Table

from guilder.app.cli_ledger import EnvName, in_env, out, whole, wide
from guilder.core import ids
from guilder.core.errors import Invalid

if TYPE_CHECKING:
    from guilder.merchants.channel_accounts import ChannelAccount
    from guilder.platform.environment import Env

app = typer.Typer()
Account = Annotated[str, typer.Argument(help="ca_…")]
Why = Annotated[str, typer.Option(help="Why.")]


@app.command()
def pause(account: Account, why: Why = "", env: EnvName = "test") -> None:
    """Ask an account for no new payment, in every process within a second."""
    _switch(account, env, paused=True, why=why)


@app.command()
def resume(account: Account, why: Why = "", env: EnvName = "test") -> None:
    """Ask a paused account for payments again."""
    _switch(account, env, paused=False, why=why)


def _switch(account: str, env: str, *, paused: bool, why: str) -> None:
    from guilder.platform import breaker

    async def work(rt: "Env") -> bool:
        found = await _account(rt, account)
        return await rt.db.transact(lambda tx: breaker.switch(tx, found.book_id, found.id, paused=paused, why=why))

    said = "paused" if paused else "asked for payments"
    out.print(f"{account} is {said}." if in_env(env, work) else f"{account} was {said} already.")


@app.command()
def guard(
    account: Account,
    guard: Annotated[str, typer.Argument(help='What differs from the default, as JSON: {"open_s": 30}.')],
    env: EnvName = "test",
) -> None:
    """Say what an account may be asked at once, and when it is left alone."""
    from guilder.platform import breaker

    try:
        said = msgspec.json.decode(guard, type=dict)
    except msgspec.MsgspecError as error:
        raise Invalid(f"The guard is no JSON object: {error}.") from error

    async def work(rt: "Env") -> None:
        found = await _account(rt, account)
        await rt.db.transact(lambda tx: breaker.set_guard(tx, found.book_id, found.id, said))

    in_env(env, work)
    out.print(f"{account} is guarded by {guard}.")


@app.command()
def moves(account: Account, env: EnvName = "test") -> None:
    """Show when an account was left alone, probed, paused, and why; newest first."""
    from guilder.platform import breaker

    table = Table(whole("at"), "was", "became", Column("why", overflow="fold"))

    async def work(rt: "Env") -> None:
        for row in await breaker.moves(rt.db, (await _account(rt, account)).id):
            table.add_row(f"{row['at']:%Y-%m-%d %H:%M:%S}", row["was"], row["became"], row["why"])

    in_env(env, work)
    wide.print(table)


async def _account(rt: "Env", shown: str) -> "ChannelAccount":
    from guilder.merchants import channel_accounts

    id = ids.read("ca", shown)
    found = None if id is None else await channel_accounts.get(rt, id)
    if found is None:
        raise Invalid(f"There is no channel account {shown[:60]!r}.")
    return found
