"""The daily job: each channel account's day, as soon as the channel gives its file."""

from datetime import date, datetime, timedelta
from uuid import UUID

from guilder.channels.model import StatementError, StatementProblem
from guilder.core import clock
from guilder.merchants import channel_accounts
from guilder.platform import jobs
from guilder.platform.db import Tx
from guilder.platform.environment import Env
from guilder.platform.jobs import Job, Kind, Later, Loop
from guilder.reconciliation.days import due
from guilder.reconciliation.reconcile import reconcile

KIND = "reconcile"
COME_BACK = timedelta(minutes=15)


async def put_due(rt: Env, now: datetime | None = None) -> int:
    """Ask for the days that are due; those that were asked for already change nothing."""
    now = now or clock.now()
    wanted = [(a.id, d) for a in await channel_accounts.all_enabled(rt) for d in due(a.info, a.id, now)]

    async def put(tx: Tx) -> None:
        for id, day in wanted:
            await jobs.put(tx, KIND, f"{id}:{day}", now)

    if wanted:
        await rt.db.transact(put)
    return 0


async def run(rt: Env, job: Job) -> None:
    """Reconcile a day.  A file that is not ready, or cannot be had, is come back for."""
    id, _, day = job.key.partition(":")
    account = await channel_accounts.get(rt, UUID(id))
    if account is None:
        return
    try:
        await reconcile(rt, account, date.fromisoformat(day))
    except StatementError as error:
        if error.problem in (StatementProblem.NOT_READY, StatementProblem.UNKNOWN):
            raise Later(clock.now() + COME_BACK, str(error)) from error
        raise


KINDS: tuple[Kind, ...] = (Kind(KIND, run, retry_s=(600, 3600)),)
LOOPS: tuple[Loop, ...] = (Loop("reconciliation.due", 60, put_due),)
