"""A checkout session as it lies in memory."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec


class Status(StrEnum):
    """How a session stands."""

    OPEN = "open"
    COMPLETE = "complete"
    EXPIRED = "expired"


class Line(msgspec.Struct, frozen=True):
    """One thing that is paid for: `quantity` times `unit_amount` minor units.  `id`: 26 characters."""

    id: str
    name: str
    unit_amount: int
    quantity: int
    description: str | None = None
    images: list[str] = []
    metadata: dict[str, str] = {}
    product_metadata: dict[str, str] = {}
    unit_label: str | None = None

    @property
    def total(self) -> int:
        return self.unit_amount * self.quantity


@dataclass(slots=True, eq=False)
class Session:
    """A page for one payment."""

    book_id: UUID
    id: UUID
    version: int
    status: Status
    intent_id: UUID
    amount: int
    currency: str
    customer_id: UUID | None
    customer_email: str | None
    client_reference_id: str | None
    metadata: dict[str, str]
    success_url: str
    cancel_url: str | None
    locale: str
    submit_type: str
    types: list[str]
    lines: list[Line]
    extra: dict[str, Any]
    expires_at: datetime
    root_id: UUID
    business_line: str
    created_at: datetime
