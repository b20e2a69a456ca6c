"""Journals for tests: words of two letters instead of ten arguments."""

from uuid import UUID

from guilder.core import clock, ids
from guilder.ledger import Account, Journal, Transfer

BOOK = ids.new_id()
AT = clock.now()


def account(code: str, asset: str = "CNY") -> Account:
    return Account(code, asset)


RECEIVABLE, PAYABLE, SURPLUS = (
    account("receivable:a"),
    account("payable"),
    account("surplus"),
)  # SURPLUS has a floor of 0


def journal(key: str, *transfers: Transfer, book: UUID = BOOK, rule: str = "charge") -> Journal:
    return Journal(book, key, rule, transfers, ids.new_id(), AT, ids.new_id())


def move(key: str, debit: Account, credit: Account, units: int, book: UUID = BOOK) -> Journal:
    """A journal of one transfer."""
    return journal(key, Transfer(debit, credit, units), book=book)
