"""The command line of persons: `guilder customer export | erase`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import msgspec
import typer

from guilder.app.cli_ledger import EnvName, in_env, out
from guilder.core import clock, ids
from guilder.core.errors import Busy, Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeVar

    from guilder.merchants.kept import Kept
    from guilder.platform.db import Tx
    from guilder.platform.environment import Env

    T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="What is kept of a person: export it, erase it.")
Who = Annotated[str, typer.Argument(help="A customer (cus_…), or the payment (pi_…) of somebody who is none.")]


@app.command("export")
def export_(
    who: Who,
    to: Annotated[Path | None, typer.Option(help="Write it into this file; default: standard output.")] = None,
    env: EnvName = "test",
) -> None:
    """Write everything that is kept of a person, and where it lies, as one JSON object."""
    from guilder.merchants import export as exporting
    from guilder.merchants.present import CustomerExport

    async def work(rt: "Env", book: UUID, id: UUID) -> "list[Kept]":
        live = rt.livemode
        if who.startswith("cus_"):
            return await _once(rt, lambda tx: exporting.export(tx, book, id, livemode=live))
        return await _once(rt, lambda tx: exporting.export_guest(tx, book, id, livemode=live))

    kept = _of(who, env, work)
    made = CustomerExport(id=who, created=clock.unix(clock.now()), environment=env, kept=kept)
    text = msgspec.json.format(msgspec.json.encode(made)) + b"\n"
    if to is None:
        sys.stdout.buffer.write(text)
    else:
        to.touch(mode=0o600)
        to.write_bytes(text)


@app.command("erase")
def erase_(
    who: Who,
    yes: Annotated[bool, typer.Option("--yes", help="Do it: there is no way back.")] = False,
    why: Annotated[str, typer.Option(help="For the trail, which is kept for ever: say nothing of the person.")] = "",
    env: EnvName = "test",
) -> None:
    """Erase a person for good: nothing that says who it is can be read any more.  Amounts, payments and the books stay."""
    from guilder.merchants import erase as erasing

    if not yes:
        out.print(
            f"This erases for good who {who} is, in rows, events and answers of {env}. Say `./run customer erase {who} --yes` to do it."
        )
        raise typer.Exit(2)

    async def work(rt: "Env", book: UUID, id: UUID) -> dict[str, int]:
        live = rt.livemode
        if who.startswith("cus_"):
            return await _once(rt, lambda tx: erasing.erase(tx, book, id, livemode=live, why=why))
        return await _once(rt, lambda tx: erasing.erase_guest(tx, book, id, livemode=live, why=why))

    done = _of(who, env, work)
    out.print(
        f"{who} is erased. Blanked: " + ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in done.items()) + "."
    )


def _of(who: str, env: str, work: "Callable[[Env, UUID, UUID], Awaitable[T]]") -> "T":
    """Run `work` with the book and the id of a person."""
    customer, payment = ids.read("cus", who), ids.read("pi", who)
    id = customer or payment
    if id is None:
        raise Invalid(f"{who!r} is no customer (cus_…) and no payment (pi_…).")

    async def find(rt: "Env") -> "T":
        from guilder.merchants import customers
        from guilder.payments import personal

        book = await (customers.book_of(rt.db, id) if customer else personal.book_of(rt.db, id))
        if book is None:
            raise NotFound(f"There is no {who} in {env}.")
        return await work(rt, book, id)

    return in_env(env, find)


async def _once(rt: "Env", work: "Callable[[Tx], Awaitable[T]]") -> "T":
    """Commit `work`; payments of the person that move meanwhile make it begin again."""
    from guilder.platform.db import Conflict, Contended

    for _ in range(5):
        try:
            return await rt.db.transact(work)
        except (Conflict, Contended):
            continue
    raise Busy
