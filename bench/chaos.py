"""One of three channel accounts is half silent for a while, under load: what the others notice, and when traffic moves and comes back.

    moved_s        from the first silence until the breaker of the account opened and traffic went elsewhere
    back_s         from recovery until it was closed again, and traffic back
    left_percent   of WeChat payments that still went there in between: probes
    others_before, others_during     success of the other accounts' payments at their first answer, in percent
    doubled        payments for which two channels, or one channel twice, took money

Two WeChat accounts share WeChat payments by a rule with equal weights; a third of all payments goes to Alipay.  Payments come in an open
loop and are paid at once at the simulated channel; half of what the first account is asked for then has no answer, and half of that was
done all the same.  After the run every payment that is still unknown is waited for, and the books are held against the channels' own.
"""

import asyncio
import random
import sqlite3
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import aiohttp
from stand import report, scene
from stand.checks import Check
from stand.gauges import percentile
from stand.report import Table, Target
from stand.scene import Stage, say

from guilder.app import environments
from guilder.app.environments import World
from guilder.core import clock, ids
from guilder.merchants import channel_accounts
from guilder.platform import breaker
from guilder.platform.db import Tx
from guilder.platform.environment import Env
from guilder.routing import rulesets

PATIENCE_S = 180
SILENCE = {
    "create:silence_before": {"probability": 0.3},
    "create:silence_after": {"probability": 0.3},
}  # a half, both together
NAMES = ("first", "second", "alipay")


@dataclass(frozen=True)
class Asked:
    """One payment as its shop saw it."""

    at: datetime
    took_ms: float
    status: int
    became: str
    intent: str


@dataclass(frozen=True)
class Phases:
    """When what was."""

    began: datetime
    silent: datetime
    well: datetime
    ended: datetime


@dataclass
class Play:
    """The shop, its accounts, and what it asked."""

    stage: Stage
    accounts: dict[str, UUID]  # by name
    simulated: dict[str, str]
    http: aiohttp.ClientSession
    asked: list[Asked]

    @property
    def book(self) -> UUID:
        return self.stage.books[0]

    async def load(self, rate: float, seconds: float, rng: random.Random) -> None:
        """Payments in an open loop."""
        loop = asyncio.get_running_loop()
        due, end, tasks = loop.time(), loop.time() + seconds, []
        while due < end:
            due += rng.expovariate(rate)
            await asyncio.sleep(max(0.0, due - loop.time()))
            way = "alipay" if rng.random() < 1 / 3 else "wechat_pay"
            tasks.append(asyncio.create_task(self._pay(way, rng.randrange(100, 100_000), f"{rng.getrandbits(64):x}")))
        await asyncio.gather(*tasks)

    async def _pay(self, way: str, amount: int, key: str) -> None:
        at, begun = clock.now(), time.monotonic()
        body = {
            "amount": str(amount), "currency": "cny", "confirm": "true", "payment_method": f"pm_sim_{way}__autopay",
            "payment_method_types[0]": way, "payment_method_options[alipay][client]": "qr",
        }  # fmt: skip
        headers = {"Authorization": f"Bearer {self.stage.merchants[0].secret_key}", "Idempotency-Key": key}
        async with self.http.post(f"{self.stage.it.at.api}/v1/payment_intents", data=body, headers=headers) as answer:
            said = await answer.json()
            status = answer.status
        took = (time.monotonic() - begun) * 1000
        intent = said.get("id") or said.get("error", {}).get("payment_intent", {}).get("id", "")
        self.asked.append(Asked(at, took, status, said.get("status", ""), intent))

    async def turn(self, account: str, dials: dict[str, Any]) -> None:
        """Turn an account's dials at the simulator."""
        body = {"account": self.simulated[account], "dials": dials}
        async with self.http.post(f"{self.stage.it.at.simulators}/sim/dials", json=body) as answer:
            answer.raise_for_status()


def main() -> int:
    """Run, print, and fail if the books disagree."""
    args = report.options(__doc__).parse_args()
    with scene.opened(args.state, merchants=1, environ=dict(args.set)) as stage:
        under = report.conditions(stage.settings, args)
        figures, tables, checks = asyncio.run(_play(stage, quick=args.quick))
    targets = [
        Target("traffic has moved, after", figures["moved_s"], 10, "s"),
        Target("traffic is back after recovery, after", figures["back_s"], 30, "s"),
        Target(
            "success of the other accounts, less than before by",
            figures["others_before"] - figures["others_during"],
            0.5,
            "%",
        ),
        Target("payments for which money was taken twice", figures["doubled"], 0, ""),
    ]
    return report.publish(args, "chaos", figures, targets, tables, checks, under)


async def _play(stage: Stage, *, quick: bool) -> tuple[dict[str, Any], list[Table], list[Check]]:
    rate, seconds = (20.0, (5, 12, 30)) if quick else (40.0, (20, 60, 60))
    timeout = aiohttp.ClientTimeout(total=60)
    async with (
        environments.open_world(stage.it.settings()) as world,
        aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http,
    ):
        play = await _set(stage, world, http)
        rng = random.Random(7)
        await asyncio.sleep(1.5)  # every process has looked at the rules
        say("warming up …")
        await play.load(rate / 2, 3, rng)
        began = clock.now()
        say(f"three accounts, {rate:.0f} payments/s, all well …")
        await play.load(rate, seconds[0], rng)
        await play.turn("first", SILENCE)
        silent = clock.now()
        say("the first account is half silent …")
        await play.load(rate, seconds[1], rng)
        await play.turn("first", {})
        well = clock.now()
        say("it is well again …")
        await play.load(rate, seconds[2], rng)
        phases = Phases(began, silent, well, clock.now())
        env = world.envs["test"]
        waited = await _settled(env, play.book)
        return await _told(env, play, phases, waited)


async def _set(stage: Stage, world: World, http: aiohttp.ClientSession) -> Play:
    """A second WeChat account, and a rule by which both share."""
    demo, env = stage.merchants[0], world.envs["test"]
    async with http.post(
        f"{stage.it.at.simulators}/sim/accounts", json={"channel": "wechatpay", "name": "Second", "trust": "public_key"}
    ) as answer:
        opened = await answer.json()
    book = stage.books[0]
    second = await channel_accounts.add(env, book, "wechatpay", opened["config"])
    first, alipay = (ids.read("ca", demo.accounts[c]) for c in ("wechatpay", "alipay"))
    assert first is not None and alipay is not None
    then = [{"to": ids.show("ca", a)} for a in (first, second)]
    content = rulesets.read(
        {"rules": [{"name": "both", "when": "method == 'wechat_pay'", "strategy": "weighted", "then": then}]}
    )

    async def work(tx: Tx) -> None:
        row = await rulesets.draft(tx, book, content)
        await rulesets.activate(tx, book, row["id"])

    await env.db.transact(work)
    await channel_accounts.tell(env)
    simulated = {"first": demo.simulated["wechatpay"], "second": opened["id"], "alipay": demo.simulated["alipay"]}
    return Play(stage, {"first": first, "second": second, "alipay": alipay}, simulated, http, [])


async def _settled(env: Env, book: UUID) -> float:
    """Wait until no payment is unknown; how long."""
    begun = time.monotonic()
    while time.monotonic() - begun < PATIENCE_S:
        open_now = sum(1 for r in await _attempts(env, book) if r["state"] in ("unknown", "pending"))
        if not open_now:
            break
        await asyncio.sleep(1)
    return time.monotonic() - begun


async def _attempts(env: Env, book: UUID) -> list[Any]:
    from guilder.platform.sql import Query

    text = "SELECT id, intent_id, channel_account_id, state, amount, created_at FROM payments.attempt WHERE book_id = $1 ORDER BY id"
    return await env.db.rows(Query("attempts", text), book)


def _at_the_channels(play: Play) -> dict[str, Any]:
    """What the simulators' own file has, by our key."""
    with sqlite3.connect(f"file:{play.stage.it.state}/simulators/book.sqlite3?mode=ro", uri=True) as book:
        book.row_factory = sqlite3.Row
        accounts = set(play.simulated.values())
        return {r["out_trade_no"]: r for r in book.execute("SELECT * FROM trade") if r["account"] in accounts}


async def _told(env: Env, play: Play, phases: Phases, waited: float) -> tuple[dict[str, Any], list[Table], list[Check]]:
    attempts = await _attempts(env, play.book)
    moves = [m for m in reversed(await breaker.moves(env.db, play.accounts["first"])) if m["at"] >= phases.silent]
    opened = next((m["at"] for m in moves if m["became"] == "open"), None)
    closed = next((m["at"] for m in reversed(moves) if m["became"] == "closed" and m["at"] >= phases.well), None)
    wechat = [a for a in attempts if a["channel_account_id"] != play.accounts["alipay"]]
    gone = [a for a in wechat if opened is not None and opened <= a["created_at"] < phases.well]
    left = 100 * sum(a["channel_account_id"] == play.accounts["first"] for a in gone) / max(1, len(gone))
    trades = _at_the_channels(play)
    paid = [
        a for a in attempts if (t := trades.get(ids.mint_key(a["id"], play.book))) is not None and t["state"] == "paid"
    ]
    ours = [a for a in attempts if a["state"] in ("succeeded", "surplus")]
    doubled = len(paid) - len({a["intent_id"] for a in paid})
    rows, success = [], {}
    names = {id: name for name, id in play.accounts.items()}
    latest = {a["intent_id"]: a for a in attempts}  # of a payment that went elsewhere, where it went
    for phase, since, until in (
        ("before", phases.began, phases.silent),
        ("during", phases.silent, phases.well),
        ("after", phases.well, phases.ended),
    ):
        for name in NAMES:
            mine = [
                p for p in play.asked
                if since <= p.at < until and (id := ids.read("pi", p.intent)) is not None and id in latest
                and names[latest[id]["channel_account_id"]] == name
            ]  # fmt: skip
            good = [p for p in mine if p.status == 200 and p.became in ("requires_action", "succeeded")]
            success[phase, name] = (len(good), len(mine))
            took = sorted(p.took_ms for p in mine) or [0.0]
            share = f"{100 * len(good) / max(1, len(mine)):.2f}"
            rows.append(
                (phase, name, str(len(mine)), share, f"{percentile(took, 50):.0f}", f"{percentile(took, 99):.0f}")
            )
    others = {
        phase: 100 * sum(success[phase, n][0] for n in NAMES[1:]) / max(1, sum(success[phase, n][1] for n in NAMES[1:]))
        for phase in ("before", "during", "after")
    }
    figures = {
        "moved_s": round((opened - phases.silent).total_seconds(), 2) if opened else 1e9,
        "back_s": round((closed - phases.well).total_seconds(), 2) if closed else 1e9,
        "left_percent": round(left, 2),
        "others_before": round(others["before"], 3),
        "others_during": round(others["during"], 3),
        "doubled": doubled,
        "payments": len(play.asked),
        "settled_s": round(waited, 1),
    }
    head = ("phase", "account", "payments", "answered well %", "p50 ms", "p99 ms")
    moved = [(f"{(m['at'] - phases.silent).total_seconds():.1f}", m["was"], m["became"], m["why"]) for m in moves]
    tables = [
        Table("Payments by the account that they ended at", head, rows),
        Table("Moves of the first account's breaker", ("s after the first silence", "was", "became", "why"), moved),
    ]
    checks = [
        Check("payments refused", 0, sum(p.status != 200 for p in play.asked)),
        Check("payments still open", 0, sum(a["state"] in ("unknown", "pending") for a in attempts)),
        Check(
            "paid at the channels and in our book, the same tries",
            len(paid),
            len({a["id"] for a in paid} & {a["id"] for a in ours}),
        ),
        Check("our book has no more than they", len(paid), len(ours)),
        Check("fen", sum(a["amount"] for a in paid), sum(a["amount"] for a in ours)),
        Check("payments for which money was taken twice", 0, doubled),
    ]
    return figures, tables, checks


if __name__ == "__main__":
    sys.exit(main())
