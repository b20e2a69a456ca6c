"""Bank transfers to virtual account numbers: each payment gets a number of its own, and what arrives there belongs to it.

Money may arrive short, over, twice, late, or at no number at all.  The bank says how much has arrived; this channel repeats it, and the core
compares.  What came short waits for the rest until the order ends; then it is told as it is.
"""

from bank_transfer.adapter import BankTransfer
from bank_transfer.config import INFO, BankConfig
from guilder.channels.registry import Kind

KIND = Kind(INFO, BankConfig, lambda config, now: BankTransfer(config, now=now))
