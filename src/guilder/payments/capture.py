"""Capture: collect what a channel holds for us.  Three phases, as for a confirm: note the wish, ask the channel, record what it says.

What is asked for is on the attempt before the channel hears it, so that whoever follows a dead process asks for the same, once.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import msgspec

from guilder.core import clock, ids
from guilder.core.errors import GuilderError, InFlight, Invalid, NotFound, WrongState
from guilder.payments import asking, life, present, store
from guilder.payments.confirm import ASK_LEASE_S
from guilder.payments.life import Scene
from guilder.payments.model import Attempt, BookKey, Changes, Intent
from guilder.payments.present import Face
from guilder.payments.states import AttemptState, IntentStatus
from guilder.platform import idempotency, trail
from guilder.platform.context import Context
from guilder.platform.db import Tx
from guilder.platform.environment import Env, LaneSpec
from guilder.platform.failpoints import reach
from guilder.platform.idempotency import Asked, Claims, Fresh, Key, Reply, Resume
from guilder.platform.once import refusal
from guilder.platform.trail import Act
from guilder.platform.web import merge_metadata


class Capture(msgspec.Struct, frozen=True):
    """A wish to collect `units` of what is held; None: all of it."""

    book_id: UUID
    intent_id: UUID
    units: int | None
    metadata: dict[str, str]
    by: Context
    face: Face


class Begun(msgspec.Struct, frozen=True):
    """Phase 1 is committed.  `again`: somebody may have asked before."""

    intent: Intent
    attempt: Attempt
    again: bool = False


async def begin_many(tx: Tx, asked: list[Asked[Capture]]) -> Sequence[Begun | Reply | GuilderError]:
    """Phase 1 for a batch: each wish sees what those before it did."""
    found = await idempotency.begin_many(tx, [a.key for a in asked])
    intents = await store.lock(tx, [(a.item.book_id, a.item.intent_id) for a in asked])
    fold = _Fold(intents, await store.attempts(tx, intents))
    results: list[Begun | Reply | GuilderError] = []
    for a, f in zip(asked, found, strict=True):
        if isinstance(f, Fresh):
            results.append(fold.begin(a))
        elif isinstance(f, Resume):
            results.append(fold.resume(a, f.subject))
        else:
            results.append(f)
    fold.claims.store(tx)
    await store.save(tx, fold.changes)
    trail.note_many(tx, fold.acts)
    await tx.flush()
    return results


class _Fold:
    """The wishes of one batch over what it has locked."""

    def __init__(self, intents: dict[BookKey, Intent], attempts: dict[BookKey, Attempt]) -> None:
        self.intents, self.attempts = intents, attempts
        self.changes, self.claims, self.at = Changes(), Claims(), clock.now()
        self.acts: list[Act] = []

    def begin(self, asked: Asked[Capture]) -> Begun | Reply | GuilderError:
        key, wish = asked.key, asked.item
        twin = self.claims.twin(key)
        if twin is not None:
            return twin
        intent = self.intents.get((wish.book_id, wish.intent_id))
        refused = _refusal(intent, wish)
        if refused is not None:
            reply = refusal(refused)
            self.claims.answer(key, reply)
            return reply
        assert intent is not None and intent.attempt_id is not None
        attempt = self.attempts[intent.book_id, intent.attempt_id]
        self.changes.by = wish.by
        scene = Scene(self.changes, wish.face, self.at, "api")
        attempt.capture = attempt.amount if wish.units is None else wish.units
        attempt.ask_at = self.at + timedelta(seconds=ASK_LEASE_S)
        self.changes.attempts[attempt.key] = attempt
        intent.metadata = merge_metadata(intent.metadata, wish.metadata)
        life.move_intent(scene, intent, IntentStatus.PROCESSING)
        said = {"amount": attempt.capture, "currency": attempt.currency}
        self.acts.append(Act("capture.begun", ids.show("pi", intent.id), intent.book_id, after=said, by=wish.by))
        self.claims.claim(key, attempt.id)
        return Begun(intent, attempt)

    def resume(self, asked: Asked[Capture], subject: UUID) -> Begun | Reply | GuilderError:
        attempt = self.attempts.get((asked.key.book_id, subject))
        intent = self.intents.get((asked.key.book_id, attempt.intent_id)) if attempt else None
        if attempt is None or intent is None:
            return InFlight()
        return Begun(intent, attempt, again=True)


def _refusal(intent: Intent | None, wish: Capture) -> GuilderError | None:
    if intent is None:
        return NotFound(f"No such payment_intent: '{ids.show('pi', wish.intent_id)}'", param="intent")
    if intent.status is not IntentStatus.REQUIRES_CAPTURE or intent.cancel_wanted_at is not None:
        return WrongState(
            f"This PaymentIntent could not be captured because it has a status of {intent.status.value}. Only a PaymentIntent with a "
            "status of requires_capture may be captured.",
            details={"payment_intent": present.intent(wish.face, intent)},
        )
    if wish.units is not None and wish.units > intent.amount:
        return Invalid(
            f"amount_to_capture ({wish.units}) is more than what is held ({intent.amount}).",
            code="amount_too_large",
            param="amount_to_capture",
        )
    return None


BEGIN_CAPTURE: LaneSpec[Asked[Capture], Begun | Reply] = LaneSpec("payments.begin_capture", begin_many)


async def capture(rt: Env, key: Key, wish: Capture) -> Reply:
    """All three phases; carried through even if the caller hangs up."""
    begun = await rt.lane(BEGIN_CAPTURE).submit(Asked(key, wish), wish.book_id)
    if isinstance(begun, Reply):
        return begun
    return await asking.carry_through(_collect(rt, begun, key, wish.by))


async def _collect(rt: Env, begun: Begun, key: Key, by: Context) -> Reply:
    attempt = begun.attempt
    account = await asking.the_account(rt, attempt)
    if attempt.state is AttemptState.AUTHORISED:
        reach("cap.before_channel", attempt.id)
        door, outcome = "capture", await asking.capture(rt, attempt, account)
        reach("cap.after_channel", attempt.id)
    else:
        door, outcome = "query", await asking.query(rt, attempt, account)
    return asking.replied(await asking.record(rt, attempt, account, outcome, door, by, key))
