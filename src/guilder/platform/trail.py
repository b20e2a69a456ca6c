"""The trail: who did what, when, from where, what was before and after, and why.

    trail.note(tx, "refund.created", ids.show("re", refund.id), book_id=refund.book_id, after={"amount": 100}, why="damaged")

It is written in the commit of what it tells.  Who, from where and for which request is the context's.  No secret and nothing personal
belongs in it: it is kept for ever.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from guilder.core import clock, ids
from guilder.platform import context
from guilder.platform.context import Context
from guilder.platform.db import Tx
from guilder.platform.sql import load

Q = load(__package__)


def note(
    tx: Tx,
    action: str,
    subject: str,
    *,
    book_id: UUID = ids.PLATFORM,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    why: str = "",
    by: Context | None = None,
) -> None:
    """Have it written with the transaction.  `by`: whose context it is, where a batch serves many."""
    c = by or context.current()
    tx.write(
        Q.insert_trail, book_id, ids.new_id(), clock.now(), c.actor or "operator", c.place, action, subject, _json(before), _json(after),
        why, c.request_id, c.root_id,
    )  # fmt: skip


def _json(said: Mapping[str, Any] | None) -> str | None:
    return None if said is None else msgspec.json.encode(said).decode()
