"""What the worker looks after beside the courier: how far behind we are, and forgetting."""

from prometheus_client import Gauge

from guilder.core import clock
from guilder.platform.db import Tx, plan_freely
from guilder.platform.environment import Env
from guilder.platform.jobs import Loop
from guilder.platform.sql import load

Q = load(__package__)
BATCH = 5000

DUE = Gauge("guilder_webhooks_due", "Deliveries that are due now", ["env"], multiprocess_mode="livemax")
DUE_AGE = Gauge(
    "guilder_webhooks_due_age_seconds", "Age of the longest overdue delivery", ["env"], multiprocess_mode="livemax"
)


async def measure(env: Env) -> int:
    """Look how much is due, and since when."""
    row = await env.db.row(Q.measure_backlog, clock.now())
    if row is not None:
        DUE.labels(env.name).set(row["pending"])
        DUE_AGE.labels(env.name).set(row["age_s"])
    return 0


async def forget(env: Env) -> int:
    """Drop deliveries and their tries that their rule keeps no longer; how many."""

    async def work(tx: Tx) -> int:
        await plan_freely(tx)  # an index of block ranges finds them, which pinned plans never use
        await tx.run(Q.forget_tries, BATCH)
        return len(await tx.rows(Q.forget_deliveries, BATCH))

    return await env.db.transact(work)


LOOPS = [Loop("notify.measure", 15, measure), Loop("notify.forget", 3600, forget, full=BATCH)]
