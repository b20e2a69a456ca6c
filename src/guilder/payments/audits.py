"""What the auditor compares of payments: with each other, with the book, and with what was said of them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from guilder.core import ids
from guilder.payments.states import ATTEMPT_NEXT, INTENT_NEXT, OPEN_ATTEMPT, OPEN_REFUND, REFUND_NEXT
from guilder.platform.audit import Audit
from guilder.platform.sql import load

Q = load(__package__)
Table = Mapping[Any, frozenset[Any]]


def _reached(table: Table, state: str) -> set[str]:
    """Where something may stand that was in `state` once: there, or wherever the table leads from it."""
    reached = {state}
    while more := {n for s in reached for n in table[s]} - reached:
        reached |= more
    return reached


_TABLES: dict[str, Table] = {"intent": INTENT_NEXT, "attempt": ATTEMPT_NEXT, "refund": REFUND_NEXT}
_MOVES = {
    f"{kind} {stands}": [
        f"{was} to {became}"
        for was, following in {"nothing": frozenset(table), **table}.items()
        for became in sorted(following)
        if stands in _reached(table, became)
    ]
    for kind, table in _TABLES.items()
    for stands in table
}

AUDITS = (
    Audit("G3 what was paid is booked", Q.touched_attempts, Q.audit_paid),
    Audit("G3 what went back is booked", Q.touched_refunds, Q.audit_given_back),
    Audit("G3 what lies aside is booked", Q.touched_asides, Q.audit_asides),
    Audit("G3 what lay aside went where it says", Q.touched_asides, Q.audit_aside_ends),
    Audit("G3 what is booked is so", Q.posted_journals, Q.audit_booked),
    Audit("G3 fees are ordered or posted", Q.touched_charges, Q.audit_fees, (ids.PLATFORM,)),
    Audit("G5 one charge if and only if it succeeded", Q.touched_payments, Q.audit_charges),
    Audit("G5 a surplus goes back or is accepted", Q.touched_payments, Q.audit_surplus),
    Audit("G6 a charge counts its refunds", Q.touched_payments, Q.audit_refunded),
    Audit("G8 moves are allowed and lead to what stands", None, Q.audit_moves, (msgspec.json.encode(_MOVES).decode(),)),
    Audit("G10 versions count what was said", Q.touched_payments, Q.audit_said),
    Audit("G17 what is open is asked about", Q.touched_payments, Q.audit_open, (sorted(OPEN_ATTEMPT), sorted(OPEN_REFUND))),
)  # fmt: skip
