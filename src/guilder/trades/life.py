"""The life of a trade: pure decisions over what a batch has locked.

Each function changes the objects it is given and notes in `Changes` what must be written.  Nothing here awaits, so a batch equals its items
one at a time, in order.

    paid       pledged -> held by its item                   no journal: the money was set aside with its charge
    released   held -> its seller                            `trade_share`: pledged -> clearing:<seller>, and his payable by an order;
                                                             `trade_kept`: pledged -> payable, if it is the asker's own
    returned   held -> who asked, for a refund that is done  `trade_unpledge`: pledged -> payable
    taken_back its seller -> who asked, for the same         `trade_back` in the seller's book: payable -> clearing:<asker>, and an order
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from guilder.core import ids
from guilder.core.check import must
from guilder.ledger import Account, Journal, Order, Transfer, clearing, payable, pledged
from guilder.platform.case import Case
from guilder.trades import events
from guilder.trades.model import NO_ITEM, Changes, GiveBack, Item, Move, Part, Trade, Whole
from guilder.trades.share import deal, draw
from guilder.trades.states import TRADE_NEXT, TradeStatus

S = TradeStatus


class Scene(msgspec.Struct, frozen=True):
    """One item's surroundings: where decisions are noted, what time it is, and in which kind of environment."""

    changes: Changes
    at: datetime
    livemode: bool


def paid(scene: Scene, whole: Whole, part: Part, units: int) -> int:
    """A payment has succeeded: deal it out to the items.  What none of them wants any more is answered: it is too much, and goes back."""
    if part.state == "paid":
        return 0  # told twice, it counts once
    trade = whole.trade
    if part.state == "open":
        trade.reserved -= part.amount
    wanted = [i.amount - i.paid for i in whole.items]
    excess = max(0, units - sum(wanted))
    part.state, part.received, part.excess = "paid", units, excess
    scene.changes.parts[part.key] = part
    for item, share in zip(whole.items, deal(units - excess, wanted), strict=True):
        if share:
            item.paid += share
            item.held += share
            _note(scene, trade, item, "paid", share, item.seller_id, None, intent_id=part.intent_id)
    trade.paid += units - excess
    scene.changes.touch(trade, whole.items)
    if units == excess:
        return excess
    _move(trade, S.PAID if trade.paid == trade.amount or _captured_less(trade, part) else S.PARTLY_PAID)
    events.of_trade(
        scene.changes, f"trade.{'paid' if trade.status is S.PAID else 'partly_paid'}", whole, scene.at, scene.livemode
    )
    if trade.releases:
        release(scene, whole, whole.items)
    return excess


def _captured_less(trade: Trade, part: Part) -> bool:
    """Whether all was held and less was captured: there is nothing more to come."""
    return trade.type == "pre_authorisation" and 0 < part.received < part.amount


def ended(scene: Scene, whole: Whole, part: Part) -> None:
    """A payment can be paid no more: another one may ask for what it asked for."""
    if part.state != "open":
        return
    part.state = "canceled"
    whole.trade.reserved -= part.amount
    scene.changes.parts[part.key] = part
    scene.changes.touch(whole.trade)


def release(scene: Scene, whole: Whole, items: Iterable[Item]) -> int:
    """What is held goes to the sellers, but for what a refund on its way will give back; how much that was."""
    trade, done = whole.trade, 0
    for item in items:
        units = item.free
        if not units:
            continue
        item.held -= units
        item.released += units
        done += units
        own = item.seller_id == trade.book_id
        rule = "trade_kept" if own else "trade_share"
        move = _note(scene, trade, item, "released", units, item.seller_id, rule)
        if own:
            _book(scene, trade, move, trade.book_id, rule, pledged(trade.currency), payable(trade.currency))
        else:
            _send(scene, trade, move, trade.book_id, rule, pledged(trade.currency), item.seller_id, "trade_income")
        scene.changes.items[item.key] = item
    return done


def reserve(
    scene: Scene, whole: Whole, wanted: Sequence[tuple[Item, int]], charges: Sequence[tuple[UUID, int]]
) -> list[list[int]]:
    """Reserve what is to go back: for each charge (its payment, and how much of it is left) what it gives back of each item that is wanted."""
    trade = whole.trade
    left = [units for _, units in charges]
    taken = [[0] * len(wanted) for _ in charges]
    for n, (item, units) in enumerate(wanted):
        must(item.refunded + units <= item.paid, "T4: no more goes back than was paid")
        for c, units_of_charge in enumerate(draw(units, left)):
            taken[c][n] = units_of_charge
            left[c] -= units_of_charge
        item.refunded += units
        trade.refunded += units
    scene.changes.touch(trade, [item for item, _ in wanted])
    return taken


def give_back(scene: Scene, whole: Whole, refund_id: UUID, of: Iterable[tuple[UUID, int]]) -> None:
    """Note which items a refund is of."""
    trade = whole.trade
    for item_id, units in of:
        if units:
            row = GiveBack(trade.book_id, refund_id, item_id, trade.id, units, "open", scene.at)
            whole.back.append(row)
            scene.changes.new_back[row.key] = row


def refunded(scene: Scene, whole: Whole, refund_id: UUID) -> None:
    """A refund is done: its items give back what they got, first what is held, then what their sellers have."""
    mine = _open(whole, refund_id)
    if not mine:
        return
    trade = whole.trade
    for row in mine:
        row.state = "done"
        scene.changes.back[row.key] = row
        item = whole.item(row.item_id)
        if item is None:
            _unpledge(scene, trade, None, row.units, refund_id)
            continue
        from_held = min(item.held, row.units)
        if from_held:
            item.held -= from_held
            _unpledge(scene, trade, item, from_held, refund_id)
        if from_held < row.units:
            _take_back(scene, trade, item, row.units - from_held, refund_id)
        item.returned += row.units
        trade.returned += row.units
        scene.changes.items[item.key] = item
    scene.changes.touch(trade)
    if trade.paid and trade.returned == trade.paid:
        _move(trade, S.REFUNDED)
    if any(row.item_id != NO_ITEM for row in mine):
        events.of_trade(scene.changes, "trade.refunded", whole, scene.at, scene.livemode)


def refund_failed(scene: Scene, whole: Whole, refund_id: UUID) -> None:
    """A refund failed: what it would have given back counts as paid again, and goes to the sellers if it waited for that."""
    mine = _open(whole, refund_id)
    if not mine:
        return
    trade = whole.trade
    for row in mine:
        row.state = "failed"
        scene.changes.back[row.key] = row
        item = whole.item(row.item_id)
        if item is not None:
            item.refunded -= row.units
            trade.refunded -= row.units
            scene.changes.items[item.key] = item
        else:
            scene.changes.cases.append(_too_much(trade, row))
    scene.changes.touch(trade)
    events.of_trade(scene.changes, "trade.refund_failed", whole, scene.at, scene.livemode)
    if trade.releases:
        release(scene, whole, whole.items)


def cancel(scene: Scene, whole: Whole) -> None:
    """It is not bought."""
    trade = whole.trade
    trade.canceled_at = scene.at
    _move(trade, S.CANCELED)
    scene.changes.touch(trade)
    events.of_trade(scene.changes, "trade.canceled", whole, scene.at, scene.livemode)


def _too_much(trade: Trade, row: GiveBack) -> Case:
    summary = "too much was paid for a trade, and the channel refuses to give it back: it stays in `pledged` until a person has decided"
    evidence = {"trade": ids.show("trd", trade.id), "units": row.units, "currency": trade.currency}
    return Case(trade.book_id, "trade_excess_refused", ids.show("re", row.refund_id), summary, evidence)


def _open(whole: Whole, refund_id: UUID) -> list[GiveBack]:
    return [row for row in whole.back if row.refund_id == refund_id and row.state == "open"]


def _move(trade: Trade, to: TradeStatus) -> None:
    if trade.status is not to:
        must(to in TRADE_NEXT[trade.status], f"a trade goes from {trade.status} to {to}")
        trade.status = to


def _unpledge(scene: Scene, trade: Trade, item: Item | None, units: int, refund_id: UUID) -> None:
    move = _note(scene, trade, item, "returned", units, trade.book_id, "trade_unpledge", refund_id=refund_id)
    _book(scene, trade, move, trade.book_id, "trade_unpledge", pledged(trade.currency), payable(trade.currency))


def _take_back(scene: Scene, trade: Trade, item: Item, units: int, refund_id: UUID) -> None:
    item.released -= units
    own = item.seller_id == trade.book_id  # the refund has taken it from where it is
    move = _note(
        scene, trade, item, "taken_back", units, item.seller_id, None if own else "trade_back", refund_id=refund_id
    )
    if not own:
        _send(
            scene, trade, move, item.seller_id, "trade_back", payable(trade.currency), trade.book_id, "trade_returned"
        )


def _note(
    scene: Scene, trade: Trade, item: Item | None, kind: str, units: int, seller_id: UUID, rule: str | None, *,
    intent_id: UUID | None = None, refund_id: UUID | None = None,
) -> Move:  # fmt: skip
    id = ids.new_id()
    move = Move(
        trade.book_id, id, trade.id, NO_ITEM if item is None else item.id, kind, units, seller_id, intent_id, refund_id,
        None if rule is None else f"{rule}:{ids.text(id)}", trade.root_id, scene.at,
    )  # fmt: skip
    scene.changes.moves.append(move)
    return move


def _book(
    scene: Scene, trade: Trade, move: Move, book_id: UUID, rule: str, debit: Account, credit: Account, order: Order | None = None
) -> None:  # fmt: skip
    scene.changes.journals.append(
        Journal(book_id, f"{rule}:{ids.text(move.id)}", rule, (Transfer(debit, credit, move.units),), move.id, scene.at, trade.root_id,
                trade.business_line, carried=True, order=order)
    )  # fmt: skip


def _send(
    scene: Scene, trade: Trade, move: Move, book_id: UUID, rule: str, debit: Account, to: UUID, ordered: str
) -> None:
    """(T5) From one book to another one's payable: what this one owes it is ordered there."""
    order = Order(to, f"{ordered}:{ids.text(move.id)}", ordered, payable(trade.currency), move.units, move.id)
    _book(scene, trade, move, book_id, rule, debit, clearing(to, trade.currency), order)
