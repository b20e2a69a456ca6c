"""The command line of routing: `guilder routes show | list | check | draft | try | live | back | why`."""

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.table import Column, Table

from guilder.app.cli_ledger import EnvName, book, in_env, out, whole, wide
from guilder.core import ids
from guilder.core.errors import Invalid

if TYPE_CHECKING:
    from uuid import UUID

    from guilder.payments.replay import Outlook
    from guilder.platform.approval import Approval
    from guilder.platform.db import Row
    from guilder.platform.environment import Env
    from guilder.routing.model import Content

app = typer.Typer(no_args_is_help=True, help="Routing: which channel account payments are asked for at, as data.")
Of = Annotated[str, typer.Option(help="Whose rules: acct_…, or platform.")]
File = Annotated[typer.FileText, typer.Argument(help="The rules as JSON (docs/guide/routing.md); - reads stdin.")]
Version = Annotated[str, typer.Argument(help="Its number, or rs_….")]
Days = Annotated[int, typer.Option(min=1, max=366, help="Payments of the last days.")]


def _content(file: typer.FileText) -> "Content":
    """The rules of a file, checked.  Raises Invalid."""
    from guilder.routing import rulesets
    from guilder.routing.decide import compiled

    try:
        said = msgspec.json.decode(file.read())
    except msgspec.DecodeError as error:
        raise Invalid(f"The rules are no JSON: {error}.") from error
    content = rulesets.read(said)
    compiled(ids.new_id(), 0, content)
    return content


@app.command()
def show(of: Of = "platform", env: EnvName = "test") -> None:
    """Show the rules that are live, as JSON."""
    from guilder.routing import rulesets

    async def work(rt: "Env") -> "bytes | None":
        found = [
            r
            for r in await rulesets.live(rt, book(of))
            if book(of) == ids.PLATFORM or r not in await rulesets.live(rt, ids.PLATFORM)
        ]
        return msgspec.json.encode(found[0].content) if found else None

    content = in_env(env, work)
    if content is None:
        out.print("No rules are live: the oldest account that fits is asked.")
    else:
        typer.echo(msgspec.json.format(content).decode())


@app.command("list")
def list_(of: Of = "platform", env: EnvName = "test") -> None:
    """Show the versions, newest first."""
    from guilder.routing import rulesets

    rows = in_env(env, lambda rt: rulesets.page(rt, book(of), 100))
    table = Table(*map(whole, ("number", "id", "state", "made by", "live since")), Column("note", overflow="fold"))
    for r in rows:
        since = f"{r['live_at']:%Y-%m-%d %H:%M}" if r["live_at"] and r["state"] == "live" else ""
        table.add_row(str(r["number"]), ids.show("rs", r["id"]), r["state"], r["made_by"], since, r["note"])
    wide.print(table if rows else "There are no versions.")


@app.command()
def check(file: File) -> None:
    """Say whether these are rules: names, types, expressions."""
    content = _content(file)
    out.print(
        f"{len(content.rules)} rules, {len(content.fees)} fees, {len(content.limits)} limits: all can be worked out."
    )


@app.command()
def draft(
    file: File, note: Annotated[str, typer.Option(help="What is new.")] = "", of: Of = "platform", env: EnvName = "test"
) -> None:
    """Keep rules as a new version; nothing goes by it yet."""
    from guilder.routing import rulesets

    content = _content(file)
    row = in_env(env, lambda rt: rt.db.transact(lambda tx: rulesets.draft(tx, book(of), content, note)))
    out.print(f"{row['number']}  {ids.show('rs', row['id'])}")


@app.command("try")
def try_(file: File, days: Days = 7, of: Of = "platform", env: EnvName = "test") -> None:
    """Say where past payments would have gone by these rules; nothing changes."""
    from guilder.payments.replay import replay
    from guilder.routing.decide import compiled

    ruleset = compiled(ids.new_id(), 0, _content(file))
    _tell(in_env(env, lambda rt: replay(rt, book(of), ruleset, days)))


def _tell(found: "Outlook") -> None:
    out.print(
        f"{found.payments} payments, {found.elsewhere} would have gone elsewhere, {found.nowhere} go nowhere today."
    )
    table = Table(whole("account"), *(Column(c, justify="right") for c in ("payments", "then", "amount", "then")))
    for id in dict.fromkeys([*found.before, *found.after]):
        cells: list[Any] = []
        for flows in (found.before, found.after):
            flow = flows.get(id)
            amounts = " ".join(f"{n} {c}" for c, n in flow.amounts.items()) if flow else ""
            cells.append((str(flow.payments) if flow else "", amounts))
        table.add_row(ids.show("ca", id), cells[0][0], cells[1][0], cells[0][1], cells[1][1])
    wide.print(table)
    out.print(f"Fees, where the rules know them both ways: {found.fees_before} before, {found.fees_after} then.")
    for name, n in found.rules.items():
        out.print(f"  {n:>8}  {name}" + ("   never true, or of nobody" if not n else ""))
    for name, n in found.skipped.items():
        out.print(f"  {name}: could not be worked out for {n} payments")
    if not found.whole:
        out.print("There were more payments than were looked at.")


@app.command()
def live(
    version: Version, why: Annotated[str, typer.Option(help="Why.")] = "", of: Of = "platform", env: EnvName = "test"
) -> None:
    """Have payments go by a version, in every process within a second."""
    from guilder.merchants import channel_accounts
    from guilder.routing import rulesets

    async def work(rt: "Env") -> "Row | Approval":
        row = await rulesets.find(rt, book(of), version)
        done = await rt.db.transact(lambda tx: rulesets.activate(tx, book(of), row["id"], why))
        await channel_accounts.tell(rt)
        return done

    _done(in_env(env, work))


@app.command()
def back(why: Annotated[str, typer.Option(help="Why.")] = "", of: Of = "platform", env: EnvName = "test") -> None:
    """Have payments go by the version that was live before."""
    from guilder.merchants import channel_accounts
    from guilder.routing import rulesets

    async def work(rt: "Env") -> "Row | Approval":
        done = await rt.db.transact(lambda tx: rulesets.back(tx, book(of), why))
        await channel_accounts.tell(rt)
        return done

    _done(in_env(env, work))


def _done(done: "Row | Approval") -> None:
    from guilder.platform.approval import Approval

    if isinstance(done, Approval):
        out.print(f"Others have to agree: {ids.show('apr', done.id)}")
    else:
        out.print(f"Payments go by version {done['number']}.")


@app.command()
def why(payment: Annotated[str, typer.Argument(help="pi_…")], of: Of, env: EnvName = "test") -> None:
    """Say where each try of a payment went, by which rule, and why at no other account."""
    from guilder.payments.replay import tries

    id = ids.read("pi", payment)
    if id is None:
        raise Invalid(f"{payment!r} is no payment: they look like pi_….")
    key: tuple[UUID, UUID] = (book(of), id)
    for row in in_env(env, lambda rt: tries(rt, *key)):
        out.print(
            f"{ids.show('at', row['id'])}  {row['state']}  {ids.show('ca', row['channel_account_id'])} {row['way']}"
        )
        typer.echo(row["routed"] or "  there was nothing to choose")
