"""Journals from a CSV file: what a person corrects or opens with, tried before it is done.

    key,debit,credit,asset,units,effective_at,group,description
    opening-1,receivable:06b2…,payable,CNY,120000,2026-10-31T23:59:59+08:00,,Opening balance

`effective_at`, `group` and `description` may be left out.  Lines of one key that stand next to each other are one journal.  `units` are
whole smallest units: 120000 is 1,200.00 yuan.
"""

import csv
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby
from uuid import UUID

import msgspec

from guilder.core import clock, ids
from guilder.core.amount import is_asset
from guilder.core.errors import Invalid
from guilder.ledger.chart import Account
from guilder.ledger.manual import NOT_BY_HAND, RULE, is_clearing, wanted
from guilder.ledger.model import Journal, Posted, Transfer
from guilder.ledger.own import note
from guilder.ledger.posting import post
from guilder.platform import context
from guilder.platform.approval import Approval
from guilder.platform.db import Database, Tx

WANTED = ("key", "debit", "credit", "asset", "units")
MAY = ("effective_at", "group", "description")
AT_ONCE = 1000  # journals in a transaction
KEY = "csv:"


class _Tried(Exception):
    """Ends a trial: nothing of it stays."""

    def __init__(self, posted: list[Posted]) -> None:
        self.posted = posted


def read(book_id: UUID, lines: Iterable[str]) -> list[Journal]:
    """The journals of a CSV file.  Raises Invalid with the line's number; nothing is read by half."""
    rows = csv.DictReader(lines)
    head = rows.fieldnames or []
    if missing := [name for name in WANTED if name not in head]:
        raise Invalid(f"Line 1 names no {', '.join(missing)}; the columns are {', '.join((*WANTED, *MAY))}.")
    if extra := [name for name in head if name not in (*WANTED, *MAY)]:
        raise Invalid(
            f"Line 1 names {', '.join(map(str, extra))}, which is no column; the columns are {', '.join((*WANTED, *MAY))}."
        )
    numbered = ((rows.line_num, row) for row in rows)
    about = context.current()
    journals = []
    for key, group in groupby(numbered, key=lambda r: r[1]["key"]):
        journals.append(_journal(book_id, key, list(group), about.root_id, about.business_line))
    seen: set[str] = set()
    for j in journals:
        if j.key in seen:
            raise Invalid(
                f"The key {j.key.removeprefix(KEY)!r} stands in two places; lines of one journal stand together."
            )
        seen.add(j.key)
    return journals


def _journal(book_id: UUID, key: str | None, rows: list[tuple[int, dict[str, str]]], root: UUID, line: str) -> Journal:
    number, first = rows[0]
    if not key:
        raise Invalid(f"Line {number} has no key.")
    at = clock.now()
    if first.get("effective_at"):
        try:
            at = datetime.fromisoformat(first["effective_at"])
        except ValueError as error:
            raise Invalid(
                f"Line {number}: {first['effective_at']!r} is no time like 2026-10-31T23:59:59+08:00."
            ) from error
        if at.tzinfo is None:
            raise Invalid(f"Line {number}: {first['effective_at']!r} says no zone; add +08:00, or Z.")
    note = msgspec.json.encode({"description": first["description"]}).decode() if first.get("description") else ""
    transfers = tuple(_transfers(rows))
    return Journal(
        book_id, f"{KEY}{key}", RULE, transfers, ids.new_id(), at, root, line, first.get("group") or None, note=note
    )


def _transfers(rows: list[tuple[int, dict[str, str]]]) -> Iterator[Transfer]:
    for number, row in rows:
        units, asset = row["units"] or "", (row["asset"] or "").upper()
        if not units.isascii() or not units.isdecimal() or len(units) > 19:
            raise Invalid(f"Line {number}: {units!r} is no whole number of smallest units (1250 for 12.50 yuan).")
        if not is_asset(asset):
            raise Invalid(f"Line {number}: {asset!r} is no asset.")
        if not row["debit"] or not row["credit"]:
            raise Invalid(f"Line {number}: a transfer has a debit and a credit account.")
        if is_clearing(row["debit"]) or is_clearing(row["credit"]):
            raise Invalid(f"Line {number}: {NOT_BY_HAND}")
        yield Transfer(Account(row["debit"], asset), Account(row["credit"], asset), int(units))


async def take_in(db: Database, journals: list[Journal]) -> list[Posted]:
    """Post them, a thousand to a transaction; an answer for each.  What was posted before says exists: a file can be taken in again."""
    posted: list[Posted] = []
    for part in _parts(journals):
        posted += await db.transact(lambda tx, part=part: _post(tx, part))
    return posted


async def _post(tx: Tx, part: list[Journal]) -> list[Posted]:
    posted = await post(tx, part)
    note(tx, part[0].book_id, "ledger.imported", posted)
    return posted


async def take_in_or_ask(db: Database, book_id: UUID, journals: list[Journal], name: str) -> list[Posted] | Approval:
    """The same, unless others have to agree to so much: then nothing is posted, and an approval for the whole file is open.

    Raises Invalid if they have to, and the file is too large to be posted in one commit.
    """

    async def look(tx: Tx) -> Approval | None:
        asked = await wanted(tx, book_id, journals, clock.now(), f"from {name}")
        if asked is not None and len(journals) > AT_ONCE:
            raise Invalid(
                f"Others have to agree to this file, and it is posted in one commit: split it, at {AT_ONCE} journals."
            )
        return asked

    return await db.transact(look) or await take_in(db, journals)


async def try_out(db: Database, journals: list[Journal]) -> list[Posted]:
    """What `take_in` would answer; nothing stays."""

    async def work(tx: Tx) -> None:
        posted: list[Posted] = []
        for part in _parts(journals):
            posted += await post(tx, part)
            await tx.flush()
        raise _Tried(posted)

    try:
        await db.transact(work)
    except _Tried as tried:
        return tried.posted
    return []


def _parts(journals: list[Journal]) -> Iterator[list[Journal]]:
    """Parts of about AT_ONCE journals; a group is not cut."""
    part: list[Journal] = []
    for j in journals:
        if len(part) >= AT_ONCE and (j.group is None or j.group != part[-1].group):
            yield part
            part = []
        part.append(j)
    if part:
        yield part
