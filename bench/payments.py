"""Whole payments: how many a second, how long they take, what they cost.

A whole payment is: the shop's server creates it (POST /v1/payment_intents) and confirms it (POST .../confirm), both under an
idempotency key; Guilder asks WeChat Pay for a code with a signed request and verifies the reply; the payer pays at once; the
channel's signed callback arrives, is verified, decrypted and stored; the money is in the ledger; the shop has the signed
webhook and has verified it.  Simulators, shop and source of traffic run on the same machine, as processes of their own.

    payments_per_s      the most: the best of closed loops with 32, 64 and 128 callers, two calls a payment
    p50_ms, p99_ms      from when the create was due until the shop had the webhook, in an open loop (Poisson arrivals) at 80 % of it
    own_cpu_ms          CPU a payment in that open loop: supervisor, API, cashier, worker and PostgreSQL
    unavoidable_ratio   how often faster it would be if there were nothing but 3 RSA-2048 signatures, 3 verifications and one
                        fsync per batch: that alone, on every core, in batches of the mean size seen, over payments_per_s
    pss_mb              memory of everything `up` runs (simulators and PostgreSQL too), after the load
    rows_before         payments in the tables before the first measured loop
    audit_percent       share of the machine that the auditor took for that loop: with --profile the CPU of its connection, until it had
                        caught up, and nothing of what earlier loops had left to it, and of its Python;
                        without, its time, waits for a busy machine included, over that of all cores: more than it took
    late_p99_ms         how late the source of traffic itself was in that loop; it is part of the times above
    one_call_per_s      the most when the shop creates with confirm=true instead, in one call
"""

import argparse
import asyncio
import sys
from contextlib import ExitStack
from typing import Any

from stand import checks, gauges, past, report, scene
from stand.gauges import percentile
from stand.report import Table, Target
from stand.sampling import Profile, profiled
from stand.scene import Act, Stage, say
from stand.traffic import Plan

CLOSED = {"full": (32, 64, 128), "quick": (64,)}


def main() -> int:
    """Run, print, and fail if the books disagree."""
    parser = report.options(__doc__)
    parser.add_argument(
        "--merchants", type=int, default=1, help="over how many books payments are spread (1: one hot book)"
    )
    parser.add_argument(
        "--past", type=int, default=0, metavar="N", help="write N payments of the past into the tables first"
    )
    parser.add_argument("--rate", type=float, help="of the open loop; else 80 %% of the most")
    parser.add_argument("--callers", type=int, nargs="+", help="of the closed loops")
    parser.add_argument(
        "--profile", action="store_true", help="also show where the time goes; that slows everything a little"
    )
    args = parser.parse_args()
    with ExitStack() as after:
        profile = after.enter_context(profiled(args.state)) if args.profile else None
        state = profile.state if profile else args.state
        environ = dict(args.set) | (profile.environ if profile else {})
        stage = after.enter_context(scene.opened(state, merchants=args.merchants, environ=environ))
        return run(args, stage, profile)


def run(args: argparse.Namespace, stage: Stage, profile: Profile | None) -> int:
    """The acts in their order."""
    under = report.conditions(stage.settings, args)
    closed_s, open_s, warm_s = (4, 6, 1) if args.quick else (20, 60, 4)
    if args.past:
        past.fill(stage, args.past)
    stage.play("warming up", Plan(seconds=2 if args.quick else 10, callers=32))
    rows_before = asyncio.run(_rows(stage))
    loops = [
        stage.play(f"closed loop, {n} callers", Plan(seconds=closed_s, callers=n, warm_s=warm_s))
        for n in args.callers or CLOSED["quick" if args.quick else "full"]
    ]
    best = max(loops, key=lambda a: a.played.rate)
    callers = best.plan.callers
    single = stage.play(
        f"closed loop, {callers} callers, one call a payment",
        Plan(seconds=closed_s, callers=callers, warm_s=warm_s, calls="one"),
    )
    rate = args.rate or 0.8 * best.played.rate
    pace, plan = f"open loop at {rate:.0f}/s", Plan(seconds=open_s, rate=rate, warm_s=warm_s)
    if profile is not None:
        paced, audit = profile.audited(stage, pace, plan)
    else:
        paced = stage.play(pace, plan)
        audit = paced.audit
    say("measuring what nobody can avoid …")
    memory = {name: mb for name, mb in stage.cast.pss_by_name().items() if name not in ("shop", "traffic")}
    batch = max(1, round(best.batch))
    alone = gauges.unavoidable_per_s(scene.data_folder(stage.it).parent, batch, 1.0 if args.quick else 5.0)
    if profile is not None:
        profile.record(stage, Plan(seconds=closed_s, callers=callers))
        audit += profile.auditor_python(rate)
    figures = {
        "payments_per_s": round(best.played.rate, 1),
        "p50_ms": percentile(paced.played.whole_ms, 50),
        "p99_ms": percentile(paced.played.whole_ms, 99),
        "unavoidable_ratio": round(alone / best.played.rate, 2) if best.played.rate else None,
        "own_cpu_ms": round(paced.own_cpu_ms, 3),
        "pss_mb": round(sum(memory.values()), 1),
        "rows_before": rows_before,
        "one_call_per_s": round(single.played.rate, 1),
        "offered_per_s": round(rate, 1),
        "unavoidable_per_s": round(alone, 1),
        "late_p99_ms": percentile(paced.played.late_ms, 99),
        "audit_percent": round(audit * 100, 2),
        "batch": batch,
        "merchants": args.merchants,
        "cpu_ms": {name: round(ms, 3) for name, ms in paced.cpu_ms.items()},
    }
    tables = [_loops([*loops, single, paced]), _cpu(paced, best, memory), *(profile.tables() if profile else [])]
    say("checking the books …")
    return report.publish(args, "payments", figures, _targets(figures), tables, checks.all_of(stage), under)


async def _rows(stage: Stage) -> int:
    async with scene.connected(stage.it) as connection:
        return int(await connection.fetchval("SELECT count(*) FROM payments.intent"))


def _targets(f: dict[str, Any]) -> list[Target]:
    return [
        Target("whole payments, at most", f["payments_per_s"], 250, "/s", most=False),
        Target(f"p99 from create to webhook, open loop at {f['offered_per_s']:.0f}/s", f["p99_ms"], 400, "ms"),
        Target("the unavoidable alone is faster by", f["unavoidable_ratio"] or 0.0, 3, "times"),
        Target("CPU of Guilder's processes and PostgreSQL, a payment", f["own_cpu_ms"], 4, "ms"),
        Target("memory of everything that runs (PSS)", f["pss_mb"], 600, "MB"),
        Target(f"the auditor's share of the machine at {f['offered_per_s']:.0f}/s", f["audit_percent"], 2, "%"),
    ]


def _loops(acts: list[Act]) -> Table:
    rows = []
    for act in acts:
        plan, played = act.plan, act.played
        way = f"closed, {plan.callers} callers" if plan.callers else f"open, {plan.rate:.0f}/s offered"
        whole, confirm = played.whole_ms, played.confirm_ms
        rows.append(
            (
                way, {"one": "1", "two": "2"}[plan.calls], f"{played.rate:.0f}", f"{percentile(whole, 50):.1f}",
                f"{percentile(whole, 99):.1f}", f"{percentile(played.create_ms, 50):.1f}", f"{percentile(confirm, 50):.1f}",
                f"{percentile(confirm, 99):.1f}", f"{act.batch:.1f}", f"{act.own_cpu_ms:.2f}",
            )
        )  # fmt: skip
    head = (
        "loop", "calls", "whole/s", "whole p50 ms", "whole p99 ms", "create p50 ms", "confirm p50 ms", "confirm p99 ms", "batch", "own CPU ms",
    )  # fmt: skip
    return Table("Whole payments", head, rows)


def _cpu(paced: Act, best: Act, memory: dict[str, float]) -> Table:
    rows = [
        (name, f"{ms:.2f}", f"{best.cpu_ms[name]:.2f}", f"{memory[name]:.0f}" if name in memory else "")
        for name, ms in paced.cpu_ms.items()
    ]
    rows.append(("Guilder's own and PostgreSQL", f"{paced.own_cpu_ms:.2f}", f"{best.own_cpu_ms:.2f}", ""))
    everything = (sum(paced.cpu_ms.values()), sum(best.cpu_ms.values()))
    rows.append(("everything", *(f"{ms:.2f}" for ms in everything), f"{sum(memory.values()):.0f}"))
    return Table(
        "CPU a payment, ms", ("process", "open loop", f"closed, {best.plan.callers} callers", "PSS MB after"), rows
    )


if __name__ == "__main__":
    sys.exit(main())
