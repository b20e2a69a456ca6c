"""Stripe's side of the wire, small, and written apart from the adapter."""

import hashlib
import hmac
import json
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from scripted import KEY, NOW, REFUND_KEY

from guilder.channels.model import Inbound
from guilder.channels.stripe import Stripe, StripeConfig
from guilder.core.exchange import HttpCall, HttpReply

PI, RE, PO, DU = "pi_3QabcdefghijklmnopqrstuV", "re_3QabcdefghijklmnopqrstuV1", "po_1Qabc", "du_1Qabc"
SECRET = "whsec_0123456789abcdef"
AT = 1795233600  # NOW
PUBLISHABLE = "pk_test_1"
CLIENT_SECRET = f"{PI}_secret_x"


def config(**changes: str) -> StripeConfig:
    fields = {
        "base_url": "https://api.stripe.com",
        "account_id": "acct_1QabcdefghijklmN",
        "secret_key": "sk_test_51Qabc",
        "publishable_key": PUBLISHABLE,
        "webhook_secret": SECRET,
        "currency": "CNY",
    }
    return StripeConfig(**{**fields, **changes})


def adapter(**changes: str) -> Stripe:
    return Stripe(config(**changes), now=lambda: NOW)


def intent(status: str = "succeeded", **changes: Any) -> dict[str, Any]:
    """A PaymentIntent as Stripe shows it, with its charge expanded once there is one."""
    done = status in ("succeeded", "requires_capture")
    balance = {
        "id": "txn_1",
        "object": "balance_transaction",
        "created": AT + 2,
        "currency": "cny",
        "net": 1184,
        "fee": 66,
    }
    charge = {
        "id": "ch_1",
        "object": "charge",
        "created": AT + 1,
        "balance_transaction": balance if status == "succeeded" else None,
    }
    fact = {
        "id": PI,
        "object": "payment_intent",
        "amount": 1250,
        "amount_received": 1250 if status == "succeeded" else 0,
        "currency": "cny",
        "status": status,
        "metadata": {"guilder_key": KEY, "guilder_way": "token"},
        "client_secret": CLIENT_SECRET,
        "next_action": None,
        "last_payment_error": None,
        "latest_charge": charge if done else None,
        "payment_method": "pm_1" if done else None,
        "livemode": False,
    }
    return {**fact, **changes}


def refund(status: str = "succeeded", **changes: Any) -> dict[str, Any]:
    fact = {
        "id": RE,
        "object": "refund",
        "amount": 500,
        "currency": "cny",
        "status": status,
        "created": AT,
        "payment_intent": PI,
        "charge": "ch_1",
        "metadata": {"guilder_key": REFUND_KEY, "guilder_payment": KEY},
    }
    return {**fact, **changes}


def payout(status: str = "paid", **changes: Any) -> dict[str, Any]:
    fact = {
        "id": PO,
        "object": "payout",
        "amount": 1250,
        "currency": "cny",
        "status": status,
        "arrival_date": AT,
        "created": AT,
    }
    return {**fact, "metadata": {"guilder_key": KEY}, **changes}


def dispute(status: str = "needs_response", **changes: Any) -> dict[str, Any]:
    taken = {"id": "txn_2", "created": AT, "currency": "cny", "net": -2750, "fee": 1500, "amount": -1250}
    fact = {
        "id": DU,
        "object": "dispute",
        "amount": 1250,
        "currency": "cny",
        "status": status,
        "reason": "product_not_received",
        "payment_intent": PI,
        "charge": "ch_1",
        "evidence_details": {"due_by": AT + 86400, "has_evidence": False, "past_due": False, "submission_count": 0},
        "balance_transactions": [taken],
    }
    return {**fact, **changes}


def reply(content: object, status: int = 200, **headers: str) -> HttpReply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpReply(status, {"content-type": "application/json", **named}, json.dumps(content).encode())


def error(status: int, type: str, code: str | None = None, **more: Any) -> HttpReply:
    return reply({"error": {"type": type, "code": code, "message": "no", **more}}, status)


DECLINE = {"type": "card_error", "code": "card_declined", "decline_code": "insufficient_funds", "message": "no"}


def declined(**changes: Any) -> HttpReply:
    """A card error, with the intent as it is then."""
    back = intent("requires_payment_method", last_payment_error=DECLINE)
    return reply({"error": {**DECLINE, "payment_intent": back, **changes}}, 402)


def fields(call: HttpCall) -> dict[str, str]:
    return dict(parse_qsl(call.body.decode(), keep_blank_values=True))


def event(type: str, content: object, **changes: Any) -> dict[str, Any]:
    fact = {
        "id": "evt_1",
        "object": "event",
        "type": type,
        "created": AT + 3,
        "data": {"object": content},
        "livemode": False,
    }
    return {**fact, "api_version": "2026-10-28.endive", **changes}


def signature(body: bytes, at: int = AT, secret: str = SECRET, scheme: str = "v1") -> str:
    return f"{scheme}={hmac.new(secret.encode(), f'{at}.'.encode() + body, hashlib.sha256).hexdigest()}"


def inbound(content: object, *signatures: str, at: int = AT, received: datetime = NOW) -> Inbound:
    """An event; signed by the endpoint's secret unless signatures are given."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    signed = ",".join([f"t={at}", *(signatures or (signature(body, at),))])
    return Inbound({"stripe-signature": signed, "content-type": "application/json"}, body, "", received)
