"""Refund: give a captured amount back, once per key, never more than there is.

    1. transaction   lock the payment, reserve the amount on its charge, note the refund    (unknown)
    2. network       ask the channel under the refund's own key
    3. transaction   record: done, on its way, or refused (and the reservation is released, once)

However many ask at once, each sees what those before it reserved: in one batch by the fold, across processes by the lock; and the
table refuses what both let through.

Above a limit others have to agree first (platform/approval.py): phase 1 then notes what is asked for, reserves nothing and refuses.  When they
have, `give_back` is phase 1 in their commit, and the sweep does the rest.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from guilder.channels.model import State
from guilder.core import clock, ids
from guilder.core.amount import Amount
from guilder.core.check import must
from guilder.core.errors import GuilderError, InFlight, Invalid, NotFound, Unknown, WrongState
from guilder.payments import asking, events, life, pledges, store
from guilder.payments.life import Scene
from guilder.payments.model import Attempt, BookKey, Changes, Charge, Intent, Refund
from guilder.payments.present import Face
from guilder.payments.record import refund_answer
from guilder.payments.states import OPEN_REFUND, RefundState
from guilder.platform import approval, idempotency, trail
from guilder.platform.approval import Approval, Command, Need, Rules
from guilder.platform.context import Context
from guilder.platform.db import Tx
from guilder.platform.environment import Env, LaneSpec
from guilder.platform.failpoints import reach
from guilder.platform.idempotency import Asked, Claims, Fresh, Key, Reply, Resume
from guilder.platform.once import refusal
from guilder.platform.trail import Act

ASK_LEASE_S = 20
Bar = Callable[
    [Tx, Sequence[Charge]], Awaitable[Mapping[UUID, WrongState]]
]  # which of these charges give nothing back now, and why
_bars: list[Bar] = []
KIND = "refund"  # of what waits for approval


def register(bars: Sequence[Bar]) -> None:
    """What else keeps a charge from being refunded.  Called once, by the composition root."""
    _bars[:] = bars


async def _barred(tx: Tx, charges: Sequence[Charge]) -> dict[UUID, WrongState]:
    return {id: why for bar in _bars if charges for id, why in (await bar(tx, charges)).items()}


@dataclass(frozen=True, slots=True)
class Wish:
    """A wish for a refund.  `units` None: all that is left."""

    book_id: UUID
    intent_id: UUID
    units: int | None
    reason: str | None
    metadata: dict[str, str]
    by: Context
    face: Face
    named: bool = False  # of a trade's payment: which items it is of stands elsewhere


@dataclass(frozen=True, slots=True)
class Begun:
    """Phase 1 is committed.  `again`: somebody may have asked before."""

    refund: Refund
    paid: Attempt
    again: bool = False


async def begin_many(tx: Tx, asked: list[Asked[Wish]]) -> Sequence[Begun | Reply | GuilderError]:
    """Phase 1 for a batch: each wish sees what those before it reserved."""
    found = await idempotency.begin_many(tx, [a.key for a in asked])
    intents = await store.lock(tx, [(a.item.book_id, a.item.intent_id) for a in asked])
    charges = await store.charges(tx, intents)
    fold = _Fold(
        intents, await store.attempts(tx, intents), charges, await store.refunds(tx, intents),
        await approval.rules(tx, KIND, [a.item.book_id for a in asked]), await _barred(tx, list(charges.values())),
    )  # fmt: skip
    results: list[Begun | Reply | GuilderError] = []
    for a, f in zip(asked, found, strict=True):
        if isinstance(f, Fresh):
            results.append(fold.begin(a))
        elif isinstance(f, Resume):
            results.append(fold.resume(a, f.subject))
        else:
            results.append(f)
    fold.claims.store(tx)
    for wanted, by in fold.wanted:
        approval.open_one(tx, wanted, by)
    await store.save(tx, fold.changes)
    trail.note_many(tx, fold.acts)
    await tx.flush()
    reach("refund.idem_claimed", next((id for _, id in fold.changes.new_refunds), None))
    return results


class _Fold:
    """The wishes of one batch over what it has locked."""

    def __init__(
        self, intents: dict[BookKey, Intent], attempts: dict[BookKey, Attempt], charges: dict[BookKey, Charge],
        refunds: dict[BookKey, Refund], rules: Rules, barred: Mapping[UUID, WrongState] | None = None,
    ) -> None:  # fmt: skip
        self.barred = barred or {}
        self.intents, self.attempts, self.charges, self.refunds, self.rules = intents, attempts, charges, refunds, rules
        self.wanted: list[tuple[Approval, Context]] = []
        self.changes, self.claims, self.at = Changes(), Claims(), clock.now()
        self.acts: list[Act] = []

    def begin(self, asked: Asked[Wish]) -> Begun | Reply | GuilderError:
        key, wish = asked.key, asked.item
        twin = self.claims.twin(key)
        if twin is not None:
            return twin
        intent = self.intents.get((wish.book_id, wish.intent_id))
        charge = self.charges.get((wish.book_id, wish.intent_id))
        refused = _refusal(intent, charge, wish) or (self.barred.get(charge.id) if charge else None)
        if refused is not None:
            reply = refusal(refused)
            self.claims.answer(key, reply)
            return reply
        assert intent is not None and charge is not None
        # What went back before counts, so that a large refund is not made of small ones.
        units = charge.amount - charge.refunded if wish.units is None else wish.units
        need = self.rules.need(wish.book_id, {charge.currency: charge.refunded + units})
        if need is not None:
            wanted = _wanted(charge, wish, units, need)
            self.wanted.append((wanted, wish.by))
            reply = refusal(approval.required(wanted, livemode=wish.face.livemode))
            self.claims.answer(key, reply)
            return reply
        refund = self.reserve(intent, charge, wish, units, self.at + timedelta(seconds=ASK_LEASE_S))
        self.claims.claim(key, refund.id)
        return Begun(refund, self.attempts[charge.book_id, charge.attempt_id])

    def reserve(self, intent: Intent, charge: Charge, wish: Wish, units: int, ask_at: datetime) -> Refund:
        self.changes.by = wish.by
        scene = Scene(self.changes, wish.face, self.at, "api")
        refund = Refund(
            intent.book_id, ids.new_id(), intent.id, charge.attempt_id, charge.id, charge.channel_account_id, 0, RefundState.UNKNOWN,
            units, charge.currency, wish.reason, wish.metadata, None, None, ask_at, 0, None,
            wish.by.root_id, intent.business_line, self.at,
        )  # fmt: skip
        charge.refunded += units
        self.changes.charges[charge.key] = charge
        self.changes.new_refunds[refund.key] = refund
        life.born(scene, refund, "refund", refund.state)
        events.of_refund(self.changes, wish.face, "refund.created", refund, intent, self.at)
        said = {"amount": units, "currency": charge.currency, "payment_intent": ids.show("pi", intent.id)}
        shown = ids.show("re", refund.id)
        self.acts.append(Act("refund.created", shown, intent.book_id, after=said, why=wish.reason or "", by=wish.by))
        return refund

    def resume(self, asked: Asked[Wish], subject: UUID) -> Begun | Reply | GuilderError:
        refund = self.refunds.get((asked.key.book_id, subject))
        if refund is None:
            return InFlight()
        refund.ask_at = self.at + timedelta(seconds=ASK_LEASE_S) if refund.state in OPEN_REFUND else None
        self.changes.refunds[refund.key] = refund
        return Begun(refund, self.attempts[refund.book_id, refund.attempt_id], again=True)


def _refusal(intent: Intent | None, charge: Charge | None, wish: Wish) -> GuilderError | None:
    if intent is None:
        return NotFound(f"No such payment_intent: '{ids.show('pi', wish.intent_id)}'", param="payment_intent")
    if charge is None:
        return WrongState(
            f"This PaymentIntent ({ids.show('pi', intent.id)}) does not have a successful charge to refund; its status is "
            f"{intent.status.value}.",
            code="charge_not_refundable" if intent.status.value == "canceled" else "payment_intent_unexpected_state",
        )
    if intent.origin == pledges.ORIGIN and not wish.named:
        return WrongState(
            "This payment is a trade's, and its sellers have the money: name the items that go back, by POST /v1/trades/{trade}/refunds.",
            code="refund_names_no_item",
        )
    left = charge.amount - charge.refunded
    if left == 0:
        return WrongState(
            f"Charge {ids.show('ch', charge.id)} has already been refunded.", code="charge_already_refunded"
        )
    if wish.units is not None and wish.units > left:
        return Invalid(
            f"Refund amount ({wish.units}) is greater than unrefunded amount on charge ({left}).",
            code="amount_too_large",
            param="amount",
        )
    return None


def _wanted(charge: Charge, wish: Wish, units: int, need: Need) -> Approval:
    """What is to be approved: as much as it is now, even if it was asked for as all that is left."""
    shown, money = ids.show("ch", charge.id), Amount(units, charge.currency)
    summary = f"Refund {money} of {shown}, which collected {Amount(charge.amount, charge.currency)}; {charge.refunded} went back before."
    do = {
        "payment_intent": ids.show("pi", charge.intent_id), "charge": shown, "amount": units, "currency": charge.currency,
        "reason": wish.reason, "metadata": wish.metadata,
    }  # fmt: skip
    return approval.ask(charge.book_id, KIND, shown, summary, do, need, wish.by, asset=charge.currency, units=units)


async def reserve_many(tx: Tx, wishes: Sequence[Wish]) -> list[Refund]:
    """Make refunds that somebody above has decided on, one of each payment; the sweep sends them.  Raises what `_refusal` says."""
    intents = await store.lock(tx, [(w.book_id, w.intent_id) for w in wishes])
    fold = _Fold(intents, {}, await store.charges(tx, intents), {}, Rules())
    made = []
    for wish in wishes:
        intent, charge = intents.get((wish.book_id, wish.intent_id)), fold.charges.get((wish.book_id, wish.intent_id))
        refused = _refusal(intent, charge, wish)
        if refused is not None:
            raise refused
        assert intent is not None and charge is not None and wish.units is not None
        made.append(fold.reserve(intent, charge, wish, wish.units, fold.at))
    await store.save(tx, fold.changes)
    trail.note_many(tx, fold.acts)
    return made


async def give_back(tx: Tx, command: Command) -> dict[str, Any]:
    """Make the refund that all have agreed to; the sweep sends it.  What is left, and who has to agree, are looked at again (P4)."""
    do = command.do
    id = ids.read("pi", do["payment_intent"])
    must(id is not None, "a command names its payment")
    wish = Wish(command.book_id, id, do["amount"], do["reason"], do["metadata"], command.by, Face(command.env))  # pyrefly: ignore
    intents = await store.lock(tx, [(wish.book_id, wish.intent_id)])
    charges = await store.charges(tx, intents)
    intent, charge = intents.get((wish.book_id, wish.intent_id)), charges.get((wish.book_id, wish.intent_id))
    barred = await _barred(tx, list(charges.values()))
    refused = _refusal(intent, charge, wish) or (barred.get(charge.id) if charge else None)
    if refused is not None:
        raise refused
    assert intent is not None and charge is not None
    # What went back since it was asked for counts, too: several that are asked for at once take whom one of all of them takes.
    need = (await approval.rules(tx, KIND, [wish.book_id])).need(
        wish.book_id, {charge.currency: charge.refunded + do["amount"]}
    )
    if need is not None and not set(need.steps) <= set(command.steps):
        raise WrongState(
            "More of this charge went back meanwhile, and so much takes the approval of others: ask again."
        )
    fold = _Fold(intents, {}, charges, {}, Rules())
    refund = fold.reserve(intent, charge, wish, do["amount"], fold.at)
    await store.save(tx, fold.changes)
    after = {
        "amount": refund.amount,
        "currency": refund.currency,
        "of": do["charge"],
        "approval": ids.show("apr", command.approval_id),
    }
    trail.note(tx, "refund.created", ids.show("re", refund.id), book_id=refund.book_id, after=after)
    return {"refund": ids.show("re", refund.id)}


BEGIN_REFUND: LaneSpec[Asked[Wish], Begun | Reply] = LaneSpec("payments.begin_refund", begin_many)


async def refund(rt: Env, key: Key, wish: Wish) -> Reply:
    """All three phases; carried through even if the caller hangs up."""
    begun = await rt.lane(BEGIN_REFUND).submit(Asked(key, wish), wish.book_id)
    if isinstance(begun, Reply):
        return begun
    if not begun.again:
        reach("refund.row_committed", begun.refund.id)
    return await asking.carry_through(_ask(rt, key, wish, begun))


async def _ask(rt: Env, key: Key, wish: Wish, begun: Begun) -> Reply:
    account = await asking.the_account(rt, begun.refund)
    if begun.again:
        outcome = await asking.query_refund(rt, begun.refund, begun.paid, account)
        if outcome.state is State.NOT_FOUND:
            made = await asking.ask_refund(rt, begun.refund, begun.paid, account)
            outcome = await asking.again(made, lambda: asking.query_refund(rt, begun.refund, begun.paid, account))
    else:
        reach("refund.before_channel", begun.refund.id)
        outcome = await asking.ask_refund(rt, begun.refund, begun.paid, account)
        reach("refund.after_channel", begun.refund.id)
    recorded = await asking.record_refund(rt, begun.refund, account, outcome, "reply", wish.by, key)
    reach("refund.after_commit", begun.refund.id)
    if recorded.reply is None and key.key is not None:
        raise Unknown
    return recorded.reply or refund_answer(wish.face, begun.refund)
