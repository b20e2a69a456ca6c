"""WeChat Pay's side of the wire, small, and written apart from the adapter."""

import base64
import json
import re
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID
from scripted import KEY, NOW, REFUND_KEY

from guilder.channels.model import Inbound
from guilder.channels.wechatpay import WeChatConfig, WeChatPay
from guilder.core.exchange import HttpCall, HttpReply

APIV3_KEY = "0123456789abcdef0123456789abcdef"
PUBLIC_KEY_ID = "PUB_KEY_ID_0114232134912410000000000000"
MCHID, APPID, NONCE = "1900000109", "wxd678efh567hg6787", "593BEC0C930BF1AFEB40B4A08C8FB242"


@cache
def key(name: str) -> RSAPrivateKey:
    """A key by name: merchant, platform, stranger, certified-1 ..."""
    return generate_private_key(65537, 2048)


def private_pem(name: str) -> str:
    return key(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(name: str) -> str:
    return key(name).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def config(**changes: str) -> WeChatConfig:
    fields = {
        "base_url": "https://api.mch.weixin.qq.com",
        "mchid": MCHID,
        "appid": APPID,
        "serial_no": "1DDE55AD98ED71D6EDD4A4A16996DE7B47773A8C",
        "private_key": private_pem("merchant"),
        "apiv3_key": APIV3_KEY,
        "trust": "public_key",
        "public_key_id": PUBLIC_KEY_ID,
        "public_key": public_pem("platform"),
    }
    return WeChatConfig(**{**fields, **changes})  # type: ignore[arg-type]


CERTIFIED = {"trust": "certificate", "public_key_id": "", "public_key": ""}


class Watch:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> datetime:
        return self.at

    def forward(self, **by: float) -> None:
        self.at += timedelta(**by)


def adapter(watch: Watch | None = None, **changes: str) -> WeChatPay:
    return WeChatPay(config(**changes), now=watch or (lambda: NOW), nonce=lambda: NONCE)


def sign(name: str, message: bytes) -> str:
    return base64.b64encode(key(name).sign(message, PKCS1v15(), SHA256())).decode()


def headers(body: bytes, signer: str = "platform", serial: str = PUBLIC_KEY_ID, at: datetime = NOW) -> dict[str, str]:
    stamp, nonce = str(int(at.timestamp())), "c5ac7061fccab6bf3e254dcf98995b8c"
    return {
        "wechatpay-timestamp": stamp,
        "wechatpay-nonce": nonce,
        "wechatpay-signature": sign(signer, f"{stamp}\n{nonce}\n".encode() + body + b"\n"),
        "wechatpay-signature-type": "WECHATPAY2-SHA256-RSA2048",
        "wechatpay-serial": serial,
    }


def reply(status: int, content: Any = None, **by: Any) -> HttpReply:
    """A signed reply; `by` says who signs and when."""
    body = b"" if content is None else content if isinstance(content, bytes) else json.dumps(content).encode()
    return HttpReply(status, headers(body, **by), body)


def error(status: int, code: str, **by: Any) -> HttpReply:
    return reply(status, {"code": code, "message": f"about {code}"}, **by)


def transaction(state: str = "SUCCESS", **changes: Any) -> dict[str, Any]:
    fact: dict[str, Any] = {"mchid": MCHID, "appid": APPID, "out_trade_no": KEY, "trade_state": state, "attach": ""}
    if state in ("SUCCESS", "REFUND"):
        fact |= {
            "transaction_id": "4200000925202611211234567890",
            "trade_type": "NATIVE",
            "success_time": "2026-11-21T12:01:02+08:00",
            "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
            "amount": {"total": 1250, "payer_total": 1250, "currency": "CNY", "payer_currency": "CNY"},
        }
    return fact | changes


def refunded(status: str = "PROCESSING", **changes: Any) -> dict[str, Any]:
    return {
        "refund_id": "50000000382019052709732678859",
        "out_refund_no": REFUND_KEY,
        "out_trade_no": KEY,
        "status": status,
        "create_time": "2026-11-21T12:05:00+08:00",
        "amount": {"total": 1250, "refund": 500, "currency": "CNY"},
        **({"success_time": "2026-11-21T12:06:00+08:00"} if status == "SUCCESS" else {}),
        **changes,
    }


def sealed(content: bytes, data: str = "transaction", apiv3_key: str = APIV3_KEY) -> dict[str, str]:
    box = AESGCM(apiv3_key.encode()).encrypt(b"fdasflkja484", content, data.encode())
    return {
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": base64.b64encode(box).decode(),
        "nonce": "fdasflkja484",
        "associated_data": data,
    }


def envelope(content: Any, event: str = "TRANSACTION.SUCCESS", **changes: Any) -> dict[str, Any]:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    fact = {"id": "EV-2018022511223320873", "event_type": event, "resource_type": "encrypt-resource"}
    return fact | {"resource": sealed(text)} | changes


def notice(body: Any, **by: Any) -> Inbound:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Inbound(headers(raw, **by), raw)


@cache
def certificate(name: str, since: datetime = NOW - timedelta(days=1), days: int = 365) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tenpay.com sign")])
    until = since + timedelta(days=days)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key(name).public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(since).not_valid_after(until)
    return made.sign(key(name), SHA256())


def serial_of(name: str) -> str:
    return f"{certificate(name).serial_number:X}"


def certificates(*names: str, signer: str | None = None, at: datetime = NOW, apiv3_key: str = APIV3_KEY) -> HttpReply:
    """The reply of GET /v3/certificates, signed with the first of them."""
    data = [
        {
            "serial_no": serial_of(name),
            "effective_time": certificate(name).not_valid_before_utc.isoformat(),
            "expire_time": certificate(name).not_valid_after_utc.isoformat(),
            "encrypt_certificate": sealed(certificate(name).public_bytes(Encoding.PEM), "certificate", apiv3_key),
        }
        for name in names
    ]
    return reply(200, {"data": data}, signer=signer or names[0], serial=serial_of(names[0]), at=at)


def signed_by_merchant(call: HttpCall) -> bool:
    """Does the Authorization header sign exactly this call?"""
    fields = dict(re.findall(r'(\w+)="([^"]*)"', call.headers["Authorization"]))
    target = "/" + call.url.split("/", 3)[3]
    text = f"{call.method}\n{target}\n{fields['timestamp']}\n{fields['nonce_str']}\n".encode() + call.body + b"\n"
    key("merchant").public_key().verify(base64.b64decode(fields["signature"]), text, PKCS1v15(), SHA256())
    return fields["mchid"] == MCHID and fields["serial_no"] == config().serial_no
