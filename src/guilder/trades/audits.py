"""What the auditor compares of trades: with their items, with where their money went, with the book, and with their payments."""

from guilder.platform.audit import Audit
from guilder.platform.sql import load

Q = load(__package__)

AUDITS = (
    Audit("G22 a trade is what its items come to", Q.touched_trades, Q.audit_items),
    Audit("G22 items stand where their money went", Q.touched_trades, Q.audit_dealt),
    Audit("G23 what was dealt out is booked", Q.touched_trades, Q.audit_booked),
    Audit("G24 a trade knows its payments", Q.touched_trades, Q.audit_payments),
)
