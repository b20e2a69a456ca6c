"""Which ways to pay suit the device in hand: decided by its user agent, as channels themselves do.

inside WeChat    WeChat Pay only: it opens no other channel's page
inside Alipay    Alipay only
a phone          WeChat Pay by a code to scan or to save, Alipay by its own page
a desk           WeChat Pay by a code to scan, Alipay by its page, or by a code where the merchant asks for it
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_PHONE = re.compile(r"Mobi|Android|iPhone|iPad|HarmonyOS")


class Device(StrEnum):
    """Where the payer looks at the page."""

    WECHAT = "wechat"
    ALIPAY = "alipay"
    PHONE = "phone"
    DESK = "desk"

    @property
    def in_hand(self) -> bool:
        """Whether a code on its screen cannot be scanned by the same device."""
        return self is not Device.DESK


@dataclass(frozen=True, slots=True)
class Offer:
    """A way to pay as the page offers it.  `scans`: by a code; else at the channel's own page."""

    type: str
    scans: bool

    @property
    def options(self) -> dict[str, Any]:
        """`payment_method_options` that make payments choose this way."""
        return {self.type: {"client": "qr" if self.scans and self.type == "alipay" else "web"}}


def read(user_agent: str) -> Device:
    """The device behind a User-Agent."""
    if "MicroMessenger" in user_agent:
        return Device.DESK if "WindowsWechat" in user_agent or "MacWechat" in user_agent else Device.WECHAT
    if "AlipayClient" in user_agent:
        return Device.ALIPAY
    return Device.PHONE if _PHONE.search(user_agent) else Device.DESK


def offers(device: Device, types: Sequence[str], options: dict[str, Any]) -> list[Offer]:
    """The ways to offer, in the merchant's order.  None: what the merchant takes cannot be paid inside this app."""
    inside = {Device.WECHAT: "wechat_pay", Device.ALIPAY: "alipay"}.get(device)
    fitting = [t for t in types if inside is None or t == inside]
    return [Offer(t, _scans(t, device, options)) for t in fitting]


def _scans(type: str, device: Device, options: dict[str, Any]) -> bool:
    if type == "wechat_pay":
        return True
    return not device.in_hand and (options.get(type) or {}).get("client") == "qr"
