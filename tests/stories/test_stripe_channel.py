"""Cards through Stripe: our own API in front, Stripe's behind, and the official SDK as the shop."""

from typing import Any

import pytest
import stripe

from guilder.core import ids
from guilder.merchants import channel_accounts
from stack import Shop, Stack, eventually

pytestmark = pytest.mark.anyio


async def with_stripe(stack: Stack) -> Shop:
    """A shop that also has a contract with Stripe, and has registered its endpoint there."""
    shop = await stack.merchant()
    opened = stack.simulator("/sim/accounts", {"channel": "stripe"})
    async with stack.world() as world:
        id = await channel_accounts.add(world.envs["test"], shop.book_id, "stripe", opened["config"], funds="platform")
    url = f"{stack.api}/callbacks/test/stripe/{ids.text(id)}"
    stack.simulator(f"/sim/accounts/{opened['id']}/endpoint", {"url": url})
    return shop


def pay(shop: Shop, **changes: Any) -> stripe.PaymentIntent:
    fields: Any = {"amount": 1250, "currency": "cny", "payment_method_types": ["card"], "confirm": True, **changes}
    return shop.client().v1.payment_intents.create({**fields, "payment_method_data": {"type": "card"}})


def token(name: str) -> dict[str, Any]:
    return {"payment_method_options": {"card": {"client": "token", "token": name}}}


async def test_cards_at_once_by_hosted_fields_and_held(stack: Stack) -> None:
    shop = await with_stripe(stack)
    client = shop.client()

    paid = pay(shop, **token("pm_card_visa"))
    assert (paid.status, paid.amount_received) == ("succeeded", 1250)
    back = client.v1.refunds.create({"payment_intent": paid.id, "amount": 500})
    await eventually(lambda: client.v1.refunds.retrieve(back.id).status == "succeeded", within_s=30)

    with pytest.raises(stripe.CardError) as caught:
        pay(shop, **token("pm_card_chargeDeclinedInsufficientFunds"))
    assert caught.value.error and caught.value.error.decline_code == "insufficient_funds"

    waits = pay(shop)
    assert waits.status == "requires_action" and waits.next_action and waits.next_action.type == "card_elements"
    fields = waits.next_action["card_elements"]
    assert fields["publishable_key"].startswith("pk_test_") and fields["payment_intent"].startswith("pi_")
    stack.simulator("/sim/pay", {"code": fields["client_secret"], "action": "pay"})
    await eventually(lambda: client.v1.payment_intents.retrieve(waits.id).status == "succeeded", within_s=30)

    away = pay(shop, return_url="https://shop.example/back", **token("pm_card_authenticationRequired"))
    assert away.next_action and away.next_action.type == "redirect_to_url"
    stack.simulator("/sim/pay", {"code": away.next_action["redirect_to_url"]["url"], "action": "pay"})
    await eventually(lambda: client.v1.payment_intents.retrieve(away.id).status == "succeeded", within_s=30)

    held = pay(shop, capture_method="manual", **token("pm_card_visa"))
    assert (held.status, held.amount_capturable) == ("requires_capture", 1250)
    done = client.v1.payment_intents.capture(held.id, {"amount_to_capture": 1000})
    assert (done.status, done.amount_received) == ("succeeded", 1000)
