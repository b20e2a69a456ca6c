"""Suspense: money that a channel says has moved, and that we did not ask for, is booked aside by a person's decision.

    a payment of another amount   receivable:<channel account> -> suspense      the channel has it, and nobody knows whose it is
    a refund of another amount    suspense -> receivable:<channel account>      the channel gave it away, and nobody knows why

The payment itself is not credited (P5): it stays as the channel's word left it.  What lies in suspense leaves it by journals of their own.
"""

import msgspec

from guilder.core import clock, ids
from guilder.core.errors import Invalid, Rejected
from guilder.ledger import Journal, Transfer, post, receivable, suspense
from guilder.payments.doubts import BOOK_SUSPENSE, MOVED, Money
from guilder.platform import context
from guilder.platform.case import Dossier, Resolver, Trace, Verdict
from guilder.platform.db import Tx


class NotBooked(Rejected):
    """The book refuses the journal."""

    code = "journal_refused"


async def book(tx: Tx, about: Dossier, verdict: Verdict) -> Trace:
    """Book it, once a round of the case.  Raises Invalid if it is not known how much it was, or said twice; NotBooked."""
    money = msgspec.convert(about.evidence, Money)
    account = ids.read("ca", money.channel_account)
    units = verdict.units if money.units is None else money.units
    if units is None or account is None:
        raise Invalid("The channel does not say how much it was: look there, and say `amount`.", param="amount")
    if verdict.units not in (None, units):
        raise Invalid(f"The channel says {units}, not {verdict.units}: leave `amount` out.", param="amount")
    debit, credit = receivable(account, money.asset), suspense(money.asset)
    if money.of == "refund":
        debit, credit = credit, debit
    by = context.current()
    journal = Journal(
        about.book_id, f"suspense:{about.key}", "suspense", (Transfer(debit, credit, units),), about.id, clock.now(), by.root_id,
        by.business_line, note=msgspec.json.encode({"case": ids.show("case", about.id)}).decode(),
    )  # fmt: skip
    [posted] = await post(tx, [journal])
    if not posted.booked:
        raise NotBooked(f"The book refuses the journal ({(posted.was or posted.code).value}).")
    return Trace(posted.journal_id)


def _fits(about: Dossier) -> bool:
    return about.moved and about.kind in MOVED


RESOLVERS = (
    Resolver(BOOK_SUSPENSE, "Book what the channel has, or gave away, aside: against the suspense account of the book.", _fits, book,
             books=True),
)  # fmt: skip
