"""What this process remembers of a book: how the batch that it judged last leaves it.

A batch that would only wait for the one before it need not wait to be judged.  It is judged over what that one leaves behind, committed or
not, and sent; PostgreSQL writes it when the book is free, and insists that the book's head is where it was judged from (`ledger.write`).
Whatever changes what a judgement depends on moves the head: if another process was faster, or the batch before was rolled back, nothing is
written, that is Contended, and the batch runs again with the book locked.

Only what does nothing but post is judged ahead.  Batches of a process are judged one after the other and sent in that order; one that has to
lock the book, for it touches what is not known, waits until those ahead have ended, or it would come between.  Keys are not remembered:
one that was used is found by its unique key, which is a Conflict, and the batch runs again and looks.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID
from weakref import WeakValueDictionary

from guilder.ledger.fold import Book
from guilder.ledger.model import Journal
from guilder.platform.db import Tx

MOST = 20_000  # accounts and holds that are remembered of a book
BOOKS = 64  # that are remembered
DEPTH = 4  # batches of a book that are on their way at once
ALONE_S = 1.0  # a book in which somebody else posts, too, is locked for so long


@dataclass(slots=True)
class Memory:
    """What a process remembers of the books of one database."""

    books: dict[UUID, Book] = field(default_factory=dict)
    turns: WeakValueDictionary[UUID, asyncio.Lock] = field(
        default_factory=WeakValueDictionary
    )  # gone when nobody waits
    ahead: dict[UUID, int] = field(default_factory=dict)  # batches on their way that did not lock the book
    locking: dict[UUID, int] = field(default_factory=dict)  # and that do, and something else besides
    quiet: dict[UUID, list[asyncio.Future[None]]] = field(default_factory=dict)  # who waits until none is ahead
    shared: dict[UUID, float] = field(default_factory=dict)  # until when somebody else is expected


def of(tx: Tx) -> Memory:
    """What is remembered of this transaction's database."""
    return tx.memory.setdefault("ledger", Memory())


def alone(tx: Tx, journals: Sequence[Journal]) -> bool:
    """Whether a transaction has done nothing yet, may hope, and posts into one book."""
    id = journals[0].book_id
    return tx.hopeful and not tx.opened and not tx.writes and all(j.book_id == id for j in journals)


@asynccontextmanager
async def turn(tx: Tx, id: UUID) -> AsyncIterator[None]:
    """Judge for this book, and nobody else of this process who does nothing but post."""
    async with of(tx).turns.setdefault(id, asyncio.Lock()):
        yield


async def quiet(tx: Tx, id: UUID) -> None:
    """Wait until no batch is ahead of the book."""
    memory = of(tx)
    if memory.ahead.get(id):
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        memory.quiet.setdefault(id, []).append(ended)
        await ended


def remembered(tx: Tx, journals: Sequence[Journal]) -> Book | None:
    """The one book of these journals as it will be when its turn comes, if all that they touch is known."""
    memory, id = of(tx), journals[0].book_id
    book = memory.books.get(id)
    if book is None or memory.locking.get(id) or memory.ahead.get(id, 0) >= DEPTH:
        return None
    if memory.shared.get(id, 0.0) > time.monotonic() or not all(_known(book, j) for j in journals):
        return None
    book.keys = {}
    _count(tx, memory.ahead, id)
    return book


def _known(book: Book, j: Journal) -> bool:
    if not j.transfers:
        return False
    accounts, holds = book.accounts, book.holds
    for t in j.transfers:
        if t.debit not in accounts or (t.credit is not None and t.credit not in accounts):
            return False
        if t.hold is not None and t.kind != "hold" and t.hold not in holds:
            return False
    return True


def locks(tx: Tx, books: Sequence[UUID]) -> None:
    """A transaction that does other things, too, waits for these books: nobody is judged ahead until it ends."""
    for id in books:
        _count(tx, of(tx).locking, id)


def remember(tx: Tx, judged: dict[UUID, Book], befores: dict[UUID, int], *, new: bool) -> None:
    """How a batch leaves its books.  `befores`: their heads when it was judged; `new`: of those too that are not remembered yet."""
    memory = of(tx)
    for id, book in judged.items():
        was = memory.books.get(id)
        if was is None and not new:
            continue
        if was is not None and was.last != befores[id] and was is not book:
            memory.shared[id] = time.monotonic() + ALONE_S
            was = None
        memory.books[id] = _pruned(book if was is None else _joined(was, book))
    while len(memory.books) > BOOKS:
        id = next(iter(memory.books))
        del memory.books[id]
        memory.shared.pop(id, None)


def forget(tx: Tx, books: Sequence[UUID]) -> None:
    """Look at these books next time."""
    for id in books:
        of(tx).books.pop(id, None)


def _joined(was: Book, now: Book) -> Book:
    """What is known of a book, and what has been seen of it since."""
    if was is not now:
        was.accounts |= now.accounts
        was.stands |= now.stands
        was.holds |= now.holds
        was.last, was.open_from = now.last, now.open_from
    return was


def _pruned(book: Book) -> Book:
    if len(book.stands) > MOST:
        return Book(book.id, book.last, book.open_from)
    if len(book.holds) > MOST:
        ended = [id for id, held in book.holds.items() if not held.remaining]
        for id in ended[: len(ended) // 2]:
            del book.holds[id]
        if len(book.holds) > MOST:
            book.holds = {}
    return book


def _count(tx: Tx, what: dict[UUID, int], id: UUID) -> None:
    what[id] = what.get(id, 0) + 1

    def ended() -> None:
        what[id] -= 1
        if what[id]:
            return
        del what[id]
        if what is of(tx).ahead:
            for waits in of(tx).quiet.pop(id, []):
                if not waits.done():
                    waits.set_result(None)

    tx.at_end.append(ended)
