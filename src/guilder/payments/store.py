"""Lock, read and save payments: each row once, whatever a batch did to it."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec

from guilder import ledger
from guilder.core import ids
from guilder.core.check import must
from guilder.core.errors import WrongState
from guilder.ledger import Posted
from guilder.payments.model import Aside, Attempt, BookKey, Changes, Charge, Intent, Method, Refund
from guilder.payments.states import AsideState, AttemptState, IntentStatus, RefundState
from guilder.platform import case, counters, outbox, persons
from guilder.platform.db import Contended, Row, Tx
from guilder.platform.persons import Keys, PersonKey
from guilder.platform.sql import Query, load

Q = load(__package__)
T = TypeVar("T", Method, Intent, Attempt, Charge, Refund, Aside)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_JSON = frozenset({"metadata", "extra", "next_action", "last_error", "problem", "billing", "given"})


class Shape(Generic[T]):
    """How a kind of object lies in its table: field by field, in the order of the columns; a test holds both together."""

    def __init__(self, kind: type[T]) -> None:
        names = [f.name for f in fields(kind)]
        self._kind = kind
        self._read = attrgetter(*names)
        self._json = [n for n, name in enumerate(names) if name in _JSON]

    def row(self, item: T) -> tuple[Any, ...]:
        """`item` as its table keeps it."""
        values = list(self._read(item))
        for n in self._json:
            if values[n] is not None:
                values[n] = _encode(values[n]).decode()
        return tuple(values)

    def of(self, row: Sequence[Any]) -> T:
        """What a whole row of the table is."""
        values = list(row)
        for n in self._json:
            if values[n] is not None:
                values[n] = _decode(values[n])
        return self._kind(*values)


METHOD, INTENT, ATTEMPT, CHARGE, REFUND = Shape(Method), Shape(Intent), Shape(Attempt), Shape(Charge), Shape(Refund)
ASIDE = Shape(Aside)
_INTENT = len(fields(Intent))


async def lock(tx: Tx, keys: Iterable[BookKey]) -> dict[BookKey, Intent]:
    """Lock payments, in key order.  Everything that belongs to a payment is guarded by this lock; read it afterwards."""
    return await _locked(tx, Q.lock_intents, keys)


Seen = dict[BookKey, int]  # the version of each row that was read without a lock: its xmin


async def look(tx: Tx, keys: Iterable[BookKey]) -> tuple[dict[BookKey, Intent], Seen]:
    """Payments as they are, not locked: saving insists that they still are."""
    wanted = sorted(set(keys))
    rows = await tx.look(Q.look_at_intents, *_columns(wanted)) if wanted else []
    intents = [(intent_of(r), r["seen"]) for r in rows]
    return {i.key: i for i, _ in intents}, {i.key: seen for i, seen in intents}


async def look_of_attempts(
    tx: Tx, keys: Iterable[BookKey]
) -> tuple[dict[BookKey, Intent], dict[BookKey, Attempt], Seen]:
    """The payments of these attempts with every attempt of theirs, at one instant, not locked."""
    intents: dict[BookKey, Intent] = {}
    attempts: dict[BookKey, Attempt] = {}
    seen: Seen = {}
    for row in await tx.look(Q.look_at_intents_of_attempts, *_columns(sorted(set(keys)))):
        values = tuple(row.values())
        intent, attempt = _intent(values[:_INTENT]), _attempt(values[_INTENT + 1 : -1])
        intents.setdefault(intent.key, intent)
        attempts.setdefault(attempt.key, attempt)
        seen[intent.key], seen[attempt.key] = values[_INTENT], values[-1]
    return intents, attempts, seen


async def lock_of_attempts(tx: Tx, keys: Iterable[BookKey]) -> dict[BookKey, Intent]:
    """Lock the payments of these attempts."""
    return await _locked(tx, Q.lock_intents_of_attempts, keys)


async def lock_of_refunds(tx: Tx, keys: Iterable[BookKey]) -> dict[BookKey, Intent]:
    """Lock the payments of these refunds."""
    return await _locked(tx, Q.lock_intents_of_refunds, keys)


async def _locked(tx: Tx, query: Query, keys: Iterable[BookKey]) -> dict[BookKey, Intent]:
    return {i.key: i for i in map(intent_of, await _belonging(tx, query, keys))}


async def intents_of_attempts(tx: Tx, keys: Iterable[BookKey]) -> dict[BookKey, BookKey]:
    """Which payment each attempt belongs to: that never changes, so it may be read before the lock."""
    rows = await _belonging(tx, Q.intents_of_attempts, keys)
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


async def asides(tx: Tx, attempts: Iterable[Attempt]) -> dict[BookKey, Aside]:
    """What lies aside, or lay, for tries whose payments are locked."""
    return {a.key: a for a in map(aside_of, await _belonging(tx, Q.asides_of_attempts, [a.key for a in attempts]))}


async def asides_of_refs(tx: Tx, refs: Iterable[tuple[UUID, str]]) -> dict[BookKey, Aside]:
    """What lies aside under these numbers of channel accounts, whichever try it came for."""
    wanted = sorted(set(refs))
    rows = await tx.rows(Q.asides_of_refs, [r[0] for r in wanted], [r[1] for r in wanted]) if wanted else []
    return {a.key: a for a in map(aside_of, rows)}


def mark_disputed(tx: Tx, charges: Iterable[BookKey]) -> None:
    """Have charges say that they are, or were, in dispute.  What decides about them asks the disputes themselves."""
    wanted = sorted(set(charges))
    if wanted:
        tx.write(Q.mark_disputed, *_columns(wanted))


async def _belonging(tx: Tx, query: Query, keys: Iterable[BookKey]) -> list[Row]:
    wanted = sorted(set(keys))
    return await tx.rows(query, *_columns(wanted)) if wanted else []


def _columns(keys: Sequence[BookKey]) -> tuple[list[Any], list[Any]]:
    return [k[0] for k in keys], [k[1] for k in keys]


async def save(tx: Tx, changes: Changes) -> Sequence[Posted]:
    """Have everything written that a batch did: rows, journals, history, events, cases.  One statement for all of it (D5).

    What was `seen` and not locked must be as it was, or the transaction is Contended.  Money is moved under the lock alone.
    """
    must(
        changes.seen is None or not (changes.journals or changes.charges or changes.refunds), "money moves under a lock"
    )
    keys = await _hold(tx, changes)
    await _settle_takes(tx, changes)
    posted: Sequence[Posted] = ()
    if changes.journals:
        posted = await ledger.post(tx, changes.journals)
        for journal, answer in zip(changes.journals, posted, strict=True):
            must(answer.booked, f"P1: the journal {journal.key} is booked with its state, not {answer.code}")
    c, none = changes, dict[BookKey, Any]()
    for query, shape, wanted, but in (
        (Q.insert_methods, METHOD, c.new_methods, none),
        (Q.insert_intents, INTENT, c.new_intents, none),
        (Q.insert_attempts, ATTEMPT, c.new_attempts, none),
        (Q.insert_charges, CHARGE, c.new_charges, none),
        (Q.insert_refunds, REFUND, c.new_refunds, none),
        (Q.insert_asides, ASIDE, c.new_asides, none),
        (Q.update_asides, ASIDE, c.asides, c.new_asides),
        (Q.update_charges, CHARGE, c.charges, c.new_charges),
        (Q.update_refunds, REFUND, c.refunds, c.new_refunds),
    ):
        _write(tx, query, shape, wanted, but)
    _write(tx, Q.update_intents, INTENT, c.intents, c.new_intents, _of(c.seen, c.intents, c.new_intents))
    _write(tx, Q.update_attempts, ATTEMPT, c.attempts, c.new_attempts, _of(c.seen, c.attempts, c.new_attempts))
    if c.channel_refs:
        refs = sorted(c.channel_refs.items())
        tx.write(Q.insert_channel_refs, [(*ref, *about) for ref, about in refs])
    if c.moves:
        tx.write(Q.insert_history, [(m.book_id, ids.new_id(), *_MOVED(m)) for m in c.moves])
    if c.steps:
        tx.write(Q.insert_steps, [msgspec.structs.astuple(s) for s in c.steps])
    case.open_many(tx, c.cases)
    outbox.emit(tx, c.events, keys)
    return posted


async def _settle_takes(tx: Tx, c: Changes) -> None:
    """What an attempt took of its account's limits stands when it is paid, and is given back when it ends without."""
    moved = [
        (m.became, c.attempts[m.book_id, m.about])
        for m in c.moves
        if m.kind == "attempt" and (m.book_id, m.about) in c.attempts
    ]
    counted = [(became, (a.channel_account_id, a.id)) for became, a in moved if a.counted]
    if counted:
        await counters.commit(tx, {take for became, take in counted if became == AttemptState.SUCCEEDED})
        await counters.release(
            tx, {take for became, take in counted if became in (AttemptState.FAILED, AttemptState.CLOSED)}
        )


async def _hold(tx: Tx, c: Changes) -> Keys:
    """(E3) The keys of those of whom this says something.  Raises WrongState for something new about somebody who was erased."""
    told: set[PersonKey] = set()
    for intent in (*c.new_intents.values(), *c.intents.values()):
        method = c.new_methods.get((intent.book_id, intent.method_id)) if intent.method_id is not None else None
        if method is not None and method.billing:
            method.person_id = intent.person_id
        if intent.personal or (method is not None and method.billing):
            told.add((intent.book_id, intent.person_id))
    said = [(e.book_id, e.private.person_id) for e in c.events if e.private is not None]
    keys = await persons.hold(tx, [*told, *said], new=c.new_intents)
    if any(keys[person] is None for person in told):
        if c.seen is not None:
            raise Contended("a person was erased since his payment was looked at")
        raise WrongState("This person was erased: nothing personal is kept of him any more.", code="person_erased")
    return keys


_MOVED = attrgetter("about", "kind", "was", "became", "door", "root_id", "at")


def _of(seen: Seen | None, wanted: Iterable[BookKey], but: Container[BookKey]) -> list[int] | None:
    return None if seen is None else [seen[k] for k in sorted(wanted) if k not in but]


def _write(
    tx: Tx, query: Query, shape: Shape[Any], wanted: dict[BookKey, Any], but: Container[BookKey], *args: object
) -> None:
    """In key order, as everywhere: transactions that touch the same rows queue, and never deadlock."""
    rows = [shape.row(wanted[k]) for k in sorted(wanted) if k not in but]
    if rows:
        tx.write(query, rows, *args)


def intent_of(row: Row) -> Intent:
    """A payment from its row."""
    return _intent(tuple(row.values())[:_INTENT])


def _intent(values: Sequence[Any]) -> Intent:
    intent = INTENT.of(values)
    intent.status = IntentStatus(intent.status)
    return intent


def method_of(row: Row) -> Method:
    """A way to pay from its row."""
    return METHOD.of(tuple(row.values()))


def attempt_of(row: Row) -> Attempt:
    """An attempt from its row."""
    return _attempt(tuple(row.values()))


def _attempt(values: Sequence[Any]) -> Attempt:
    attempt = ATTEMPT.of(values)
    attempt.state = AttemptState(attempt.state)
    return attempt


def charge_of(row: Row) -> Charge:
    """A charge from its row."""
    return CHARGE.of(tuple(row.values()))


def refund_of(row: Row) -> Refund:
    """A refund from its row."""
    refund = REFUND.of(tuple(row.values()))
    refund.state = RefundState(refund.state)
    return refund


def aside_of(row: Row) -> Aside:
    """What lies aside, from its row."""
    aside = ASIDE.of(tuple(row.values()))
    aside.state = AsideState(aside.state)
    return aside
