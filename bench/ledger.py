"""The book: how many transfers `guilder.ledger.post` books a second, durably, and what one costs.

Journals of one transfer each, in batches of 1, 10, 100 and 1000 from one caller, and of one journal each from many callers whom a lane
gathers (guilder.platform.batch), in one book.  On one hot account that every journal debits, credits or holds units of, against 100
others; and spread over 100,000 accounts.  Plain; and with holds: 10 % refused, 45 % moving, 45 % holding, capturing in parts, releasing.
Every answer is compared with what it must be, and every book in the end.

    hot_tps                  transfers booked a second: one hot account, batches of 1000, with holds; the refused are not counted
    spread_tps               the same, spread
    batch_p99_ms             of the hot batches of 1000, from the first statement to the acknowledged commit
    row_at_a_time_hot_tps    the yardstick, by turns with the others: 16 connections, each transfer a transaction of its own (lock both
    row_at_a_time_spread_tps     accounts in order, check the floor, insert, two updates, commit) on plain tables in the same server,
                             asked as our batches are: from one process, through the same driver
    pgbench_hot_tps          the same transactions from PostgreSQL's own pgbench, in C
    pgbench_spread_tps
    hot_ratio                hot_tps over row_at_a_time_hot_tps
    pgbench_ratio            hot_tps over pgbench_hot_tps
    http_bulk_tps            booked through the HTTP API of a running installation: 4 callers, 1000 journals a call, every tenth refused
                             (not with --past)
    courses                  all that was measured, as in the table
    past                     with --past: the same at each size

The clock runs while a batch is posted, not while its journals are made or its answers compared.  WAL is counted from a checkpoint on, at
every turn: images of whole pages are in it.
"""

import argparse
import sys
from dataclasses import dataclass
from functools import partial
from typing import Any

import uvloop
from stand import bare, bulk, filling, report
from stand.bare import Bare, Course
from stand.checks import Check
from stand.filling import Filled
from stand.gauges import percentile
from stand.posters import Batches, Book, Callers, Mix, Played
from stand.report import Table, Target
from stand.rows import Rows
from stand.scene import say

from guilder import ledger
from guilder.app.environments import settle_memory

SIZES = (1, 10, 100, 1000)
CALLERS = (16, 128)
MILLION = 1_000_000
HOT, SPREAD = "one hot account", "spread"
PLAIN, HOLDS = "plain", "holds, refusals"
BATCHES, ROWS, PGBENCH = "batches of 1000", "row by row", "row by row, pgbench"


@dataclass
class Books:
    """Where the courses run."""

    it: Bare
    hot: Book
    spread: Book
    rows: Rows

    @classmethod
    async def opened(cls, it: Bare, accounts: int) -> "Books":
        say(f"opening {accounts:,} accounts …")
        return cls(
            it, await Book.opened(it.db, accounts), await Book.opened(it.db, accounts), await Rows.made(it, accounts)
        )

    def claimed(self) -> list[Course]:
        """What the claim is about, and its yardstick."""
        found = []
        for on, book, hot in ((HOT, self.hot, True), (SPREAD, self.spread, False)):
            ours = Batches(self.it.db, Mix(book, hot=hot, holds=True, size=1000), 1000)
            found.append(Course(BATCHES, on, HOLDS, ours.play, weight=2))
            found.append(Course(ROWS, on, PLAIN, partial(self.rows.play, hot), weight=2))
            found.append(Course(PGBENCH, on, PLAIN, partial(self.rows.play_pgbench, hot)))
        return found

    def others(self) -> list[Course]:
        """The rest of the table."""
        found = []
        for on, book, hot in ((HOT, self.hot, True), (SPREAD, self.spread, False)):
            for journals in (PLAIN, HOLDS):
                for size in SIZES:
                    if (size, journals) != (1000, HOLDS):
                        mix = Mix(book, hot=hot, holds=journals is HOLDS, size=size)
                        found.append(Course(f"batches of {size}", on, journals, Batches(self.it.db, mix, size).play))
            for callers in CALLERS:
                gathered = Callers(self.it.db, book, callers, hot=hot)
                found.append(Course(f"{callers} callers of 1", on, HOLDS, gathered.play))
        return found


def main() -> int:
    """Run, print, and fail if the books disagree."""
    parser = report.options(__doc__)
    parser.add_argument("--past", type=int, default=0, metavar="N", help="post N transfers first, in other books")
    parser.add_argument(
        "--steps",
        type=_steps,
        default=(),
        metavar="1,10,20",
        help="with --past: measure at these millions of transfers too",
    )
    args = parser.parse_args()
    if args.set:
        parser.error("--set: the book has no settings")
    settle_memory()
    return uvloop.run(run(args))


def _steps(text: str) -> tuple[int, ...]:
    return tuple(round(float(step) * MILLION) for step in text.split(","))


async def run(args: argparse.Namespace) -> int:
    """The courses in their turns; then through HTTP."""
    say("starting PostgreSQL …")
    async with bare.opened(args.state) as it:
        under = report.conditions(it.settings, args)
        if args.past:
            await filling.refuse_if_full(it, args.past)
        books = await Books.opened(it, 10_000 if args.quick else 100_000)
        turns, seconds = (1, 0.5) if args.quick else (5, 3.0)
        past: list[tuple[Filled, list[Course]]] = []
        if args.past:
            for step in sorted({*(s for s in args.steps if s < args.past), args.past}):
                past.append((await filling.fill(it, step), books.claimed()))
                await _by_turns(it, past[-1][1], turns, seconds)
            courses = past[-1][1]
        else:
            courses = [*books.claimed(), *books.others()]
            await _by_turns(it, courses, turns, seconds)
        say("checking the books …")
        checks = await _checks(books, [filled for filled, _ in past])
    figures, tables = _figures(courses), [_table(HOT, courses), _table(SPREAD, courses)]
    if past:
        tables = [_sizes(past)]
        figures |= {"past": [_size(f) | {"courses": [c.figures() for c in cs]} for f, cs in past]}
    else:
        say("through HTTP …")
        played, more = await bulk.measured(args.quick)
        checks += more
        tables.append(_http(played))
        figures["http_bulk_tps"] = round(played.booked / played.seconds, 1)
    return report.publish(args, "ledger", figures, [*_targets(figures), *_costs(past)], tables, checks, under)


def _http(played: Played) -> Table:
    ms = sorted(played.ms)
    row = (
        str(bulk.CALLERS),
        f"{played.booked / played.seconds:,.0f}",
        f"{percentile(ms, 50):.1f}",
        f"{percentile(ms, 99):.1f}",
    )
    return Table(
        "Through the HTTP API, 1000 journals a call", ("callers", "transfers/s", "a call p50 ms", "p99 ms"), [row]
    )


async def _by_turns(it: Bare, courses: list[Course], turns: int, seconds: float) -> None:
    """Every course in every turn, so that a slow minute is everybody's.  The first moments of each, untold: plans, and pages to memory."""
    say(f"{len(courses)} courses, warming up …")
    for course in courses:
        await course.play(seconds / 10)
    for turn in range(turns):
        for course in courses:
            await it.measure(course, seconds)
        hot = _find(courses, BATCHES, HOT)
        say(
            f"turn {turn + 1} of {turns}: {hot.tps:,.0f}/s on one hot account, {_find(courses, ROWS, HOT).tps:,.0f}/s row by row"
        )


def _find(courses: list[Course], way: str, on: str) -> Course:
    """Of what the claim is about."""
    return next(c for c in courses if (c.way, c.on) == (way, on))


def _figures(courses: list[Course]) -> dict[str, Any]:
    hot, rows, pgbench = (_find(courses, way, HOT) for way in (BATCHES, ROWS, PGBENCH))
    return {
        "hot_tps": round(hot.tps, 1),
        "spread_tps": round(_find(courses, BATCHES, SPREAD).tps, 1),
        "row_at_a_time_hot_tps": round(rows.tps, 1),
        "row_at_a_time_spread_tps": round(_find(courses, ROWS, SPREAD).tps, 1),
        "pgbench_hot_tps": round(pgbench.tps, 1),
        "pgbench_spread_tps": round(_find(courses, PGBENCH, SPREAD).tps, 1),
        "hot_ratio": round(hot.tps / rows.tps, 1),
        "pgbench_ratio": round(hot.tps / pgbench.tps, 1),
        "batch_p99_ms": round(hot.ms(99), 1),
        "http_bulk_tps": None,
        "courses": [c.figures() for c in courses],
    }


def _targets(f: dict[str, Any]) -> list[Target]:
    return [
        Target("one hot account, batches of 1000, holds and refusals", f["hot_tps"], 15_000, "transfers/s", most=False),
        Target("p99 of such a batch, lock to acknowledged commit", f["batch_p99_ms"], 150, "ms"),
        Target("row by row, 16 connections, is slower by", f["hot_ratio"], 25, "times", most=False),
    ]


def _costs(past: list[tuple[Filled, list[Course]]]) -> list[Target]:
    """CPU at the last size over that at the first."""
    if len(past) < 2:
        return []
    (few, first), (many, last) = past[0], past[-1]
    between = f"CPU a transfer at {many.transfers / MILLION:.1f} million over that at {few.transfers / MILLION:.1f}"
    return [
        Target(f"{between}, {on}", _find(last, BATCHES, on).cpu_us / _find(first, BATCHES, on).cpu_us, 1.3, "times")
        for on in (HOT, SPREAD)
    ]


HEAD = ("transfers/s", "p50 ms", "p99 ms", "batch", "WAL bytes", "caller's CPU µs", "PostgreSQL's CPU µs")


def _table(on: str, courses: list[Course]) -> Table:
    order = {f"batches of {size}": n for n, size in enumerate(SIZES)} | {f"{n} callers of 1": 10 + n for n in CALLERS}
    here = sorted((c for c in courses if c.on == on), key=lambda c: (order.get(c.way, 1000), c.journals == HOLDS))
    title = f"{on[0].upper()}{on[1:]}: a batch (of callers: a call; row by row: a transfer); and costs a transfer"
    return Table(title, ("way", "journals", *HEAD), [(c.way, c.journals, *_row(c)) for c in here])


def _sizes(past: list[tuple[Filled, list[Course]]]) -> Table:
    rows = [
        (f"{filled.transfers:,}", f"{filled.tps:,.0f}", str(filled.bytes), c.way, c.on, *_row(c))
        for filled, courses in past
        for c in courses
    ]
    return Table("With a past", ("transfers before", "filled at /s", "bytes on disk", "way", "on", *HEAD), rows)


def _size(filled: Filled) -> dict[str, Any]:
    return {"transfers": filled.transfers, "fill_tps": round(filled.tps, 1), "disk_bytes": filled.bytes}


def _row(c: Course) -> tuple[str, ...]:
    batch = c.total.booked / max(1, c.total.batches)
    return (
        f"{c.tps:,.0f}", f"{c.ms(50):.2f}", f"{c.ms(99):.2f}", f"{batch:.1f}", f"{c.each(c.wal_bytes):,.0f}",
        f"{c.each(c.total.cpu_s) * 1e6:.1f}", f"{c.each(c.postgres_s) * 1e6:.1f}",
    )  # fmt: skip


_FOUND = """
SELECT (SELECT count(*) FROM ledger.journal WHERE book_id = $1),
       (SELECT count(*) FROM ledger.refusal WHERE book_id = $1),
       (SELECT count(*) FROM ledger.transfer WHERE book_id = $1),
       (SELECT sum(units)::bigint FROM ledger.transfer WHERE book_id = $1 AND credit_id IS NOT NULL),
       (SELECT sum(held)::bigint FROM ledger.account WHERE book_id = $1),
       (SELECT sum(balance)::bigint FROM ledger.account WHERE book_id = $1)
"""


async def _checks(books: Books, past: list[Filled]) -> list[Check]:
    """What was acknowledged is in the books, and nothing else is."""
    found = []
    for on, book in ((HOT, books.hot), (SPREAD, books.spread)):
        told = book.booked, book.refused, book.transfers, book.units, book.held, 0
        there = tuple(await books.it.row(_FOUND, book.id))
        found.append(Check(f"{on}: answers other than expected", {}, dict(book.wrong)))
        found.append(
            Check(f"{on}: journals, refusals, transfers, units moved, units held, sum of balances", told, there)
        )
    return [
        *found,
        *(Check("the past: transfers acknowledged", f.acknowledged, f.transfers) for f in past),
        Check("row by row: transfers too many or missing; accounts out of balance", (0, 0), await books.rows.faults()),
        Check("the ledger's sweeps L1 to L10: what they find", [], await books.it.db.transact(ledger.sweep)),
    ]


if __name__ == "__main__":
    sys.exit(main())
