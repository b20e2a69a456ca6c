"""What the cashier keeps of persons: the address that a session was made for."""

from guilder.cashier import links, present
from guilder.core import clock, ids
from guilder.merchants.kept import Blanked, Kept, Part, Person
from guilder.platform.db import Row, Tx
from guilder.platform.sql import load

Q = load(__package__)


async def tell(tx: Tx, who: Person) -> list[Kept]:
    """Each session with its address."""
    return [
        Kept(
            where="cashier.session",
            id=links.show_id(who.livemode, r["id"]),
            fields={
                "payment_intent": ids.show("pi", r["intent_id"]),
                "customer_email": r["customer_email"],
                "created": clock.unix(r["created_at"]),
            },
        )
        for r in await _sessions(tx, who)
    ]


async def blank(tx: Tx, who: Person) -> Blanked:
    """Blank them."""
    found = [r["id"] for r in await _sessions(tx, who)]
    await tx.run(Q.blank_sessions, who.book_id, found)
    return Blanked({"checkout_sessions": len(found)}, [links.show_id(who.livemode, id) for id in found])


async def _sessions(tx: Tx, who: Person) -> list[Row]:
    return await tx.rows(Q.find_sessions_of_payments, who.book_id, list(who.payments))


PART = Part(tell, blank, present.PERSONAL)
