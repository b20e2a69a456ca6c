"""Rules through HTTP and the command line: drafted, tried, made live, had back; the operator's switch; and payments that go by them."""

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import crew
from command import guilder
from guilder.core import ids
from guilder.merchants import channel_accounts
from stack import Shop, Stack, eventually

pytestmark = pytest.mark.anyio


async def a_second_account(shop: Shop) -> tuple[str, str]:
    """Another WeChat contract of the shop: its id here, and its account at the simulator."""
    opened = shop.stack.simulator("/sim/accounts", {"channel": "wechatpay", "name": "Second", "trust": "public_key"})
    async with shop.stack.world() as world:
        id = await channel_accounts.add(world.envs["test"], shop.book_id, "wechatpay", opened["config"])
    return ids.show("ca", id), opened["id"]


def pay(shop: Shop, amount: int = 500, **more: Any) -> Any:
    return shop.client().v1.payment_intents.create(
        {"amount": amount, "currency": "cny", "confirm": True, "payment_method": "pm_sim_wechat_pay",
         "payment_method_types": ["wechat_pay"], **more}
    )  # fmt: skip


async def by(shop: Shop, role: str = "merchant_owner") -> Any:
    async with shop.stack.world() as world:
        somebody = await crew.somebody(world, (role, "merchant", shop.book_id))

    def call(method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        return crew.call(shop.stack.api, somebody.token, method, path, body, account=shop.demo.merchant)

    return call


def went(shop: Shop, intent: str) -> list[Any]:
    """The tries of a payment, by a secret key."""
    request = urllib.request.Request(
        f"{shop.stack.api}/v1/payment_intents/{intent}/routing", headers={"Authorization": f"Bearer {shop.key}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["data"]


async def test_rules_are_drafted_tried_made_live_and_had_back(stack: Stack) -> None:
    shop = await stack.merchant()
    oldest, (second, _) = shop.demo.accounts["wechatpay"], await a_second_account(shop)
    call = await by(shop)
    for amount in (100, 200, 300_000):
        pay(shop, amount)
    content = {
        "rules": [{"name": "large", "when": "amount >= 100000", "then": [{"to": second}]}, {"name": "never", "when": "currency == 'USD'", "then": [{"to": second}]}],
        "fees": [{"of": oldest, "fee_bps": 60}, {"of": second, "fee_bps": 38}],
    }  # fmt: skip

    status, draft = call("POST", "routing/rulesets", {"content": content, "note": "cheaper for large ones"})
    assert (status, draft["state"], draft["number"]) == (200, "draft", 1)
    assert went(shop, pay(shop, 300_000).id)[0]["channel_account"] == oldest, "nothing goes by a draft"

    status, outlook = call("POST", f"routing/rulesets/{draft['id']}/try", {"days": 1})
    assert status == 200
    assert (outlook["payments"], outlook["elsewhere"], outlook["never_matched"]) == (4, 2, ["never"])
    assert (outlook["rules"]["large"], outlook["fees_before"] - outlook["fees_after"]) == (
        2,
        2 * 300_000 * 22 // 10_000,
    )

    status, live = call("POST", f"routing/rulesets/{draft['id']}/activate", {"why": "tried"})
    assert (status, live["state"]) == (200, "live")
    await eventually(lambda: went(shop, pay(shop, 300_000).id)[0]["channel_account"] == second, within_s=3)
    [tried] = went(shop, pay(shop, 300_000).id)
    assert (tried["routed"]["rule"], tried["routed"]["number"], tried["routed"]["passed"]) == (
        "large", 1, [{"account": oldest, "why": "ranked_lower", "way": "native"}],
    )  # fmt: skip

    status, other = call("POST", "routing/rulesets", {"content": {"rules": []}})
    assert call("POST", f"routing/rulesets/{other['id']}/activate", {})[0] == 200
    await eventually(lambda: went(shop, pay(shop, 300_000).id)[0]["channel_account"] == oldest, within_s=3)
    done = guilder(stack, "routes", "back", "--of", shop.demo.merchant, "--why", "it was better")
    assert "version 1" in done.stdout, done.stderr
    await eventually(lambda: went(shop, pay(shop, 300_000).id)[0]["channel_account"] == second, within_s=3)

    status, listed = call("GET", "routing/rulesets")
    assert [(r["number"], r["state"]) for r in listed["data"]] == [(2, "retired"), (1, "live")]


async def test_what_are_no_rules_is_refused(stack: Stack) -> None:
    shop = await stack.merchant()
    call = await by(shop)

    status, error = call(
        "POST",
        "routing/rulesets",
        {"content": {"rules": [{"name": "x", "when": "amout > 1", "then": [{"to": "alipay"}]}]}},
    )
    assert (status, "undeclared reference" in error["error"]["message"]) == (400, True)
    assert call("POST", f"routing/rulesets/{ids.show('rs', ids.new_id())}/activate", {})[0] == 404


async def test_who_may_not_does_not(stack: Stack) -> None:
    shop = await stack.merchant()
    reads = await by(shop, "developer")

    assert reads("GET", "routing/rulesets")[0] == 200
    assert reads("POST", "routing/rulesets", {"content": {"rules": []}})[0] == 403
    assert reads("POST", f"channel_accounts/{shop.demo.accounts['wechatpay']}/pause", {})[0] == 403


async def test_where_others_have_to_agree_a_version_waits(stack: Stack) -> None:
    shop = await stack.merchant()
    async with stack.world() as world:
        boss = await crew.somebody(world, ("operator", "platform", None))
    made = crew.call(
        stack.api,
        boss.token,
        "POST",
        "approval_chains",
        {
            "kind": "routing",
            "account": shop.demo.merchant,
            "steps": [{"permission": "routing:write", "at": "merchant"}],
        },
    )
    assert made[0] == 200, made
    maker, other = await by(shop), await by(shop)
    _, draft = maker("POST", "routing/rulesets", {"content": {"rules": []}})

    status, refused = maker("POST", f"routing/rulesets/{draft['id']}/activate", {})
    assert (status, refused["error"]["code"]) == (403, "approval_required")
    asked = refused["error"]["approval"]
    asked = asked if isinstance(asked, dict) else maker("GET", f"approvals/{asked}")[1]
    assert maker("GET", f"routing/rulesets/{draft['id']}")[1]["state"] == "draft"
    status, said = other("POST", f"approvals/{asked['id']}/decide", {"decision": "approve", "hash": asked["hash"]})

    assert status == 200, said
    assert maker("GET", f"routing/rulesets/{draft['id']}")[1]["state"] == "live"


async def test_the_operators_switch_holds_within_a_second(stack: Stack) -> None:
    shop = await stack.merchant()
    oldest, (second, _) = shop.demo.accounts["wechatpay"], await a_second_account(shop)
    call = await by(shop)
    assert went(shop, pay(shop).id)[0]["channel_account"] == oldest

    status, standing = call("POST", f"channel_accounts/{oldest}/pause", {"why": "maintenance"})
    assert (status, standing["paused"]) == (200, True)
    time.sleep(1)
    for _ in range(10):
        [tried] = went(shop, pay(shop).id)
        assert tried["channel_account"] == second
        assert {"account": oldest, "why": "paused", "way": "native"} in tried["routed"]["passed"]

    assert "asked for payments" in guilder(stack, "channels", "resume", oldest).stdout
    time.sleep(1)
    assert went(shop, pay(shop).id)[0]["channel_account"] == oldest
    said = guilder(stack, "channels", "moves", oldest).stdout
    assert "maintenance" in said and "resumed" in said


async def test_where_everything_is_paused_a_payer_hears_that_nothing_was_done(stack: Stack) -> None:
    import stripe

    shop = await stack.merchant()
    call = await by(shop)
    call("POST", f"channel_accounts/{shop.demo.accounts['wechatpay']}/pause", {})
    time.sleep(1)

    with pytest.raises(stripe.APIError) as caught:
        shop.client(max_network_retries=0).v1.payment_intents.create(
            {
                "amount": 100,
                "currency": "cny",
                "confirm": True,
                "payment_method": "pm_sim_wechat_pay",
                "payment_method_types": ["wechat_pay"],
            }
        )
    assert (caught.value.http_status, "channel_unavailable" in str(caught.value.http_body)) == (503, True)
    assert shop.client().v1.payment_intents.list().data == []


async def test_refunds_go_through_where_new_payments_do_not(stack: Stack) -> None:
    shop = await stack.merchant()
    call = await by(shop)
    intent = pay(shop)
    stack.pay(intent.next_action)
    v1 = shop.client().v1
    await eventually(lambda: v1.payment_intents.retrieve(intent.id).status == "succeeded")
    call("POST", f"channel_accounts/{shop.demo.accounts['wechatpay']}/pause", {})
    time.sleep(1)

    refund = v1.refunds.create({"payment_intent": intent.id})
    await eventually(lambda: v1.refunds.retrieve(refund.id).status == "succeeded", within_s=30)


async def test_the_command_line_of_rules(stack: Stack, tmp_path: Path) -> None:
    shop = await stack.merchant()
    of = ("--of", shop.demo.merchant)
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps({"rules": [{"name": "all", "then": [{"to": "wechatpay"}]}]}))
    bad.write_text(json.dumps({"rules": [{"name": "all", "when": "amount", "then": [{"to": "wechatpay"}]}]}))
    pay(shop)

    assert "No rules are live" in guilder(stack, "routes", "show", *of).stdout
    assert "1 rules" in guilder(stack, "routes", "check", str(good)).stdout
    done = guilder(stack, "routes", "check", str(bad))
    assert (done.returncode, "true or false" in done.stderr) == (1, True)
    assert (
        "1 payments, 0 would have gone elsewhere"
        in guilder(stack, "routes", "try", str(good), *of, "--days", "2").stdout
    )
    assert guilder(stack, "routes", "draft", str(good), *of, "--note", "first").stdout.startswith("1  rs_")
    assert "version 1" in guilder(stack, "routes", "live", "1", *of).stdout
    assert json.loads(guilder(stack, "routes", "show", *of).stdout)["rules"][0]["name"] == "all"
    assert "first" in guilder(stack, "routes", "list", *of).stdout
    intent = pay(shop)
    await eventually(lambda: '"rule":"all"' in guilder(stack, "routes", "why", pay(shop).id, *of).stdout, within_s=5)
    assert shop.demo.accounts["wechatpay"] in guilder(stack, "routes", "why", intent.id, *of).stdout


async def test_the_platforms_rules_are_for_all(stack: Stack, tmp_path: Path) -> None:
    shop = await stack.merchant()
    second, _ = await a_second_account(shop)
    file = tmp_path / "rules.json"
    rule = {"name": "of one", "when": f"merchant == '{shop.demo.merchant}'", "then": [{"to": second}]}
    file.write_text(json.dumps({"rules": [rule]}))
    pay(shop)
    assert " 1  of one" in guilder(stack, "routes", "try", str(file)).stdout
    number = guilder(stack, "routes", "draft", str(file)).stdout.split()[0]
    guilder(stack, "routes", "live", number)
    try:
        await eventually(lambda: went(shop, pay(shop).id)[0]["channel_account"] == second, within_s=3)
    finally:
        empty = tmp_path / "empty.json"
        empty.write_text("{}")
        number = guilder(stack, "routes", "draft", str(empty)).stdout.split()[0]
        guilder(stack, "routes", "live", number)
