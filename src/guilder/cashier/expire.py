"""Expire: end an open session by canceling its payment, at the channel first.

Under the caller's key two answers are kept: the payment's, under a key that no caller can send, and the session's.  Who dies between
them finds the first and makes the second.
"""

from guilder.cashier import links, present, store
from guilder.cashier.model import Session, Status
from guilder.core.errors import NotFound, WrongState
from guilder.merchants.principal import Principal
from guilder.payments import cancel as cancelling
from guilder.payments.present import Face
from guilder.platform.db import Tx
from guilder.platform.idempotency import Key
from guilder.platform.once import context_of, key_of, once
from guilder.platform.web import Answer, Call


async def expire(call: Call, session: Session, *, with_lines: bool) -> Answer:
    """Cancel the payment, then show the session.  WrongState if it was not open."""
    who: Principal = call.principal
    by, key = context_of(call), key_of(call)
    inner = Key(key.book_id, None if key.key is None else f"\nexpire {key.key}", key.fingerprint, key.request_id)
    wish = cancelling.Cancel(session.book_id, session.intent_id, "expired", by, Face(who.env))
    reply = await cancelling.cancel(who.env, inner, wish)

    async def show(tx: Tx) -> present.CheckoutSession:
        found = await store.find(tx, session.book_id, [session.id])
        if not found:
            raise NotFound
        now = found[0]
        if reply.status != 200:
            raise WrongState(
                f'Only Checkout Sessions with a status in ["open"] can be expired. This one has a status of {now.status.value}.',
                code="checkout_session_not_open", param="session",
            )  # fmt: skip
        url = links.session_url(who.env, now.book_id, now.id) if now.status is Status.OPEN else ""
        return present.session(now, livemode=who.livemode, url=url, with_lines=with_lines)

    return await once(call, show)
