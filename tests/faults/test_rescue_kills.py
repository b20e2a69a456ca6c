"""A refund on its way to a bank account, and `kill -9` around the channel: it arrives there once, whatever died."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import urllib.error
from pathlib import Path
from typing import Any

import pytest

import crew
from stack import Shop, Stack, eventually, running

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
TO = {"type": "payer", "bank": "ICBC_DEBIT", "account": "6222020200001111", "name": "张三"}


async def failed_refund(stack: Stack, shop: Shop) -> Any:
    """4.00 of a payment of 9.00, which the payer's account did not take."""
    v1 = shop.client().v1
    dials = {"refund_fail": {"probability": 1.0}}
    stack.simulator("/sim/dials", {"account": shop.demo.simulated["wechatpay"], "dials": dials})
    pi = v1.payment_intents.create({
        "amount": 900, "currency": "cny", "payment_method_types": ["wechat_pay"], "confirm": True,
        "payment_method_data": {"type": "wechat_pay"},
    })  # fmt: skip
    stack.pay(pi.next_action)
    await eventually(lambda: v1.payment_intents.retrieve(pi.id).status == "succeeded", within_s=20)
    refund = v1.refunds.create({"payment_intent": pi.id, "amount": 400})
    await eventually(lambda: v1.refunds.retrieve(refund.id).status == "failed", within_s=30)
    return refund


def sent(stack: Stack) -> int:
    """How often the simulated channel sent a refund elsewhere."""
    with sqlite3.connect(f"file:{stack.it.state}/simulators/book.sqlite3?mode=ro", uri=True) as book:
        return book.execute("SELECT count(*) FROM entry WHERE kind = 'refund_rescued'").fetchone()[0]


@pytest.mark.parametrize(("place", "asked"), [("rescue.before_channel", 0), ("rescue.after_channel", 1)])
async def test_it_arrives_once_whatever_died(tmp_path: Path, place: str, asked: int) -> None:
    folder = tmp_path / "failpoints"
    folder.mkdir()
    with running(tmp_path / "state", GUILDER_FAILPOINTS=str(folder)) as stack:
        shop = await stack.merchant()
        async with stack.world() as world:
            finance = await crew.somebody(world, ("finance", "platform", None))
        v1, refund = shop.client().v1, await failed_refund(stack, shop)

        def rescue() -> tuple[int, Any]:
            path = f"refunds/{refund.id}/rescue"
            return crew.call(stack.api, finance.token, "POST", path, TO, account=shop.demo.merchant)

        (folder / place).write_text("kill")
        with pytest.raises((urllib.error.URLError, OSError)):
            await asyncio.to_thread(rescue)
        assert (folder / f"{place}.fired").exists() and sent(stack) == asked

        ends = "succeeded" if asked else "failed"  # nothing is assumed: the sweep asks, once the lease is over
        await eventually(lambda: v1.refunds.retrieve(refund.id).status == ends, within_s=90)
        if not asked:
            assert (await asyncio.to_thread(rescue))[0] == 200, "it may be sent again"
            await eventually(lambda: v1.refunds.retrieve(refund.id).status == "succeeded", within_s=30)
        assert sent(stack) == 1
        accounts = crew.call(stack.api, finance.token, "GET", "ledger/accounts", account=shop.demo.merchant)[1]["data"]
        money = {a["code"].partition(":")[0]: a["balance"] for a in accounts if a["balance"]}
        assert money == {"receivable": 500, "payable": 500}
        ours = {k: v for k, v in os.environ.items() if not k.startswith("GUILDER_")} | stack.it.environ
        said = subprocess.run(
            [sys.executable, "-m", "guilder.app.cli", "audit"], env=ours, capture_output=True, text=True, check=False, timeout=60
        )  # fmt: skip
        assert shop.demo.merchant not in said.stdout, said.stdout
