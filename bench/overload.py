"""More payments than can be served: what still gets through, and how soon all is well again.

    goodput_2x, goodput_5x   whole payments a second while two and five times as many are offered as go through at most, as a share of
                             that most, in percent
    kept_p99_ms              p99 from when a payment was due until the shop had the webhook, of those that were let in, at five times
    recovered_s              from the end of that until the last payment that took twice as long as p99 of a calm hour

The most is found as in `payments.py`, in a closed loop of 64 callers.  The offers are open loops (Poisson arrivals); whoever is turned
away does not come again, and costs his request all the same, on this machine.  Nothing that was let in may be lost.
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
    closed_s, open_s = (4, 6) if args.quick else (20, 30)
    stage.play("warming up", Plan(seconds=2 if args.quick else 10, callers=32))
    calm = stage.play(f"calm, {PROBE_RATE:.0f}/s", Plan(seconds=closed_s, rate=PROBE_RATE, warm_s=1))
    most = stage.play(f"the most, {CALLERS} callers", Plan(seconds=closed_s, callers=CALLERS, warm_s=1))
    crowds = [
        stage.play(f"{times} times as many offered", Plan(seconds=open_s, rate=times * most.played.rate, warm_s=2))
        for times in (2, 5)
    ]
    after = stage.play("afterwards", Plan(seconds=closed_s, rate=PROBE_RATE))
    say("checking the books …")
    figures = _figures(calm, most, crowds, after)
    named = [("calm", calm), ("the most", most), ("twice", crowds[0]), ("five times", crowds[1]), ("afterwards", after)]
    tables = [_table(named)]
    return report.publish(args, "overload", figures, _targets(figures), tables, checks.after_refusals(stage), under)


def _figures(calm: Act, most: Act, crowds: list[Act], after: Act) -> dict[str, Any]:
    twice, five = crowds
    usual = percentile(calm.played.whole_ms, 99)
    return {
        "payments_per_s": round(most.played.rate, 1),
        "goodput_2x": round(100 * twice.played.rate / most.played.rate, 1),
        "goodput_5x": round(100 * five.played.rate / most.played.rate, 1),
        "kept_p99_ms": percentile(five.played.whole_ms, 99),
        "calm_p99_ms": usual,
        "recovered_s": round(max((at for at, ms in after.played.moments if ms > 2 * usual), default=0.0), 2),
    }


def _targets(f: dict[str, Any]) -> list[Target]:
    return [
        Target("of the most still whole with twice as many offered", f["goodput_2x"], 80, "%", most=False),
        Target("of the most still whole with five times as many offered", f["goodput_5x"], 80, "%", most=False),
        Target("p99 of those that were let in, five times as many offered", f["kept_p99_ms"], 5000, "ms"),
        Target("until all is as before", f["recovered_s"], 30, "s"),
    ]


def _table(acts: list[tuple[str, Act]]) -> Table:
    rows = []
    for name, act in acts:
        played = act.played
        refused = sum(played.failed.values())
        rows.append(
            (
                name, f"{played.begun:,}", f"{refused:,}", f"{played.rate:.0f}", f"{percentile(played.whole_ms, 50):.0f}",
                f"{percentile(played.whole_ms, 99):.0f}", f"{act.batch:.1f}", f"{act.own_cpu_ms:.2f}",
            )
        )  # fmt: skip
    head = ("load", "begun", "turned away", "whole/s", "p50 ms", "p99 ms", "batch", "own CPU ms")
    return Table("More payments than can be served", head, rows)


if __name__ == "__main__":
    sys.exit(main())
