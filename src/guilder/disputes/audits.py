"""What the auditor compares of disputes: each with the book."""

from guilder.platform.audit import Audit
from guilder.platform.sql import load

Q = load(__package__)
AUDITS = (Audit("G3 what is in dispute is booked", Q.touched_disputes, Q.audit_disputes),)
