"""Lock, read and save payouts: each row once, whatever a batch did to it."""

from collections.abc import Iterable
from dataclasses import fields
from operator import attrgetter
from typing import Any

import msgspec

from guilder import ledger
from guilder.core import ids
from guilder.core.check import must
from guilder.payouts.model import BookKey, Changes, Payout
from guilder.payouts.states import PayoutState
from guilder.platform import case, outbox
from guilder.platform.db import Row, Tx
from guilder.platform.sql import load

Q = load(__package__)
_NAMES = [f.name for f in fields(Payout)]
_READ = attrgetter(*_NAMES)
_JSON = [_NAMES.index(n) for n in ("shown", "metadata", "next_action", "problem")]
_MOVED = attrgetter("about", "was", "became", "door", "root_id", "at")


async def lock(tx: Tx, keys: Iterable[BookKey]) -> dict[BookKey, Payout]:
    """Lock payouts, in key order."""
    wanted = sorted(set(keys))
    rows = await tx.rows(Q.lock_payouts, [k[0] for k in wanted], [k[1] for k in wanted]) if wanted else []
    return {p.key: p for p in map(payout_of, rows)}


async def save(tx: Tx, changes: Changes) -> None:
    """Have everything written that a batch did: journals, rows, history, events, cases."""
    if changes.journals:
        posted = await ledger.post(tx, changes.journals)
        for journal, answer in zip(changes.journals, posted, strict=True):
            must(answer.booked, f"O3: the journal {journal.key} is booked with its state, not {answer.code}")
    new = [_row(p) for _, p in sorted(changes.new_payouts.items(), key=lambda item: item[0])]
    old = [
        _row(p)
        for key, p in sorted(changes.payouts.items(), key=lambda item: item[0])
        if key not in changes.new_payouts
    ]
    if new:
        tx.write(Q.insert_payouts, new)
    if old:
        tx.write(Q.update_payouts, old)
    if changes.moves:
        tx.write(Q.insert_history, [(m.book_id, ids.new_id(), *_MOVED(m)) for m in changes.moves])
    case.open_many(tx, changes.cases)
    outbox.emit(tx, changes.events, {})


def _row(p: Payout) -> tuple[Any, ...]:
    values = list(_READ(p))
    for n in _JSON:
        if values[n] is not None:
            values[n] = msgspec.json.encode(values[n]).decode()
    return tuple(values)


def payout_of(row: Row) -> Payout:
    """A payout from its row."""
    values = list(row.values())
    for n in _JSON:
        if isinstance(values[n], str):
            values[n] = msgspec.json.decode(values[n])
    found = Payout(*values)
    found.state = PayoutState(found.state)
    return found
