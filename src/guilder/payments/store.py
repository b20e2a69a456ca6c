"""Lock, read and save payments: each row once, whatever a batch did to it."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from guilder import ledger
from guilder.core import ids
from guilder.core.check import must
from guilder.payments.model import Attempt, BookKey, Changes, Charge, Intent, Method, Refund
from guilder.payments.states import AttemptState, IntentStatus, RefundState
from guilder.platform import case, outbox
from guilder.platform.db import Row, Tx
from guilder.platform.sql import Query, load

Q = load(__package__)
T = TypeVar("T", Method, Intent, Attempt, Charge, Refund)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_JSON = frozenset({"metadata", "extra", "next_action", "last_error", "problem", "billing"})


def _columns(kind: type) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind))


METHOD, INTENT, ATTEMPT, CHARGE, REFUND = (_columns(k) for k in (Method, Intent, Attempt, Charge, Refund))
_CHANGING = {
    Intent: ("version", "status", "amount", "currency", "customer_id", "method_id", "method_type", "types", "attempt_id", "charge_id",
             "description", "metadata", "extra", "next_action", "last_error", "cancel_reason", "cancel_wanted_at", "canceled_at",
             "expires_at"),
    Attempt: ("state", "channel_ref", "next_action", "problem", "ask_at", "asked", "close_wanted", "paid_at"),
    Charge: ("version", "refunded"),
    Refund: ("version", "state", "channel_ref", "problem", "ask_at", "asked", "done_at"),
}  # fmt: skip


async def lock(tx: Tx, keys: Iterable[BookKey]) -> dict[BookKey, Intent]:
    """Lock payments, in key order.  Everything that belongs to a payment is guarded by this lock; read it afterwards."""
    wanted = sorted(set(keys))
    rows = await tx.rows(Q.lock_intents, [k[0] for k in wanted], [k[1] for k in wanted])
    return {(r["book_id"], r["id"]): intent_of(r) for r in rows}


async def intents_of_attempts(tx: Tx, keys: Iterable[BookKey]) -> dict[BookKey, BookKey]:
    """Which payment each attempt belongs to: that never changes, so it may be read before the lock."""
    wanted = sorted(set(keys))
    rows = await tx.rows(Q.intents_of_attempts, [k[0] for k in wanted], [k[1] for k in wanted])
    return {(r["book_id"], r["id"]): (r["book_id"], r["intent_id"]) for r in rows}


async def intents_of_refunds(tx: Tx, keys: Iterable[BookKey]) -> dict[BookKey, BookKey]:
    """Which payment each refund belongs to."""
    wanted = sorted(set(keys))
    rows = await tx.rows(Q.intents_of_refunds, [k[0] for k in wanted], [k[1] for k in wanted])
    return {(r["book_id"], r["id"]): (r["book_id"], r["intent_id"]) for r in rows}


async def attempts(tx: Tx, intents: Iterable[BookKey]) -> dict[BookKey, Attempt]:
    """Every attempt of locked payments."""
    return {a.key: a for a in map(attempt_of, await _belonging(tx, Q.attempts_of_intents, intents))}


async def charges(tx: Tx, intents: Iterable[BookKey]) -> dict[BookKey, Charge]:
    """The charges of locked payments, by the payment's key."""
    return {(c.book_id, c.intent_id): c for c in map(charge_of, await _belonging(tx, Q.charges_of_intents, intents))}


async def refunds(tx: Tx, intents: Iterable[BookKey]) -> dict[BookKey, Refund]:
    """Every refund of locked payments."""
    return {r.key: r for r in map(refund_of, await _belonging(tx, Q.refunds_of_intents, intents))}


async def _belonging(tx: Tx, query: Query, intents: Iterable[BookKey]) -> list[Row]:
    keys = sorted(set(intents))
    return await tx.rows(query, [k[0] for k in keys], [k[1] for k in keys])


async def save(tx: Tx, changes: Changes) -> None:
    """Write everything that a batch did: rows, journals, history, events, cases.  One statement a table."""
    await _insert(tx, Q.insert_methods, changes.new_methods, METHOD)
    await _insert(tx, Q.insert_intents, changes.new_intents, INTENT)
    await _insert(tx, Q.insert_attempts, changes.new_attempts, ATTEMPT)
    await _insert(tx, Q.insert_charges, changes.new_charges, CHARGE)
    await _insert(tx, Q.insert_refunds, changes.new_refunds, REFUND)
    await _update(tx, Q.update_intents, changes.intents, changes.new_intents, Intent)
    await _update(tx, Q.update_attempts, changes.attempts, changes.new_attempts, Attempt)
    await _update(tx, Q.update_charges, changes.charges, changes.new_charges, Charge)
    await _update(tx, Q.update_refunds, changes.refunds, changes.new_refunds, Refund)
    if changes.channel_refs:
        refs = sorted(changes.channel_refs.items())
        await tx.run(
            Q.insert_channel_refs,
            [r[0][0] for r in refs],
            [r[0][1] for r in refs],
            [r[1][0] for r in refs],
            [r[1][1] for r in refs],
        )
    if changes.journals:
        posted = await ledger.post(tx, changes.journals)
        for journal, answer in zip(changes.journals, posted, strict=True):
            must(answer.booked, f"P1: the journal {journal.key} is booked with its state, not {answer.code}")
    if changes.moves:
        await tx.run(
            Q.insert_history,
            [m.book_id for m in changes.moves],
            [ids.new_id() for _ in changes.moves],
            [m.about for m in changes.moves],
            [m.kind for m in changes.moves],
            [m.was for m in changes.moves],
            [m.became for m in changes.moves],
            [m.door for m in changes.moves],
            [m.root_id for m in changes.moves],
            [m.at for m in changes.moves],
        )
    await case.open_many(tx, changes.cases)
    await outbox.emit(tx, changes.events)


async def _insert(tx: Tx, query: Query, new: dict[BookKey, Any], columns: Sequence[str]) -> None:
    if new:
        await tx.run(query, *_transposed([new[k] for k in sorted(new)], columns))


async def _update(tx: Tx, query: Query, changed: dict[BookKey, Any], new: dict[BookKey, Any], kind: type) -> None:
    rows = [changed[k] for k in sorted(changed) if k not in new]
    if rows:
        await tx.run(query, *_transposed(rows, ("book_id", "id", *_CHANGING[kind])))


def _transposed(rows: Sequence[Any], columns: Sequence[str]) -> list[list[Any]]:
    """A list per column, as unnest wants them."""
    return [[_stored(c, v) for v in map(attrgetter(c), rows)] for c in columns]


def _stored(column: str, value: Any) -> Any:
    if column in _JSON:
        return None if value is None else _encode(value).decode()
    return "\n".join(value) if column == "types" else value


def _of(row: Row, kind: type[T], columns: Sequence[str]) -> T:
    values = dict(zip(columns, (row[c] for c in columns), strict=True))
    for name in _JSON & values.keys():
        if values[name] is not None:
            values[name] = _decode(values[name])
    return kind(**values)


def intent_of(row: Row) -> Intent:
    """A payment from its row."""
    intent = _of(row, Intent, INTENT)
    intent.status = IntentStatus(intent.status)
    return intent


def method_of(row: Row) -> Method:
    """A way to pay from its row."""
    return _of(row, Method, METHOD)


def attempt_of(row: Row) -> Attempt:
    """An attempt from its row."""
    attempt = _of(row, Attempt, ATTEMPT)
    attempt.state = AttemptState(attempt.state)
    return attempt


def charge_of(row: Row) -> Charge:
    """A charge from its row."""
    return _of(row, Charge, CHARGE)


def refund_of(row: Row) -> Refund:
    """A refund from its row."""
    refund = _of(row, Refund, REFUND)
    refund.state = RefundState(refund.state)
    return refund
