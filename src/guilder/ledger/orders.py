"""Posting orders: what one book owes another is posted there soon after, many at a time, and not in the commit that owes it.

    charge   merchant's book   payable -> clearing:<platform>     what bears on what the merchant may spend: in the payment's commit
    order                      post `fee:…` in the platform's book, from clearing:<merchant> to fees: written in that commit, too
    fee      platform's book   clearing:<merchant> -> fees        by a worker, some tenths of a second later; the order goes with it

A payment so waits for its own book alone, and not for everybody else's payments at the platform's head (ADR 12).

    L9  PostgreSQL lets no batch move a clearing account by anything but what it orders, or posts of orders, or moves in both books: at every
        commit all clearing accounts and open orders add up to nothing.  Nothing is lost, and nothing comes twice.
"""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from guilder.core import ids
from guilder.ledger.chart import Account, clearing
from guilder.ledger.model import Code, Journal, Transfer
from guilder.ledger.posting import post
from guilder.platform import case
from guilder.platform.case import Case
from guilder.platform.db import Database, Row, Tx
from guilder.platform.sql import load

Q = load(__package__)
AT_ONCE = 1000  # orders of a transaction
ASIDE_S = 600  # one that was refused is tried again after this
Refused = list[tuple[Row, Code]]


class _Undone(Exception):
    """Ends a batch of which something was refused: the key of a refused journal would be used up for ever."""

    def __init__(self, refused: Refused) -> None:
        self.refused = refused


async def post_due(db: Database) -> int:
    """Post what is ordered, the books side by side; how many orders that were.  Any number of workers may."""
    books = [r["book_id"] for r in await db.rows(Q.ordered_books)]
    return sum(await asyncio.gather(*(_post_in(db, book) for book in books)))


async def _post_in(db: Database, book_id: UUID) -> int:
    try:
        return await db.transact(lambda tx: post_ordered(tx, book_id))
    except _Undone as undone:
        refused = undone.refused
    await db.transact(lambda tx: _put_aside(tx, book_id, refused))
    return len(refused)


async def post_ordered(tx: Tx, book_id: UUID, most: int = AT_ONCE) -> int:
    """Post the oldest orders of a book that nobody else is about; how many."""
    orders = await tx.rows(Q.take_orders, book_id, most)
    posted = await post(tx, [journal_of(o) for o in orders])
    refused = [(o, p.was or p.code) for o, p in zip(orders, posted, strict=True) if p.code is not Code.CREATED]
    if refused:
        raise _Undone(refused)
    return len(orders)


def journal_of(order: Row) -> Journal:
    """The journal that is ordered.  Its money has moved: in a closed period it is booked on the first open instant."""
    move = Transfer(
        clearing(order["from_book"], order["asset"]), Account(order["credit"], order["asset"]), order["units"]
    )
    return Journal(
        order["book_id"], order["key"], order["rule"], (move,), order["about"], order["at"], order["root_id"],
        order["business_line"], carried=True,
    )  # fmt: skip


async def _put_aside(tx: Tx, book_id: UUID, refused: Refused) -> None:
    """Leave the rest to go on without them; a person has to look."""
    await tx.run(Q.put_orders_aside, book_id, *_columns(refused), ASIDE_S)
    case.open_many(tx, [_case(order, code) for order, code in refused])


def _columns(refused: Sequence[tuple[Row, Code]]) -> tuple[list[str], list[str]]:
    return [order["key"] for order, _ in refused], [code.value for _, code in refused]


def _case(order: Row, code: Code) -> Case:
    evidence = {
        "code": code.value,
        "units": order["units"],
        "asset": order["asset"],
        "from": ids.text(order["from_book"]),
    }
    summary = (
        f"the book refuses what another one has ordered ({code.value}); it is tried again every {ASIDE_S // 60} minutes"
    )
    return Case(order["book_id"], "posting_order_refused", order["key"], summary, evidence)
