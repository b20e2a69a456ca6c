"""What was: balances as of any instant, statements with running balances, trial balances, journals taken back.

Two times.  A journal is *booked* when it is written: its id tells, and balances of the past go by that.  It says when the money *moved*
(`at`): closings and effective balances go by that, and nothing booked is rewritten when something is dated back.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from guilder.core import clock, ids
from guilder.core.errors import Invalid, NotFound, Rejected
from guilder.ledger.chart import Account
from guilder.ledger.model import Journal, Posted, Transfer
from guilder.ledger.posting import post
from guilder.platform import context
from guilder.platform.db import Database, Row, Tx, plan_freely
from guilder.platform.sql import load

Q = load(__package__)
LOWEST = UUID(int=0)
HIGHEST = UUID(int=(1 << 128) - 1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Standing:
    """What an account stood at: credits - debits, and how much of it was held."""

    balance: int
    held: int


class Archived(Rejected):
    """What is asked for lies in a month that was detached: attach it to read it."""

    code = "ledger_month_archived"


async def attached(db: Database, book_id: UUID, since: datetime | UUID) -> None:
    """See that what was booked since an instant or an id is in the book.  Raises Archived."""
    cut = await db.row(Q.archived_until, book_id)
    if cut is not None and (since if isinstance(since, UUID) else first_id(since)) < cut["until"]:
        raise Archived(_archived("booked", moment(cut["until"])))


def _archived(what: str, began: datetime) -> str:
    return f"What was {what} before {began:%Y-%m-%d %H:%M} UTC in this book is archived; `guilder storage attach` brings a month back."


async def balance_at(db: Database, book_id: UUID, account: Account, at: datetime) -> Standing:
    """What an account stood at, by what had been booked before `at`.  One row of an index, however long its history.  Raises Archived."""
    await attached(db, book_id, at)
    row = await db.row(Q.standing_at, book_id, account.id(book_id), first_id(at))
    return Standing(0, 0) if row is None else Standing(row["balance"], row["held"])


async def effective_balance_at(db: Database, book_id: UUID, account: Account, at: datetime) -> int:
    """What an account stood at by when the money moved: what the last closed period left, and what is dated since.  Raises Archived."""
    cut = await db.row(Q.archived_until, book_id)
    if cut is not None and at < cut["closed"]:
        raise Archived(_archived("dated", cut["closed"].astimezone(UTC)))

    async def work(tx: Tx) -> int:
        await plan_freely(tx)
        return int(await tx.value(Q.effective_balance, book_id, account.id(book_id), at) or 0)

    return await db.transact(work, durable=False)


async def statement(
    db: Database,
    book_id: UUID,
    account: Account,
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    after: tuple[UUID, int] | None = None,
    limit: int = 100,
) -> list[Row]:
    """Lines of an account in the order in which they were booked, each with the balance after it.

    `after` is the (journal_id, line) of the last line of the page before.  Rows: journal_id, line, booked_at, at, key, rule, kind, other
    (the other end's code, if any), units (+ credited, - debited; of holds what `held` changes by), balance, held.  Without `since` it
    begins with the first month that is not archived.  Raises Archived.
    """
    begins = since if after is None else after[0]
    if begins is not None:
        await attached(db, book_id, begins)
    low = LOWEST if since is None else first_id(since)
    high = HIGHEST if until is None else first_id(until)
    journal, line = after or (LOWEST, -1)
    return await db.rows(Q.statement, book_id, account.id(book_id), low, high, journal, line, limit)


async def trial_balance(db: Database, book_id: UUID | None = None) -> list[Row]:
    """Balances by head of account and asset: code, asset, normal, accounts, debit, credit (units, the side it stands on), held.

    Of one book, or of all books together (consolidated): what books owe each other on clearing accounts adds up to nothing there.
    """

    async def work(tx: Tx) -> list[Row]:
        await plan_freely(tx)
        return await tx.rows(Q.trial_balance, book_id)

    return await db.transact(work, durable=False)


async def reverse(tx: Tx, book_id: UUID, journal_id: UUID, *, note: str = "") -> Posted:
    """Take a journal back by its mirror, once: a second time is `exists`.  It is dated now, and names what it reverses.

    Raises NotFound, Archived, Invalid.  What did something to holds is not taken back like this: release or capture them.
    """
    rows = await tx.rows(Q.lines_of_journal, book_id, journal_id)
    if not rows:
        cut = await tx.row(Q.archived_until, book_id)
        if cut is not None and journal_id < cut["until"]:
            raise Archived(_archived("booked", moment(cut["until"])))
        raise NotFound("There is no such journal in this book.")
    if any(r["kind"] != "move" for r in rows):
        raise Invalid("A journal of holds has no mirror: release what it holds, or move back what it captured.")
    if any(code.startswith("clearing:") for r in rows for code in (r["debit"], r["credit"])):
        raise Invalid(
            "A journal between two books has its other half in the other one: post what it takes to both of them."
        )
    first = rows[0]
    mirror = tuple(
        Transfer(Account(r["credit"], r["asset"]), Account(r["debit"], r["asset"]), r["units"]) for r in rows
    )
    journal = Journal(
        book_id, f"reverse:{first['key']}", "reversal", mirror, first["about"], clock.now(), context.current().root_id,
        first["business_line"], reverses=journal_id, note=note,
    )  # fmt: skip
    [posted] = await post(tx, [journal])
    return posted


def moment(id: UUID) -> datetime:
    """The instant of an id."""
    return EPOCH + timedelta(milliseconds=id.int >> 80)


def first_id(at: datetime) -> UUID:
    """The lowest id of an instant."""
    return ids.of_int((at - EPOCH) // timedelta(milliseconds=1) << 80)
