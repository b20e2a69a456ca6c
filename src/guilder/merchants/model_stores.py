"""Where a merchant sells, as it lies in memory: stores, the tills in them, and who stands there."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Store:
    """A shop.  `code`: the merchant's own number of it."""

    book_id: UUID
    id: UUID
    code: str
    name: str
    currency: str
    address: dict[str, Any] | None
    metadata: dict[str, str]
    enabled: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Terminal:
    """A till.  `presented_id`: the payment that whoever scans its code is shown, until `presented_until`."""

    book_id: UUID
    id: UUID
    store_id: UUID
    code: str
    name: str
    metadata: dict[str, str]
    enabled: bool
    created_at: datetime
    presented_id: UUID | None = None
    presented_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Operator:
    """Whoever stands at a till.  `store_id` None: wherever he is needed."""

    book_id: UUID
    id: UUID
    store_id: UUID | None
    code: str
    name: str
    enabled: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """Where a payment is made."""

    store: Store
    terminal: Terminal | None = None
    operator: Operator | None = None

    @property
    def ids(self) -> tuple[UUID, UUID | None, UUID | None]:
        """As a payment keeps it: store, till, operator."""
        terminal = self.terminal.id if self.terminal is not None else None
        return self.store.id, terminal, self.operator.id if self.operator is not None else None
