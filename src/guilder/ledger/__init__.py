"""The book: every unit that moves, moves here.

    from guilder.ledger import Journal, Transfer, post

Invariants.  Tests carry these names (`test_L2_...`).

    L1  A transfer takes from one account exactly what it gives to another, in one asset.
    L2  Journals, transfers and refusals are written once; nobody updates or deletes them.
    L3  An account's balance is the sum of its transfers: credits - debits.
    L4  What is available of an account with a floor, balance - held, never goes below it.
    L5  One key makes one journal or one refusal, however often it is posted, and always answers the same.
    L6  What an account holds is what remains of its holds, and a hold gives no more than it has.
    L7  A batch is its journals one at a time, in order; ids rise with commits, book by book.
    L8  What is closed, an account or a period, takes nothing.
    L9  What books owe each other is what is ordered: all clearing accounts and open orders add up to nothing.
    L10  A month that is detached is lost nowhere: it lies in the archive, and what every book was at its end proves the rest.

Cost.   `post` takes two statements, whatever the size of the batch (two more when it meets an account for the first time).
Locks.  The heads of the batch's books, in their order, until commit.  Nothing else is awaited meanwhile.
"""

from guilder.ledger.chart import (
    Account,
    clearing,
    fees,
    losses,
    outside,
    payable,
    pledged,
    receivable,
    surplus,
    suspense,
)
from guilder.ledger.model import Code, Journal, Order, Posted, Transfer, capture, expire, hold, release
from guilder.ledger.posting import post
from guilder.ledger.sweep import SWEEPS, Broken, sweep

__all__ = [
    "SWEEPS",
    "Account",
    "Broken",
    "Code",
    "Journal",
    "Order",
    "Posted",
    "Transfer",
    "capture",
    "clearing",
    "expire",
    "fees",
    "hold",
    "losses",
    "outside",
    "payable",
    "pledged",
    "post",
    "receivable",
    "release",
    "surplus",
    "suspense",
    "sweep",
]
