"""Aside: what a person decides of money that moved at a channel and that we did not ask for.  The rules are life_aside's (N1 to N3).

    book_suspense         it lies aside; a case of its own asks whose it is
    accept_amount         it pays for its payment, as far as it reaches: less, and that is what was collected; more, and the rest goes back
    accept_amount_keep    the same; the rest waits for somebody to say whose it is
    refund_suspense       it goes back to the payer, by the channel
    apply_suspense        it is the merchant's; what the channel gave away, he has lost
    write_off             it is the platform's, once others have agreed: its loss where the channel gave it away
    same_sum              it is what lies aside already: nothing more has moved

Each is one commit: what lies aside, its journals, the payment, the refund, the case.  What is not aside yet is put there first, once (N1).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from guilder import ledger
from guilder.channels.info import Operation
from guilder.core import clock, ids
from guilder.core.amount import Amount
from guilder.core.check import must
from guilder.core.errors import Invalid, Rejected, WrongState
from guilder.ledger import losses, suspense
from guilder.ledger.exchange import between
from guilder.merchants import channel_accounts
from guilder.payments import life, life_aside, store
from guilder.payments.asking import contract_of
from guilder.payments.doubts import BOOK_SUSPENSE, MOVED, Money
from guilder.payments.life import Contract, Scene
from guilder.payments.model import Aside, Attempt, Changes, Intent
from guilder.payments.present import Face
from guilder.payments.states import OPEN_ATTEMPT, AsideState, AttemptState, IntentStatus
from guilder.platform import approval, case, casework, context, trail
from guilder.platform.approval import Command, Need, Step
from guilder.platform.case import Dossier, Resolver, Trace, Verdict
from guilder.platform.db import Tx
from guilder.platform.environment import Env
from guilder.platform.sql import load

Q = load(__package__)
KIND = "write_off"  # of what waits for approval
DAYS_S = 3 * 86_400
OTHERS = Need((Step(at="platform"),), DAYS_S)  # whoever may decide at all: somebody else, always
A, N, S = AttemptState, AsideState, IntentStatus


class NotBooked(Rejected):
    """The book refuses the journal."""

    code = "journal_refused"


class LiesAside(WrongState):
    """This sum was put aside before."""

    code = "suspense_exists"


@dataclass(frozen=True, slots=True)
class Ground:
    """What a resolver stands on: read before its transaction."""

    contract: Contract
    face: Face


@dataclass(slots=True)
class Desk:
    """A sum and all that it is about, locked."""

    one: Aside
    new: bool  # it is not in the book yet
    intent: Intent | None
    attempt: Attempt | None
    attempts: dict[tuple[UUID, UUID], Attempt]
    changes: Changes


async def ground(env: Env, about: Dossier, _verdict: Verdict) -> Ground:
    """The contract of a case's channel account.  Raises Invalid if there is none."""
    id = ids.read("ca", str(about.evidence.get("channel_account")))
    account = None if id is None else await channel_accounts.get(env, id)
    if account is None:
        raise Invalid("This case names no channel account any more.", param="resolver")
    return Ground(contract_of(account), Face(env))


async def book(tx: Tx, about: Dossier, verdict: Verdict) -> Trace:
    """Put it aside.  Raises Invalid if it is not known how much it was, or said twice; LiesAside, NotBooked."""
    d = await _desk(tx, about, verdict)
    if not d.new:
        raise LiesAside(
            f"This sum was put aside before, as {ids.show('as', d.one.id)} ({d.one.state.value}): end the case by same_sum."
        )
    d.changes.cases.append(life_aside.whose(d.one))
    return await _save(tx, about, d)


async def accept(tx: Tx, about: Dossier, verdict: Verdict, *, keep: bool = False) -> Trace:
    """What came pays for its payment.  Raises WrongState if the payment was paid otherwise, or it is of another currency."""
    d = await _desk(tx, about, verdict)
    contract, scene = _scene(d, verdict)
    intent, attempt = _paying(d)
    lying = life_aside.lying_for(scene, attempt)
    if d.one not in lying:
        raise WrongState(f"It does not lie aside any more: it is {d.one.state.value}.", code="suspense_gone")
    late = attempt.state not in OPEN_ATTEMPT or intent.status is S.CANCELED
    if late and sum(a.left for a in lying) > attempt.due:
        raise WrongState("This payment has ended, and more came than was due: give it back.", code="payment_ended")
    (life_aside.pay_late if late else life_aside.pay)(scene, intent, attempt, lying, contract, scene.at)
    life.see_to_others(scene, d.attempts.values(), intent)
    for rest in life_aside.lying_for(scene, attempt):
        if keep or not contract.info.can(Operation.REFUND):
            scene.changes.cases.append(life_aside.whose(rest))
        else:
            life_aside.give_back(scene, intent, rest)
    await _close(tx, about, lying, "accept_amount", verdict)
    return await _save(tx, about, d, "charge" if not late else "surplus_accepted")


async def give_back(tx: Tx, about: Dossier, verdict: Verdict) -> Trace:
    """What came goes back to the payer; the payment may be paid again.  Raises WrongState."""
    d = await _desk(tx, about, verdict)
    contract, scene = _scene(d, verdict)
    one, intent, attempt = d.one, d.intent, d.attempt
    if intent is None or attempt is None:
        raise WrongState(
            "It came for no payment that we know: the channel cannot send it back by itself.", code="payment_unknown"
        )
    if not contract.info.can(Operation.REFUND, attempt.way):
        raise WrongState(
            f"{contract.info.title} sends nothing back: pay it out, and write off or apply what lies aside.",
            code="refund_impossible",
        )
    if one.state is not N.WAITS or one.gave:
        raise WrongState(f"It does not lie aside any more: it is {one.state.value}.", code="suspense_gone")
    whole = not one.used and one.asset == attempt.currency and life_aside.lying_for(scene, attempt) == [one]
    if whole and attempt.state not in (A.SUCCEEDED, A.SURPLUS):
        life_aside.end_try(scene, intent, attempt, one)
        life.see_to_others(scene, d.attempts.values(), intent)
    else:
        life_aside.give_back(scene, intent, one)
        _seen_to(d, scene)
    await _close(tx, about, [one], "refund_suspense", verdict)
    return await _save(tx, about, d, "surplus")


async def apply(tx: Tx, about: Dossier, verdict: Verdict) -> Trace:
    """It is the merchant's, or he has lost it.  Raises WrongState."""
    d = await _desk(tx, about, verdict)
    contract, scene = _scene(d, verdict)
    _must_wait(d.one)
    life_aside.apply(scene, d.one, contract.funds, _note(about))
    _seen_to(d, scene)
    await _close(tx, about, [d.one], "apply_suspense", verdict)
    return await _save(tx, about, d, "suspense_applied")


async def want_write_off(tx: Tx, about: Dossier, verdict: Verdict) -> Trace:
    """Ask others; the case waits for them.  What is not aside yet is put there meanwhile."""
    d = await _desk(tx, about, verdict)
    _must_wait(d.one)
    one, by = d.one, context.current()
    need = (await approval.rules(tx, KIND, [one.book_id])).need(one.book_id, {one.asset: one.left}) or OTHERS
    what = (
        "was given away by the channel: the platform's loss"
        if one.gave
        else "lies aside and is nobody's: the platform keeps it"
    )
    do = {
        "aside": ids.show("as", one.id),
        "case": ids.show("case", about.id),
        "units": one.left,
        "asset": one.asset,
        "why": verdict.why,
    }
    asked = approval.ask(
        one.book_id, KIND, ids.show("as", one.id), f"Write off {Amount(one.left, one.asset)}, which {what}. {verdict.why}", do, need, by,
        asset=one.asset, units=one.left,
    )  # fmt: skip
    left = await _save(tx, about, d)
    approval.open_one(tx, asked, by)
    return Trace(left.journal_id, asked.id, until=asked.expires_at)


async def write_off(tx: Tx, command: Command) -> dict[str, Any]:
    """Write off what all have agreed to, and end the case that wanted it.  Raises WrongState if it does not lie aside so any more."""
    id, case_id = ids.read("as", command.do["aside"]), ids.read("case", command.do["case"])
    d = None if id is None else await _desk_of(tx, command.book_id, id, Changes(by=context.current()))
    must(d is not None, "a command names what lies aside")
    assert d is not None
    one = d.one
    if one.state is not N.WAITS or (one.left, one.asset) != (command.do["units"], command.do["asset"]):
        raise WrongState(
            f"It does not lie aside as it did: it is {one.state.value}, of {Amount(one.left, one.asset)}.",
            code="suspense_gone",
        )
    ours, theirs = (ids.PLATFORM, losses(one.asset)), (one.book_id, suspense(one.asset))
    ends = (ours, theirs) if one.gave else (theirs, ours)
    key = f"suspense_written_off:{ids.text(one.id)}"
    made = between(key, *ends, one.left, one.id, command.at, one.root_id, one.business_line)
    posted = await ledger.post(tx, [msgspec.structs.replace(j, rule="suspense_written_off") for j in made])
    if not all(p.booked for p in posted):
        raise NotBooked(f"The book refuses the journal ({', '.join(p.code.value for p in posted)}).")
    scene = Scene(d.changes, Face(command.env), command.at, "api")
    life_aside.move_aside(scene, one, N.WRITTEN_OFF)
    _seen_to(d, scene)
    await store.save(tx, d.changes)
    journal = next(p.journal_id for j, p in zip(made, posted, strict=True) if j.book_id == one.book_id)
    trace = Trace(journal, command.approval_id)
    await casework.end_approved(tx, command.book_id, case_id, KIND, command.do["why"], trace)
    shown = ids.show("as", one.id)
    await case.close_many(tx, [(one.book_id, life_aside.KIND, shown)], KIND, command.do["why"])
    trail.note(
        tx,
        "suspense.written_off",
        shown,
        book_id=one.book_id,
        after={"units": one.left, "asset": one.asset},
        why=command.do["why"],
    )
    return {"journal": ids.show("jl", journal) if journal is not None else None}


async def same_sum(tx: Tx, about: Dossier, verdict: Verdict) -> Trace:
    """It is what lies, or lay, aside: nothing more moved.  Raises WrongState if it is not."""
    d = await _desk(tx, about, verdict)
    if d.new:
        raise WrongState("Nothing of this number lies aside: it has moved, and is in no book.", code="suspense_missing")
    return Trace()


def _paying(d: Desk) -> tuple[Intent, Attempt]:
    """The payment that it pays for.  Raises WrongState."""
    intent, attempt = d.intent, d.attempt
    if intent is None or attempt is None:
        raise WrongState("It came for no payment that we know.", code="payment_unknown")
    if intent.status is S.SUCCEEDED or attempt.state in (A.SUCCEEDED, A.SURPLUS):
        raise WrongState("This payment was paid otherwise: give it back, or put it aside.", code="payment_ended")
    if d.one.asset != attempt.currency or d.one.gave:
        raise WrongState(
            f"The payment is in {attempt.currency}: {d.one.asset} does not pay for it.", code="currency_mismatch"
        )
    if (attempt.amount, attempt.currency) != (intent.amount, intent.currency):
        raise WrongState("The payment was changed since this try began: give it back.", code="payment_changed")
    return intent, attempt


def _seen_to(d: Desk, scene: Scene) -> None:
    """A try that was paid in another currency ends with what came for it."""
    if d.intent is not None and d.attempt is not None:
        life_aside.end_foreign(scene, d.intent, d.attempt, d.one)
        life.see_to_others(scene, d.attempts.values(), d.intent)


def _must_wait(one: Aside) -> None:
    if one.state is not N.WAITS:
        raise WrongState(f"It does not lie aside any more: it is {one.state.value}.", code="suspense_gone")


def _scene(d: Desk, verdict: Verdict) -> tuple[Contract, Scene]:
    must(isinstance(verdict.ground, Ground), "a resolver that asks for its ground was given it")
    return verdict.ground.contract, Scene(d.changes, verdict.ground.face, clock.now(), "api")


def _note(about: Dossier) -> dict[str, Any]:
    return {"case": ids.show("case", about.id)}


async def _desk(tx: Tx, about: Dossier, verdict: Verdict) -> Desk:
    """Lock the payment, then the sum, which is found or made."""
    changes = Changes(by=context.current())
    if about.kind == life_aside.KIND:
        id = ids.read("as", about.subject)
        found = None if id is None else await _desk_of(tx, about.book_id, id, changes)
        must(found is not None, "a case of what lies aside names it")
        assert found is not None
        return found
    money, named = msgspec.convert(about.evidence, Money), ids.split_key(about.subject)
    intent, attempt, attempts = await _payment(
        tx, about.book_id, named[0] if named is not None and money.of == "payment" else None, changes
    )
    one, new = await _sum_of(tx, about, verdict, attempt)
    one = changes.lying.setdefault(one.key, one)
    if new:
        changes.new_asides[one.key] = one
        changes.journals.append(life_aside.lay(one, clock.now()))
        if attempt is not None and one.channel_ref:
            changes.channel_refs[one.channel_account_id, one.ref] = attempt.key
        if attempt is not None and attempt.state in OPEN_ATTEMPT and one.asset == attempt.currency:
            attempt.came = (attempt.came or 0) + one.units
            changes.attempts[attempt.key] = attempt
    return Desk(one, new, intent, attempt, attempts, changes)


async def _desk_of(tx: Tx, book_id: UUID, id: UUID, changes: Changes) -> Desk | None:
    """The same for what lies aside; None if it does not."""
    row = await tx.row(Q.find_aside, book_id, id)
    if row is None:
        return None
    intent, attempt, attempts = await _payment(tx, book_id, row["attempt_id"], changes)
    one = store.aside_of(await tx.row(Q.lock_aside, book_id, id))  # pyrefly: ignore
    one = changes.lying.setdefault(one.key, one)
    return Desk(one, False, intent, attempt, attempts, changes)


async def _payment(
    tx: Tx, book_id: UUID, attempt_id: UUID | None, changes: Changes
) -> tuple[Intent | None, Attempt | None, dict[tuple[UUID, UUID], Attempt]]:
    """The payment of a try, locked, with all its tries; what lies aside for this one goes to `changes`."""
    intents = await store.lock_of_attempts(tx, [(book_id, attempt_id)] if attempt_id else [])
    attempts = await store.attempts(tx, intents)
    attempt = attempts.get((book_id, attempt_id)) if attempt_id else None
    intent = intents[book_id, attempt.intent_id] if attempt else None
    changes.lying = await store.asides(tx, [attempt] if attempt else [])
    return intent, attempt, attempts


async def _sum_of(tx: Tx, about: Dossier, verdict: Verdict, attempt: Attempt | None) -> tuple[Aside, bool]:
    """The sum that a case of a doubt speaks of, and whether it is new."""
    money = msgspec.convert(about.evidence, Money)
    account = ids.read("ca", money.channel_account)
    units = verdict.units if money.units is None else money.units
    if units is None or account is None:
        raise Invalid("The channel does not say how much it was: look there, and say `amount`.", param="amount")
    if verdict.units not in (None, units):
        raise Invalid(f"The channel says {units}, not {verdict.units}: leave `amount` out.", param="amount")
    gave, ref = money.of == "refund", about.evidence.get("channel_ref")
    named = ("refund " if gave else "") + (ref or about.subject)
    await tx.run(Q.take_turn_of_ref, account, named)
    row = await tx.row(Q.lock_aside_of_ref, about.book_id, account, named)
    if row is not None:
        return store.aside_of(row), False
    whose = await tx.value(Q.whose_ref, account, named)
    if whose is not None and (attempt is None or whose != attempt.id or attempt.paid_at is not None):
        raise LiesAside(f"{ref} is booked already, as {ids.show('at', whose)}: nothing more has moved.")
    by = context.current()
    return Aside(
        about.book_id, ids.new_id(), account, named, None if attempt is None else attempt.id, None if attempt is None else attempt.intent_id,
        gave, units, money.asset, 0, N.WAITS, ref, by.root_id, by.business_line, clock.now(),
    ), True  # fmt: skip


async def _close(tx: Tx, about: Dossier, gone: list[Aside], resolver: str, verdict: Verdict) -> None:
    """What was asked of these is answered; the case at hand ends by itself."""
    subjects = [
        ids.show("as", a.id) for a in gone if about.kind != life_aside.KIND or about.subject != ids.show("as", a.id)
    ]
    await case.close_many(tx, [(about.book_id, life_aside.KIND, s) for s in subjects], resolver, verdict.why)


async def _save(tx: Tx, about: Dossier, d: Desk, rule: str = "suspense") -> Trace:
    """Write it, and name the journal of `rule`, or the first."""
    posted = await store.save(tx, d.changes)
    await tx.flush()
    found = [p.journal_id for j, p in zip(d.changes.journals, posted, strict=True) if j.rule == rule]
    first = [p.journal_id for p in posted]
    return Trace((found or first or [None])[0])


def _asks(about: Dossier) -> bool:
    return about.kind == life_aside.KIND


def _doubt(about: Dossier) -> bool:
    return about.moved and about.kind in MOVED


def _came(about: Dossier) -> bool:
    known = about.evidence.get("units") is not None
    return (_doubt(about) or _asks(about)) and about.evidence.get("of") == "payment" and known


def _any(about: Dossier) -> bool:
    return _doubt(about) or _asks(about)


Run = Callable[[Tx, Dossier, Verdict], Awaitable[Trace]]
_accept_keep: Run = partial(accept, keep=True)
RESOLVERS = (
    Resolver(BOOK_SUSPENSE, "Book what the channel has, or gave away, aside: against the suspense account of the book.", _doubt, book,
             books=True),
    Resolver("accept_amount", "It pays for its payment, as far as it reaches; a rest goes back to the payer.",
             lambda about: _came(about) and about.kind in ("amount_mismatch", life_aside.KIND), accept, prepare=ground),
    Resolver("accept_amount_keep", "It pays for its payment, as far as it reaches; a rest lies aside.",
             lambda about: _came(about) and about.kind in ("amount_mismatch", life_aside.KIND), _accept_keep, prepare=ground),
    Resolver("refund_suspense", "It goes back to the payer, by the channel.", _came, give_back, prepare=ground),
    Resolver("apply_suspense", "It is the merchant's; what the channel gave away, he has lost.", _any, apply, books=True, prepare=ground),
    Resolver("write_off", "It is the platform's, or its loss, once others have agreed.", _any, want_write_off, books=True),
    Resolver("same_sum", "It is what lies aside already: nothing more has moved.", _doubt, same_sum),
)  # fmt: skip
