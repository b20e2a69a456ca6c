"""Who did what, through HTTP and on the command line: money in the environment's trail, keys and contracts in control's."""

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import crew
from guilder.core import ids
from stack import Shop, Stack, eventually

pytestmark = pytest.mark.anyio
TEA: dict[str, Any] = {"amount": 1250, "currency": "cny"}


def guilder(stack: Stack, *args: str) -> subprocess.CompletedProcess[str]:
    """The command line, on this installation."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("GUILDER_")} | stack.it.environ
    return subprocess.run(
        [sys.executable, "-m", "guilder.app.cli", *args], env=ours, capture_output=True, text=True, check=False, timeout=60
    )  # fmt: skip


def metrics(stack: Stack) -> str:
    with urllib.request.urlopen(stack.it.at.metrics + "/metrics", timeout=10) as answer:
        return answer.read().decode()


def entries(stack: Stack, token: str, account: str | None = None, query: str = "limit=100") -> list[dict[str, Any]]:
    status, answer = crew.call(stack.api, token, "GET", f"trail_entries?{query}", account=account)
    assert status == 200, answer
    return answer["data"]


async def busy(shop: Shop) -> dict[str, str]:
    """A merchant that has given back, canceled and posted; the ids of what was done, by action."""
    v1 = shop.client().v1
    paid = v1.payment_intents.create({**TEA, "payment_method": "pm_sim_wechat_pay__autopay", "confirm": True})
    await eventually(lambda: v1.payment_intents.retrieve(paid.id).status == "succeeded")
    refund = v1.refunds.create(
        {"payment_intent": paid.id, "amount": 100, "reason": "duplicate"}, {"idempotency_key": "once"}
    )
    assert (
        v1.refunds.create(
            {"payment_intent": paid.id, "amount": 100, "reason": "duplicate"}, {"idempotency_key": "once"}
        ).id
        == refund.id
    )
    canceled = v1.payment_intents.cancel(v1.payment_intents.create(TEA).id, {"cancellation_reason": "abandoned"})
    shop.ledger()
    return {"refund.created": refund.id, "payment_intent.canceled": canceled.id, "ledger.posted": shop.demo.merchant}


async def test_a_merchants_trail_says_who_moved_its_money_once_each_and_nobody_elses(stack: Stack) -> None:
    shop, other = await stack.merchant("Busy"), await stack.merchant("Other")
    done = await asyncio.create_task(busy(shop))
    async with stack.world() as world:
        owner = await crew.somebody(world, ("merchant_owner", "merchant", shop.book_id))
        finance = await crew.somebody(world, ("finance", "merchant", shop.book_id))
        auditor = await crew.somebody(world, ("auditor", "platform", None))

    *seen, _, _ = entries(stack, owner.token, shop.demo.merchant)  # the first two are its contracts
    assert {e["action"]: e["subject"] for e in seen} == done
    assert len(seen) == 3, "not the creation and confirmation of payments: their history and events say it"
    assert {(e["account"], e["actor"][:4], e["place"], e["livemode"]) for e in seen} == {
        (shop.demo.merchant, "key_", "127.0.0.1", False)
    }
    [refunded] = [e for e in seen if e["action"] == "refund.created"]
    assert (refunded["why"], refunded["before"], refunded["after"]["amount"]) == ("duplicate", None, 100)
    assert refunded["request"].startswith("req_")

    account = shop.demo.merchant
    assert [e["subject"] for e in entries(stack, owner.token, account, "action=refund.created")] == [
        refunded["subject"]
    ]
    assert entries(stack, owner.token, account, f"subject={refunded['subject']}")[0]["id"] == refunded["id"]
    assert (
        len(entries(stack, owner.token, account, f"actor={refunded['actor']}&created[gte]={refunded['created']}")) >= 1
    )
    assert entries(stack, owner.token, account, "created[lt]=1000") == []
    newest, *rest = seen
    assert entries(stack, owner.token, account, f"starting_after={newest['id']}")[:-2] == rest
    assert entries(stack, owner.token, account, f"ending_before={rest[-1]['id']}") == seen[:-1]

    keys = entries(stack, owner.token, account, "database=control")
    assert {"merchant.onboarded", "key.made"} <= {e["action"] for e in keys}
    assert {e["account"] for e in keys} == {account}

    assert crew.call(stack.api, finance.token, "GET", "trail_entries", account=account)[0] == 403
    assert crew.call(stack.api, owner.token, "GET", "trail_entries", account=other.demo.merchant)[0] == 403
    accounts = {e["account"] for e in entries(stack, auditor.token, None, "database=control&limit=100")}
    assert {account, other.demo.merchant} <= accounts, "who looks after the whole platform sees all of it"
    assert {e["action"] for e in entries(stack, auditor.token, other.demo.merchant)} == {"channel_account.added"}


async def test_who_may_read_his_own_reads_what_he_did_himself(stack: Stack) -> None:
    shop = await stack.merchant("Own")
    client = shop.client().v1
    async with stack.world() as world:
        person = await crew.somebody(
            world, ("merchant_staff", "merchant", shop.book_id), ("auditor", "own", shop.book_id)
        )
    client.payment_intents.cancel(client.payment_intents.create(TEA).id)
    mine = client.payment_intents.create(TEA).id
    assert (
        crew.call(stack.api, person.token, "POST", f"payment_intents/{mine}/cancel", account=shop.demo.merchant)[0]
        == 200
    )

    assert [(e["actor"], e["subject"]) for e in entries(stack, person.token, shop.demo.merchant)] == [
        (person.shown, mine)
    ]
    assert entries(stack, person.token, shop.demo.merchant, "actor=operator") == []


async def test_the_command_line_acts_as_operator_and_proves_every_database(stack: Stack, tmp_path: Path) -> None:
    shop = await stack.merchant("Cli")
    rows = tmp_path / "journals.csv"
    account = ids.text(ids.new_id())
    rows.write_text(
        f"key,debit,credit,asset,units\n1,receivable:{account},payable,CNY,5\n2,receivable:{account},payable,CNY,7\n"
    )
    ran = guilder(stack, "ledger", "import", shop.demo.merchant, str(rows))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert guilder(stack, "ledger", "close", shop.demo.merchant, "2026-01").returncode == 0
    assert guilder(stack, "storage", "keep", "platform.job", "31").returncode == 0
    assert guilder(stack, "merchants", "fee", shop.demo.merchant, "60").returncode == 0

    async with stack.world() as world:
        auditor = await crew.somebody(world, ("auditor", "platform", None))
    *mine, _, _ = entries(stack, auditor.token, shop.demo.merchant)  # the first two are its contracts
    assert [(e["action"], e["actor"], (e["after"] or {}).get("journals")) for e in mine] == [
        ("ledger.period_closed", "operator", None), ("ledger.imported", "operator", 2),
    ]  # fmt: skip
    [kept, *_] = entries(stack, auditor.token, None, "subject=platform.job")
    assert (kept["action"], kept["account"], kept["before"], kept["after"]) == (
        "storage.kept",
        "platform",
        {"keep_days": 30},
        {"keep_days": 31},
    )
    [fee] = entries(stack, auditor.token, shop.demo.merchant, "database=control&action=merchant.fee_set")
    assert (fee["actor"], fee["after"]) == ("operator", {"fee_bps": 60})

    for env in ("test", "control"):
        kept_head = tmp_path / f"{env}.json"
        kept_head.write_text(guilder(stack, "trail", "head", "--env", env).stdout)
        assert json.loads(kept_head.read_text())["database"] == env
        proved = guilder(stack, "trail", "verify", "--env", env, "--against", str(kept_head))
        assert (proved.returncode, proved.stdout) == (0, f"Every seal of the trail of {env} holds.\n"), proved.stderr
        assert guilder(stack, "trail", "head", "--env", env, "--against", str(kept_head)).returncode == 0
    assert guilder(stack, "storage", "keep", "platform.job", "30").returncode == 0
    listed = guilder(stack, "trail", "list", "--of", shop.demo.merchant, "--action", "ledger.imported")
    assert "operator" in listed.stdout and "ledger.period_closed" not in listed.stdout
    assert guilder(stack, "trail", "verify", "--env", "nowhere").returncode == 1

    def sealed() -> bool:
        text = metrics(stack)
        return all(f'guilder_trail_unsealed_age_seconds{{env="{env}"}} 0.0' in text for env in ("test", "control"))

    await eventually(sealed)
