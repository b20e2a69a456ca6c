"""A conversation's vocabulary: one shop with the official SDK, its payers, and its server that hears webhooks."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import stripe

from stack import Shop

T = TypeVar("T")
TEA: dict[str, Any] = {"amount": 1250, "currency": "cny", "payment_method_types": ["wechat_pay"]}
AUTOPAY = "pm_sim_wechat_pay__autopay"
CHANNELS = ("wechatpay", "alipay", "stripe")  # of every merchant that talks here
CARRIER = {"name": "李雷", "address": {"line1": "长安街 1 号", "city": "北京", "country": "CN"}, "phone": "+8610"}


def card(token: str) -> dict[str, Any]:
    """A payment by the card that a test token of Stripe's names."""
    options = {"card": {"client": "token", "token": token}}
    return {
        **TEA,
        "payment_method_types": ["card"],
        "payment_method": "pm_sim_card",
        "payment_method_options": options,
        "confirm": True,
    }


def wait(look: Callable[[], T], within_s: float = 30) -> T:
    """The first true answer of `look()`."""
    deadline = time.monotonic() + within_s
    while not (seen := look()):
        assert time.monotonic() < deadline, f"it did not come to pass within {within_s} s"
        time.sleep(0.05)
    return seen


def fails(kind: type[stripe.StripeError], act: Callable[[], object], **expected: Any) -> stripe.StripeError:
    """The error that `act` raises: of exactly this class, and with these attributes."""
    try:
        act()
    except stripe.StripeError as error:
        assert type(error) is kind, repr(error)
        assert {name: getattr(error, name) for name in expected} == expected, repr(error)
        assert error.request_id is not None and error.request_id.startswith("req_")
        return error
    raise AssertionError(f"it was accepted, and {kind.__name__} expected")


@dataclass(frozen=True)
class Heard:
    """A webhook as it came."""

    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True)
class Hooks:
    """Where webhooks go, and what has come."""

    url: str
    heard: list[Heard]


@dataclass(frozen=True)
class Said:
    """One exchange of the SDK: what it asked for, and the answer."""

    method: str
    path: str
    status: int
    headers: dict[str, str]
    body: bytes


class Listening(stripe.RequestsClient):
    """The SDK's own HTTP client; it only keeps what went to and fro."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[Said] = []

    def request(self, method: Any, url: Any, headers: Any, post_data: Any = None) -> Any:
        body, status, answered = super().request(method, url, headers, post_data)
        path = "/" + url.split("/", 3)[3].partition("?")[0]
        self.said.append(Said(method.upper(), path, status, dict(answered), body))
        return body, status, answered


@dataclass(frozen=True)
class Keys:
    """Keys beside the merchant's secret one."""

    reader: str  # restricted to reading payments
    publishable: str
    declined: str  # of another merchant, whose only contract its channel turns down at every payment


@dataclass
class Talk:
    """One shop's side of a conversation."""

    shop: Shop
    hooks: Hooks
    keys: Keys
    http: Listening = field(default_factory=Listening)

    def __post_init__(self) -> None:
        self.client = self.shop.client(http_client=self.http)

    def with_key(self, key: str) -> stripe.StripeClient:
        """The same API with another key."""
        return stripe.StripeClient(key, base_addresses={"api": self.shop.stack.api}, http_client=self.http)

    def paid(self, **params: Any) -> stripe.PaymentIntent:
        """A payment that a payer has made."""
        made = self.client.v1.payment_intents.create({**TEA, "payment_method": AUTOPAY, "confirm": True, **params})
        return self.has_status(made.id, "succeeded", "latest_charge")

    def has_status(self, intent: str, status: str, *expand: str) -> stripe.PaymentIntent:
        """The payment, once it is so."""

        def look() -> stripe.PaymentIntent | None:
            found = self.client.v1.payment_intents.retrieve(intent, {"expand": list(expand)})
            return found if found.status == status else None

        return wait(look)
