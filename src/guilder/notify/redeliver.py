"""Redeliver: send again what a merchant lost, or has never had."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from guilder.core import ids
from guilder.core.errors import GuilderError, NotFound, WrongState
from guilder.notify.endpoints import no_such_endpoint
from guilder.notify.fan_out import WAKE
from guilder.platform.db import Tx
from guilder.platform.sql import load

Q = load(__package__)
log = logging.getLogger("guilder.notify")
MOST = 1000  # deliveries that one request sets going


@dataclass(frozen=True, slots=True)
class Ask:
    """One event, or what of a time was never delivered."""

    book_id: UUID
    endpoint_id: UUID
    at: datetime
    event_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


async def redeliver_many(tx: Tx, asks: Sequence[Ask]) -> list[int | GuilderError]:
    """Start deliveries anew, their schedule from its beginning.  Answers how many, up to MOST; oldest first.

    A person asks for this: each item is a statement of its own.
    """
    rows = await tx.rows(Q.lock_endpoints, [a.book_id for a in asks], [a.endpoint_id for a in asks])
    status = {(r["book_id"], r["id"]): r["status"] for r in rows}
    results: list[int | GuilderError] = []
    for a in asks:
        match status.get((a.book_id, a.endpoint_id)):
            case None:
                results.append(no_such_endpoint(ids.show("we", a.endpoint_id)))
            case "disabled":
                results.append(
                    WrongState("This webhook endpoint is disabled. Enable it first.", code="webhook_endpoint_disabled")
                )
            case _:
                results.append(await _redeliver(tx, a))
    for a, r in zip(asks, results, strict=True):
        if isinstance(r, int):
            log.info("redelivery to %s: %d deliveries", ids.show("we", a.endpoint_id), r)
            tx.wakes.add(WAKE)
    return results


async def _redeliver(tx: Tx, a: Ask) -> int | GuilderError:
    if a.event_id is None:
        return len(await tx.rows(Q.redeliver_range, a.book_id, a.endpoint_id, a.since, a.until, a.at, MOST))
    if not await tx.rows(Q.redeliver_event, a.book_id, a.endpoint_id, a.event_id, a.at):
        return NotFound(f"No such event: '{ids.show('evt', a.event_id)}'", param="event")
    return 1
