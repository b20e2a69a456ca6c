"""Cancel and expire: a payment ends unpaid.

What is open at a channel is closed there first, and only the channel's word ends it.

    1. transaction   nothing open: canceled at once.  Else note the wish (cancel_wanted_at): no new try may begin
    2. network       close at the channel
    3. transaction   record: closed -> canceled; paid after all -> succeeded; silence -> the sweep keeps at it
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from guilder.core import clock, ids
from guilder.core.errors import GuilderError, NotFound, WrongState
from guilder.payments import asking, life, present, store
from guilder.payments.life import Scene
from guilder.payments.model import Attempt, BookKey, Changes, Intent
from guilder.payments.present import Face
from guilder.payments.states import CANCELABLE, OPEN_ATTEMPT, IntentStatus
from guilder.platform import idempotency, trail
from guilder.platform.context import Context
from guilder.platform.db import Tx
from guilder.platform.environment import Env, LaneSpec
from guilder.platform.failpoints import reach
from guilder.platform.idempotency import Asked, Claims, Fresh, Key, Reply, Resume
from guilder.platform.once import refusal
from guilder.platform.trail import Act

CLOSE_LEASE_S = 20


@dataclass(frozen=True, slots=True)
class Cancel:
    """A wish to cancel."""

    book_id: UUID
    intent_id: UUID
    reason: str
    by: Context
    face: Face


@dataclass(frozen=True, slots=True)
class Closing:
    """Phase 1 is committed: these tries are to be closed at their channels."""

    intent: Intent
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class Expire:
    """A payment whose time is over."""

    book_id: UUID
    intent_id: UUID
    by: Context
    face: Face


async def begin_many(tx: Tx, asked: list[Asked[Cancel]]) -> Sequence[Closing | Reply | GuilderError]:
    """Phase 1 for a batch."""
    found = await idempotency.begin_many(tx, [a.key for a in asked])
    intents = await store.lock(tx, [(a.item.book_id, a.item.intent_id) for a in asked])
    attempts = await store.attempts(tx, intents)
    changes, claims, at = Changes(), Claims(), clock.now()
    resumed: list[tuple[Key, Reply]] = []
    acts: list[Act] = []
    results: list[Closing | Reply | GuilderError] = []
    for a, f in zip(asked, found, strict=True):
        mine = isinstance(f, Resume)
        heard = claims.twin(a.key) if isinstance(f, Fresh) else None if mine else f
        if heard is not None:
            results.append(heard)
            continue
        changes.by = a.item.by
        scene = Scene(changes, a.item.face, at, "api")
        intent = intents.get((a.item.book_id, a.item.intent_id))
        if (
            mine and intent is not None and intent.status is IntentStatus.CANCELED
        ):  # what the dead runner began has come about
            result: Closing | Reply = Reply(200, present.encode(present.intent(a.item.face, intent)))
        else:
            result = _begin(scene, intent, attempts, a.item)
        if isinstance(result, Reply) and mine:
            resumed.append((a.key, result))
        elif isinstance(result, Reply):
            claims.answer(a.key, result)
        elif not mine:
            claims.claim(a.key, a.item.intent_id)
        if intent is not None and not mine and (isinstance(result, Closing) or result.status == 200):
            acts.append(_act(intent, a.item))
        results.append(result)
    claims.store(tx)
    await store.save(tx, changes)
    trail.note_many(tx, acts)
    await idempotency.finish_many(tx, resumed)
    return results


def _act(intent: Intent, wish: Cancel) -> Act:
    """What the caller decided; where a try is open at a channel, the channel has the last word."""
    after = {"status": intent.status.value}
    return Act("payment_intent.canceled", ids.show("pi", intent.id), intent.book_id, None, after, wish.reason, wish.by)


def _begin(scene: Scene, intent: Intent | None, attempts: dict[BookKey, Attempt], wish: Cancel) -> Closing | Reply:
    if intent is None:
        return refusal(NotFound(f"No such payment_intent: '{ids.show('pi', wish.intent_id)}'", param="intent"))
    if intent.status not in CANCELABLE:
        return refusal(_not_cancelable(scene.face, intent))
    open_now = tuple(a for a in attempts.values() if a.intent_id == intent.id and a.state in OPEN_ATTEMPT)
    if not open_now:
        life.cancel(scene, intent, wish.reason)
        return Reply(200, present.encode(present.intent(scene.face, intent)))
    _want(scene, intent, open_now, wish.reason, CLOSE_LEASE_S)
    return Closing(intent, open_now)


def _want(scene: Scene, intent: Intent, open_now: Sequence[Attempt], reason: str, lease_s: int) -> None:
    """No new try may begin, and the open ones are to be closed."""
    intent.cancel_wanted_at = intent.cancel_wanted_at or scene.at
    intent.cancel_reason = reason
    scene.changes.intents[intent.key] = intent
    for a in open_now:
        a.close_wanted, a.ask_at = True, scene.at + timedelta(seconds=lease_s)
        scene.changes.attempts[a.key] = a


def _not_cancelable(face: Face, intent: Intent) -> WrongState:
    return WrongState(
        f"You cannot cancel this PaymentIntent because it has a status of {intent.status.value}.",
        details={"payment_intent": present.intent(face, intent)},
    )


async def answer_many(tx: Tx, asked: list[Asked[Cancel]]) -> Sequence[Reply | GuilderError]:
    """Phase 3's answer: what the payment is after its tries were closed, stored under the key."""
    intents = await store.lock(tx, [(a.item.book_id, a.item.intent_id) for a in asked])
    replies: list[Reply] = []
    for a in asked:
        intent = intents[a.item.book_id, a.item.intent_id]
        if intent.status is IntentStatus.SUCCEEDED:
            replies.append(refusal(_not_cancelable(a.item.face, intent)))
        else:
            replies.append(Reply(200, present.encode(present.intent(a.item.face, intent))))
    await idempotency.finish_many(tx, [(a.key, r) for a, r in zip(asked, replies, strict=True)])
    return replies


async def expire_many(tx: Tx, asked: list[Expire]) -> Sequence[None]:
    """End payments whose time is over, or note the wish where a try is open."""
    intents = await store.lock(tx, [(e.book_id, e.intent_id) for e in asked])
    attempts = await store.attempts(tx, intents)
    changes, at = Changes(), clock.now()
    for e in asked:
        intent = intents.get((e.book_id, e.intent_id))
        if intent is None or intent.status not in CANCELABLE or intent.cancel_wanted_at is not None:
            continue
        changes.by = e.by
        scene = Scene(changes, e.face, at, "expiry")
        open_now = [a for a in attempts.values() if a.intent_id == intent.id and a.state in OPEN_ATTEMPT]
        if open_now:
            _want(scene, intent, open_now, "expired", 0)
        else:
            life.cancel(scene, intent, "expired")
    await store.save(tx, changes)
    return [None] * len(asked)


BEGIN_CANCEL: LaneSpec[Asked[Cancel], Closing | Reply] = LaneSpec("payments.begin_cancel", begin_many)
ANSWER_CANCEL: LaneSpec[Asked[Cancel], Reply] = LaneSpec("payments.answer_cancel", answer_many)
EXPIRE: LaneSpec[Expire, None] = LaneSpec("payments.expire", expire_many)


async def cancel(rt: Env, key: Key, wish: Cancel) -> Reply:
    """All three phases; carried through even if the caller hangs up."""
    begun = await rt.lane(BEGIN_CANCEL).submit(Asked(key, wish), wish.book_id)
    if isinstance(begun, Reply):
        return begun
    return await asking.carry_through(_close(rt, key, wish, begun))


async def _close(rt: Env, key: Key, wish: Cancel, begun: Closing) -> Reply:
    for attempt in begun.attempts:
        account = await asking.the_account(rt, attempt)
        outcome = await asking.close(rt, begun.intent, attempt, account)
        reach("cl.before_commit", attempt.id)
        await asking.record(rt, attempt, account, outcome, "close", wish.by)
    return await rt.lane(ANSWER_CANCEL).submit(Asked(key, wish), wish.book_id)
