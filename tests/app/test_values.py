"""docs/guide/testing.md, executed: each token of the page does what the page says, each magic amount is the dial beside it."""

import re
from pathlib import Path
from typing import Any

import pytest

from guilder.simulators.dials import number_to_dial
from stack import Shop, Stack, eventually

pytestmark = pytest.mark.anyio
PAGE = (Path(__file__).parents[2] / "docs" / "guide" / "testing.md").read_text("utf-8")
ENDS = {
    "pm_sim_wechat_pay": "requires_action",
    "pm_sim_wechat_pay__autopay": "succeeded",
    "pm_sim_wechat_pay__autopay__decline": "requires_payment_method",
    "pm_sim_wechat_pay__autopay__callback_lost": "succeeded",
    "pm_sim_wechat_pay__autopay__refund_fail": "succeeded",
}


def paid(shop: Shop, token: str) -> Any:
    return shop.client().v1.payment_intents.create(
        {"amount": 1250, "currency": "cny", "confirm": True, "payment_method": token}
    )


def test_these_are_the_tokens_of_the_page() -> None:
    assert set(re.findall(r"^\| `(pm_sim_\w+)`", PAGE, re.MULTILINE)) == ENDS.keys()


@pytest.mark.parametrize("token", ENDS)
async def test_a_token_does_what_the_page_says(stack: Stack, token: str) -> None:
    shop = await stack.merchant()
    client, intent = shop.client(), paid(shop, token)
    await eventually(lambda: client.v1.payment_intents.retrieve(intent.id).status == ENDS[token], within_s=30)
    if token.endswith("refund_fail"):
        back = client.v1.refunds.create({"payment_intent": intent.id, "amount": 500})
        await eventually(lambda: client.v1.refunds.retrieve(back.id).status == "failed", within_s=30)


def test_a_magic_amount_is_the_dial_beside_it() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| `(7777\d{4})` \|", PAGE, re.MULTILINE)
    assert len(rows) > 15
    for name, operation, amount in rows:
        dial = number_to_dial(int(amount))
        assert dial is not None and (dial.op, dial.name) == (operation, name)
