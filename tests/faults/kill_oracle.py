"""The judge of kills: what the posters noted against what lies in the database, replayed by plain books."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from graphlib import TopologicalSorter
from itertools import groupby, pairwise
from typing import Any
from uuid import UUID

from batches import BOOKS, Said, alone, batch, number
from entries import hold_id, of
from plain_books import KNOWN, Books
from poster import HOUR, NOW, Note, Told, told

from guilder.ledger import post, sweep
from guilder.platform.db import Database
from place import Place

Row = dict[str, Any]
# What is in the books, and by which transaction: rows are written once, so whoever wrote them is who they show.
ENTRIES = """
SELECT book_id, key, id, 'created' AS code, xmin::text AS tx FROM ledger.journal
 UNION ALL
SELECT book_id, key, id, code, xmin::text FROM ledger.refusal
 ORDER BY book_id, id
"""
KEYS = """
SELECT book_id, key, id, coalesce(refused, 'created') AS code, xmin::text AS tx FROM ledger.key ORDER BY book_id, id
"""
ACCOUNTS = "SELECT book_id, code, balance, held FROM ledger.account WHERE balance <> 0 OR held <> 0"
HOLDS = "SELECT book_id, id, remaining FROM ledger.hold"


@dataclass(frozen=True)
class Answer:
    """What a batch was told in the end, and whether it may have been in the books before it was posted for the last time."""

    told: list[Told]
    doubted: bool


def answers(notes: Sequence[Note]) -> dict[int, Answer]:
    """Of every batch that was begun; all of them were answered in the end, and once."""
    begun, doubted, found = set[int](), set[int](), dict[int, Answer]()
    for note in notes:
        if note.what == "begun":
            doubted |= {note.n} & begun  # whoever began it died over it
            begun.add(note.n)
        elif note.what != "marked":
            begun.remove(note.n)
            if note.what == "unknown":
                doubted.add(note.n)
            if note.what == "done":
                assert note.n not in found, f"batch {note.n} was answered twice"
                found[note.n] = Answer(note.told, note.n in doubted)
    assert begun == set()
    assert {note.n for note in notes if note.n >= 0} == found.keys()
    return found


def in_flight(notes: Sequence[Note], run: int, at: float) -> set[int]:
    """The batches that the poster had begun, and had no answer to, at an instant."""
    flying = set[int]()
    for note in notes:
        if note.run == run and note.at <= at:
            flying = flying | {note.n} if note.what == "begun" else flying - {note.n}
    return flying


async def judge(db: Database, place: Place, seed: int, notes: Sequence[Note]) -> dict[str, int]:
    """Every answer is true of the books, and the books are what comes of these batches one after the other; what was compared, counted."""
    rows = await place.fetch(ENTRIES)
    assert rows == await place.fetch(KEYS), "L5: one key, one answer"
    books, first = replay(rows, seed)
    assert await stored(place) == kept(books)
    found, stands = answers(notes), {(row["book_id"], row["key"]): row for row in rows}
    assert first.keys() == found.keys(), "a batch that was answered is there, and no other"
    counted = Counter[str](row["code"] for row in rows)
    for n, answer in found.items():
        said = batch(seed, n)
        there = was_there(said, answer.told)
        assert answer.doubted or not there, f"D1: batch {n} left something behind, and was called undone"
        codes = [books[s.book].known(s.entry) for s in said] if there else first[n]
        assert answer.told == list(expected(said, codes, stands)), f"batch {n} was told something else"
        counted.update(code for code in codes if code in KNOWN)
        if answer.doubted:
            counted["unknown, was there" if there else "unknown, was not there"] += 1
    for n in found:
        said = batch(seed, n)
        journals = [of(s.entry, s.book) for s in said]
        posted = await db.transact(partial(post, journals=journals, now=NOW), durable=False)
        known = [books[s.book].known(s.entry) for s in said]
        assert told(posted) == list(expected(said, known, stands)), f"L5: batch {n} is told something else by now"
    assert await place.fetch(ENTRIES) == rows
    assert await db.transact(sweep) == []
    return dict(counted)


def replay(rows: Sequence[Row], seed: int) -> tuple[Books, dict[int, list[str]]]:
    """The plain books after what is in the real ones, and what each batch was told when it was written."""
    books, first = Books(), dict[int, list[str]]()
    for n, written in in_order(rows, seed):
        assert n not in first, f"batch {n} is there twice"
        said = batch(seed, n)
        first[n] = books.post(said, HOUR)
        replayed = {(s.book, s.entry.key): code for s, code in zip(said, first[n], strict=True) if code not in KNOWN}
        assert {(row["book_id"], row["key"]): row["code"] for row in written} == replayed, f"L7: batch {n}"
    return books, first


def in_order(rows: Sequence[Row], seed: int) -> Iterator[tuple[int, list[Row]]]:
    """What each transaction wrote, and which batch it was, in an order that all books and all answers agree with."""
    written: dict[str, list[Row]] = {}
    for row in rows:
        written.setdefault(row["tx"], []).append(row)
    writer = {(row["book_id"], row["key"]): row["tx"] for row in rows}
    batches, after = dict[str, int](), dict[str, set[str]]()
    for tx, entries in written.items():
        [batches[tx]] = {number(row["key"]) for row in entries if alone(row["key"])}
        after[tx] = {writer[s.book, s.entry.key] for s in batch(seed, batches[tx])} - {tx}  # it found those keys
    for book, entries in groupby(rows, key=lambda row: row["book_id"]):
        turns = [tx for tx, _ in groupby(entries, key=lambda row: row["tx"])]
        assert len(set(turns)) == len(turns), f"L7: batches run into each other in book {book}"
        for earlier, later in pairwise(turns):
            after[later].add(earlier)
    return ((batches[tx], written[tx]) for tx in TopologicalSorter(after).static_order())


def was_there(said: Sequence[Said], told: Sequence[Told]) -> bool:
    """Whether the batch was in the books before it was posted for the last time: whole, or not at all."""
    own = {code in KNOWN for s, (code, *_) in zip(said, told, strict=True) if alone(s.entry.key)}
    assert len(own) == 1, f"in part: {told}"
    return own.pop()


def expected(said: Sequence[Said], codes: Sequence[str], stands: dict[tuple[UUID, str], Row]) -> Iterator[Told]:
    """Codes as they are told: with the journal that is there, or why there is none."""
    for s, code in zip(said, codes, strict=True):
        row = stands[s.book, s.entry.key]
        booked = row["code"] == "created"
        yield code, str(row["id"]) if booked else None, row["code"] if code == "already_refused" else None


Kept = tuple[dict[tuple[UUID, str], tuple[int, int]], dict[tuple[UUID, UUID], int]]


async def stored(place: Place) -> Kept:
    """Balances and what is held, by account; what remains, by hold."""
    accounts, holds = await place.fetch(ACCOUNTS), await place.fetch(HOLDS)
    return (
        {(r["book_id"], r["code"]): (r["balance"], r["held"]) for r in accounts},
        {(r["book_id"], r["id"]): r["remaining"] for r in holds},
    )


def kept(books: Books) -> Kept:
    """The same of the plain books."""
    names = {(id, name) for id in BOOKS for name in books[id].balances.keys() | books[id].held.keys()}
    stands = {(id, name): (books[id].balances.get(name, 0), books[id].held.get(name, 0)) for id, name in names}
    return (
        {end: stand for end, stand in stands.items() if stand != (0, 0)},
        {(id, hold_id(name, id)): hold[1] for id in BOOKS for name, hold in books[id].holds.items()},
    )
