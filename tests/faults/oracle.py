"""The judge: Guilder's database against the simulators' own file, and nothing else.  G1 to G11 of the reliability rules."""

import asyncio
import json
import sqlite3
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load import Load

from guilder import ledger
from guilder.core import ids
from guilder.payments.states import ATTEMPT_NEXT, INTENT_NEXT, REFUND_NEXT
from guilder.payouts.states import PAYOUT_NEXT
from guilder.platform.sql import Query

_ONE_VIEW = Query("one_view", "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
_TABLES = {
    "intents": "SELECT * FROM payments.intent WHERE book_id = $1",
    "attempts": "SELECT * FROM payments.attempt WHERE book_id = $1",
    "charges": "SELECT * FROM payments.charge WHERE book_id = $1",
    "refunds": "SELECT * FROM payments.refund WHERE book_id = $1",
    "payouts": "SELECT * FROM payouts.payout WHERE book_id = $1",
    "history": """SELECT about, kind, was, became, at, id FROM payments.history WHERE book_id = $1 UNION ALL
                  SELECT about, 'payout', was, became, at, id FROM payouts.history WHERE book_id = $1 ORDER BY at, id""",
    "journals": "SELECT * FROM ledger.line WHERE book_id = $1",
    "balances": "SELECT * FROM ledger.balance WHERE book_id = $1",
    "cases": "SELECT kind, subject FROM platform.case WHERE book_id = $1",
    "events": "SELECT id, type, object_id, object_version FROM platform.event WHERE book_id = $1",
}


@dataclass
class Local:
    """What Guilder has of one shop."""

    rows: dict[str, list[Any]]
    broken: list[Any]

    def __getattr__(self, name: str) -> list[Any]:
        return self.rows[name]


async def local(load: Load) -> Local:
    """Read everything of the shop as of one instant: a payment may still be on its way between two statements."""

    async with load.shop.stack.world() as world:

        async def look(tx: Any) -> Local:
            await tx.run(_ONE_VIEW)
            rows = {name: await tx.rows(Query(name, text), load.shop.book_id) for name, text in _TABLES.items()}
            return Local(rows, await ledger.sweep(tx))

        return await world.envs["test"].db.transact(look)


@dataclass(frozen=True)
class There:
    """What the channels have, by our key."""

    trades: dict[str, Any]
    refunds: dict[str, Any]
    payouts: dict[str, Any]

    def __contains__(self, key: str) -> bool:
        return key in self.trades or key in self.refunds or key in self.payouts


def channel_book(state: Path, accounts: set[str]) -> There:
    """The simulators' file."""
    sides: list[dict[str, Any]] = []
    with sqlite3.connect(f"file:{state}/simulators/book.sqlite3?mode=ro", uri=True) as book:
        book.row_factory = sqlite3.Row
        for table, key in (("trade", "out_trade_no"), ("refund", "out_refund_no"), ("payout", "out_no")):
            sides.append({r[key]: r for r in book.execute(f"SELECT * FROM {table}") if r["account"] in accounts})
    return There(*sides)


async def settled(load: Load, within_s: float) -> Local:
    """Wait until nothing is open that time alone will end: G4 and G17's "within N seconds after faults end"."""
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        now = await local(load)
        trades = channel_book(load.shop.stack.it.state, set(load.shop.demo.simulated.values())).trades
        doubted = {c["subject"] for c in now.cases if c["kind"] == "amount_mismatch"}
        undoubted = [a for a in now.attempts if ids.mint_key(a["id"], a["book_id"]) not in doubted]
        waiting = [a for a in undoubted if a["state"] in ("unknown", "pending") and _paid(trades, a)]
        waiting += [a for a in undoubted if a["state"] == "unknown"]
        waiting += [
            a for a in now.attempts if a["close_wanted"] or (a["capture"] is not None and a["state"] == "authorised")
        ]
        waiting += [p for p in now.payouts if p["state"] in ("unknown", "pending")]
        # A seller whose balance is too low is refused, and asked again under the same key for days: that is no end.
        refused = {a["id"] for a in now.attempts if a["channel"] == "alipay" and "refund_fail" in (a["attach"] or "")}
        waiting += [r for r in now.refunds if r["state"] in ("unknown", "pending") and r["attempt_id"] not in refused]
        undelivered = {ids.show("evt", e["id"]) for e in now.events} - load.events.keys()
        if not waiting and not undelivered:
            return now
        assert asyncio.get_running_loop().time() < deadline, (
            f"{within_s} s after the faults {len(waiting)} are open ({Counter(w['state'] for w in waiting)}), "
            f"{len(undelivered)} events undelivered; e.g. {[dict(w) for w in waiting[:2]]}"
        )
        print(
            f"  settling: {dict(Counter(w['state'] for w in waiting))}, {len(undelivered)} events to be delivered",
            flush=True,
        )
        await asyncio.sleep(2)


def _paid(trades: dict[str, Any], attempt: Any) -> bool:
    trade = trades.get(ids.mint_key(attempt["id"], attempt["book_id"]))
    return trade is not None and trade["state"] == "paid"


def judge(load: Load, now: Local) -> dict[str, int]:
    """Assert G1 to G11; what was compared, counted."""
    there = channel_book(load.shop.stack.it.state, set(load.shop.demo.simulated.values()))
    assert now.broken == [], f"G1, G2: {now.broken}"
    _g3(now)
    _g4_g5(now, there)
    _g6_g7(now, there)
    _g8(now)
    _g10(load, now)
    _g11(load, now)
    return {
        "intents": len(now.intents),
        "attempts": len(now.attempts),
        "paid at the channels": sum(t["state"] == "paid" for t in there.trades.values()),
        "refunds": len(now.refunds),
        "payouts": len(now.payouts),
        "captured": sum(a["capture"] is not None for a in now.attempts),
        "journals": len(now.journals),
        "events": len(now.events),
        "deliveries": load.deliveries,
        "answers": len(load.told),
    }


def _g3(now: Local) -> None:
    """Exactly one posting for each success, of its amount; none for anything else."""
    booked: dict[tuple[str, Any], list[int]] = defaultdict(list)
    for j in now.journals:
        booked[j["rule"], j["about"]].append(j["units"])
    expected: dict[tuple[str, Any], list[int]] = {}
    for a in now.attempts:
        if a["state"] in ("succeeded", "surplus"):
            expected["charge" if a["state"] == "succeeded" else "surplus", a["id"]] = [a["amount"]]
    for r in now.refunds:
        if r["state"] == "succeeded":
            expected["refund" if r["charge_id"] else "surplus_refund", r["id"]] = [r["amount"]]
    for p in now.payouts:
        expected["payout_held", p["id"]] = [p["amount"]]
        if p["state"] in ("paid", "failed"):
            expected["payout" if p["state"] == "paid" else "payout_failed", p["id"]] = [p["amount"]]
    assert dict(booked) == expected, "G3"
    charged = Counter(c["intent_id"] for c in now.charges)
    paid = {i["id"]: i["amount"] for i in now.intents if i["status"] == "succeeded"}
    wanted = Counter(paid.keys())
    assert charged == wanted, (
        f"G3: one charge per succeeded intent, not {charged - wanted} more and {wanted - charged} less"
    )
    assert all(paid[c["intent_id"]] == c["amount"] for c in now.charges), "G3: of its amount"


def _g4_g5(now: Local, book: There) -> None:
    """Every success at a channel is known here, every success here is the channel's; a second one goes back."""
    ours = {ids.mint_key(a["id"], a["book_id"]): a for a in now.attempts}
    doubted = {c["subject"] for c in now.cases if c["kind"] == "amount_mismatch"}
    assert all(ours[k]["state"] not in ("succeeded", "surplus") for k in doubted & ours.keys()), (
        "P5: what is doubted is not credited"
    )
    trades = book.trades
    there = {key for key, t in trades.items() if t["state"] == "paid"} - doubted
    here = {key for key, a in ours.items() if a["state"] in ("succeeded", "surplus")}
    assert there == here, f"G4: only there {list(there - here)[:3]}, only here {list(here - there)[:3]}"
    assert all(trades[k]["amount"] == ours[k]["amount"] for k in here), "G4: amounts"
    per_intent = Counter(ours[k]["intent_id"] for k in there)
    returned = {r["attempt_id"] for r in now.refunds if r["charge_id"] is None and r["state"] == "succeeded"}
    for key in there:
        a = ours[key]
        if a["state"] == "surplus":
            assert a["id"] in returned, f"G5: the surplus {key} went back"
            per_intent[a["intent_id"]] -= 1
    assert all(n <= 1 for n in per_intent.values()), "G5: at most one charge per intent"
    out = {ids.mint_key(p["id"], p["book_id"]): p["amount"] for p in now.payouts if p["state"] == "paid"}
    assert out == {key: p["amount"] for key, p in book.payouts.items() if p["state"] == "SUCCESS"}, "G4: payouts"


def _g6_g7(now: Local, book: There) -> None:
    """Refunds fit what was captured, in the channel's book too; and what is left there is what we say it owes us."""
    trades, refunds = book.trades, book.refunds
    returned: Counter[str] = Counter()
    for r in refunds.values():
        if r["state"] != "ABNORMAL":
            returned[r["out_trade_no"]] += r["amount"]
    assert all(returned[k] <= trades[k]["amount"] for k in returned), "G6"
    doubted = {c["subject"] for c in now.cases if c["kind"] == "amount_mismatch"}
    left = sum(t["amount"] for k, t in trades.items() if t["state"] == "paid" and k not in doubted)
    left -= sum(r["amount"] for r in refunds.values() if r["state"] == "SUCCESS")
    left -= sum(p["amount"] for p in book.payouts.values() if p["state"] == "SUCCESS")
    owed = sum(b["shown"] for b in now.balances if b["code"].startswith("receivable"))
    due = sum(b["shown"] for b in now.balances if b["code"] in ("payable", "surplus"))
    assert left == owed == due, f"G7: {left} at the channels, {owed} receivable, {due} payable"


def _g8(now: Local) -> None:
    """Every move is in the table; each begins where the last ended."""
    tables: dict[str, Any] = {
        "intent": INTENT_NEXT,
        "attempt": ATTEMPT_NEXT,
        "refund": REFUND_NEXT,
        "payout": PAYOUT_NEXT,
    }
    state: dict[Any, str] = {}
    for h in now.history:
        assert state.get(h["about"]) == h["was"], f"G8: {dict(h)} after {state.get(h['about'])}"
        assert h["was"] is None or h["became"] in tables[h["kind"]][h["was"]], f"G8: {dict(h)}"
        state[h["about"]] = h["became"]
    final = {i["id"]: i["status"] for i in now.intents} | {x["id"]: x["state"] for x in now.attempts + now.payouts}
    assert all(state[k] == v for k, v in final.items()), "G8: history ends where things stand"


def _g10(load: Load, now: Local) -> None:
    """Versions without gaps per object, and the shop has heard every event."""
    versions: dict[Any, list[int]] = defaultdict(list)
    for e in now.events:
        versions[e["object_id"]].append(e["object_version"])
    gaps = {k: sorted(v) for k, v in versions.items() if sorted(v) != list(range(1, len(v) + 1))}
    types = [(e["type"], e["object_version"]) for e in now.events if e["object_id"] in list(gaps)[:2]]
    assert not gaps, f"G10: {len(gaps)} objects with gaps, e.g. {types}"
    assert {ids.show("evt", e["id"]) for e in now.events} <= load.events.keys(), "G10: delivered"


def _g11(load: Load, now: Local) -> None:
    """What a caller was told is true of what is stored."""
    intents = {ids.show("pi", i["id"]): i for i in now.intents}
    refunds = {ids.show("re", r["id"]): r for r in now.refunds}
    payouts = {ids.show("po", p["id"]): p for p in now.payouts}
    for key, told in load.told.items():
        if told.status != 200:
            continue
        body = json.loads(told.body)
        if key.startswith("confirm-"):
            assert intents[body["id"]]["amount"] == int(told.params["amount"]), f"G11: {key}"
        if key.startswith("refund-"):
            assert refunds[body["id"]]["amount"] == body["amount"], f"G11: {key}"
        if key.startswith("payout-"):
            assert payouts[body["id"]]["amount"] == int(told.params["amount"]), f"G11: {key}"
    confirmed = [json.loads(t.body)["id"] for k, t in load.told.items() if k.startswith("confirm-") and t.status == 200]
    assert len(set(confirmed)) == len(confirmed), "G11: one payment per key"
    assert len(now.intents) == sum(k.startswith("confirm-") for k in load.told), "G11: and no payment without a key"
    paid_out = [k for k, t in load.told.items() if k.startswith("payout-") and t.status == 200]
    assert len(now.payouts) == len(paid_out), "G11: one payout per key"


async def replay(load: Load) -> int:
    """G9: every key again, with the same parameters: the same bytes.  How many were compared."""
    keys = [k for k in load.told if not k.startswith("endpoint")]
    before = {k: (load.told[k].status, load.told[k].body) for k in keys}

    async def again(key: str) -> None:
        told = load.told[key]
        status, body = await load.call(key, told.path, **told.params)
        assert (status, body) == before[key], f"G9: {key}: {status} {body[:200]!r} after {before[key]}"

    for start in range(0, len(keys), 50):
        await asyncio.gather(*(again(k) for k in keys[start : start + 50]))
    return len(keys)
