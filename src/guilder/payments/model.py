"""What payments are made of, as they lie in memory during one transaction.

Objects are changed in place by `life` and saved once by `store`; a transaction that fails throws them away.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from guilder.core.amount import Amount
from guilder.ledger import Journal
from guilder.payments.states import AttemptState, IntentStatus, RefundState
from guilder.platform.case import Case
from guilder.platform.context import Context
from guilder.platform.outbox import Event

BookKey = tuple[UUID, UUID]  # book id, own id


@dataclass(slots=True, eq=False)
class Method:
    """A way to pay, as the API names it: 'pm_…'.  `dial`: test environment, what the simulator is to do wrong."""

    book_id: UUID
    id: UUID
    type: str
    dial: str | None
    customer_id: UUID | None
    billing: dict[str, Any]
    metadata: dict[str, str]
    version: int
    created_at: datetime
    person_id: UUID | None = None  # whom `billing` is about

    @property
    def key(self) -> BookKey:
        return self.book_id, self.id


@dataclass(slots=True, eq=False)
class Intent:
    """What is to be paid for."""

    book_id: UUID
    id: UUID
    version: int
    status: IntentStatus
    amount: int
    currency: str
    customer_id: UUID | None
    method_id: UUID | None
    method_type: str | None
    types: list[str]
    attempt_id: UUID | None
    charge_id: UUID | None
    description: str | None
    metadata: dict[str, str]
    extra: dict[str, Any]
    next_action: dict[str, Any] | None
    last_error: dict[str, Any] | None
    cancel_reason: str | None
    cancel_wanted_at: datetime | None
    canceled_at: datetime | None
    expires_at: datetime | None
    late_success: str
    root_id: UUID
    business_line: str
    created_at: datetime
    origin: str = "api"  # or 'checkout'

    @property
    def key(self) -> BookKey:
        return self.book_id, self.id

    @property
    def person_id(self) -> UUID:
        """Who pays: the customer; of somebody who is none, only the payment is known."""
        return self.customer_id or self.id

    @property
    def personal(self) -> bool:
        """Whether it says something of who pays."""
        return bool(self.extra.get("receipt_email") or self.extra.get("shipping"))

    def copy(self) -> "Intent":
        """The same payment, sharing nothing that changes."""
        return replace(self, metadata=dict(self.metadata), extra=dict(self.extra))


@dataclass(slots=True, eq=False)
class Attempt:
    """One try at one channel."""

    book_id: UUID
    id: UUID
    intent_id: UUID
    channel_account_id: UUID
    channel: str
    way: str
    state: AttemptState
    amount: int
    currency: str
    channel_ref: str | None
    return_url: str | None
    attach: str | None
    next_action: dict[str, Any] | None
    problem: dict[str, Any] | None
    ask_at: datetime | None
    asked: int
    close_wanted: bool
    expires_at: datetime
    paid_at: datetime | None
    root_id: UUID
    business_line: str
    created_at: datetime

    @property
    def key(self) -> BookKey:
        return self.book_id, self.id

    @property
    def money(self) -> Amount:
        return Amount(self.amount, self.currency)


@dataclass(slots=True, eq=False)
class Charge:
    """What was collected: one per succeeded intent."""

    book_id: UUID
    id: UUID
    intent_id: UUID
    attempt_id: UUID
    channel_account_id: UUID
    method_type: str
    version: int
    amount: int
    refunded: int
    currency: str
    channel_ref: str | None
    paid_at: datetime
    created_at: datetime
    fee: int = 0  # of the amount, what the platform keeps, whatever is given back later

    @property
    def key(self) -> BookKey:
        return self.book_id, self.id


@dataclass(slots=True, eq=False)
class Refund:
    """Money on its way back.  `charge_id` None: it gives back a surplus."""

    book_id: UUID
    id: UUID
    intent_id: UUID
    attempt_id: UUID
    charge_id: UUID | None
    channel_account_id: UUID
    version: int
    state: RefundState
    amount: int
    currency: str
    reason: str | None
    metadata: dict[str, str]
    channel_ref: str | None
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
    kind: str
    was: str | None
    became: str
    door: str
    root_id: UUID
    at: datetime


@dataclass(slots=True)
class Changes:
    """Everything that a batch did, to be saved in one go.  `by` is whoever asked for the item at hand."""

    by: Context | None = None
    seen: dict[BookKey, int] | None = None  # the xmin of each payment and attempt that was read; None: they are locked

    intents: dict[BookKey, Intent] = field(default_factory=dict)
    attempts: dict[BookKey, Attempt] = field(default_factory=dict)
    charges: dict[BookKey, Charge] = field(default_factory=dict)
    refunds: dict[BookKey, Refund] = field(default_factory=dict)
    new_methods: dict[BookKey, Method] = field(default_factory=dict)
    new_intents: dict[BookKey, Intent] = field(default_factory=dict)
    new_attempts: dict[BookKey, Attempt] = field(default_factory=dict)
    new_charges: dict[BookKey, Charge] = field(default_factory=dict)
    new_refunds: dict[BookKey, Refund] = field(default_factory=dict)
    channel_refs: dict[tuple[UUID, str], BookKey] = field(default_factory=dict)
    journals: list[Journal] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
