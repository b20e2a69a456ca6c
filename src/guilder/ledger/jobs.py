"""What the worker does for the book: it posts what is ordered, seals, and gives back what expired holds reserved."""

from guilder.ledger import holds, orders, seal
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


async def post_orders(rt: Env) -> int:
    """Post what books owe each other."""
    return await orders.post_due(rt.db)


async def measure_orders(rt: Env) -> int:
    """How many orders wait, and for how long."""
    [row] = await rt.db.rows(orders.Q.measure_orders)
    telemetry.ORDERS.labels(rt.name).set(row["n"])
    telemetry.ORDERS_AGE.labels(rt.name).set(row["age_s"])
    return 0


LOOPS = (
    Loop("ledger.orders", 0.5, post_orders, full=orders.AT_ONCE),
    Loop("ledger.measure_orders", 5.0, measure_orders),
    Loop("ledger.seal", 1.0, seal_books),
    Loop("ledger.expire", 5.0, expire_holds, full=holds.AT_ONCE),
)
