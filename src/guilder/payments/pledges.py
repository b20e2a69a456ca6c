"""Pledges: what is paid for a trade is set aside in the commit that books it, until it is dealt out to those whose it is (trades/life.py).

Whoever asked for it cannot spend it meanwhile.  It is taken from `payable` whoever has the money: where the channel settles straight to the
merchant, the merchant owes it.
"""

from guilder.core import ids
from guilder.core.errors import WrongState
from guilder.ledger import Journal, Transfer, payable, pledged
from guilder.payments.model import Changes, Charge, Intent

ORIGIN = "trade"  # of intents that pay for one


def must_not_be_a_trades(intent: Intent) -> None:
    """A refund of a trade's that has failed is over: its sellers have the money again, and it goes back by another one.  Raises WrongState."""
    if intent.origin == ORIGIN:
        raise WrongState(
            "This payment is a trade's, and its sellers have the money: refund its items again, by POST /v1/trades/{trade}/refunds.",
            code="refund_names_no_item",
        )


def keep(changes: Changes, intent: Intent, charge: Charge) -> None:
    """Note the journal that sets it aside, after that of the charge."""
    if intent.origin == ORIGIN:
        changes.journals.append(
            Journal(
                charge.book_id, f"trade_pledge:{ids.text(charge.id)}", "trade_pledge",
                (Transfer(payable(charge.currency), pledged(charge.currency), charge.amount),), charge.id, charge.paid_at,
                intent.root_id, intent.business_line, carried=True,
            )
        )  # fmt: skip
