"""What the auditor compares in the book: journals with their digests, balances with the transfers that made them, books with each other."""

from guilder.core import ids
from guilder.platform.audit import Audit
from guilder.platform.sql import load

Q = load(__package__)

AUDITS = (
    Audit("G1 journals are what was posted", Q.touched_journals, Q.audit_journals),
    Audit("G2 balances are where transfers led", Q.touched_journals, Q.audit_balances),
    Audit(
        "G21 what books owe each other is ordered",
        Q.posted_books,
        Q.audit_clearing,
        (ids.PLATFORM, ids.text(ids.PLATFORM)),
    ),
    Audit("G21 what is ordered is posted", None, Q.audit_orders),
)
