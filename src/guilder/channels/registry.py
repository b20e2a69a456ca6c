"""Every channel by its code: our own, and those that other packages bring.

    channel = make("wechatpay", {"mchid": "1900000001", ...})
    CHANNELS["alipay"].fields           # what to ask an operator for, and what of it is secret

A package brings a channel by an entry point of the group `guilder.channels` that names its `Kind`:

    [project.entry-points."guilder.channels"]
    bank_transfer = "bank_transfer:KIND"
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

import msgspec

from guilder.channels import alipay, paypal, stripe, unionpay, wechatpay
from guilder.channels.config import ChannelConfig
from guilder.channels.info import ConfigField, Info, Operation
from guilder.channels.model import Channel
from guilder.core.check import must
from guilder.core.clock import now

C = TypeVar("C", bound=ChannelConfig)
GROUP = "guilder.channels"
log = logging.getLogger("guilder.channels")


@dataclass(frozen=True, slots=True)
class Kind(Generic[C]):
    """A channel that we can speak to: what it can do, what it must know, and how an adapter of it is made."""

    info: Info
    config: type[C]
    adapter: Callable[[C, Callable[[], datetime]], Channel]

    @property
    def fields(self) -> tuple[ConfigField, ...]:
        return self.config.fields()

    def form(self) -> dict[str, Any]:
        """What the channel can do, and the form of its credentials as a JSON Schema: for consoles, and for programs."""
        return {
            "code": self.info.code,
            "title": self.info.title,
            "titles": self.info.titles,
            "names": self.info.names,
            "ways": [
                {
                    "name": w.name,
                    "type": w.type,
                    "client": w.client,
                    "shows": w.shows,
                    "needs": w.needs,
                    "takes": w.takes,
                }
                for w in self.info.ways
            ],
            "currencies": sorted(self.info.currencies),
            "operations": sorted(self.info.operations),
            "payee": self.info.payee,
            "statements": self.info.statements,
            "config": {
                "type": "object",
                "additionalProperties": False,
                "properties": {f.name: _property(f) for f in self.fields},
                "required": [f.name for f in self.fields if f.required],
            },
        }

    def read(self, config: Mapping[str, Any]) -> C:
        """A configuration, checked.  Raises ValueError."""
        return msgspec.convert(dict(config), self.config)

    def make(self, config: Mapping[str, Any], now: Callable[[], datetime]) -> Channel:
        return self.adapter(self.read(config), now)


def _property(field: ConfigField) -> dict[str, Any]:
    """One field of the form.  A secret one is for writing only."""
    choices = {"enum": field.choices} if field.choices else {}
    return {"type": "string", "description": field.hint, "writeOnly": field.secret, **choices}


def _found() -> dict[str, Kind[Any]]:
    """Ours, then those of other packages.  One that cannot be loaded, or is none, is left out and said."""
    kinds: dict[str, Kind[Any]] = {
        kind.info.code: kind
        for kind in (
            Kind(wechatpay.INFO, wechatpay.WeChatConfig, lambda config, now: wechatpay.WeChatPay(config, now=now)),
            Kind(alipay.INFO, alipay.AlipayConfig, lambda config, now: alipay.Alipay(config, now=now)),
            Kind(unionpay.INFO, unionpay.UnionPayConfig, lambda config, now: unionpay.UnionPay(config, now=now)),
            Kind(stripe.INFO, stripe.StripeConfig, lambda config, now: stripe.Stripe(config, now=now)),
            Kind(paypal.INFO, paypal.PayPalConfig, lambda config, now: paypal.PayPal(config, now=now)),
        )
    }
    for entry in entry_points(group=GROUP):
        try:
            kind = entry.load()
        except Exception:
            log.exception("the channel %s cannot be loaded, and is left out", entry.value)
            continue
        if not isinstance(kind, Kind) or kind.info.code != entry.name or entry.name in kinds:
            log.error(
                "the channel %s is left out: %s is no Kind of that name, or the name is taken", entry.name, entry.value
            )
            continue
        kinds[entry.name] = kind
    return kinds


CHANNELS: dict[str, Kind[Any]] = _found()
must(
    all(k.info.hold_s > 0 for k in CHANNELS.values() if Operation.CAPTURE in k.info.operations),
    "who holds money says for how long",
)


def called(type: str, language: str) -> str | None:
    """What payers call a type of payment method, by the first channel that has it; None if none has."""
    for kind in CHANNELS.values():
        if any(way.type == type for way in kind.info.ways):
            return kind.info.called(language, type)
    return None


def make(code: str, config: Mapping[str, Any], now: Callable[[], datetime] = now) -> Channel:
    """The adapter of one channel account.  ValueError if the configuration is incomplete or a key cannot be read; the
    message never holds a secret.  KeyError if there is no such channel.  Parsing keys costs a millisecond: keep the adapter."""
    return CHANNELS[code].make(config, now)


def refs(code: str, config: Mapping[str, Any]) -> tuple[str, str]:
    """How the channel names an account and its application in what it says of payments."""
    read = CHANNELS[code].read(config)
    return read.account_ref, read.app_ref


def application(code: str, config: Mapping[str, Any]) -> str:
    """What tells applications of one account apart."""
    return CHANNELS[code].read(config).application


def secret_fields(code: str) -> frozenset[str]:
    """The fields of a configuration that must not be shown."""
    return frozenset(f.name for f in CHANNELS[code].fields if f.secret)
