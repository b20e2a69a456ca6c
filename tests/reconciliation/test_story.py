"""The whole chain: a shop is paid through the API, and the evening's files say the same as the book."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date, datetime, time, timedelta

import pytest

from guilder.core import clock, ids
from guilder.merchants import channel_accounts
from guilder.reconciliation import Report, reconcile
from reconciliation.merchant import found
from stack import Shop, Stack, eventually

pytestmark = pytest.mark.anyio
WAYS = {"wechatpay": "wechat_pay", "alipay": "alipay"}


async def pay(shop: Shop, way: str, amount: int) -> str:
    """A payment through the official SDK; its id when it has succeeded."""
    client = shop.client()
    wish = {"amount": amount, "currency": "cny", "confirm": True, "payment_method_types": [way]}
    more = {"payment_method_data": {"type": way}, "return_url": "https://shop.example/thanks"}
    intent = await asyncio.to_thread(client.v1.payment_intents.create, {**wish, **more})  # type: ignore[arg-type]
    await asyncio.to_thread(shop.stack.pay, intent.next_action)

    async def succeeded() -> bool:
        return (await asyncio.to_thread(client.v1.payment_intents.retrieve, intent.id)).status == "succeeded"

    await eventually(succeeded, within_s=30)
    return intent.id


@pytest.fixture
async def day(stack: Stack) -> AsyncIterator[date]:
    """Yesterday, and it is noon at the channels: whenever this runs, nothing happens near a midnight."""
    noon = datetime.combine(clock.beijing_day(clock.now()) - timedelta(days=1), time(12), clock.BEIJING)
    stack.simulator("/sim/clock", {"now": noon.isoformat()})
    yield noon.date()
    stack.simulator("/sim/clock", {"offset_s": 0})


async def evening(shop: Shop, channel: str, day: date, **changes: object) -> Report:
    """The channel ends its day, and it is reconciled."""
    path = f"/sim/accounts/{shop.demo.simulated[channel]}/close-day"
    await asyncio.to_thread(shop.stack.simulator, path, {"day": str(day), **changes})
    async with shop.stack.world() as world:
        env = world.envs["test"]
        account = await channel_accounts.get(env, ids.read("ca", shop.demo.accounts[channel]))  # type: ignore[arg-type]
        assert account is not None
        return await reconcile(env, account, day)


@pytest.mark.parametrize("channel", WAYS)
async def test_the_evening_of_a_shop(stack: Stack, channel: str, day: date):
    shop = await stack.merchant()
    paid = [await pay(shop, WAYS[channel], amount) for amount in (1250, 300, 75)]
    client = shop.client()
    refund = await asyncio.to_thread(client.v1.refunds.create, {"payment_intent": paid[0], "amount": 625})

    async def given_back() -> bool:
        return (await asyncio.to_thread(client.v1.refunds.retrieve, refund.id)).status == "succeeded"

    await eventually(given_back, within_s=30)

    honest = await evening(shop, channel, day)
    tampered = await evening(shop, channel, day, remove=1, change=1)

    assert honest.channel == honest.ours == honest.matched
    assert (honest.matched.paid, honest.matched.refunded, honest.open) == (1625, 625, 0)
    assert (tampered.version, {reason for reason, _ in found(tampered)}) == (2, {"missing_channel", "amount"})
    assert len(tampered.breaks) == 2
