"""The catalogue of customers' events, and how they are said.

Every event carries the customer as it is then (a deleted one as it was last).  A customer's version counts the events that were
said of it, without gaps.
"""

from datetime import datetime
from typing import Any

import msgspec

from guilder.merchants import present
from guilder.merchants.model import Customer
from guilder.platform import context
from guilder.platform.outbox import Event
from guilder.platform.persons import take_out

CATALOGUE: dict[str, str] = {
    "customer.created": "A customer was made.",
    "customer.updated": "Something of a customer changed; previous_attributes tells what it was.",
    "customer.deleted": "A customer was deleted; the event shows it for the last time.",
}


def of_customer(
    type: str, customer: Customer, at: datetime, *, livemode: bool, previous: dict[str, Any] | None = None
) -> Event:
    """Something that happened to a customer, within the current chain of work."""
    by, shape = context.current(), present.customer(customer, livemode=livemode)
    private = take_out(customer.id, shape, present.PERSONAL["customer"], previous)
    return Event(
        customer.book_id, type, customer.id, customer.version, msgspec.json.encode(shape).decode(), at, by.root_id, by.business_line,
        previous=None if previous is None else msgspec.json.encode(previous).decode(),
        request_id=by.request_id or None, idempotency_key=by.idempotency_key or None, private=private,
    )  # fmt: skip


def changed(was: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """`previous_attributes`: the former value of whatever differs, down into hashes; null for what was not there."""
    found = {}
    for name in {**was, **now}:
        before, after = was.get(name), now.get(name)
        if before != after:
            both = isinstance(before, dict) and isinstance(after, dict)
            found[name] = changed(before, after) if both else before
    return found
