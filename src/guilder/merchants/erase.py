"""Erase: nothing is left that says who a person is.  Amounts, journals and charges stay.

    1. the person's key goes: what was written once cannot be read any more, and what is said later has blanks
    2. rows that may change are blanked, and so are the answers that are kept for repeated requests
    3. a customer that is not deleted yet is

All in the caller's transaction; whoever writes something personal meanwhile comes before it, or finds the key erased (E3).
"""

from dataclasses import replace
from uuid import UUID

from guilder.core import ids
from guilder.merchants import customers, kept, present
from guilder.merchants.kept import Person
from guilder.platform import idempotency, persons, trail
from guilder.platform.db import Tx
from guilder.platform.sql import load

Q = load(__package__)


async def erase(tx: Tx, book_id: UUID, id: UUID, *, livemode: bool, why: str = "") -> dict[str, int]:
    """Erase a customer, deleted or not; what was blanked, by its name.  Again, it finds nothing.  Raises NotFound."""
    row = await tx.row(Q.lock_any_customer, book_id, id)
    if row is None:
        raise customers.no_such(ids.show("cus", id))
    await persons.erase(tx, book_id, id)
    if row["deleted_at"] is None:
        await customers.delete(tx, book_id, id, livemode=livemode)
    return await _blank(tx, Person(book_id, id, customer=True, livemode=livemode), why)


async def erase_guest(tx: Tx, book_id: UUID, payment_id: UUID, *, livemode: bool, why: str = "") -> dict[str, int]:
    """Erase somebody who paid without being a customer.  Raises NotFound, and WrongState for a customer's payment."""
    await persons.erase(tx, book_id, payment_id)
    return await _blank(tx, Person(book_id, payment_id, customer=False, livemode=livemode), why)


async def _blank(tx: Tx, who: Person, why: str) -> dict[str, int]:
    who = replace(who, payments=tuple(await kept.payments_of()(tx, who)))
    counts, shown, personal = {}, [who.shown], dict(present.PERSONAL)
    for part in kept.parts():
        done = await part.blank(tx, who)
        counts |= done.counts
        shown += done.shown
        personal |= part.personal
    others = [p for p in who.payments if p != who.id]
    counts["keys"] = await persons.erase_others(tx, who.book_id, others)
    counts["answers"] = await idempotency.blank_answers(tx, who.book_id, shown, personal)
    trail.note(tx, "person.erased", who.shown, book_id=who.book_id, after=counts, why=why)
    return counts
