"""`GET /v1/channels`: what a merchant's own contracts can do, and nothing of what others can."""

import asyncio
import urllib.error

import pytest

import crew
from guilder.channels.registry import CHANNELS
from stack import Stack, eventually

pytestmark = pytest.mark.anyio


async def test_a_merchant_is_told_what_its_contracts_can_do(stack: Stack) -> None:
    shop = await stack.merchant("Two channels", channels=("wechatpay", "stripe"))
    told = await asyncio.to_thread(shop.get, "channels")

    assert (told["object"], told["url"], told["has_more"]) == ("list", "/v1/channels", False)
    wechat, stripe = told["data"]
    assert (wechat["object"], wechat["code"], wechat["livemode"]) == ("channel", "wechatpay", False)
    assert wechat["names"] == {"en": "WeChat Pay", "zh": "微信支付"} and wechat["currencies"] == ["cny"]
    card = next(w for w in stripe["ways"] if w["client"] == "token")
    assert card["names"] == {"en": "Card", "zh": "银行卡"} and (card["type"], card["needs"]) == ("card", ["token"])
    assert {"capture", "refund"} <= set(stripe["operations"]) and "capture" not in wechat["operations"]
    for one in told["data"]:
        info = CHANNELS[one["code"]].info
        assert [(w["name"], w["type"], w["client"], w["shows"], w["least"], w["most"]) for w in one["ways"]] == [
            (w.name, w.type, w.client, w.shows, w.least, w.most) for w in info.ways
        ]


async def test_a_contract_that_is_disabled_can_do_nothing_and_no_secret_is_shown(stack: Stack) -> None:
    shop = await stack.merchant("One is off", channels=("wechatpay", "alipay"))
    told = await asyncio.to_thread(shop.get, "channels")
    assert "mchid" not in str(told) and "ca_" not in str(told)
    async with stack.world() as world:
        boss = await crew.somebody(world, ("operator", "platform", None))
    path = f"channel_accounts/{shop.demo.accounts['alipay']}/disable"
    crew.call(stack.api, boss.token, "POST", path, account=shop.demo.merchant)
    await eventually(lambda: [c["code"] for c in shop.get("channels")["data"]] == ["wechatpay"])


async def test_a_publishable_key_is_refused(stack: Stack) -> None:
    shop = await stack.merchant("Public")
    shop.demo.secret_key = shop.demo.publishable_key
    with pytest.raises(urllib.error.HTTPError) as refused:
        shop.get("channels")
    with refused.value as answer:
        assert answer.code == 403
