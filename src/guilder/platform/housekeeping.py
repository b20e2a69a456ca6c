"""What must not grow for ever: old answers, marks, finished jobs and takes go, and partitions whose rule keeps them no longer."""

from typing import Any

from guilder.platform import counters, storage, telemetry
from guilder.platform.db import Tx
from guilder.platform.jobs import Loop
from guilder.platform.sql import load

Q = load(__package__)
FORGET_ANSWERS = 5000  # at once


async def forget(rt: Any) -> int:
    """Remove what its rule keeps no longer; how many answers there were."""

    async def work(tx: Tx) -> int:
        await tx.run(Q.forget_commit_marks)
        await tx.run(Q.forget_jobs)
        await tx.run(Q.forget_runners)
        return len(await tx.rows(Q.forget_answers, FORGET_ANSWERS))

    return await rt.db.transact(work, durable=False)


async def forget_takes(rt: Any) -> int:
    """Remove what no window of a counter reaches."""
    return await rt.db.transact(counters.forget)


async def measure(rt: Any) -> int:
    """How old the oldest event is that a subscriber has yet to hear of."""
    row = await rt.db.row(Q.count_outbox)
    telemetry.OUTBOX_AGE.labels(rt.name).set(row["age_s"])
    return 0


LOOPS = (
    Loop("platform.forget", 300, forget, full=FORGET_ANSWERS),
    Loop("platform.forget_takes", 300, forget_takes, full=counters.FORGET_COUNTERS),
    Loop("platform.grow", 3600, storage.grow),
    Loop("platform.drop", 3600, storage.drop),
    Loop("platform.measure", 5, measure),
)
# The control database has no payments, so nothing of theirs to look after; but answers to keys it has.
CONTROL_LOOPS = (Loop("platform.forget", 300, forget, full=FORGET_ANSWERS),)
