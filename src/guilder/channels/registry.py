"""Every channel by its code.  A new one is a folder here and a line below.

channel = make("wechatpay", {"mchid": "1900000001", ...})
CHANNELS["alipay"].fields           # what to ask an operator for, and what of it is secret
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from guilder.channels import alipay, wechatpay
from guilder.channels.config import ChannelConfig
from guilder.channels.model import Channel, ConfigField, Info
from guilder.core.clock import now

C = TypeVar("C", bound=ChannelConfig)


@dataclass(frozen=True, slots=True)
class Kind(Generic[C]):
    """A channel that we can speak to: what it can do, what it must know, and how an adapter of it is made."""

    info: Info
    config: type[C]
    adapter: Callable[[C, Callable[[], datetime]], Channel]

    @property
    def fields(self) -> tuple[ConfigField, ...]:
        return self.config.fields()

    def make(self, config: Mapping[str, Any], now: Callable[[], datetime]) -> Channel:
        return self.adapter(msgspec.convert(dict(config), self.config), now)


CHANNELS: dict[str, Kind[Any]] = {
    kind.info.code: kind
    for kind in (
        Kind(wechatpay.INFO, wechatpay.WeChatConfig, lambda config, now: wechatpay.WeChatPay(config, now=now)),
        Kind(alipay.INFO, alipay.AlipayConfig, lambda config, now: alipay.Alipay(config, now=now)),
    )
}


def make(code: str, config: Mapping[str, Any], now: Callable[[], datetime] = now) -> Channel:
    """The adapter of one channel account.  ValueError if the configuration is incomplete or a key cannot be read; the
    message never holds a secret.  KeyError if there is no such channel.  Parsing keys costs a millisecond: keep the adapter."""
    return CHANNELS[code].make(config, now)


_REFS = {"wechatpay": ("mchid", "appid"), "alipay": ("seller_id", "app_id")}


def refs(code: str, config: Mapping[str, Any]) -> tuple[str, str]:
    """How the channel names an account and its application in what it says of payments."""
    account, app = _REFS[code]
    return str(config[account]), str(config[app])


def secret_fields(code: str) -> frozenset[str]:
    """The fields of a configuration that must not be shown."""
    return frozenset(f.name for f in CHANNELS[code].fields if f.secret)
