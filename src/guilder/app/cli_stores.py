"""The command line of stores: `guilder stores list | plate`."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table

from guilder.core import ids
from guilder.core.errors import Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeVar

    from guilder.platform.environment import Env

    T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="Stores: list them, draw the plate for a counter.")
out = Console(highlight=False, soft_wrap=True, markup=False)  # names are other people's words
Merchant = Annotated[str, typer.Argument(help="acct_…")]
EnvName = Annotated[str, typer.Option("--env", help="The environment.")]


def _in_env(name: str, work: "Callable[[Env], Awaitable[T]]") -> "T":
    """Run `work` with everything open."""
    from guilder.app import environments
    from guilder.platform import settings

    async def run() -> "T":
        async with environments.open_world(settings.load()) as world:
            if name not in world.envs:
                raise Invalid(f"There is no environment {name!r} here; there are {', '.join(world.envs)}.")
            return await work(world.envs[name])

    return asyncio.run(run())


def _book(shown: str) -> UUID:
    id = ids.read("acct", shown)
    if id is None:
        raise Invalid(f"{shown!r} is no id that begins with acct_.")
    return id


@app.command("list")
def list_(merchant: Merchant, env: EnvName = "test") -> None:
    """Show a merchant's stores and tills, and what the code on each counter says."""
    from guilder.merchants import counter_links, stores

    book_id = _book(merchant)
    table = Table("id", "code", "name", "counter", box=None)

    async def work(e: "Env") -> None:
        for store in await stores.all_of(e.db, book_id):
            table.add_row(ids.show("sto", store.id), store.code, store.name, counter_links.url(e, book_id, store.id))
            for till in await stores.tills_of(e.db, book_id, store.id):
                table.add_row(
                    f"  {ids.show('ter', till.id)}", till.code, till.name, counter_links.url(e, book_id, till.id)
                )

    _in_env(env, work)
    out.print(table)


@app.command()
def plate(
    merchant: Merchant,
    place: Annotated[str, typer.Argument(help="sto_… or ter_…")],
    file: Annotated[Path, typer.Option("--out", help="Where to write it (SVG, A6).")] = Path("plate.svg"),
    env: EnvName = "test",
    lang: Annotated[str, typer.Option(help="zh or en.")] = "zh",
) -> None:
    """Draw the plate for a counter: its code, the store's name, the wallets that pay there."""
    from guilder.cashier import counter, plate, words

    book_id = _book(merchant)
    id = ids.read("sto", place) or ids.read("ter", place)
    if id is None or lang not in words.LANGUAGES:
        raise Invalid(f"{place!r} is no id of a store or terminal, or {lang!r} is no language of the cashier.")

    async def work(e: "Env") -> str:
        at = await counter.of(e, book_id, id)
        if at is None:
            raise NotFound(f"{merchant} has no such store or terminal that takes payments: '{place}'")
        till = at.place.terminal.name if at.place.terminal is not None else None
        return plate.svg(at.plate, at.place.store.name, till, at.types, words.speak(lang), test=not e.livemode)

    file.write_text(_in_env(env, work), "utf-8")
    out.print(f"{file}: print it on A6, without margins")
