"""Which ways to pay suit the device in hand: decided by its user agent, as channels themselves do, and by what channels declare of their ways.

inside WeChat      WeChat Pay only, and only by WeChat's own sheet: it opens no other channel's page, and takes no code off its own screen
inside Alipay      Alipay only, by its own sheet or page
inside UnionPay    UnionPay only, by its page
a phone            a page that opens the wallet, else a code to save
a desk             the channel's page or a code to scan, as the merchant asks
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from guilder.channels.info import Operation, Shows, Way
from guilder.channels.model import Scripted
from guilder.merchants.channel_accounts import ChannelAccount

_PHONE = re.compile(r"Mobi|Android|iPhone|iPad|HarmonyOS")
KNOWN = frozenset({"payer_ip"})  # what a way may need that the page knows by itself


class Device(StrEnum):
    """Where the payer looks at the page."""

    WECHAT = "wechat"
    ALIPAY = "alipay"
    UNIONPAY = "unionpay"
    PHONE = "phone"
    DESK = "desk"

    @property
    def in_hand(self) -> bool:
        """Whether a code on its screen cannot be scanned by the same device."""
        return self is not Device.DESK

    @property
    def inside(self) -> str | None:
        """The only type that is paid inside this app; None: it is a browser."""
        return _INSIDE.get(self)


_INSIDE = {Device.WECHAT: "wechat_pay", Device.ALIPAY: "alipay", Device.UNIONPAY: "unionpay"}
_CLIENTS = {
    Device.WECHAT: ("jsapi",),
    Device.ALIPAY: ("jsapi", "wap", "web"),
    Device.UNIONPAY: ("jsapi", "wap", "web"),
    Device.PHONE: ("wap", "web", "qr"),
    Device.DESK: ("web", "qr", "wap"),
}


@dataclass(frozen=True, slots=True)
class Offer:
    """A way to pay as the page offers it.  `account_id`: whose application has to know the payer; None: any account will do."""

    type: str
    client: str
    way: str
    shows: Shows
    needs: tuple[str, ...] = ()
    account_id: UUID | None = None

    @property
    def scans(self) -> bool:
        """Whether it is paid by a code."""
        return self.shows == "qr"

    @property
    def identity(self) -> str | None:
        """The option that says who pays, which his wallet tells: 'openid', 'buyer_id'."""
        return next((name for name in self.needs if name not in KNOWN), None)

    def options(self, known: Mapping[str, str]) -> dict[str, Any]:
        """`payment_method_options` that make payments choose this way."""
        return {self.type: {"client": self.client, **{name: known[name] for name in self.needs if name in known}}}


def read(user_agent: str) -> Device:
    """The device behind a User-Agent."""
    if "MicroMessenger" in user_agent:
        return Device.DESK if "WindowsWechat" in user_agent or "MacWechat" in user_agent else Device.WECHAT
    if "AlipayClient" in user_agent:
        return Device.ALIPAY
    if "UnionPay/" in user_agent:
        return Device.UNIONPAY
    return Device.PHONE if _PHONE.search(user_agent) else Device.DESK


def offers(
    device: Device, types: Sequence[str], options: Mapping[str, Any], accounts: Sequence[ChannelAccount], currency: str, amount: int,
    *, hold: bool = False,
) -> list[Offer]:  # fmt: skip
    """The ways to offer, in the merchant's order.  None: what the merchant takes cannot be paid inside this app."""
    found = []
    own = [a for a in accounts if currency in a.info.currencies]
    for type in types:
        if device.inside in (None, type):
            said = (options.get(type) or {}).get("client")
            best = _best(device, type, said, own, amount, hold)
            found += [best] if best is not None else []
    return found


def _best(
    device: Device, type: str, said: str | None, accounts: Sequence[ChannelAccount], amount: int, hold: bool
) -> Offer | None:
    """The way of a type that suits the device most.  What the merchant said counts where nothing is in the way of it."""
    clients = _CLIENTS[device]
    if said is not None and said in clients and (device is Device.DESK or said == "web"):
        clients = (said, *clients)
    for client in clients:
        for account in accounts:
            for way in account.info.ways:
                if (way.type, way.client) == (type, client) and _fits(device, account, way, amount, hold):
                    named = set(way.needs) - KNOWN
                    return Offer(type, client, way.name, way.shows, way.needs, account.id if named else None)
    return None


def _fits(device: Device, account: ChannelAccount, way: Way, amount: int, hold: bool) -> bool:
    if way.shows == "nothing" or amount < way.least or (way.most is not None and amount > way.most):
        return False
    if hold and not account.info.can(Operation.CAPTURE, way.name):
        return False
    if way.shows == "qr" and device.inside is not None:
        return False
    if way.shows == "sdk":
        sheet, fields = way.client == "jsapi", way.client == "web" and isinstance(account.channel, Scripted)
        if not (sheet if device.inside is not None else fields):
            return False  # for an app of the merchant's own
    named = set(way.needs) - KNOWN
    return not named or (len(named) == 1 and account.info.can(Operation.IDENTIFY))
