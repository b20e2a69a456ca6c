"""Doubts: what a channel said that cannot be true of what we asked, as a case for a person (P5)."""

from typing import Any

import msgspec

from guilder.channels.model import Outcome, State
from guilder.core import ids
from guilder.payments.model import Attempt, Refund
from guilder.platform.case import Case

# It is this attempt's money, and not what we asked for.
PAID_OTHERWISE = ("amount_mismatch", "currency_mismatch", "amount_missing")
UNMATCHED = "unmatched_line"  # a statement lists a payment that is none of ours
# Said of something that succeeded, these are money that stands in no book until a person has it booked.
MOVED = frozenset({*PAID_OTHERWISE, "second_channel_ref", "refund_end_changed", "payout_end_changed", UNMATCHED})
BOOK_SUSPENSE = "book_suspense"
PROPOSAL = {
    "resolver": BOOK_SUSPENSE,
    "says": "Compare with the channel's console, and book aside what the channel has there.",
}


class Money(msgspec.Struct, frozen=True):
    """What the evidence of such a case says of money."""

    of: str  # 'payment': the channel collected it; 'refund': it gave it away
    channel_account: str  # 'ca_…'
    asset: str
    units: int | None  # None: the channel does not say how much


def case_of(about: Attempt | Refund, outcome: Outcome, kind: str, summary: str, door: str) -> Case:
    """The case of a doubt.  Told again with the same amount, under the same number, it is the same."""
    said = outcome.amount
    money = Money(
        "payment" if isinstance(about, Attempt) else "refund", ids.show("ca", about.channel_account_id),
        said.asset if said else about.currency, said.units if said else None,
    )  # fmt: skip
    moved = kind == "reversed_after_success" or (outcome.state is State.SUCCEEDED and kind in MOVED)
    fact = f"{outcome.state.value} {said} {outcome.channel_ref}"
    found = evidence(outcome, door) | msgspec.to_builtins(money)
    subject = ids.mint_key(about.id, about.book_id)
    return Case(about.book_id, kind, subject, summary, found, fact, moved, PROPOSAL if moved else None)


def evidence(outcome: Outcome, door: str) -> dict[str, Any]:
    """What a channel said, and through which door."""
    return {
        "door": door,
        "state": outcome.state.value,
        "key": outcome.key,
        "channel_ref": outcome.channel_ref,
        "amount": str(outcome.amount) if outcome.amount else None,
        "account": outcome.account_ref,
        "app": outcome.app_ref,
    }
