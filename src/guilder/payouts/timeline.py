"""What payouts know of a story: what went out, to whom as far as it may be seen, and how it came to stand where it stands."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from guilder.core import ids
from guilder.core.amount import Amount
from guilder.platform import timeline
from guilder.platform.db import Tx
from guilder.platform.sql import load
from guilder.platform.timeline import MOST, Entry, Part, Reader, Story, Thing, Tone

Q = load(__package__)
RULES = ("payout_held", "payout", "payout_failed", "payout_returned")
_TONES: dict[str, Tone] = {"paid": "good", "succeeded": "good", "failed": "bad", "canceled": "bad", "unknown": "wait"}


async def find(tx: Tx, said: str, books: Sequence[UUID]) -> Sequence[Thing]:
    """A payout by its id, by the key that a channel knows, or by the channel's number."""
    key = timeline.minted(said, books)
    if key is not None:
        id, books = key
    else:
        named = timeline.whole(said, ("po",))
        id = named[1] if named is not None else ids.parse(said)
    rows = await tx.rows(Q.story_of_payout, list(books), id, None if id is not None else said)
    return [Thing(r["book_id"], "po", r["id"]) for r in rows]


async def gather(tx: Tx, story: Story) -> None:
    """The keys under which payouts are known and booked."""
    for r in await tx.rows(Q.story_payouts, *story.keys("po")):
        book, id = r["book_id"], r["id"]
        story.add(Thing(book, "po", id), ids.mint_key(id, book), root=r["root_id"])
        story.journals.update((book, f"{rule}:{ids.text(id)}") for rule in RULES)


async def payouts(tx: Tx, story: Story) -> list[Entry]:
    """What was to go out."""
    return [
        Entry(
            r["created_at"],
            "payout",
            ids.show("po", r["id"]),
            f"{Amount(r['amount'], r['currency'])} by {r['channel']} at {ids.show('ca', r['channel_account_id'])}",
            "plain",
            {
                "key": ids.mint_key(r["id"], r["book_id"]), "channel_ref": r["channel_ref"], "state": r["state"], "asked": r["asked"],
                "payee": msgspec.json.decode(r["shown"]), "problem": msgspec.json.decode(r["problem"]) if r["problem"] else None,
            },
        )
        for r in await tx.rows(Q.story_payouts, *story.keys("po"))
    ]  # fmt: skip


async def moves(tx: Tx, story: Story) -> list[Entry]:
    """Every move of a state."""
    rows = await tx.rows(Q.story_moves, *story.keys("po"), MOST + 1)
    return [timeline.move(r, ids.show("po", r["about"]), _TONES) for r in rows]


TIMELINE = (
    Part(
        "payouts",
        find,
        gather,
        (Reader("payouts", "payouts:read", payouts), Reader("payout states", "payouts:read", moves)),
    ),
)
