"""Confirm: ask a channel to collect a payment.

    1. transaction   claim the key, note that we are about to ask, and what (attempt: unknown)
    2. network       ask; nothing is locked, anything may happen
    3. transaction   note the answer, post the money, emit the event, store the answer of the key

The attempt is `unknown` after phase 1 because that is the truth if we die in phase 2: the sweep asks the channel again, under the
same reference, and ends in the same room.  A retry with the same key gets 409 while phase 2 runs; when the lease of a dead process
is over it takes the attempt over, and asks what became of it before anything else.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from guilder.channels.model import Outcome
from guilder.core import clock, ids
from guilder.core.errors import GuilderError, InFlight, Invalid, NotFound, WrongState
from guilder.merchants.channel_accounts import ChannelAccount
from guilder.payments import asking, life, present, store
from guilder.payments.create import add
from guilder.payments.life import Scene
from guilder.payments.model import Attempt, BookKey, Changes, Intent, Method
from guilder.payments.present import Face
from guilder.payments.states import CONFIRMABLE, OPEN_ATTEMPT, AttemptState, IntentStatus
from guilder.payments.ways import Way
from guilder.platform import idempotency, wire
from guilder.platform.context import Context
from guilder.platform.db import Tx
from guilder.platform.environment import Env, LaneSpec
from guilder.platform.failpoints import reach
from guilder.platform.idempotency import Asked, Claims, Fresh, Key, Reply, Resume
from guilder.platform.once import refusal
from guilder.platform.wire import Ready

ASK_LEASE_S = 20  # longer than a channel call may take: until then nobody else asks


class Begin(msgspec.Struct, frozen=True):
    """A wish to confirm.  `new` makes the payment in the same commit.  `choose` says which way the payment goes, or raises why none."""

    book_id: UUID
    intent_id: UUID
    choose: Callable[[Intent], Way]
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

    @property
    def intent_key(self) -> BookKey:
        return self.book_id, self.intent_id


class Begun(msgspec.Struct, frozen=True):
    """Phase 1 is committed: `first` may be sent to the channel, at `account`.  None: it may have been asked before, so query first."""

    intent: Intent
    attempt: Attempt
    account: ChannelAccount | None = None
    first: Ready[Outcome] | None = None


async def begin_many(tx: Tx, asked: list[Asked[Begin]]) -> Sequence[Begun | Reply | GuilderError]:
    """Phase 1 for a batch: each item sees what those before it did."""
    found = await idempotency.look_many(tx, [a.key for a in asked])
    resumed = [(a.key, f.subject) for a, f in zip(asked, found, strict=True) if isinstance(f, Resume)]
    taken = await idempotency.take_over(tx, [k for k, _ in resumed])
    homes = await store.intents_of_attempts(tx, [(k.book_id, subject) for k, subject in resumed])
    wanted = [
        a.item.intent_key for a, f in zip(asked, found, strict=True) if isinstance(f, Fresh) and a.item.new is None
    ]
    intents, seen = await _payments(tx, [*wanted, *homes.values()])
    attempts = await store.attempts(tx, [i.key for i in intents.values() if i.attempt_id is not None])
    fold = _Fold(intents, attempts, seen)
    results: list[Begun | Reply | GuilderError] = []
    for a, f in zip(asked, found, strict=True):
        if isinstance(f, Fresh):
            results.append(fold.begin(a))
        elif isinstance(f, Resume):
            held = (a.key.book_id, a.key.key) in taken
            results.append(fold.resume(a, f.subject) if held else InFlight())
        else:
            results.append(f)
    fold.claims.store(tx)
    await store.save(tx, fold.changes)
    wire.keep(tx, [r.first for r in results if isinstance(r, Begun) and r.first is not None])
    if tx.opened:
        await tx.flush()
    reach("pay.idem_claimed", fold.subject)
    return results


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
        self._keys: dict[tuple[UUID, str], bytes] = {}

    @property
    def subject(self) -> UUID | None:
        """One of the attempts that this batch begins."""
        return next((id for _, id in self.changes.new_attempts), None)

    def begin(self, asked: Asked[Begin]) -> Begun | Reply | GuilderError:
        key, b = asked.key, asked.item
        if key.key is not None:
            earlier = self._keys.get((key.book_id, key.key))
            if earlier is not None:
                return InFlight() if earlier == key.fingerprint else idempotency.KeyReused()
            self._keys[key.book_id, key.key] = key.fingerprint
        self.changes.by = b.by
        scene = Scene(self.changes, b.face, self.at, "api")
        if b.new is not None:
            self.intents[b.intent_key] = add(scene, b.new)
        try:
            intent, way = self._allowed(self.intents.get(b.intent_key), b)
        except GuilderError as why:
            reply = refusal(why)
            self.claims.answer(key, reply)
            return reply
        attempt = self._start(scene, intent, b, way)
        self.claims.claim(key, attempt.id)
        return Begun(intent, attempt, way.account, asking.first_call(b.face, intent, attempt, way.account, b.by))

    def _allowed(self, intent: Intent | None, b: Begin) -> tuple[Intent, Way]:
        """The payment and its way, or why not."""
        if intent is None:
            shown = ids.show("pi", b.intent_id)
            raise NotFound(f"No such payment_intent: '{shown}'", param="intent")
        open_now = [a for a in self.attempts.values() if a.intent_id == intent.id and a.state is AttemptState.UNKNOWN]
        details: dict[str, object] = {"payment_intent": present.intent(b.face, intent)}
        if intent.status not in CONFIRMABLE or intent.cancel_wanted_at is not None or open_now:
            raise WrongState(
                f"This PaymentIntent's payment could not be confirmed because it has a status of {intent.status.value}"
                + (" (a channel has not yet said what became of the last try)" if open_now else ""),
                details=details,
            )
        if intent.expires_at is not None and intent.expires_at <= self.at:
            raise WrongState("This PaymentIntent has expired.", details=details)
        if b.type not in intent.types:
            raise Invalid(
                f"The PaymentMethod type {b.type} is not among this PaymentIntent's payment_method_types: {', '.join(intent.types)}.",
                param="payment_method",
            )
        return intent, b.choose(intent)

    def _start(self, scene: Scene, intent: Intent, b: Begin, way: Way) -> Attempt:
        """A new try.  An older one that is still open at a channel is to be closed there."""
        for other in self.attempts.values():
            if other.intent_id == intent.id and other.state in OPEN_ATTEMPT:
                other.close_wanted, other.ask_at = True, self.at
                self.changes.attempts[other.key] = other
        info = way.account.info
        latest = min(b.expiry, self.at + timedelta(seconds=info.max_expiry_s))
        if intent.expires_at is not None:
            latest = min(latest, intent.expires_at)
        expires = max(latest, self.at + timedelta(seconds=info.min_expiry_s))
        attempt = Attempt(
            intent.book_id, ids.new_id(), intent.id, way.account.id, info.code, way.way, AttemptState.UNKNOWN, intent.amount,
            intent.currency, None, b.return_url, b.attach, None, None, self.at + timedelta(seconds=ASK_LEASE_S), 0, False,
            expires.replace(microsecond=0), None, intent.root_id, intent.business_line, self.at,
        )  # fmt: skip
        if b.new_method is not None:
            self.changes.new_methods[b.new_method.key] = b.new_method
        self.attempts[attempt.key] = attempt
        self.changes.new_attempts[attempt.key] = attempt
        life.born(scene, attempt, "attempt", attempt.state)
        intent.attempt_id, intent.method_id, intent.method_type = attempt.id, b.method_id, b.type
        intent.last_error = intent.next_action = None
        for name, value in b.changed.items():
            intent.extra[name] = value
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


BEGIN: LaneSpec[Asked[Begin], Begun | Reply] = LaneSpec("payments.begin", begin_many)


async def confirm(rt: Env, key: Key, wish: Begin) -> Reply:
    """All three phases; the answer is stored under the key.  Raises what the lanes raise."""
    reach("pay.recv")
    begun = await rt.lane(BEGIN).submit(Asked(key, wish), wish.book_id)
    if isinstance(begun, Reply):
        return begun
    if begun.account is None or begun.first is None:
        return await asking.carry_through(asking.find_out(rt, begun.intent, begun.attempt, wish.by, key))
    reach("pay.row_committed", begun.attempt.id)
    reply = await asking.collect(rt, begun.first, begun.attempt, begun.account, wish.by, key)
    reach("pay.before_resp", begun.attempt.id)
    return reply
