"""Attach and detach: which ways to pay a merchant keeps under which customer.

Locks.  The customer's row (shared), then the method's.  Deleting a customer locks them in the same order.
"""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

import msgspec

from guilder.core import clock, ids
from guilder.core.errors import NotFound, WrongState
from guilder.merchants import customers
from guilder.merchants.model import Customer
from guilder.payments import present_method, store
from guilder.payments.model import BookKey, Method
from guilder.platform import context, outbox
from guilder.platform.db import Tx
from guilder.platform.outbox import Event
from guilder.platform.persons import take_out
from guilder.platform.sql import load

Q = load(__package__)


async def attach(tx: Tx, key: BookKey, customer_id: UUID, *, livemode: bool) -> Method:
    """Keep a way to pay under a customer; one that is there already stays.  Raises NotFound, WrongState."""
    await customers.lock_shared(tx, key[0], customer_id)
    method = await _lock(tx, key)
    if method.customer_id == customer_id:
        return method
    if method.customer_id is not None:
        raise _unexpected("The payment method you provided has already been attached to a customer.")
    return await _move(tx, method, customer_id, livemode=livemode)


async def detach(tx: Tx, key: BookKey, *, livemode: bool) -> Method:
    """Let go of it.  Raises NotFound, WrongState."""
    method = await _lock(tx, key)
    if method.customer_id is None:
        raise _unexpected("The payment method you provided is not attached to a customer so detachment is impossible.")
    return await _move(tx, method, None, livemode=livemode)


async def detach_all(tx: Tx, customer: Customer, at: datetime, livemode: bool) -> None:
    """What becomes of a customer's ways to pay when it is deleted: a step of `customers.delete`."""
    rows = await tx.rows(Q.detach_methods, customer.book_id, customer.id)
    await outbox.say(tx, [_detached(store.method_of(r), customer.id, at, livemode) for r in rows])


def no_such(shown: str) -> NotFound:
    """There is no such way to pay, or it is another merchant's."""
    return NotFound(f"No such PaymentMethod: '{shown}'", param="payment_method")


async def _lock(tx: Tx, key: BookKey) -> Method:
    row = await tx.row(Q.lock_method, *key)
    if row is None:
        raise no_such(ids.show("pm", key[1]))
    return store.method_of(row)


async def _move(tx: Tx, was: Method, customer_id: UUID | None, *, livemode: bool) -> Method:
    person_id = (customer_id or was.person_id) if was.billing else None
    now = replace(was, customer_id=customer_id, version=was.version + 1, person_id=person_id)
    at = clock.now()
    await tx.run(Q.set_method_customer, now.book_id, now.id, now.customer_id, now.version, now.person_id)
    if customer_id is not None:
        await outbox.say(tx, [_event("payment_method.attached", now, customer_id, at, livemode)])
    elif was.customer_id is not None:
        await outbox.say(tx, [_detached(now, was.customer_id, at, livemode)])
    return now


def _detached(method: Method, customer_id: UUID, at: datetime, livemode: bool) -> Event:
    previous = msgspec.json.encode({"customer": ids.show("cus", customer_id)}).decode()
    return msgspec.structs.replace(
        _event("payment_method.detached", method, customer_id, at, livemode), previous=previous
    )


def _event(type: str, method: Method, person_id: UUID, at: datetime, livemode: bool) -> Event:
    by = context.current()
    shape = present_method.payment_method(method, livemode=livemode)
    private = take_out(person_id, shape, present_method.PERSONAL["payment_method"]) if method.billing else None
    return Event(
        method.book_id, type, method.id, method.version, msgspec.json.encode(shape).decode(), at, by.root_id, by.business_line,
        request_id=by.request_id or None, idempotency_key=by.idempotency_key or None, private=private,
    )  # fmt: skip


def _unexpected(message: str) -> WrongState:
    return WrongState(message, code="payment_method_unexpected_state", param="payment_method")
