"""Fetch: the channel's file of a day, over the wire."""

from collections.abc import Iterator
from datetime import date
from hashlib import sha256
from typing import Any

from guilder.channels.model import FetchStatement, Statement, StatementError, StatementLine, StatementProblem, Totals
from guilder.core import clock, ids
from guilder.merchants.channel_accounts import ChannelAccount
from guilder.platform import case
from guilder.platform.case import Case
from guilder.platform.environment import Env
from guilder.platform.wire import About
from guilder.reconciliation.days import ready_at


async def fetch(rt: Env, account: ChannelAccount, day: date) -> Statement:
    """The verified file; of a day without trade one without lines.

    "There is none" is believed only once the channel's hour has come: before it, some channels say so of any day.

    Raises StatementError: NOT_READY and UNKNOWN come back later, CORRUPT leaves a case (R4).
    """
    about = About(account.book_id, account.id, account.info.code, "statement")
    try:
        return await rt.wire.carry_out(account.channel.statement(FetchStatement(day)), about)
    except StatementError as error:
        if error.problem is StatementProblem.EMPTY_DAY:
            if clock.now() < ready_at(account.info, day):
                raise StatementError(StatementProblem.NOT_READY, str(error)) from error
            return _empty(account, day)
        if error.problem is StatementProblem.CORRUPT:
            await note_corrupt(rt, account, day, error)
        raise


async def note_corrupt(rt: Env, account: ChannelAccount, day: date, error: StatementError) -> None:
    """A person must see that the channel gave a file that cannot be believed."""
    evidence: dict[str, Any] = {"channel_account": ids.show("ca", account.id), "day": str(day), "error": str(error)}
    summary = f"{account.info.code} gave a file of {day} that cannot be believed: {error}"
    found = Case(account.id, "statement_corrupt", f"{ids.show('ca', account.id)} {day}", summary, evidence)
    await case.open_one(rt.db, found)


def _empty(account: ChannelAccount, day: date) -> Statement:
    none: Iterator[StatementLine] = iter(())
    return Statement(day, min(account.info.currencies), 2, Totals(0, 0, 0, 0, 0), b"", sha256(b"").hexdigest(), none)
