"""Service accounts and their keys, as they are stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from guilder.people.model import Grant


@dataclass(frozen=True, slots=True)
class Service:
    """A service account."""

    id: UUID
    name: str
    created_at: datetime
    disabled_at: datetime | None
    grants: Sequence[Grant]


@dataclass(frozen=True, slots=True)
class Key:
    """A key of an account; `secret` only of one that was made just now."""

    id: UUID
    service_id: UUID
    last4: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None = None
    replaced_by: UUID | None = None
    secret: str | None = None
