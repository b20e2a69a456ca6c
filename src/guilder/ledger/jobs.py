"""What the worker does for the book: it seals, and gives back what expired holds reserved."""

from guilder.ledger import holds, seal
from guilder.platform import telemetry
from guilder.platform.environment import Env
from guilder.platform.jobs import Loop


async def seal_books(rt: Env) -> int:
    """Seal what has been committed, and say how old the oldest unsealed journal is."""
    entries = await seal.seal(rt.db)
    telemetry.UNSEALED_AGE.labels(rt.name).set(await seal.unsealed_age_s(rt.db))
    return entries


async def expire_holds(rt: Env) -> int:
    """Give back what holds reserve whose time is over."""
    return await holds.expire_due(rt.db)


LOOPS = (
    Loop("ledger.seal", 1.0, seal_books),
    Loop("ledger.expire", 5.0, expire_holds, full=holds.AT_ONCE),
)
