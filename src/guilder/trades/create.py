"""Create: write down what is bought.  One phase; nobody is asked for money yet."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from guilder.core import clock, ids
from guilder.core.errors import GuilderError, Invalid, NotFound
from guilder.platform.context import Context
from guilder.platform.db import Row, Tx
from guilder.platform.environment import LaneSpec
from guilder.platform.idempotency import Asked, Reply
from guilder.platform.once import one_phase
from guilder.platform.sql import load
from guilder.trades import events, present, store
from guilder.trades.model import Changes, Key, Trade, Whole
from guilder.trades.present import TradeObject

Q = load(__package__)


@dataclass(frozen=True, slots=True)
class NewTrade:
    """A trade that exists in memory only."""

    whole: Whole
    by: Context
    livemode: bool


async def create_many(tx: Tx, new: list[NewTrade]) -> Sequence[Whole | GuilderError]:
    """Create each trade; a number names one trade, and a sub-trade has a parent that is none itself."""
    named = [(n.whole.trade.book_id, ref) for n in new if (ref := n.whole.trade.merchant_ref) is not None]
    rows = await tx.rows(Q.taken_refs, [b for b, _ in named], [r for _, r in named]) if named else []
    taken = {(r["book_id"], r["merchant_ref"]): r["id"] for r in rows}
    above = [(n.whole.trade.book_id, id) for n in new if (id := n.whole.trade.parent_id) is not None]
    rows = await tx.rows(Q.find_parents, [b for b, _ in above], [id for _, id in above]) if above else []
    parents = {(r["book_id"], r["id"]): r for r in rows}
    changes, at = Changes(), clock.now()
    results: list[Whole | GuilderError] = []
    for n in new:
        # A copy: a batch that runs again must not find what its first run changed.
        trade = replace(n.whole.trade, metadata=dict(n.whole.trade.metadata))
        refused = _refusal(trade, taken, parents)
        if refused is not None:
            results.append(refused)
            continue
        if trade.merchant_ref is not None:
            taken[trade.book_id, trade.merchant_ref] = trade.id
        whole = Whole(trade, [replace(i) for i in n.whole.items])
        changes.by = n.by
        changes.new_trades[trade.key] = trade
        changes.new_items.update((i.key, i) for i in whole.items)
        events.of_trade(changes, "trade.created", whole, at, n.livemode)
        results.append(whole)
    await store.save(tx, changes)
    return results


def _refusal(trade: Trade, taken: dict[tuple[object, str], object], parents: dict[Key, Row]) -> GuilderError | None:
    earlier = taken.get((trade.book_id, trade.merchant_ref or ""))
    if earlier is not None:
        return Invalid(
            f"merchant_ref '{trade.merchant_ref}' names {ids.show('trd', earlier)} already.",  # pyrefly: ignore
            code="merchant_ref_taken",
            param="merchant_ref",
        )
    if trade.parent_id is None:
        return None
    parent = parents.get((trade.book_id, trade.parent_id))
    if parent is None:
        return NotFound(f"No such trade: '{ids.show('trd', trade.parent_id)}'", param="parent")
    if parent["parent_id"] is not None:
        return Invalid("A sub-trade has no sub-trades: name its parent.", param="parent")
    if parent["currency"] != trade.currency or parent["status"] == "canceled":
        why = "is canceled" if parent["status"] == "canceled" else f"is in {parent['currency'].lower()}"
        return Invalid(f"The parent {why}: this cannot be a part of it.", param="parent")
    return None


def _render(new: NewTrade, whole: Whole) -> TradeObject:
    return present.trade(whole, livemode=new.livemode)


CREATE: LaneSpec[Asked[NewTrade], Reply] = one_phase("trades.create", create_many, _render)
