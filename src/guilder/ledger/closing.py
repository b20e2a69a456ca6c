"""Close accounts and periods: journals that move nothing, and decide what may move.

A period ends at an instant; whatever moved before that instant (`Journal.at`) is closed for good, and what each account stood at is kept
(ledger.closing).  Corrections are journals of the open period: history is never rewritten.
"""

from datetime import date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from guilder.core import clock, ids
from guilder.core.errors import Invalid
from guilder.ledger.chart import Account
from guilder.ledger.model import Code, Journal, Posted
from guilder.ledger.posting import post
from guilder.platform import context, trail
from guilder.platform.db import Database, Row, Tx, plan_freely
from guilder.platform.sql import load

Q = load(__package__)


def end_of(period: str, zone: str) -> datetime:
    """The first instant after an accounting day '2026-10-31' or month '2026-10' of a zone.  Raises Invalid."""
    try:
        if len(period) == len("2026-10"):
            first = date.fromisoformat(f"{period}-01")
            following = (first + timedelta(days=31)).replace(day=1)
        else:
            following = date.fromisoformat(period) + timedelta(days=1)
    except ValueError as error:
        raise Invalid(f"{period!r} is no accounting day (2026-10-31) and no month (2026-10).") from error
    try:
        return datetime(following.year, following.month, following.day, tzinfo=ZoneInfo(zone))
    except ZoneInfoNotFoundError as error:
        raise Invalid(
            f"This machine does not know the zone {zone}: install its time zone data (Debian: tzdata)."
        ) from error


async def close_period(tx: Tx, book_id: UUID, until: datetime) -> Posted:
    """Close everything of a book that moved before `until`.  `dated_ahead` while the period is not over."""
    [posted] = await post(tx, [_decision(book_id, f"close:{until.timestamp():.0f}", "period_closed", book_id, until)])
    if posted.code is Code.CREATED:
        trail.note(
            tx, "ledger.period_closed", ids.show("acct", book_id), book_id=book_id, after={"until": until.isoformat()}
        )
    return posted


async def close_account(tx: Tx, book_id: UUID, account: Account, *, reopen: bool = False) -> Posted:
    """Close an account without balance and holds (or open it again): a closed one takes nothing."""
    id = account.id(book_id)
    rule = "account_opened" if reopen else "account_closed"
    [posted] = await post(tx, [_decision(book_id, f"{rule}:{ids.text(ids.new_id())}", rule, id, clock.now())])
    if posted.code is Code.CREATED:
        trail.note(tx, f"ledger.{rule}", ids.show("la", id), book_id=book_id, after={"code": account.code})
    return posted


def _decision(book_id: UUID, key: str, rule: str, about: UUID, at: datetime) -> Journal:
    return Journal(book_id, key, rule, (), about, at, context.current().root_id)


async def closings(db: Database, book_id: UUID, until: datetime) -> list[Row]:
    """What a closed period did to each account: code, asset, normal, opening, debits, credits, balance."""
    return await db.rows(Q.closings, book_id, until)


async def in_period(db: Database, book_id: UUID, since: datetime | None, until: datetime) -> list[Row]:
    """The same of a period that need not be closed; `since` is the end of a closed one, or None for ever."""

    async def work(tx: Tx) -> list[Row]:
        await plan_freely(tx)
        return await tx.rows(Q.period, book_id, since, until)

    return await db.transact(work, durable=False)
