"""What the worker looks after beside the courier: how far behind we are, and forgetting."""

from datetime import timedelta

from prometheus_client import Gauge

from guilder.core import clock
from guilder.platform.db import Tx
from guilder.platform.environment import Env
from guilder.platform.jobs import Loop
from guilder.platform.sql import load

Q = load(__package__)
KEPT_DAYS = 30  # as long as Stripe keeps events
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
    """Drop deliveries and their tries when they are KEPT_DAYS old; how many."""
    before = clock.now() - timedelta(days=KEPT_DAYS)

    async def work(tx: Tx) -> int:
        await tx.run(Q.forget_tries, before, BATCH)
        return len(await tx.rows(Q.forget_deliveries, before, BATCH))

    return await env.db.transact(work)


LOOPS = [Loop("notify.measure", 15, measure), Loop("notify.forget", 3600, forget, full=BATCH)]
