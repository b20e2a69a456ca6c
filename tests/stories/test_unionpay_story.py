"""UnionPay through the whole chain: what the core keeps of a payment (its time, its memo) is what the channel must be told later."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import stripe

from guilder.merchants import channel_accounts
from stack import Stack, eventually

pytestmark = pytest.mark.anyio


class Till:
    """A shop with a UnionPay contract and nothing else."""

    def __init__(self, stack: Stack, client: stripe.StripeClient, account: str) -> None:
        self.stack, self.client, self.account = stack, client, account

    def confirm(self, amount: int, **options: str) -> Any:
        """A payment, asked for by these options."""
        return self.client.v1.payment_intents.create(
            {
                "amount": amount,
                "currency": "cny",
                "confirm": True,
                "payment_method_types": ["unionpay"],  # type: ignore[list-item]
                "payment_method_data": {"type": "unionpay"},  # type: ignore[typeddict-item]
                "payment_method_options": {"unionpay": options},  # type: ignore[typeddict-unknown-key]
                "return_url": "http://127.0.0.1/back",
            }
        )

    async def until(self, intent: Any, status: str) -> Any:
        return await eventually(
            lambda: (i := self.client.v1.payment_intents.retrieve(intent.id)).status == status and i, within_s=30
        )

    def trades(self) -> list[dict[str, Any]]:
        """What UnionPay has."""
        return self.stack.simulator(f"/sim/book?account={self.account}")["trades"]


@pytest.fixture
async def till(stack: Stack) -> AsyncIterator[Till]:
    shop = await stack.merchant()
    opened = stack.simulator("/sim/accounts", {"channel": "unionpay"})
    async with stack.world() as world:
        await channel_accounts.add(world.envs["test"], shop.book_id, "unionpay", opened["config"], funds="platform")
    yield Till(stack, shop.client(), opened["id"])


async def test_a_qr_code_is_paid_and_half_of_it_given_back(stack: Stack, till: Till) -> None:
    intent = till.confirm(1250, client="qr")
    assert (intent.status, intent.next_action.type) == ("requires_action", "unionpay_display_qr_code")
    stack.pay(intent.next_action)
    paid = await till.until(intent, "succeeded")
    assert paid.amount_received == 1250

    refund = till.client.v1.refunds.create({"payment_intent": intent.id, "amount": 625})
    await eventually(lambda: till.client.v1.refunds.retrieve(refund.id).status == "succeeded", within_s=30)
    [trade] = till.trades()
    assert [(r["amount"], r["state"]) for r in trade["refunds"]] == [(625, "SUCCESS")]


async def test_a_payer_is_scanned_at_the_till(stack: Stack, till: Till) -> None:
    intent = till.confirm(800, client="barcode", auth_code="6212345678901234567", terminal_id="T0000001")
    assert intent.status in ("processing", "requires_action")
    [trade] = till.trades()
    assert trade["way"] == "barcode"
    stack.simulator("/sim/pay", {"account": till.account, "out_trade_no": trade["out_trade_no"]})
    assert (await till.until(intent, "succeeded")).amount_received == 800


async def test_a_payer_who_was_scanned_and_has_no_money(stack: Stack, till: Till) -> None:
    intent = till.confirm(800, client="barcode", auth_code="6212345678901234567")
    [trade] = till.trades()
    stack.simulator("/sim/pay", {"account": till.account, "out_trade_no": trade["out_trade_no"], "action": "decline"})
    failed = await till.until(intent, "requires_payment_method")
    assert failed.last_payment_error.decline_code == "insufficient_funds"


async def test_the_app_and_a_page(stack: Stack, till: Till) -> None:
    app = till.confirm(300, client="app")
    assert app.next_action.type == "unionpay_app" and app.next_action["unionpay_app"]["mode"] == "01"
    stack.simulator("/sim/pay", {"code": app.next_action["unionpay_app"]["tn"]})
    await till.until(app, "succeeded")

    page = till.confirm(300, client="web")
    assert page.next_action.type == "redirect_to_url" and "form" not in page.next_action
