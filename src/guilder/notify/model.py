"""What the domain is about: an endpoint of a merchant, a delivery that was claimed, a try that is over."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from guilder.core import ids
from guilder.notify.schedule import Reply
from guilder.platform.db import Row


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a merchant wants which events."""

    book_id: UUID
    id: UUID
    url: str
    enabled_events: tuple[str, ...]
    api_version: str
    description: str | None
    metadata: str  # JSON
    secret: bytes  # sealed, see `about`
    created_at: datetime
    old_secret: bytes | None = None
    old_until: datetime | None = None
    status: str = "enabled"
    reason: str | None = None
    failing_since: datetime | None = None
    version: int = 0
    changed_at: datetime | None = None  # PostgreSQL keeps it


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one endpoint, claimed for one try."""

    book_id: UUID
    endpoint_id: UUID
    event_id: UUID
    tries: int  # with this one
    fence: int
    url: str
    failing: bool
    root_id: UUID


@dataclass(frozen=True, slots=True)
class Tried:
    """A try that is over."""

    delivery: Delivery
    at: datetime
    reply: Reply
    spread: float  # [0, 1): how much of the jitter the next wait gets


def endpoint(row: Row) -> Endpoint:
    """A row of notify.endpoint."""
    values: dict[str, Any] = dict(row)
    values["enabled_events"] = tuple(values["enabled_events"])
    return Endpoint(**values)


def columns(endpoints: Sequence[Endpoint], *names: str) -> list[list[object]]:
    """Endpoints as the columns of a batch statement; lists of events joined by blanks."""
    return [
        [" ".join(e.enabled_events) if name == "enabled_events" else getattr(e, name) for e in endpoints]
        for name in names
    ]


def about(endpoint_id: UUID) -> str:
    """What an endpoint's sealed secrets are bound to."""
    return f"notify.endpoint/{ids.text(endpoint_id)}"
