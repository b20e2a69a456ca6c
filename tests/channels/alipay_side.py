"""Alipay's side of the wire, small, and written apart from the adapter."""

import base64
import hashlib
import json
from datetime import timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID
from scripted import KEY, NOW, REFUND_KEY
from wechat_side import key, sign

from guilder.channels.alipay import Alipay, AlipayConfig
from guilder.channels.model import Inbound
from guilder.core.exchange import HttpCall, HttpReply

GATEWAY = "https://openapi.alipay.com/gateway.do"
APP_ID, SELLER_ID, TRADE_NO = "2021000123456789", "2088102146225135", "2026112122001458860515315453"


def bare(der: bytes) -> str:
    return base64.b64encode(der).decode()


def private_der(name: str, form: PrivateFormat = PrivateFormat.TraditionalOpenSSL) -> str:
    """As Alipay's key tool writes it: base64 without a frame, PKCS #1 or PKCS #8."""
    return bare(key(name).private_bytes(Encoding.DER, form, NoEncryption()))


def public_der(name: str) -> str:
    return bare(key(name).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def config(**changes: str) -> AlipayConfig:
    fields = {
        "gateway": GATEWAY,
        "app_id": APP_ID,
        "seller_id": SELLER_ID,
        "private_key": private_der("merchant"),
        "alipay_public_key": public_der("platform"),
    }
    return AlipayConfig(**{**fields, **changes})


def adapter(watch: Any = None, **changes: str) -> Alipay:
    return Alipay(config(**changes), now=watch or (lambda: NOW))


# --- certificates

_OIDS = (NameOID.COUNTRY_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.COMMON_NAME)


def _name(common: str, owner: str = "Ant Financial") -> x509.Name:
    words = ("CN", owner, "Certification Authority", common)
    return x509.Name([x509.NameAttribute(oid, word) for oid, word in zip(_OIDS, words, strict=True)])


@cache
def certificate(
    name: str, by: str = "root", *, serial: int = 71_230_954_816, ca: bool = False, owner: str = "Ant Financial"
) -> str:
    """A certificate over the key of that name, PEM; `by` signs it."""
    builder = x509.CertificateBuilder(_name(by), _name(name, owner), key(name).public_key(), serial)
    builder = builder.not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=365))
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    return builder.sign(key(by), SHA256()).public_bytes(Encoding.PEM).decode()


@cache
def curved_root() -> str:
    """A root of another kind, as Alipay's file has some."""
    curve = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(_name("EC"), _name("EC"), curve.public_key(), 5)
    builder = builder.not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=9))
    return builder.sign(curve, SHA256()).public_bytes(Encoding.PEM).decode()


UNREADABLE_ROOT = (
    "-----BEGIN CERTIFICATE-----\nMIIBszCCAVegAwIBAgIIaeL+wBcKxnswDAYIKoEcz1UBg3U\n-----END CERTIFICATE-----\n"
)


def number(common: str, serial: int) -> str:
    """A certificate's number, made of its issuer's common name and its serial."""
    return hashlib.md5(f"CN={common},OU=Certification Authority,O=Ant Financial,C=CN{serial}".encode()).hexdigest()


def certified(watch: Any = None, **changes: str) -> Alipay:
    """An adapter in certificate mode."""
    fields = {
        "mode": "certificate",
        "alipay_public_key": "",
        "app_cert": certificate("merchant", serial=11),
        "alipay_cert": certificate("platform", serial=22),
        "root_cert": certificate("root", serial=33, ca=True)
        + "\n"
        + curved_root()
        + UNREADABLE_ROOT
        + certificate("root", serial=44, ca=True),
    }
    return adapter(watch, **fields | changes)


def text_of(params: dict[str, str], *without: str) -> bytes:
    return "&".join(f"{k}={v}" for k, v in sorted(params.items()) if v and k not in without).encode()


def asked(call: HttpCall) -> tuple[dict[str, str], dict[str, Any]]:
    """The parameters of a call, whose signature must hold, and its biz_content."""
    return read_params(urlsplit(call.url).query + "&" + call.body.decode())


def read_params(query: str) -> tuple[dict[str, str], dict[str, Any]]:
    params = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True))
    signature = base64.b64decode(params["sign"])
    key("merchant").public_key().verify(signature, text_of(params, "sign"), PKCS1v15(), SHA256())
    return params, json.loads(params.get("biz_content", "null"))


def reply(method: str, content: Any, signer: str = "platform", inner: bytes | None = None, by: str = "") -> HttpReply:
    """A signed reply, slashes escaped as the gateway does.  `inner`: the exact text of the node; `by`: the signer's certificate."""
    node = inner if inner is not None else json.dumps(content, ensure_ascii=False).encode().replace(b"/", b"\\/")
    name = f"alipay_{method}_response"
    named = b'"alipay_cert_sn":"%s",' % by.encode() if by else b""
    return HttpReply(200, {}, b'{"%s":%s,%s"sign":"%s"}' % (name.encode(), node, named, sign(signer, node).encode()))


def ok(method: str, **content: Any) -> HttpReply:
    return reply(method, {"code": "10000", "msg": "Success", **content})


def failed(method: str, sub_code: str = "", code: str = "40004", **by: Any) -> HttpReply:
    return reply(method, {"code": code, "msg": "Business Failed", "sub_code": sub_code, "sub_msg": "说明"}, **by)


def trade(status: str = "TRADE_SUCCESS", **changes: Any) -> dict[str, Any]:
    paid = {"send_pay_date": "2026-11-21 12:01:02"} if status in ("TRADE_SUCCESS", "TRADE_FINISHED") else {}
    fact = {"out_trade_no": KEY, "trade_no": TRADE_NO, "trade_status": status, "total_amount": "12.50"}
    return fact | {"buyer_user_id": "2088101117955611", "buyer_logon_id": "159****5620"} | paid | changes


def refunded(**changes: Any) -> dict[str, Any]:
    fact = {"out_trade_no": KEY, "trade_no": TRADE_NO, "out_request_no": REFUND_KEY, "refund_amount": "5.00"}
    return fact | {"refund_status": "REFUND_SUCCESS", "gmt_refund_pay": "2026-11-21 12:06:00"} | changes


def callback(**changes: str) -> dict[str, str]:
    fact = {
        "notify_time": "2026-11-21 12:01:03",
        "notify_type": "trade_status_sync",
        "notify_id": "2026112100222120103058860591234567",
        "app_id": APP_ID,
        "charset": "utf-8",
        "version": "1.0",
        "trade_no": TRADE_NO,
        "out_trade_no": KEY,
        "trade_status": "TRADE_SUCCESS",
        "total_amount": "12.50",
        "seller_id": SELLER_ID,
        "buyer_id": "2088101117955611",
        "subject": "两杯咖啡 & 茶=好",
        "gmt_create": "2026-11-21 12:00:50",
        "gmt_payment": "2026-11-21 12:01:02",
        "fund_bill_list": '[{"amount":"12.50","fundChannel":"ALIPAYACCOUNT"}]',
        "passback_params": "",
    }
    return fact | changes


def notice(params: dict[str, str], signer: str = "platform") -> Inbound:
    """A signed callback."""
    signature = sign(signer, text_of(params, "sign", "sign_type"))
    return form({**params, "sign_type": "RSA2", "sign": signature})


def form(params: Any) -> Inbound:
    return Inbound({"content-type": "application/x-www-form-urlencoded"}, urlencode(params).encode())
