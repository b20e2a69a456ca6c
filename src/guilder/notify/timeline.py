"""What notify knows of a story: the webhooks of its events, each try with what the merchant's endpoint answered."""

from collections.abc import Sequence
from uuid import UUID

from guilder.core import ids
from guilder.platform import timeline
from guilder.platform.db import Row, Tx
from guilder.platform.sql import load
from guilder.platform.telemetry import redact
from guilder.platform.timeline import MOST, Entry, Part, Reader, Story

Q = load(__package__)


async def find(tx: Tx, said: str, books: Sequence[UUID]) -> Sequence[str]:
    """A delivery is named after its event."""
    named = timeline.whole(said, ("whd",))
    return [] if named is None else [ids.show("evt", named[1])]


async def webhooks(tx: Tx, story: Story) -> list[Entry]:
    """Deliveries: every try, and what still waits."""
    return [_entry(r) for r in await tx.rows(Q.story_tries, *story.scope(), MOST + 1)]


def _entry(r: Row) -> Entry:
    shown, to = ids.show("whd", r["event_id"]), f"{r['type']} to {ids.show('we', r['endpoint_id'])}"
    details = {"endpoint": ids.show("we", r["endpoint_id"]), "url": r["url"].partition("?")[0], "event": ids.show("evt", r["event_id"]),
               "state": r["state"]}  # fmt: skip
    if r["at"] is None:
        waits = f", next try at {r['run_at']:%Y-%m-%d %H:%M:%S} UTC" if r["state"] == "pending" else ""
        return Entry(r["created_at"], "webhook", shown, f"{to}: {r['state']}, no try is known{waits}", "wait", details)
    answer = f"HTTP {r['status']}" if r["status"] else "no answer"
    said = f"{to}: {answer} after {r['took_ms']} ms" + (f": {r['error']}" if r["error"] else "")
    return Entry(
        r["at"], "webhook", shown, redact(said), "bad" if r["error"] else "good",
        details | {"status": r["status"], "took_ms": r["took_ms"], "error": r["error"], "response": redact(r["response"])},
    )  # fmt: skip


TIMELINE = (Part("notify", find, None, (Reader("webhooks", "webhooks:read", webhooks),)),)
