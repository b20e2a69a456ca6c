"""What the book knows of a story: the journals that it led to, line by line, and what other books have yet to post."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from guilder.core import ids
from guilder.core.amount import shown
from guilder.platform import timeline
from guilder.platform.db import Row, Tx
from guilder.platform.sql import load
from guilder.platform.timeline import MOST, Entry, Part, Reader, Story

Q = load(__package__)


async def find(tx: Tx, said: str, books: Sequence[UUID]) -> Sequence[str]:
    """What a journal is about."""
    named = timeline.whole(said, ("jl",))
    return (
        []
        if named is None
        else [ids.text(r["about"]) for r in await tx.rows(Q.story_of_journal, list(books), named[1])]
    )


async def journals(tx: Tx, story: Story) -> list[Entry]:
    """Journals with what they moved, in the order in which they were booked."""
    keys = sorted(k for k in story.journals if k[0] in story.books)
    named = sorted(story.journal_ids)
    rows = await tx.rows(
        Q.story_journals, [b for b, _ in keys], [k for _, k in keys], [b for b, _ in named], [j for _, j in named], MOST + 1
    )  # fmt: skip
    lines: dict[tuple[UUID, str], list[Row]] = {}
    for r in rows:
        lines.setdefault((r["book_id"], r["key"]), []).append(r)
    return [_journal(of) for of in lines.values()]


def _journal(lines: Sequence[Row]) -> Entry:
    first = lines[0]
    named, book = ids.show("jl", first["id"]), _book(first["book_id"])
    if first["refused"]:
        return Entry(
            first["booked_at"],
            "journal",
            named,
            f"{first['key']} is refused: {first['refused']}",
            "bad",
            {"book": book},
        )
    if first["line"] is None:
        return Entry(
            first["booked_at"],
            "journal",
            named,
            f"{first['key']}, in a month that is archived",
            "plain",
            {"book": book},
        )
    moved = [f"{shown(r['units'], r['asset'])} {r['asset']} {_name(r['debit'])} → {_name(r['credit'])}" for r in lines]
    details: dict[str, Any] = {
        "book": book, "key": first["key"], "moved_at": first["at"].isoformat(),
        "lines": [{"debit": r["debit"], "credit": r["credit"], "units": r["units"], "asset": r["asset"], "kind": r["kind"]} for r in lines],
    }  # fmt: skip
    return Entry(
        first["booked_at"], "journal", named, f"{first['rule']} in {book}: {'; '.join(moved)}", "good", details
    )


def _name(code: str | None) -> str:
    """An account's code, shortened: whose it is stands in the details."""
    head, colon, tail = (code or "held").partition(":")
    return f"{head}:…{tail[-4:]}" if colon else head


def _book(id: UUID) -> str:
    return "platform" if id == ids.PLATFORM else ids.show("acct", id)


async def orders(tx: Tx, story: Story) -> list[Entry]:
    """What is ordered and not yet posted."""
    keys = sorted(k for k in story.journals if k[0] in story.books)
    rows = await tx.rows(Q.story_orders, [b for b, _ in keys], [k for _, k in keys])
    return [
        Entry(r["made_at"], "order", _book(r["book_id"]), f"{r['rule']} of {shown(r['units'], r['asset'])} {r['asset']} waits to be posted", "wait",
              {"key": r["key"], "from": _book(r["from_book"]), "problem": r["problem"]})
        for r in rows
    ]  # fmt: skip


TIMELINE = (
    Part("ledger", find, None, (Reader("journals", "ledger:read", journals), Reader("orders", "ledger:read", orders))),
)
