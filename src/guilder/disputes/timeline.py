"""What disputes know of a story: what is in question, until when it can be answered, and how it came to stand where it stands."""

from collections.abc import Sequence
from uuid import UUID

from guilder.core import ids
from guilder.core.amount import Amount
from guilder.platform import timeline
from guilder.platform.db import Row, Tx
from guilder.platform.sql import load
from guilder.platform.timeline import MOST, Entry, Part, Reader, Story, Thing, Tone

Q = load(__package__)
_TONES: dict[str, Tone] = {"won": "good", "lost": "bad", "needs_response": "wait"}


async def find(tx: Tx, said: str, books: Sequence[UUID]) -> Sequence[Thing]:
    """A dispute by its id."""
    named = timeline.whole(said, ("dp",))
    id = named[1] if named is not None else ids.parse(said)
    rows = [] if id is None else await tx.rows(Q.story_of_dispute, list(books), id)
    return [Thing(r["book_id"], "dp", r["id"]) for r in rows]


async def gather(tx: Tx, story: Story) -> None:
    """The disputes of its charges, the payments of its disputes, and what they have booked."""
    for r in await _found(tx, story):
        book, id = r["book_id"], r["id"]
        story.add(Thing(book, "dp", id), root=r["root_id"])
        story.add(Thing(book, "pi", r["intent_id"]))
        story.journals.update((book, f"dispute:{ids.text(id)}:{n}") for n in range(r["moves"] + 1))


async def _found(tx: Tx, story: Story) -> list[Row]:
    return await tx.rows(Q.story_disputes, *story.keys("dp"), *story.keys("ch"))


async def disputes(tx: Tx, story: Story) -> list[Entry]:
    """What is in question."""
    return [
        Entry(
            r["created_at"],
            "dispute",
            ids.show("dp", r["id"]),
            f"{Amount(r['amount'], r['currency'])} in question at {r['channel']}: {r['reason']}"
            + (f", answer until {r['due_at']:%Y-%m-%d %H:%M} UTC" if r["due_at"] else ""),
            "bad",
            {
                "charge": ids.show("ch", r["charge_id"]), "ref": r["ref"], "state": r["state"], "taken": r["taken"],
                "answered": r["submitted_at"].isoformat() if r["submitted_at"] else None,
            },
        )
        for r in await _found(tx, story)
    ]  # fmt: skip


async def moves(tx: Tx, story: Story) -> list[Entry]:
    """Every move of a state."""
    rows = await tx.rows(Q.story_moves, *story.keys("dp"), MOST + 1)
    return [timeline.move(r, ids.show("dp", r["about"]), _TONES) for r in rows]


TIMELINE = (
    Part(
        "disputes",
        find,
        gather,
        (Reader("disputes", "disputes:read", disputes), Reader("dispute states", "disputes:read", moves)),
    ),
)
