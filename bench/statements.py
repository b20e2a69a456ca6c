"""A channel's file of a day, read and checked: lines a second for each format, beside what its parser library alone can do, and memory.

Every format has a process of its own.  It is given the file as the channel hands it out (packed), checks hash and totals, and walks through
every line, as reconciliation does.  The bound beside it is the library that understands the format (csv, struct, msgspec; for WeChat Pay's
own making, bytes.split) over the same bytes, unpacked by zlib, and nothing else.

    lines          in each file
    per_s          lines a second, by format
    bound_ratio    how many times as fast the library alone is, by format
    peak_mb        memory of the process at its highest, Python and the packed file in it, by format
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from stand import report, samples
from stand.checks import Check
from stand.report import Table, Target
from stand.scene import say

from guilder.channels.model import Statement

LINES = 1_000_000
DAY = date(2026, 6, 1)


def child(name: str, lines: int, file: Path) -> None:
    """Read one file, and say what it took.  In a process of its own, which did not make it: memory is counted from its first byte."""
    sample = samples.SAMPLES[name]
    packed = file.read_bytes()
    begun = time.monotonic()
    statement = sample.read(packed)
    seen, paid = _walk(statement)
    took_s = time.monotonic() - begun
    peak_mb = _peak_mb()
    begun = time.monotonic()
    bound = sample.bound(packed)
    bound_s = time.monotonic() - begun
    made = {
        "lines": seen, "paid": paid, "expected": lines, "seconds": took_s, "bound_seconds": bound_s, "bound_rows": bound, "peak_mb": peak_mb,
        "packed_mb": len(packed) / 1e6,
    }  # fmt: skip
    sys.stdout.write(json.dumps(made) + "\n")


def _walk(statement: Statement) -> tuple[int, int]:
    seen = paid = 0
    for line in statement.lines:
        seen += 1
        paid += line.amount.units
    return seen, paid


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    """Run every format by turns, and publish."""
    parser = report.options(__doc__)
    parser.add_argument("--lines", type=int, default=0, help=f"lines of each file: {LINES:,}")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    parser.add_argument("--make", default="", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, default=Path(), help=argparse.SUPPRESS)
    args = parser.parse_args()
    lines = args.lines or (20_000 if args.quick else LINES)
    if args.make:
        args.file.write_bytes(samples.SAMPLES[args.make].make(lines))
        return 0
    if args.child:
        child(args.child, lines, args.file)
        return 0
    under = report.conditions({"server_version": "none", "fsync": "-", "synchronous_commit": "-"}, args)
    said = {name: _run(name, lines) for name in samples.SAMPLES}
    figures = {
        "lines": lines,
        "per_s": {name: round(s["lines"] / s["seconds"]) for name, s in said.items()},
        "bound_ratio": {name: round(s["seconds"] / s["bound_seconds"], 2) for name, s in said.items()},
        "peak_mb": {name: round(s["peak_mb"]) for name, s in said.items()},
    }
    targets = [Target(f"memory: {samples.SAMPLES[name].title}", s["peak_mb"], 300, "MB") for name, s in said.items()]
    rows = [
        (samples.SAMPLES[name].title, samples.SAMPLES[name].library, f"{s['lines'] / s['seconds']:,.0f}",
         f"{s['bound_rows'] / s['bound_seconds']:,.0f}", f"{s['seconds'] / s['bound_seconds']:.2f}", f"{s['peak_mb']:.0f}", f"{s['packed_mb']:.0f}")
        for name, s in said.items()
    ]  # fmt: skip
    head = ("format", "library", "lines/s", "library alone, lines/s", "times as long", "peak MB", "packed MB")
    checks = [Check(f"lines of {name}", str(s["expected"]), str(s["lines"])) for name, s in said.items()]
    return report.publish(args, "statements", figures, targets, [Table(f"{lines:,} lines", head, rows)], checks, under)


def _run(name: str, lines: int) -> dict[str, float]:
    say(f"{name}, {lines:,} lines …")
    with tempfile.TemporaryDirectory() as folder:
        for role in ("--make", "--child"):
            command = [sys.executable, __file__, role, name, "--lines", str(lines), "--file", f"{folder}/statement"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
