"""A case through HTTP: the channel says another amount than was asked, a person books it aside, and the books still verify."""

import asyncio
import base64
import json
import os
import subprocess
import sys
import time
import urllib.request
from typing import Any

import pytest

import crew
from guilder.platform import case
from guilder.platform.case import Case
from stack import Shop, Stack, eventually

pytestmark = pytest.mark.anyio


def guilder(stack: Stack, *args: str) -> subprocess.CompletedProcess[str]:
    """The command line, on this installation."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("GUILDER_")} | stack.it.environ
    return subprocess.run(
        [sys.executable, "-m", "guilder.app.cli", *args], env=ours, capture_output=True, text=True, check=False, timeout=60
    )  # fmt: skip


def metric(stack: Stack, name: str) -> float:
    with urllib.request.urlopen(stack.it.at.metrics + "/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(name)), -1.0)


async def open_case(shop: Shop, subject: str, kind: str = "odd") -> str:
    """A case of the shop's; its id."""
    async with shop.stack.world() as world:
        await case.open_one(world.envs["test"].db, Case(shop.book_id, kind, subject, "Something is odd.", {"n": 1}))
        reader = await crew.somebody(world, ("read_only", "merchant", shop.book_id))
    status, listed = crew.call(
        shop.stack.api, reader.token, "GET", f"cases?kind={kind}&limit=1", account=shop.demo.merchant
    )
    assert status == 200, listed
    return listed["data"][0]["id"]


async def test_another_amount_becomes_a_case_that_is_booked_aside_and_the_books_verify(stack: Stack) -> None:
    shop = await stack.merchant("Mismatch")
    async with stack.world() as world:
        finance = await crew.somebody(world, ("finance", "platform", None))
        theirs = await crew.somebody(world, ("merchant_owner", "merchant", shop.book_id))
        reader = await crew.somebody(world, ("read_only", "merchant", shop.book_id))
    v1 = shop.client().v1
    wrong = {"account": shop.demo.simulated["wechatpay"], "dials": {"wrong_amount": {"probability": 1.0}}}
    stack.simulator("/sim/dials", wrong)
    asked: dict[str, Any] = {
        "amount": 1250, "currency": "cny", "payment_method_types": ["wechat_pay"], "confirm": True,
        "payment_method_data": {"type": "wechat_pay"},
    }  # fmt: skip
    pi = v1.payment_intents.create(asked)
    stack.pay(pi.next_action)

    def call(who: crew.Somebody, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        return crew.call(stack.api, who.token, method, path, body, account=shop.demo.merchant)

    found = await eventually(
        lambda: call(finance, "GET", "cases?state=open&kind=amount_mismatch")[1]["data"], within_s=20
    )
    [one] = found
    assert (one["moved"], one["evidence"]["units"], one["evidence"]["of"]) == (True, 1249, "payment")
    assert (one["proposal"]["resolver"], one["ways"][0]["resolver"]) == ("book_suspense", "book_suspense")

    at = f"cases/{one['id']}"
    assert call(finance, "POST", at, {"owner": "me"})[1]["owner"] == finance.shown
    assert call(finance, "POST", f"{at}/comments", {"text": "The console says 12.49."})[0] == 200
    picture = {"name": "console.png", "type": "image/png", "data": base64.b64encode(bytes(1 << 20)).decode()}
    status, laid = call(finance, "POST", f"{at}/attachments", picture)
    assert (status, laid["size"]) == (200, 1 << 20)
    assert call(reader, "GET", f"{at}/attachments/{laid['id']}")[1]["data"] == picture["data"]
    status, refused = call(finance, "POST", f"{at}/resolve", {"resolver": "dismiss", "why": "no"})
    assert (status, refused["error"]["param"]) == (400, "resolver")
    assert call(reader, "POST", f"{at}/resolve", {"resolver": "book_suspense", "why": "no"})[0] == 403
    status, refused = call(theirs, "POST", f"{at}/resolve", {"resolver": "book_suspense", "why": "mine"})
    assert (status, "its people do that" in refused["error"]["message"]) == (403, True), "not the merchant's own"

    verdict = {"resolver": "book_suspense", "why": "Seen in the console."}
    answers = await asyncio.gather(
        *(asyncio.to_thread(call, finance, "POST", f"{at}/resolve", verdict) for _ in range(20))
    )
    assert sorted(status for status, _ in answers) == [200, *[400] * 19]
    assert {a["error"]["code"] for status, a in answers if status == 400} == {"case_resolved"}

    status, whole = call(reader, "GET", at)
    assert (whole["state"], [c["text"] for c in whole["comments"]]) == ("resolved", ["The console says 12.49."])
    [decision] = whole["decisions"]
    assert (decision["actor"], decision["why"], decision["approval"]) == (finance.shown, "Seen in the console.", None)
    status, journal = call(finance, "GET", f"ledger/journals/{decision['journal']}")
    assert (status, journal["rule"]) == (200, "suspense")
    balances = {a["code"].partition(":")[0]: a["balance"] for a in call(finance, "GET", "ledger/accounts")[1]["data"]}
    assert (balances["suspense"], balances["receivable"]) == (1249, 1249)
    assert "payable" not in balances, "nobody is credited"
    assert v1.payment_intents.retrieve(pi.id).status == "processing"

    verified, audited = guilder(stack, "ledger", "verify"), guilder(stack, "audit")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert shop.demo.merchant not in audited.stdout and decision["journal"] not in audited.stdout


async def test_nobody_of_another_merchant_sees_a_case_and_who_has_his_own_sees_what_he_owns(stack: Stack) -> None:
    shop, other = await stack.merchant("Cased"), await stack.merchant("Other")
    id = await open_case(shop, "it")
    async with stack.world() as world:
        finance = await crew.somebody(world, ("finance", "merchant", shop.book_id))
        stranger = await crew.somebody(world, ("merchant_owner", "merchant", other.book_id))
        helper = await crew.somebody(world, ("finance", "own", shop.book_id))
        operator = await crew.somebody(world, ("operator", "platform", None))
    account = shop.demo.merchant

    assert crew.call(stack.api, stranger.token, "GET", f"cases/{id}", account=account)[0] == 403
    for method, path, body in (
        ("GET", "", None), ("POST", "", {"owner": "me"}), ("POST", "/comments", {"text": "x"}),
        ("POST", "/attachments", {"name": "a", "type": "text/plain", "data": "YQ=="}),
        ("POST", "/wait", {"until": int(time.time()) + 60}), ("POST", "/resolve", {"resolver": "dismiss", "why": "x"}),
    ):  # fmt: skip
        for who, at in ((stranger, other.demo.merchant), (helper, account)):
            status, answer = crew.call(stack.api, who.token, method, f"cases/{id}{path}", body, account=at)
            assert (status, answer["error"]["code"]) == (404, "resource_missing"), (method, path, answer)
    assert crew.call(stack.api, helper.token, "GET", "cases", account=account)[1]["data"] == []

    def assign(owner: str) -> tuple[int, Any]:
        return crew.call(stack.api, finance.token, "POST", f"cases/{id}", {"owner": owner}, account=account)

    assert assign(stranger.shown)[1]["error"]["param"] == "owner", "who can do nothing about it cannot own it"
    assert assign("nobody")[0] == 400
    assert assign(helper.shown)[1]["owner"] == helper.shown
    mine = crew.call(stack.api, helper.token, "GET", "cases", account=account)[1]["data"]
    assert [c["id"] for c in mine] == [id]
    assert (
        crew.call(
            stack.api, helper.token, "POST", f"cases/{id}/wait", {"until": int(time.time()) + 2}, account=account
        )[1]["state"]
        == "waiting"
    )
    await eventually(
        lambda: crew.call(stack.api, helper.token, "GET", f"cases/{id}", account=account)[1]["state"] == "open"
    )
    status, done = crew.call(
        stack.api, helper.token, "POST", f"cases/{id}/resolve", {"resolver": "dismiss", "why": "known"}, account=account
    )
    assert (status, done["state"]) == (200, "resolved")

    status, seen = crew.call(stack.api, operator.token, "GET", "cases?kind=odd&limit=100")
    assert id in [c["id"] for c in seen["data"]], "who looks after the platform sees every book's"


async def test_the_command_line_lists_shows_assigns_comments_and_resolves(stack: Stack) -> None:
    shop = await stack.merchant("By hand")
    id = await open_case(shop, "by hand")
    before = metric(stack, 'guilder_cases_open{env="test"}')
    await eventually(lambda: metric(stack, 'guilder_cases_open{env="test"}') >= 1)
    assert before >= -1 and metric(stack, 'guilder_cases_overdue{env="test"}') >= 0

    assert id in guilder(stack, "cases", "list", "--kind", "odd", "--state", "open", "--of", shop.demo.merchant).stdout
    assert guilder(stack, "cases", "list", "--overdue", "--of", shop.demo.merchant).stdout == "No such cases.\n"
    assert guilder(stack, "cases", "assign", id, "operator").returncode == 0
    assert guilder(stack, "cases", "comment", id, "looked at it").returncode == 0
    wrong = guilder(stack, "cases", "resolve", id, "book_suspense", "--why", "so")
    assert (wrong.returncode, "ends by dismiss" in wrong.stderr) == (1, True), wrong.stderr
    assert guilder(stack, "cases", "resolve", id, "dismiss", "--why", "it is known").returncode == 0
    again = guilder(stack, "cases", "resolve", id, "dismiss", "--why", "it is known")
    assert (again.returncode, "is resolved" in again.stderr) == (1, True)

    shown = json.loads(guilder(stack, "cases", "show", id).stdout)
    assert (shown["owner"], shown["state"], shown["comments"][0]["actor"]) == ("operator", "resolved", "operator")
    assert [(d["resolver"], d["why"]) for d in shown["decisions"]] == [("dismiss", "it is known")]
