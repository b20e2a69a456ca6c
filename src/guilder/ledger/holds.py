"""Holds whose time is over: what remains of them is given back, by journals like any other."""

from datetime import datetime

from guilder.core import clock, ids
from guilder.ledger.chart import Account
from guilder.ledger.model import Code, Journal, expire
from guilder.ledger.posting import post
from guilder.platform import context
from guilder.platform.db import Database, Tx
from guilder.platform.sql import load

Q = load(__package__)
AT_ONCE = 1000


async def expire_due(db: Database, now: datetime | None = None) -> int:
    """Expire up to AT_ONCE holds; how many were due.

    Whoever captures or releases one meanwhile is before or after: `post` decides under the book's lock, and a hold that ended leaves a
    refused key.  Nobody waits for this: an expired hold cannot be captured, swept or not (I13).
    """
    at = now or clock.now()
    due = await db.rows(Q.expired_holds, at, AT_ONCE)
    if not due:
        return 0
    root = context.current().root_id
    journals = [
        Journal(
            r["book_id"], f"expire:{ids.text(r['id'])}", "hold_expired",
            (expire(r["id"], Account(r["code"], r["asset"])),), r["id"], at, root, carried=True,
        )
        for r in due
    ]  # fmt: skip

    async def work(tx: Tx) -> list[Code]:
        return [p.code for p in await post(tx, journals, now=at)]

    await db.transact(work)
    return len(due)
