"""What a merchant does to endpoints: make, change, roll the secret, remove.  A batch is folded over the locked rows, in order."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from guilder.core import ids
from guilder.core.errors import GuilderError, NotFound, Rejected
from guilder.notify.model import Endpoint, columns, endpoint
from guilder.notify.settle import save
from guilder.platform.db import Tx
from guilder.platform.sql import load
from guilder.platform.web.params import merge_metadata

Q = load(__package__)
MAX_ENDPOINTS = 16  # of one book, as at Stripe


class TooManyEndpoints(Rejected):
    """You have reached the maximum of 16 webhook endpoints. Delete one first."""

    code = "webhook_endpoints_limit"


@dataclass(frozen=True, slots=True)
class Update:
    """New values; UNSET: as it was.  Enabling it, or moving it to another URL, forgets that it was failing."""

    url: str | UnsetType = UNSET
    enabled_events: tuple[str, ...] | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    metadata: dict[str, str] | UnsetType | None = UNSET
    disabled: bool | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class Roll:
    """A new secret; the old one signs beside it for `overlap_s` (0: not at all)."""

    secret: bytes  # sealed
    overlap_s: int


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove it; its secrets are erased, its delivery log is forgotten in time."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of one endpoint."""

    book_id: UUID
    id: UUID
    what: Update | Roll | Remove
    at: datetime


async def create_many(tx: Tx, new: Sequence[Endpoint]) -> list[Endpoint | GuilderError]:
    """Store the new endpoints, up to MAX_ENDPOINTS of a book."""
    rows = await tx.rows(Q.count_endpoints, [e.book_id for e in new])
    count = {r["book_id"]: r["n"] for r in rows}
    results: list[Endpoint | GuilderError] = []
    for e in new:
        count[e.book_id] = count.get(e.book_id, 0) + 1
        results.append(e if count[e.book_id] <= MAX_ENDPOINTS else TooManyEndpoints())
    made = [e for e in results if isinstance(e, Endpoint)]
    if made:
        names = (
            "book_id",
            "id",
            "url",
            "enabled_events",
            "api_version",
            "description",
            "metadata",
            "secret",
            "created_at",
        )
        await tx.run(Q.insert_endpoints, *columns(made, *names))
    return results


async def change_many(tx: Tx, changes: Sequence[Change]) -> list[Endpoint | GuilderError]:
    """Apply the changes, each seeing those before it.  Answers each endpoint as it was left; NotFound where there is none."""
    rows = await tx.rows(Q.lock_endpoints, [c.book_id for c in changes], [c.id for c in changes])
    held = {(e.book_id, e.id): e for e in map(endpoint, rows)}
    results: list[Endpoint | GuilderError] = []
    for c in changes:
        before = held.get((c.book_id, c.id))
        if before is None or before.status == "deleted":
            results.append(no_such_endpoint(ids.show("we", c.id)))
            continue
        try:
            results.append(_apply(before, c))
        except GuilderError as refusal:
            results.append(refusal)
        else:
            held[c.book_id, c.id] = results[-1]  # pyrefly: ignore[unsupported-operation] - no refusal here
    changed = {(e.book_id, e.id): e for e in results if isinstance(e, Endpoint)}
    if changed:
        await save(tx, list(changed.values()))
    if ended := [e for e in changed.values() if e.status != "enabled"]:
        await tx.run(Q.end_deliveries, [e.book_id for e in ended], [e.id for e in ended], changes[0].at)
    return results


def _apply(e: Endpoint, change: Change) -> Endpoint:
    match change.what:
        case Remove():
            return replace(e, status="deleted", reason=None, secret=b"", old_secret=None, old_until=None)
        case Roll(secret, overlap_s):
            until = change.at + timedelta(seconds=overlap_s) if overlap_s else None
            return replace(e, secret=secret, old_secret=e.secret if overlap_s else None, old_until=until)
        case Update() as u:
            changed = replace(
                e,
                url=e.url if u.url is UNSET else u.url,
                enabled_events=e.enabled_events if u.enabled_events is UNSET else u.enabled_events,
                description=e.description if u.description is UNSET else u.description,
                metadata=msgspec.json.encode(merge_metadata(msgspec.json.decode(e.metadata), u.metadata)).decode(),
            )
            if u.disabled is True:
                return replace(changed, status="disabled", reason=e.reason or "merchant")
            if u.disabled is False or changed.url != e.url:
                changed = replace(changed, failing_since=None)
            return replace(changed, status="enabled", reason=None) if u.disabled is False else changed


def no_such_endpoint(id: str) -> NotFound:
    """The refusal for an id that names no endpoint of the caller's."""
    return NotFound(f"No such webhook endpoint: '{id}'", param="webhook_endpoint")
