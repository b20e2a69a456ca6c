"""Does it pay to post fees to the platform's book later, instead of with the payment?

Each payment books its charge and what its merchant pays for it in the merchant's book; the fee is booked in the platform's, which all
payments share.

    at once    both journals in the commit of the payment: it holds the platform's head, too
    later      the charge, and an order for the fee, in that commit; one more process posts what is ordered, as the worker does

With 1, 2 and 4 posting processes, batches of 8 payments of 8 merchants, durable.  A turn ends when every fee is posted, so that what was
put off counts.  Keys: `at_once_per_s`, `later_per_s` (lists by processes), `lag_ms_p99` (from charge to fee).
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
from guilder.ledger import Account, Journal, Order, Transfer, clearing, fees, post, sweep
from guilder.ledger.jobs import LOOPS
from guilder.ledger.orders import post_due
from guilder.platform.db import Database, Tx

MERCHANTS, BATCH, FEE = 200, 8, 3
PROCESSES = (1, 2, 4)
RECEIVABLE, PAYABLE, FEES = Account("receivable:bench", "CNY"), Account("payable", "CNY"), fees("CNY")
[LOOP] = [loop for loop in LOOPS if loop.name == "ledger.orders"]
LAGS = """
SELECT coalesce(percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM uuid_extract_timestamp(f.id) - uuid_extract_timestamp(c.id)) * 1000), 0)
  FROM ledger.journal f JOIN ledger.journal c ON c.about = f.about AND c.rule = 'charge'
 WHERE f.book_id = $1 AND f.rule = 'fee' AND f.id >= $2
"""


def charge(book: Any, id: Any, later: bool) -> Journal:
    """A payment, and what its merchant pays for it."""
    moves = Transfer(RECEIVABLE, PAYABLE, 1000), Transfer(PAYABLE, clearing(ids.PLATFORM, "CNY"), FEE)
    order = Order(ids.PLATFORM, f"fee:{ids.text(id)}", "fee", FEES, FEE, id) if later else None
    return Journal(book, f"charge:{ids.text(id)}", "charge", moves, id, clock.now(), id, order=order)


def fee(book: Any, id: Any) -> Journal:
    """The same fee in the platform's book."""
    move = Transfer(clearing(book, "CNY"), FEES, FEE)
    return Journal(ids.PLATFORM, f"fee:{ids.text(id)}", "fee", (move,), id, clock.now(), id)


async def pay(db: Database, books: list[Any], rng: random.Random, later: bool) -> None:
    """One batch of payments."""
    made = [(book, ids.new_id()) for book in rng.sample(books, BATCH)]
    journals = [charge(*m, later) for m in made]
    if not later:
        journals += [fee(*m) for m in made]

    async def work(tx: Tx) -> None:
        assert all(p.booked for p in await post(tx, journals))

    await db.transact(work, lock_timeout_ms=20_000)


def poster(dsn: dict[str, Any], books: list[Any], seconds: float, later: bool, seed: int, out: Any) -> None:
    """A process that posts payments for so long; two batches at a time."""

    async def run() -> None:
        db = await Database(NAME, dsn).open()
        rng, n, times = random.Random(seed), 0, []
        end = time.monotonic() + seconds

        async def caller() -> None:
            nonlocal n
            while (begun := time.monotonic()) < end:
                await pay(db, books, rng, later)
                n += BATCH
                times.append((time.monotonic() - begun) * 1000)

        await asyncio.gather(*(caller() for _ in range(2)))
        await db.close()
        out.put((n, times))

    asyncio.run(run())


def settler(dsn: dict[str, Any], stop: Any) -> None:
    """A process that posts what is ordered, at the worker's pace, until it is told to stop and nothing is left."""

    async def run() -> None:
        db = await Database(NAME, dsn).open()
        while True:
            told = stop.is_set()
            done = await post_due(db)
            if told and not done:
                break
            if not told and done < LOOP.full:
                await asyncio.to_thread(stop.wait, LOOP.every_s)
        await db.close()

    asyncio.run(run())


def turn(
    dsn: dict[str, Any], books: list[Any], processes: int, seconds: float, later: bool
) -> tuple[float, list[float]]:
    """Payments a second until every fee is posted; times of batches."""
    spawn = multiprocessing.get_context("spawn")
    out, stop = spawn.Queue(), spawn.Event()
    ones = [spawn.Process(target=poster, args=(dsn, books, seconds, later, n, out)) for n in range(processes)]
    last = spawn.Process(target=settler, args=(dsn, stop)) if later else None
    for one in [*ones, *([last] if last else [])]:
        one.start()
    told = [out.get(timeout=seconds + 60) for _ in ones]
    over = time.monotonic()
    stop.set()
    if last:
        last.join(timeout=120)
    drained = time.monotonic() - over
    for one in ones:
        one.join()
    return sum(n for n, _ in told) / (seconds + drained), [t for _, times in told for t in times]


async def run(args: argparse.Namespace) -> int:
    """By turns, and the books at the end."""
    async with bare.opened(args.state) as it:
        under = report.conditions(it.settings, args)
        books, dsn = [ids.new_id() for _ in range(MERCHANTS)], it.server.dsn(NAME, "app")
        rng = random.Random(0)
        for _ in range(60):
            await pay(it.db, books, rng, later=False)
        turns, seconds = (1, 4.0) if args.quick else (3, 10.0)
        found: dict[tuple[int, bool], list[tuple[float, list[float], float]]] = {}
        for n in range(turns):
            for processes in PROCESSES:
                for later in (False, True):
                    since = ids.new_id()
                    rate, times = await asyncio.to_thread(turn, dsn, books, processes, seconds, later)
                    lag = float(await it.ask(LAGS, ids.PLATFORM, since))
                    found.setdefault((processes, later), []).append((rate, times, lag))
                    say(f"turn {n + 1}: {processes} posting, {'later' if later else 'at once'}: {rate:,.0f} payments/s")
        rows, rates, lags = [], {}, {}
        for (processes, later), results in found.items():
            rates[processes, later] = sorted(r[0] for r in results)[len(results) // 2]
            lags[processes, later] = sorted(r[2] for r in results)[len(results) // 2]
            times = sorted(t for r in results for t in r[1])
            rows.append((str(processes), "later" if later else "at once", f"{rates[processes, later]:,.0f}", f"{percentile(times, 50):.1f}",
                         f"{percentile(times, 99):.1f}", f"{lags[processes, later]:.0f}" if later else ""))  # fmt: skip
        owed = await it.ask("SELECT coalesce(sum(balance), 0)::bigint FROM ledger.account WHERE code LIKE 'clearing:%'")
        broken = await it.db.transact(sweep)
        figures = {
            "at_once_per_s": [round(rates[p, False]) for p in PROCESSES], "later_per_s": [round(rates[p, True]) for p in PROCESSES],
            "lag_ms_p99": [round(lags[p, True]) for p in PROCESSES],
        }  # fmt: skip
        head = (
            "posting processes",
            "fees",
            "payments/s, fees posted",
            "batch p50 ms",
            "p99 ms",
            "charge to fee p99 ms",
        )
        checks = [
            Check("clearing accounts, over all books", 0, owed),
            Check("sweeps L1 to L10: what they find", [], broken),
        ]
        return report.publish(
            args, "fund_accounting", figures, [], [Table("Fees at once or later", head, rows)], checks, under
        )


def main() -> int:
    """Run, print, and fail if the books disagree."""
    return asyncio.run(run(report.options(__doc__).parse_args()))


if __name__ == "__main__":
    sys.exit(main())
