"""The life of what lies aside: pure decisions, as in `life`.

  waits --> used          it became a charge, or a surplus that goes back
    |-----> returning     what is left of it goes back to the payer --> returned; or the channel refuses, and it waits
    |-----> applied       what is left of it is the merchant's, or was
    +-----> written_off   what is left of it is the platform's gain, or its loss

N1  A sum lies aside once, however many cases and answers speak of it: its number at the channel is its key.
N2  What lies aside leaves once, whole; only what pays for a payment may leave a rest.
N3  The suspense account has what came and still lies aside, less what was given away and does.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from guilder.channels.info import Operation
from guilder.channels.model import Credit, Outcome, State
from guilder.core import ids
from guilder.core.amount import Amount
from guilder.core.check import must
from guilder.ledger import Journal, Transfer, payable, receivable, surplus, suspense
from guilder.payments import life
from guilder.payments.life import Contract, Scene
from guilder.payments.model import Aside, Attempt, Intent, Refund
from guilder.payments.states import ASIDE_NEXT, OPEN_ATTEMPT, AsideState, AttemptState, IntentStatus, RefundState
from guilder.platform.case import Case

A, S, N = AttemptState, IntentStatus, AsideState
KIND = "suspense"  # of the case that asks whose it is
PROPOSAL = {
    "resolver": "refund_suspense",
    "says": "Find out whose it is; what is nobody's goes back to where it came from.",
}
MONTH = 30


def evidence(aside: Aside, **more: Any) -> dict[str, Any]:
    """What a case says of it; doubts.Money is part of it."""
    return {
        "aside": ids.show("as", aside.id), "of": "refund" if aside.gave else "payment", "asset": aside.asset, "units": aside.left,
        "channel_account": ids.show("ca", aside.channel_account_id), "channel_ref": aside.channel_ref,
        "attempt": None if aside.attempt_id is None else ids.mint_key(aside.attempt_id, aside.book_id), **more,
    }  # fmt: skip


def whose(aside: Aside, summary: str = "", **more: Any) -> Case:
    """The case that asks what is to become of it.  It opens again each time that it waits again."""
    what = "was given away by the channel" if aside.gave else "lies aside"
    said = summary or f"{Amount(aside.left, aside.asset)} {what}: whose is it?"
    proposal = None if aside.gave or aside.intent_id is None else PROPOSAL
    return Case(
        aside.book_id, KIND, ids.show("as", aside.id), said, evidence(aside, **more), moved=True, proposal=proposal, due_days=MONTH
    )  # fmt: skip


def move_aside(scene: Scene, aside: Aside, to: AsideState) -> None:
    """Change its state along the table."""
    must(to in ASIDE_NEXT[aside.state], f"N2: what lies aside goes from {aside.state} to {to}")
    aside.state = to
    scene.changes.asides[aside.key] = aside


def journal(
    aside: Aside, rule: str, transfers: tuple[Transfer, ...], at: datetime, note: dict[str, Any] | None = None
) -> Journal:
    """One of its journals."""
    said = "" if note is None else msgspec.json.encode(note).decode()
    return Journal(
        aside.book_id, f"{rule}:{ids.text(aside.id)}", rule, transfers, aside.id, at, aside.root_id, aside.business_line, note=said,
        carried=True,
    )  # fmt: skip


def lay(aside: Aside, at: datetime) -> Journal:
    """The journal by which it comes to lie aside."""
    has, lies = receivable(aside.channel_account_id, aside.asset), suspense(aside.asset)
    move = Transfer(lies, has, aside.units) if aside.gave else Transfer(has, lies, aside.units)
    return journal(aside, "suspense", (move,), at)


def apply(scene: Scene, aside: Aside, funds: str, note: dict[str, Any]) -> Journal:
    """What is left of it is the merchant's; what was given away, he has lost."""
    his = payable(aside.asset, funds, aside.channel_account_id)  # pyrefly: ignore[bad-argument-type]
    lies = suspense(aside.asset)
    move = Transfer(his, lies, aside.left) if aside.gave else Transfer(lies, his, aside.left)
    made = journal(aside, "suspense_applied", (move,), scene.at, note)
    move_aside(scene, aside, N.APPLIED)
    scene.changes.journals.append(made)
    return made


def pay(
    scene: Scene, intent: Intent, attempt: Attempt, lying: Sequence[Aside], contract: Contract, at: datetime
) -> None:
    """What lies aside for an open try pays for its payment, as far as it reaches and no further."""
    attempt.came = sum(a.units for a in lying)
    attempt.channel_ref, attempt.paid_at = lying[-1].channel_ref, at
    attempt.ask_at, attempt.close_wanted = None, False
    life.move_attempt(scene, attempt, A.SUCCEEDED)
    due = payable(attempt.currency, contract.funds, attempt.channel_account_id)  # pyrefly: ignore[bad-argument-type]
    left = attempt.due
    life.collect(scene, intent, attempt, contract.fee_bps, suspense(attempt.currency), due)
    for one in lying:
        take = min(left, one.left)
        one.used, left = one.used + take, left - take
        scene.changes.asides[one.key] = one
        if not one.left:
            move_aside(scene, one, N.USED)


def pay_late(
    scene: Scene, intent: Intent, attempt: Attempt, lying: Sequence[Aside], contract: Contract, at: datetime
) -> None:
    """The same for a try or a payment that has ended: what came is a surplus, and the surplus is accepted.  It is no more than was due."""
    attempt.came = sum(a.units for a in lying)
    attempt.channel_ref, attempt.paid_at = lying[-1].channel_ref, at
    attempt.ask_at, attempt.close_wanted = None, False
    must(attempt.came <= attempt.amount, "N2: a rest would be nobody's")
    life.move_attempt(scene, attempt, A.SURPLUS)
    life.book(scene, "surplus", attempt, attempt.came, suspense(attempt.currency), surplus(attempt.currency), at)
    due = payable(attempt.currency, contract.funds, attempt.channel_account_id)  # pyrefly: ignore[bad-argument-type]
    life.collect(scene, intent, attempt, contract.fee_bps, surplus(attempt.currency), due, rule="surplus_accepted")
    for one in lying:
        one.used = one.units
        move_aside(scene, one, N.USED)


def end_try(scene: Scene, intent: Intent, attempt: Attempt, one: Aside) -> Refund:
    """Another sum than was asked for goes back whole: the try has ended as a surplus, and the payer may try again."""
    must(one.asset == attempt.currency and not one.used, "N2: a surplus is whole, and of the try's currency")
    was_open = attempt.state in OPEN_ATTEMPT
    attempt.came, attempt.channel_ref, attempt.paid_at = one.units, one.channel_ref, scene.at
    attempt.ask_at, attempt.close_wanted = None, False
    life.move_attempt(scene, attempt, A.SURPLUS)
    life.book(scene, "surplus", attempt, one.units, suspense(one.asset), surplus(one.asset), scene.at)
    one.used = one.units
    move_aside(scene, one, N.USED)
    if was_open:
        life.end_of_try(scene, intent, attempt, PAID_OTHERWISE)
    return life.give_back_surplus(scene, intent, attempt)


def end_foreign(scene: Scene, intent: Intent, attempt: Attempt, one: Aside) -> None:
    """What came in another currency is seen to, and pays for nothing: its try has ended at the channel, and nobody asks about it any more.
    What the channel may still say of it is heard, as of any try that has ended."""
    if attempt.state not in OPEN_ATTEMPT or one.asset == attempt.currency or one.gave or lying_for(scene, attempt):
        return
    attempt.ask_at, attempt.close_wanted = None, False
    life.move_attempt(scene, attempt, A.CLOSED)
    life.end_of_try(scene, intent, attempt, PAID_IN_ANOTHER_CURRENCY)


PAID_IN_ANOTHER_CURRENCY = {
    "type": "invalid_request_error",
    "code": "payment_intent_payment_attempt_failed",
    "message": "It was paid in another currency than was asked for, which pays for nothing. Confirm again for a new try.",
}
PAID_OTHERWISE = {
    "type": "invalid_request_error",
    "code": "payment_intent_payment_attempt_failed",
    "message": "Another amount came than was asked for: it goes back. Confirm again for a new try.",
}


def give_back(scene: Scene, intent: Intent, one: Aside) -> Refund:
    """Open the refund of what is left of it; the sweep sends it."""
    must(one.attempt_id is not None and not one.gave, "what goes back came for a try")
    assert one.attempt_id is not None
    refund = Refund(
        intent.book_id, ids.new_id(), intent.id, one.attempt_id, None, one.channel_account_id, 0, RefundState.UNKNOWN, one.left, one.asset,
        "duplicate", {}, None, None, scene.at, 0, None, intent.root_id, intent.business_line, scene.at, aside_id=one.id,
    )  # fmt: skip
    move_aside(scene, one, N.RETURNING)
    scene.changes.new_refunds[refund.key] = refund
    life.note_move(scene, refund, "refund", None, RefundState.UNKNOWN)
    return refund


# Sums that come in parts: a bank's credits under one reference.


def hear(scene: Scene, intent: Intent, attempt: Attempt, outcome: Outcome, contract: Contract) -> Case | None:
    """Apply what the channel said of a try, by parts or whole."""
    credits = credits_of(outcome, contract)
    case: Case | None = None
    if credits:
        rest = State.PENDING if outcome.state is State.SUCCEEDED else outcome.state
        outcome = replace(outcome, state=rest, amount=None, credits=())
        found = life.contradiction(attempt, outcome, contract)
        if found is not None:
            return life.doubt(scene, attempt, outcome, *found)
        case = _hear_credits(scene, intent, attempt, credits, contract)
    case = life.hear_payment(scene, intent, attempt, outcome, contract) or case
    if attempt.state in (A.CLOSED, A.FAILED):
        ended_short(scene, attempt)
    return case


def _hear_credits(
    scene: Scene, intent: Intent, attempt: Attempt, credits: Sequence[Credit], contract: Contract
) -> Case | None:
    """Each credit that is news lies aside at once; together they pay as soon as they reach the amount.

    More than the amount, twice and late: what no payment wants goes back by itself where the channel can send it, and else waits for a
    person.  Less than the amount waits with the try, and is a case once that has ended.
    """
    known = {a.ref: a for a in scene.changes.lying.values() if a.channel_account_id == attempt.channel_account_id}
    doubt: Case | None = None
    for credit in credits:
        one = known.get(credit.ref)
        if one is None:
            known[credit.ref], found = _credit(scene, intent, attempt, credit, contract)
            doubt = found or doubt
        elif one.attempt_id != attempt.id or (one.units, one.asset) != (credit.amount.units, credit.amount.asset):
            doubt = _told_otherwise(scene, attempt, one, credit)
    open_still = attempt.state in OPEN_ATTEMPT and intent.status not in (S.SUCCEEDED, S.CANCELED)
    waiting = lying_for(scene, attempt)
    if open_still and waiting and sum(a.left for a in waiting) >= attempt.due:
        at = max((c.at for c in credits if c.at is not None), default=scene.at)
        pay(scene, intent, attempt, waiting, contract, at)
        for rest in lying_for(scene, attempt):
            doubt = _unwanted(scene, intent, rest, contract, "more came than was due") or doubt
    return doubt


def lying_for(scene: Scene, attempt: Attempt) -> list[Aside]:
    """What waits for a try, oldest first."""
    mine = [
        a
        for a in scene.changes.lying.values()
        if a.attempt_id == attempt.id and a.asset == attempt.currency and not a.gave
    ]
    return sorted((a for a in mine if a.state is N.WAITS and a.left), key=lambda a: a.id.bytes)


def credits_of(outcome: Outcome, contract: Contract) -> tuple[Credit, ...]:
    """The sums that an answer speaks of, where the channel collects in parts."""
    if outcome.credits or not contract.info.collects_in_parts:
        return outcome.credits
    if outcome.state is not State.SUCCEEDED or outcome.amount is None or not outcome.channel_ref:
        return ()
    return (Credit(outcome.channel_ref, outcome.amount, outcome.at),)


def _credit(
    scene: Scene, intent: Intent, attempt: Attempt, credit: Credit, contract: Contract
) -> tuple[Aside, Case | None]:
    one = Aside(
        attempt.book_id, ids.new_id(), attempt.channel_account_id, credit.ref, attempt.id, intent.id, False, credit.amount.units,
        credit.amount.asset, 0, N.WAITS, credit.ref, attempt.root_id, attempt.business_line, scene.at,
    )  # fmt: skip
    scene.changes.new_asides[one.key] = scene.changes.lying[one.key] = one
    scene.changes.journals.append(lay(one, credit.at or scene.at))
    scene.changes.channel_refs[attempt.channel_account_id, credit.ref] = attempt.key
    if one.asset != attempt.currency:
        return one, _ask_whose(scene, one, f"{credit.amount} came for a payment in {attempt.currency}")
    if attempt.state is A.SUCCEEDED or intent.status is S.SUCCEEDED:
        return one, _unwanted(scene, intent, one, contract, "it was paid already")
    if attempt.state not in OPEN_ATTEMPT or intent.status is S.CANCELED:
        return one, _late(scene, intent, attempt, one, contract)
    attempt.came = (attempt.came or 0) + one.units
    scene.changes.attempts[attempt.key] = attempt
    return one, None


def _told_otherwise(scene: Scene, attempt: Attempt, one: Aside, credit: Credit) -> Case:
    """A number that lies aside is told again, for another try or with another amount: nothing is booked, and a person looks."""
    summary = f"the channel says {credit.amount} of {credit.ref}, which lies aside as {Amount(one.units, one.asset)}"
    said = {"aside": ids.show("as", one.id), "channel_ref": credit.ref, "amount": str(credit.amount)}
    case = Case(
        attempt.book_id,
        "credit_changed",
        ids.mint_key(attempt.id, attempt.book_id),
        summary,
        said,
        f"{credit.ref} {credit.amount}",
    )
    scene.changes.cases.append(case)
    return case


def _late(scene: Scene, intent: Intent, attempt: Attempt, one: Aside, contract: Contract) -> Case | None:
    """It came after the end: it pays where the merchant takes late payments and it is what was due, and else goes back."""
    lying = lying_for(scene, attempt)
    if (
        intent.late_success == "accept"
        and sum(a.left for a in lying) == attempt.due
        and attempt.state in (A.CLOSED, A.FAILED)
    ):
        pay_late(scene, intent, attempt, lying, contract, scene.at)
        return None
    return _unwanted(scene, intent, one, contract, "it came after the end")


def _unwanted(scene: Scene, intent: Intent, one: Aside, contract: Contract, why: str) -> Case | None:
    if contract.info.can(Operation.REFUND):
        give_back(scene, intent, one)
        return None
    return _ask_whose(
        scene, one, f"{Amount(one.left, one.asset)} lies aside, for {why}; {contract.info.title} sends nothing back"
    )


def _ask_whose(scene: Scene, one: Aside, summary: str) -> Case:
    case = whose(one, summary)
    scene.changes.cases.append(case)
    return case


def ended_short(scene: Scene, attempt: Attempt) -> None:
    """A try has ended, and what came for it was not enough: a person accepts it or gives it back."""
    for one in lying_for(scene, attempt):
        _ask_whose(scene, one, f"{Amount(one.left, one.asset)} of {attempt.money} came before the time was over")


def came_back(scene: Scene, refund: Refund) -> None:
    """What lay aside is with the payer."""
    one = _of(scene, refund)
    owed = receivable(refund.channel_account_id, refund.currency)
    must(refund.done_at is not None, "a refund that is done says when")
    assert refund.done_at is not None
    life.book(scene, "suspense_refund", refund, refund.amount, suspense(refund.currency), owed, refund.done_at)
    move_aside(scene, one, N.RETURNED)


def refused(scene: Scene, refund: Refund, why: str) -> None:
    """The channel does not send it back: it waits again, and a person has to look."""
    refund.ask_at = None
    life.move_refund(scene, refund, RefundState.FAILED)
    one = _of(scene, refund)
    move_aside(scene, one, N.WAITS)
    _ask_whose(scene, one, f"the channel does not send {refund.money} back: {why}")


def _of(scene: Scene, refund: Refund) -> Aside:
    one = scene.changes.lying.get((refund.book_id, refund.aside_id)) if refund.aside_id is not None else None
    must(one is not None, "what goes back lies aside")
    assert one is not None
    return one
