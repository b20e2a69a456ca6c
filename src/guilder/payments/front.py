"""The front: a confirm that does not wait for its channel.

    1. confirm       notes an attempt that is `unasked`, and answers at once with our own page or a code that leads there
    2. claim         from this commit on the channel may have been asked                        (unasked: false, a lease)
    3. ask, record   as ever; whoever dies in between leaves an `unknown`, and the sweep finds out under the same key

`payment_method_options[<type>][front]` says when the channel is asked: `async` right after the confirm, by the front of some worker; `open`
when the payer opens the page (it asks at once for `async` ones, too, if it is faster).  The page waits, and goes on by itself.

Invariants.  Tests carry these names (`test_W1_...`).

    W1  A channel is asked for an attempt under one key only, by whoever claimed it.
    W2  An attempt that nobody claimed is closed by our own word, and its channel never hears of it.
    W3  However many wait for a slow channel, nobody else waits longer for that.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from guilder.core.check import must
from guilder.payments import asking, events, life, present, steps, store
from guilder.payments.askers import Askers, in_its_chain
from guilder.payments.life import Scene
from guilder.payments.model import Attempt, Intent
from guilder.payments.states import IntentStatus
from guilder.payments.ways import Way
from guilder.platform import context
from guilder.platform.db import Tx
from guilder.platform.environment import Env
from guilder.platform.failpoints import reach
from guilder.platform.idempotency import Reply
from guilder.platform.sql import load

Q = load(__package__)
PATIENCE_S = 30.0  # nobody's request hangs on it, so a channel may take its time
ROOM_S, AGAIN_S = (
    2.0,
    1.0,
)  # a claimed attempt waits so long for a place at its account, and then so long for the next claim
LEASE_S = 40  # longer than all of that
AT_ONCE = 200  # claimed in one go
PER_ACCOUNT, IN_ALL = 1500, 4000  # waiting at one channel account, in one process


def take(intent: Intent, attempt: Attempt, type: str, at: datetime) -> None:
    """Leave a new attempt to the front, where the payment says so."""
    said = intent.extra.get("payment_method_options", {}).get(type, {}).get("front", "sync")
    if said == "sync":
        return
    attempt.unasked = True
    attempt.ask_at = at if said == "async" else attempt.expires_at + timedelta(seconds=1)


def answer(scene: Scene, intent: Intent, attempt: Attempt, way: Way) -> Reply:
    """What the confirm is answered: the payer's next step is our own page."""
    intent.next_action = steps.ours(scene.face, intent, attempt, way.info.shows)
    life.move_intent(scene, intent, IntentStatus.REQUIRES_ACTION)
    events.of_intent(scene.changes, scene.face, "payment_intent.requires_action", intent, scene.at)
    return Reply(200, present.encode(present.intent(scene.face, intent)))


async def open_now(rt: Env, book_id: UUID, attempt_id: UUID) -> None:
    """The payer is at our page: ask, unless somebody does already."""
    row = await rt.db.row(Q.claim_one_unasked, book_id, attempt_id, LEASE_S)
    if row is not None:
        await in_its_chain(rt, store.attempt_of(row), _ask)


async def claim(rt: Env, room: int, full: Sequence[UUID] = ()) -> list[Attempt]:
    """Up to `room` attempts that the front is to ask for now, of channel accounts that are not `full`."""

    async def work(tx: Tx) -> list[Attempt]:
        return [store.attempt_of(r) for r in await tx.rows(Q.claim_unasked, room, LEASE_S, list(full))]

    return await rt.db.transact(work)


async def _ask(rt: Env, attempt: Attempt) -> None:
    reach("front.claimed", attempt.id)
    row = await rt.db.row(Q.find_intent, attempt.book_id, attempt.intent_id)
    must(row is not None, "an attempt's payment exists")
    assert row is not None
    account = await asking.the_account(rt, attempt)
    async with rt.health.fronting(account.id, ROOM_S) as room:
        if not room:  # nothing was asked for: it is as if nobody had claimed it
            await rt.db.transact(lambda tx: tx.run(Q.put_back_unasked, attempt.book_id, attempt.id, AGAIN_S))
            return
        outcome = await asking.create(rt, store.intent_of(row), attempt, account, PATIENCE_S)
    reach("front.asked", attempt.id)
    await asking.record(rt, attempt, account, outcome, "reply", context.current())


ASKERS = Askers(claim, _ask, at_once=AT_ONCE, per_account=PER_ACCOUNT, in_all=IN_ALL)
