"""Background work: loops that sweep, and jobs that are due at a time.

A loop claims rows of its own tables (SKIP LOCKED, the lease on the row itself) and says how many it handled; it comes again at once
after a full batch.  A job is a row (kind, key): made once however often it is asked for, run by one worker at a time under a lease
with a fencing number, again later if it raises.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from guilder.core import clock
from guilder.platform import context, telemetry
from guilder.platform.db import Database, DatabaseError, Tx
from guilder.platform.sql import load

Q = load(__package__)
log = logging.getLogger("guilder.jobs")
LEASE_S = 120


@dataclass(frozen=True, slots=True)
class Loop:
    """Something to look after every `every_s`; `run(env)` answers how much there was to do."""

    name: str
    every_s: float
    run: Callable[[Any], Awaitable[int]]
    full: int = 1 << 30  # this many or more: come again at once


@dataclass(frozen=True, slots=True)
class Job:
    """One claimed job."""

    kind: str
    key: str
    payload: dict[str, Any]
    fence: int
    tries: int
    root_id: UUID


@dataclass(frozen=True, slots=True)
class Kind:
    """How jobs of one kind are run: `run(env, job)`; it may raise, and comes again after `retry_s` (the last one repeats)."""

    name: str
    run: Callable[[Any, Job], Awaitable[None]]
    retry_s: tuple[int, ...] = (10, 60, 600, 3600)


class Later(Exception):
    """Raised by a job that is not due yet after all."""

    def __init__(self, at: datetime, why: str) -> None:
        self.at = at
        super().__init__(why)


async def put(tx: Tx, kind: str, key: str, at: datetime, payload: dict[str, Any] | None = None) -> None:
    """Ask for a job; asking again for the same (kind, key) changes nothing."""
    body = msgspec.json.encode(payload or {}).decode()
    await tx.run(Q.put_job, kind, key, body, at, context.current().root_id)


async def run_due(env: Any, db: Database, kinds: Sequence[Kind], limit: int = 8) -> int:
    """Run the jobs that are due; how many there were."""
    by_name = {k.name: k for k in kinds}

    async def claim(tx: Tx) -> list[Job]:
        rows = await tx.rows(Q.claim_jobs, list(by_name), limit, LEASE_S)
        return [
            Job(r["kind"], r["key"], msgspec.json.decode(r["payload"]), r["fence"], r["tries"], r["root_id"])
            for r in rows
        ]

    claimed = await db.transact(claim)
    await asyncio.gather(*(_run(env, db, by_name[j.kind], j) for j in claimed))
    return len(claimed)


async def _run(env: Any, db: Database, kind: Kind, job: Job) -> None:
    with context.use(context.carry_on(job.root_id, actor=f"job:{job.kind}", env=db.name)):
        try:
            await kind.run(env, job)
        except Later as later:
            at, why = later.at, str(later)
        except Exception as error:
            log.exception("job %s %s failed", job.kind, job.key)
            at, why = (
                clock.now() + timedelta(seconds=kind.retry_s[min(job.tries, len(kind.retry_s)) - 1]),
                repr(error)[:500],
            )
        else:
            await db.transact(lambda tx: tx.run(Q.finish_job, job.kind, job.key, job.fence))
            return
        await db.transact(lambda tx: tx.run(Q.postpone_job, job.kind, job.key, job.fence, at, why))


async def keep(loop: Loop, env: Any) -> None:
    """Run a loop for ever.  What it raises is logged, and it goes on."""
    while True:
        done = 0
        try:
            with context.use(context.mint(actor=f"loop:{loop.name}", env=getattr(env, "name", ""))):
                done = await loop.run(env)
            if done:
                telemetry.SWEPT.labels(loop.name).inc(done)
        except DatabaseError as error:
            log.warning("loop %s: %s", loop.name, error)
        except Exception:
            log.exception("loop %s failed", loop.name)
        if done < loop.full:
            await asyncio.sleep(loop.every_s * random.uniform(0.9, 1.1))  # noqa: S311 - spread, not secrecy
