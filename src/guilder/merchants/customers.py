"""Customers: the payers that a merchant knows.

C1  Every change is said in its own commit, with a version that has no gaps.
C2  A deleted customer is gone for good: nothing personal is left in its row, and what hung on it is let go in the same commit.
C3  Nothing is hung on a customer while it is being deleted: who hangs something on holds `lock_shared`.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import msgspec

from guilder.core import clock, ids
from guilder.core.errors import NotFound
from guilder.merchants import events, present
from guilder.merchants.model import Customer
from guilder.platform import outbox
from guilder.platform.db import Database, Row, Tx
from guilder.platform.sql import load

Q = load(__package__)
Step = Callable[[Tx, Customer, datetime, bool], Awaitable[None]]  # transaction, who is deleted, when, livemode

_before_delete: list[Step] = []


def register(steps: Sequence[Step]) -> None:
    """What higher domains do in the commit that deletes a customer (C2); called once, by the composition root."""
    _before_delete[:] = steps


async def exists(db: Database, book_id: UUID, id: UUID) -> bool:
    """Whether a merchant has this customer (and has not deleted it)."""
    return await db.value(Q.find_customer_id, book_id, id) is not None


async def find_many(db: Database, book_id: UUID, wanted: Sequence[UUID]) -> list[Customer]:
    """Those of `wanted` that the merchant has or had, deleted ones included."""
    return [customer_of(r) for r in await db.rows(Q.find_customers, book_id, list(wanted))]


async def book_of(db: Database, id: UUID) -> UUID | None:
    """Whose customer it is, for the operator's command line: it reads every book."""
    return await db.value(Q.find_book_of_customer, id)


async def lock_shared(tx: Tx, book_id: UUID, id: UUID) -> None:
    """C3: keep a customer from being deleted until commit.  Raises NotFound."""
    if await tx.value(Q.lock_customer_shared, book_id, id) is None:
        raise no_such(ids.show("cus", id), param="customer")


async def create(tx: Tx, new: Customer, *, livemode: bool) -> Customer:
    """Write a customer down."""
    made = replace(new, version=1)
    await tx.run(
        Q.insert_customer, made.book_id, made.id, made.version, *_columns(made), made.created_at,
    )  # fmt: skip
    await outbox.say(tx, [events.of_customer("customer.created", made, made.created_at, livemode=livemode)])
    return made


async def update(
    tx: Tx, book_id: UUID, id: UUID, change: Callable[[Customer], Customer], *, livemode: bool
) -> Customer:
    """Change a customer; one that stays as it is says nothing.  Raises NotFound and what `change` raises."""
    was = await _lock(tx, book_id, id)
    now = change(was)
    previous = events.changed(*(msgspec.to_builtins(present.customer(c, livemode=livemode)) for c in (was, now)))
    if not previous:
        return was
    now = replace(now, version=was.version + 1)
    await tx.run(Q.update_customer, book_id, id, now.version, *_columns(now))
    await outbox.say(
        tx, [events.of_customer("customer.updated", now, clock.now(), livemode=livemode, previous=previous)]
    )
    return now


async def delete(tx: Tx, book_id: UUID, id: UUID, *, livemode: bool) -> Customer:
    """C2.  Raises NotFound, for one that was deleted before as well."""
    was, at = await _lock(tx, book_id, id), clock.now()
    for step in _before_delete:
        await step(tx, was, at, livemode)
    last = replace(was, version=was.version + 1)
    await tx.run(Q.delete_customer, book_id, id, last.version, at)
    await outbox.say(tx, [events.of_customer("customer.deleted", last, at, livemode=livemode)])
    return last


def no_such(shown: str, *, param: str = "id") -> NotFound:
    """There is no such customer, or it is another merchant's."""
    return NotFound(f"No such customer: '{shown}'", param=param)


def customer_of(row: Row) -> Customer:
    """A customer from its row."""
    address, shipping = (None if row[c] is None else msgspec.json.decode(row[c]) for c in ("address", "shipping"))
    return Customer(
        row["book_id"], row["id"], row["version"], row["name"], row["email"], row["phone"], row["description"], address, shipping,
        tuple(row["locales"]), msgspec.json.decode(row["metadata"]), row["created_at"], row["deleted_at"],
    )  # fmt: skip


async def _lock(tx: Tx, book_id: UUID, id: UUID) -> Customer:
    row = await tx.row(Q.lock_customer, book_id, id)
    if row is None:
        raise no_such(ids.show("cus", id))
    return customer_of(row)


def _columns(c: Customer) -> tuple[object, ...]:
    address, shipping = (None if v is None else msgspec.json.encode(v).decode() for v in (c.address, c.shipping))
    metadata = msgspec.json.encode(c.metadata).decode()
    return c.name, c.email, c.phone, c.description, address, shipping, list(c.locales), metadata
