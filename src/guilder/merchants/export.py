"""Export: everything that is kept of a person, readable, and where it lies."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import msgspec

from guilder.core import clock, ids
from guilder.merchants import customers, kept, present
from guilder.merchants.kept import Kept, Person
from guilder.platform import idempotency, persons, trail
from guilder.platform.db import Row, Tx
from guilder.platform.persons import Said
from guilder.platform.sql import load

Q = load(__package__)


async def export(tx: Tx, book_id: UUID, id: UUID, *, livemode: bool) -> list[Kept]:
    """What is kept of a customer, of an erased one what is left.  That it was told is in the trail.  Raises NotFound."""
    found = await tx.row(Q.lock_any_customer, book_id, id)
    if found is None:
        raise customers.no_such(ids.show("cus", id))
    row = present.whatever_is_left(customers.customer_of(found), livemode=livemode)
    own = Kept(where="merchants.customer", id=ids.show("cus", id), fields=msgspec.to_builtins(row))
    return [own, *await _tell(tx, Person(book_id, id, customer=True, livemode=livemode))]


async def export_guest(tx: Tx, book_id: UUID, payment_id: UUID, *, livemode: bool) -> list[Kept]:
    """What is kept of somebody who paid without being a customer.  Raises NotFound, and WrongState for a customer's payment."""
    return await _tell(tx, Person(book_id, payment_id, customer=False, livemode=livemode))


async def _tell(tx: Tx, who: Person) -> list[Kept]:
    who = replace(who, payments=tuple(await kept.payments_of()(tx, who)))
    told = [k for part in kept.parts() for k in await part.tell(tx, who)]
    shown = [who.shown, *(k.id for k in told)]
    told += [_event(row, said) for row, said in await persons.told(tx, who.book_id, who.persons)]
    told += [
        Kept(where="platform.answer", id=key, fields={"answered": body})
        for key, body in await idempotency.answers_about(tx, who.book_id, shown)
    ]
    trail.note(tx, "person.exported", who.shown, book_id=who.book_id)
    return told


def _event(row: Row, said: Said) -> Kept:
    fields: dict[str, Any] = {"type": row["type"], "created": clock.unix(row["created_at"]), "object": said.data}
    if said.previous:
        fields["previous_attributes"] = said.previous
    return Kept(where="platform.event", id=ids.show("evt", row["id"]), fields=fields)
