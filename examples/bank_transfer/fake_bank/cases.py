"""What the conformance suite must know of the channel: its ways, and how the fake bank differs from the others."""

from guilder.conformance.cases import Suite
from guilder.conformance.suite import Case

SUITE = Suite((Case("bank_transfer", "virtual_account"),))
