"""Ways to pay: the API's types of payment method, and what asks which channel for them (ADR 0002, ADR 0015).

Nothing here knows a channel: each declares its ways (`channels.info.Way`) with the type and client that choose them and the options that
they need.  docs/reference/ways.md has the table.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from guilder.channels import info as channel_info
from guilder.channels.info import Operation
from guilder.channels.registry import CHANNELS
from guilder.core.errors import Invalid
from guilder.merchants.channel_accounts import ChannelAccount

TYPES: tuple[str, ...] = tuple(dict.fromkeys(way.type for kind in CHANNELS.values() for way in kind.info.ways))
_ALL = [(kind.info.code, way) for kind in CHANNELS.values() for way in kind.info.ways]
TYPE = {(channel, way.name): way.type for channel, way in _ALL}
SHOWN = (
    "client",
    "capture_method",
    "front",
)  # options that are kept with the payment and echoed; the others say something of who pays

FRONTS = (
    "sync",
    "async",
    "open",
)  # the channel is asked by the confirm itself, right after it, or when the payer opens our page

# Test tokens: `pm_sim_<type>` or `pm_sim_<type>__<dial>[__<dial>…]`; a dial is the simulator's name for what goes wrong.
TOKEN_PREFIX = "pm_sim_"  # noqa: S105 - no password


class Way(msgspec.Struct, frozen=True):
    """One way through one channel account, with what the channel must be given for it."""

    account: ChannelAccount
    way: str
    given: dict[str, str] = {}

    @property
    def info(self) -> channel_info.Way:
        """What the channel declares of it."""
        return self.account.info.way(self.way)


def choose(
    type: str,
    accounts: Sequence[ChannelAccount],
    currency: str,
    options: Mapping[str, Any],
    amount: int = 1,
    *,
    hold: bool = False,
) -> Way:
    """The way that a payment of `type` takes: the first of `fitting`.  Raises Invalid if there is none."""
    return fitting(type, accounts, currency, options, amount, hold=hold)[0]


def fitting(
    type: str, accounts: Sequence[ChannelAccount], currency: str, options: Mapping[str, Any], amount: int = 1, *, hold: bool = False,
    asked: bool = True,
) -> list[Way]:  # fmt: skip
    """Every way that a payment of `type` may take, through the oldest enabled contract first.  `hold`: it is to be captured later;
    not `asked`: the payer has not chosen yet, so what a way needs may come later.

    Raises Invalid, by name: this merchant has no contract for the type; none takes the currency or the amount; an option is missing or
    is none of the way's.
    """
    own = [a for a in accounts if any(w.type == type for w in a.info.ways)]
    if not own:
        raise Invalid(
            f"The payment method type {type} is not active: this merchant has no channel account for it. Add one first.",
            code="payment_method_unactivated",
            param="payment_method_types",
        )
    own = [a for a in own if currency in a.info.currencies]
    if not own:
        raise Invalid(
            f"{type} does not take {currency.lower()}.", code="payment_method_currency_mismatch", param="currency"
        )
    said: Mapping[str, str] = options.get(type) or {}
    found = [w for a in own if (w := _of_client(type, a, said.get("client"))) is not None]
    if not found:
        clients = ", ".join(dict.fromkeys(w.client for a in own for w in a.info.ways if w.type == type))
        raise Invalid(
            f"Invalid client for {type}: must be one of {clients}", param=f"payment_method_options[{type}][client]"
        )
    if hold:
        found = [w for w in found if w.account.info.can(Operation.CAPTURE, w.way)]
        if not found:
            raise manual_capture([type])
    refusals = [_refusal(w, said, amount) if asked else None for w in found]
    fit = [
        msgspec.structs.replace(w, given=_given(w, said)) for w, no in zip(found, refusals, strict=True) if no is None
    ]
    if not fit:
        raise next(no for no in refusals if no is not None)
    return fit


def _of_client(type: str, account: ChannelAccount, client: str | None) -> Way | None:
    """The way of an account that the payer's place asks for; without one, its first."""
    for way in account.info.ways:
        if way.type == type and client in (None, way.client):
            return Way(account, way.name)
    return None


def _refusal(way: Way, said: Mapping[str, str], amount: int) -> Invalid | None:
    """Why the way cannot be taken with these options."""
    info, at = way.info, f"payment_method_options[{way.info.type}]"
    for name in said:
        if name not in (*SHOWN, *info.needs, *info.takes):
            return Invalid(f"Received unknown parameter: {at}[{name}]", code="parameter_unknown", param=f"{at}[{name}]")
    for name in info.needs:
        if not said.get(name):
            return Invalid(
                f"Missing required param: {at}[{name}]. {info.type} with client={info.client} cannot be asked without it.",
                code="parameter_missing",
                param=f"{at}[{name}]",
            )
    if said.get("front", "sync") not in FRONTS or (said.get("front", "sync") != "sync" and info.shows == "nothing"):
        why = (
            f"{info.type} with client={info.client} is asked at once: a payer was scanned, and waits."
            if info.shows == "nothing"
            else ""
        )
        return Invalid(why or f"Invalid front: must be one of {', '.join(FRONTS)}", param=f"{at}[front]")
    if amount < info.least:
        return Invalid(
            f"{info.type} takes payments of at least {info.least} minor units.", code="amount_too_small", param="amount"
        )
    if info.most is not None and amount > info.most:
        return Invalid(
            f"{info.type} takes payments of at most {info.most} minor units.", code="amount_too_large", param="amount"
        )
    return None


def _given(way: Way, said: Mapping[str, str]) -> dict[str, str]:
    return {name: said[name] for name in (*way.info.needs, *way.info.takes) if said.get(name)}


def offered(accounts: Sequence[ChannelAccount], currency: str | None = None) -> list[str]:
    """The types that a merchant's contracts offer, in the order of TYPES, for one currency if it is named."""
    there = {w.type for a in accounts if currency is None or currency in a.info.currencies for w in a.info.ways}
    return [t for t in TYPES if t in there]


def scanned(code: str, accounts: Sequence[ChannelAccount]) -> channel_info.Way:
    """The way of the payer whose code was scanned: each wallet's codes begin in a manner of their own.  Raises Invalid if it is no wallet's
    that this merchant has a contract for."""
    for account in accounts:
        for way in account.info.ways:
            if way.scans and re.fullmatch(way.scans, code, re.ASCII):
                return way
    raise Invalid(
        "This is no payer's code of a wallet that you have a channel account for.", code="payment_method_unactivated", param="auth_code"
    )  # fmt: skip


def apart(options: Mapping[str, Mapping[str, str]]) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, str]]]:
    """`payment_method_options` as they may be echoed, and what of them says something of who pays."""
    shown: dict[str, dict[str, str]] = {}
    private: dict[str, dict[str, str]] = {}
    for type, said in options.items():
        shown[type] = {name: value for name, value in said.items() if name in SHOWN}
        if rest := {name: value for name, value in said.items() if name not in SHOWN}:
            private[type] = rest
    return shown, private


def together(
    shown: Mapping[str, Mapping[str, str]], private: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, str]]:
    """`apart`, undone."""
    return {type: {**shown.get(type, {}), **private.get(type, {})} for type in {*shown, *private}}


def manual_capture(types: Sequence[str]) -> Invalid:
    """Why a payment by these is not captured later: their channels collect at once."""
    return Invalid(
        f"capture_method=manual is not supported by {', '.join(types)}: these collect at once. Leave it out, or use automatic.",
        code="parameter_invalid",
        param="capture_method",
    )


def must_hold(types: Sequence[str], accounts: Sequence[ChannelAccount]) -> None:
    """Raises Invalid if one of these types cannot be captured later."""
    unable = [
        t
        for t in types
        if not any(w.type == t and a.info.can(Operation.CAPTURE, w.name) for a in accounts for w in a.info.ways)
    ]
    if unable:
        raise manual_capture(unable)


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
