"""Stores, tills and operators: made, changed, found.  None is ever deleted, for payments name them."""

from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from guilder.core import ids
from guilder.core.errors import Invalid, NotFound
from guilder.merchants.model_stores import Operator, Place, Store, Terminal
from guilder.platform import trail
from guilder.platform.db import Database, Row, Tx
from guilder.platform.sql import Query, load, walked

Q = load(__package__)
T = TypeVar("T", Store, Terminal, Operator)
PREFIX = {Store: "sto", Terminal: "ter", Operator: "ope"}
_WORD = {Store: "store", Terminal: "terminal", Operator: "operator"}
_FIND: dict[type, Query] = {Store: Q.find_store, Terminal: Q.find_terminal, Operator: Q.find_operator}
_LOCK: dict[type, Query] = {Store: Q.lock_store, Terminal: Q.lock_terminal, Operator: Q.lock_operator}


async def create(tx: Tx, new: T) -> T:
    """Write one down.  Raises Invalid if its code is taken, NotFound for a store that is not the merchant's."""
    match new:
        case Store():
            made = await tx.value(
                Q.insert_store, new.book_id, new.id, new.code, new.name, new.currency, _json(new.address), _json(new.metadata),
                new.enabled, new.created_at,
            )  # fmt: skip
        case Terminal():
            await _must_be_there(tx, new.book_id, new.store_id)
            made = await tx.value(
                Q.insert_terminal, new.book_id, new.id, new.store_id, new.code, new.name, _json(new.metadata), new.enabled,
                new.created_at,
            )  # fmt: skip
        case _:
            await _must_be_there(tx, new.book_id, new.store_id)
            made = await tx.value(
                Q.insert_operator, new.book_id, new.id, new.store_id, new.code, new.name, new.enabled, new.created_at
            )
    kind, word = type(new), _WORD[type(new)]
    if made is None:
        raise Invalid(
            f"The code {new.code!r} is taken by another {word}.", code="resource_already_exists", param="code"
        )
    trail.note(
        tx, f"{word}.created", ids.show(PREFIX[kind], new.id), book_id=new.book_id, after={"code": new.code, "name": new.name}
    )  # fmt: skip
    return new


async def update(tx: Tx, kind: type[T], book_id: UUID, id: UUID, change: Callable[[T], T]) -> T:
    """Change one.  Raises NotFound, and what `change` raises."""
    row = await tx.row(_LOCK[kind], book_id, id)
    if row is None:
        raise no_such(kind, ids.show(PREFIX[kind], id))
    was = read(kind, row)
    now = change(was)
    if now == was:
        return was
    match now:
        case Store():
            await tx.run(Q.update_store, book_id, id, now.name, _json(now.address), _json(now.metadata), now.enabled)
        case Terminal():
            await tx.run(Q.update_terminal, book_id, id, now.name, _json(now.metadata), now.enabled)
        case _:
            await _must_be_there(tx, book_id, now.store_id)
            await tx.run(Q.update_operator, book_id, id, now.name, now.store_id, now.enabled)
    before, after = ({"name": s.name, "enabled": s.enabled} for s in (was, now))
    shown = ids.show(PREFIX[kind], id)
    trail.note(tx, f"{_WORD[kind]}.updated", shown, book_id=book_id, before=before, after=after)
    return now


async def present(tx: Tx, terminal: Terminal, payment_id: UUID | None, until: datetime | None) -> None:
    """Show whoever scans a till's code this payment; None: let him say how much."""
    await tx.run(Q.present_at_terminal, terminal.book_id, terminal.id, payment_id, until)


async def get(db: Database, kind: type[T], book_id: UUID, shown: str) -> T:
    """One of a merchant's.  Raises NotFound."""
    id = ids.read(PREFIX[kind], shown)
    found = None if id is None else await find(db, kind, book_id, id)
    if found is None:
        raise no_such(kind, shown)
    return found


async def find(db: Database, kind: type[T], book_id: UUID, id: UUID) -> T | None:
    """One of a merchant's, by its id."""
    row = await db.row(_FIND[kind], book_id, id)
    return None if row is None else read(kind, row)


async def all_of(db: Database, book_id: UUID) -> list[Store]:
    """A merchant's stores, oldest first."""
    rows = await db.rows(walked(Q.list_stores, True), book_id, None, None, None, None, 10_000, None)
    return [read(Store, r) for r in rows]


async def tills_of(db: Database, book_id: UUID, store_id: UUID) -> list[Terminal]:
    """A store's tills, oldest first."""
    rows = await db.rows(walked(Q.list_terminals, True), book_id, None, None, None, None, 10_000, store_id)
    return [read(Terminal, r) for r in rows]


async def lock_terminal(tx: Tx, book_id: UUID, id: UUID) -> Terminal:
    """A till that nobody else changes until commit.  Raises NotFound."""
    row = await tx.row(Q.lock_terminal, book_id, id)
    if row is None:
        raise no_such(Terminal, ids.show("ter", id))
    return read(Terminal, row)


async def place(
    db: Database, book_id: UUID, store: str | None = None, terminal: str | None = None, operator: str | None = None
) -> Place | None:
    """Where a payment is made, from the ids that a request names; a till tells its store.  Raises NotFound, and Invalid for what does not
    belong together or is not enabled."""
    at = await get(db, Terminal, book_id, terminal) if terminal is not None else None
    of = ids.show("sto", at.store_id) if at is not None else store
    if at is not None and store is not None and store != of:
        raise Invalid(f"The terminal {terminal} stands in the store {of}, not in {store}.", param="store")
    by = await get(db, Operator, book_id, operator) if operator is not None else None
    if of is None:
        if by is not None:
            raise Invalid("Name the store or terminal at which the operator stands.", param="operator")
        return None
    shop = await get(db, Store, book_id, of)
    if by is not None and by.store_id not in (None, shop.id):
        raise Invalid(f"The operator {operator} works in another store.", param="operator")
    for thing in (shop, at, by):
        if thing is not None and not thing.enabled:
            word = _WORD[type(thing)]
            raise Invalid(f"The {word} {thing.code!r} is not enabled, and takes no payments.", param=word)
    return Place(shop, at, by)


def read(kind: type[T], row: Row) -> T:
    """One from its row."""
    values: dict[str, Any] = {f.name: row[f.name] for f in fields(kind)}
    for name in ("address", "metadata"):
        if isinstance(values.get(name), str):
            values[name] = msgspec.json.decode(values[name])
    return kind(**values)


def no_such(kind: type[T], shown: str) -> NotFound:
    """There is none, or it is another merchant's."""
    return NotFound(f"No such {_WORD[kind]}: '{shown}'", param=_WORD[kind])


async def _must_be_there(tx: Tx, book_id: UUID, store_id: UUID | None) -> None:
    if store_id is not None and await tx.row(Q.find_store, book_id, store_id) is None:
        raise no_such(Store, ids.show("sto", store_id))


def _json(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
