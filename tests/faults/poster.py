"""A process that posts batches until it is stopped, or killed: `python -m poster` with its orders, as JSON, on stdin.

It notes what it begins before it begins it and what it was told as soon as it knows, each note synced.  Its successor first posts again
whatever was begun and not answered.  SIGTERM ends it cleanly: nothing begun is left.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
from batches import batch
from entries import of

from guilder.ledger import Posted, post
from guilder.platform import failpoints
from guilder.platform.db import CommitUnknown, Database, DatabaseError, Tx
from journals import AT

WRITERS = 6
HOUR = 1  # of the plain book, in which holds end at 1, at 2 or never: whoever was born earlier means the same by it
NOW = AT + timedelta(hours=HOUR)
POINTS = (
    "post.written",  # inside the transaction: everything is written
    "post.committing",  # COMMIT was sent, and nothing was heard
    "post.committed",  # it is committed, and not noted
)
Told = tuple[
    str, str | None, str | None
]  # an answer: its code, the journal that is there, why the key was refused before


class Orders(msgspec.Struct):
    """What to post where; `run` counts the processes."""

    dsn: dict[str, Any]
    notes: str
    seed: int
    run: int
    resolve_s: float


class Note(msgspec.Struct, omit_defaults=True):
    """begun | lost | unknown | done: batch `n`; marked: an unknown commit was looked up by its mark."""

    at: float
    run: int
    what: str
    n: int = -1
    told: list[Told] = []
    there: bool = False


def told(posted: Sequence[Posted]) -> list[Told]:
    """Answers as they are noted."""
    return [(p.code, p.journal_id and str(p.journal_id), p.was) for p in posted]


class Notes:
    """The notes in a file, read as it grows.  A last line without its end was never written: its writer died over it."""

    def __init__(self, path: Path) -> None:
        self.path, self.every, self._read = path, list[Note](), 0

    def look(self) -> list[Note]:
        """All notes until now."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        self.every += [msgspec.json.decode(line, type=Note) for line in whole.splitlines()]
        return self.every

    def unanswered(self) -> list[int]:
        """The batches that were begun and not answered."""
        begun = {note.n for note in self.look() if note.what == "begun"}
        return sorted(begun - {note.n for note in self.every if note.what == "done"})

    def open(self, run: int) -> "Pen":
        """Go on where the last writer ended."""
        self.look()
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        os.ftruncate(fd, self._read)
        return Pen(fd, run)


class Pen:
    """Writes notes, each on the disk before anything else is done."""

    def __init__(self, fd: int, run: int) -> None:
        self._fd, self._run = fd, run

    def note(self, what: str, n: int = -1, **more: Any) -> None:
        os.write(self._fd, msgspec.json.encode(Note(time.time(), self._run, what, n, **more)) + b"\n")
        os.fsync(self._fd)


class Marking(Database):
    """A database that tells how unknown commits were resolved."""

    pen: Pen

    async def _committed(self, mark: object) -> bool:
        there = await super()._committed(mark)
        self.pen.note("marked", there=there)
        return there


class Poster:
    """Several writers, who take numbers."""

    def __init__(self, db: Database, pen: Pen, seed: int, left: list[int], next: int) -> None:
        self.db, self.pen, self.seed, self.left, self.next = db, pen, seed, left, next
        self.stopped = False

    async def write(self) -> None:
        while self.left or not self.stopped:
            if self.left:
                n = self.left.pop(0)
            else:
                n, self.next = self.next, self.next + 1
            await self.settle(n)

    async def settle(self, n: int) -> None:
        """Post batch `n` until there is an answer."""
        journals = [of(entry, book) for book, entry in batch(self.seed, n)]

        async def work(tx: Tx) -> list[Posted]:
            posted = await post(tx, journals, now=NOW)
            await tx.flush()
            failpoints.reach("post.written")
            asyncio.get_running_loop().call_soon(failpoints.reach, "post.committing")  # runs while COMMIT is awaited
            return posted

        while True:
            self.pen.note("begun", n)
            try:
                posted = await self.db.transact(work, lock_timeout_ms=20_000)
                break
            except DatabaseError:  # nothing was done
                self.pen.note("lost", n)
            except CommitUnknown:
                self.pen.note("unknown", n)
            await asyncio.sleep(0.1)
        failpoints.reach("post.committed")
        self.pen.note("done", n, told=told(posted))


async def main(orders: Orders) -> None:
    """Settle what a predecessor left, then go on."""
    failpoints.arm(os.environ, ("test",))
    notes = Notes(Path(orders.notes))
    pen = notes.open(orders.run)
    db = Marking("test", orders.dsn, size=WRITERS, resolve_s=orders.resolve_s)
    db.pen = pen
    await db.open()
    poster = Poster(db, pen, orders.seed, notes.unanswered(), max((note.n for note in notes.every), default=-1) + 1)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: setattr(poster, "stopped", True))
    async with asyncio.TaskGroup() as writers:
        for _ in range(WRITERS):
            writers.create_task(poster.write())
    await db.close()


if __name__ == "__main__":
    asyncio.run(main(msgspec.json.decode(sys.stdin.buffer.read(), type=Orders)))
