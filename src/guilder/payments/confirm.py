"""Confirm: ask a channel to collect a payment.

    1. transaction   claim the key, note that we are about to ask, and what (attempt: unknown)
    2. network       ask; nothing is locked, anything may happen
    3. transaction   note the answer, post the money, emit the event, store the answer of the key

The attempt is `unknown` after phase 1 because that is the truth if we die in phase 2: the sweep asks the channel again, under the
same reference, and ends in the same room.  A retry with the same key gets 409 while phase 2 runs; when the lease of a dead process
is over it takes the attempt over, and asks what became of it before anything else.

Elsewhere.  If the channel certainly did nothing (not reached, or held back by its own limits: never while it is unknown), the payment goes
on at another account under the same key, three tries at most: one commit ends the first try, notes the next, and hands the key over.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from guilder.channels.model import Outcome
from guilder.core import clock, ids
from guilder.core.errors import Busy, GuilderError, InFlight, Invalid, NotFound, Unknown, WrongState
from guilder.merchants.channel_accounts import ChannelAccount
from guilder.payments import asking, front, hooks, life, present, store
from guilder.payments.create import add
from guilder.payments.life import Scene
from guilder.payments.model import Attempt, BookKey, Changes, Intent, Method
from guilder.payments.present import Face
from guilder.payments.routes import NOBODY, Choice, Tried
from guilder.payments.states import CONFIRMABLE, OPEN_ATTEMPT, AttemptState, IntentStatus
from guilder.platform import counters, idempotency, telemetry, wire
from guilder.platform.case import Case
from guilder.platform.context import Context
from guilder.platform.counters import Take
from guilder.platform.db import Tx
from guilder.platform.environment import Env, LaneSpec
from guilder.platform.failpoints import reach
from guilder.platform.idempotency import Asked, Claims, Fresh, Key, Reply, Resume
from guilder.platform.once import refusal
from guilder.platform.sql import load
from guilder.platform.wire import Ready

Q = load(__package__)
ASK_LEASE_S = 20  # longer than a channel call may take: until then nobody else asks
MOST_TRIES = 3  # at different accounts, for one confirm


class Begin(msgspec.Struct, frozen=True):
    """A wish to confirm.  `new` makes the payment in the same commit.  `choose` says which way the payment goes, without the accounts that
    were `tried`, or raises why none."""

    book_id: UUID
    intent_id: UUID
    choose: Callable[[Intent, Tried], Choice]
    type: str
    method_id: UUID | None
    by: Context
    face: Face
    expiry: datetime
    return_url: str | None = None
    attach: str | None = None
    new: Intent | None = None
    new_method: Method | None = None
    changed: dict[str, Any] = msgspec.field(
        default_factory=dict
    )  # parameters that a confirm may set: receipt_email, shipping
    tried: Tried = NOBODY
    facts: Mapping[str, str] = {}  # what plug-ins said of it, for rules

    @property
    def intent_key(self) -> BookKey:
        return self.book_id, self.intent_id


class Begun(msgspec.Struct, frozen=True):
    """Phase 1 is committed: `first` may be sent to the channel, at `account`.  None: it may have been asked before, so query first."""

    intent: Intent
    attempt: Attempt
    account: ChannelAccount | None = None
    first: Ready[Outcome] | None = None


class Crowded(msgspec.Struct, frozen=True):
    """Nothing was done: the account that was chosen is over a limit, for so long.  Choose without it."""

    account_id: UUID
    for_s: float


class GoOn(msgspec.Struct, frozen=True):
    """A try that certainly did nothing, as `outcome` says; `wish` is to be tried elsewhere."""

    wish: Begin
    attempt_id: UUID
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a fresh item is to become: an attempt of this id, by this choice, or why none."""

    attempt_id: UUID
    choice: Choice | GuilderError


async def begin_many(tx: Tx, asked: list[Asked[Begin]]) -> Sequence[Begun | Crowded | Reply | GuilderError]:
    """Phase 1 for a batch: each item sees what those before it did."""
    found = await idempotency.begin_many(tx, [a.key for a in asked])
    resumed = [(a.key.book_id, f.subject) for a, f in zip(asked, found, strict=True) if isinstance(f, Resume)]
    homes = await store.intents_of_attempts(tx, resumed)
    wanted = [
        a.item.intent_key for a, f in zip(asked, found, strict=True) if isinstance(f, Fresh) and a.item.new is None
    ]
    intents, seen = await _payments(tx, [*wanted, *homes.values()])
    attempts = await store.attempts(tx, [i.key for i in intents.values() if i.attempt_id is not None])
    fold = _Fold(intents, attempts, seen)
    plans = {n: fold.plan(asked[n].item) for n, f in enumerate(found) if isinstance(f, Fresh)}
    crowded = await _take_room(tx, {n: (plan, asked[n].item) for n, plan in plans.items()}, fold)
    results: list[Begun | Crowded | Reply | GuilderError] = []
    for n, (a, f) in enumerate(zip(asked, found, strict=True)):
        if isinstance(f, Fresh):
            results.append(crowded.get(n) or fold.begin(a, plans[n]))
        elif isinstance(f, Resume):
            results.append(fold.resume(a, f.subject))
        else:
            results.append(f)
    fold.claims.store(tx)
    await store.save(tx, fold.changes)
    wire.keep(tx, [r.first for r in results if isinstance(r, Begun) and r.first is not None])
    if tx.opened:
        await tx.flush()
    reach("pay.idem_claimed", fold.subject)
    return results


async def go_on_many(tx: Tx, asked: list[Asked[GoOn]]) -> Sequence[Begun | GuilderError | None]:
    """End tries that certainly did nothing, and begin the next ones elsewhere, under the same keys.  None: there is no elsewhere, and
    nothing was changed."""
    intents = await store.lock(tx, [a.item.wish.intent_key for a in asked])
    attempts = await store.attempts(tx, intents)
    fold = _Fold(intents, attempts)
    plans = {n: plan for n, a in enumerate(asked) if (plan := fold.plan_on(a.item)) is not None}
    crowded = await _take_room(tx, {n: (plan, asked[n].item.wish) for n, plan in plans.items()}, fold)
    going = {n: plan for n, plan in plans.items() if n not in crowded}
    held = await idempotency.carry_over(tx, [(asked[n].key, plan.attempt_id) for n, plan in going.items()])
    results: list[Begun | GuilderError | None] = []
    for n, a in enumerate(asked):
        if n not in going:
            results.append(None)
        elif a.key.key is not None and (a.key.book_id, a.key.key) not in held:
            results.append(Unknown())  # taken over: whoever has it carries on with the first try
        else:
            results.append(fold.go_on(a.item, going[n]))
    await store.save(tx, fold.changes)
    wire.keep(tx, [r.first for r in results if isinstance(r, Begun) and r.first is not None])
    await tx.flush()
    reach("pay.elsewhere_in_tx", fold.subject)
    return results


async def _take_room(tx: Tx, plans: Mapping[int, tuple[_Plan, Begin]], fold: "_Fold") -> dict[int, Crowded]:
    """Take what the planned attempts need of their accounts' limits; those for which there is none."""
    takes: dict[int, Take] = {}
    for n, (plan, wish) in plans.items():
        if isinstance(plan.choice, Choice) and plan.choice.limits:
            amount = (wish.new or fold.intents[wish.intent_key]).amount
            units = {m.key: amount if m.key.startswith("amount:") else 1 for m in plan.choice.limits}
            lease_s = max(3600, int((wish.expiry - fold.at).total_seconds()) + 3600)
            takes[n] = Take(plan.choice.way.account.id, plan.attempt_id, units, plan.choice.limits, lease_s)
    taken = await counters.reserve(tx, list(takes.values()))
    return {
        n: Crowded(take.book_id, (t.room_at - fold.at).total_seconds() if t.room_at is not None else 0.0)
        for (n, take), t in zip(takes.items(), taken, strict=True)
        if not t.counts
    }


async def _payments(tx: Tx, keys: list[BookKey]) -> tuple[dict[BookKey, Intent], store.Seen | None]:
    """The payments of a batch: looked at, if each is tried for the first time (nobody else moves such a one but by changing its row);
    otherwise locked."""
    if tx.hopeful:
        intents, seen = await store.look(tx, keys)
        if all(i.attempt_id is None for i in intents.values()):
            return intents, seen
    return await store.lock(tx, keys), None


class _Fold:
    """The begins of one batch over what it has locked."""

    def __init__(
        self, intents: dict[BookKey, Intent], attempts: dict[BookKey, Attempt], seen: store.Seen | None = None
    ) -> None:
        self.intents = intents
        self.attempts = attempts
        self.changes = Changes(seen=seen)
        self.claims = Claims()
        self.at = clock.now()

    @property
    def subject(self) -> UUID | None:
        """One of the attempts that this batch begins."""
        return next((id for _, id in self.changes.new_attempts), None)

    def plan(self, b: Begin) -> _Plan:
        """What a fresh item is to become, as things stand before the batch."""
        choice: Choice | GuilderError
        try:
            intent = b.new or self.intents.get(b.intent_key)
            choice = b.choose(_with_facts(self._allowed(intent, b), b), b.tried)
        except GuilderError as why:
            choice = why
        return _Plan(ids.new_id(), choice)

    def begin(self, asked: Asked[Begin], plan: _Plan) -> Begun | Reply | GuilderError:
        key, b = asked.key, asked.item
        if isinstance(plan.choice, Busy):
            return plan.choice  # nothing is done, and the key is free
        twin = self.claims.twin(key)
        if twin is not None:
            return twin
        self.changes.by = b.by
        scene = Scene(self.changes, b.face, self.at, "api")
        if b.new is not None:
            self.intents[b.intent_key] = add(scene, b.new)
        try:
            intent = self._allowed(self.intents.get(b.intent_key), b)
            if isinstance(plan.choice, GuilderError):
                raise plan.choice
        except GuilderError as why:
            reply = refusal(why)
            self.claims.answer(key, reply)
            return reply
        attempt = self._start(scene, intent, b, plan.attempt_id, plan.choice)
        if attempt.unasked:
            reply = front.answer(scene, intent, attempt, plan.choice.way)
            self.claims.answer(key, reply)
            return reply
        self.claims.claim(key, attempt.id)
        return self._begun(intent, attempt, b, plan.choice)

    def _begun(self, intent: Intent, attempt: Attempt, b: Begin, choice: Choice) -> Begun:
        account = choice.way.account
        return Begun(intent, attempt, account, asking.first_call(b.face, intent, attempt, account, b.by))

    def plan_on(self, item: GoOn) -> _Plan | None:
        """Where a payment goes on whose try did nothing; None: nowhere."""
        b, attempt = item.wish, self.attempts.get((item.wish.book_id, item.attempt_id))
        intent = self.intents.get(b.intent_key)
        if intent is None or attempt is None or intent.attempt_id != attempt.id:
            return None
        asked_again = attempt.state is not AttemptState.UNKNOWN or attempt.asked > 0
        ends = intent.cancel_wanted_at is not None or (intent.expires_at is not None and intent.expires_at <= self.at)
        if asked_again or ends or intent.status is not IntentStatus.PROCESSING:
            return None
        seen = intent.copy()
        seen.extra["given"] = {b.type: attempt.given}  # it went over to the attempt
        try:
            return _Plan(ids.new_id(), b.choose(_with_facts(seen, b), b.tried))
        except GuilderError:
            return None

    def go_on(self, item: GoOn, plan: _Plan) -> Begun:
        """The first try ends, and the next begins."""
        b, attempt = item.wish, self.attempts[item.wish.book_id, item.attempt_id]
        intent, choice = self.intents[b.intent_key], plan.choice
        assert isinstance(choice, Choice)
        self.changes.by = b.by
        scene = Scene(self.changes, b.face, self.at, "reply")
        life.fail(scene, attempt, item.outcome)
        return self._begun(intent, self._start(scene, intent, b, plan.attempt_id, choice), b, choice)

    def _allowed(self, intent: Intent | None, b: Begin) -> Intent:
        """The payment, or why it may not be confirmed."""
        if intent is None:
            shown = ids.show("pi", b.intent_id)
            raise NotFound(f"No such payment_intent: '{shown}'", param="intent")
        open_now = [
            a
            for a in self.attempts.values()
            if a.intent_id == intent.id and a.state is AttemptState.UNKNOWN and not a.unasked
        ]
        if intent.status not in CONFIRMABLE or intent.cancel_wanted_at is not None or open_now:
            raise WrongState(
                f"This PaymentIntent's payment could not be confirmed because it has a status of {intent.status.value}"
                + (" (a channel has not yet said what became of the last try)" if open_now else ""),
                details={"payment_intent": present.intent(b.face, intent)},
            )
        if intent.expires_at is not None and intent.expires_at <= self.at:
            details: dict[str, object] = {"payment_intent": present.intent(b.face, intent)}
            raise WrongState("This PaymentIntent has expired.", details=details)
        if b.type not in intent.types:
            raise Invalid(
                f"The PaymentMethod type {b.type} is not among this PaymentIntent's payment_method_types: {', '.join(intent.types)}.",
                param="payment_method",
            )
        return intent

    def _start(self, scene: Scene, intent: Intent, b: Begin, attempt_id: UUID, choice: Choice) -> Attempt:
        """A new try.  An older one that is still open at a channel is to be closed there."""
        way = choice.way
        self.changes.cases += [_case(intent.book_id, choice, skipped.rule, skipped.why) for skipped in choice.faults]
        for other in self.attempts.values():
            if other.intent_id == intent.id and other.state in OPEN_ATTEMPT:
                other.close_wanted, other.ask_at = True, self.at
                self.changes.attempts[other.key] = other
        for name, value in b.changed.items():
            intent.extra[name] = value
        info = way.account.info
        longest = way.info.max_expiry_s or info.max_expiry_s
        latest = min(b.expiry, self.at + timedelta(seconds=longest))
        if intent.expires_at is not None:
            latest = min(latest, intent.expires_at)
        expires = max(latest, self.at + timedelta(seconds=min(info.min_expiry_s, longest)))
        attempt = Attempt(
            intent.book_id, attempt_id, intent.id, way.account.id, info.code, way.way, AttemptState.UNKNOWN, intent.amount,
            intent.currency, None, b.return_url, b.attach, None, None, self.at + timedelta(seconds=ASK_LEASE_S), 0, False,
            expires.replace(microsecond=0), None, intent.root_id, intent.business_line, self.at,
            hold=intent.extra.get("capture_method") == "manual", given=way.given, routed=choice.routed, counted=bool(choice.limits),
        )  # fmt: skip
        front.take(intent, attempt, b.type, self.at)
        if b.new_method is not None:
            self.changes.new_methods[b.new_method.key] = b.new_method
        self.attempts[attempt.key] = attempt
        self.changes.new_attempts[attempt.key] = attempt
        self.changes.steps += hooks.planned(attempt)
        life.born(scene, attempt, "attempt", attempt.state)
        intent.attempt_id, intent.method_id, intent.method_type = attempt.id, b.method_id, b.type
        intent.last_error = intent.next_action = None
        intent.extra.pop("given", None)  # it is the attempt's now
        life.move_intent(scene, intent, IntentStatus.PROCESSING)
        return attempt

    def resume(self, asked: Asked[Begin], subject: UUID) -> Begun | Reply | GuilderError:
        """A dead process's try is ours: ask what became of it, or tell what is known by now."""
        attempt = self.attempts.get((asked.key.book_id, subject))
        intent = self.intents.get((asked.key.book_id, attempt.intent_id)) if attempt else None
        if attempt is None or intent is None:
            return InFlight()
        attempt.ask_at = self.at + timedelta(seconds=ASK_LEASE_S) if attempt.state in OPEN_ATTEMPT else None
        self.changes.attempts[attempt.key] = attempt
        return Begun(intent, attempt)


def _case(book_id: UUID, choice: Choice, rule: str, why: str) -> Case:
    """A rule that cannot be worked out wants a person."""
    summary = f"The routing rule {rule!r} could not be worked out for a payment, and was passed over: {why}."
    return Case(book_id, "routing_rule", rule[:100], summary, {"rule": rule, "why": why, "routed": choice.routed or ""})


BEGIN: LaneSpec[Asked[Begin], Begun | Crowded | Reply] = LaneSpec("payments.begin", begin_many)
GO_ON: LaneSpec[Asked[GoOn], Begun | None] = LaneSpec("payments.go_on", go_on_many)


async def confirm(rt: Env, key: Key, wish: Begin) -> Reply:
    """All three phases; the answer is stored under the key.  Raises what the lanes raise."""
    reach("pay.recv")
    if hooks.asks_before_routing():
        wish = await _asked_about(rt, key, wish)
    while isinstance(begun := await rt.lane(BEGIN).submit(Asked(key, wish), wish.book_id), Crowded):
        rt.health.fill(begun.account_id, begun.for_s)
        wish = msgspec.structs.replace(wish, tried={**wish.tried, begun.account_id: "over_limit"})
    if isinstance(begun, Reply):
        return begun
    if begun.account is None or begun.first is None:
        return await asking.carry_through(asking.find_out(rt, begun.intent, begun.attempt, wish.by, key))
    reach("pay.row_committed", begun.attempt.id)
    tried, elsewhere = (begun.first, begun.attempt, begun.account), _elsewhere(rt, key, wish)
    reply = await asking.collect(rt, tried, wish.by, key, elsewhere)
    reach("pay.before_resp", begun.attempt.id)
    return reply


async def _asked_about(rt: Env, key: Key, wish: Begin) -> Begin:
    """The wish with what plug-ins say of its payment, if it is new: what was asked before has its answer, and keeps it.  Raises Refused."""
    [found] = await rt.db.transact(lambda tx: idempotency.look_many(tx, [key]), durable=False)
    row = None if wish.new is not None else await rt.db.row(Q.find_intent, wish.book_id, wish.intent_id)
    intent = wish.new if row is None else store.intent_of(row)
    if not isinstance(found, Fresh) or intent is None:
        return wish
    facts = await hooks.before_routing(hooks.seen(rt.name, intent, wish.type))
    return msgspec.structs.replace(wish, facts=facts)


def _with_facts(intent: Intent, b: Begin) -> Intent:
    if not b.facts:
        return intent
    seen = intent.copy()
    seen.extra["hooks"] = b.facts
    return seen


def _elsewhere(rt: Env, key: Key, wish: Begin) -> asking.Elsewhere:
    """Where a confirm goes on whose channel certainly did nothing."""
    tries = 1

    async def elsewhere(attempt: Attempt, outcome: Outcome) -> asking.Try | None:
        nonlocal tries, wish
        tries += 1
        if tries > MOST_TRIES:
            return None
        out = {**wish.tried, attempt.channel_account_id: "not_sent"}
        wish = msgspec.structs.replace(wish, tried=out, new=None, new_method=None, changed={})
        reach("pay.elsewhere", attempt.id)
        try:
            begun = await rt.lane(GO_ON).submit(Asked(key, GoOn(wish, attempt.id, outcome)), wish.book_id)
        except Busy:
            return None  # nothing was done, and what the channel said is noted all the same
        if begun is None or begun.first is None or begun.account is None:
            return None
        telemetry.ELSEWHERE.labels(outcome.problem.channel_code if outcome.problem else "").inc()
        reach("pay.elsewhere_committed", begun.attempt.id)
        return begun.first, begun.attempt, begun.account

    return elsewhere
