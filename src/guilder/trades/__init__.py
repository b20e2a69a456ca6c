"""Trades: what was bought, of whom, how it is paid for, and everything that belongs together.

    create  pay  refund  release  cancel     use cases: one file, one verb
    follow                                   what becomes of a trade when its payments and refunds end
    life                                     the decisions, pure
    api_timeline                             the flight recorder's calls; what there is to tell is every domain's own

A trade has items, each some merchant's, and any number of payments (intents); a payment has attempts.  What is paid is set aside in the
commit that books it (`pledged`, payments/pledges.py); soon after it is dealt out to the items, and goes to their sellers' books.

Invariants.  Tests carry these names (`test_T2_...`).

    T1  A trade is what its items come to.
    T2  Open payments and what is paid never ask for more than the trade.  What is paid beyond it all the same goes back.
    T3  Every unit that was paid for an item is held, with its seller, or returned.
    T4  No more of an item goes back than was paid for it, however many ask at once.
    T5  What is dealt out is moved in books in the same commit, through clearing accounts, once.
    T6  A refund of a trade's payment names its items: the others' sellers give nothing back.
"""
