"""What the worker does for the book: it seals, gives back what expired holds reserved, and makes the partitions of months to come."""

from guilder.ledger import holds, seal
from guilder.platform import telemetry
from guilder.platform.db import Tx
from guilder.platform.environment import Env
from guilder.platform.jobs import Loop
from guilder.platform.sql import load

Q = load(__package__)


async def seal_books(rt: Env) -> int:
    """Seal what has been committed, and say how old the oldest unsealed journal is."""
    entries = await seal.seal(rt.db)
    telemetry.UNSEALED_AGE.labels(rt.name).set(await seal.unsealed_age_s(rt.db))
    return entries


async def expire_holds(rt: Env) -> int:
    """Give back what holds reserve whose time is over."""
    return await holds.expire_due(rt.db)


async def grow(rt: Env) -> int:
    """Make the partitions of the next three months, if they are not there; how many."""

    async def work(tx: Tx) -> int:
        return int(await tx.value(Q.grow))

    return await rt.db.transact(work)


LOOPS = (
    Loop("ledger.seal", 1.0, seal_books),
    Loop("ledger.grow", 3600.0, grow),
    Loop("ledger.expire", 5.0, expire_holds, full=holds.AT_ONCE),
)
