"""Lock, read and save disputes."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec

from guilder import ledger
from guilder.channels.model import DisputeState
from guilder.core import ids
from guilder.core.check import must
from guilder.core.errors import WrongState
from guilder.disputes.model import Changes, Dispute, Ref
from guilder.disputes.states import ENDED
from guilder.payments import store as payments
from guilder.payments.model import Charge
from guilder.platform import case, outbox
from guilder.platform.db import Row, Tx
from guilder.platform.sql import load

Q = load(__package__)
_NAMES = [f.name for f in fields(Dispute)]
_READ = attrgetter(*_NAMES)
_METADATA = _NAMES.index("metadata")
_MOVED = attrgetter("about", "was", "became", "door", "root_id", "at")


async def lock(tx: Tx, refs: Iterable[Ref]) -> dict[Ref, Dispute]:
    """Lock disputes by the channel's numbers, in key order."""
    wanted = sorted(set(refs))
    rows = await tx.rows(Q.lock_disputes, [r[0] for r in wanted], [r[1] for r in wanted]) if wanted else []
    return {(d.channel_account_id, d.ref): d for d in map(dispute_of, rows)}


async def bar_refunds(tx: Tx, charges: Sequence[Charge]) -> dict[UUID, WrongState]:
    """Charges whose money the channel has taken for a dispute: what is refunded, too, would go twice."""
    keys = sorted((c.book_id, c.id) for c in charges)
    rows = await tx.rows(Q.taken_of_charges, [k[0] for k in keys], [k[1] for k in keys])
    return {r["charge_id"]: Disputed(f"Charge {ids.show('ch', r['charge_id'])} is in dispute ({ids.show('dp', r['id'])}), and the channel has "
                                     "its money: a refund would give it back twice. Answer the dispute, or give in.") for r in rows}  # fmt: skip


class Disputed(WrongState):
    """The channel has taken this charge's money for a dispute."""

    code = "charge_disputed"


async def save(tx: Tx, changes: Changes) -> None:
    """Have everything written that a batch did: journals, rows, history, events, cases."""
    if changes.journals:
        posted = await ledger.post(tx, changes.journals)
        for journal, answer in zip(changes.journals, posted, strict=True):
            must(answer.booked, f"D2: the journal {journal.key} is booked with its state, not {answer.code}")
    new = [_row(d) for d in sorted(changes.new_disputes.values(), key=attrgetter("key"))]
    old = [
        _row(d)
        for ref, d in sorted(changes.disputes.items(), key=lambda i: i[1].key)
        if ref not in changes.new_disputes
    ]
    if new:
        tx.write(Q.insert_disputes, new)
    if old:
        tx.write(Q.update_disputes, old)
    if changes.moves:
        tx.write(Q.insert_history, [(m.book_id, ids.new_id(), *_MOVED(m)) for m in changes.moves])
    payments.mark_disputed(tx, [(d.book_id, d.charge_id) for d in changes.new_disputes.values()])
    case.open_many(tx, changes.cases)
    ended = [(d.book_id, "dispute", ids.show("dp", d.id)) for d in changes.disputes.values() if d.state in ENDED]
    await case.close_many(tx, ended, "decided", "The channel has decided.")
    outbox.emit(tx, changes.events, {})


def rows(disputes: Iterable[Dispute]) -> list[tuple[Any, ...]]:
    """As their table keeps them."""
    return [_row(d) for d in disputes]


def _row(d: Dispute) -> tuple[Any, ...]:
    values = list(_READ(d))
    values[_METADATA] = msgspec.json.encode(values[_METADATA]).decode()
    return tuple(values)


def dispute_of(row: Row) -> Dispute:
    """A dispute from its row."""
    values = list(row.values())
    if isinstance(values[_METADATA], str):
        values[_METADATA] = msgspec.json.decode(values[_METADATA])
    found = Dispute(*values)
    found.state = DisputeState(found.state)
    return found
