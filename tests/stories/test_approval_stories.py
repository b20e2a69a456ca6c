"""What waits for approval, from end to end: refunds above a limit, journals by hand, secrets shown again, contracts with channels."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import stripe

import crew
from crew import Somebody
from guilder.core import ids
from guilder.merchants import keys as making
from guilder.platform.sql import Query
from stack import Shop, Stack, eventually

pytestmark = pytest.mark.anyio
FINANCE = {"role": "finance"}


def guilder(stack: Stack, *words: str, stdin: str = "") -> str:
    """What the command line says."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("GUILDER_")} | stack.it.environ
    done = subprocess.run(
        [sys.executable, "-m", "guilder.app.cli", *words], env=ours, input=stdin, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    return done.stdout + done.stderr


async def people(stack: Stack, shop: Shop) -> tuple[Somebody, Somebody, Somebody]:
    """Who makes rules, and two of finance."""
    async with stack.world() as world:
        boss = await crew.somebody(world, ("operator", "platform", None))
        return boss, *[await crew.somebody(world, ("finance", "platform", None)) for _ in range(2)]


def rule(shop: Shop, boss: Somebody, kind: str, *steps: dict[str, Any], **more: Any) -> None:
    body = {"kind": kind, "account": shop.demo.merchant, "steps": list(steps), **more}
    assert crew.call(shop.stack.api, boss.token, "POST", "approval_chains", body)[0] == 200


def ask(
    shop: Shop, by: Somebody | str, path: str, body: dict[str, Any], method: str = "POST", **headers: str
) -> tuple[int, Any]:
    key, account = (by, None) if isinstance(by, str) else (by.token, shop.demo.merchant)
    return crew.call(shop.stack.api, key, method, path, None if method == "GET" else body, account=account, **headers)


def asked_for(answer: tuple[int, Any]) -> dict[str, Any]:
    """The approval that was opened instead."""
    assert (answer[0], answer[1].get("error", {}).get("code")) == (403, "approval_required"), answer
    return answer[1]["error"]["approval"]


def agree(shop: Shop, by: Somebody, approval: dict[str, Any]) -> dict[str, Any]:
    body = {"decision": "approve", "hash": approval["hash"], "why": "looked at it"}
    status, answer = ask(shop, by, f"approvals/{approval['id']}/decide", body)
    assert status == 200, answer
    return answer


async def trail(stack: Stack, shop: Shop) -> list[str]:
    """What was done in the shop's book, as the environment's trail has it."""
    noted = Query("trail", "SELECT action FROM platform.trail WHERE book_id = $1 ORDER BY id")
    async with stack.world() as world:
        return [r["action"] for r in await world.envs["test"].db.rows(noted, shop.book_id)]


async def test_a_refund_above_the_limit_goes_back_when_another_agrees(stack: Stack) -> None:
    shop = await stack.merchant()
    boss, anna, bo = await people(stack, shop)
    rule(shop, boss, "refund", FINANCE, asset="cny", over=500)
    paid = await pay(shop, 2000)
    v1 = shop.client().v1

    assert v1.refunds.create({"payment_intent": paid, "amount": 300}).amount == 300
    body = {"payment_intent": paid, "amount": 201}
    once = {"Idempotency-Key": ids.text(ids.new_id())}
    first, again = ask(shop, anna, "refunds", body, **once), ask(shop, anna, "refunds", body, **once)
    asked = asked_for(first)
    assert first == again, "small ones add up; and under one key it is asked for once"
    with pytest.raises(stripe.PermissionError) as by_key:
        v1.refunds.create({"payment_intent": paid, "amount": 2000 - 300})
    assert by_key.value.error is not None and by_key.value.error.code == "approval_required"
    assert len(v1.refunds.list({"payment_intent": paid}).data) == 1

    assert ask(shop, anna, f"approvals/{asked['id']}/decide", {"decision": "approve", "hash": asked["hash"]})[0] == 403
    done = agree(shop, bo, asked)

    assert (done["state"], asked["amount"], asked["asset"], done["maker"]) == ("executed", 201, "cny", anna.shown)
    refund = done["result"]["refund"]
    await eventually(lambda: v1.refunds.retrieve(refund).status == "succeeded")
    charge = v1.charges.list({"payment_intent": paid}).data[0]
    await eventually(lambda: v1.charges.retrieve(charge.id).amount_refunded == 501)
    # By then less is left than the key asked for: the other approval ends with why, and nothing goes back.
    [other] = [a for a in ask(shop, bo, "approvals?state=open", {}, "GET")[1]["data"] if a["kind"] == "refund"]
    ended = agree(shop, bo, other)
    assert (ended["state"], other["amount"]) == ("refused", 1700)
    assert "greater than unrefunded amount" in ended["reason"]
    assert len(v1.refunds.list({"payment_intent": paid}).data) == 2
    noted = [action for action in await trail(stack, shop) if action.startswith(("approval.", "refund."))]
    assert noted.pop(0) == "refund.created", "what was below the limit"
    assert noted[:2] == ["approval.opened", "approval.opened"]
    assert sorted(noted[2:5]) == ["approval.decided", "approval.executed", "refund.created"]
    assert noted[5:] == ["approval.decided", "approval.refused"]


async def test_several_refunds_asked_for_at_once_take_whom_one_of_them_all_takes(stack: Stack) -> None:
    shop = await stack.merchant()
    boss, anna, bo = await people(stack, shop)
    rule(shop, boss, "refund", FINANCE, asset="cny", over=500)
    rule(shop, boss, "refund", {**FINANCE, "people": 2}, asset="cny", over=1500)
    paid = await pay(shop, 2000)
    first, second = (
        asked_for(ask(shop, shop.key, "refunds", {"payment_intent": paid, "amount": n})) for n in (900, 901)
    )
    assert [a["steps"][0]["people"] for a in (first, second)] == [1, 1], "each by itself is small"

    assert agree(shop, bo, first)["state"] == "executed"
    ended = agree(shop, anna, second)
    assert (ended["state"], "ask again" in ended["reason"]) == ("refused", True)
    assert asked_for(ask(shop, shop.key, "refunds", {"payment_intent": paid, "amount": 901}))["steps"][0]["people"] == 2


async def test_a_journal_by_hand_is_posted_whole_when_another_agrees(stack: Stack) -> None:
    shop = await stack.merchant()
    shop.ledger()
    boss, anna, bo = await people(stack, shop)
    rule(shop, boss, "journal", FINANCE, asset="cny", over=10_000)

    def journals(units: int, *keys: str, debit: str = "payable") -> dict[str, Any]:
        move = {"debit": debit, "credit": "surplus", "asset": "cny", "units": units}
        return {"journals": [{"key": k, "transfers": [move]} for k in keys]}

    status, small = ask(shop, anna, "ledger/journals", journals(10_000, "small"))
    assert (status, small["answers"][0]["code"]) == (200, "created"), "between accounts of the chart, below the limit"
    status, no = ask(shop, shop.key, "ledger/journals", journals(1, "k"))
    assert (status, no["error"]["param"]) == (400, "journals[0][transfers][0][debit]"), "a key has accounts of its own"
    clearing = ask(shop, anna, "ledger/journals", journals(1, "k", debit=f"clearing:{ids.text(ids.PLATFORM)}"))
    assert (clearing[0], clearing[1]["error"]["param"]) == (400, "journals[0][transfers][0][debit]")

    status, no = ask(shop, await _owner(stack, shop), "ledger/journals", journals(1, "k"))
    assert (status, no["error"]["param"]) == (400, "journals[0][transfers][0][debit]"), (
        "and so have a merchant's people"
    )

    asked = asked_for(ask(shop, anna, "ledger/journals", journals(6_000, "one", "two")))
    assert (asked["amount"], asked["summary"]) == (12_000, "Post 2 journals by hand: 120.00 CNY.")
    done = agree(shop, bo, asked)
    assert (done["state"], len(done["result"]["journals"])) == ("executed", 2)
    assert [(j["key"], j["rule"]) for j in ask(shop, anna, "ledger/journals?limit=2", {}, "GET")[1]["data"]] == [
        ("manual:two", "manual"), ("manual:one", "manual"),
    ]  # fmt: skip

    refused = asked_for(ask(shop, anna, "ledger/journals", {"journals": [
        *journals(20_000, "three")["journals"], *journals(1, "four", debit="x:nowhere")["journals"],
    ]}))  # fmt: skip
    ended = agree(shop, bo, refused)
    assert ended["state"] == "refused" and "manual:four: account_not_found" in ended["reason"]
    posted = ask(shop, anna, "ledger/journals", journals(1, "three", "four"))[1]["answers"]
    assert [a["code"] for a in posted] == ["created", "created"], "no key was used up"


async def test_a_file_of_journals_waits_as_a_whole(stack: Stack, tmp_path: Path) -> None:
    shop = await stack.merchant()
    boss, anna, _ = await people(stack, shop)
    rule(shop, boss, "journal", FINANCE, over=100)
    file = tmp_path / "opening.csv"
    file.write_text("key,debit,credit,asset,units\na,payable,surplus,CNY,60\nb,payable,surplus,CNY,41\n")

    assert "2 created" in guilder(stack, "ledger", "import", shop.demo.merchant, str(file), "--dry-run")
    said = guilder(stack, "ledger", "import", shop.demo.merchant, str(file))
    assert "Nothing is posted yet" in said
    [asked] = ask(shop, anna, "approvals", {}, "GET")[1]["data"]
    assert asked["id"] in said and asked["maker"] == "operator"

    shown = json.loads(guilder(stack, "approvals", "show", asked["id"]))
    assert [j["key"] for j in shown["command"]["journals"]] == ["csv:a", "csv:b"]
    assert asked["id"] in guilder(stack, "approvals", "list")
    assert "asked for this yourself" in guilder(
        stack, "approvals", "decide", asked["id"], "approve", "--hash", asked["hash"]
    )
    assert agree(shop, anna, asked)["state"] == "executed"
    assert "2 exists" in guilder(stack, "ledger", "import", shop.demo.merchant, str(file), "--dry-run")


async def test_a_secret_is_shown_again_once_to_who_asked(stack: Stack) -> None:
    shop = await stack.merchant()
    made = shop.client().v1.webhook_endpoints.create(
        {"url": "http://127.0.0.1:9/", "enabled_events": ["refund.failed"]}
    )
    boss, _, _ = await people(stack, shop)
    async with stack.world() as world:
        owner, partner = [await crew.somebody(world, ("merchant_owner", "merchant", shop.book_id)) for _ in range(2)]
    path = f"webhook_endpoints/{made.id}/reveal"

    status, closed = ask(shop, owner, path, {})
    assert (status, closed["error"]["code"]) == (403, "approval_chain_missing"), "without a rule nobody sees it"
    assert ask(shop, shop.key, path, {})[0] == 403

    rule(shop, boss, "key_reveal", {"permission": "keys:reveal", "at": "merchant"})
    asked = asked_for(ask(shop, owner, path, {}))
    early = ask(shop, owner, path, {"approval": asked["id"]})
    assert (early[0], early[1]["error"]["code"]) == (400, "approval_not_open")
    assert agree(shop, partner, asked)["state"] == "approved"
    assert ask(shop, partner, path, {"approval": asked["id"]})[0] == 403, "only who asked"

    key = {"Idempotency-Key": ids.text(ids.new_id())}
    status, shown = ask(shop, owner, path, {"approval": asked["id"]}, **key)
    assert (status, shown["secret"]) == (200, made.secret)
    assert ask(shop, owner, path, {"approval": asked["id"]}, **key) == (200, shown)
    assert ask(shop, partner, path, {"approval": asked["id"]}, **key)[1]["error"]["code"] == "idempotency_key_reused"
    again = ask(shop, owner, path, {"approval": asked["id"]})
    assert (again[0], again[1]["error"]["code"]) == (400, "approval_not_open")
    assert "secret.revealed" in await trail(stack, shop)


async def test_a_contract_is_added_and_disabled_when_another_agrees(stack: Stack) -> None:
    shop = await stack.merchant()
    other = stack.simulator("/sim/accounts", {"channel": "alipay", "name": "Second"})
    boss, _, _ = await people(stack, shop)
    async with stack.world() as world:
        owner, partner = [await crew.somebody(world, ("merchant_owner", "merchant", shop.book_id)) for _ in range(2)]
    body = {"channel": "alipay", "name": "Second", "config": other["config"]}
    status, free = ask(shop, owner, "channel_accounts", body)
    assert (status, free["name"], free["enabled"], free["funds"]) == (200, "Second", True, "merchant")
    assert ask(shop, owner, "channel_accounts", {**body, "funds": "platform"})[0] == 403, (
        "whose money it is, the platform says"
    )
    assert ask(shop, boss, "channel_accounts", {**body, "name": "Ours"})[1]["funds"] == "platform"
    secret: str = max(other["config"].values(), key=len)
    assert secret not in json.dumps(free)

    rule(shop, boss, "channel_account", {"role": "merchant_owner", "at": "merchant"})
    added = asked_for(ask(shop, owner, "channel_accounts", {**body, "name": "Third"}))
    assert secret not in json.dumps(added) and added["command"]["config"] == "sealed:"
    names = [a["name"] for a in ask(shop, owner, "channel_accounts", {}, "GET")[1]["data"]]
    assert "Third" not in names
    assert agree(shop, partner, added)["result"] == {"channel_account": added["subject"]}

    first = shop.demo.accounts["alipay"]
    off = asked_for(ask(shop, owner, f"channel_accounts/{first}/disable", {}))
    assert agree(shop, partner, off)["state"] == "executed"
    shown = {a["id"]: a["enabled"] for a in ask(shop, owner, "channel_accounts", {}, "GET")[1]["data"]}
    assert (shown[first], shown[free["id"]], shown[added["subject"]]) == (False, True, True)

    def used() -> bool:
        made = shop.client().v1.payment_intents.create(
            {"amount": 100, "currency": "cny", "confirm": True, "payment_method": "pm_alipay", "payment_method_types": ["alipay"],
             "return_url": "https://shop.example/"}
        )  # fmt: skip
        return made.status == "requires_action"

    async def by_another() -> bool:
        assert used()
        last = Query(
            "last", "SELECT channel_account_id AS id FROM payments.attempt WHERE book_id = $1 ORDER BY id DESC LIMIT 1"
        )
        async with stack.world() as world:
            return await world.envs["test"].db.value(last, shop.book_id) == ids.read("ca", free["id"])

    await eventually(by_another, within_s=10)

    config = json.dumps(other["config"])
    said = guilder(stack, "channels", "add", shop.demo.merchant, "alipay", "-", stdin=config)
    assert "needs the approval of others" in said
    stranger = await stack.merchant()
    assert ask(stranger, await _owner(stack, stranger), f"channel_accounts/{first}/enable", {})[0] == 404


async def _owner(stack: Stack, shop: Shop) -> Somebody:
    async with stack.world() as world:
        return await crew.somebody(world, ("merchant_owner", "merchant", shop.book_id))


async def test_a_key_that_a_person_made_is_not_that_person(stack: Stack) -> None:
    shop = await stack.merchant()
    boss, anna, _ = await people(stack, shop)
    rule(shop, boss, "refund", FINANCE)
    paid = await pay(shop, 100)
    async with stack.world() as world:
        made = await world.control.transact(lambda tx: making.make(tx, shop.book_id, "test", "rk", ("refunds:write",)))

    asked = asked_for(ask(shop, made.secret, "refunds", {"payment_intent": paid}))

    assert asked["maker"] == ids.show("key", made.id)
    assert agree(shop, anna, asked)["state"] == "executed"


async def test_rules_at_the_machine(stack: Stack) -> None:
    shop = await stack.merchant()

    def make(*words: str) -> str:
        return guilder(stack, "approvals", "chains", "make", "refund", "--merchant", shop.demo.merchant, *words)

    made = make("--step", "finance=2", "--step", "refunds:write@merchant", "--asset", "CNY", "--over", "5000").strip()
    assert made.startswith("apc_")
    listed = guilder(stack, "approvals", "chains", "list")
    assert made in listed and "2 × finance (platform), then" in listed
    assert "already" in make("--step", "finance", "--asset", "CNY", "--over", "5000")
    assert "no permission" in make("--step", "nothing:write")
    assert "is no step" in make("--step", "finance=99")
    assert "is deleted" in guilder(stack, "approvals", "chains", "delete", made)
    assert "No such approval chain" in guilder(stack, "approvals", "chains", "delete", made)
    assert "No such approval" in guilder(stack, "approvals", "cancel", ids.show("apr", ids.new_id()))


async def pay(shop: Shop, amount: int) -> str:
    """A payment that is paid."""
    autopay: Any = {
        "amount": amount,
        "currency": "cny",
        "confirm": True,
        "payment_method": "pm_sim_wechat_pay__autopay",
    }
    v1 = shop.client().v1
    made = v1.payment_intents.create(autopay)
    await eventually(lambda: v1.payment_intents.retrieve(made.id).status == "succeeded")
    return made.id
