"""Ways to pay: Stripe's types of payment method, and what asks which channel for them (ADR 0002).

type         channel      way         chosen when
wechat_pay   wechatpay    native      always (the others come with their parameters)
alipay       alipay       page        by default: the browser goes to Alipay
alipay       alipay       precreate   payment_method_options[alipay][client]=qr: a code to scan
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from guilder.core.errors import Invalid
from guilder.merchants.channel_accounts import ChannelAccount

TYPES = ("wechat_pay", "alipay")
CHANNEL = {"wechat_pay": "wechatpay", "alipay": "alipay"}
TYPE = {channel: type for type, channel in CHANNEL.items()}

# Test tokens: `pm_sim_<type>` or `pm_sim_<type>__<dial>[__<dial>…]`; a dial is the simulator's name for what goes wrong.
TOKEN_PREFIX = "pm_sim_"  # noqa: S105 - no password


class Way(msgspec.Struct, frozen=True):
    """One way through one channel account."""

    account: ChannelAccount
    way: str


def choose(type: str, accounts: Sequence[ChannelAccount], currency: str, options: dict[str, Any]) -> Way:
    """The way that a payment of `type` takes.  Raises Invalid if the merchant has no contract for it.

    The oldest enabled contract wins; routing rules come later.
    """
    channel = CHANNEL[type]
    fitting = [a for a in accounts if a.info.code == channel]
    if not fitting:
        raise Invalid(
            f"The payment method type {type} is not active: this merchant has no channel account at {channel}. Add one first.",
            code="payment_method_unactivated",
            param="payment_method_types",
        )
    account = next((a for a in fitting if currency in a.info.currencies), None)
    if account is None:
        raise Invalid(
            f"{type} does not take {currency.lower()}.", code="payment_method_currency_mismatch", param="currency"
        )
    wants_code = (options.get(type) or {}).get("client") == "qr"
    way = "precreate" if wants_code and "precreate" in account.info.ways else account.info.ways[0]
    return Way(account, way)


def manual_capture(types: Sequence[str]) -> Invalid:
    """Why a payment by these is not captured later: no way here can."""
    return Invalid(
        f"capture_method=manual is not supported by {', '.join(types)}: these collect at once. Leave it out, or use automatic.",
        code="parameter_invalid",
        param="capture_method",
    )


def read_token(token: str) -> tuple[str, str | None] | None:
    """The type and dials of a test token; None if it is none."""
    if token in ("pm_wechat_pay", "pm_alipay"):
        return token.removeprefix("pm_"), None
    if not token.startswith(TOKEN_PREFIX):
        return None
    type, *dials = token.removeprefix(TOKEN_PREFIX).split("__")
    if type not in TYPES or not all(d and len(d) <= 60 for d in dials):
        return None
    return type, "sim:" + ",".join(d.replace("-", ":", 1) for d in dials) if dials else None
