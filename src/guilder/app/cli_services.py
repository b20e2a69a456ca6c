"""The command line of service accounts: `guilder services list | make | disable | enable | keys | key | roll | revoke`."""

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Column, Table

from guilder.core import ids
from guilder.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeVar

    from guilder.app.environments import World
    from guilder.people.model_services import Key
    from guilder.platform.db import Tx

    T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="Service accounts: what acts by itself, and its keys.")
out = Console(highlight=False, soft_wrap=True, markup=False)  # names are other people's words
Account = Annotated[str, typer.Argument(help="svc_…")]
KeyId = Annotated[str, typer.Argument(help="svk_…")]


def in_world(work: "Callable[[World], Awaitable[T]]") -> "T":
    """Run `work` with everything open."""
    from guilder.app import environments
    from guilder.platform import settings

    async def run() -> "T":
        async with environments.open_world(settings.load()) as world:
            return await work(world)

    return asyncio.run(run())


def in_control(work: "Callable[[Tx], Awaitable[T]]") -> "T":
    """Run `work` in one transaction of the control database."""
    return in_world(lambda world: world.control.transact(work))


def _read(prefix: str, shown: str) -> UUID:
    id = ids.read(prefix, shown)
    if id is None:
        raise Invalid(f"{shown!r} is no id that begins with {prefix}_.")
    return id


@app.command("list")
def list_() -> None:
    """Show the service accounts and what they were given."""
    from guilder.people import services

    table = Table(
        Column("id", no_wrap=True), "name", Column("may", no_wrap=True), "state", Column("since", no_wrap=True)
    )
    for s in in_world(lambda world: services.everybody(world.control)):
        given = [
            f"{g.role} at {g.at}" + ("" if g.merchant_id is None else f" {ids.show('acct', g.merchant_id)}")
            for g in s.grants
        ]
        state = "disabled" if s.disabled_at else "works"
        table.add_row(ids.show("svc", s.id), s.name, "\n".join(given), state, f"{s.created_at:%Y-%m-%d}")
    out.print(table)


@app.command()
def make(
    name: str,
    role: Annotated[str, typer.Option(help="As `guilder people roles` names it: auditor, finance …")],
    merchant: Annotated[str | None, typer.Option(help="acct_…: only there. Default: the whole platform.")] = None,
) -> None:
    """Make a service account with a role.  Make a key for it next."""
    from guilder.merchants import onboard
    from guilder.people import services
    from guilder.people.grants import Giver, Place
    from guilder.people.model import At

    merchant_id = None if merchant is None else _read("acct", merchant)

    async def work(world: "World") -> UUID:
        if merchant_id is not None and await onboard.find(next(iter(world.envs.values())), merchant_id) is None:
            raise Invalid(f"No such merchant: {merchant}.")
        place = Place(At.PLATFORM if merchant_id is None else At.MERCHANT, merchant_id)
        return (await world.control.transact(lambda tx: services.make(tx, Giver(), name, role, place))).id

    out.print(ids.show("svc", in_world(work)))


@app.command()
def disable(account: Account) -> None:
    """Have none of its keys work, in every process within a second."""
    _set_disabled(account, True)
    out.print(f"{account} is disabled.")


@app.command()
def enable(account: Account) -> None:
    """Have its keys work again."""
    _set_disabled(account, False)
    out.print(f"{account} is enabled.")


def _set_disabled(account: str, disabled: bool) -> None:
    from guilder.people import services
    from guilder.people.grants import Giver

    in_control(lambda tx: services.change(tx, Giver(), _read("svc", account), disabled=disabled))


@app.command()
def keys(account: Account) -> None:
    """Show its keys; never the keys themselves."""
    from guilder.people import services

    table = Table(Column("id", no_wrap=True), "key", "made", "state")
    for k in in_world(lambda world: services.keys_of(world.control, _read("svc", account))):
        table.add_row(ids.show("svk", k.id), f"sv_…{k.last4}", _minute(k.created_at), _state(k))
    out.print(table)


@app.command()
def key(
    account: Account,
    days: Annotated[
        int | None, typer.Option(min=1, max=3660, help="How long it works; default: until revoked.")
    ] = None,
) -> None:
    """Make a key and show it once."""
    from guilder.people import services
    from guilder.people.grants import Giver

    expires_in_s = None if days is None else days * 86_400
    _show(in_control(lambda tx: services.make_key(tx, Giver(), _read("svc", account), expires_in_s=expires_in_s)))


@app.command()
def roll(
    account: Account, key: KeyId, overlap_s: Annotated[int, typer.Option(min=0, help="How long the old key works on.")] = 86_400
) -> None:  # fmt: skip
    """Replace a key; both work until the overlap is over."""
    from guilder.people import services
    from guilder.people.grants import Giver

    service_id, key_id = _read("svc", account), _read("svk", key)
    _show(in_control(lambda tx: services.roll_key(tx, Giver(), service_id, key_id, overlap_s=overlap_s)))


@app.command()
def revoke(account: Account, key: KeyId) -> None:
    """Refuse a key from now on, in every process within a second."""
    from guilder.people import services

    in_control(lambda tx: services.revoke_key(tx, _read("svc", account), _read("svk", key)))
    out.print(f"{key} is revoked.")


def _show(made: "Key") -> None:
    out.print(f"{ids.show('svk', made.id)}  {made.secret}\nIt is shown this once.")


def _state(k: "Key") -> str:
    if k.revoked_at is not None:
        return "revoked"
    return "valid" if k.expires_at is None else f"until {_minute(k.expires_at)}"


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
