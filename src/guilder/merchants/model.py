"""What merchants keep of their payers."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True, eq=False)
class Customer:
    """A payer that a merchant knows.  Of one that was deleted only ids and times are left."""

    book_id: UUID
    id: UUID
    version: int
    name: str | None
    email: str | None
    phone: str | None
    description: str | None
    address: dict[str, Any] | None
    shipping: dict[str, Any] | None
    locales: tuple[str, ...]
    metadata: dict[str, str]
    created_at: datetime
    deleted_at: datetime | None = None
