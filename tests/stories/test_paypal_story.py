"""PayPal through the whole chain: redirected, approved, collected by us, told, given back; held and captured in part."""

from typing import Any

import pytest

from guilder.core import ids
from guilder.merchants import channel_accounts
from guilder.platform.sql import Query
from stack import Shop, Stack, eventually

pytestmark = pytest.mark.anyio


async def paypal_shop(stack: Stack) -> tuple[Shop, str]:
    """A merchant that takes US dollars by PayPal, whose webhooks come to us; and its account at the simulator."""
    shop = await stack.merchant()
    opened = stack.simulator("/sim/accounts", {"channel": "paypal", "name": "Shop"})
    async with stack.world() as world:
        id = await channel_accounts.add(world.envs["test"], shop.book_id, "paypal", opened["config"], funds="platform")
    url = f"{stack.api}/callbacks/test/paypal/{ids.text(id)}"
    stack.simulator(f"/sim/accounts/{opened['id']}/endpoint", {"url": url})
    return shop, opened["id"]


async def all_heard(stack: Stack, account: str, events: list[str]) -> None:
    """Every webhook of the account's one order was verified and taken."""

    def look() -> bool:
        [trade] = stack.simulator(f"/sim/book?account={account}")["trades"]
        return [(c["event"], c["state"]) for c in trade["callbacks"]] == [(e, "acknowledged") for e in events]

    await eventually(look, within_s=30)


def confirmed(shop: Shop, **more: Any) -> Any:
    client = shop.client()
    asked = {"amount": 1999, "currency": "usd", "payment_method_types": ["paypal"], "description": "Tea", **more}
    intent = client.v1.payment_intents.create(asked)  # type: ignore[arg-type]
    done = {"payment_method_data": {"type": "paypal"}, "return_url": "https://shop.example/back"}
    return client.v1.payment_intents.confirm(intent.id, done)  # type: ignore[arg-type]


def goes_to(intent: Any) -> str:
    assert intent.status == "requires_action", intent
    return intent.next_action["redirect_to_url"]["url"]


async def test_a_payer_approves_at_paypal_and_we_collect_and_give_half_back(stack: Stack) -> None:
    shop, account = await paypal_shop(stack)
    client = shop.client()
    intent = confirmed(shop)
    stack.simulator("/sim/pay", {"code": goes_to(intent)})
    paid = await eventually(
        lambda: (i := client.v1.payment_intents.retrieve(intent.id)).status == "succeeded" and i, within_s=60
    )
    assert paid.amount_received == 1999
    refund = client.v1.refunds.create({"payment_intent": intent.id, "amount": 999})
    await eventually(lambda: client.v1.refunds.retrieve(refund.id).status == "succeeded", within_s=30)
    events = ["CHECKOUT.ORDER.APPROVED", "PAYMENT.CAPTURE.COMPLETED", "PAYMENT.CAPTURE.REFUNDED"]
    await all_heard(stack, account, events)


async def test_what_a_payer_approved_is_held_until_it_is_captured(stack: Stack) -> None:
    shop, account = await paypal_shop(stack)
    client = shop.client()
    intent = confirmed(shop, capture_method="manual")
    stack.simulator("/sim/pay", {"code": goes_to(intent)})
    await eventually(lambda: client.v1.payment_intents.retrieve(intent.id).status == "requires_capture", within_s=60)
    client.v1.payment_intents.capture(intent.id, {"amount_to_capture": 1500})
    paid = await eventually(
        lambda: (i := client.v1.payment_intents.retrieve(intent.id)).status == "succeeded" and i, within_s=60
    )
    assert paid.amount_received == 1500
    events = ["CHECKOUT.ORDER.APPROVED", "PAYMENT.AUTHORIZATION.CREATED", "PAYMENT.CAPTURE.COMPLETED"]
    await all_heard(stack, account, events)


CASES = Query("cases", "SELECT kind FROM platform.case WHERE book_id = ANY ($1::uuid[])")


@pytest.mark.parametrize(
    ("whose", "app", "doubted"),
    [("the same", "the same", False), ("another", "the same", False), ("the same", "another", True)],
)
async def test_what_another_account_of_the_application_was_asked_for_is_acknowledged_and_no_case(
    stack: Stack, whose: str, app: str, doubted: bool
) -> None:
    shop = await stack.merchant()
    hears = shop if whose == "the same" else await stack.merchant()
    opened = stack.simulator("/sim/accounts", {"channel": "paypal", "name": "Shop"})
    config = opened["config"] | {"currency": "EUR"} | ({"client_id": "another-app"} if app == "another" else {})
    async with stack.world() as world:
        env = world.envs["test"]
        asked = await channel_accounts.add(env, shop.book_id, "paypal", opened["config"])
        other = await channel_accounts.add(env, hears.book_id, "paypal", config)
    url = f"{stack.api}/callbacks/test/paypal/{ids.text(other)}"  # PayPal tells only the one that was not asked
    stack.simulator(f"/sim/accounts/{opened['id']}/endpoint", {"url": url})

    client = shop.client()
    intent = confirmed(shop)
    stack.simulator("/sim/pay", {"code": goes_to(intent)})
    await eventually(lambda: client.v1.payment_intents.retrieve(intent.id).status == "succeeded", within_s=60)
    refund = client.v1.refunds.create({"payment_intent": intent.id})
    await eventually(lambda: client.v1.refunds.retrieve(refund.id).status == "succeeded", within_s=60)
    events = ["CHECKOUT.ORDER.APPROVED", "PAYMENT.CAPTURE.COMPLETED", "PAYMENT.CAPTURE.REFUNDED"]
    await all_heard(stack, opened["id"], events)
    async with stack.world() as world:
        books = [shop.book_id, hears.book_id, asked, other]
        found = {r["kind"] for r in await world.envs["test"].db.rows(CASES, books)}
    assert found == ({"account_mismatch"} if doubted else set())
