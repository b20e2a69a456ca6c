"""The events that are said of sessions."""

import msgspec

from guilder.cashier import present
from guilder.cashier.model import Session
from guilder.platform.outbox import Event, Heard
from guilder.platform.persons import take_out

CATALOGUE: dict[str, str] = {
    "checkout.session.completed": "The payer has paid; its `payment_status` is paid.",
    "checkout.session.expired": "It can be paid no more.",
    "checkout.session.async_payment_succeeded": "It was paid after it had expired, and the merchant's rule accepts that.",
}


def of_session(type: str, session: Session, cause: Heard, livemode: bool) -> Event:
    """What became of a session when its payment ended: `cause`."""
    session.version += 1
    shown = present.session(session, livemode=livemode, url="")
    private = take_out(session.customer_id or session.intent_id, shown, present.PERSONAL["checkout.session"])
    return Event(
        session.book_id, type, session.id, session.version, msgspec.json.encode(shown).decode(), cause.at, session.root_id,
        session.business_line, request_id=cause.request_id, idempotency_key=cause.idempotency_key, private=private,
    )  # fmt: skip
