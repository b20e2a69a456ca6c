"""Given elsewhere: a refund that its channel has refused, and that somebody has given the payer by another road.

    1. want     somebody says who paid it and what shows it; the case waits for others, always
    2. mark     they have agreed: the refund is done, with its journals, its events and the end of the case, in one commit

The channel gave nothing, so what it owes (`receivable`) stays.  The refund comes from what the merchant is owed, and is whoever's who paid it:

    the platform   `payable` to `clearing` in the merchant's book, `clearing` to `outside` in its own: it has paid from an account that is in no book
    the merchant   `payable` to `outside`, and back (`refund_elsewhere`): he paid his payer himself, and what we owe him stays as it was
"""

from typing import Any

from guilder.core import ids
from guilder.core.check import must
from guilder.core.errors import Invalid, NotFound, WrongState
from guilder.payments import life_refund, pledges, store
from guilder.payments.aside import OTHERS, Ground, ground
from guilder.payments.life import Scene
from guilder.payments.life_refund import PAYERS
from guilder.payments.model import Changes, Intent, Refund
from guilder.payments.present import Face
from guilder.payments.states import RefundState
from guilder.platform import approval, casework, context, trail
from guilder.platform.approval import Command
from guilder.platform.case import Dossier, Resolver, Trace, Verdict
from guilder.platform.db import Tx
from guilder.platform.sql import load

Q = load(__package__)
KIND = "refunded_elsewhere"  # of what waits for approval
NAME = "mark_refunded_elsewhere"


async def want(tx: Tx, about: Dossier, verdict: Verdict) -> Trace:
    """Ask others; the case waits for them.  Raises Invalid, WrongState if the refund has not failed."""
    if verdict.units is not None:
        raise Invalid("What was given back is the refund, whole: leave `amount` out.", param="amount")
    if verdict.paid_by not in PAYERS:
        raise Invalid(f"Say who paid it: {' or '.join(PAYERS)}.", param="paid_by")
    must(isinstance(verdict.ground, Ground), "a resolver that asks for its ground was given it")
    named = ids.split_key(about.subject)
    row = None if named is None else await tx.row(Q.find_refund, about.book_id, named[0])
    if row is None:
        raise NotFound("The refund of this case is not there any more.")
    refund, by = store.refund_of(row), context.current()
    paid = await tx.row(Q.find_intent, refund.book_id, refund.intent_id)
    must(paid is not None, "a refund is of a payment")
    _must_have_failed(refund, store.intent_of(paid))  # pyrefly: ignore[bad-argument-type]
    need = (await approval.rules(tx, KIND, [refund.book_id])).need(
        refund.book_id, {refund.currency: refund.amount}
    ) or OTHERS
    shown = ids.show("re", refund.id)
    do = {
        "refund": shown, "case": ids.show("case", about.id), "units": refund.amount, "asset": refund.currency, "paid_by": verdict.paid_by,
        "reference": verdict.reference, "funds": verdict.ground.contract.funds, "why": verdict.why,
    }  # fmt: skip
    says = f"Count {shown} of {refund.money} as done: the {verdict.paid_by} has paid it by another road ({verdict.reference}). {verdict.why}"
    asked = approval.ask(refund.book_id, KIND, shown, says, do, need, by, asset=refund.currency, units=refund.amount)
    approval.open_one(tx, asked, by)
    return Trace(None, asked.id, until=asked.expires_at)


async def mark(tx: Tx, command: Command) -> dict[str, Any]:
    """Do what all have agreed to, and end the case that wanted it.  Raises WrongState if it was given back otherwise meanwhile."""
    book_id, do, id = command.book_id, command.do, ids.read("re", command.do["refund"])
    must(id is not None, "a command names a refund")
    assert id is not None
    intents = await store.lock_of_refunds(tx, [(book_id, id)])
    refund = (await store.refunds(tx, intents))[book_id, id]
    intent = intents[book_id, refund.intent_id]
    charge = (await store.charges(tx, intents)).get(intent.key)
    _must_have_failed(refund, intent)
    if charge is None or charge.amount - charge.refunded < refund.amount:
        raise WrongState("The charge was refunded otherwise meanwhile.", code="charge_already_refunded")
    changes = Changes(by=context.current())
    scene = Scene(changes, Face(command.env), command.at, "api")
    life_refund.given_elsewhere(scene, intent, charge, refund, do["paid_by"], do["funds"])
    posted = await store.save(tx, changes)
    await tx.flush()
    journal = next(p.journal_id for j, p in zip(changes.journals, posted, strict=True) if j.book_id == book_id)
    why = f"{do['why']} ({do['reference']})"
    await casework.end_approved(
        tx, book_id, ids.read("case", do["case"]), NAME, why, Trace(journal, command.approval_id)
    )
    after = {"amount": refund.amount, "asset": refund.currency, "paid_by": do["paid_by"], "reference": do["reference"]}
    trail.note(tx, "elsewhere.marked", do["refund"], book_id=book_id, after=after, why=do["why"])
    return {"journal": ids.show("jl", journal) if journal is not None else None}


def _must_have_failed(refund: Refund, intent: Intent) -> None:
    if refund.state is not RefundState.FAILED or refund.charge_id is None:
        raise WrongState(f"This refund has not failed: it is {refund.state.value}.", code="refund_not_failed")
    pledges.must_not_be_a_trades(intent)


RESOLVERS = (
    Resolver(
        NAME, "Somebody has given it to the payer by another road (`paid_by`, `reference`): it is done, once others have agreed.",
        lambda about: about.kind == life_refund.FAILED_CASE, want, books=True, prepare=ground, witnessed=True,
    ),
)  # fmt: skip
