"""Accounts of a merchant's own: what the chart does not have, opened by hand, under codes that begin with `x:`.

The chart's accounts are posted to by what they are for, payments, and by nobody else; a merchant's journals move units between accounts of
its own.
"""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from guilder.core import ids
from guilder.core.errors import Invalid
from guilder.ledger.chart import Account
from guilder.ledger.model import Code, Posted
from guilder.platform import trail
from guilder.platform.db import Row, Tx
from guilder.platform.sql import load

Q = load(__package__)


async def open_own(
    tx: Tx, book_id: UUID, account: Account, normal: Literal["debit", "credit"], floor: int | None
) -> Row:
    """Open an account, or find it as it was opened.  Raises Invalid if it was opened with another side or floor."""
    id = account.id(book_id)
    rows = await tx.rows(Q.lock_books, [book_id], [book_id], [id], [], [], [], [])
    last = next(r["id"].int for r in rows if r["what"] == "head")
    await tx.value(
        Q.open_accounts, [book_id], [id], [account.code], [account.asset], [normal], [floor], UUID(int=max(last + 1, ids.new_id().int))
    )  # fmt: skip
    row = await tx.row(Q.find_account, book_id, id)
    if row is None or (row["normal"], row["floor"]) != (normal, floor):
        raise Invalid(
            f"The account {account.code} of {account.asset} exists with another side or floor; these never change.",
            param="code",
        )
    return row


def note(tx: Tx, book_id: UUID, action: str, posted: Sequence[Posted]) -> None:
    """One row of the trail for journals that a person or program had posted, however many; none if nothing moved."""
    made = [p.journal_id for p in posted if p.code is Code.CREATED and p.journal_id is not None]
    if made:
        said = {"journals": len(made), "first": ids.show("jl", made[0]), "last": ids.show("jl", made[-1])}
        trail.note(tx, action, ids.show("acct", book_id), book_id=book_id, after=said)
