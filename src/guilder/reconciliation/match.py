"""Match: every line and every record of ours of a day gets exactly one outcome, in one SQL statement (R1, R2, R5)."""

from datetime import date, timedelta
from uuid import UUID

from guilder.core import clock
from guilder.merchants.channel_accounts import ChannelAccount
from guilder.platform import context
from guilder.platform.db import Tx, plan_freely
from guilder.platform.environment import Env
from guilder.platform.sql import load
from guilder.reconciliation.days import CUTOVER, bounds

Q = load(__package__)
NEXT = timedelta(days=1)


async def match(rt: Env, account: ChannelAccount, day: date, statement_id: UUID, currency: str) -> None:
    """Match a statement that is imported; one that is matched, or that no longer counts, is left as it is."""
    start, end = bounds(account.info, day)

    async def work(tx: Tx) -> None:
        await plan_freely(tx)
        await tx.run(Q.take_turn, account.id)
        counts = await tx.row(Q.find_statement, account.id, day)
        if counts is None or counts["id"] != statement_id or counts["matched_at"] is not None:
            return
        before = await tx.value(Q.is_reconciled, account.id, day - NEXT)
        after = await tx.value(Q.is_reconciled, account.id, day + NEXT)
        ours = await tx.row(
            Q.match_day, account.book_id, statement_id, account.id, start, end, day, CUTOVER, before, after, currency,
            context.current().root_id,
        )  # fmt: skip
        assert ours is not None
        at = clock.now()
        await tx.run(Q.settle_earlier, account.book_id, account.id, statement_id, at, day)
        await tx.run(Q.keep_decided, account.id, statement_id, at)
        await tx.run(
            Q.finish_statement, account.book_id, statement_id,
            ours["payments"], ours["paid"], ours["refunds"], ours["refunded"], at,
        )  # fmt: skip

    await rt.db.transact(work, lock_timeout_ms=60_000)
