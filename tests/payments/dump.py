"""Everything that a book holds, comparable with another book that did the same: ids by their order, instants by being there."""

import json
from typing import Any
from uuid import UUID

from guilder.core import ids
from guilder.platform.db import Database
from guilder.platform.sql import Query

TABLES = ("intent", "attempt", "charge", "refund")
INSTANTS = ("ask_at", "cancel_wanted_at", "canceled_at", "paid_at", "done_at")
LEFT_OUT = {
    "book_id",
    "root_id",
    "created_at",
    "expires_at",
    "channel_account_id",
    "next_action",
    "extra",
    "channel_ref",
}
SAID = ("object", "status", "amount", "amount_received", "amount_refunded", "refunded", "reason", "cancellation_reason")


async def dump(db: Database, book: UUID) -> dict[str, list[Any]]:
    """The rows of payments, the journals, what was said, and every move, in order."""
    names: dict[UUID, str] = {book: "book"}
    rows = {t: await _rows(db, f"SELECT * FROM payments.{t} WHERE book_id = $1 ORDER BY id", book) for t in TABLES}
    for table, found in rows.items():
        names |= {r["id"]: f"{table} {n}" for n, r in enumerate(found)}
    told: dict[str, list[Any]] = {t: [_row(r, names) for r in found] for t, found in rows.items()}
    lines = await _rows(db, "SELECT * FROM ledger.line WHERE book_id = $1", book)
    told["book"] = sorted(
        [
            r["key"].partition(":")[0],
            names[r["about"]],
            r["debit"].partition(":")[0],
            r["credit"].partition(":")[0],
            r["units"],
        ]
        for r in lines
    )
    moves = await _rows(db, "SELECT * FROM payments.history WHERE book_id = $1 ORDER BY id", book)
    told["moves"] = sorted(
        [names[r["about"]], n, r["was"], r["became"], r["door"]] for n, r in _numbered(moves, "about")
    )
    events = await _rows(db, "SELECT * FROM platform.event WHERE book_id = $1 ORDER BY object_id, object_version", book)
    told["events"] = sorted([names[r["object_id"]], r["object_version"], r["type"], _said(r["data"])] for r in events)
    cases = await _rows(db, "SELECT * FROM platform.case WHERE book_id = $1", book)
    told["cases"] = sorted([r["kind"], names[_subject(r["subject"])]] for r in cases)
    answers = await _rows(db, "SELECT * FROM platform.answer WHERE book_id = $1 ORDER BY key", book)
    told["answers"] = [[r["key"], r["state"], r["status"], names.get(r["subject"])] for r in answers]
    return told


def _subject(key: str) -> UUID:
    found = ids.split_key(key)
    assert found is not None
    return found[0]


def _numbered(rows: list[dict[str, Any]], by: str) -> list[tuple[int, dict[str, Any]]]:
    seen: dict[Any, int] = {}
    numbered = []
    for r in rows:
        seen[r[by]] = seen.get(r[by], 0) + 1
        numbered.append((seen[r[by]], r))
    return numbered


async def _rows(db: Database, sql: str, book: UUID) -> list[dict[str, Any]]:
    return [dict(r) for r in await db.rows(Query("dump", sql), book)]


def _row(row: dict[str, Any], names: dict[UUID, str]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for column, value in row.items():
        if column in INSTANTS:
            shown[column] = value is not None
        elif column not in LEFT_OUT:
            shown[column] = names.get(value, value) if isinstance(value, UUID) else value
    return shown


def _said(data: str) -> str:
    body = json.loads(data)
    return json.dumps({k: body[k] for k in SAID if k in body})
