"""Does it pay to post fees to the platform's book later, instead of with the payment?

Each payment books its charge in its merchant's book, and a fee that its merchant owes the platform: a pair of clearing journals, one of them
in the platform's book, which all payments share.

    at once    all journals in the commit of the payment: it holds the platform's head, too
    later      the charge, and an order for the fee, in that commit; one more process takes orders and posts them, many at a time

With 1, 2 and 4 posting processes, batches of 8 payments of 8 merchants, durable.  A turn ends when every fee is posted, so that what was
put off counts.  Keys: `at_once_per_s`, `later_per_s` (lists by processes), `lag_ms_p99` (from order to fee).
"""

import argparse
import asyncio
import multiprocessing
import random
import sys
import time
from typing import Any

from stand import bare, report
from stand.bare import NAME
from stand.checks import Check
from stand.gauges import percentile
from stand.report import Table
from stand.scene import say

from guilder.core import clock, ids
from guilder.ledger import Account, Journal, Transfer, post
from guilder.ledger.exchange import between
from guilder.platform.db import Database, Tx, connected
from guilder.platform.sql import Query

MERCHANTS, BATCH, FEE = 200, 8, 3
PROCESSES = (1, 2, 4)
RECEIVABLE, PAYABLE, FEES = Account("receivable:bench", "CNY"), Account("payable", "CNY"), Account("own:fees", "CNY")
SCHEMA = """
CREATE SCHEMA IF NOT EXISTS bench;
CREATE TABLE IF NOT EXISTS bench.fee_order (book_id uuid, id uuid, at double precision, PRIMARY KEY (book_id, id));
GRANT USAGE ON SCHEMA bench TO guilder_app; GRANT SELECT, INSERT, UPDATE, DELETE ON bench.fee_order TO guilder_app;
"""
ORDER = Query(
    "order", "INSERT INTO bench.fee_order SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::double precision[])"
)
TAKE = Query("take", "DELETE FROM bench.fee_order WHERE ctid = ANY (ARRAY(SELECT ctid FROM bench.fee_order ORDER BY id LIMIT 1000 "
                     "FOR UPDATE SKIP LOCKED)) RETURNING book_id, id, at")  # fmt: skip


def charge(book: Any, id: Any) -> Journal:
    return Journal(
        book, f"charge:{ids.text(id)}", "charge", (Transfer(RECEIVABLE, PAYABLE, 1000),), id, clock.now(), id
    )


def fee(book: Any, id: Any, platform: Any) -> tuple[Journal, Journal]:
    return between(f"fee:{ids.text(id)}", (book, PAYABLE), (platform, FEES), FEE, id, clock.now(), id)


async def pay(db: Database, books: list[Any], platform: Any, rng: random.Random, later: bool) -> None:
    """One batch of payments."""
    made = [(book, ids.new_id()) for book in rng.sample(books, BATCH)]
    journals = [charge(*m) for m in made]
    if not later:
        journals += [j for m in made for j in fee(*m, platform)]

    async def work(tx: Tx) -> None:
        assert all(p.booked for p in await post(tx, journals))
        if later:
            tx.write(ORDER, [m[0] for m in made], [m[1] for m in made], [time.time()] * BATCH)

    await db.transact(work, lock_timeout_ms=20_000)


def poster(
    dsn: dict[str, Any], books: list[Any], platform: Any, seconds: float, later: bool, seed: int, out: Any
) -> None:
    """A process that posts payments for so long; four at a time, as lanes do."""

    async def run() -> None:
        db = await Database(NAME, dsn).open()
        rng, n, times = random.Random(seed), 0, []
        end = time.monotonic() + seconds

        async def caller() -> None:
            nonlocal n
            while (begun := time.monotonic()) < end:
                await pay(db, books, platform, rng, later)
                n += BATCH
                times.append((time.monotonic() - begun) * 1000)

        await asyncio.gather(*(caller() for _ in range(2)))
        await db.close()
        out.put((n, times))

    asyncio.run(run())


def settler(dsn: dict[str, Any], platform: Any, stop: Any, out: Any) -> None:
    """A process that takes orders and posts their fees, until it is told to stop and none is left."""

    async def run() -> None:
        db, lags = await Database(NAME, dsn).open(), []

        async def work(tx: Tx) -> int:
            rows = await tx.rows(TAKE)
            posted = await post(tx, [j for r in rows for j in fee(r["book_id"], r["id"], platform)])
            assert all(p.booked for p in posted)
            lags.extend((time.time() - r["at"]) * 1000 for r in rows)
            return len(rows)

        while True:
            told = stop.is_set()
            if not await db.transact(work, lock_timeout_ms=20_000):
                if told:
                    break
                await asyncio.sleep(0.005)
        await db.close()
        out.put(lags)

    asyncio.run(run())


def turn(
    dsn: dict[str, Any], books: list[Any], platform: Any, processes: int, seconds: float, later: bool
) -> tuple[float, list[float], list[float]]:
    """Payments a second until every fee is posted; times of batches; lags of fees."""
    spawn = multiprocessing.get_context("spawn")
    out, lags, stop = spawn.Queue(), spawn.Queue(), spawn.Event()
    ones = [spawn.Process(target=poster, args=(dsn, books, platform, seconds, later, n, out)) for n in range(processes)]
    last = spawn.Process(target=settler, args=(dsn, platform, stop, lags)) if later else None
    for one in [*ones, *([last] if last else [])]:
        one.start()
    told = [out.get(timeout=seconds + 60) for _ in ones]
    over = time.monotonic()
    stop.set()
    late = lags.get(timeout=120) if last else []
    drained = time.monotonic() - over
    for one in [*ones, *([last] if last else [])]:
        one.join()
    return sum(n for n, _ in told) / (seconds + drained), sorted(t for _, times in told for t in times), sorted(late)


async def run(args: argparse.Namespace) -> int:
    """By turns, and the books at the end."""
    async with bare.opened(args.state) as it:
        under = report.conditions(it.settings, args)
        async with connected(it.server.dsn(NAME, "owner")) as owner:
            await owner.execute(SCHEMA)
        books, platform, dsn = [ids.new_id() for _ in range(MERCHANTS)], ids.new_id(), it.server.dsn(NAME, "app")
        rng = random.Random(0)
        for _ in range(60):
            await pay(it.db, books, platform, rng, later=False)
        turns, seconds = (1, 4.0) if args.quick else (3, 10.0)
        found: dict[tuple[int, bool], list[tuple[float, list[float], list[float]]]] = {}
        for n in range(turns):
            for processes in PROCESSES:
                for later in (False, True):
                    result = await asyncio.to_thread(turn, dsn, books, platform, processes, seconds, later)
                    found.setdefault((processes, later), []).append(result)
                    say(
                        f"turn {n + 1}: {processes} posting, {'later' if later else 'at once'}: {result[0]:,.0f} payments/s"
                    )
        rows, rates = [], {}
        for (processes, later), results in found.items():
            rates[processes, later] = sorted(r[0] for r in results)[len(results) // 2]
            times, late = sorted(t for r in results for t in r[1]), sorted(x for r in results for x in r[2])
            rows.append((str(processes), "later" if later else "at once", f"{rates[processes, later]:,.0f}", f"{percentile(times, 50):.1f}",
                         f"{percentile(times, 99):.1f}", f"{percentile(late, 99):.0f}" if late else ""))  # fmt: skip
        owed = await it.ask("SELECT coalesce(sum(balance), 0)::bigint FROM ledger.account WHERE code LIKE 'clearing:%'")
        from guilder.ledger import sweep

        broken = await it.db.transact(sweep)
        figures = {
            "at_once_per_s": [round(rates[p, False]) for p in PROCESSES], "later_per_s": [round(rates[p, True]) for p in PROCESSES],
            "lag_ms_p99": [round(percentile(sorted(x for r in found[p, True] for x in r[2]), 99)) for p in PROCESSES],
        }  # fmt: skip
        head = ("posting processes", "fees", "payments/s, fees posted", "batch p50 ms", "p99 ms", "order to fee p99 ms")
        checks = [
            Check("clearing accounts, over all books", 0, owed),
            Check("sweeps L1 to L8: what they find", [], broken),
        ]
        return report.publish(
            args, "fund_accounting", figures, [], [Table("Fees at once or later", head, rows)], checks, under
        )


def main() -> int:
    """Run, print, and fail if the books disagree."""
    return asyncio.run(run(report.options(__doc__).parse_args()))


if __name__ == "__main__":
    sys.exit(main())
