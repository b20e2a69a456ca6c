"""The chart of accounts: what each account means, which side it grows on, how low it may go.

    receivable:<channel account>   what a channel has collected and owes us            debit
    payable                        what we owe the merchant                            credit
    own:<channel account>          what a channel settles straight to the merchant     credit
    surplus                        money nobody asked for, until it is given back      credit, never below zero
    suspense                       money of which nobody knows whose it is             credit
    clearing:<book>                what this book owes another one                     credit
    pledged                        what was paid for trades, until it is dealt out     credit, never below zero
    fees                           what the platform keeps of payments, in its book    credit
    losses                         what the platform wrote off, in its book           debit
    outside                        what was given back from accounts in no book       credit
    exchange                       units of this asset that were sold to us or bought  credit
    exchange_result                what exchanges gained, below zero what they lost    credit

Whose money a channel collects decides where a payment is credited: `funds` of the channel account is 'platform' (we owe it to the
merchant) or 'merchant' (the channel settles it to the merchant; no liability of ours, only a note).
Balance = credits - debits; `normal` flips what a person is shown.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal
from uuid import UUID

import msgspec

from guilder.core import ids
from guilder.core.check import never

Funds = Literal["platform", "merchant", "channel_escrow"]


class Account(msgspec.Struct, frozen=True):
    """An account by its name: a code of this chart, and an asset.  It is opened when it is first posted to."""

    code: str
    asset: str

    def id(self, book_id: UUID) -> UUID:
        """Its id in a book, the same in every process: no look-up is needed to post to it."""
        return _account_id(book_id, self.code, self.asset)


@dataclass(frozen=True, slots=True)
class Rule:
    """What the chart says of an account."""

    normal: Literal["debit", "credit"]
    floor: int | None
    means: str


RULES: dict[str, Rule] = {
    "receivable": Rule("debit", None, "what a channel has collected and owes us"),
    "payable": Rule("credit", None, "what we owe the merchant"),
    "own": Rule("credit", None, "what a channel settles straight to the merchant"),
    "surplus": Rule("credit", 0, "money nobody asked for, until it is given back"),
    "suspense": Rule(
        "credit", None, "money that moved at a channel and was not asked for: until a person knows whose it is"
    ),
    "clearing": Rule("credit", None, "what this book owes another one; both sides add up to nothing"),
    "pledged": Rule("credit", 0, "what was paid for trades and is not dealt out to its sellers yet"),
    "fees": Rule("credit", None, "what the platform keeps of its merchants' payments; stands in the platform's book"),
    "losses": Rule("debit", None, "what the platform wrote off, less what nobody claimed; stands in its book"),
    "outside": Rule(
        "credit", None, "what was given back to payers from accounts that are in no book, in the book of whoever did"
    ),
    "exchange": Rule("credit", None, "units of this asset that exchanges took in, less those that they gave out"),
    "exchange_result": Rule(
        "credit", None, "what exchanges gained against the market's rate; below zero what they lost"
    ),
}


def known(code: str) -> bool:
    """Whether the chart has an account code: then it is opened when it is first posted to."""
    return code.partition(":")[0] in RULES


def rule(code: str) -> Rule:
    """The chart's rule for an account code; an unknown code crashes."""
    return RULES.get(code.partition(":")[0]) or never(f"the chart knows the account {code!r}")


def receivable(channel_account: UUID, asset: str) -> Account:
    return Account(f"receivable:{ids.text(channel_account)}", asset)


def payable(asset: str, funds: Funds = "platform", channel_account: UUID | None = None) -> Account:
    """Where a payment is credited, by whose money the channel collects."""
    if funds == "platform" or channel_account is None:
        return Account("payable", asset)
    return Account(f"own:{ids.text(channel_account)}", asset)


def surplus(asset: str) -> Account:
    return Account("surplus", asset)


def suspense(asset: str) -> Account:
    return Account("suspense", asset)


def clearing(book_id: UUID, asset: str) -> Account:
    """What a book owes the book `book_id`."""
    return Account(f"clearing:{ids.text(book_id)}", asset)


def pledged(asset: str) -> Account:
    """What was paid for trades of a book and is not dealt out yet."""
    return Account("pledged", asset)


def fees(asset: str) -> Account:
    return Account("fees", asset)


def losses(asset: str) -> Account:
    return Account("losses", asset)


def outside(asset: str) -> Account:
    """What was paid from accounts that are in no book."""
    return Account("outside", asset)


def exchange_account(asset: str) -> Account:
    return Account("exchange", asset)


def exchange_result(asset: str) -> Account:
    return Account("exchange_result", asset)


@lru_cache(maxsize=65_536)
def _account_id(book_id: UUID, code: str, asset: str) -> UUID:
    name = book_id.bytes + code.encode() + b"\0" + asset.encode()
    n = int.from_bytes(hashlib.blake2b(name, digest_size=16, person=b"guilder account").digest(), "big")
    return ids.of_int(n & ~(0xF << 76) & ~(0x3 << 62) | 0x8 << 76 | 0x2 << 62)  # a UUIDv8: made of a hash
