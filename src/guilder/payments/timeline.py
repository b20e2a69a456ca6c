"""What payments know of a story: the payments with their tries, charges and refunds, how each came to stand where it stands, and why a try
went where it went."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from guilder.core import ids
from guilder.core.amount import Amount
from guilder.platform import timeline
from guilder.platform.db import Row, Tx
from guilder.platform.sql import load
from guilder.platform.timeline import MOST, Entry, Part, Reader, Story, Thing, Tone

Q = load(__package__)
OURS = ("pi", "at", "ch", "re")
OTHERS = frozenset({"evt", "req", "case", "apr", "tra", "cs", "whd", "stm", "jl", "po", "dp", "trd", "ti"})
_TONES: dict[str, Tone] = {
    "succeeded": "good", "failed": "bad", "canceled": "bad", "closed": "bad", "surplus": "bad", "unknown": "wait", "processing": "wait",
}  # fmt: skip
_PREFIX = {"intent": "pi", "attempt": "at", "refund": "re"}


async def find(tx: Tx, said: str, books: Sequence[UUID]) -> Sequence[Thing]:
    """Payments, tries, charges and refunds by our id, by the key that a channel knows, by the channel's number or by the merchant's
    (`metadata[order_id]`)."""
    key, named = timeline.minted(said, books), timeline.whole(said, OURS)
    if key is not None:
        id, books = key
    else:
        id = named[1] if named is not None else ids.parse(said)
    if id is not None:
        rows = await tx.rows(Q.story_of_id, list(books), id)
    elif said.partition("_")[0] in OTHERS:
        rows = []
    else:
        rows = await tx.rows(Q.story_of_reference, list(books), said)
    return [Thing(r["book_id"], r["prefix"], r["id"]) for r in rows if named is None or r["prefix"] == named[0]]


async def gather(tx: Tx, story: Story) -> None:
    """Whole payments, with the keys of what they book."""
    books, named = story.keys(*OURS)
    for r in await tx.rows(Q.story_payments, books, named):
        prefix, book, id = r["prefix"], r["book_id"], r["id"]
        story.add(
            Thing(book, prefix, id), *([ids.mint_key(id, book)] if prefix in ("at", "re") else ()), root=r["root_id"]
        )
        rules = {
            "at": ("charge", "surplus", "surplus_accepted"),
            "re": ("refund", "surplus_refund", "refund_elsewhere"),
        }.get(prefix, ())
        story.journals.update((book, f"{rule}:{ids.text(id)}") for rule in rules)
        if prefix == "re":
            story.journals.add(
                (ids.PLATFORM, f"refund:{ids.text(id)}")
            )  # where the platform gave it back by another road
        if prefix == "ch":
            story.journals.update(((ids.PLATFORM, f"fee:{ids.text(id)}"), (book, f"trade_pledge:{ids.text(id)}")))


async def moves(tx: Tx, story: Story) -> list[Entry]:
    """Every move of a state, and the door through which its reason came."""
    rows = await tx.rows(Q.story_moves, *story.scope(), MOST + 1)
    return [timeline.move(r, ids.show(_PREFIX.get(r["kind"], r["kind"]), r["about"]), _TONES) for r in rows]


async def tries(tx: Tx, story: Story) -> list[Entry]:
    """Where each try went, and why."""
    return [_try(r) for r in await tx.rows(Q.story_attempts, *story.keys("at"))]


async def refunds(tx: Tx, story: Story) -> list[Entry]:
    """What each refund is for."""
    return [_refund(r) for r in await tx.rows(Q.story_refunds, *story.keys("re"))]


async def steps(tx: Tx, story: Story) -> list[Entry]:
    """What plug-ins did around each try, as it stands."""
    return [_step(r) for r in await tx.rows(Q.story_steps, *story.keys("at"))]


def _step(r: Row) -> Entry:
    failed = f", failed {r['failed']} times: {r['why']}" if r["failed"] else ""
    tone: Tone = "bad" if r["failed"] else "wait" if r["due_at"] else "plain"
    says = f"the plug-in {r['plugin']}, {r['point'].replace('_', ' ')}: {r['state']}{failed}"
    return Entry(
        r["created_at"],
        "step",
        ids.show("at", r["attempt_id"]),
        says,
        tone,
        {"plugin": r["plugin"], "point": r["point"], "state": r["state"]},
    )


def _try(r: Row) -> Entry:
    row: dict[str, Any] = msgspec.json.decode(r["row"])
    routed = row.get("routed")
    why = msgspec.json.decode(routed) if isinstance(routed, str) and routed[:1] in "{[" else routed
    said = why.get("rule") or why.get("reason") if isinstance(why, dict) else why
    return Entry(
        r["created_at"], "try", ids.show("at", r["id"]),
        f"{Amount(r['amount'], r['currency'])} by {r['channel']} {r['way']} at {ids.show('ca', r['channel_account_id'])}"
        + (f": {said}" if isinstance(said, str) and said else ""),
        "plain",
        {
            "payment_intent": ids.show("pi", r["intent_id"]), "channel_account": ids.show("ca", r["channel_account_id"]),
            "key": ids.mint_key(r["id"], r["book_id"]), "channel_ref": r["channel_ref"], "state": r["state"], "asked": r["asked"],
            "expires_at": r["expires_at"].isoformat(), "problem": _said(r["problem"]), "routed": why,
        },
    )  # fmt: skip


def _refund(r: Row) -> Entry:
    what = "a surplus goes back" if r["charge_id"] is None else "refund"
    return Entry(
        r["created_at"], "refund", ids.show("re", r["id"]),
        f"{what}: {Amount(r['amount'], r['currency'])}" + (f", {r['reason']}" if r["reason"] else ""), "plain",
        {
            "charge": ids.show("ch", r["charge_id"]) if r["charge_id"] else None, "key": ids.mint_key(r["id"], r["book_id"]),
            "channel_ref": r["channel_ref"], "state": r["state"], "asked": r["asked"], "problem": _said(r["problem"]),
        },
    )  # fmt: skip


def _said(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)


TIMELINE = (
    Part(
        "payments",
        find,
        gather,
        (
            Reader("tries", "payments:read", tries),
            Reader("states", "payments:read", moves),
            Reader("steps", "payments:read", steps),
            Reader("refunds", "refunds:read", refunds),
        ),
    ),
)
