"""The command line of people: `guilder people list | invite | disable | enable | grant | take | roles | sessions | reset-totp`.

Whoever sits at the machine is its operator: bound by no role, and in the trail as that.
"""

import asyncio
import shlex
from typing import TYPE_CHECKING, Annotated, TypeVar
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Column, Table

from guilder.core import ids
from guilder.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from guilder.app.environments import World
    from guilder.people.grants import Place
    from guilder.platform.db import Row, Tx

T = TypeVar("T")
app = typer.Typer(no_args_is_help=True, help="People: who works here, and what they may do.")
out = Console(highlight=False, soft_wrap=True, markup=False)  # names and what signed in are other people's words
Email = Annotated[str, typer.Argument(help="The person's e-mail address.")]
Role = Annotated[str, typer.Option(help="As `guilder people roles` names it.")]
At = Annotated[
    str, typer.Option(help="Where it reaches: platform, merchant or own. Default: merchant if one is named.")
]
Merchant = Annotated[str, typer.Option(help="acct_…")]


@app.command("list")
def list_() -> None:
    """Show everybody, and what they may do."""
    from guilder.people import users

    table = Table(Column("id", no_wrap=True), "e-mail", "name", "roles", "code asked", "since", "state")
    for row in _in_world(lambda w: users.everybody(w.control)):
        state = "disabled" if row["disabled_at"] else "active"
        code, since = "yes" if row["totp"] else "", f"{row['created_at']:%Y-%m-%d}"
        table.add_row(
            ids.show("usr", row["id"]), row["email"], row["name"], ", ".join(row["roles"]), code, since, state
        )
    out.print(table)


@app.command()
def invite(email: Email, role: Role, at: At = "", merchant: Merchant = "") -> None:
    """Ask somebody to join, with a role that waits.  Shows the token that accepts it, this once."""
    from guilder.people import invite as inviting
    from guilder.people.grants import Giver

    if "@" not in email:
        raise Invalid(f"{email!r} is no e-mail address.")

    async def work(w: "World") -> tuple[inviting.Invited, str]:
        place = await _place(w, at, merchant)
        return await w.control.transact(lambda tx: inviting.invite(tx, Giver(), email, role, place)), w.settings.api_url

    made, api = _in_world(work)
    out.print(f"{ids.show('inv', made.id)}  {made.token}")
    out.print(f"It is shown this once, and is good once, until {made.expires_at:%Y-%m-%d %H:%M} UTC. To accept it:\n")
    out.print("  read -rs -p 'Password, 12 characters or more: ' P")
    out.print(f"  printf %s \"$P\" | curl {api}/v1/invitations/accept -d token={made.token} --data-urlencode password@-")  # fmt: skip
    out.print("\nand then to sign in; the answer's `token` is what every call is made with:\n")
    out.print(f"  printf %s \"$P\" | curl {api}/v1/sessions --data-urlencode email={shlex.quote(email)} --data-urlencode password@-")  # fmt: skip


@app.command()
def disable(email: Email) -> None:
    """Let somebody in no more: sessions end at once."""
    from guilder.people import users
    from guilder.people.grants import Giver

    _change(email, lambda tx, row: users.disable(tx, Giver(), row["id"]))
    out.print(f"{email} is disabled; what was signed in ends within a second.")


@app.command()
def enable(email: Email) -> None:
    """Let somebody in again.  It also ends the wait after wrong passwords."""
    from guilder.people import users
    from guilder.people.grants import Giver

    _change(email, lambda tx, row: users.enable(tx, Giver(), row["id"]))
    out.print(f"{email} may sign in.")


@app.command()
def grant(email: Email, role: Role, at: At = "", merchant: Merchant = "") -> None:
    """Give somebody a role."""
    from guilder.people import grants, users

    async def work(w: "World") -> "Row":
        person, place = await users.find_by_email(w.control, email), await _place(w, at, merchant)
        return await w.control.transact(lambda tx: grants.give(tx, grants.Giver(), person["id"], role, place))

    made = _in_world(work)
    out.print(f"{ids.show('gra', made['id'])}  {email} is {role}, {_where(made)}.")


@app.command()
def take(grant: Annotated[str, typer.Argument(help="gra_…, as `guilder people grants` shows it.")]) -> None:
    """Take a role back."""
    from guilder.people import grants

    id = _read("gra", grant)
    gone = _in_world(lambda w: w.control.transact(lambda tx: grants.take(tx, grants.Giver(), id)))
    out.print(f"{gone['role']}, {_where(gone)}, is taken back; it holds for another second at most.")


@app.command("grants")
def grants_(email: Email) -> None:
    """Show somebody's roles with their ids."""
    from guilder.people import grants, users

    async def work(w: "World") -> "list[Row]":
        return await grants.of(w.control, (await users.find_by_email(w.control, email))["id"])

    table = Table(Column("id", no_wrap=True), "role", "where", "given by", "since")
    for row in _in_world(work):
        since = f"{row['created_at']:%Y-%m-%d}"
        table.add_row(ids.show("gra", row["id"]), row["role"], _where(row), row["given_by"], since)
    out.print(table)


@app.command()
def roles() -> None:
    """Show the roles, and what they allow."""
    from guilder.people import roles as named

    table = Table(Column("role", no_wrap=True), "what for", "allows", "built in")
    for row in _in_world(lambda w: named.everything(w.control)):
        built_in = "yes" if row["built_in"] else ""
        table.add_row(row["name"], row["description"], " ".join(row["permissions"]), built_in)
    out.print(table)


@app.command()
def sessions() -> None:
    """Show who is signed in, and from where."""
    from guilder.people import sessions as signed_in

    table = Table(Column("id", no_wrap=True), "who", "from", "with", "since", "seen", "until")
    for row in _in_world(lambda w: signed_in.everybodys(w.control)):
        times = (f"{row[name]:%Y-%m-%d %H:%M}" for name in ("created_at", "last_seen_at", "expires_at"))
        table.add_row(ids.show("ses", row["id"]), row["email"], row["ip"], row["agent"], *times)
    out.print(table)


@app.command("reset-totp")
def reset_totp(email: Email) -> None:
    """Take somebody's authenticator app away, recovery codes included: the password alone signs in, until another is enrolled."""
    from guilder.people import factors

    _change(email, lambda tx, row: factors.reset(tx, row["id"]))
    out.print(f"{email} signs in with the password alone.")


def _change(email: str, work: "Callable[[Tx, Row], Awaitable[object]]") -> None:
    """Do something with one person."""
    from guilder.people import users

    async def run(w: "World") -> None:
        row = await users.find_by_email(w.control, email)
        await w.control.transact(lambda tx: work(tx, row))

    _in_world(run)


async def _place(w: "World", at: str, merchant: str) -> "Place":
    from guilder.merchants import onboard
    from guilder.people import grants, model

    id = _read("acct", merchant) if merchant else None
    if id is not None and await onboard.find(next(iter(w.envs.values())), id) is None:
        raise Invalid(f"There is no merchant {merchant}.")
    named = at or ("platform" if id is None else "merchant")
    if named not in list(model.At):
        raise Invalid(f"A role reaches {', '.join(model.At)}; not {at!r}.")
    return grants.Place(model.At(named), id)


def _where(row: "Row") -> str:
    return f"at {row['at']}" + (f" {ids.show('acct', row['merchant_id'])}" if row["merchant_id"] else "")


def _in_world(work: "Callable[[World], Awaitable[T]]") -> T:
    from guilder.app import environments
    from guilder.platform import settings

    async def run() -> T:
        async with environments.open_world(settings.load()) as world:
            return await work(world)

    return asyncio.run(run())


def _read(prefix: str, shown: str) -> UUID:
    id = ids.read(prefix, shown)
    if id is None:
        raise Invalid(f"{shown!r} is no id that begins with {prefix}_.")
    return id
