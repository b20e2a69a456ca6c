"""What the cashier knows of a story: the session whose page the payer was shown."""

from collections.abc import Sequence
from uuid import UUID

from guilder.cashier import links
from guilder.core import ids
from guilder.core.amount import Amount
from guilder.platform import timeline
from guilder.platform.db import Tx
from guilder.platform.sql import load
from guilder.platform.timeline import Entry, Part, Reader, Story, Thing

Q = load(__package__)
MODES = ("cs_test", "cs_live")


async def find(tx: Tx, said: str, books: Sequence[UUID]) -> Sequence[Thing]:
    """The payment of a session, by the session's id or by `client_reference_id`."""
    named = timeline.whole(said, MODES)
    rows = await tx.rows(Q.story_of_session, list(books), named[1] if named else None, None if named else said)
    return [Thing(r["book_id"], "pi", r["intent_id"]) for r in rows]


async def gather(tx: Tx, story: Story) -> None:
    """The sessions of its payments."""
    for r in await tx.rows(Q.story_sessions, *story.keys("pi")):
        shown = links.show_id(story.livemode, r["id"])
        story.add(Thing(r["book_id"], shown.rpartition("_")[0], r["id"]), root=r["root_id"])


async def sessions(tx: Tx, story: Story) -> list[Entry]:
    """When each was made, and until when it can be paid."""
    return [
        Entry(r["created_at"], "session", links.show_id(story.livemode, r["id"]),
              f"a page for {Amount(r['amount'], r['currency'])} until {r['expires_at']:%Y-%m-%d %H:%M} UTC", "plain",
              {"payment_intent": ids.show("pi", r["intent_id"]), "client_reference_id": r["client_reference_id"], "status": r["status"]})
        for r in await tx.rows(Q.story_sessions, *story.keys("pi"))
    ]  # fmt: skip


TIMELINE = (Part("cashier", find, gather, (Reader("sessions", "checkout:read", sessions),)),)
