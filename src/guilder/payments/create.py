"""Create: write down what is to be paid for.  One phase; no channel is asked."""

from collections.abc import Sequence

import msgspec

from guilder.core import clock
from guilder.core.errors import GuilderError
from guilder.payments import events, life, present, store
from guilder.payments.life import Scene
from guilder.payments.model import Changes, Intent, Method
from guilder.payments.present import Face
from guilder.platform.context import Context
from guilder.platform.db import Tx
from guilder.platform.environment import LaneSpec
from guilder.platform.idempotency import Asked, Reply, once_many
from guilder.platform.once import refusal


class NewIntent(msgspec.Struct, frozen=True):
    """A payment that exists in memory only."""

    intent: Intent
    by: Context
    face: Face
    method: Method | None = None  # made in the same commit


async def create_many(tx: Tx, asked: list[Asked[NewIntent]]) -> Sequence[Reply | GuilderError]:
    """Create each payment once per key; the answer is stored in the same commit."""
    return await once_many(tx, asked, _create, refusal)


async def _create(tx: Tx, new: list[NewIntent]) -> Sequence[Reply | GuilderError]:
    changes, at = Changes(), clock.now()
    replies = []
    for n in new:
        changes.by = n.by
        scene = Scene(changes, n.face, at, "api")
        intent = add(scene, n.intent)
        if n.method is not None:
            changes.new_methods[n.method.key] = n.method
        replies.append(Reply(200, present.encode(present.intent(n.face, intent))))
    await store.save(tx, changes)
    return replies


def add(scene: Scene, new: Intent) -> Intent:
    """A payment comes to be: a copy of `new`, for a batch that runs again must not find what its first run changed."""
    intent = new.copy()
    scene.changes.new_intents[intent.key] = intent
    life.born(scene, intent, "intent", intent.status)
    events.of_intent(scene.changes, scene.face, "payment_intent.created", intent, scene.at)
    return intent


CREATE: LaneSpec[Asked[NewIntent], Reply] = LaneSpec("payments.create", create_many, spread=True)
