"""What must not grow for ever: old answers, marks, finished jobs and takes go."""

from typing import Any

from guilder.platform import counters, telemetry
from guilder.platform.db import Tx
from guilder.platform.jobs import Loop
from guilder.platform.sql import load

Q = load(__package__)


async def forget(rt: Any) -> int:
    """Remove what its retention rule says is old."""

    async def work(tx: Tx) -> None:
        await tx.run(Q.forget_commit_marks)
        await tx.run(Q.forget_answers, rt.settings.answers_kept_days)
        await tx.run(Q.forget_jobs)
        await tx.run(Q.forget_runners)

    await rt.db.transact(work)
    return 0


async def forget_takes(rt: Any) -> int:
    """Remove what no window of a counter reaches."""
    return await rt.db.transact(counters.forget)


async def measure(rt: Any) -> int:
    """How old the oldest event is that a subscriber has yet to hear of."""
    row = await rt.db.row(Q.count_outbox)
    telemetry.OUTBOX_AGE.labels(rt.name).set(row["age_s"])
    return 0


LOOPS = (
    Loop("platform.forget", 300, forget),
    Loop("platform.forget_takes", 300, forget_takes, full=counters.FORGET_COUNTERS),
    Loop("platform.measure", 5, measure),
)
