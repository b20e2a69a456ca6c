"""What is posted, and what comes back.

Journal(book, "charge:06b2…", "charge", (Transfer(receivable, payable, 500),), about, at, root)

Transfer(debit, credit, units)                      units move
hold(account, units, id, expires_at)                units are reserved: still there, no longer available
capture(hold_id, debit, credit, units)              a part of what is held moves; as often as something remains
release(hold_id, account, units)                    a part is free again; `units` left out: all that remains
expire(hold_id, account)                            what remains is free again, once its time is over
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from guilder.core.amount import INT64
from guilder.core.check import must
from guilder.ledger.chart import Account

MAX_TRANSFERS = 100  # of one journal
OWN_KEY = "x:"  # keys that a merchant gives begin with it, and can meet none of ours
DECISIONS = frozenset({"account_closed", "account_opened", "period_closed"})  # rules of journals that move nothing
REST = frozenset({"rest", "expire"})  # kinds that take what remains of a hold


class Code(StrEnum):
    """What became of a journal.

    Precedence is the order of this list.  Of several transfers the first that is refused decides; the last two are judged on the sum of
    all.  Every refusal is for ever: the key is used up, and answers `already_refused` from then on.
    """

    ALREADY_REFUSED = "already_refused"  # the key was refused before; `was` says why
    EXISTS_WITH_DIFFERENT_TRANSFERS = "exists_with_different_transfers"  # another rule, other ends, other holds
    EXISTS_WITH_DIFFERENT_AMOUNT = "exists_with_different_amount"
    EXISTS = "exists"  # the same journal: it is in the book, once
    PERIOD_CLOSED = "period_closed"  # what moved then is closed
    DATED_AHEAD = (
        "dated_ahead"  # it says that the money moves more than a day from now, or closes a period that is not over
    )
    NOTHING_MOVES = "nothing_moves"  # a journal without transfers
    UNITS_OUT_OF_RANGE = "units_out_of_range"  # 1 to 2^63 - 1
    ACCOUNTS_MUST_DIFFER = "accounts_must_differ"
    ASSET_MISMATCH = "asset_mismatch"  # a transfer stays in one asset
    ACCOUNT_NOT_FOUND = "account_not_found"  # nobody opened it, and the chart does not know it
    ACCOUNT_CLOSED = "account_closed"
    ACCOUNT_NOT_EMPTY = "account_not_empty"  # only an account without balance and holds is closed
    NOTHING_CHANGES = "nothing_changes"  # what is to be closed is closed, what is to be opened is open
    HOLD_EXISTS = "hold_exists"  # a hold's id names one hold
    HOLD_NOT_FOUND = "hold_not_found"
    HOLD_OF_OTHER_ACCOUNT = "hold_of_other_account"
    HOLD_ENDED = "hold_ended"  # nothing of it remains
    HOLD_EXPIRED = "hold_expired"  # its time is over, whether or not a sweep came by
    HOLD_NOT_EXPIRED = "hold_not_expired"
    EXCEEDS_HOLD = "exceeds_hold"  # more than what remains
    BALANCE_OVERFLOW = "balance_overflow"  # a balance would leave 64 bits
    INSUFFICIENT_FUNDS = "insufficient_funds"  # balance - held would fall below the floor
    LINKED_REFUSED = "linked_refused"  # another journal of its group was refused
    CREATED = "created"


class Transfer(msgspec.Struct, frozen=True):
    """One line of a journal: `units` from `debit` to `credit`, or what it does to a hold (`kind`; see above)."""

    debit: Account
    credit: Account | None
    units: int  # of 'rest' and 'expire': 0, whatever remains
    kind: str = "move"
    hold: UUID | None = None
    expires_at: datetime | None = None


def hold(account: Account, units: int, id: UUID, expires_at: datetime | None = None) -> Transfer:
    """Reserve `units` under an id of the caller's; None: until it is captured or released."""
    return Transfer(account, None, units, "hold", id, expires_at)


def capture(id: UUID, debit: Account, credit: Account, units: int) -> Transfer:
    """Move `units` of a hold on `debit`."""
    return Transfer(debit, credit, units, "capture", id)


def release(id: UUID, account: Account, units: int | None = None) -> Transfer:
    """Give back `units` of a hold, or all that remains."""
    return Transfer(account, None, units or 0, "release" if units is not None else "rest", id)


def expire(id: UUID, account: Account) -> Transfer:
    """Give back what remains of a hold whose time is over."""
    return Transfer(account, None, 0, "expire", id)


class Order(msgspec.Struct, frozen=True):
    """What another book is to post because this journal is booked: from what this book owes it to one of its accounts (see orders.py)."""

    book_id: UUID  # of the journal to be posted
    key: str
    rule: str
    credit: Account
    units: int
    about: UUID


class Journal(msgspec.Struct, frozen=True):
    """One business entry.  `key` is unique in the book: 'charge:06b2…'."""

    book_id: UUID
    key: str
    rule: str  # the journal rule that made it: 'charge', 'refund', 'surplus'
    transfers: tuple[Transfer, ...]
    about: UUID  # the charge, refund or attempt that it books
    at: datetime  # when the money moved; it is booked now
    root_id: UUID
    business_line: str = ""
    group: str | None = None  # journals next to each other with one group stand or fall together, across books too
    reverses: UUID | None = None  # the journal that it takes back
    carried: bool = False  # what has happened is booked: dated in a closed period, on the first instant that is open
    note: str = ""  # JSON, kept beside the book
    order: Order | None = None  # written with it, once
    covered: bool = False  # refused unless what it takes is there: above its floor, too, an account stays above nothing

    def digest(self) -> bytes:
        """What makes two journals of one key the same (L5): 16 bytes of what moves between whom, 8 of how much."""
        lines = [
            f"{t.kind}\0{t.debit.code}\0{t.debit.asset}\0{t.credit.code if t.credit else ''}\0"
            f"{t.credit.asset if t.credit else ''}\0{t.hold or ''}\n"
            for t in self.transfers
        ]
        units = ",".join(["*" if t.kind in REST else str(t.units) for t in self.transfers])
        what = hashlib.sha256(f"{self.rule}\n{''.join(lines)}".encode()).digest()
        return what[:16] + hashlib.sha256(units.encode()).digest()[:8]


class Posted(msgspec.Struct, frozen=True):
    """A journal's answer."""

    code: Code
    journal_id: UUID | None = None  # of the journal in the book, if it is there
    was: Code | None = None  # why the key was refused before

    @property
    def booked(self) -> bool:
        """Whether the book holds exactly this journal now."""
        return self.code is Code.CREATED or self.code is Code.EXISTS


def check(journals: Sequence[Journal]) -> None:
    """What only a mistake in our own code can get wrong."""
    must(all(len(j.transfers) <= MAX_TRANSFERS for j in journals), f"a journal has at most {MAX_TRANSFERS} transfers")
    must(
        all(j.order is None or j.order.book_id != j.book_id for j in journals), "in its own book a journal posts itself"
    )
    must(not any(j.transfers for j in journals if j.rule in DECISIONS), "a decision has no transfers")


def in_range(units: int) -> bool:
    """Whether so much can move at once."""
    return 0 < units <= INT64
