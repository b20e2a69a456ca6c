"""What the auditor compares of payouts: each with the book."""

from guilder.platform.audit import Audit
from guilder.platform.sql import load

Q = load(__package__)
AUDITS = (Audit("G3 payouts are held, taken or given back", Q.touched_payouts, Q.audit_payouts),)
