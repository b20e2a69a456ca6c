"""What trades know of a story: the trade that a payment is of, its parts, and where the money of each item went."""

from collections.abc import Sequence
from uuid import UUID

from guilder.core import ids
from guilder.core.amount import Amount
from guilder.platform import timeline
from guilder.platform.db import Tx
from guilder.platform.sql import load
from guilder.platform.timeline import MOST, Entry, Part, Reader, Story, Thing

Q = load(__package__)
SAID = {
    "paid": "is paid for",
    "released": "goes to its seller",
    "returned": "goes back from what is held",
    "taken_back": "is taken back",
}


async def find(tx: Tx, said: str, books: Sequence[UUID]) -> Sequence[Thing]:
    """A trade by its id, an item's id, or the merchant's number."""
    trade, item = timeline.whole(said, ("trd",)), timeline.whole(said, ("ti",))
    ref = said if trade is None and item is None else None
    rows = await tx.rows(Q.story_of_trade, list(books), trade[1] if trade else None, item[1] if item else None, ref)
    return [Thing(r["book_id"], "trd", r["id"]) for r in rows]


async def gather(tx: Tx, story: Story) -> None:
    """Of a trade that was asked for its payments and sub-trades, of a payment its trade; and the journals of what was dealt out."""
    asked = [t for t in story.of("trd") if t.id in story.asked]
    books, named = story.keys("pi")
    for r in await tx.rows(Q.story_trades, [t.book_id for t in asked], [t.id for t in asked], books, named):
        thing = Thing(r["book_id"], r["prefix"], r["id"])
        if r["prefix"] == "trd" and r["below"]:
            story.asked.add(thing.id)
        story.add(thing, root=r["root_id"])
    for r in await tx.rows(Q.story_deals, *story.keys("trd"), MOST):
        rule, _, move = (r["journal"] or "").partition(":")
        here, there = r["book_id"], r["seller_id"]
        if rule == "trade_back":
            story.journals.update(((there, f"trade_back:{move}"), (here, f"trade_returned:{move}")))
        elif rule:
            story.journals.update(((here, f"{rule}:{move}"), (there, f"trade_income:{move}")))


async def trades(tx: Tx, story: Story) -> list[Entry]:
    """What was bought, and what was asked for it."""
    found = []
    for r in await tx.rows(Q.story_made, *story.keys("trd")):
        money = Amount(r["amount"], r["currency"])
        said = (
            f"{r['type']} of {r['n']} items for {money}" + (f", {r['merchant_ref']}" if r["merchant_ref"] else "")
            if r["intent_id"] is None
            else f"{r['purpose']} of {money} by {ids.show('pi', r['intent_id'])}"
        )
        details = {"status": r["status"], "payment_intent": ids.show("pi", r["intent_id"]) if r["intent_id"] else None}
        found.append(Entry(r["created_at"], "trade", ids.show("trd", r["id"]), said, "plain", details))
    return found


async def deals(tx: Tx, story: Story) -> list[Entry]:
    """Where the money of each item went."""
    return [
        Entry(r["at"], "deal", ids.show("trd", r["trade_id"]), f"{Amount(r['units'], r['currency'])} of {r['name'] or 'no item'} {SAID[r['kind']]}",
              "plain" if r["kind"] in ("paid", "released") else "bad",
              {"item": ids.show("ti", r["item_id"]) if r["name"] else None, "seller": ids.show("acct", r["seller_id"]), "journal": r["journal"],
               "refund": ids.show("re", r["refund_id"]) if r["refund_id"] else None,
               "payment_intent": ids.show("pi", r["intent_id"]) if r["intent_id"] else None})
        for r in await tx.rows(Q.story_deals, *story.keys("trd"), MOST + 1)
        if not {r["intent_id"], r["refund_id"]} - {None} or {r["intent_id"], r["refund_id"]} & story.things.keys()
    ]  # fmt: skip


TIMELINE = (
    Part("trades", find, gather, (Reader("trades", "payments:read", trades), Reader("deals", "payments:read", deals))),
)
