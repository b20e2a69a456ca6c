"""What a slow channel costs whoever does not need it.

    front_confirm_p99_ms   POST /v1/payment_intents with confirm and front=async, as its caller sees it, while a thousand attempts wait for
                           a channel that takes 25 seconds
    others_ratio           p99 of another merchant's synchronous confirms meanwhile, to their p99 under the same load with a channel that
                           answers at once

Both loads are open loops (Poisson arrivals, timed from when each was due), by turns: the channel fast, then slow.  Afterwards every attempt
must have what its channel gave it, and the channel exactly one order for each.
"""

import argparse
import asyncio
import random
import sqlite3
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from stand import report, scene
from stand.checks import Check
from stand.gauges import percentile
from stand.report import Table, Target
from stand.scene import Stage, connected, say

WAITING = "SELECT count(*) FROM payments.attempt WHERE book_id = $1 AND state = 'unknown'"
ATTEMPTS = "SELECT count(*), count(*) FILTER (WHERE state = 'pending') FROM payments.attempt WHERE book_id = $1"


@dataclass
class Turn:
    """One turn of both loads."""

    front: list[float] = field(default_factory=list)  # ms
    others: list[float] = field(default_factory=list)
    waiting: int = 0  # attempts whose channel has not answered, at most
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Size:
    """How much of it."""

    rate: float  # confirms a second that are left to the front
    others: float  # synchronous confirms a second of the other merchant
    delay_s: int
    seconds: float
    turns: int


def main() -> int:
    """Run, print, and fail if the channel was asked twice or not at all."""
    args = report.options(__doc__).parse_args()
    size = Size(40, 8, 3, 6, 1) if args.quick else Size(42, 10, 25, 45, 2)
    with scene.opened(args.state, merchants=2, environ=dict(args.set)) as stage:
        under = report.conditions(stage.settings, args)
        fast, slow = asyncio.run(_by_turns(stage, size))
        say("waiting until every attempt has its answer …")
        checks = asyncio.run(_agree(stage, fast, slow))
    return _publish(args, under, size, fast, slow, checks)


async def _by_turns(stage: Stage, size: Size) -> tuple[Turn, Turn]:
    fast, slow = Turn(), Turn()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        await _turn(http, stage, size, Turn(), 0, seconds=3)
        for n in range(size.turns):
            say(f"turn {n + 1}: the channel answers at once …")
            await _turn(http, stage, size, fast, 0)
            say(f"turn {n + 1}: the channel takes {size.delay_s} s …")
            await _turn(http, stage, size, slow, size.delay_s)
            await _until_answered(stage)
    return fast, slow


async def _turn(
    http: aiohttp.ClientSession, stage: Stage, size: Size, turn: Turn, delay_s: int, seconds: float = 0
) -> None:
    mine, other = (m.secret_key for m in stage.merchants)
    dial = f"__delay={delay_s}" if delay_s else ""
    front = {"payment_method": f"pm_sim_wechat_pay{dial}", "payment_method_options[wechat_pay][front]": "async"}
    over, length = asyncio.Event(), seconds or size.seconds
    counting = asyncio.create_task(_count(stage, turn, over))
    await asyncio.gather(
        _load(http, stage, mine, size.rate, length, front, turn.front, turn.failed),
        _load(http, stage, other, size.others, length, {"payment_method": "pm_wechat_pay"}, turn.others, turn.failed),
    )
    over.set()
    await counting


async def _load(
    http: aiohttp.ClientSession, stage: Stage, key: str, rate: float, seconds: float, way: dict[str, str], times: list[float],
    failed: list[str],
) -> None:  # fmt: skip
    """Confirms by a clock of their own; each is timed from when it was due."""
    random_ = random.Random(7)
    body = {"amount": "1250", "currency": "cny", "confirm": "true", "payment_method_types[0]": "wechat_pay", **way}
    headers = {"Authorization": f"Bearer {key}"}
    began, due, tasks = time.monotonic(), 0.0, []

    async def one(at: float) -> None:
        async with http.post(f"{stage.it.at.api}/v1/payment_intents", data=body, headers=headers) as answer:
            said = await answer.read()
        times.append((time.monotonic() - at) * 1000)
        if answer.status != 200:
            failed.append(f"{answer.status} {said[:200]!r}")

    while due < seconds:
        await asyncio.sleep(max(0.0, began + due - time.monotonic()))
        tasks.append(asyncio.create_task(one(began + due)))
        due += random_.expovariate(rate)
    await asyncio.gather(*tasks)


async def _count(stage: Stage, turn: Turn, over: asyncio.Event) -> None:
    async with connected(stage.it) as connection:
        while not over.is_set():
            turn.waiting = max(turn.waiting, await connection.fetchval(WAITING, stage.books[0]))
            await asyncio.sleep(0.5)


async def _until_answered(stage: Stage) -> None:
    async with connected(stage.it) as connection:
        for _ in range(1500):
            if not await connection.fetchval(WAITING, stage.books[0]):
                return
            await asyncio.sleep(0.2)


async def _agree(stage: Stage, fast: Turn, slow: Turn) -> list[Check]:
    await _until_answered(stage)
    async with connected(stage.it) as connection:
        made, there = await connection.fetchrow(ATTEMPTS, stage.books[0])
    with sqlite3.connect(f"file:{stage.it.state}/simulators/book.sqlite3?mode=ro", uri=True) as book:
        account = stage.merchants[0].simulated["wechatpay"]
        [[orders]] = book.execute("SELECT count(*) FROM trade WHERE account = ?", (account,))
    return [
        Check("calls refused", [], [*fast.failed, *slow.failed][:3]),
        Check("attempts that have what their channel gave", made, there),
        Check("the channel's orders, one for each attempt", made, orders),
    ]


def _publish(
    args: argparse.Namespace, under: dict[str, Any], size: Size, fast: Turn, slow: Turn, checks: list[Check]
) -> int:
    times = {
        name: sorted(t)
        for name, t in (("ff", fast.front), ("fo", fast.others), ("sf", slow.front), ("so", slow.others))
    }
    ratio = percentile(times["so"], 99) / percentile(times["fo"], 99)
    figures = {
        "front_confirm_p50_ms": round(percentile(times["sf"], 50), 2),
        "front_confirm_p99_ms": round(percentile(times["sf"], 99), 2),
        "others_p99_ms": round(percentile(times["so"], 99), 2),
        "others_p99_ms_fast": round(percentile(times["fo"], 99), 2),
        "others_ratio": round(ratio, 3),
        "waiting": slow.waiting,
    }
    targets = [
        Target(f"confirm left to the front, {slow.waiting} waiting for {size.delay_s} s, p99", figures["front_confirm_p99_ms"], 50, "ms"),
        Target("p99 of another merchant's confirms, to that beside a fast channel", figures["others_ratio"], 1.2, "times"),
    ]  # fmt: skip
    head = ("confirm", "the front's channel", "calls", "p50 ms", "p90 ms", "p99 ms")
    rows = [
        (what, channel, str(len(times[key])), *(f"{percentile(times[key], p):.1f}" for p in (50, 90, 99)))
        for what, channel, key in (
            (f"front=async, {size.rate:.0f}/s", "answers at once", "ff"),
            (f"front=async, {size.rate:.0f}/s", f"takes {size.delay_s} s", "sf"),
            (f"another merchant's, {size.others:.0f}/s", "answers at once", "fo"),
            (f"another merchant's, {size.others:.0f}/s", f"takes {size.delay_s} s", "so"),
        )
    ]
    return report.publish(args, "front", figures, targets, [Table("Confirms", head, rows)], checks, under)


if __name__ == "__main__":
    sys.exit(main())
