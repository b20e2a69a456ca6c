"""docs/reference/conformance.md: what the suite found of each way, from a run of all of it."""

import os
from collections.abc import Sequence
from pathlib import Path

from guilder.channels.registry import CHANNELS
from guilder.conformance.suite import Case
from guilder.conformance.table import ABOUT, FAULT, NORMAL, ROWS, Result, Verdict, of_case, tabulate

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "conformance.md"
COLUMNS = [row for row in ROWS if row != "payout"]
HEAD = """# Conformance

What the suite (`guilder channel check`) finds of each way of each channel, against its simulator: `normal / fault`, by so many tests each. Faults are
silence before and after acting, server errors, garbage, signatures that do not verify, requests that never left, keys used twice, amounts that are
wrong, callbacks that are forged or meant for others, files that are damaged. *not declared*: the channel does not say that it can, and is never asked.
Payouts have a suite of their own.
"""
FOOT = "\n\n---\n\n*Made by `GUILDER_UPDATE_DOCS=1 ./run test tests/channels/test_conformance.py`; change the code, not this page.*\n"


def render(cases: Sequence[Case], results: Sequence[Result]) -> str:
    """The page."""
    lines = [HEAD, f"| channel | way | {' | '.join(COLUMNS)} |", "|" + "---|" * (len(COLUMNS) + 2)]
    for case in cases:
        cells = tabulate(CHANNELS[case.channel].info, case, of_case(case, cases, results))
        shown = []
        for row in COLUMNS:
            (normal, some), (fault, others) = cells[row, NORMAL], cells[row, FAULT]
            whole = normal is fault is Verdict.HOLDS
            shown.append(
                f"holds {some} / {others}" if whole else " / ".join(dict.fromkeys((normal.value, fault.value)))
            )
        variant = str(case).removeprefix(f"{case.channel}-{case.way}").strip("-")
        lines.append(f"| {case.channel} | {case.way}{f' ({variant})' if variant else ''} | {' | '.join(shown)} |")
    return "\n".join(lines) + FOOT


def compare(cases: Sequence[Case], results: Sequence[Result]) -> str | None:
    """What is wrong with the page that is committed; None if nothing, or if only a part of the suite ran.  Written anew if asked."""
    for case in cases:
        names = {r.test.partition("[")[0].rpartition("::")[2] for r in of_case(case, cases, results)}
        if names != ABOUT.keys():
            return None
    made = render(cases, results)
    if os.environ.get("GUILDER_UPDATE_DOCS"):
        PAGE.write_text(made, "utf-8")
    return None if PAGE.exists() and PAGE.read_text("utf-8") == made else f"{PAGE.name} is not what the run found"
