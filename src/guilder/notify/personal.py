"""What notify keeps of persons: what endpoints answered to what was said of them, for it may repeat it."""

from guilder.core import clock, ids
from guilder.merchants.kept import Blanked, Kept, Part, Person
from guilder.platform.db import Tx
from guilder.platform.sql import load

Q = load(__package__)


async def tell(tx: Tx, who: Person) -> list[Kept]:
    """Each answer."""
    return [
        Kept(
            where="notify.delivery_try",
            id=ids.show("whd", r["event_id"]),
            fields={"at": clock.unix(r["at"]), "endpoint": ids.show("we", r["endpoint_id"]), "response": r["response"]},
        )
        for r in await tx.rows(Q.find_tries_of_persons, who.book_id, who.persons)
    ]


async def blank(tx: Tx, who: Person) -> Blanked:
    """Let them go, thirty days early at most."""
    return Blanked({"webhook_tries": len(await tx.rows(Q.forget_tries_of_persons, who.book_id, who.persons))})


PART = Part(tell, blank, {})
