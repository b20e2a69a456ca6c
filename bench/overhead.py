"""What Guilder adds to a channel call, and how many durable intents it creates a second.

    added_p50_ms    median of POST .../confirm as the shop's server sees it, less the median of the channel call alone, both at
                    50 a second (open loops, Poisson arrivals) by turns in the same run
    creates_per_s   POST /v1/payment_intents, answered 200 and committed, in a closed loop of 64 callers

The channel call alone is the adapter's own signed request for a payment that is paid at once, sent to the simulator by the
source of traffic and timed from the first byte out to the last byte in: signing it and verifying the reply are not in it, so
they are part of what Guilder adds.  The simulator does the same work for both, callback included.
"""

import argparse
import sys
from typing import Any

from stand import checks, report, scene
from stand.gauges import percentile
from stand.report import Table, Target
from stand.scene import Act, Stage, say
from stand.traffic import Plan

RATE = 50.0
CALLERS = 64


def main() -> int:
    """Run, print, and fail if the books disagree."""
    args = report.options(__doc__).parse_args()
    with scene.opened(args.state, merchants=1, channel=True, environ=dict(args.set)) as stage:
        under = report.conditions(stage.settings, args)
        turns, turn_s, create_s = (2, 3, 4) if args.quick else (4, 15, 20)
        stage.play("warming up", Plan(seconds=2 if args.quick else 10, callers=16))
        through, alone = _by_turns(stage, turns, turn_s)
        stage.play("warming up creates", Plan(seconds=1 if args.quick else 5, callers=CALLERS, calls="create"))
        creates = stage.play(f"creates, {CALLERS} callers", Plan(seconds=create_s, callers=CALLERS, calls="create"))
        return _publish(args, under, stage, through, alone, creates)


def _by_turns(stage: Stage, turns: int, seconds: float) -> tuple[list[float], list[float]]:
    """Times in ms, in order, of confirms and of bare channel calls.  By turns, so that a slow minute is both's."""
    through: list[float] = []
    alone: list[float] = []
    for _ in range(turns):
        plan = Plan(seconds=seconds, calls="channel", rate=RATE)
        alone += stage.play(f"the channel alone, {RATE:.0f}/s", plan).played.confirm_ms
        plan = Plan(seconds=seconds, calls="two", rate=RATE)
        through += stage.play(f"through Guilder, {RATE:.0f}/s", plan).played.confirm_ms
    return sorted(through), sorted(alone)


def _publish(
    args: argparse.Namespace,
    under: dict[str, Any],
    stage: Stage,
    through: list[float],
    alone: list[float],
    creates: Act,
) -> int:
    added = percentile(through, 50) - percentile(alone, 50)
    figures = {
        "added_p50_ms": round(added, 2),
        "creates_per_s": round(creates.played.rate, 1),
        "confirm_p50_ms": percentile(through, 50),
        "confirm_p99_ms": percentile(through, 99),
        "channel_p50_ms": percentile(alone, 50),
        "channel_p99_ms": percentile(alone, 99),
        "create_p50_ms": percentile(creates.played.create_ms, 50),
        "create_p99_ms": percentile(creates.played.create_ms, 99),
        "create_own_cpu_ms": round(creates.own_cpu_ms, 3),
        "create_batch": round(creates.batch, 1),
    }
    targets = [
        Target(f"what Guilder adds to a channel call at {RATE:.0f} payments/s, p50", figures["added_p50_ms"], 10, "ms"),
        Target(f"durable intent creates, {CALLERS} clients", figures["creates_per_s"], 3000, "/s", most=False),
    ]
    rows = [_row("confirm, through Guilder", through), _row("the channel call alone", alone)]
    calls = Table(f"A call at {RATE:.0f}/s", ("call", "calls", "p50 ms", "p90 ms", "p99 ms"), rows)
    head = ("creates/s", "p50 ms", "p99 ms", "batch", "own CPU ms", "traffic CPU ms")
    row = (
        f"{creates.played.rate:.0f}", f"{figures['create_p50_ms']:.1f}", f"{figures['create_p99_ms']:.1f}", f"{creates.batch:.1f}",
        f"{creates.own_cpu_ms:.3f}", f"{creates.cpu_ms['traffic']:.3f}",
    )  # fmt: skip
    say("checking the books …")
    tables = [calls, Table(f"Intents created, {CALLERS} callers", head, [row])]
    return report.publish(args, "overhead", figures, targets, tables, checks.all_of(stage), under)


def _row(name: str, times: list[float]) -> tuple[str, ...]:
    return (name, str(len(times)), *(f"{percentile(times, p):.2f}" for p in (50, 90, 99)))


if __name__ == "__main__":
    sys.exit(main())
