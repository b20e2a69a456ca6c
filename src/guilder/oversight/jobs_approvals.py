"""What the worker looks after of approvals: that their time ends, and how many are open."""

from prometheus_client import Gauge

from guilder.platform import approval, deciding
from guilder.platform.environment import Env
from guilder.platform.jobs import Loop

BATCH = 200
OPEN = Gauge("guilder_approvals_open", "Approvals that wait for somebody", ["env", "kind"], multiprocess_mode="livemax")


async def expire(rt: Env) -> int:
    """End those whose time is over; how many."""
    return await rt.db.transact(lambda tx: deciding.expire(tx, BATCH))


async def measure(rt: Env) -> int:
    """Look how many are open, of each kind."""
    there = await approval.count_open(rt.db)
    for kind in (*approval.kinds(), *there):
        OPEN.labels(rt.name, kind).set(there.get(kind, 0))
    return 0


LOOPS = (Loop("approvals.expire", 5, expire, full=BATCH), Loop("approvals.measure", 15, measure))
