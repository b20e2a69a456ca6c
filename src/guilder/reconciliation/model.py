"""What reconciliation answers with: the report of a day, its sums and its breaks."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from functools import reduce
from operator import add
from uuid import UUID

Progress = Callable[[str, int, int], None]  # what is being done, how far, of how much


class Reason(StrEnum):
    """Why a line and a record of ours are no match.  Exactly one per break; the face of the package explains them."""

    MISSING_LOCAL = "missing_local"
    MISSING_CHANNEL = "missing_channel"
    AMOUNT = "amount"
    CURRENCY = "currency"
    STATUS = "status"
    DUPLICATE_CHANNEL = "duplicate_channel"
    PENDING_CUTOVER = "pending_cutover"


class BreakState(StrEnum):
    OPEN = "open"  # wants a person, or a late line
    CARRIED = "carried"  # waits for the next day's statement
    RESOLVED = "resolved"  # by evidence; `resolution` says which
    SUPERSEDED = "superseded"  # of a version that counts no more


@dataclass(frozen=True, slots=True)
class Sums:
    """Rows, and minor units of the statement's currency."""

    payments: int = 0
    paid: int = 0
    refunds: int = 0
    refunded: int = 0

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            self.payments + other.payments,
            self.paid + other.paid,
            self.refunds + other.refunds,
            self.refunded + other.refunded,
        )

    @classmethod
    def of(cls, kind: str, rows: int, units: int) -> "Sums":
        """The sums of rows of one kind."""
        return cls(payments=rows, paid=units) if kind == "payment" else cls(refunds=rows, refunded=units)

    @property
    def net(self) -> int:
        return self.paid - self.refunded


@dataclass(frozen=True, slots=True)
class Tally:
    """The breaks of one reason: what each side has of them, and how many are open."""

    reason: Reason
    channel: Sums
    ours: Sums
    open: int


@dataclass(frozen=True, slots=True)
class Break:
    """One line or record without its other half.  Amounts are minor units; None: that side has no money."""

    number: int
    kind: str  # 'payment' or 'refund'
    reason: Reason
    about: UUID | None  # our attempt or refund
    key: str  # as the line has it, or as the channel would know it
    channel_ref: str | None
    channel_amount: int | None
    channel_currency: str | None
    our_amount: int | None
    our_currency: str | None
    our_state: str | None
    difference: int | None  # channel - ours; None of two currencies
    at: datetime
    state: BreakState
    resolution: str | None
    owner: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """A reconciled day of one channel account."""

    account_id: UUID
    account: str
    channel_code: str
    day: date
    statement_id: UUID
    version: int
    currency: str
    fee: int  # what the channel took, in units of 10**-fee_exponent
    fee_exponent: int
    channel: Sums  # the file's own control totals
    ours: Sums
    matched: Sums
    tallies: tuple[Tally, ...]
    breaks: tuple[Break, ...]  # the first LISTED of them, carried and resolved ones included

    @property
    def adds_up(self) -> bool:
        """(R2) Each side is what is matched and what is broken."""
        return all(
            whole == reduce(add, parts, self.matched)
            for whole, parts in (
                (self.channel, [t.channel for t in self.tallies]),
                (self.ours, [t.ours for t in self.tallies]),
            )
        )

    @property
    def open(self) -> int:
        """Breaks that want a person."""
        return sum(t.open for t in self.tallies)

    @property
    def carried(self) -> Sums:
        """What waits for the next day's statement, or did."""
        return next((t.ours for t in self.tallies if t.reason is Reason.PENDING_CUTOVER), Sums())
