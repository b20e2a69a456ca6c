"""What disputes are made of.  The fields of `Dispute` are the columns of its table, in their order."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import msgspec

from guilder.channels.model import DisputeState
from guilder.ledger import Journal
from guilder.platform.case import Case
from guilder.platform.context import Context
from guilder.platform.outbox import Event

BookKey = tuple[UUID, UUID]
Ref = tuple[UUID, str]  # channel account, the channel's number


@dataclass(slots=True, eq=False)
class Dispute:
    """A payer's complaint about one charge.  `moves` counts how often money went out or came back."""

    book_id: UUID
    id: UUID
    version: int
    state: DisputeState
    amount: int
    currency: str
    reason: str
    charge_id: UUID
    intent_id: UUID
    attempt_id: UUID
    channel_account_id: UUID
    channel: str
    funds: str
    ref: str
    taken: bool
    moves: int
    fee: int
    due_at: datetime | None
    evidence: bytes | None
    submitted_at: datetime | None
    metadata: dict[str, str]
    root_id: UUID
    business_line: str
    created_at: datetime

    @property
    def key(self) -> BookKey:
        return self.book_id, self.id


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
    disputes: dict[Ref, Dispute] = field(default_factory=dict)
    new_disputes: dict[Ref, Dispute] = field(default_factory=dict)
    journals: list[Journal] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
