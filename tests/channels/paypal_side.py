"""PayPal's side of the wire, small, and written apart from the adapter."""

import base64
import json
import zlib
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from scripted import KEY, NOW, REFUND_KEY, converse
from wechat_side import Watch, key

from guilder.channels.model import Ask, Inbound, Outcome
from guilder.channels.paypal import PayPal, PayPalConfig
from guilder.core.exchange import HttpCall, HttpReply

MERCHANT, WEBHOOK = "7NAVYZ2XTGP4E", "8PT597110X687430LKGECATA"
ORDER, CAPTURE, AUTHORIZATION, REFUND = (
    "5O190127TN364715T",
    "3C679366HH908993F",
    "0AW2184448108334S",
    "1JU08902781691411",
)
BATCH, ITEM = "5UXD2E8A7EBQJ", "8AELMXH8UB2P8"
MEMO = f"O:{ORDER};C:{CAPTURE}"
CERTIFICATE_AT = "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-df8cd2d5"


def config(**changes: str) -> PayPalConfig:
    fields = {
        "base_url": "https://api-m.paypal.com",
        "client_id": "AYSq3RDGsmBLJE-otTkBtM-jBRd1TCQwFf9RGfwddNXWz0uFU9ztymylOhRS",
        "client_secret": "EGnHDxD_qRPdaLdZz8iCr8N7_MzF-YHPTkjs6NKYQvQSBngp4PTTVWkPZRbL",
        "merchant_id": MERCHANT,
        "webhook_id": WEBHOOK,
        "currency": "CNY",
        "authority": pem(authority("authority")),
    }
    return PayPalConfig(**{**fields, **changes})  # type: ignore[arg-type]


def adapter(watch: Watch | None = None, **changes: str) -> PayPal:
    return PayPal(config(**changes), now=watch or (lambda: NOW))


def reply(status: int, content: Any = None) -> HttpReply:
    body = b"" if content is None else content if isinstance(content, bytes) else json.dumps(content).encode()
    return HttpReply(status, {"content-type": "application/json"}, body)


def token(name: str = "A21AAFs9YK9g", expires_in: int = 32400) -> HttpReply:
    return reply(200, {"access_token": name, "token_type": "Bearer", "expires_in": expires_in, "scope": "..."})


def error(status: int, issue: str, name: str = "UNPROCESSABLE_ENTITY") -> HttpReply:
    details = [{"issue": issue, "description": f"about {issue}", "location": "body"}]
    return reply(
        status, {"name": name, "message": "The requested action ...", "debug_id": "90957fca61718", "details": details}
    )


def talk(ask: Ask, *answers: HttpReply | Exception, channel: PayPal | None = None) -> tuple[Outcome, list[HttpCall]]:
    """Carry out `ask` after the token was given; the calls are those that follow."""
    outcome, calls = converse((channel or adapter()).ask(ask), token(), *answers)
    assert calls[0].url.endswith("/v1/oauth2/token")
    return outcome, calls[1:]


def money(value: str = "12.50", currency: str = "CNY") -> dict[str, str]:
    return {"currency_code": currency, "value": value}


def _part(id: str, status: str, value: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": id,
        "status": status,
        "amount": money(value),
        "invoice_id": KEY,
        "custom_id": KEY,
        "create_time": "2026-11-21T04:01:02Z",
        "update_time": "2026-11-21T04:01:02Z",
        "supplementary_data": {"related_ids": {"order_id": ORDER}},
        **changes,
    }


def captured(status: str = "COMPLETED", value: str = "12.50", **changes: Any) -> dict[str, Any]:
    fee = {"gross_amount": money(value), "paypal_fee": money("0.75"), "net_amount": money("11.75")}
    return _part(CAPTURE, status, value, seller_receivable_breakdown=fee, final_capture=True, **changes)


def held(status: str = "CREATED", **changes: Any) -> dict[str, Any]:
    return _part(AUTHORIZATION, status, "12.50", **changes)


def refunded(status: str = "COMPLETED", value: str = "5.00", **changes: Any) -> dict[str, Any]:
    return _part(REFUND, status, value, **{"invoice_id": REFUND_KEY, **changes})


def order(
    status: str = "PAYER_ACTION_REQUIRED", *, intent: str = "CAPTURE", custom_id: str = KEY, **payments: Any
) -> dict[str, Any]:
    unit: dict[str, Any] = {
        "reference_id": "default",
        "amount": money(),
        "payee": {"email_address": "shop@example.com", "merchant_id": MERCHANT},
        "invoice_id": KEY,
        "custom_id": custom_id,
    }
    if payments:
        unit["payments"] = payments
    links = [
        {"href": f"https://api-m.paypal.com/v2/checkout/orders/{ORDER}", "rel": "self", "method": "GET"},
        {"href": f"https://www.paypal.com/checkoutnow?token={ORDER}", "rel": "payer-action", "method": "GET"},
    ]
    said = {"id": ORDER, "intent": intent, "status": status, "purchase_units": [unit], "links": links}
    return said | ({} if status == "PAYER_ACTION_REQUIRED" else {"payer": {"payer_id": "QYR5Z8XDVJNXQ"}})


def paid() -> dict[str, Any]:
    return order("COMPLETED", captures=[captured()])


def batch(status: str = "SUCCESS", item: str | None = "SUCCESS", **changes: Any) -> dict[str, Any]:
    header = {"payout_batch_id": BATCH, "batch_status": status, "sender_batch_header": {"sender_batch_id": KEY}}
    items = [] if item is None else [payout_item(item, **changes)]
    return {"batch_header": header, "items": items}


def payout_item(status: str = "SUCCESS", **changes: Any) -> dict[str, Any]:
    return {
        "payout_item_id": ITEM,
        "payout_batch_id": BATCH,
        "transaction_id": "64C57446KB8735443",
        "transaction_status": status,
        "payout_item_fee": {"currency": "CNY", "value": "0.25"},
        "payout_item": {"recipient_type": "EMAIL", "receiver": "a@example.com", "sender_item_id": KEY, "amount": {"currency": "CNY", "value": "12.50"}},
        "time_processed": "2026-11-21T04:01:02Z",
        **changes,
    }  # fmt: skip


def complaint(status: str = "WAITING_FOR_SELLER_RESPONSE", **changes: Any) -> dict[str, Any]:
    return {
        "dispute_id": "PP-D-4012",
        "disputed_transactions": [
            {
                "seller_transaction_id": CAPTURE,
                "invoice_number": KEY,
                "custom": KEY,
                "seller": {"merchant_id": MERCHANT},
            }
        ],
        "reason": "MERCHANDISE_OR_SERVICE_NOT_RECEIVED",
        "status": status,
        "dispute_amount": money(),
        "dispute_life_cycle_stage": "CHARGEBACK",
        "seller_response_due_date": "2026-12-01T00:00:00.000Z",
        **changes,
    }


# --- webhooks


@cache
def authority(name: str, days: float = 365) -> x509.Certificate:
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    made = _certificate(name, name, name, days).add_extension(x509.BasicConstraints(True, None), critical=True)
    made = made.add_extension(usage, critical=True)
    made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key(name).public_key()), critical=False)
    return made.sign(key(name), SHA256())


@cache
def certificate(
    of: str = "messageverificationcerts.paypal.com", by: str = "authority", days: float = 365
) -> x509.Certificate:
    made = _certificate(of, by, "paypal", days).add_extension(
        x509.SubjectAlternativeName([x509.DNSName(of)]), critical=False
    )
    made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key(by).public_key()), critical=False)
    return made.sign(key(by), SHA256())


def _certificate(subject: str, issuer: str, of: str, days: float) -> x509.CertificateBuilder:
    above, own = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (issuer, subject))
    made = x509.CertificateBuilder(above, own, key(of).public_key(), x509.random_serial_number())
    return made.not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=days))


def pem(*chain: x509.Certificate) -> str:
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in chain)


def chain(*certificates: x509.Certificate) -> HttpReply:
    return HttpReply(200, {}, pem(*(certificates or (certificate(), authority("authority")))).encode())


def webhook(
    event: str, resource: Any, *, signer: str = "paypal", webhook_id: str = WEBHOOK, at: datetime = NOW, **headers: str
) -> Inbound:
    """A signed webhook; `headers` take the place of its own, with underscores."""
    fact = {
        "id": "WH-2WR32451HC0233532-67976317FL4543714",
        "event_version": "1.0",
        "event_type": event,
        "resource": resource,
    }
    body = json.dumps(fact).encode()
    id, time = "69cd13f0-d67a-11e5-baa3-778b53f4ae55", at.strftime("%Y-%m-%dT%H:%M:%SZ")
    text = f"{id}|{time}|{webhook_id}|{zlib.crc32(body)}".encode()
    signature = base64.b64encode(key(signer).sign(text, PKCS1v15(), SHA256())).decode()
    own = {
        "paypal-transmission-id": id,
        "paypal-transmission-time": time,
        "paypal-transmission-sig": signature,
        "paypal-cert-url": CERTIFICATE_AT,
        "paypal-auth-algo": "SHA256withRSA",
    }
    return Inbound(own | {name.replace("_", "-"): value for name, value in headers.items()}, body)


def trusting(watch: Watch | None = None) -> PayPal:
    """An adapter that has seen the certificate."""
    channel = adapter(watch)
    try:
        channel.notice(webhook("CHECKOUT.ORDER.APPROVED", order("APPROVED")))
    except Exception as wanted:
        assert type(wanted).__name__ == "NeedsTrust"
    learnt, _ = converse(channel.refresh_trust(), chain())
    assert learnt
    return channel
