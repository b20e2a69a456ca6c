"""`guilder ledger verify`: how long it takes to prove every invariant and every seal of a large book, and in what memory.

Transfers are posted first, through `post`, with holds and refusals, over the books of some processes; then everything is sealed.  Then one
value of one row is changed behind PostgreSQL's back, and everything is verified again: it must be found, and be all that is found.

    transfers      in the books
    seconds        all of it: L1 to L8, then every seal
    steps          seconds of each
    own_mb         memory of the process that verifies, at its highest
    postgres_mb    of PostgreSQL, shared buffers included (PSS, seen every half second, at its highest)
    seal_us        to seal an entry: what the sealer did before
"""

import argparse
import asyncio
import re
import sys
import time
from pathlib import Path

import uvloop
from stand import bare, filling, report
from stand.bare import NAME, Bare
from stand.checks import Check
from stand.report import Table, Target
from stand.scene import say

from guilder.ledger import seal
from guilder.ledger.sweep import Broken
from guilder.ledger.verify import verify
from guilder.platform.db import connected

CHANGE = """
SET session_replication_role = replica;
UPDATE ledger.transfer SET units = units + 1
 WHERE (book_id, journal_id, line) = (SELECT book_id, journal_id, line FROM ledger.transfer WHERE kind = 'move' ORDER BY journal_id LIMIT 1)
"""


async def run(args: argparse.Namespace) -> int:
    """Fill, seal, verify, change, verify."""
    async with bare.opened(args.state) as it:
        under = report.conditions(it.settings, args)
        await filling.refuse_if_full(it, args.transfers)
        filled = await filling.fill(it, args.transfers)
        say("sealing …")
        begun = time.monotonic()
        entries = await seal.seal(it.db)
        sealed_s = time.monotonic() - begun
        clean, steps, postgres_mb = await _verified(it)
        async with connected(it.server.dsn(NAME, "postgres")) as connection:
            await connection.execute(CHANGE)
        found, again, _ = await _verified(it)
        figures = {
            "transfers": filled.transfers,
            "seconds": round(sum(steps.values()), 1),
            "steps": {name: round(s, 1) for name, s in steps.items()},
            "own_mb": round(_high_mb(), 1),
            "postgres_mb": round(postgres_mb, 1),
            "seal_us": round(sealed_s / max(1, entries) * 1e6, 1),
        }
        table = Table(
            "Seconds", ("what", "sound", "with one value changed"), [(n, f"{s:.1f}", f"{again[n]:.1f}") for n, s in steps.items()]
        )  # fmt: skip
        checks = [
            Check("sealed: entries", True, entries >= filled.transfers),
            Check("sound: what is broken", [], [str(b) for b in clean]),
            Check("changed: invariants that tell it", ["L2", "L3", "L7", "seal"], sorted({b.invariant for b in found})),
        ]
        targets = [Target("memory of the process that verifies", figures["own_mb"], 200, "MB")]
        return report.publish(args, "verify", figures, targets, [table], checks, under)


async def _verified(it: Bare) -> tuple[list[Broken], dict[str, float], float]:
    """What is broken, the seconds of each step, and PostgreSQL's memory at its highest."""
    steps: dict[str, float] = {}
    now, since, highest = "", time.monotonic(), 0.0

    def tell(what: str, done: int, total: int) -> None:
        nonlocal now, since
        name = what.split("  ", maxsplit=1)[0]
        if name != now:
            steps[now] = time.monotonic() - since
            now, since = name, time.monotonic()
            say(f"{what} …")

    async def watch() -> None:
        nonlocal highest
        while True:
            highest = max(highest, it.cast.pss_mb())
            await asyncio.sleep(0.5)

    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins here
    watching = asyncio.create_task(watch())
    found = [broken async for broken in verify(it.db, tell)]
    watching.cancel()
    steps[now] = time.monotonic() - since
    return found, {name: s for name, s in steps.items() if name not in {"", "L1 to L10"}}, highest


def _high_mb() -> float:
    said = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(said[1]) / 1024 if said else 0.0


def main() -> int:
    """Run, print, and fail if a sound book is called broken, or a broken one sound."""
    parser = report.options(__doc__)
    parser.add_argument("--transfers", type=int, help="in the books; 5 million, or 100,000 with --quick")
    args = parser.parse_args()
    args.transfers = args.transfers or (100_000 if args.quick else 5_000_000)
    return uvloop.run(run(args))


if __name__ == "__main__":
    sys.exit(main())
