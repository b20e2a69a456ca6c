"""Follow: a session turns when its payment ends (K3)."""

import msgspec

from guilder.cashier import events, store
from guilder.cashier.model import Session, Status
from guilder.platform import outbox
from guilder.platform.db import Tx
from guilder.platform.outbox import Event, Heard, Subscription


class _Payment(msgspec.Struct):
    """What we read of the payment that an event shows."""

    livemode: bool


_payment = msgspec.json.Decoder(_Payment).decode


async def handle_many(tx: Tx, heard: list[Heard]) -> None:
    """Turn the sessions of payments that ended; heard twice, it is said once."""
    sessions = await store.lock_of_intents(tx, [(e.book_id, e.object_id) for e in heard])
    said: list[Event] = []
    changed: dict[tuple[object, object], Session] = {}
    for e in heard:
        session = sessions.get((e.book_id, e.object_id))
        turn = None if session is None else _turn(session.status, e.type)
        if session is None or turn is None:
            continue
        session.status, type = turn
        said.append(events.of_session(type, session, e, _payment(e.data).livemode))
        changed[session.book_id, session.id] = session
    if changed:
        await store.save(tx, changed.values())
        await outbox.say(tx, said)


def _turn(status: Status, heard: str) -> tuple[Status, str] | None:
    """What a session becomes, and how that is said; None: nothing new.  Events may overtake each other."""
    match status, heard:
        case Status.OPEN, "payment_intent.succeeded":
            return Status.COMPLETE, "checkout.session.completed"
        case Status.EXPIRED, "payment_intent.succeeded":
            return Status.COMPLETE, "checkout.session.async_payment_succeeded"
        case Status.OPEN, "payment_intent.canceled":
            return Status.EXPIRED, "checkout.session.expired"
    return None


SUBSCRIPTIONS = [
    Subscription("cashier", ("payment_intent.succeeded", "payment_intent.canceled"), handle_many, origin="checkout")
]
