"""The life of a refund: pure decisions, as in `life`, which has the rules."""

import msgspec

from guilder.channels.info import Info, Operation
from guilder.channels.model import Outcome, Retry, State
from guilder.core import ids
from guilder.core.check import must
from guilder.ledger import outside, payable, receivable, surplus
from guilder.ledger.exchange import between
from guilder.payments import doubts, events, life, life_aside
from guilder.payments.life import Contract, Scene
from guilder.payments.model import Charge, Intent, Refund
from guilder.payments.states import OPEN_REFUND, RefundState
from guilder.platform.case import Case

R = RefundState
FAILED_CASE = "refund_failed"
PAYERS = ("platform", "merchant")  # who may have given a refund back by another road than its channel


def hear_refund(
    scene: Scene, intent: Intent, charge: Charge | None, refund: Refund, outcome: Outcome, contract: Contract
) -> Case | None:
    """Apply what the channel said of a refund."""
    if outcome.state not in (State.UNKNOWN, State.NOT_FOUND):
        found = life.contradiction(refund, outcome, contract)
        if found is not None and found[0] != "amount_missing":  # a refund is its own key: the amount may be left out
            return life.doubt(scene, refund, outcome, *found)
    if outcome.memo is not None and outcome.memo != refund.memo:
        refund.memo = outcome.memo
        scene.changes.refunds[refund.key] = refund
    if refund.state not in OPEN_REFUND:
        return _after_the_end(scene, refund, outcome)
    match outcome.state:
        case State.SUCCEEDED:
            _refunded(scene, intent, charge, refund, outcome, contract)
        case State.FAILED | State.CLOSED:
            _refund_failed(scene, intent, charge, refund, outcome, contract)
        case State.PENDING:
            if refund.state is R.UNKNOWN:
                life.move_refund(scene, refund, R.PENDING)
            _ask_refund_later(scene, refund, contract.info)
        case State.UNKNOWN | State.NOT_FOUND:
            _ask_refund_later(scene, refund, contract.info)
    return None


def _after_the_end(scene: Scene, refund: Refund, outcome: Outcome) -> Case | None:
    """Told twice, it counts once; the opposite of what was told before moves nothing here, and a person has to look."""
    ended = State.SUCCEEDED if refund.state is R.SUCCEEDED and refund.elsewhere is None else State.FAILED
    if outcome.state is ended or outcome.state not in (State.SUCCEEDED, State.FAILED):
        return None
    summary = f"the channel says {outcome.state.value} of a refund that it had said {ended.value} of"
    return life.doubt(scene, refund, outcome, "refund_end_changed", summary)


def _refunded(
    scene: Scene, intent: Intent, charge: Charge | None, refund: Refund, outcome: Outcome, contract: Contract
) -> None:
    refund.channel_ref, refund.done_at, refund.ask_at = outcome.channel_ref, outcome.at or scene.at, None
    if outcome.channel_ref:
        scene.changes.channel_refs.setdefault((refund.channel_account_id, "refund " + outcome.channel_ref), refund.key)
    life.move_refund(scene, refund, R.SUCCEEDED)
    owed = receivable(refund.channel_account_id, refund.currency)
    due = payable(refund.currency, contract.funds, refund.channel_account_id)  # pyrefly: ignore[bad-argument-type]
    if refund.aside_id is not None:
        life_aside.came_back(scene, refund)
        return
    if charge is None:
        life.book(scene, "surplus_refund", refund, refund.amount, surplus(refund.currency), owed, refund.done_at)
        return
    life.book(scene, "refund", refund, refund.amount, due, owed, refund.done_at)
    scene.changes.charges[charge.key] = charge
    events.of_refund(scene.changes, scene.face, "refund.updated", refund, intent, scene.at)
    events.of_charge(scene.changes, scene.face, "charge.refunded", charge, intent, scene.at)


def given_elsewhere(scene: Scene, intent: Intent, charge: Charge, refund: Refund, payer: str, funds: str) -> None:
    """A refund that has failed at its channel is with the payer after all, from `payer`'s own pocket: the channel owes what it owed."""
    refund.elsewhere, refund.done_at, refund.problem = payer, scene.at, None
    life.move_refund(scene, refund, R.SUCCEEDED)
    charge.refunded += refund.amount
    scene.changes.charges[charge.key] = charge
    due = payable(refund.currency, funds, refund.channel_account_id)  # pyrefly: ignore[bad-argument-type]
    paid = outside(refund.currency)
    if payer == "merchant":
        life.book(scene, "refund", refund, refund.amount, due, paid, scene.at)
        life.book(scene, "refund_elsewhere", refund, refund.amount, paid, due, scene.at)
    else:
        ends = (refund.book_id, due), (ids.PLATFORM, paid)
        key = f"refund:{ids.text(refund.id)}"
        made = between(key, *ends, refund.amount, refund.id, scene.at, refund.root_id, refund.business_line)
        rules = ("refund", "refund_elsewhere")
        scene.changes.journals += [msgspec.structs.replace(j, rule=r) for j, r in zip(made, rules, strict=True)]
    events.of_refund(scene.changes, scene.face, "refund.updated", refund, intent, scene.at)
    events.of_charge(scene.changes, scene.face, "charge.refunded", charge, intent, scene.at)


def _refund_failed(
    scene: Scene, intent: Intent, charge: Charge | None, refund: Refund, outcome: Outcome, contract: Contract
) -> None:
    problem = outcome.problem
    refund.problem = {
        "reason": "unknown",
        "channel_code": problem.channel_code if problem else None,
        "message": problem.message if problem else None,
    }
    if refund.aside_id is not None and not (problem is not None and problem.retry is Retry.SAME_KEY):
        life_aside.refused(scene, refund, problem.message if problem else outcome.state.value)
        return
    not_asked = problem is not None and problem.retry is Retry.SAME_KEY
    if not_asked or charge is None:  # nothing happened, or money that must go back whatever the channel says: ask again
        _ask_refund_later(scene, refund, contract.info)
        if not not_asked:
            why = problem.message if problem else outcome.state.value
            scene.changes.cases.append(
                Case(refund.book_id, "surplus_refund_refused", ids.mint_key(refund.id, refund.book_id),
                     f"the channel refuses to give a surplus back: {why}", doubts.evidence(outcome, scene.door))
            )  # fmt: skip
        return
    refund.ask_at, refund.channel_ref = None, outcome.channel_ref or refund.channel_ref
    scene.changes.cases.append(_failed(scene, refund, outcome, contract))
    life.move_refund(scene, refund, R.FAILED)
    charge.refunded -= refund.amount  # P4: it counts as collected again, once
    must(charge.refunded >= 0, "P4: a refund is released once")
    scene.changes.charges[charge.key] = charge
    events.of_refund(scene.changes, scene.face, "refund.failed", refund, intent, scene.at)
    events.of_charge(scene.changes, scene.face, "charge.updated", charge, intent, scene.at)


def _failed(scene: Scene, refund: Refund, outcome: Outcome, contract: Contract) -> Case:
    """The payer waits for money that did not reach him."""
    why = outcome.problem.message if outcome.problem else outcome.state.value
    says = (
        "Send it to a bank account (POST /v1/refunds/:refund/rescue)."
        if contract.info.can(Operation.RESCUE_REFUND)
        else "Refund again, or give it back by hand."
    )
    found = doubts.evidence(outcome, scene.door) | {
        "refund": ids.show("re", refund.id),
        "channel_account": ids.show("ca", refund.channel_account_id),
        "units": refund.amount,
        "asset": refund.currency,
    }
    subject = ids.mint_key(refund.id, refund.book_id)
    return Case(
        refund.book_id,
        FAILED_CASE,
        subject,
        f"a refund of {refund.money} has failed: {why}",
        found,
        proposal={"resolver": "dismiss", "says": says},
    )


def _ask_refund_later(scene: Scene, refund: Refund, info: Info) -> None:
    refund.ask_at = life.scheduled(info.refund_query_after_s, refund.asked, refund.created_at, scene.at)
    scene.changes.refunds[refund.key] = refund
