"""Write and read sessions."""

from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec

from guilder.cashier.model import Line, Session, Status
from guilder.platform.db import Database, Row, Tx
from guilder.platform.sql import load

Q = load(__package__)
_lines = msgspec.json.Decoder(list[Line]).decode


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


async def insert(tx: Tx, new: Sequence[Session]) -> None:
    """Write new sessions, in key order."""
    rows = sorted(new, key=lambda s: (s.book_id, s.id))
    await tx.run(
        Q.insert_sessions,
        [s.book_id for s in rows],
        [s.id for s in rows],
        [s.intent_id for s in rows],
        [s.amount for s in rows],
        [s.currency for s in rows],
        [s.customer_id for s in rows],
        [s.customer_email for s in rows],
        [s.client_reference_id for s in rows],
        [_json(s.metadata) for s in rows],
        [s.success_url for s in rows],
        [s.cancel_url for s in rows],
        [s.locale for s in rows],
        [s.submit_type for s in rows],
        ["\n".join(s.types) for s in rows],
        [_json(s.lines) for s in rows],
        [_json(s.extra) for s in rows],
        [s.expires_at for s in rows],
        [s.root_id for s in rows],
        [s.business_line for s in rows],
        [s.created_at for s in rows],
    )


async def lock_of_intents(tx: Tx, intents: Iterable[tuple[UUID, UUID]]) -> dict[tuple[UUID, UUID], Session]:
    """Lock the sessions of payments, by the payment's key."""
    keys = sorted(set(intents))
    rows = await tx.rows(Q.lock_sessions_of_intents, [k[0] for k in keys], [k[1] for k in keys])
    return {(r["book_id"], r["intent_id"]): session_of(r) for r in rows}


async def save(tx: Tx, changed: Iterable[Session]) -> None:
    """Write what was said of sessions."""
    rows = sorted(changed, key=lambda s: (s.book_id, s.id))
    await tx.run(
        Q.update_sessions,
        [s.book_id for s in rows],
        [s.id for s in rows],
        [s.status for s in rows],
        [s.version for s in rows],
    )


async def find(source: Tx | Database, book_id: UUID, ids: Sequence[UUID]) -> list[Session]:
    """The sessions of a book among `ids`, as they are now."""
    return [session_of(r) for r in await source.rows(Q.find_sessions, book_id, ids)]


def session_of(row: Row) -> Session:
    """A session from its row."""
    return Session(
        row["book_id"], row["id"], row["version"], Status(row["status"]), row["intent_id"], row["amount"], row["currency"],
        row["customer_id"], row["customer_email"], row["client_reference_id"], msgspec.json.decode(row["metadata"]),
        row["success_url"], row["cancel_url"], row["locale"], row["submit_type"], list(row["types"]), _lines(row["lines"]),
        msgspec.json.decode(row["extra"]), row["expires_at"], row["root_id"], row["business_line"], row["created_at"],
    )  # fmt: skip
