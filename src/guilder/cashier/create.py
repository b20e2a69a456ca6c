"""Create: a session and its payment, in one commit (K1).  No channel is asked."""

from collections.abc import Sequence
from dataclasses import dataclass

from guilder.cashier import links, present, store
from guilder.cashier.model import Session
from guilder.core import clock
from guilder.core.errors import GuilderError
from guilder.payments import store as payments_store
from guilder.payments.create import add
from guilder.payments.life import Scene
from guilder.payments.model import Changes, Intent
from guilder.payments.present import Face
from guilder.platform.context import Context
from guilder.platform.db import Tx
from guilder.platform.environment import LaneSpec
from guilder.platform.idempotency import Asked, Reply, once_many
from guilder.platform.once import refusal
from guilder.platform.web import encode


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that exists in memory only.  `with_lines`: the caller wants `line_items` expanded."""

    session: Session
    intent: Intent
    by: Context
    face: Face
    with_lines: bool = False


async def create_many(tx: Tx, asked: list[Asked[NewSession]]) -> Sequence[Reply | GuilderError]:
    """Create each session once per key; the answer is stored in the same commit."""
    return await once_many(tx, asked, _create, refusal)


async def _create(tx: Tx, new: list[NewSession]) -> Sequence[Reply | GuilderError]:
    changes, at = Changes(), clock.now()
    for n in new:
        changes.by = n.by
        add(Scene(changes, n.face, at, "api"), n.intent)
    await payments_store.save(tx, changes)
    await store.insert(tx, [n.session for n in new])
    return [_reply(n) for n in new]


def _reply(n: NewSession) -> Reply:
    env, s = n.face.env, n.session
    url = links.session_url(env, s.book_id, s.id)
    return Reply(200, encode(present.session(s, livemode=env.livemode, url=url, with_lines=n.with_lines)))


CREATE: LaneSpec[Asked[NewSession], Reply] = LaneSpec("cashier.create", create_many)
