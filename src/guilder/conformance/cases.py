"""The cases of our own channels, and where those of other packages are found.

A package that brings a channel says how it is held by an entry point of the group `guilder.conformance` that names its `Suite`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from guilder.channels.model import Outcome, Sdk, StatementProblem
from guilder.conformance.payouts import Payee
from guilder.conformance.suite import Case

GROUP = "guilder.conformance"


@dataclass(frozen=True)
class Suite:
    """What the suite must know of one channel: each of its ways, and whom it can pay."""

    cases: tuple[Case, ...]
    payees: tuple[tuple[Case, Payee], ...] = ()


def order_string(config: Mapping[str, str], created: Outcome) -> str:
    """What Alipay's app sends to the gateway."""
    assert isinstance(created.next, Sdk)
    return f"{config['gateway']}?{created.next.params['order_string']}"


ALIPAY: dict[str, Any] = {
    "known_at_once": False,
    "refunds_at_once": True,
    "before_the_file": StatementProblem.EMPTY_DAY,
}
WECHAT: dict[str, Any] = {"channel": "wechatpay", "trust": "public_key", "fee_exponent": 5}
OPENID: dict[str, Any] = {"given": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"}}
# A payer's code that is never used up, and whose payer is asked for his password.
SCANNED: dict[str, Any] = {
    "given": {"auth_code": "139000000000000000"},
    "told": False,
    "ends_by": "cancel",
    "ahead_s": 30,
}
PARTNER: dict[str, Any] = {"options": {"mode": "partner"}}
CASES = [
    Case("wechatpay", "native", "public_key", fee_exponent=5),
    Case("wechatpay", "native", "certificate", fee_exponent=5),
    *(Case(way=way, **OPENID, **WECHAT) for way in ("jsapi", "mini")),
    Case(way="app", **WECHAT),
    Case(way="h5", given={"payer_ip": "203.0.113.9"}, **WECHAT),
    Case(way="codepay", **SCANNED, **WECHAT),
    Case(way="native", **PARTNER, **WECHAT),
    Case(way="jsapi", **PARTNER, **OPENID, **WECHAT),
    Case(way="codepay", **PARTNER, **SCANNED, **WECHAT),
    Case("alipay", "precreate", **ALIPAY),
    Case("alipay", "precreate", "certificate", **ALIPAY),
    Case("alipay", "precreate", options={"partner": "1"}, **ALIPAY),
    Case("alipay", "page", create_asks=False, **ALIPAY),
    Case("alipay", "wap", create_asks=False, **ALIPAY),
    Case("alipay", "app", create_asks=False, code=order_string, **ALIPAY),
    Case("alipay", "jsapi", given={"buyer_id": "2088101117955611"}, **ALIPAY | {"known_at_once": True}),
    Case(
        "alipay",
        "mini",
        given={"buyer_id": "074a1CcTG1LelxKe4xQC0zgNdId0nxi95b5lsNpazWYoCo5"},
        **ALIPAY | {"known_at_once": True},
    ),
    Case("alipay", "barcode", given={"auth_code": "286012345678900003"}, **ALIPAY | {"known_at_once": True}),
    Case("unionpay", "page", create_asks=False, before_the_file=StatementProblem.EMPTY_DAY),
    Case("unionpay", "wap", create_asks=False, before_the_file=StatementProblem.EMPTY_DAY),
    *(
        Case("unionpay", way, shows_again=False, given=given, before_the_file=StatementProblem.EMPTY_DAY)
        for way, given in {"qr": {}, "barcode": {"auth_code": "6212345678901234567"}, "app": {}}.items()
    ),
    Case("stripe", "elements", refunds_at_once=True),
    Case("stripe", "token", refunds_at_once=True, given={"token": "pm_card_authenticationRequired"}),
    Case("paypal", "checkout", refunds_at_once=True, notice_names_payer=False, options={"currency": "CNY"}),
]


ALIPAY_PAYEE = Payee((("account", "2088101117955611"),), (("account", "nobody@example.com"), ("name", "无名")))
WECHAT_PAYEE = Payee((("openid", "oAutoFr8uMuAJO_M2pxb1Q9zNjWeS6o"),), (("openid", "oNobodyMuAJO_M2pxb1Q9zNjWeS6o"),))
PAYEES = [
    (Case("wechatpay", "native", "public_key"), WECHAT_PAYEE),
    (Case("alipay", "page"), ALIPAY_PAYEE),
    (Case("alipay", "page", "certificate"), ALIPAY_PAYEE),
]


def suite_of(code: str) -> Suite | None:
    """How a channel is held; None if nobody says."""
    own = Suite(tuple(c for c in CASES if c.channel == code), tuple(p for p in PAYEES if p[0].channel == code))
    if own.cases:
        return own
    found = [entry.load() for entry in entry_points(group=GROUP, name=code)]
    return found[0] if found and isinstance(found[0], Suite) else None
