"""The command line of cases: `guilder cases list | show | assign | comment | resolve`."""

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.table import Column, Table

from guilder.app.cli_ledger import EnvName, book, in_env, out, whole, wide
from guilder.core import ids
from guilder.core.errors import Invalid
from guilder.platform import casework
from guilder.platform.case import Verdict
from guilder.platform.casework import Reach, Wanted

if TYPE_CHECKING:
    from uuid import UUID

    from guilder.oversight.present import CaseObject
    from guilder.platform.environment import Env

app = typer.Typer(no_args_is_help=True, help="Cases: what the machine will not decide alone.")
CaseId = Annotated[str, typer.Argument(help="case_…")]
ALL = Reach()


def _id(shown: str) -> "UUID":
    id = ids.read("case", shown)
    if id is None:
        raise Invalid(f"{shown!r} is no case: they look like case_….")
    return id


@app.command("list")
def list_(
    kind: Annotated[str | None, typer.Option(help="amount_mismatch, drift …")] = None,
    state: Annotated[str | None, typer.Option(help="open, waiting or resolved.")] = None,
    owner: Annotated[str | None, typer.Option(help="usr_…, svc_…, operator.")] = None,
    overdue: Annotated[bool, typer.Option("--overdue", help="Only those that should be resolved by now.")] = False,
    of: Annotated[str | None, typer.Option(help="A book (acct_…, ca_… or platform); default: all.")] = None,
    limit: int = 100,
    env: EnvName = "test",
) -> None:
    """Show cases, newest first."""
    reach = Reach(None if of is None else book(of))
    wanted = Wanted(kind, state, owner, True if overdue else None)
    rows = in_env(env, lambda rt: casework.page(rt.db, reach, wanted, limit))
    table = Table(*map(whole, ("case", "kind", "state", "due", "owner", "seen")), Column("what", overflow="fold"))
    for r in rows:
        due = f"{r['due_at']:%Y-%m-%d %H:%M}" if r["due_at"] else ""
        table.add_row(ids.show("case", r["id"]), r["kind"], r["state"], due, r["owner"], str(r["seen"]), r["summary"])
    wide.print(table if rows else "No such cases.")


@app.command()
def show(case: CaseId, env: EnvName = "test") -> None:
    """Show a case with all that was said about it, as JSON."""
    from guilder.oversight.present import whole_case

    async def work(rt: "Env") -> "CaseObject":
        found = await casework.whole(rt.db, await casework.find(rt.db, ALL, _id(case)))
        return whole_case(found, livemode=rt.livemode)

    typer.echo(msgspec.json.format(msgspec.json.encode(in_env(env, work))).decode())


@app.command()
def assign(
    case: CaseId, to: Annotated[str, typer.Argument(help="usr_…, svc_…, operator; nobody.")], env: EnvName = "test"
) -> None:
    """Give a case to somebody who can do something about it."""
    from guilder.oversight.cases import check_owner

    owner = None if to == "nobody" else to

    async def work(rt: "Env") -> None:
        row = await casework.find(rt.db, ALL, _id(case))
        await check_owner(rt, row["book_id"], owner)
        await rt.db.transact(lambda tx: casework.change(tx, ALL, row["id"], owner))

    in_env(env, work)
    out.print(f"{case} is {to}'s." if owner else f"{case} is nobody's.")


@app.command()
def comment(case: CaseId, text: str, env: EnvName = "test") -> None:
    """Say something to a case."""
    in_env(env, lambda rt: rt.db.transact(lambda tx: casework.comment(tx, ALL, _id(case), text)))
    out.print(f"It is said to {case}.")


@app.command()
def resolve(
    case: CaseId,
    by: Annotated[str, typer.Argument(help="One of its ways; `guilder cases show` names them.")],
    why: Annotated[str, typer.Option(help="Why: whoever asks in a year has nothing else.")],
    amount: Annotated[
        int | None, typer.Option(help="How much it was in smallest units, where the evidence does not say.")
    ] = None,
    paid_by: Annotated[str, typer.Option(help="platform or merchant: who paid, for what was paid elsewhere.")] = "",
    reference: Annotated[str, typer.Option(help="What shows that: the number of a transfer.")] = "",
    env: EnvName = "test",
) -> None:
    """End a case."""

    async def work(rt: "Env") -> str:
        verdict = await casework.ready(rt, ALL, _id(case), Verdict(by, why, amount, reference, paid_by))
        return (await casework.resolve_now(rt.db, ALL, _id(case), verdict))["state"]

    state = in_env(env, work)
    out.print(f"{case} is resolved." if state == "resolved" else f"{case} waits for the approval of others.")
