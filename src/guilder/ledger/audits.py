"""What the auditor compares in the book: journals with their digests, balances with the transfers that made them."""

from guilder.platform.audit import Audit
from guilder.platform.sql import load

Q = load(__package__)

AUDITS = (
    Audit("G1 journals are what was posted", Q.touched_journals, Q.audit_journals),
    Audit("G2 balances are where transfers led", Q.touched_journals, Q.audit_balances),
)
