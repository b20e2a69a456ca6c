"""The flight recorder through HTTP and the command line: a payment that went wrong, told in order; found by any id of any party."""

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import pytest

import crew
from guilder.core import clock, ids
from guilder.merchants import channel_accounts
from guilder.platform import case
from guilder.platform.case import Case
from guilder.platform.sql import Query
from guilder.reconciliation import reconcile
from stack import Shop, Stack, eventually

pytestmark = pytest.mark.anyio
LINE = Query("line", "SELECT statement_id, number FROM reconciliation.line WHERE about = $1 LIMIT 1")
TRY = Query("try", "SELECT id, channel_ref, book_id FROM payments.attempt WHERE intent_id = $1 ORDER BY id LIMIT 1")
ENTRY = Query(
    "entry", "SELECT id, request_id, root_id FROM platform.trail WHERE book_id = $1 AND action = 'refund.created'"
)
JOURNAL = Query("journal", "SELECT id FROM ledger.journal WHERE book_id = $1 AND rule = 'charge'")


def timeline(shop: Shop, of: str, token: str | None = None) -> dict[str, Any]:
    account = None if token is None else shop.demo.merchant
    status, answer = crew.call(shop.stack.api, token or shop.key, "GET", f"timeline?of={of}", account=account)
    assert status == 200, answer
    return answer


def guilder(stack: Stack, *args: str) -> subprocess.CompletedProcess[str]:
    ours = {k: v for k, v in os.environ.items() if not k.startswith("GUILDER_")} | stack.it.environ
    return subprocess.run(
        [sys.executable, "-m", "guilder.app.cli", *args], env=ours | {"COLUMNS": "200"}, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip


def order(told: dict[str, Any], *wanted: tuple[str, str]) -> None:
    """Each of these was said after the one before."""
    at = 0
    for kind, words in wanted:
        found = [n for n, e in enumerate(told["entries"]) if n >= at and e["kind"] == kind and words in e["text"]]
        assert found, f"no {kind} {words!r} after entry {at}: " + "\n".join(
            f"{e['at']} {e['kind']}: {e['text']}" for e in told["entries"]
        )
        at = found[0] + 1


async def went_wrong(stack: Stack, shop: Shop) -> str:
    """Silence where an answer was due, paid after it was closed, the surplus gone back, and a refund that failed."""
    v1 = shop.client().v1
    v1.webhook_endpoints.create({"url": "https://shop.example/hook", "enabled_events": ["*"]})
    wish = {
        "amount": 2000,
        "currency": "cny",
        "payment_method_types": ["wechat_pay"],
        "metadata": {"order_id": "NO-77"},
    }
    intent = v1.payment_intents.create(wish)
    v1.payment_intents.confirm(
        intent.id, {"payment_method": "pm_sim_wechat_pay__create-silence_after__close-late_success=1"}
    )
    await eventually(lambda: v1.payment_intents.retrieve(intent.id).status == "requires_action", within_s=30)
    v1.payment_intents.cancel(intent.id)
    await eventually(lambda: v1.payment_intents.retrieve(intent.id).status == "canceled", within_s=30)
    return intent.id


async def test_a_payment_that_went_wrong_is_told_in_order(stack: Stack) -> None:
    shop = await stack.merchant("Unlucky")
    shown = await went_wrong(stack, shop)

    def gone_back() -> dict[str, Any] | None:
        now = timeline(shop, shown)
        return now if any(e["kind"] == "journal" and "surplus_refund" in e["text"] for e in now["entries"]) else None

    told = await eventually(gone_back, within_s=60)
    order(
        told,
        ("request", "request"), ("state", "requires_payment_method"), ("try", "20.00 CNY by wechatpay"), ("message", "create: we ask"),
        ("message", "silence"), ("message", "query"), ("state", "unknown → pending"), ("event", "payment_intent.requires_action"),
        ("message", "close"), ("state", "→ closed"), ("event", "payment_intent.canceled"), ("state", "closed → surplus"),
        ("refund", "a surplus goes back"), ("journal", "surplus_refund"),
    )  # fmt: skip
    assert sorted({e["source"] for e in told["entries"]}) == ["ledger", "notify", "payments", "platform"]
    assert set(told["left_out"]) == {"cases", "approvals", "trail"}, "a key is nobody, and reads nothing of people"
    at = [e["at"][:23] for e in told["entries"]]
    assert at == sorted(at), "by the millisecond; within one, by what follows from what"
    bodies = "".join(str(e["details"].get("body")) for e in told["entries"] if e["kind"] == "message")
    assert "Authorization" not in json.dumps(told) and "client_secret" not in bodies


async def test_a_refund_that_failed_a_case_and_an_evening_are_told_too(stack: Stack) -> None:
    shop = await stack.merchant("Evening")
    v1 = shop.client().v1
    wish = {
        "amount": 900,
        "currency": "cny",
        "confirm": True,
        "payment_method_types": ["wechat_pay"],
    }
    intent = v1.payment_intents.create({**wish, "payment_method": "pm_sim_wechat_pay__refund_fail"})  # type: ignore[arg-type]
    stack.pay(intent.next_action)
    await eventually(lambda: v1.payment_intents.retrieve(intent.id).status == "succeeded", within_s=30)
    back = v1.refunds.create({"payment_intent": intent.id, "amount": 300})
    await eventually(lambda: v1.refunds.retrieve(back.id).status == "failed", within_s=30)
    day = str(clock.beijing_day(clock.now()))
    stack.simulator(f"/sim/accounts/{shop.demo.simulated['wechatpay']}/close-day", {"day": day})
    async with stack.world() as world:
        env = world.envs["test"]
        account = await channel_accounts.get(env, ids.read("ca", shop.demo.accounts["wechatpay"]))  # type: ignore[arg-type]
        await reconcile(env, account, clock.beijing_day(clock.now()))  # type: ignore[arg-type]
        await case.open_one(
            env.db, Case(shop.book_id, "odd", f"G3 what was paid is booked: {intent.id}", "Odd.", {"n": 1})
        )
        reader = await crew.somebody(world, ("auditor", "merchant", shop.book_id))

    told = timeline(shop, intent.id, reader.token)

    order(
        told,
        ("try", "wechatpay"), ("event", "payment_intent.succeeded"), ("journal", "charge in"), ("event", "refund.created"),
        ("trail", "refund.created"), ("event", "refund.failed"), ("statement", "payment of 9.00 CNY"), ("case", "opened as odd"),
    )  # fmt: skip
    assert not {"cases", "trail"} & set(told["left_out"])


async def test_any_id_of_any_party_finds_the_payment(stack: Stack) -> None:
    shop, other = await stack.merchant("Found"), await stack.merchant("Other")
    v1 = shop.client().v1
    session = v1.checkout.sessions.create(
        {"mode": "payment", "success_url": "https://example.com", "client_reference_id": "CART-9", "payment_method_types": ["wechat_pay"],
         "payment_intent_data": {"metadata": {"order_id": "NO-1"}},
         "line_items": [{"quantity": 1, "price_data": {"currency": "cny", "unit_amount": 700, "product_data": {"name": "Tea"}}}]}
    )  # fmt: skip
    pi = str(session.payment_intent)
    confirmed = v1.payment_intents.confirm(pi, {"payment_method_data": {"type": "wechat_pay"}})
    stack.pay(confirmed.next_action)
    paid = await eventually(lambda: (i := v1.payment_intents.retrieve(pi)).status == "succeeded" and i, within_s=30)
    back = v1.refunds.create({"payment_intent": pi, "amount": 100})
    await eventually(lambda: v1.refunds.retrieve(back.id).status == "succeeded", within_s=30)
    event = next(e.id for e in v1.events.list({"limit": 100}).data if e.type == "charge.succeeded")
    stack.simulator(
        f"/sim/accounts/{shop.demo.simulated['wechatpay']}/close-day", {"day": str(clock.beijing_day(clock.now()))}
    )
    async with stack.world() as world:
        env = world.envs["test"]
        account = await channel_accounts.get(env, ids.read("ca", shop.demo.accounts["wechatpay"]))  # type: ignore[arg-type]
        await reconcile(env, account, clock.beijing_day(clock.now()))  # type: ignore[arg-type]
        tried, entry = await env.db.row(TRY, ids.read("pi", pi)), await env.db.row(ENTRY, shop.book_id)
        assert tried is not None and entry is not None
        line, journal = await env.db.row(LINE, tried["id"]), await env.db.value(JOURNAL, shop.book_id)
        assert line is not None
        await case.open_one(env.db, Case(shop.book_id, "odd", ids.mint_key(tried["id"], tried["book_id"]), "Odd.", {}))
        [case_id] = [
            r["id"]
            for r in await env.db.rows(Query("case", "SELECT id FROM platform.case WHERE book_id = $1"), shop.book_id)
        ]
    bought = crew.call(
        stack.api,
        shop.key,
        "POST",
        "trades",
        {"currency": "cny", "merchant_ref": "T-5", "items": [{"name": "Tea", "unit_amount": 5}]},
    )[1]
    part = crew.call(stack.api, shop.key, "POST", f"trades/{bought['id']}/payment_intents", {})[1]

    names = [
        pi, str(paid.latest_charge), back.id, ids.show("at", tried["id"]), ids.mint_key(tried["id"], tried["book_id"]), tried["channel_ref"],
        ids.mint_key(ids.read("re", back.id), shop.book_id), "NO-1", "CART-9", session.id, event, event.replace("evt_", "whd_"),  # type: ignore[arg-type]
        f"{ids.show('stm', line['statement_id'])}:{line['number']}", ids.show("case", case_id), ids.show("tra", entry["id"]),
        entry["request_id"], entry["root_id"].hex, ids.text(entry["root_id"]), ids.show("jl", journal),
    ]  # fmt: skip
    for name in names:
        assert pi in timeline(shop, name)["things"], name
        status, answer = crew.call(stack.api, other.key, "GET", f"timeline?of={name}")
        assert status == 404, f"{name} is nobody else's: {answer}"
    for name in ("T-5", bought["id"], bought["items"][0]["id"], part["id"]):
        assert {bought["id"], part["id"]} <= set(timeline(shop, name)["things"]), name
        [found] = crew.call(stack.api, shop.key, "GET", f"trades?of={name}")[1]["data"]
        assert found["id"] == bought["id"]
    assert crew.call(stack.api, shop.key, "GET", "timeline?of=nothing-like-this")[0] == 404
    assert crew.call(stack.api, shop.key, "GET", "payment_intents/NO-1/timeline")[0] == 404, "there, only by its id"
    assert crew.call(stack.api, shop.key, "GET", f"payment_intents/{pi}/timeline")[0] == 200

    shown, machine = await asyncio.gather(
        *(asyncio.to_thread(guilder, stack, "show", *a) for a in (("NO-1",), ("NO-1", "--json")))
    )
    assert (shown.returncode, machine.returncode) == (0, 0), shown.stderr + machine.stderr
    assert pi in shown.stdout and "wechatpay" in shown.stdout and "payable" in shown.stdout
    told = json.loads(machine.stdout)
    assert (told["object"], told["left_out"], pi in told["things"]) == ("timeline", [], True)
    unknown = guilder(stack, "show", "nothing-like-this")
    assert (unknown.returncode, "Nothing is known" in unknown.stderr) == (1, True)
