"""What trades are made of, as they lie in memory during one transaction.

Objects are changed in place by `life` and saved once by `store`; a transaction that fails throws them away.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from guilder.ledger import Journal
from guilder.platform.case import Case
from guilder.platform.context import Context
from guilder.platform.outbox import Event
from guilder.trades.states import TradeStatus

Key = tuple[UUID, UUID]  # book id, own id
NO_ITEM = UUID(int=0)  # what is given back of no item: too much was paid
MAX_ITEMS = 100

# What a trade can be.  The others have to wait for what they need, and are refused with the reason.
TYPES = {
    "purchase": "goods or services; what is paid goes to their sellers at once",
    "pre_authorisation": "the same, with money that is held at the channel first, and captured for all of it or less",
    "escrow": "the same, but sellers get theirs when the trade is released",
}
REFUSED_TYPES = {
    "top_up": "a top-up adds to a balance, and there are no wallets yet.",
    "recharge": "a recharge adds to somebody else's account, and there are no wallets yet.",
    "transfer": "a transfer moves balances between wallets, and there are none yet. Merchants pay each other by items of a purchase.",
    "payout": "a payout has no items and no payer: ask for it by POST /v1/payouts.",
}


@dataclass(slots=True, eq=False)
class Trade:
    """What was bought.  Field by field in the order of its table."""

    book_id: UUID
    id: UUID
    version: int
    type: str
    status: TradeStatus
    merchant_ref: str | None
    parent_id: UUID | None
    amount: int
    currency: str
    deposit: int | None
    reserved: int
    paid: int
    refunded: int
    returned: int
    released_at: datetime | None
    customer_id: UUID | None
    description: str | None
    metadata: dict[str, str]
    root_id: UUID
    business_line: str
    created_at: datetime
    canceled_at: datetime | None = None

    @property
    def key(self) -> Key:
        return self.book_id, self.id

    @property
    def rest(self) -> int:
        """What nobody has asked for yet (T2)."""
        return max(0, self.amount - self.paid - self.reserved)

    @property
    def releases(self) -> bool:
        """Whether sellers get theirs as soon as it is paid."""
        return self.type != "escrow" or self.released_at is not None


@dataclass(slots=True, eq=False)
class Item:
    """One thing of a trade."""

    book_id: UUID
    id: UUID
    trade_id: UUID
    n: int
    seller_id: UUID
    sku: str | None
    name: str
    quantity: int
    unit_amount: int
    amount: int
    paid: int = 0
    held: int = 0
    released: int = 0
    refunded: int = 0
    returned: int = 0

    @property
    def key(self) -> Key:
        return self.book_id, self.id

    @property
    def free(self) -> int:
        """What is held and will not go back with a refund that is on its way."""
        return max(0, self.held - (self.refunded - self.returned))


@dataclass(slots=True, eq=False)
class Part:
    """A payment of a trade."""

    book_id: UUID
    intent_id: UUID
    trade_id: UUID
    purpose: str
    amount: int
    state: str
    received: int
    excess: int
    created_at: datetime

    @property
    def key(self) -> Key:
        return self.book_id, self.intent_id


@dataclass(slots=True, eq=False)
class GiveBack:
    """What a refund gives back of an item."""

    book_id: UUID
    refund_id: UUID
    item_id: UUID
    trade_id: UUID
    units: int
    state: str
    created_at: datetime

    @property
    def key(self) -> tuple[UUID, UUID, UUID]:
        return self.book_id, self.refund_id, self.item_id


@dataclass(slots=True, frozen=True)
class Move:
    """Where money of an item went."""

    book_id: UUID
    id: UUID
    trade_id: UUID
    item_id: UUID
    kind: str
    units: int
    seller_id: UUID
    intent_id: UUID | None
    refund_id: UUID | None
    journal: str | None
    root_id: UUID
    at: datetime


@dataclass(slots=True)
class Whole:
    """A trade with all that is its own."""

    trade: Trade
    items: list[Item]
    parts: list[Part] = field(default_factory=list)
    back: list[GiveBack] = field(default_factory=list)
    children: list[UUID] = field(default_factory=list)

    def item(self, id: UUID) -> Item | None:
        return next((i for i in self.items if i.id == id), None)

    def part(self, intent_id: UUID) -> Part | None:
        return next((p for p in self.parts if p.intent_id == intent_id), None)


@dataclass(slots=True)
class Changes:
    """Everything that a batch did, to be saved in one go."""

    by: Context | None = None
    trades: dict[Key, Trade] = field(default_factory=dict)
    items: dict[Key, Item] = field(default_factory=dict)
    parts: dict[Key, Part] = field(default_factory=dict)
    back: dict[tuple[UUID, UUID, UUID], GiveBack] = field(default_factory=dict)
    new_trades: dict[Key, Trade] = field(default_factory=dict)
    new_items: dict[Key, Item] = field(default_factory=dict)
    new_parts: dict[Key, Part] = field(default_factory=dict)
    new_back: dict[tuple[UUID, UUID, UUID], GiveBack] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)
    journals: list[Journal] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)

    def touch(self, trade: Trade, items: Iterable[Item] = ()) -> None:
        """Have them saved as they are in the end."""
        self.trades[trade.key] = trade
        self.items.update((i.key, i) for i in items)
