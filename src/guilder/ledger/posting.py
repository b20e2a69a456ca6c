"""Post journals: the one way into the book."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from guilder.core import clock, ids
from guilder.ledger import ahead
from guilder.ledger.chart import Account, known, rule
from guilder.ledger.fold import Book, Entry, Held, Said, Stand, judge
from guilder.ledger.model import Code, Journal, Posted, check
from guilder.platform.db import Database, Row, Tx
from guilder.platform.sql import load

Q = load(__package__)


async def post(tx: Tx, journals: Sequence[Journal], *, now: datetime | None = None) -> list[Posted]:
    """Post the journals in order, each seeing what those before it did; one answer per journal (Code).

    A refused journal moves nothing, disturbs no other and uses up its key.  What is booked is written with the transaction's next
    statement (D5).  Holds the heads of the batch's books until commit.  A hopeful transaction takes its keys for new: every one of them is
    written, so one that is not raises Conflict; and where it only posts, and this process knows how the book will be, it does not lock
    it before it judges (see ahead.py): if it was wrong, that is Contended.
    """
    if not journals:
        return []
    check(journals)
    said = [(j, j.digest()) for j in journals]  # while nobody waits
    if not ahead.alone(tx, journals):
        ahead.locks(tx, sorted({j.book_id for j in journals}))
        books = await _lock(tx, journals)
        return _judged(tx, books, said, now, insist=False, alone=False)
    async with ahead.turn(tx, journals[0].book_id):
        known = ahead.remembered(tx, journals)
        if known is not None:
            return _judged(tx, {known.id: known}, said, now, insist=True, alone=True)
        await ahead.quiet(tx, journals[0].book_id)
        return _judged(tx, await _lock(tx, journals), said, now, insist=False, alone=True)


def _judged(
    tx: Tx, books: dict[UUID, Book], said: Sequence[Said], now: datetime | None, *, insist: bool, alone: bool
) -> list[Posted]:
    """Answer the journals, and have what is booked written.  `insist`: the books are not locked, and must be as they are known."""
    befores = {id: book.last for id, book in books.items()}
    for book in books.values():
        book.last = max(book.last, ids.new_id().int)
    at = now or clock.now()
    try:
        posted, entries = judge(books, said, at)
    except BaseException:
        ahead.forget(tx, list(books))
        raise
    if entries:
        _write(tx, books, entries, at, [ids.of_int(n) for n in befores.values()] if insist else None)
        if all(j.transfers for j, _ in said):
            ahead.remember(tx, books, befores, new=alone)
        else:  # what was closed or opened is read again
            ahead.forget(tx, list(books))
    return posted


_Named = dict[UUID, dict[Account, UUID]]  # the accounts of a batch, by book


async def _lock(tx: Tx, journals: Sequence[Journal]) -> dict[UUID, Book]:
    """Lock the books of the batch, and read what decides it; open those accounts of the chart that are met for the first time."""
    books = {id: Book(id, 0) for id in sorted({j.book_id for j in journals})}
    named: _Named = {id: {} for id in books}
    keys: list[tuple[UUID, str]] = []
    holds: set[tuple[UUID, UUID]] = set()
    for j in journals:
        accounts = named[j.book_id]
        keys.append((j.book_id, j.key))
        for t in j.transfers:
            if t.debit not in accounts:
                accounts[t.debit] = t.debit.id(j.book_id)
            if t.credit is not None and t.credit not in accounts:
                accounts[t.credit] = t.credit.id(j.book_id)
            if t.hold is not None:
                holds.add((j.book_id, t.hold))
    closing = [(j.book_id, j.about) for j in journals if not j.transfers]  # accounts, if it is about one
    ends = [(book, id) for book, accounts in named.items() for id in accounts.values()]
    await _read(tx, books, [*ends, *closing], [] if tx.hopeful else keys, sorted(holds))
    missing = [
        (book, account, id)
        for book, accounts in named.items()
        for account, id in accounts.items()
        if id not in books[book].stands and known(account.code)
    ]
    if missing:
        await _open(tx, missing, max(b.last for b in books.values()))
        await _read(tx, books, ends, [], [])
    for book, accounts in named.items():
        stands = books[book].stands
        books[book].accounts = {account: stands[id] for account, id in accounts.items() if id in stands}
    return books


async def _read(
    tx: Tx,
    books: dict[UUID, Book],
    ends: list[tuple[UUID, UUID]],
    keys: list[tuple[UUID, str]],
    holds: list[tuple[UUID, UUID]],
) -> None:
    for row in await tx.rows(Q.lock_books, list(books), *_columns(ends), *_columns(keys), *_columns(holds)):
        what, book = row["what"], books[row["book_id"]]
        if what in {"account", "closed"}:
            id = row["id"]
            if id not in book.stands:
                book.stands[id] = Stand(row["n"], row["m"], row["f"], what == "closed", id)
        elif what == "head":
            book.last, book.open_from = row["id"].int, row["at"]
        elif what == "hold":
            book.holds[row["id"]] = Held(UUID(bytes=row["bytes"]), row["n"], row["at"])
        else:
            book.keys[row["word"]] = (row["id"], row["bytes"], Code(what) if what else None)


def _columns(pairs: Sequence[tuple[object, object]]) -> tuple[list[object], list[object]]:
    return [p[0] for p in pairs], [p[1] for p in pairs]


async def _open(tx: Tx, missing: Sequence[tuple[UUID, Account, UUID]], last: int) -> None:
    rules = [rule(account.code) for _, account, _ in missing]
    await tx.value(
        Q.open_accounts,
        [book for book, _, _ in missing],
        [id for _, _, id in missing],
        [account.code for _, account, _ in missing],
        [account.asset for _, account, _ in missing],
        [r.normal for r in rules],
        [r.floor for r in rules],
        ids.of_int(max(last + 1, ids.new_id().int)),
    )


def _write(
    tx: Tx, books: dict[UUID, Book], entries: Sequence[Entry], now: datetime, befores: list[UUID] | None
) -> None:
    """Have the batch written with the transaction's next statement.  `befores`: the heads that it insists on."""
    journals, keys, transfers, refusals, notes, decisions, orders = [], [], [], [], [], [], []
    changed: set[UUID] = set()
    for e in entries:
        j = e.journal
        changed.add(j.book_id)
        keys.append((j.book_id, j.key, e.id, e.digest, e.refused))
        if e.refused is not None:
            refusals.append((j.book_id, e.id, j.key, j.rule, e.refused, j.about, j.root_id, e.at))
            continue
        journals.append((j.book_id, e.id, j.key, j.rule, j.about, j.root_id, j.business_line, e.at, j.reverses))
        if not j.transfers:
            decisions.append(e.id)
        if j.note:
            notes.append((j.book_id, e.id, j.note))
        if (o := j.order) is not None:
            orders.append((o.book_id, o.key, j.book_id, o.rule, o.credit.code, o.credit.asset, o.units, o.about, j.root_id, j.business_line,
                           e.at, now, None, None))  # fmt: skip
        accounts = books[j.book_id].accounts
        for n, (t, units) in enumerate(zip(j.transfers, e.units, strict=True)):
            credit = None if t.credit is None else accounts[t.credit].id
            transfers.append(
                (j.book_id, e.id, n, t.kind, accounts[t.debit].id, credit, t.debit.asset, units, t.hold, t.expires_at)
            )
    heads = [(id, ids.of_int(books[id].last)) for id in sorted(changed)]
    tx.write(Q.post, *_columns(heads), journals, keys, transfers, refusals, notes, decisions, orders, befores)


async def balances(tx: Tx, book_id: UUID) -> list[Row]:
    """Every account of a book with its balance."""
    return await tx.rows(Q.list_accounts, book_id)


async def lines(db: Database, book_id: UUID) -> list[Row]:
    """Every transfer of a book with the names of its accounts, in order of time."""
    return await db.rows(Q.list_lines, book_id)
