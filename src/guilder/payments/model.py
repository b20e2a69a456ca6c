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
from guilder.payments.states import AsideState, AttemptState, IntentStatus, RefundState
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
    origin: str = "api"  # or 'checkout', 'counter'
    received: int | None = None  # what was collected, once it was: less than its amount where less was captured
    store_id: UUID | None = None  # where it is made
    terminal_id: UUID | None = None
    operator_id: UUID | None = None  # who stands there

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
        return bool(self.extra.get("receipt_email") or self.extra.get("shipping") or self.extra.get("given"))

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
    hold: bool = False  # collect later: authorise only
    capture: int | None = None  # what we have asked to collect of what is held; None: nothing yet, or all at once
    memo: str | None = None  # what the channel's adapter wants back with every later ask
    given: dict[str, str] = field(default_factory=dict)  # what the way needed of the payer: openid, auth_code; personal
    routed: str | None = None  # which rule chose its account, and why no other, as JSON
    counted: bool = False  # it takes room of its account's limits
    unasked: bool = False  # its channel has never been asked: the front asks.  Only the front changes that
    came: int | None = None  # what lay aside for it in all: it collected other sums than it was asked to (aside.py)

    @property
    def key(self) -> BookKey:
        return self.book_id, self.id

    @property
    def money(self) -> Amount:
        return Amount(self.amount, self.currency)

    @property
    def due(self) -> int:
        """What pays: less than it is for where less was captured, or came."""
        return self.asked_for if self.came is None or self.paid_at is None else min(self.asked_for, self.came)

    @property
    def asked_for(self) -> int:
        """What the channel was asked to collect, in the end."""
        return self.amount if self.capture is None else self.capture

    @property
    def moved(self) -> int:
        """What the channel collected, once it has: what paid, and what came beside it."""
        return self.due if self.came is None else self.came


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
    disputed: bool = False  # its payer has complained at the channel, once at least

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
    memo: str | None = None  # what the channel's adapter wants back with every later ask
    aside_id: UUID | None = None  # what lay aside, and goes back by it; then there is no charge
    elsewhere: str | None = None  # who gave it back by another road: at the channel it has failed

    @property
    def key(self) -> BookKey:
        return self.book_id, self.id

    @property
    def money(self) -> Amount:
        return Amount(self.amount, self.currency)

    @property
    def due(self) -> int:
        """What it gives back."""
        return self.amount


@dataclass(slots=True, eq=False)
class Aside:
    """Money that moved at a channel and that no charge or refund of ours stands for: see aside.py.  `gave`: it went away."""

    book_id: UUID
    id: UUID
    channel_account_id: UUID
    ref: str
    attempt_id: UUID | None
    intent_id: UUID | None
    gave: bool
    units: int
    asset: str
    used: int
    state: AsideState
    channel_ref: str | None
    root_id: UUID
    business_line: str
    created_at: datetime

    @property
    def key(self) -> BookKey:
        return self.book_id, self.id

    @property
    def left(self) -> int:
        """What of it no charge has taken."""
        return self.units - self.used


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
    lying: dict[BookKey, Aside] = field(default_factory=dict)  # what lay aside for what is locked, where it is needed
    asides: dict[BookKey, Aside] = field(default_factory=dict)
    new_asides: dict[BookKey, Aside] = field(default_factory=dict)
    channel_refs: dict[tuple[UUID, str], BookKey] = field(default_factory=dict)
    journals: list[Journal] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    steps: list[Any] = field(default_factory=list)  # what plug-ins are to do (hooks.Planned)
