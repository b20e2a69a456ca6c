"""What reconciliation knows of a story: the lines of channels' statements that name it, their matches and breaks."""

from collections.abc import Sequence
from uuid import UUID

from guilder.core import ids
from guilder.core.amount import Amount
from guilder.platform import timeline
from guilder.platform.db import Row, Tx
from guilder.platform.sql import load
from guilder.platform.timeline import MOST, Entry, Part, Reader, Story

Q = load(__package__)


async def find(tx: Tx, said: str, books: Sequence[UUID]) -> Sequence[str]:
    """The key in a line of a statement: 'stm_…:12'."""
    head, _, number = said.rpartition(":")
    named = timeline.whole(head, ("stm",))
    if named is None or not (number.isascii() and number.isdigit() and len(number) <= 9):
        return []
    return [r["key"] for r in await tx.rows(Q.story_of_line, list(books), named[1], int(number))]


async def lines(tx: Tx, story: Story) -> list[Entry]:
    """What channels' files say of it."""
    books, things, _ = story.scope()
    return [_line(story, r) for r in await tx.rows(Q.story_lines, books, things, MOST + 1)]


def _line(story: Story, r: Row) -> Entry:
    about = story.who(r["about"])
    state = "an older version" if r["archived"] else "matched" if r["matched"] else "not matched"
    said = f"{r['kind']} of {Amount(r['amount'], r['currency'])}, {r['status']}: {state}"
    return Entry(
        r["fetched_at"], "statement", about, f"{r['channel']} {r['day']:%Y-%m-%d}, line {r['number']}: {said}",
        "good" if r["matched"] else "plain",
        {
            "line": f"{ids.show('stm', r['statement_id'])}:{r['number']}", "key": r["key"], "channel_ref": r["channel_ref"],
            "moved_at": r["at"].isoformat(), "fee": r["fee"], "fee_exponent": r["fee_exponent"],
        },
    )  # fmt: skip


async def breaks(tx: Tx, story: Story) -> list[Entry]:
    """What did not agree, and how it ended."""
    books, things, _ = story.scope()
    found = []
    for r in await tx.rows(Q.story_breaks, books, things, MOST + 1):
        shown, day = story.who(r["about"]), f"{r['day']:%Y-%m-%d}"
        details = {
            "statement": ids.show("stm", r["statement_id"]), "reason": r["reason"], "state": r["state"], "channel_amount": r["channel_amount"],
            "our_amount": r["our_amount"], "our_state": r["our_state"], "owner": r["owner"],
            "case": None if r["case_id"] is None else ids.show("case", r["case_id"]), "decided_by": r["decided_by"],
        }  # fmt: skip
        found.append(Entry(r["created_at"], "break", shown, f"break of {day}: {r['reason']}", "bad", details))
        if r["resolved_at"] is not None:
            said = f"break of {day} is {r['state']}" + (f": {r['resolution']}" if r["resolution"] else "")
            found.append(Entry(r["resolved_at"], "break", shown, said, "good", details))
    return found


TIMELINE = (
    Part(
        "reconciliation", find, None, (Reader("statements", "payments:read", lines), Reader("breaks", "payments:read", breaks))
    ),
)  # fmt: skip
