"""Release and cancel: the goods have arrived, and sellers get what is held for them; or nothing is bought."""

from collections.abc import Sequence
from uuid import UUID

from guilder.core import clock, ids
from guilder.core.errors import NotFound, WrongState
from guilder.platform import context, trail
from guilder.platform.db import Tx
from guilder.trades import events, life, store
from guilder.trades.life import Scene
from guilder.trades.model import Changes, Whole
from guilder.trades.states import TradeStatus


async def release(tx: Tx, book_id: UUID, trade_id: UUID, items: Sequence[UUID] | None, *, livemode: bool) -> Whole:
    """Give sellers what is held: of these items, or of all, and then of whatever is paid later, too.  Raises NotFound, WrongState."""
    whole = await _lock(tx, book_id, trade_id)
    trade = whole.trade
    if trade.type != "escrow":
        raise WrongState(
            f"A trade of the type {trade.type} holds nothing for its sellers: they have theirs as soon as it is paid."
        )
    chosen = whole.items
    if items is not None:
        chosen = [i for i in whole.items if i.id in items]
        if len(chosen) < len(set(items)):
            strange = next(id for id in items if whole.item(id) is None)
            raise NotFound(f"No such item of {ids.show('trd', trade_id)}: '{ids.show('ti', strange)}'", param="items")
    changes, at = Changes(by=context.current()), clock.now()
    scene = Scene(changes, at, livemode)
    if items is None and trade.released_at is None:
        trade.released_at = at
    elif not any(i.free for i in chosen):
        raise WrongState("Nothing is held of this any more, or it is on its way back.", code="nothing_held")
    units = life.release(scene, whole, chosen)
    changes.touch(trade)
    events.of_trade(changes, "trade.released", whole, at, livemode)
    after = {"amount": units, "items": [ids.show("ti", i.id) for i in chosen]}
    trail.note(tx, "trade.released", ids.show("trd", trade.id), book_id=book_id, after=after)
    await store.save(tx, changes)
    return whole


async def cancel(tx: Tx, book_id: UUID, trade_id: UUID, *, livemode: bool) -> Whole:
    """End a trade that nobody pays for.  Raises NotFound, WrongState."""
    whole = await _lock(tx, book_id, trade_id)
    opened = [ids.show("pi", p.intent_id) for p in whole.parts if p.state == "open"]
    if opened:
        raise WrongState(f"It may still be paid: cancel {', '.join(opened)} first.")
    if whole.trade.status is not TradeStatus.OPEN:
        raise WrongState(
            f"This trade is {whole.trade.status.value}, and cannot be canceled"
            + ("; refund it." if whole.trade.paid else ".")
        )
    changes = Changes(by=context.current())
    life.cancel(Scene(changes, clock.now(), livemode), whole)
    trail.note(tx, "trade.canceled", ids.show("trd", trade_id), book_id=book_id)
    await store.save(tx, changes)
    return whole


async def _lock(tx: Tx, book_id: UUID, trade_id: UUID) -> Whole:
    found = await store.lock(tx, [(book_id, trade_id)])
    if (book_id, trade_id) not in found:
        raise NotFound(f"No such trade: '{ids.show('trd', trade_id)}'", param="trade")
    return found[book_id, trade_id]
