"""Take a merchant in."""

from uuid import UUID

from guilder.core import ids
from guilder.merchants.keys import audit
from guilder.platform.db import Database, Row, Tx
from guilder.platform.sql import load

Q = load(__package__)


async def onboard(
    tx: Tx, name: str, *, country: str = "CN", business_line: str = "", late_success: str = "refund"
) -> UUID:
    """Make a merchant; its id is also its book's.  In the control database.

    Raises Conflict in the one case of a billion that its book's six characters are taken: run it again.
    """
    id = ids.new_id()
    await tx.run(Q.insert_merchant, id, ids.book_code(id), name, country, business_line, late_success)
    await audit(tx, "merchant.onboarded", ids.show("acct", id), {"name": name})
    return id


async def everybody(control: Database) -> list[Row]:
    """All merchants, oldest first."""
    return await control.rows(Q.list_merchants)
