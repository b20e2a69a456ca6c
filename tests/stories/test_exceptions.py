"""Exceptions through HTTP: money that came otherwise than it was asked for, and who decides what becomes of it."""

import os
import subprocess
import sys
from typing import Any

import pytest

import crew
from crew import Somebody
from stack import Shop, Stack, eventually

pytestmark = pytest.mark.anyio


def call(shop: Shop, who: Somebody, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    return crew.call(shop.stack.api, who.token, method, path, body, account=shop.demo.merchant)


def end(shop: Shop, who: Somebody, one: dict[str, Any], resolver: str) -> tuple[int, Any]:
    return call(shop, who, "POST", f"cases/{one['id']}/resolve", {"resolver": resolver, "why": "seen in the console"})


def balances(shop: Shop, who: Somebody) -> dict[str, int]:
    found = call(shop, who, "GET", "ledger/accounts")[1]["data"]
    return {a["code"].partition(":")[0]: a["balance"] for a in found if a["balance"]}


async def people(stack: Stack, shop: Shop) -> tuple[Somebody, Somebody, Somebody]:
    """Two of the platform, and the merchant's own."""
    async with stack.world() as world:
        ours = [await crew.somebody(world, ("finance", "platform", None)) for _ in range(2)]
        return ours[0], ours[1], await crew.somebody(world, ("merchant_owner", "merchant", shop.book_id))


async def short(stack: Stack, shop: Shop, who: Somebody) -> tuple[Any, dict[str, Any]]:
    """A payment of 12.50 of which the channel says that 12.49 came, and its case."""
    wrong = {"account": shop.demo.simulated["wechatpay"], "dials": {"wrong_amount": {"probability": 1.0}}}
    stack.simulator("/sim/dials", wrong)
    asked: dict[str, Any] = {
        "amount": 1250, "currency": "cny", "payment_method_types": ["wechat_pay"], "confirm": True,
        "payment_method_data": {"type": "wechat_pay"},
    }  # fmt: skip
    pi = shop.client().v1.payment_intents.create(asked)
    stack.pay(pi.next_action)
    [one] = await eventually(
        lambda: call(shop, who, "GET", "cases?state=open&kind=amount_mismatch")[1]["data"], within_s=20
    )
    return pi, one


async def sound(stack: Stack, shop: Shop) -> None:
    """The auditor finds nothing in this shop's book."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("GUILDER_")} | stack.it.environ
    said = subprocess.run(
        [sys.executable, "-m", "guilder.app.cli", "audit"], env=ours, capture_output=True, text=True, check=False, timeout=60
    )  # fmt: skip
    assert shop.demo.merchant not in said.stdout, said.stdout


async def test_the_merchant_takes_less_than_was_due(stack: Stack) -> None:
    shop = await stack.merchant("Short")
    finance, _, theirs = await people(stack, shop)
    pi, one = await short(stack, shop, finance)
    assert end(shop, theirs, one, "apply_suspense")[0] == 403, "what a channel has is not his to hand out"

    status, done = end(shop, theirs, one, "accept_amount")
    assert (status, done["state"]) == (200, "resolved"), done
    paid = shop.client().v1.payment_intents.retrieve(pi.id)
    assert (paid.status, paid.amount, paid.amount_received) == ("succeeded", 1250, 1249)
    assert balances(shop, finance) == {"receivable": 1249, "payable": 1249}
    assert call(shop, finance, "GET", f"cases/{one['id']}")[1]["decisions"][0]["actor"] == theirs.shown
    await sound(stack, shop)


async def test_what_came_goes_back_and_the_payer_pays_again(stack: Stack) -> None:
    shop = await stack.merchant("Back")
    finance, _, _ = await people(stack, shop)
    pi, one = await short(stack, shop, finance)
    assert end(shop, finance, one, "refund_suspense")[1]["state"] == "resolved"
    v1 = shop.client().v1
    assert v1.payment_intents.retrieve(pi.id).status == "requires_payment_method"
    await eventually(lambda: balances(shop, finance) == {}, within_s=30)

    stack.simulator("/sim/dials", {"account": shop.demo.simulated["wechatpay"], "dials": {}})
    again = v1.payment_intents.confirm(pi.id, {"payment_method_data": {"type": "wechat_pay"}})
    stack.pay(again.next_action)
    await eventually(lambda: v1.payment_intents.retrieve(pi.id).status == "succeeded", within_s=20)
    assert balances(shop, finance) == {"receivable": 1250, "payable": 1250}
    await sound(stack, shop)


async def test_writing_off_waits_for_somebody_else_of_the_platform(stack: Stack) -> None:
    shop = await stack.merchant("Lost")
    finance, other, theirs = await people(stack, shop)
    _, one = await short(stack, shop, finance)
    assert end(shop, theirs, one, "write_off")[0] == 403

    status, waits = end(shop, finance, one, "write_off")
    assert (status, waits["state"]) == (200, "waiting"), waits
    assert balances(shop, finance) == {"receivable": 1249, "suspense": 1249}, "aside meanwhile"
    [asked] = [a for a in call(shop, finance, "GET", "approvals")[1]["data"] if a["kind"] == "write_off"]
    verdict = {"decision": "approve", "hash": asked["hash"], "why": "so be it"}
    for who, code in ((finance, "approval_own"), (theirs, None)):
        status, refused = call(shop, who, "POST", f"approvals/{asked['id']}/decide", verdict)
        assert (status, code in (None, refused["error"]["code"])) == (403, True), refused

    status, done = call(shop, other, "POST", f"approvals/{asked['id']}/decide", verdict)
    assert (status, done["state"]) == (200, "executed"), done
    whole = call(shop, finance, "GET", f"cases/{one['id']}")[1]
    assert (whole["state"], whole["decisions"][0]["approval"]) == ("resolved", asked["id"])
    assert "suspense" not in balances(shop, finance)
    await sound(stack, shop)


async def not_taken(stack: Stack, shop: Shop) -> Any:
    """A refund of 4.00, of a payment of 9.00, that the payer's account did not take."""
    v1 = shop.client().v1
    stack.simulator(
        "/sim/dials", {"account": shop.demo.simulated["wechatpay"], "dials": {"refund_fail": {"probability": 1.0}}}
    )
    pi = v1.payment_intents.create({
        "amount": 900, "currency": "cny", "payment_method_types": ["wechat_pay"], "confirm": True,
        "payment_method_data": {"type": "wechat_pay"},
    })  # fmt: skip
    stack.pay(pi.next_action)
    await eventually(lambda: v1.payment_intents.retrieve(pi.id).status == "succeeded", within_s=20)
    refund = v1.refunds.create({"payment_intent": pi.id, "amount": 400})
    await eventually(lambda: v1.refunds.retrieve(refund.id).status == "failed", within_s=30)
    return refund


async def test_a_refund_that_the_payers_account_does_not_take_goes_to_a_bank_account(stack: Stack) -> None:
    shop = await stack.merchant("Rescue")
    finance, _, _ = await people(stack, shop)
    v1, refund = shop.client().v1, await not_taken(stack, shop)
    assert balances(shop, finance)["payable"] == 900, "it counts as collected again"
    [one] = await eventually(lambda: call(shop, finance, "GET", "cases?state=open&kind=refund_failed")[1]["data"])
    assert "rescue" in one["proposal"]["says"]
    status, said = call(shop, finance, "POST", f"cases/{one['id']}/requery", {})
    assert (status, "says failed" in said["text"]) == (200, True), said

    at = f"refunds/{refund.id}/rescue"
    assert call(shop, finance, "POST", at, {"type": "payer"})[1]["error"]["param"] == "account"
    to = {"type": "payer", "bank": "ICBC_DEBIT", "account": "6222020200001111", "name": "张三"}
    status, again = call(shop, finance, "POST", at, to)
    assert (status, again["status"] in ("pending", "succeeded")) == (200, True), again
    await eventually(lambda: v1.refunds.retrieve(refund.id).status == "succeeded", within_s=30)
    assert balances(shop, finance) == {"receivable": 500, "payable": 500}
    whole = call(shop, finance, "GET", f"cases/{one['id']}")[1]
    assert (whole["state"], whole["decisions"][0]["resolver"]) == ("resolved", "refunded")
    status, refused = call(shop, finance, "POST", at, to)
    assert (status, refused["error"]["code"]) == (400, "refund_not_rescuable"), refused
    await sound(stack, shop)


async def test_a_refund_that_was_given_back_by_another_road_is_done_once_somebody_else_agrees(stack: Stack) -> None:
    shop = await stack.merchant("By bank")
    finance, other, theirs = await people(stack, shop)
    v1, refund = shop.client().v1, await not_taken(stack, shop)
    [one] = await eventually(lambda: call(shop, finance, "GET", "cases?state=open&kind=refund_failed")[1]["data"])
    at, paid = f"cases/{one['id']}/resolve", {"resolver": "mark_refunded_elsewhere", "why": "his card is closed"}
    assert call(shop, finance, "POST", at, paid)[1]["error"]["param"] == "paid_by"
    paid |= {"paid_by": "platform", "reference": "ICBC 77-20260901"}
    assert call(shop, theirs, "POST", at, paid)[0] == 403

    status, waits = call(shop, finance, "POST", at, paid)
    assert (status, waits["state"], v1.refunds.retrieve(refund.id).status) == (200, "waiting", "failed")
    [asked] = [a for a in call(shop, finance, "GET", "approvals")[1]["data"] if a["kind"] == "refunded_elsewhere"]
    verdict = {"decision": "approve", "hash": asked["hash"], "why": "the bank says so"}
    assert call(shop, finance, "POST", f"approvals/{asked['id']}/decide", verdict)[0] == 403
    status, done = call(shop, other, "POST", f"approvals/{asked['id']}/decide", verdict)
    assert (status, done["state"]) == (200, "executed"), done

    assert v1.refunds.retrieve(refund.id).status == "succeeded"
    assert balances(shop, finance) == {"receivable": 900, "payable": 500, "clearing": 400}
    assert call(shop, finance, "GET", f"cases/{one['id']}")[1]["state"] == "resolved"
    status, twice = call(
        shop,
        finance,
        "POST",
        f"refunds/{refund.id}/rescue",
        {"type": "payer", "bank": "ICBC_DEBIT", "account": "6222020200001111", "name": "张三"},
    )
    assert (status, twice["error"]["code"]) == (400, "refund_not_rescuable"), twice
    await sound(stack, shop)
