"""More payments than can be served: how many become whole all the same, and how soon all is well again.

    goodput_2x, goodput_5x   whole payments a second while two and five times as many are offered as go through at most, until the last
                             that was let in is whole, as a share of that most, in percent
    refused_5x               of those that were offered, in percent, at five times
    recovered_s              from then on until the last payment that took twice as long as p99 of a calm hour

The most is found as in `payments.py`, in a closed loop of 64 callers.  The offers are open loops (Poisson arrivals); whoever is turned
away does not come again.  Nothing that was let in may be lost, and what was offered too fast is only late.
"""

import argparse
import sys
from typing import Any

from stand import checks, report, scene
from stand.gauges import percentile
from stand.report import Table, Target
from stand.scene import Act, Stage, say
from stand.traffic import Plan

CALLERS = 64
PROBE_RATE = 10.0


def main() -> int:
    """Run, print, and fail if the books disagree."""
    args = report.options(__doc__).parse_args()
    with scene.opened(args.state, merchants=1, environ=dict(args.set)) as stage:
        return run(args, stage)


def run(args: argparse.Namespace, stage: Stage) -> int:
    """The acts in their order."""
    under = report.conditions(stage.settings, args)
    closed_s, open_s = (4, 6) if args.quick else (20, 10)
    stage.play("warming up", Plan(seconds=2 if args.quick else 10, callers=32))
    calm = stage.play(f"calm, {PROBE_RATE:.0f}/s", Plan(seconds=closed_s, rate=PROBE_RATE, warm_s=1))
    most = stage.play(f"the most, {CALLERS} callers", Plan(seconds=closed_s, callers=CALLERS, warm_s=1))
    crowds = [
        stage.play(
            f"{times} times as many offered", Plan(seconds=open_s, rate=times * most.played.rate, patience_s=120)
        )
        for times in (2, 5)
    ]
    after = stage.play("afterwards", Plan(seconds=closed_s, rate=PROBE_RATE))
    say("checking the books …")
    figures = _figures(calm, most, crowds, after)
    named = [("calm", calm), ("the most", most), ("twice", crowds[0]), ("five times", crowds[1]), ("afterwards", after)]
    tables = [_table(named)]
    return report.publish(args, "overload", figures, _targets(figures), tables, checks.after_refusals(stage), under)


def _figures(calm: Act, most: Act, crowds: list[Act], after: Act) -> dict[str, Any]:
    usual = percentile(calm.played.whole_ms, 99)
    share = [100 * _goodput(act) / most.played.rate for act in crowds]
    return {
        "payments_per_s": round(most.played.rate, 1),
        "goodput_2x": round(share[0], 1),
        "goodput_5x": round(share[1], 1),
        "refused_5x": round(100 * sum(crowds[1].played.failed.values()) / crowds[1].played.begun, 1),
        "calm_p99_ms": usual,
        "recovered_s": round(max((at for at, ms in after.played.moments if ms > 2 * usual), default=0.0), 2),
    }


def _goodput(act: Act) -> float:
    """Whole payments a second until the last was whole."""
    return act.played.done / max(at for at, _ in act.played.moments)


def _targets(f: dict[str, Any]) -> list[Target]:
    return [
        Target("twice as many offered: whole, of the most", f["goodput_2x"], 80, "%", most=False),
        Target("five times as many offered: whole, of the most", f["goodput_5x"], 80, "%", most=False),
        Target("until all is as before", f["recovered_s"], 30, "s"),
    ]


def _table(acts: list[tuple[str, Act]]) -> Table:
    rows = []
    for name, act in acts:
        played = act.played
        refused = sum(played.failed.values())
        rows.append(
            (
                name, f"{played.begun:,}", f"{refused:,}", f"{_goodput(act):.0f}", f"{percentile(played.whole_ms, 50):.0f}",
                f"{percentile(played.whole_ms, 99):.0f}", f"{act.batch:.1f}", f"{act.own_cpu_ms:.2f}",
            )
        )  # fmt: skip
    head = ("load", "begun", "turned away", "whole/s", "p50 ms", "p99 ms", "batch", "own CPU ms")
    return Table("More payments than can be served", head, rows)


if __name__ == "__main__":
    sys.exit(main())
