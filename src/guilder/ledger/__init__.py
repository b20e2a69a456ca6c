"""The book: every unit that moves, moves here.

    from guilder.ledger import Journal, Transfer, post

Invariants.  Tests carry these names (`test_L2_...`).

    L1  A transfer takes from one account exactly what it gives to another, in one asset.
    L2  Journals and transfers are written once; nobody updates or deletes them.
    L3  An account's balance is the sum of its transfers: credits - debits.
    L4  An account with a floor never goes below it.
    L5  One key makes one journal, however often it is posted, and always answers the same.

Cost.   `post` takes four statements, whatever the size of the batch (one more when it meets an account for the first time).
Locks.  Account rows, in key order, until commit.  Nothing else is awaited meanwhile.
"""

from guilder.ledger.chart import Account, payable, receivable, surplus
from guilder.ledger.posting import Code, Journal, Posted, Transfer, post
from guilder.ledger.sweep import SWEEPS, Broken, sweep

__all__ = [
    "SWEEPS",
    "Account",
    "Broken",
    "Code",
    "Journal",
    "Posted",
    "Transfer",
    "payable",
    "post",
    "receivable",
    "surplus",
    "sweep",
]
