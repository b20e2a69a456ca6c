"""The command line of approvals: `guilder approvals list | show | decide | cancel | chains`.

Whoever is at the machine acts as `operator`: nobody in particular, so never a person.  He may refuse and cancel anything, and agree only at
steps of the role `machine`; and what was asked for at the machine, he does not decide at all.
"""

from typing import TYPE_CHECKING, Annotated, Literal
from uuid import UUID

import msgspec
import typer

from guilder.app.cli_ledger import EnvName, in_env, out
from guilder.core import clock, ids
from guilder.core.amount import is_asset, shown
from guilder.core.errors import Invalid
from guilder.core.page import PageQuery

if TYPE_CHECKING:
    from guilder.platform.approval import Approval, ApprovalObject, Step
    from guilder.platform.environment import Env

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="What waits for the agreement of others, and the rules that say what.",
)
chains_app = typer.Typer(no_args_is_help=True, help="Who has to agree to what: list, make, delete.")
app.add_typer(chains_app, name="chains")
Shown = Annotated[str, typer.Argument(help="apr_…")]
Why = Annotated[str, typer.Option(help="Stands in the trail.")]


@app.command("list")
def list_(
    env: EnvName = "test",
    state: Annotated[str, typer.Option(help="open, approved, executed, refused, expired, cancelled or all")] = "open",
    limit: int = 50,
) -> None:
    """Show what waits, newest first."""
    from guilder.platform import deciding

    page = in_env(env, lambda rt: deciding.page(rt.db, None, PageQuery(limit), None if state == "all" else state))
    for a in page.items:
        yes = f"{sum(d.yes for d in a.decisions)} of {sum(s.people for s in a.steps)} agreed"
        until = f"until {a.expires_at:%Y-%m-%d %H:%M} UTC"
        out.print(f"{ids.show('apr', a.id)}  {a.state_at(clock.now())}, {yes}, {until}", markup=False)
        out.print(f"    {a.summary} Asked for by {a.maker}.", markup=False)
    if not page.items:
        out.print("Nothing waits." if state == "open" else "There is none.")


@app.command()
def show(approval: Shown, env: EnvName = "test") -> None:
    """Show one whole, as JSON: the command, who has agreed, and the hash that a decision names."""
    from guilder.platform.approval import present

    async def work(rt: "Env") -> "ApprovalObject":
        return present(await _find(rt, approval), livemode=rt.livemode)

    typer.echo(msgspec.json.format(msgspec.json.encode(in_env(env, work))).decode())


@app.command()
def decide(
    approval: Shown,
    answer: Annotated[str, typer.Argument(help="approve or refuse")],
    hash: Annotated[str, typer.Option(help="As `show` says it.")],
    why: Why = "",
    env: EnvName = "test",
) -> None:
    """Decide at the machine, which is no person's decision: refuse anything, agree at steps of the role `machine`."""
    from guilder.oversight import approvals

    if answer not in ("approve", "refuse"):
        raise Invalid(f"{answer!r} is no decision: approve or refuse.")
    try:
        seen = bytes.fromhex(hash)
    except ValueError as error:
        raise Invalid(f"{hash!r} is no hash: `guilder approvals show {approval}` says it.") from error

    async def work(rt: "Env") -> "ApprovalObject":
        a = await _find(rt, approval)
        said = (approvals.OPERATOR, answer == "approve", seen, why)
        return await approvals.decide(rt, a.book_id, a.id, said, rt.db.transact)

    decided = in_env(env, work)
    out.print(f"{approval} is {decided.state}." + (f" {decided.reason}" if decided.reason else ""))


@app.command()
def cancel(approval: Shown, why: Why = "", env: EnvName = "test") -> None:
    """Take back what waits, whoever asked for it."""
    from guilder.oversight.approvals import OPERATOR
    from guilder.platform import deciding

    async def work(rt: "Env") -> None:
        a = await _find(rt, approval)
        await rt.db.transact(lambda tx: deciding.cancel(tx, a.book_id, a.id, OPERATOR, why, anyones=True))

    in_env(env, work)
    out.print(f"{approval} is cancelled.")


@chains_app.command("list")
def chains_list(env: EnvName = "test") -> None:
    """Show every rule."""
    from guilder.platform import chains
    from guilder.platform.approval import EVERY

    for c in in_env(env, lambda rt: chains.of(rt.db, None)):
        band = f"above {shown(c.over, c.asset)} {c.asset}".rstrip() if c.over else f"any amount {c.asset}".rstrip()
        whose = "every merchant" if c.book_id == EVERY else ids.show("acct", c.book_id)
        owner = "the platform's rule" if c.by_platform else "the merchant's own rule"
        who = ", then ".join(f"{s.people} × {s.role or s.permission} ({s.at})" for s in c.steps)
        out.print(f"{ids.show('apc', c.id)}  {c.kind}, {band}, of {whose}: {owner}", markup=False)
        out.print(f"    {who}, within {c.expires_s / 3600:g} h", markup=False)


@chains_app.command("make")
def chains_make(
    kind: Annotated[str, typer.Argument(help="refund, journal, key_reveal, channel_account")],
    step: Annotated[
        list[str],
        typer.Option(
            help="In their order: a role or permission, how many people, where: finance, ledger:write=2, finance=1@merchant"
        ),
    ],
    merchant: Annotated[str | None, typer.Option(help="acct_…; default: every merchant.")] = None,
    asset: Annotated[str, typer.Option(help="CNY; default: any.")] = "",
    over: Annotated[int, typer.Option(help="From more than so many smallest units on; 0: everything.")] = 0,
    hours: Annotated[int, typer.Option(help="How long there is to decide.")] = 72,
    env: EnvName = "test",
) -> None:
    """Make a rule of the platform's."""
    from guilder.oversight.approvals import OPERATOR
    from guilder.platform import chains
    from guilder.platform.approval import EVERY, Chain

    book = EVERY if merchant is None else ids.read("acct", merchant)
    if book is None:
        raise Invalid(f"{merchant!r} is no account: they look like acct_….")
    if asset and not is_asset(asset.upper()):
        raise Invalid(f"{asset!r} is no asset: CNY, POINT.")
    if over < 0 or hours < 1:
        raise Invalid("The limit is 0 or more, and there is an hour or more to decide.")
    steps = tuple(map(_step, step))
    new = Chain(book, ids.new_id(), kind, True, asset.upper(), over, hours * 3600, steps, OPERATOR, clock.now())
    in_env(env, lambda rt: rt.db.transact(lambda tx: chains.make(tx, new)))
    out.print(ids.show("apc", new.id))


@chains_app.command("delete")
def chains_delete(chain: Annotated[str, typer.Argument(help="apc_…")], env: EnvName = "test") -> None:
    """Delete a rule.  What is open keeps its steps."""
    from guilder.platform import chains

    in_env(env, lambda rt: rt.db.transact(lambda tx: chains.delete(tx, None, ids.read("apc", chain), chain)))
    out.print(f"{chain} is deleted.")


def _step(said: str) -> "Step":
    from guilder.people.model import PERMISSIONS
    from guilder.platform.approval import Step

    text, _, where = said.partition("@")
    who, _, people = text.partition("=")
    if where not in ("", "platform", "merchant") or not who or (people and people not in map(str, range(1, 11))):
        raise Invalid(
            f"{said!r} is no step: finance, ledger:write=2, finance=1@merchant (1 to 10 people, at the platform or the merchant)."
        )
    at: Literal["platform", "merchant"] = "merchant" if where == "merchant" else "platform"
    if ":" not in who:
        return Step(role=who, at=at, people=int(people or 1))
    if who not in PERMISSIONS:
        raise Invalid(f"There is no permission {who!r}.")
    return Step(permission=who, at=at, people=int(people or 1))


async def _find(rt: "Env", shown_id: str) -> "Approval":
    from guilder.platform import deciding

    id: UUID | None = ids.read("apr", shown_id)
    if id is None:
        raise deciding.no_such(shown_id)
    return await deciding.find(rt.db, None, id)
