"""Lock, read and save trades: each row once, whatever a batch did to it."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec

from guilder import ledger
from guilder.core.check import must
from guilder.platform import case, outbox
from guilder.platform.db import Database, Row, Tx
from guilder.platform.sql import load
from guilder.trades.model import Changes, GiveBack, Item, Key, Move, Part, Trade, Whole
from guilder.trades.states import TradeStatus

Q = load(__package__)
T = TypeVar("T")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Shape(Generic[T]):
    """How a kind of object lies in its table: field by field, in the order of the columns."""

    def __init__(self, kind: type[T]) -> None:
        names = [f.name for f in fields(kind)]  # pyrefly: ignore[bad-argument-type]
        self._kind, self._read = kind, attrgetter(*names)
        self._metadata = names.index("metadata") if "metadata" in names else None

    def row(self, item: T) -> tuple[Any, ...]:
        values = list(self._read(item))
        if self._metadata is not None:
            values[self._metadata] = _encode(values[self._metadata]).decode()
        return tuple(values)

    def of(self, row: Row) -> T:
        values = list(row.values())
        if self._metadata is not None:
            values[self._metadata] = _decode(values[self._metadata])
        return self._kind(*values)


TRADE, ITEM, PART, BACK, MOVE = Shape(Trade), Shape(Item), Shape(Part), Shape(GiveBack), Shape(Move)


async def lock(tx: Tx, keys: Iterable[Key]) -> dict[Key, Whole]:
    """Lock trades, in key order, and read all that is theirs."""
    wanted = sorted(set(keys))
    if not wanted:
        return {}
    return await _whole(tx, await tx.rows(Q.lock_trades, *_columns(wanted)))


async def lock_of_intents(tx: Tx, intents: Iterable[Key]) -> dict[Key, Whole]:
    """Lock the trades of payments, by the payment's key."""
    rows = await tx.rows(Q.trades_of_intents, *_columns(sorted(set(intents))))
    found = await lock(tx, [(r["book_id"], r["trade_id"]) for r in rows])
    return {(r["book_id"], r["intent_id"]): found[r["book_id"], r["trade_id"]] for r in rows}


async def trades_of_refunds(tx: Tx, refunds: Iterable[Key]) -> dict[Key, Key]:
    """Which trade each refund is of: that never changes, so it may be read before the lock."""
    rows = await tx.rows(Q.trades_of_refunds, *_columns(sorted(set(refunds))))
    return {(r["book_id"], r["refund_id"]): (r["book_id"], r["trade_id"]) for r in rows}


async def trades_of_intents(tx: Tx, intents: Iterable[Key]) -> dict[Key, Key]:
    """Which trade each payment is of."""
    rows = await tx.rows(Q.trades_of_intents, *_columns(sorted(set(intents))))
    return {(r["book_id"], r["intent_id"]): (r["book_id"], r["trade_id"]) for r in rows}


async def find(source: Tx | Database, book_id: UUID, ids: Sequence[UUID]) -> list[Whole]:
    """The trades of a book among `ids`, as they are now, in the order in which they are named."""
    found = await _whole(source, await source.rows(Q.find_trades, book_id, list(ids)))
    return [found[book_id, id] for id in ids if (book_id, id) in found]


async def whole(source: Tx | Database, rows: Sequence[Row]) -> list[Whole]:
    """These trades with all that is theirs, in the order of their rows."""
    return list((await _whole(source, rows)).values())


async def _whole(source: Tx | Database, rows: Sequence[Row]) -> dict[Key, Whole]:
    found: dict[Key, Whole] = {}
    for r in rows:
        trade = TRADE.of(r)
        trade.status = TradeStatus(trade.status)
        found[trade.key] = Whole(trade, [])
    if not found:
        return {}
    named = _columns(list(found))
    for r in await source.rows(Q.items_of_trades, *named):
        found[r["book_id"], r["trade_id"]].items.append(ITEM.of(r))
    for r in await source.rows(Q.parts_of_trades, *named):
        found[r["book_id"], r["trade_id"]].parts.append(PART.of(r))
    for r in await source.rows(Q.give_backs_of_trades, *named):
        found[r["book_id"], r["trade_id"]].back.append(BACK.of(r))
    for r in await source.rows(Q.children_of_trades, *named):
        found[r["book_id"], r["parent_id"]].children.append(r["id"])
    return found


def _columns(keys: Sequence[Key]) -> tuple[list[UUID], list[UUID]]:
    return [k[0] for k in keys], [k[1] for k in keys]


async def save(tx: Tx, c: Changes) -> None:
    """Have everything written that a batch did: journals, rows, moves, events."""
    if c.journals:
        for journal, answer in zip(c.journals, await ledger.post(tx, c.journals), strict=True):
            must(answer.booked, f"T5: the journal {journal.key} is booked with its move, not {answer.code}")
    for query, shape, wanted, but in (
        (Q.insert_trades, TRADE, c.new_trades, {}),
        (Q.insert_items, ITEM, c.new_items, {}),
        (Q.insert_parts, PART, c.new_parts, {}),
        (Q.insert_give_backs, BACK, c.new_back, {}),
        (Q.update_trades, TRADE, c.trades, c.new_trades),
        (Q.update_items, ITEM, c.items, c.new_items),
        (Q.update_parts, PART, c.parts, c.new_parts),
        (Q.update_give_backs, BACK, c.back, c.new_back),
    ):
        rows = [shape.row(wanted[k]) for k in sorted(wanted) if k not in but]  # pyrefly: ignore
        if rows:
            tx.write(query, rows)
    if c.moves:
        tx.write(Q.insert_moves, [MOVE.row(m) for m in c.moves])
    case.open_many(tx, c.cases)
    outbox.emit(tx, c.events)
