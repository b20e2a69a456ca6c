"""Ways to pay by device: pure."""

from typing import Any

import pytest

from guilder.cashier.device import Device, offers, read
from guilder.channels.registry import CHANNELS
from guilder.core import ids
from guilder.merchants.channel_accounts import ChannelAccount

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
ANDROID = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
BOTH = ("wechat_pay", "alipay")
CODES = {"alipay": {"client": "qr"}}


@pytest.mark.parametrize(
    ("agent", "device"),
    [
        (f"{IPHONE} Version/18.0 Mobile/15E148 Safari/604.1", Device.PHONE),
        (ANDROID, Device.PHONE),
        ("Mozilla/5.0 (Phone; OpenHarmony 5.0; HarmonyOS 5.0) ArkWeb/4.1", Device.PHONE),
        (f"{IPHONE} Mobile/15E148 MicroMessenger/8.0.50(0x18003230) NetType/WIFI Language/zh_CN", Device.WECHAT),
        (f"{ANDROID} MicroMessenger/8.0.50 wxwork/4.1", Device.WECHAT),
        (f"{MAC} MicroMessenger/6.8.0(0x16080000) MacWechat/3.8.6", Device.DESK),
        ("Mozilla/5.0 (Windows NT 10.0; Win64) MicroMessenger/7.0.20 WindowsWechat(0x63090c11)", Device.DESK),
        (f"{IPHONE} Mobile/15E148 NebulaSDK/1.8.100112 Nebula AlipayDefined AlipayClient/10.6.20 Language/zh-Hans", Device.ALIPAY),
        (f"{ANDROID} (com.unionpay.mobilepay) (cup) UnionPay/1.0 CloudPay", Device.UNIONPAY),
        (MAC, Device.DESK),
        ("curl/8.5.0", Device.DESK),
        ("", Device.DESK),
    ],
)  # fmt: skip
def test_a_device_is_read_from_its_user_agent(agent: str, device: Device) -> None:
    assert read(agent) is device


def account(code: str) -> ChannelAccount:
    """A contract with a channel, as far as offers look at it."""

    class Declared:
        info = CHANNELS[code].info

    channel: Any = Declared()
    return ChannelAccount(ids.PLATFORM, ids.PLATFORM, code, "platform", channel, "", "")


ACCOUNTS = [account("wechatpay"), account("alipay")]


@pytest.mark.parametrize(
    ("device", "types", "options", "offered"),
    [
        (Device.DESK, BOTH, {}, ["native", "page"]),
        (Device.DESK, BOTH, CODES, ["native", "precreate"]),
        (Device.DESK, BOTH[::-1], {}, ["page", "native"]),
        (Device.PHONE, BOTH, CODES, ["h5", "wap"]),
        (Device.PHONE, BOTH, {"wechat_pay": {"client": "web"}}, ["native", "wap"]),
        (Device.WECHAT, BOTH, {}, ["jsapi"]),
        (Device.WECHAT, BOTH, {"wechat_pay": {"client": "web"}}, ["jsapi"]),
        (Device.ALIPAY, BOTH, {}, ["jsapi"]),
        (Device.UNIONPAY, BOTH, {}, []),
        (Device.WECHAT, ("alipay",), {}, []),
        (Device.ALIPAY, ("wechat_pay",), {}, []),
    ],
)
def test_each_device_is_offered_what_it_can_use(
    device: Device, types: tuple[str, ...], options: dict[str, Any], offered: list[str]
) -> None:
    assert [o.way for o in offers(device, types, options, ACCOUNTS, "CNY", 100)] == offered


@pytest.mark.parametrize("device", [Device.WECHAT, Device.ALIPAY, Device.UNIONPAY])
def test_inside_an_app_nobody_is_shown_a_code(device: Device) -> None:
    for options in ({}, CODES, {"wechat_pay": {"client": "web"}}):
        assert not any(o.scans for o in offers(device, (*BOTH, "unionpay"), options, ACCOUNTS, "CNY", 100))


def test_a_currency_that_no_contract_takes_is_not_offered() -> None:
    assert offers(Device.DESK, BOTH, {}, ACCOUNTS, "USD", 100) == []


def test_an_offer_tells_payments_which_way_it_means_and_who_has_to_be_known() -> None:
    [sheet] = offers(Device.WECHAT, BOTH, {}, ACCOUNTS, "CNY", 100)
    assert (sheet.identity, sheet.account_id) == ("openid", ids.PLATFORM)
    assert sheet.options({"openid": "o1", "payer_ip": "::1"}) == {"wechat_pay": {"client": "jsapi", "openid": "o1"}}
    [page] = offers(Device.PHONE, ("wechat_pay",), {}, ACCOUNTS, "CNY", 100)
    assert (page.identity, page.account_id) == (None, None)
    assert page.options({"payer_ip": "::1"}) == {"wechat_pay": {"client": "wap", "payer_ip": "::1"}}
