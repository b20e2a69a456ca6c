"""Record: take note of what channels said.  One room with three doors: reply, callback, query.

It alone changes states, posts money and emits events for what happened at a channel, in one commit.  Told twice, it counts once.
An answer that contradicts the attempt (amount, currency, account, key) leaves a case and credits nothing; its neighbours are not
disturbed.
"""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import msgspec

from guilder.channels.model import Outcome, State
from guilder.core import clock, ids
from guilder.core.errors import CardError, GuilderError
from guilder.payments import life, life_aside, life_refund, present, store
from guilder.payments.life import Contract, Scene
from guilder.payments.model import Aside, Attempt, BookKey, Changes, Intent, Refund
from guilder.payments.present import Face
from guilder.payments.states import AttemptState, RefundState
from guilder.platform import case as cases
from guilder.platform import idempotency, telemetry
from guilder.platform.case import Case
from guilder.platform.context import Context
from guilder.platform.db import Tx
from guilder.platform.environment import LaneSpec
from guilder.platform.failpoints import reach
from guilder.platform.idempotency import Key, Reply
from guilder.platform.once import refusal

# The attempt stays open, or the answer comes too late.
WAITING = frozenset({State.PENDING, State.AUTHORISED, State.UNKNOWN, State.NOT_FOUND})


class Heard(msgspec.Struct, frozen=True):
    """What a channel said of one attempt, and through which door.  `key`: a caller waits for the answer."""

    book_id: UUID
    attempt_id: UUID
    outcome: Outcome
    contract: Contract
    door: str
    by: Context
    face: Face
    key: Key | None = None


class HeardRefund(msgspec.Struct, frozen=True):
    """What a channel said of one refund."""

    book_id: UUID
    refund_id: UUID
    outcome: Outcome
    contract: Contract
    door: str
    by: Context
    face: Face
    key: Key | None = None


class Recorded(msgspec.Struct, frozen=True):
    """It is noted.  `case`: not believed.  `found` False: we know no such attempt or refund, and nothing was noted."""

    found: bool
    state: str | None = None
    case: Case | None = None
    reply: Reply | None = None


# Said of what another channel account of the same application was asked for, which hears it too: nothing to note here.
ELSEWHERE = Recorded(True, "another_account")


async def record_many(tx: Tx, heard: list[Heard]) -> Sequence[Recorded | GuilderError]:
    """Apply each answer in order, each seeing what those before it did; one lock, one save for the whole list.

    Answers that leave everything open move no money: a hopeful run only looks, and what it writes insists that nobody was faster.
    """
    keys, seen = [(h.book_id, h.attempt_id) for h in heard], None
    if tx.hopeful and all(h.outcome.state in WAITING and not h.outcome.credits for h in heard):
        intents, attempts, seen = await store.look_of_attempts(tx, keys)
    else:
        intents = await store.lock_of_attempts(tx, keys)
        attempts = await store.attempts(tx, intents)
    changes, at = Changes(seen=seen), clock.now()
    if seen is None:  # who only looks hears of nothing that lies aside
        changes.lying = await _lying(tx, heard, attempts.values())
    results: list[Recorded | GuilderError] = []
    replies: list[tuple[Key, Reply]] = []
    for h in heard:
        attempt = attempts.get((h.book_id, h.attempt_id))
        intent = intents.get((h.book_id, attempt.intent_id)) if attempt else None
        if attempt is None or intent is None:
            results.append(Recorded(False))
            continue
        changes.by = h.by
        scene = Scene(changes, h.face, at, h.door)
        case = life_aside.hear(scene, intent, attempt, h.outcome, h.contract)
        life.see_to_others(scene, attempts.values(), intent)
        telemetry.RECORDED.labels(h.door, attempt.state.value).inc()
        reply = answer_of(h.face, intent, attempt) if h.key is not None else None
        if h.key is not None and reply is not None:
            replies.append((h.key, reply))
        results.append(Recorded(True, attempt.state.value, case, reply))
    _reach(heard, BEFORE_POST)
    await store.save(tx, changes)
    if tx.opened:
        results = _only_ours(heard, results, await idempotency.finish_many(tx, replies))
        await tx.flush()
    else:
        idempotency.finish_own(tx, replies)
    _reach(heard, AFTER_POST)
    _reach(heard, BEFORE_COMMIT)
    return results


def _only_ours(
    heard: Sequence[Heard | HeardRefund], results: list[Recorded | GuilderError], finished: set[tuple[UUID, str]]
) -> list[Recorded | GuilderError]:
    """Keep the answers of keys that we still held.  Whoever lost its key to a successor hears `unknown`, and asks again: one key has
    one answer."""
    return [
        msgspec.structs.replace(r, reply=None)
        if isinstance(r, Recorded) and h.key is not None and h.key.key and (h.book_id, h.key.key) not in finished
        else r
        for h, r in zip(heard, results, strict=True)
    ]


async def _lying(tx: Tx, heard: Sequence[Heard], attempts: Iterable[Attempt]) -> dict[BookKey, Aside]:
    """What lies aside for these tries, where that could be: hardly ever."""
    parts = {h.attempt_id for h in heard if h.contract.info.collects_in_parts}
    wanted = [a for a in attempts if a.came is not None or a.id in parts]
    refs = [(h.contract.account_id, c.ref) for h in heard for c in life_aside.credits_of(h.outcome, h.contract)]
    mine = await store.asides(tx, wanted) if wanted else {}
    return (await store.asides_of_refs(tx, refs) | mine) if refs else mine


BEFORE_POST = {"reply": "pay.in_tx_before_post", "callback": "ntf.in_tx"}
AFTER_POST = {"reply": "pay.in_tx_after_post"}
BEFORE_COMMIT = {"reply": "pay.before_commit", "callback": "ntf.before_commit", "query": "jan.before_commit"}


def _reach(heard: Sequence[Heard], places: Mapping[str, str]) -> None:
    """The failpoints of a recording transaction, by the doors that its batch came through."""
    for h in heard:
        if h.door in places:
            reach(places[h.door], h.attempt_id)


def answer_of(face: Face, intent: Intent, attempt: Attempt) -> Reply:
    """What a confirm is answered: the payment, or the decline of this very try."""
    shown = present.intent(face, intent)
    refused = attempt.state is AttemptState.AUTHORISED and attempt.problem is not None and attempt.capture is None
    if attempt.state is AttemptState.FAILED or refused:
        error = life.error_of(attempt)
        return refusal(
            CardError(
                error["message"],
                code=error["code"],
                decline_code=error["decline_code"],
                details={"payment_intent": shown},
            )
        )
    return Reply(200, present.encode(shown))


async def record_refund_many(tx: Tx, heard: list[HeardRefund]) -> Sequence[Recorded | GuilderError]:
    """Apply what channels said of refunds."""
    intents = await store.lock_of_refunds(tx, [(h.book_id, h.refund_id) for h in heard])
    refunds = await store.refunds(tx, intents)
    charges = await store.charges(tx, intents)
    changes, at = Changes(), clock.now()
    aside = {r.attempt_id for r in refunds.values() if r.aside_id is not None}
    if aside:
        changes.lying = await store.asides(
            tx, [a for a in (await store.attempts(tx, intents)).values() if a.id in aside]
        )
    results: list[Recorded | GuilderError] = []
    replies: list[tuple[Key, Reply]] = []
    for h in heard:
        refund = refunds.get((h.book_id, h.refund_id))
        intent = intents.get((h.book_id, refund.intent_id)) if refund else None
        if refund is None or intent is None:
            results.append(Recorded(False))
            continue
        changes.by = h.by
        charge = charges.get(intent.key) if refund.charge_id is not None else None
        case = life_refund.hear_refund(
            Scene(changes, h.face, at, h.door), intent, charge, refund, h.outcome, h.contract
        )
        telemetry.RECORDED.labels(h.door, f"refund_{refund.state.value}").inc()
        reply = refund_answer(h.face, refund) if h.key is not None else None
        if h.key is not None and reply is not None:
            replies.append((h.key, reply))
        results.append(Recorded(True, refund.state.value, case, reply))
    reach("refund.in_tx_before_post", heard[0].refund_id)
    await store.save(tx, changes)
    reached = [r for r in changes.refunds.values() if r.problem is not None and r.state is RefundState.SUCCEEDED]
    ended = [(r.book_id, life_refund.FAILED_CASE, ids.mint_key(r.id, r.book_id)) for r in reached]
    await cases.close_many(tx, ended, "refunded", "It has reached the payer after all.")
    results = _only_ours(heard, results, await idempotency.finish_many(tx, replies))
    await tx.flush()
    reach("refund.in_tx_after_post", heard[0].refund_id)
    reach("refund.before_commit", heard[0].refund_id)
    return results


def refund_answer(face: Face, refund: Refund) -> Reply:
    """What the caller of a refund hears; a refund that failed is an object with that status, as in the dialect."""
    return Reply(200, present.encode(present.refund(face, refund)))


RECORD: LaneSpec[Heard, Recorded] = LaneSpec("payments.record", record_many)
RECORD_REFUND: LaneSpec[HeardRefund, Recorded] = LaneSpec("payments.record_refund", record_refund_many)
