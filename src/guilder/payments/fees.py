"""Fees: what the platform keeps of a charge.

A fee is fixed when its charge is made, by what its merchant pays then, and no refund gives it back.  The merchant's side bears on what it may
spend, so it stands in the charge's own journal; the platform's is ordered with it, and posted soon after (guilder/ledger/orders.py).  It is
taken from `payable` whoever has the money: where the channel settles straight to the merchant, the merchant owes it.
"""

import msgspec

from guilder.core import ids
from guilder.ledger import Order, Transfer, clearing, fees, payable
from guilder.payments.model import Changes, Charge

WHOLE = 10_000  # hundredths of a percent


def of(amount: int, bps: int) -> int:
    """The fee of an amount in smallest units, rounded half up: 0.60 % of 125 are 1, of 42 none."""
    return (amount * bps + WHOLE // 2) // WHOLE


def keep(changes: Changes, charge: Charge) -> None:
    """Add the fee to the charge's journal, the last one noted."""
    if not charge.fee:
        return
    journal, asset = changes.journals[-1], charge.currency
    move = Transfer(payable(asset), clearing(ids.PLATFORM, asset), charge.fee)
    order = Order(ids.PLATFORM, f"fee:{ids.text(charge.id)}", "fee", fees(asset), charge.fee, charge.id)
    changes.journals[-1] = msgspec.structs.replace(journal, transfers=(*journal.transfers, move), order=order)
