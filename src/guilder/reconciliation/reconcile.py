"""Reconcile: one day of one channel account.

    1. network       fetch the file                                  (its adapter checks hash, count and totals)
    2. transaction   take it in: the file, its lines; the same file again is the same one
    3. transaction   match, in one SQL statement
    4. room          tell the payments what the file proves; end what nobody knows of
    5. transaction   the report; a case if breaks are open

Whoever dies between two steps is followed by the next run, which goes on where he stopped.
"""

from datetime import date
from typing import Any

from prometheus_client import Counter

from guilder.channels.model import Statement, StatementError
from guilder.core import ids
from guilder.core.amount import Amount
from guilder.merchants.channel_accounts import ChannelAccount
from guilder.payments import doubts
from guilder.platform import case
from guilder.platform.case import Case
from guilder.platform.db import Tx
from guilder.platform.environment import Env
from guilder.reconciliation.decide import GONE
from guilder.reconciliation.fetch import fetch, note_corrupt
from guilder.reconciliation.match import match
from guilder.reconciliation.model import Break, BreakState, Progress, Reason, Report
from guilder.reconciliation.report import report
from guilder.reconciliation.take_in import take_in
from guilder.reconciliation.tell import end_unknowns, tell_paid

BREAKS = Counter("guilder_breaks_total", "Breaks found by reconciliation", ["channel", "reason"])


def quiet(step: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


async def reconcile(rt: Env, account: ChannelAccount, day: date, say: Progress = quiet) -> Report:
    """Fetch, take in, match and report the channel's `day`.  Safe to repeat (R3).

    Raises StatementError: NOT_READY and UNKNOWN want another try later; CORRUPT leaves a case and nothing else.
    """
    say("fetch", 0, 1)
    statement = await fetch(rt, account, day)
    say("fetch", 1, 1)
    return await settle(rt, account, statement, say)


async def settle(rt: Env, account: ChannelAccount, statement: Statement, say: Progress = quiet) -> Report:
    """The same, with the file at hand."""
    day = statement.day
    try:
        taken = await take_in(rt, account, statement, say)
    except StatementError as error:
        await note_corrupt(rt, account, day, error)
        raise
    if not taken.matched:
        say("match", 0, 1)
        await match(rt, account, day, taken.id, statement.currency)
        say("match", 1, 1)
    await tell_paid(rt, account, taken.id)
    await end_unknowns(rt, account, day)
    found = await report(rt, account, taken.id)
    if not taken.matched:
        for tally in found.tallies:
            rows = sum(max(c, o) for c, o in _rows(tally.channel, tally.ours))
            BREAKS.labels(account.info.code, tally.reason.value).inc(rows)
    if found.open:
        await _note_breaks(rt, account, found)
    return found


def _rows(channel: Any, ours: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    return (channel.payments, ours.payments), (channel.refunds, ours.refunds)


async def _note_breaks(rt: Env, account: ChannelAccount, found: Report) -> None:
    evidence: dict[str, Any] = {
        "channel_account": ids.show("ca", account.id),
        "statement": ids.show("stm", found.statement_id),
        "open": {t.reason.value: t.open for t in found.tallies if t.open},
    }
    summary = f"{found.open} breaks in the statement of {account.info.code} for {found.day}"
    subject = f"{ids.show('ca', account.id)} {found.day} version {found.version}"
    one = Case(account.book_id, "statement_breaks", subject, summary, evidence)
    lines = [_unmatched(account, found, b) for b in found.breaks if _is_nobodys(b)]
    gone = [_gone(account, found, b) for b in found.breaks if _is_gone(b)]
    await rt.db.transact(lambda tx: _open(tx, [one, *lines, *gone]))


async def _open(tx: Tx, cases: list[Case]) -> None:
    case.open_many(tx, cases)


def _is_gone(b: Break) -> bool:
    return b.reason is Reason.MISSING_CHANNEL and b.state is BreakState.OPEN


def _gone(account: ChannelAccount, found: Report, b: Break) -> Case:
    """What we hold as moved and the channel's file does not list: it is asked about again before anybody believes the file."""
    evidence = {
        "channel_account": ids.show("ca", account.id), "kind": b.kind, "asset": b.our_currency, "units": b.our_amount,
        "channel_ref": b.channel_ref, "statement": ids.show("stm", found.statement_id), "day": str(found.day),
    }  # fmt: skip
    summary = f"{account.info.title} does not list a {b.kind} of {Amount(b.our_amount or 0, b.our_currency or '')} that we hold as done"
    proposal = {
        "resolver": "dismiss",
        "says": "Ask the channel again (requery); a late line of the next days ends the break by itself.",
    }
    return Case(account.book_id, GONE, b.key, summary, evidence, fact=str(found.version), proposal=proposal)


def _is_nobodys(b: Break) -> bool:
    return (
        b.reason is Reason.MISSING_LOCAL and b.state is BreakState.OPEN and b.kind == "payment" and bool(b.channel_ref)
    )


def _unmatched(account: ChannelAccount, found: Report, b: Break) -> Case:
    """Money that the channel lists, and that we never asked for: it can be put aside, once, by its number there."""
    shown = ids.show("ca", account.id)
    evidence = {
        "of": "payment", "channel_account": shown, "asset": b.channel_currency, "units": b.channel_amount, "channel_ref": b.channel_ref,
        "key": b.key, "statement": ids.show("stm", found.statement_id), "day": str(found.day), "at": b.at.isoformat(),
    }  # fmt: skip
    summary = f"{account.info.title} lists {Amount(b.channel_amount or 0, b.channel_currency or '')}, number {b.channel_ref}, which is none of ours"
    proposal = {"resolver": doubts.BOOK_SUSPENSE, "says": "Find out whose it is; put it aside meanwhile."}
    return Case(
        account.book_id, doubts.UNMATCHED, f"{shown} {b.channel_ref}", summary, evidence, fact=f"{b.channel_ref} {b.channel_amount}", moved=True,
        proposal=proposal,
    )  # fmt: skip
