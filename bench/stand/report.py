"""What a benchmark says: tables for people, one JSON object for programs, Markdown for the docs."""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stand import gauges
from stand.checks import Check
from stand.scene import FOLDER


@dataclass(frozen=True)
class Table:
    """Rows under a head; numbers are text by now."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def text(self) -> str:
        """For a terminal."""
        widths = [max(len(row[i]) for row in (self.head, *self.rows)) for i in range(len(self.head))]
        lines = [
            "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in (self.head, *self.rows)
        ]
        return "\n".join([self.title, *(f"  {line}" for line in lines)])

    def markdown(self) -> str:
        """For the docs."""
        rows = [self.head, tuple("---" for _ in self.head), *self.rows]
        lines = ["| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in rows]
        return "\n".join([f"### {self.title}", "", *lines])


@dataclass(frozen=True)
class Target:
    """A figure to reach.  `most`: it may not be above, else not below."""

    claim: str
    value: float
    bound: float
    unit: str
    most: bool = True

    @property
    def holds(self) -> bool:
        return self.value <= self.bound if self.most else self.value >= self.bound

    def row(self) -> tuple[str, ...]:
        target = f"{'≤' if self.most else '≥'} {self.bound:,g} {self.unit}".rstrip()
        value = f"{self.value:,.0f}" if self.value >= 1000 else f"{self.value:.4g}"
        return self.claim, target, f"{value} {self.unit}".rstrip(), "yes" if self.holds else "no"


def options(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="at most 40 s, smaller data: for a look, not for a figure")
    parser.add_argument(
        "--json", action="store_true", help="one JSON object on standard output; tables go to the other"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    parser.add_argument("--state", type=Path, metavar="DIR", help="use the installation of this folder and keep it")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="NAME=VALUE",
        help="a setting other than its default: api_workers=2",
    )
    return parser


def _setting(text: str) -> tuple[str, str]:
    name, given, value = text.partition("=")
    if not given:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=VALUE")
    return f"GUILDER_{name.upper()}", value


def conditions(settings: dict[str, str], args: argparse.Namespace) -> dict[str, Any]:
    """Under what a figure was had."""
    return {
        "machine": gauges.machine(),
        "settings": settings,
        "commit": _commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": args.quick,
        "set": dict(args.set),
    }


def _commit() -> str:
    def git(*args: str) -> str:
        return subprocess.run(["git", *args], cwd=FOLDER, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--", "../src", ".")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + (" and changes" if changed else "")


def publish(
    args: argparse.Namespace,
    name: str,
    figures: dict[str, Any],
    targets: Sequence[Target],
    tables: Sequence[Table],
    checks: Sequence[Check],
    under: dict[str, Any],
) -> int:
    """Print, write, and say by the exit status whether the books agree."""
    claims = Table(f"bench/{name}.py", ("claim", "target", "measured", "reached"), [t.row() for t in targets])
    agree = Table("Do the books agree?", ("what", "expected", "found"), [_told(c) for c in checks])
    machine, settings = under["machine"], under["settings"]
    footing = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB; Linux {machine['kernel']}, Python {machine['python']}, "
        f"PostgreSQL {settings['server_version']}: fsync {settings['fsync']}, synchronous_commit {settings['synchronous_commit']}.",
        f"Commit {under['commit']}, {under['date']}; load of the machine before: {machine['load_before']}."
        + (" A quick run." if under["quick"] else ""),
    ]
    everything = [claims, *tables, agree]
    out = sys.stderr if args.json else sys.stdout
    out.write("\n\n".join([*(t.text() for t in everything), "\n".join(footing)]) + "\n")
    if args.markdown:
        args.markdown.write_text("\n\n".join([*(t.markdown() for t in everything), "\n".join(footing)]) + "\n", "utf-8")
    agreed = all(c.holds for c in checks)
    if args.json:
        told = {"bench": name, **figures, "books_agree": agreed, **under}
        sys.stdout.write(json.dumps(told) + "\n")
    return 0 if agreed else 1


def _told(check: Check) -> tuple[str, str, str]:
    found = str(check.found)
    return check.what, str(check.expected), found if check.holds else f"{found[:300]}  DIFFERS"
