"""Post journals: the one way into the book."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from guilder.core import ids
from guilder.core.amount import INT64
from guilder.core.check import must
from guilder.ledger.chart import Account, rule
from guilder.platform.db import Database, Row, Tx
from guilder.platform.sql import load

Q = load(__package__)
MAX_TRANSFERS = 100  # of one journal


class Code(StrEnum):
    """What became of a journal.  Precedence is the order of this list."""

    EXISTS = "exists"
    EXISTS_WITH_OTHER_TRANSFERS = "exists_with_other_transfers"
    BALANCE_OVERFLOW = "balance_overflow"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    CREATED = "created"


class Transfer(msgspec.Struct, frozen=True):
    """`units` from `debit` to `credit`, in their common asset."""

    debit: Account
    credit: Account
    units: int

    def __post_init__(self) -> None:
        must(0 < self.units <= INT64, "a transfer moves at least one unit")
        must(self.debit.asset == self.credit.asset, "L1: a transfer stays in one asset")
        must(self.debit.code != self.credit.code, "L1: a transfer has two ends")


class Journal(msgspec.Struct, frozen=True):
    """One business entry.  `key` is unique in the book: 'charge:06b2…'."""

    book_id: UUID
    key: str
    rule: str  # the journal rule that made it: 'charge', 'refund', 'surplus'
    transfers: tuple[Transfer, ...]
    about: UUID  # the charge, refund or attempt that it books
    at: datetime
    root_id: UUID
    business_line: str = ""

    def digest(self) -> bytes:
        """What makes two journals of one key the same journal (L5)."""
        lines = (f"{t.debit.code}\0{t.credit.code}\0{t.debit.asset}\0{t.units}\n" for t in self.transfers)
        return hashlib.sha256("".join([self.rule, "\n", *lines]).encode()).digest()[:16]


class Posted(msgspec.Struct, frozen=True):
    """A journal's answer."""

    code: Code
    journal_id: UUID | None = None

    @property
    def booked(self) -> bool:
        """Whether the book holds exactly this journal now."""
        return self.code in (Code.CREATED, Code.EXISTS)


@dataclass(slots=True)
class _Balance:
    """An account while a batch is folded over it."""

    balance: int
    floor: int | None
    delta: int = 0


async def post(tx: Tx, journals: Sequence[Journal]) -> list[Posted]:
    """Post the journals in order, each seeing what those before it did; one answer per journal.

    A refused journal leaves nothing and disturbs no other.  What is booked is written with the transaction's next statement (D5); that
    raises Conflict (the batch runs again) if a concurrent transaction posts one of the keys meanwhile.
    """
    if not journals:
        return []
    must(all(0 < len(j.transfers) <= MAX_TRANSFERS for j in journals), f"a journal has 1 to {MAX_TRANSFERS} transfers")
    accounts, there = await _lock(tx, journals)
    posted: list[Posted] = []
    fresh: list[tuple[UUID, Journal, bytes]] = []
    for j in journals:
        digest = j.digest()
        known = there.get((j.book_id, j.key))
        if known is not None:
            same = known[1] == digest
            posted.append(Posted(Code.EXISTS if same else Code.EXISTS_WITH_OTHER_TRANSFERS, known[0]))
            continue
        refusal = _apply(accounts, j)
        if refusal is not None:
            posted.append(Posted(refusal))
            continue
        id = ids.new_id()
        there[j.book_id, j.key] = (id, digest)
        fresh.append((id, j, digest))
        posted.append(Posted(Code.CREATED, id))
    if fresh:
        _write(tx, fresh, {k: a for k, a in accounts.items() if a.delta})
    return posted


def _apply(accounts: dict[tuple[UUID, UUID], _Balance], journal: Journal) -> Code | None:
    """Move the journal's units, or say why not and move nothing."""
    deltas: dict[tuple[UUID, UUID], int] = {}
    for t in journal.transfers:
        debit, credit = (journal.book_id, t.debit.id(journal.book_id)), (journal.book_id, t.credit.id(journal.book_id))
        deltas[debit] = deltas.get(debit, 0) - t.units
        deltas[credit] = deltas.get(credit, 0) + t.units
    if any(abs(accounts[k].balance + d) > INT64 for k, d in deltas.items()):
        return Code.BALANCE_OVERFLOW
    if any(
        d < 0 and (floor := accounts[k].floor) is not None and accounts[k].balance + d < floor
        for k, d in deltas.items()
    ):
        return Code.INSUFFICIENT_FUNDS
    for key, delta in deltas.items():
        accounts[key].balance += delta
        accounts[key].delta += delta
    return None


_Accounts = dict[tuple[UUID, UUID], _Balance]
_Known = dict[tuple[UUID, str], tuple[UUID, bytes]]


async def _lock(tx: Tx, journals: Sequence[Journal]) -> tuple[_Accounts, _Known]:
    """Lock every account of the batch, opening those that are met for the first time; and find what is posted of it already."""
    named = {
        (j.book_id, account.id(j.book_id)): account
        for j in journals
        for t in j.transfers
        for account in (t.debit, t.credit)
    }
    keys = sorted(named)
    args = [k[0] for k in keys], [k[1] for k in keys], [j.book_id for j in journals], [j.key for j in journals]
    accounts, there = _sorted(await tx.rows(Q.lock_accounts_and_find_journals, *args))
    if len(accounts) < len(keys):
        await _open(tx, {k: named[k] for k in keys})
        accounts, there = _sorted(await tx.rows(Q.lock_accounts_and_find_journals, *args))
    must(len(accounts) == len(keys), "every account of the batch is locked")
    return accounts, there


def _sorted(rows: Sequence[Row]) -> tuple[_Accounts, _Known]:
    accounts = {(r["book_id"], r["id"]): _Balance(r["balance"], r["floor"]) for r in rows if r["key"] is None}
    return accounts, {(r["book_id"], r["key"]): (r["id"], r["digest"]) for r in rows if r["key"] is not None}


async def _open(tx: Tx, accounts: dict[tuple[UUID, UUID], Account]) -> None:
    rules = [rule(a.code) for a in accounts.values()]
    await tx.run(
        Q.open_accounts,
        [k[0] for k in accounts],
        [k[1] for k in accounts],
        [a.code for a in accounts.values()],
        [a.asset for a in accounts.values()],
        [r.normal for r in rules],
        [r.floor for r in rules],
    )


def _write(tx: Tx, fresh: list[tuple[UUID, Journal, bytes]], changed: dict[tuple[UUID, UUID], _Balance]) -> None:
    # In key order: who posts the same keys at once waits, and never deadlocks.
    fresh = sorted(fresh, key=lambda f: (f[1].book_id, f[1].key))
    tx.write(
        Q.write_journals,
        [(j.book_id, id, j.key, j.rule, digest, j.about, j.root_id, j.business_line, j.at) for id, j, digest in fresh],
    )
    tx.write(
        Q.write_transfers,
        [
            (j.book_id, id, n, t.debit.id(j.book_id), t.credit.id(j.book_id), t.debit.asset, t.units)
            for id, j, _ in fresh
            for n, t in enumerate(j.transfers)
        ],
    )
    keys = sorted(changed)
    tx.write(Q.move_balances, [k[0] for k in keys], [k[1] for k in keys], [changed[k].delta for k in keys])


async def balances(tx: Tx, book_id: UUID) -> list[Row]:
    """Every account of a book with its balance."""
    return await tx.rows(Q.list_accounts, book_id)


async def lines(db: Database, book_id: UUID) -> list[Row]:
    """Every transfer of a book with the names of its accounts, in order of time."""
    return await db.rows(Q.list_lines, book_id)
