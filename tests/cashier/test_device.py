"""Ways to pay by device: pure."""

import pytest

from guilder.cashier.device import Device, Offer, offers, read

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
        (MAC, Device.DESK),
        ("curl/8.5.0", Device.DESK),
        ("", Device.DESK),
    ],
)  # fmt: skip
def test_a_device_is_read_from_its_user_agent(agent: str, device: Device) -> None:
    assert read(agent) is device


@pytest.mark.parametrize(
    ("device", "types", "options", "offered"),
    [
        (Device.DESK, BOTH, {}, [Offer("wechat_pay", True), Offer("alipay", False)]),
        (Device.DESK, BOTH, CODES, [Offer("wechat_pay", True), Offer("alipay", True)]),
        (Device.DESK, BOTH[::-1], {}, [Offer("alipay", False), Offer("wechat_pay", True)]),
        (Device.PHONE, BOTH, CODES, [Offer("wechat_pay", True), Offer("alipay", False)]),
        (Device.WECHAT, BOTH, {}, [Offer("wechat_pay", True)]),
        (Device.ALIPAY, BOTH, {}, [Offer("alipay", False)]),
        (Device.WECHAT, ("alipay",), {}, []),
        (Device.ALIPAY, ("wechat_pay",), {}, []),
    ],
)
def test_each_device_is_offered_what_it_can_use(
    device: Device, types: tuple[str, ...], options: dict[str, object], offered: list[Offer]
) -> None:
    assert offers(device, types, options) == offered


def test_an_offer_tells_payments_which_way_it_means() -> None:
    assert Offer("alipay", True).options == {"alipay": {"client": "qr"}}
    assert Offer("alipay", False).options == {"alipay": {"client": "web"}}
