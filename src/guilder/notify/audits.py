"""What the auditor compares of webhooks: events with their deliveries (N1)."""

from guilder.platform.audit import Audit
from guilder.platform.sql import load

Q = load(__package__)

AUDITS = (Audit("G10 events have their deliveries", None, Q.audit_deliveries),)
