"""Take a merchant in, and say what it pays for being here."""

from uuid import UUID

from guilder.core import ids
from guilder.core.errors import Invalid, NotFound
from guilder.platform import trail
from guilder.platform.db import Database, Row, Tx
from guilder.platform.environment import Env
from guilder.platform.sql import load

Q = load(__package__)
ALL_BPS = 10_000  # hundredths of a percent: everything


async def onboard(
    tx: Tx, name: str, *, country: str = "CN", business_line: str = "", late_success: str = "refund"
) -> UUID:
    """Make a merchant; its id is also its book's.  In the control database.

    Raises Conflict in the one case of a billion that its book's six characters are taken: run it again.
    """
    id = ids.new_id()
    await tx.run(Q.insert_merchant, id, ids.book_code(id), name, country, business_line, late_success)
    trail.note(tx, "merchant.onboarded", ids.show("acct", id), book_id=id, after={"name": name})
    return id


async def set_fee(tx: Tx, merchant_id: UUID, bps: int) -> None:
    """What the platform keeps of each charge from now on, in hundredths of a percent.  In the control database; every process knows within a
    second.  Raises Invalid, NotFound."""
    if not 0 <= bps <= ALL_BPS:
        raise Invalid(f"A fee is 0 to {ALL_BPS} hundredths of a percent of a charge, not {bps}.", param="fee_bps")
    was = await tx.value(Q.lock_fee, merchant_id)
    if was is None:
        raise NotFound("No such merchant.")
    await tx.run(Q.set_fee, merchant_id, bps)
    shown = ids.show("acct", merchant_id)
    trail.note(tx, "merchant.fee_set", shown, book_id=merchant_id, before={"fee_bps": was}, after={"fee_bps": bps})


async def find(env: Env, id: UUID) -> Row | None:
    """A merchant, as known since the last change."""

    async def load() -> Row | None:
        return await env.control.row(Q.find_merchant, id)

    return await env.cache.get(("merchant", id), load)


async def everybody(control: Database) -> list[Row]:
    """All merchants, oldest first."""
    return await control.rows(Q.list_merchants)
