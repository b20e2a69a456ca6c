"""What the platform keeps, through HTTP and the official SDK: set by hand, taken at once, in the platform's book within seconds."""

import asyncio
import os
import subprocess
import sys

import pytest

from book import shown
from guilder import ledger
from guilder.core import ids
from guilder.ledger.history import trial_balance
from guilder.platform.sql import Query
from stack import Stack, eventually

pytestmark = pytest.mark.anyio
PAY = {
    "currency": "cny",
    "payment_method_types": ["wechat_pay"],
    "confirm": True,
    "payment_method_data": {"type": "wechat_pay"},
}
NOTED = Query("noted", "SELECT before, after FROM platform.trail WHERE subject = $1 AND action = 'merchant.fee_set'")
OWED = Query("owed", "SELECT coalesce(sum(balance), 0)::bigint FROM ledger.account WHERE book_id = $1 AND code LIKE $2")


def guilder(stack: Stack, *args: str) -> subprocess.CompletedProcess[str]:
    """The command line."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("GUILDER_")} | stack.it.environ
    return subprocess.run(
        [sys.executable, "-m", "guilder.app.cli", *args], env=ours, capture_output=True, text=True, check=False, timeout=60
    )  # fmt: skip


async def test_a_fee_is_in_the_platforms_book_within_seconds_and_stays_there(stack: Stack) -> None:
    shop = await stack.merchant("Tea House")
    v1 = shop.client().v1
    free = v1.payment_intents.create({**PAY, "amount": 1000})
    stack.pay(free.next_action)
    await eventually(lambda: v1.balance.retrieve().available[0].amount == 1000)

    said = guilder(stack, "merchants", "fee", shop.demo.merchant, "60")
    assert (said.returncode, "keeps 0.60 %" in said.stdout) == (0, True), said.stderr
    [line] = [row for row in guilder(stack, "merchants", "list").stdout.splitlines() if shop.demo.merchant in row]
    assert "0.60 %" in line
    await asyncio.sleep(1)

    async with stack.world() as world:
        db = world.envs["test"].db
        mine, theirs = (
            (shop.book_id, f"clearing:{ids.text(ids.PLATFORM)}"),
            (ids.PLATFORM, f"clearing:{ids.text(shop.book_id)}"),
        )
        paid = v1.payment_intents.create({**PAY, "amount": 1250})
        stack.pay(paid.next_action)
        await eventually(lambda: v1.payment_intents.retrieve(paid.id).status == "succeeded")
        assert v1.balance.retrieve().available[0].amount == 1000 + 1242, "net, at once"

        async def in_its_book() -> bool:
            return await db.value(OWED, *theirs) == -8

        await eventually(in_its_book, within_s=5)
        assert await db.value(OWED, *mine) == 8
        [charge] = v1.charges.list({"payment_intent": paid.id}).data
        [moved] = v1.balance_transactions.list({"source": charge.id}).data
        assert (moved.amount, moved.fee, moved.net) == (1250, 8, 1242)
        assert [(f.type, f.amount, f.currency, f.description) for f in moved.fee_details] == [
            ("application_fee", 8, "cny", "Fee of the platform")
        ]

        back = v1.refunds.create({"payment_intent": paid.id})
        await eventually(lambda: v1.refunds.retrieve(back.id).status == "succeeded", within_s=30)
        assert v1.balance.retrieve().available[0].amount == 1000 - 8, "the fee is not given back"
        earned = (await shown(db, ids.PLATFORM))["fees"]
        assert earned >= 8
        rows = await trial_balance(db)
        assert [int(r["balance"]) for r in rows if r["code"] == "clearing"] == [0], "over all books nobody owes anybody"
        assert sum(int(r["balance"]) for r in rows if r["asset"] == "CNY") == 0
        assert await db.transact(ledger.sweep) == []
        assert [tuple(r) for r in await world.control.rows(NOTED, shop.demo.merchant)] == [
            ('{"fee_bps":0}', '{"fee_bps":60}')
        ]


async def test_a_fee_of_more_than_everything_is_refused(stack: Stack) -> None:
    shop = await stack.merchant()

    refused = guilder(stack, "merchants", "fee", shop.demo.merchant, "10001")
    nobody = guilder(stack, "merchants", "fee", ids.show("acct", ids.new_id()), "60")

    assert (refused.returncode, refused.stderr) == (
        1,
        "guilder: A fee is 0 to 10000 hundredths of a percent of a charge, not 10001.\n",
    )
    assert (nobody.returncode, nobody.stderr) == (1, "guilder: No such merchant.\n")
