"""Reconciliation: what a channel says it collected and gave back on a day, held against what we have.

    report = await reconcile(rt, account, day)
    report.open                            # how many breaks want a person; render(report) shows them

A channel's file of a day is taken in whole or not at all (hash and control totals are checked by its adapter), its lines meet our
attempts and refunds by our key, in one SQL statement, and each line and each record of ours has exactly one outcome: a match, or a
break with a reason.  Breaks that the channel's word can end are told to the payments through the same room as callbacks.

Invariants.  Tests carry these names (`test_R2_...`).

    R1  A record of ours is matched by one line, of all days.
    R2  Nothing is lost: channel = matched + breaks, and ours = matched + breaks + what waits for the next day, in rows and in units.
    R3  The same file again changes nothing; another file of the same day is a new version, and the old one is kept and counts no more.
    R4  A file whose hash, count or totals are wrong leaves nothing but a case.
    R5  Lines meet records on our key and kind, never on an amount; nothing is tolerated.
    R6  Only what the channel says ends an unknown: its line, or its final files without one and its word that it has none.

Reasons.

    missing_local      the channel has it under a key that is none of ours in this channel account
    missing_channel    we have it as paid or given back, and the channel lists it nowhere
    amount, currency   both have it, with different ones
    status             the channel lists it, and we do not hold it as paid (resolved when the payments take its word)
    duplicate_channel  one key twice: in this file, or in another day's
    pending_cutover    ours, within five minutes of a day cut beyond which there is no statement yet: it waits for that one

Our side has no duplicates: a key of ours is a primary key.  Lines never wait at a cut, because our records are looked up by key over
all days.  Fees are kept as the file has them, and judged when there are fee plans.
"""

from guilder.reconciliation.model import Break, BreakState, Reason, Report, Sums, Tally
from guilder.reconciliation.reconcile import reconcile

__all__ = ["Break", "BreakState", "Reason", "Report", "Sums", "Tally", "reconcile"]
