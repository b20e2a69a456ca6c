"""Trades through HTTP: several merchants in one payment, deposit and balance, escrow, an item that goes back, and who asks for too much."""

import asyncio
from typing import Any

import pytest

import crew
from guilder import ledger
from guilder.app import domains
from guilder.core import ids
from guilder.platform import audit
from guilder.platform.sql import Query
from stack import Shop, Stack, eventually

pytestmark = pytest.mark.anyio
BALANCE = Query(
    "balance", "SELECT coalesce(sum(balance), 0)::bigint FROM ledger.account WHERE book_id = $1 AND code = $2"
)
DRIFT = Query("drift", "SELECT count(*)::int FROM platform.case WHERE kind = 'drift' AND book_id = $1")
WECHAT = {"payment_method_data": {"type": "wechat_pay"}}


def ask(shop: Shop, path: str, body: dict[str, Any] | None = None, **headers: str) -> dict[str, Any]:
    """What is answered with 200."""
    status, answer = crew.call(shop.stack.api, shop.key, "GET" if body is None else "POST", path, body, **headers)
    assert status == 200, answer
    return answer


def refused(shop: Shop, path: str, body: dict[str, Any]) -> tuple[int, str | None, str]:
    status, answer = crew.call(shop.stack.api, shop.key, "POST", path, body)
    assert status >= 400, answer
    return status, answer["error"].get("code"), answer["error"]["message"]


def trade(shop: Shop, *items: tuple[str, int, Shop | None], **more: Any) -> dict[str, Any]:
    """A trade of items, each of somebody."""
    named = [
        {"name": name, "unit_amount": amount, "sku": name} | ({"seller": of.demo.merchant} if of else {}) for name, amount, of in items
    ]  # fmt: skip
    return ask(shop, "trades", {"currency": "cny", "items": named, **more})


def pay(shop: Shop, of: dict[str, Any], *, dial: str = "", **body: Any) -> dict[str, Any]:
    """A payment for a trade, paid by its payer."""
    intent = ask(shop, f"trades/{of['id']}/payment_intents", {"payment_method_types": ["wechat_pay"], **body})
    how = {"payment_method": f"pm_sim_wechat_pay__{dial}"} if dial else WECHAT
    confirmed = ask(shop, f"payment_intents/{intent['id']}/confirm", how)
    if confirmed["status"] == "requires_action":
        code = confirmed["next_action"]["wechat_pay_display_qr_code"]["data"]
        shop.stack.simulator("/sim/pay", {"code": code, "action": "pay"})
    return intent


async def until(shop: Shop, of: dict[str, Any], **wanted: Any) -> dict[str, Any]:
    """The trade as soon as it is so."""

    def look() -> dict[str, Any] | None:
        now = ask(shop, f"trades/{of['id']}")
        return now if all(now[name] == value for name, value in wanted.items()) else None

    return await eventually(look, within_s=30)


async def balances(stack: Stack, *shops: Shop, code: str = "payable") -> list[int]:
    async with stack.world() as world:
        return [await world.envs["test"].db.value(BALANCE, s.book_id, code) for s in shops]


async def settled(stack: Stack, *wanted: tuple[Shop, int]) -> None:
    """Each shop is owed so much, soon: what one book orders is posted in another one a moment later."""

    async def so() -> bool:
        return await balances(stack, *(s for s, _ in wanted)) == [n for _, n in wanted]

    await eventually(so, within_s=15)


async def sound(stack: Stack, *shops: Shop) -> None:
    """The auditor finds nothing, and the books hold."""
    async with stack.world() as world:
        db = world.envs["test"].db
        mine = {s.book_id for s in shops}
        assert [
            d for d in await audit.everything(db, domains.AUDITS, lambda _done, _all: None) if d.book_id in mine
        ] == []
        assert await db.transact(ledger.sweep) == []


async def test_one_payment_for_three_merchants_and_one_item_goes_back(stack: Stack) -> None:
    mall, tea, cup = [await stack.merchant(name) for name in ("Mall", "Tea House", "Cup Maker")]
    bought = trade(mall, ("tea", 3000, tea), ("cup", 1500, cup), ("wrapping", 500, None), merchant_ref="M-1")
    assert (bought["amount"], bought["status"], [i["seller"] for i in bought["items"]]) == (
        5000, "open", [tea.demo.merchant, cup.demo.merchant, mall.demo.merchant],
    )  # fmt: skip
    paid = pay(mall, bought)

    now = await until(mall, bought, status="paid")
    assert [(p["payment_intent"], p["purpose"], p["status"]) for p in now["payments"]] == [
        (paid["id"], "whole", "paid")
    ]
    assert [(i["amount_paid"], i["amount_released"]) for i in now["items"]] == [(3000, 3000), (1500, 1500), (500, 500)]
    await settled(stack, (mall, 500), (tea, 3000), (cup, 1500))

    assert refused(mall, "refunds", {"payment_intent": paid["id"], "amount": 100})[:2] == (400, "refund_names_no_item")
    cups = next(i["id"] for i in now["items"] if i["name"] == "cup")
    assert refused(mall, f"trades/{bought['id']}/refunds", {"items": [{"item": cups, "amount": 1501}]})[:2] == (
        400,
        "amount_too_large",
    )
    ask(
        mall,
        f"trades/{bought['id']}/refunds",
        {"items": [{"item": cups, "amount": 1000}], "reason": "requested_by_customer"},
    )
    now = await until(mall, bought, amount_refunded=1000)
    await eventually(lambda: ask(mall, f"trades/{bought['id']}")["refunds"][0]["status"] == "succeeded", within_s=30)

    await settled(stack, (mall, 500), (tea, 3000), (cup, 500))
    assert await balances(stack, mall, code="pledged") == [0]
    assert (
        refused(mall, f"trades/{bought['id']}/refunds", {"items": [{"item": cups, "amount": 501}]})[1]
        == "amount_too_large"
    )
    ask(mall, f"trades/{bought['id']}/refunds", {})
    await until(mall, bought, status="refunded", amount_refunded=5000)
    await settled(stack, (mall, 0), (tea, 0), (cup, 0))
    await sound(stack, mall, tea, cup)
    said = [e["type"] for e in ask(mall, "events?limit=100")["data"] if e["type"].startswith("trade.")]
    assert said == ["trade.refunded", "trade.refunded", "trade.paid", "trade.created"]


async def test_deposit_and_balance_are_dealt_out_in_proportion_and_nobody_asks_for_more_than_is_left(
    stack: Stack,
) -> None:
    mall, tea = [await stack.merchant(name) for name in ("Mall", "Tea House")]
    bought = trade(mall, ("tea", 2000, tea), ("service", 1001, None), deposit=1000)

    first = pay(mall, bought)
    now = await until(mall, bought, status="partly_paid")
    assert (first["amount"], now["amount_due"], now["payments"][0]["purpose"]) == (1000, 2001, "deposit")
    assert [i["amount_paid"] for i in now["items"]] == [666, 334]
    await settled(stack, (mall, 334), (tea, 666))

    path = f"trades/{bought['id']}/payment_intents"
    many = await asyncio.gather(
        *(asyncio.to_thread(crew.call, stack.api, mall.key, "POST", path, {}) for _ in range(8))
    )
    assert sorted(status for status, _ in many) == [200] + [400] * 7, "the rest is asked for once"
    [rest] = [a for status, a in many if status == 200]
    assert (rest["amount"], ask(mall, f"trades/{bought['id']}")["amount_reserved"]) == (2001, 2001)
    mall.client().v1.payment_intents.cancel(rest["id"])
    await until(mall, bought, amount_reserved=0)
    pay(mall, bought, amount=1)
    await until(mall, bought, amount_paid=1001)
    pay(mall, bought)
    now = await until(mall, bought, status="paid")
    assert [i["amount_paid"] for i in now["items"]] == [2000, 1001]
    await settled(stack, (mall, 1001), (tea, 2000))

    # The item that goes back was paid for by three payments: the latest gives back first.
    item = now["items"][0]["id"]
    answers = await asyncio.gather(
        *(asyncio.to_thread(crew.call, stack.api, mall.key, "POST", f"trades/{bought['id']}/refunds", {"items": [{"item": item, "amount": 1500}]}) for _ in range(4))
    )  # fmt: skip
    assert sorted(status for status, _ in answers) == [200, 400, 400, 400], "two who want the same item: one gets it"
    ask(mall, f"trades/{bought['id']}/refunds", {"items": [{"item": item}]})
    now = await until(mall, bought, amount_refunded=2000)
    await eventually(
        lambda: {r["status"] for r in ask(mall, f"trades/{bought['id']}")["refunds"]} == {"succeeded"}, within_s=30
    )
    await settled(stack, (mall, 1001), (tea, 0))
    await sound(stack, mall, tea)


async def test_an_escrow_is_held_until_it_is_released_and_gives_back_from_what_it_holds(stack: Stack) -> None:
    mall, tea, cup = [await stack.merchant(name) for name in ("Mall", "Tea House", "Cup Maker")]
    bought = trade(mall, ("tea", 3000, tea), ("cup", 1500, cup), type="escrow")
    pay(mall, bought)
    now = await until(mall, bought, status="paid")
    assert [i["amount_held"] for i in now["items"]] == [3000, 1500]
    assert await balances(stack, mall, code="pledged") == [4500]
    await settled(stack, (mall, 0), (tea, 0), (cup, 0))

    teas, cups = (i["id"] for i in now["items"])
    ask(mall, f"trades/{bought['id']}/refunds", {"items": [{"item": cups}]})
    await eventually(
        lambda: {r["status"] for r in ask(mall, f"trades/{bought['id']}")["refunds"]} == {"succeeded"}, within_s=30
    )
    assert refused(mall, f"trades/{bought['id']}/release", {"items": [cups]})[:2] == (400, "nothing_held")
    ask(mall, f"trades/{bought['id']}/release", {"items": [teas]})
    await settled(stack, (mall, 0), (tea, 3000), (cup, 0))
    assert await balances(stack, mall, code="pledged") == [0]
    await sound(stack, mall, tea, cup)


async def test_a_refund_that_fails_is_counted_as_paid_again(stack: Stack) -> None:
    mall, tea = [await stack.merchant(name) for name in ("Mall", "Tea House")]
    bought = trade(mall, ("tea", 2000, tea))
    pay(mall, bought, dial="refund_fail")
    await until(mall, bought, status="paid")
    ask(mall, f"trades/{bought['id']}/refunds", {})
    now = await eventually(
        lambda: (t := ask(mall, f"trades/{bought['id']}"))["refunds"][0]["status"] == "failed" and t, within_s=30
    )
    assert (now["amount_refunded"], now["status"], now["items"][0]["amount_refunded"]) == (0, "paid", 0)
    await settled(stack, (mall, 0), (tea, 2000))
    await sound(stack, mall, tea)


async def test_what_comes_too_late_and_is_accepted_pays_and_what_is_too_much_goes_back(stack: Stack) -> None:
    mall, tea = await stack.merchant("Mall", late_success="accept"), await stack.merchant("Tea House")
    bought = trade(mall, ("tea", 2000, tea))
    path = f"trades/{bought['id']}/payment_intents"
    first = ask(mall, path, {"payment_method_types": ["wechat_pay"]})
    ask(mall, f"payment_intents/{first['id']}/confirm", {"payment_method": "pm_sim_wechat_pay__late_success=3"})
    mall.client().v1.payment_intents.cancel(first["id"])
    await until(mall, bought, amount_reserved=0)
    pay(mall, bought)  # the payer pays another one meanwhile, and both succeed
    await until(mall, bought, status="paid")

    def gone_back() -> dict[str, Any] | None:
        now = ask(mall, f"trades/{bought['id']}")
        return now if any(r["item"] is None and r["status"] == "succeeded" for r in now["refunds"]) else None

    now = await eventually(gone_back, within_s=40)
    assert (now["amount_paid"], now["amount_refunded"], sum(p["amount_returned"] for p in now["payments"])) == (
        2000,
        0,
        2000,
    )
    await settled(stack, (mall, 0), (tea, 2000))
    assert await balances(stack, mall, code="pledged") == [0]
    await sound(stack, mall, tea)


async def test_what_a_trade_cannot_be_is_refused_by_name(stack: Stack) -> None:
    mall = await stack.merchant("Mall")
    item = {"name": "tea", "unit_amount": 100}
    for type in ("top_up", "recharge", "transfer", "payout"):
        status, code, says = refused(mall, "trades", {"currency": "cny", "type": type, "items": [item]})
        assert (status, code) == (400, "trade_type_unavailable")
        assert type.replace("_", "-") in says or type in says
    nobody = ids.show("acct", ids.new_id())
    assert refused(mall, "trades", {"currency": "cny", "items": [item | {"seller": nobody}]})[0] == 404
    assert (
        refused(mall, "trades", {"currency": "cny", "items": [{"name": "gift", "unit_amount": 0}]})[1]
        == "amount_too_small"
    )
    assert refused(mall, "trades", {"currency": "cny", "items": [item], "deposit": 100})[0] == 400

    whole = trade(mall, ("order", 100, None), merchant_ref="M-2")
    assert (
        refused(mall, "trades", {"currency": "cny", "items": [item], "merchant_ref": "M-2"})[1] == "merchant_ref_taken"
    )
    below = trade(mall, ("parcel", 100, None), parent=whole["id"])
    assert ask(mall, f"trades/{whole['id']}")["children"] == [below["id"]]
    assert refused(mall, "trades", {"currency": "cny", "items": [item], "parent": below["id"]})[0] == 400

    intent = ask(mall, f"trades/{whole['id']}/payment_intents", {})
    assert refused(mall, f"payment_intents/{intent['id']}", {"amount": 1})[0] == 400
    assert refused(mall, f"trades/{whole['id']}/cancel", {})[0] == 400, "it may still be paid"
    mall.client().v1.payment_intents.cancel(intent["id"])
    await until(mall, whole, amount_reserved=0)
    assert ask(mall, f"trades/{whole['id']}/cancel", {})["status"] == "canceled"
    assert refused(mall, f"trades/{whole['id']}/payment_intents", {})[0] == 400
    assert refused(mall, f"trades/{whole['id']}/refunds", {})[0] == 400


async def test_a_large_refund_of_items_waits_for_others(stack: Stack) -> None:
    mall, tea = [await stack.merchant(name) for name in ("Mall", "Tea House")]
    async with stack.world() as world:
        boss, anna = [await crew.somebody(world, (role, "platform", None)) for role in ("operator", "finance")]
    chain = {
        "kind": "refund",
        "account": mall.demo.merchant,
        "asset": "cny",
        "over": 500,
        "steps": [{"role": "finance"}],
    }
    assert crew.call(stack.api, boss.token, "POST", "approval_chains", chain)[0] == 200
    bought = trade(mall, ("tea", 2000, tea))
    pay(mall, bought)
    await until(mall, bought, status="paid")

    status, no = crew.call(stack.api, mall.key, "POST", f"trades/{bought['id']}/refunds", {})
    assert (status, no["error"]["code"]) == (403, "approval_required")
    asked = no["error"]["approval"]
    assert ask(mall, f"trades/{bought['id']}")["amount_refunded"] == 0
    yes = {"decision": "approve", "hash": asked["hash"], "why": "looked at it"}
    status, done = crew.call(
        stack.api, anna.token, "POST", f"approvals/{asked['id']}/decide", yes, account=mall.demo.merchant
    )
    assert (status, done["state"]) == (200, "executed"), done
    await until(mall, bought, status="refunded")
    await settled(stack, (mall, 0), (tea, 0))
    await sound(stack, mall, tea)
