"""The past of the book: transfers that were posted before, through `post` itself.

Some processes, each with books of its own (a head is locked by one batch at a time), post batches of 1000 with holds and refusals.  They do
not wait for the disk: what a power cut would take is only time.
"""

import asyncio
import multiprocessing
import os
import shutil
import time
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from typing import Any

import uvloop

from guilder.app.environments import settle_memory
from guilder.platform.db import Database
from stand.bare import NAME, Bare
from stand.gauges import CORES
from stand.posters import Book, Direct, Mix
from stand.scene import say

SIZE = 1000
BOOKS = 2  # of a process: one is judged while the other is written
BYTES = 900  # that a transfer takes on disk, with its part of keys, indexes, refusals and holds
SORTED = 400  # more for a while, when the sweeps sort them all
ROOM = 4 * 2**30  # for the WAL and what is measured
TRANSFERS = "SELECT count(*) FROM ledger.transfer"


async def refuse_if_full(it: Bare, transfers: int) -> None:
    """SystemExit if the disk has no room for what is missing of so many."""
    missing = max(0, transfers - int(await it.ask(TRANSFERS)))
    folder = it.server.cluster.data
    free, need = shutil.disk_usage(folder).free, missing * BYTES + transfers * SORTED + ROOM
    if free < need:
        raise SystemExit(
            f"{missing:,} more transfers would need {need / 2**30:.0f} GiB: {BYTES} bytes each, {SORTED} while the sweeps sort them, and "
            f"{ROOM / 2**30:.0f} GiB beside; {folder} has {free / 2**30:.0f} GiB free. Ask for a smaller --past."
        )


@dataclass(frozen=True)
class Filled:
    """What a fill came to."""

    transfers: int  # there are now
    acknowledged: int  # that should be
    tps: float
    bytes: int  # of one on disk; 0 if there was nothing to post


async def fill(it: Bare, transfers: int) -> Filled:
    """Until the tables hold so many transfers.  RuntimeError if one of them was answered wrongly."""
    there, size, begun = int(await it.ask(TRANSFERS)), await it.bytes(), time.monotonic()
    missing = max(0, transfers - there)
    spawn = multiprocessing.get_context("spawn")
    done: list[Synchronized[int]] = [spawn.Value("q", 0) for _ in range(CORES)]
    share = -(-missing // CORES)
    posters = [spawn.Process(target=_post, args=(it.server.dsn(NAME, "app"), share, d), daemon=True) for d in done]
    for poster in posters if missing else []:
        poster.start()
    told = begun
    while missing and any(poster.is_alive() for poster in posters):
        await asyncio.sleep(0.2)
        if time.monotonic() - told > 5:
            told, posted = time.monotonic(), sum(d.value for d in done)
            say(f"the past: {there + posted:,} of {transfers:,} transfers, {posted / (told - begun):,.0f}/s")
    if missing and any(poster.exitcode for poster in posters):
        raise RuntimeError("the past was not posted as it should be")
    took = time.monotonic() - begun
    say("the past settles …")
    for settled in ("VACUUM (ANALYZE)", "CHECKPOINT"):  # what would follow in the background, and be measured
        await it.run(settled)
    now, posted = int(await it.ask(TRANSFERS)), sum(d.value for d in done)
    return Filled(now, there + posted, posted / took, round((await it.bytes() - size) / posted) if posted else 0)


def _post(dsn: dict[str, Any], transfers: int, done: "Synchronized[int]") -> None:
    """A process: so many transfers."""
    settle_memory()
    uvloop.run(_post_all(dsn, transfers, done))


async def _post_all(dsn: dict[str, Any], transfers: int, done: "Synchronized[int]") -> None:
    db = await Database(NAME, dsn, size=BOOKS).open()

    async def one() -> Book:
        book = await Book.opened(db, 1000)
        done.value += book.transfers
        mix, direct = Mix(book, hot=True, holds=True, size=1000), Direct(db, durable=False)
        while done.value < transfers:
            played = await direct.post(book, *mix.make(SIZE))
            done.value += played.booked
        return book

    books = await asyncio.gather(*(one() for _ in range(BOOKS)))
    await db.close()
    for book in books:
        if book.wrong:
            os.write(2, f"{dict(book.wrong)}\n".encode())
            raise SystemExit(1)
