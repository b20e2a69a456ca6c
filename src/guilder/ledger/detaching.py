"""Take months out of the book that nobody reads any more, and bring them back.

    detach(db, date(2026, 1, 1), tell)       the oldest month, when every book that has entries in it is closed beyond the month after it
    attach(db, date(2026, 1, 1))             the one that went last

Nothing is deleted: its partitions move to the schema `archive`, as they are.  What every book was at the month's end is recorded once
(ledger.detached, opening, reserved), and from there `verify` proves the rest.  Keys stay: what was posted in the month still answers
`exists`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import date
from typing import TypeVar
from uuid import UUID

from guilder.core import ids
from guilder.core.errors import Busy, NotFound, Rejected
from guilder.ledger import seal
from guilder.ledger.verify import Tell, verify
from guilder.platform import trail
from guilder.platform.db import Contended, Database, Tx, plan_freely
from guilder.platform.sql import load

Q = load(__package__)
WAIT_MS, REST_S = (
    500,
    1.0,
)  # for tables that others use: whoever posts meanwhile waits behind us, so not for long at once
PATIENCE_S = 15.0  # and so long in all
T = TypeVar("T")


class StaysAttached(Rejected):
    """This month cannot be detached now."""

    code = "ledger_month_stays"


class Unsound(Rejected):
    """The book is not sound, and what is not proved is not archived: `guilder ledger verify` says more."""

    code = "ledger_unsound"


async def detach(db: Database, month: date, tell: Tell, *, patience_s: float = PATIENCE_S) -> int:
    """Move the oldest month to the archive; how many books had entries in it.  The whole book is verified first.

    Raises StaysAttached with what is in the way, Unsound, Busy.
    """
    await seal.seal(db, durable=True)
    await _hindered(db, month)
    async for broken in verify(db, tell):
        raise Unsound(f"{broken.invariant} {broken.subject}: {broken.fault}. What is not proved is not archived.")

    async def work(tx: Tx) -> int:
        await plan_freely(tx)
        books = int(await tx.value(Q.detach, month))
        trail.note(tx, "ledger.month_detached", f"{month:%Y-%m}", after={"books": books})
        return books

    return await _patiently(db, work, patience_s)


async def _patiently(db: Database, work: Callable[[Tx], Awaitable[T]], patience_s: float) -> T:
    until = time.monotonic() + patience_s
    while True:
        try:
            return await db.transact(work, lock_timeout_ms=WAIT_MS)
        except Contended as error:
            if time.monotonic() > until:
                raise Busy(
                    "The book's tables were in use all the time, by long reports perhaps: nothing was done. Try again."
                ) from error
            await asyncio.sleep(REST_S)


async def _hindered(db: Database, month: date) -> None:
    async def work(tx: Tx) -> list[tuple[str, UUID | None]]:
        await plan_freely(tx)
        return [(r["why"], r["book_id"]) for r in await tx.rows(Q.hindrances, month)]

    said: dict[str, list[str]] = {}
    for why, book in await db.transact(work, durable=False):
        said.setdefault(why, []).append("" if book is None else ids.text(book))
    for why, means in (
        ("young", f"{month:%Y-%m} is not over, or only just: it may still be written to."),
        ("absent", f"The book has no partitions of {month:%Y-%m}: it was detached, or never there."),
        ("older", f"An older month than {month:%Y-%m} is attached; the oldest goes first."),
        ("rest", f"Entries of {month:%Y-%m} or before lie in the partition for the rest, which stays attached."),
        ("open", f"{month:%Y-%m} stays until the month after it is closed in every book that has entries in it; these are not: {{books}}. "
                 "Close them with `guilder ledger close`."),
        ("unsealed", "Not everything is sealed, in these books: {books}. Try again."),
    ):  # fmt: skip
        if why in said:
            books = said[why]
            named = ", ".join(books[:10]) + (f" and {len(books) - 10} more" if len(books) > 10 else "")
            raise StaysAttached(means.format(books=named))


async def attach(db: Database, month: date) -> None:
    """Bring the month back that was detached last.  Raises NotFound, Busy."""

    async def work(tx: Tx) -> str | None:
        await plan_freely(tx)
        why = await tx.value(Q.attach, month)
        if why is None:
            trail.note(tx, "ledger.month_attached", f"{month:%Y-%m}")
        return why

    why = await _patiently(db, work, PATIENCE_S)
    if why == "gone":
        raise NotFound(
            f"The archive has no longer all of {month:%Y-%m}: restore its tables to the schema `archive` first."
        )
    if why is not None:
        months = [f"{r['until']:%Y-%m-%d}" for r in await db.rows(Q.archived_months)]
        last = f"what ends at {months[0]} comes back first" if months else "no month is"
        raise NotFound(f"{month:%Y-%m} is not the month that was detached last; {last}.")
