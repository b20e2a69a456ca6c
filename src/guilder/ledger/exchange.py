"""Between assets, and between books: journals that no single transfer can be.

    exchange(...)   one journal: what is sold goes into the exchange account of its asset, what is bought comes out of that of the other, at
                    the market's rate; what the customer pays more or less than that is our gain or loss, booked beside it
    between(...)    two journals of one group, in two books: each book's clearing account says what the other owes it

No transfer crosses an asset or a book; both sides of the seam stand in the book, and add up to nothing over all books.
"""

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from uuid import UUID

import msgspec

from guilder.core import ids
from guilder.core.check import must
from guilder.ledger.chart import Account, clearing, exchange_account, exchange_result
from guilder.ledger.model import Journal, Transfer


@dataclass(frozen=True, slots=True)
class Trade:
    """`sold` units of `gives.asset` against `bought` units of `gets.asset`, both in smallest units."""

    gives: Account
    sold: int
    gets: Account
    bought: int
    rate: Fraction  # the market's: smallest units bought for one sold

    @property
    def at_market(self) -> int:
        """What the market would have given, in whole units: a broken one is left to the customer's side of the rate."""
        return int(self.sold * self.rate)


def exchange(
    book_id: UUID, key: str, trade: Trade, about: UUID, at: datetime, root_id: UUID, business_line: str = ""
) -> Journal:
    """The journal of an exchange.  The rate and both amounts are recorded in its note."""
    must(trade.gives.asset != trade.gets.asset, "an exchange is between two assets")
    sold, bought = exchange_account(trade.gives.asset), exchange_account(trade.gets.asset)
    transfers = [Transfer(trade.gives, sold, trade.sold), Transfer(bought, trade.gets, trade.bought)]
    gain = trade.at_market - trade.bought
    if gain > 0:
        transfers.append(Transfer(bought, exchange_result(trade.gets.asset), gain))
    elif gain < 0:
        transfers.append(Transfer(exchange_result(trade.gets.asset), bought, -gain))
    note = {
        "rate": str(trade.rate), "sold": f"{trade.sold} {trade.gives.asset}", "bought": f"{trade.bought} {trade.gets.asset}",
        "at_market": trade.at_market, "gain": gain,
    }  # fmt: skip
    return Journal(
        book_id, key, "exchange", tuple(transfers), about, at, root_id, business_line, note=msgspec.json.encode(note).decode()
    )  # fmt: skip


def between(
    key: str,
    giver: tuple[UUID, Account],
    taker: tuple[UUID, Account],
    units: int,
    about: UUID,
    at: datetime,
    root_id: UUID,
    business_line: str = "",
) -> tuple[Journal, Journal]:
    """Two journals that move units from a book's account to another book's, or neither does."""
    (from_book, gives), (to_book, gets) = giver, taker
    must(from_book != to_book, "inside a book a transfer does")
    group = f"{key}:{ids.text(from_book)}:{ids.text(to_book)}"
    out = Transfer(gives, clearing(to_book, gives.asset), units)
    into = Transfer(clearing(from_book, gets.asset), gets, units)
    return (
        Journal(from_book, key, "clearing", (out,), about, at, root_id, business_line, group=group),
        Journal(to_book, key, "clearing", (into,), about, at, root_id, business_line, group=group),
    )
