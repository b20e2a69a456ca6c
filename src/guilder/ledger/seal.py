"""Seals: evidence that nobody has changed what was written, the owner of the database included.

    seal(db)                    each second: what has committed since, one seal a book over the seal before (a chain per book)
    head(db)                    the end of every chain: keep it elsewhere, and hold the books against it later
    broken_seals(db, book)      every seal whose entries are no longer what they were, and which entry that is

A seal is hashed by PostgreSQL itself (ledger.leaves, ledger.seal_hash), over bytes with their lengths, never over JSON or a row's text.
"""

from collections.abc import AsyncIterator, Callable
from uuid import UUID

from guilder.core import clock, ids
from guilder.core.errors import Invalid
from guilder.ledger.sweep import Broken
from guilder.platform.db import Database, Row, Tx, plan_freely
from guilder.platform.sql import load

Q = load(__package__)
MOST_JOURNALS, MOST_BOOKS = 10_000, 200  # of one seal; of one round
LEAF = 32  # bytes of an entry's hash
LOWEST = UUID(int=0)
Tell = Callable[[int, int], None]  # how many of how many


async def seal(db: Database, *, durable: bool = False) -> int:
    """Seal all that has been committed; how many entries that were.

    A seal that a power cut takes away is made again; before a head is given away, say `durable`: it would be another one then.
    """

    async def work(tx: Tx) -> tuple[int, int]:
        [row] = await tx.rows(Q.seal_books, MOST_JOURNALS, MOST_BOOKS)
        return row["books"], int(row["entries"])

    total = 0
    while True:
        books, entries = await db.transact(work, durable=durable)
        total += entries
        if books < MOST_BOOKS and entries < MOST_JOURNALS:
            return total


async def unsealed_age_s(db: Database) -> float:
    """How long the oldest unsealed journal has been waiting, in seconds."""
    oldest: UUID | None = await db.value(Q.oldest_unsealed)
    return 0.0 if oldest is None else max(0.0, clock.now().timestamp() - (oldest.int >> 80) / 1000)


async def head(db: Database) -> dict[str, dict[str, object]]:
    """The end of every chain, by book: its number, its newest entry, when, its hash.  All that has been committed is in it."""
    await seal(db, durable=True)
    return {
        ids.text(r["book_id"]): {
            "seal": r["n"], "last": str(r["last"]), "at": r["at"].isoformat(), "sha256": r["hash"].hex(),
        }
        for r in await db.rows(Q.chain_heads)
    }  # fmt: skip


async def differs(db: Database, kept: dict[str, dict[str, object]]) -> list[Broken]:
    """What a head that was kept says otherwise than the seals do."""
    found = []
    for book, end in kept.items():
        id = ids.parse(book)
        if id is None or not isinstance(end.get("seal"), int) or not isinstance(end.get("sha256"), str):
            raise Invalid(f"{book!r} in the kept head is no book with its seal; `guilder ledger head` writes one.")
        row = await db.row(Q.seal_at, id, end["seal"])
        if row is None:
            found.append(Broken("seal", f"book {book}", f"its seal {end['seal']} is gone"))
        elif row["hash"].hex() != end["sha256"]:
            found.append(Broken("seal", f"book {book}", f"its seal {end['seal']} is not the one that was kept"))
    return found


async def broken_seals(db: Database, tell: Tell) -> AsyncIterator[Broken]:
    """Every broken seal, book by book, in order."""
    books = await db.rows(Q.sealed_books)
    total, done = sum(r["entries"] for r in books), 0
    for book in books:
        before, after, hash = book["seal"], book["after"] or LOWEST, book["hash"] or b""
        until, went = (
            book["until"] or LOWEST,
            book["leaves"] or b"",
        )  # the hashes of what the next seal had, and is archived
        while (row := await _next(db, book["book_id"], before, hash, until, went)) is not None:
            subject = f"book {ids.text(book['book_id'])}, seal {row['n']}"
            if row["n"] != before + 1 or row["after"] != after:
                yield Broken("seal", subject, "it does not follow the one before")
            marks = b"".join(went[n : n + 4] for n in range(0, len(went), LEAF))
            now = row["now_hash"], marks + row["now_marks"], len(went) // LEAF + row["now_entries"]
            if (row["hash"], row["marks"], row["entries"]) != now:
                yield Broken("seal", subject, await _fault(db, book["book_id"], row, until, len(went) // LEAF))
            before, after, hash, went = row["n"], row["last"], row["hash"], b""
            done += row["entries"]
            tell(done, total)
        if before < book["seals"]:  # there may be more meanwhile
            yield Broken("seal", f"book {ids.text(book['book_id'])}", f"its seals end at {before} of {book['seals']}")


async def _next(db: Database, book: UUID, before: int, hash: bytes, until: UUID, went: bytes) -> Row | None:
    async def work(tx: Tx) -> Row | None:
        return await tx.row(Q.seals, book, before, hash, until, went)

    return await db.transact(work, durable=False)


async def _fault(db: Database, book: UUID, row: Row, until: UUID, gone: int) -> str:
    """Which entry is not what it was; the first `gone` are archived."""

    async def work(tx: Tx) -> list[Row]:
        await plan_freely(tx)
        return await tx.rows(Q.leaves, book, max(row["after"], until), row["last"])

    marks = [row["marks"][n : n + 4] for n in range(0, len(row["marks"]), 4)][gone:]
    entries = await db.transact(work, durable=False)
    for n, entry in enumerate(entries):
        if n >= len(marks) or entry["mark"] != marks[n]:
            return f"{entry['what']} {entry['id']} is not what was sealed"
    if len(entries) < len(marks):
        return f"{len(marks) - len(entries)} of {len(marks)} entries are gone"
    return "its entries stand, the seal itself is not what it was"
