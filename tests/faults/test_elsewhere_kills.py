"""Elsewhere, and `kill -9` between: one key, one answer, one order at the channels, whatever died in the middle."""

import asyncio
import json
import socket
import sqlite3
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from guilder.core import ids
from guilder.merchants import channel_accounts
from stack import Shop, Stack, eventually, running

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
PLACES = ("pay.elsewhere", "pay.elsewhere_in_tx", "pay.elsewhere_committed")


def nowhere() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


async def with_a_dead_account(stack: Stack) -> tuple[Shop, str, str]:
    """A shop whose first WeChat account is reached by nobody: the shop, that account, the one that is."""
    shop = await stack.merchant()
    opened = stack.simulator("/sim/accounts", {"channel": "wechatpay", "name": "Dead", "trust": "public_key"})
    async with stack.world() as world:
        env = world.envs["test"]
        config = {**opened["config"], "base_url": nowhere()}
        dead = ids.show("ca", await channel_accounts.add(env, shop.book_id, "wechatpay", config))
        from guilder.routing import rulesets

        content = rulesets.read({"rules": [{"name": "dead first", "then": [{"to": dead}]}]})

        async def work(tx: Any) -> None:
            row = await rulesets.draft(tx, shop.book_id, content)
            await rulesets.activate(tx, shop.book_id, row["id"])

        await env.db.transact(work)
        await channel_accounts.tell(env)
    return shop, dead, shop.demo.accounts["wechatpay"]


async def confirm(shop: Shop, key: str) -> tuple[int, Any]:
    """One POST; 0 where there was no answer."""
    body = {
        "amount": 700,
        "currency": "cny",
        "confirm": True,
        "payment_method": "pm_sim_wechat_pay",
        "payment_method_types": ["wechat_pay"],
    }
    headers = {"Authorization": f"Bearer {shop.key}", "Content-Type": "application/json", "Idempotency-Key": key}
    request = urllib.request.Request(f"{shop.stack.api}/v1/payment_intents", json.dumps(body).encode(), headers)

    def ask() -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(request, timeout=40) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError:
            return 0, None

    return await asyncio.to_thread(ask)


def orders(stack: Stack, shop: Shop) -> list[str]:
    """What the simulated channels have of the shop."""
    with sqlite3.connect(f"file:{stack.it.state}/simulators/book.sqlite3?mode=ro", uri=True) as book:
        accounts = tuple(shop.demo.simulated.values())
        return [r[0] for r in book.execute("SELECT out_trade_no FROM trade WHERE account IN (?, ?)", accounts)]


@pytest.mark.parametrize("place", ["", *PLACES])
async def test_one_key_one_answer_one_order(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "failpoints"
    folder.mkdir()
    with running(tmp_path / "state", GUILDER_FAILPOINTS=str(folder), GUILDER_API_WORKERS="2") as stack:
        shop, dead, alive = await with_a_dead_account(stack)
        await asyncio.sleep(1.5)
        if place:
            (folder / place).write_text("kill")

        status, answer = await confirm(shop, "one")
        assert (status == 0) == bool(place), (status, answer)

        async def answered() -> Any:
            nonlocal status, answer
            status, answer = await confirm(shop, "one")
            return 200 <= status < 300

        await eventually(answered, within_s=60, every_s=0.5)
        again = await confirm(shop, "one")
        assert again == (status, answer), "one key, one answer"
        intents = shop.client().v1.payment_intents.list().data
        assert len(intents) == 1
        tries = await look(stack, shop)
        if place in (
            "pay.elsewhere",
            "pay.elsewhere_in_tx",
        ):  # whoever took over cannot know that nothing was sent: it stays unknown
            assert [(t["account"], t["state"]) for t in tries] == [(dead, "unknown")]
            assert (intents[0].status, orders(stack, shop)) == ("processing", [])
        else:
            assert [(t["account"], t["state"]) for t in tries] == [(dead, "failed"), (alive, "pending")]
            assert intents[0].status == "requires_action" and len(orders(stack, shop)) == 1
            stack.pay(intents[0].next_action)
            await eventually(lambda: shop.client().v1.payment_intents.retrieve(intents[0].id).status == "succeeded")


async def look(stack: Stack, shop: Shop) -> list[dict[str, str]]:
    from guilder.platform.sql import Query

    text = "SELECT channel_account_id, state FROM payments.attempt WHERE book_id = $1 ORDER BY id"
    async with stack.world() as world:
        rows = await world.envs["test"].db.rows(Query("tries", text), shop.book_id)
    return [{"account": ids.show("ca", r["channel_account_id"]), "state": r["state"]} for r in rows]
