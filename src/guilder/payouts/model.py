"""What payouts are made of, as they lie in memory during one transaction.  The fields of `Payout` are the columns of its table, in their order."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from guilder.core.amount import Amount
from guilder.ledger import Journal
from guilder.payouts.states import PayoutState
from guilder.platform.case import Case
from guilder.platform.context import Context
from guilder.platform.outbox import Event

BookKey = tuple[UUID, UUID]


@dataclass(slots=True, eq=False)
class Payout:
    """Money on its way to somebody.  `payee` is sealed, `shown` is what may be seen of it."""

    book_id: UUID
    id: UUID
    version: int
    state: PayoutState
    amount: int
    currency: str
    channel_account_id: UUID
    channel: str
    method_type: str
    funds: str
    payee: bytes | None
    shown: dict[str, str]
    description: str | None
    statement_descriptor: str | None
    metadata: dict[str, str]
    attach: str | None
    channel_ref: str | None
    memo: str | None
    next_action: dict[str, Any] | None
    problem: dict[str, Any] | None
    ask_at: datetime | None
    asked: int
    done_at: datetime | None
    root_id: UUID
    business_line: str
    created_at: datetime

    @property
    def key(self) -> BookKey:
        return self.book_id, self.id

    @property
    def money(self) -> Amount:
        return Amount(self.amount, self.currency)


class Move(msgspec.Struct, frozen=True):
    """One change of a state, for history."""

    book_id: UUID
    about: UUID
    was: str | None
    became: str
    door: str
    root_id: UUID
    at: datetime


@dataclass(slots=True)
class Changes:
    """Everything that a batch did, to be saved in one go."""

    by: Context | None = None
    payouts: dict[BookKey, Payout] = field(default_factory=dict)
    new_payouts: dict[BookKey, Payout] = field(default_factory=dict)
    journals: list[Journal] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
