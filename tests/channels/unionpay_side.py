"""UnionPay's side of the wire, small, and written apart from the adapter and the simulator.

There is no client for UnionPay that nobody here wrote: what is published signs once instead of twice, or loses the plus signs.  So this makes
its vectors from the specification alone, with numbers: SHA-256 from hashlib, and RSA by PKCS #1 v1.5 written out (RFC 8017, 9.2).
"""

import base64
import hashlib
from datetime import timedelta
from functools import cache
from urllib.parse import parse_qsl, urlencode

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from scripted import KEY, NOW, REFUND_KEY
from wechat_side import key, private_pem

from guilder.channels.model import Inbound
from guilder.channels.unionpay import UnionPay, UnionPayConfig
from guilder.core.exchange import HttpCall, HttpReply

MER_ID, QUERY_ID, REFUND_ID = "777290058110048", "202611211201020012348", "202611211206000056788"
UNIONPAY = "041@Z2026-11-1@中国银联股份有限公司@00000001"
TEST_GATEWAY = "041@Z2017-11-1@00040000:SIGN@00000001"
_DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


# --- numbers


def rsa_sign(name: str, message: bytes) -> str:
    """RSASSA-PKCS1-v1_5 with SHA-256 by its definition: EM = 00 01 FF..FF 00 DigestInfo hash."""
    numbers = key(name).private_numbers()
    length = (key(name).key_size + 7) // 8
    tail = _DIGEST_INFO + hashlib.sha256(message).digest()
    padded = b"\x00\x01" + b"\xff" * (length - len(tail) - 3) + b"\x00" + tail
    # s = EM^d mod n, by the remainders mod p and q (RFC 8017, 5.1.2): a quarter of the time.
    whole = int.from_bytes(padded, "big")
    first, second = pow(whole, numbers.dmp1, numbers.p), pow(whole, numbers.dmq1, numbers.q)
    made = second + numbers.q * ((first - second) * numbers.iqmp % numbers.p)
    return base64.b64encode(made.to_bytes(length, "big")).decode()


def rsa_holds(name: str, message: bytes, signature: str) -> bool:
    public = key(name).public_key().public_numbers()
    opened = pow(int.from_bytes(base64.b64decode(signature), "big"), public.e, public.n)
    return opened == pow(int.from_bytes(base64.b64decode(rsa_sign(name, message)), "big"), public.e, public.n)


def letters(params: dict[str, str]) -> bytes:
    """The 64 letters that are signed."""
    text = ""
    for name, value in sorted(params.items()):
        if value and name != "signature":
            text += ("&" if text else "") + name + "=" + value
    return "".join(f"{byte:02x}" for byte in hashlib.sha256(text.encode()).digest()).encode()


# --- certificates


@cache
def certificate(owner: str, name: str, issuer: str, by: str, days: tuple[int, int] = (-1, 3650)) -> str:
    """A certificate in PEM: of `owner`, whose key is `name`, issued by `issuer` with the key `by`."""
    made = (
        x509.CertificateBuilder()
        .subject_name(_named(owner))
        .issuer_name(_named(issuer))
        .public_key(key(name).public_key())
        .serial_number(int.from_bytes(hashlib.sha256(f"{owner}{days}".encode()).digest()[:16], "big") >> 1)
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1]))
        .sign(key(by), SHA256())
    )
    return made.public_bytes(Encoding.PEM).decode()


def _named(owner: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, owner)])


def root() -> str:
    return certificate("root", "root", "root", "root")


def middle(days: tuple[int, int] = (-1, 3650)) -> str:
    return certificate("middle", "middle", "root", "root", days)


def signing(owner: str = UNIONPAY, days: tuple[int, int] = (-1, 3650)) -> str:
    """UnionPay's own, or somebody else's of the same authority."""
    return certificate(owner, "platform", "middle", "middle", days)


def as_sent(pem: str) -> str:
    """CR LF, and none after the last line."""
    return pem.strip().replace("\n", "\r\n")


# --- messages


def config(**changes: str) -> UnionPayConfig:
    fields = {
        "base_url": "https://gateway.95516.com",
        "file_url": "https://filedownload.95516.com",
        "mer_id": MER_ID,
        "private_key": private_pem("merchant"),
        "certificate": certificate("shop", "merchant", "middle", "middle"),
        "root_certificate": root(),
        "middle_certificate": middle(),
    }
    return UnionPayConfig(**{**fields, **changes})  # type: ignore[arg-type]


def adapter(now=NOW, **changes: str) -> UnionPay:
    return UnionPay(config(**changes), now=lambda: now)


def asked(call: HttpCall) -> dict[str, str]:
    """The parameters of a call, whose signature must hold."""
    assert call.method == "POST" and call.headers["Content-Type"].startswith("application/x-www-form-urlencoded")
    return signed_by_merchant(dict(parse_qsl(call.body.decode(), keep_blank_values=True, strict_parsing=True)))


def signed_by_merchant(params: dict[str, str]) -> dict[str, str]:
    serial = x509.load_pem_x509_certificate(config().certificate.encode()).serial_number
    assert params["certId"] == str(serial) and "" not in params.values()
    assert rsa_holds("merchant", letters(params), params.pop("signature"))
    del params["certId"]
    return params


def signed(params: dict[str, str], signer: str = "platform", pem: str | None = None) -> dict[str, str]:
    whole = {**params, "signPubKeyCert": as_sent(pem or signing())}
    return {**whole, "signature": rsa_sign(signer, letters(whole))}


def body(params: dict[str, str]) -> bytes:
    """Not url-encoded."""
    return "&".join(f"{name}={value}" for name, value in params.items()).encode()


def reply(code: str = "00", *, signer: str = "platform", pem: str | None = None, **fields: str) -> HttpReply:
    said = {
        "accessType": "0", "bizType": "000000", "encoding": "UTF-8", "merId": MER_ID, "orderId": KEY, "respCode": code,
        "respMsg": "成功[0000000]" if code == "00" else f"说明[{code}00000]", "signMethod": "01", "txnTime": "20261121120000",
        "txnType": "01", "txnSubType": "01", "version": "5.1.0", **fields,
    }  # fmt: skip
    return HttpReply(200, {}, body(signed({name: value for name, value in said.items() if value}, signer, pem)))


PAID = {
    "txnAmt": "1250",
    "currencyCode": "156",
    "queryId": QUERY_ID,
    "traceTime": "1121120102",
    "settleDate": "1121",
    "accNo": "621626*********0018",
}


def found(code: str, **fields: str) -> HttpReply:
    """The answer to a query: understood, and what became of the order."""
    return reply(
        "00",
        origRespCode=code,
        origRespMsg="原说明",
        **{**(PAID if code in ("00", "A6", "42") else {"txnAmt": "1250"}), **fields},
    )


REFUNDED = {
    "orderId": REFUND_KEY,
    "txnType": "04",
    "txnSubType": "00",
    "txnAmt": "500",
    "queryId": REFUND_ID,
    "origQryId": QUERY_ID,
    "traceTime": "1121120600",
    "reqReserved": KEY,
    "accNo": "621626*********0018",
}


def callback(**changes: str) -> dict[str, str]:
    """A callback about the payment, unsigned."""
    fact = {
        "accessType": "0", "bizType": "000201", "currencyCode": "156", "encoding": "UTF-8", "merId": MER_ID, "orderId": KEY,
        "respCode": "00", "respMsg": "成功[0000000]", "signMethod": "01", "txnTime": "20261121120000", "txnType": "01", "txnSubType": "01",
        "version": "5.1.0", "reqReserved": "两杯咖啡 & 茶=好+", **PAID,
    }  # fmt: skip
    return {name: value for name, value in {**fact, **changes}.items() if value}


def form(params: dict[str, str]) -> Inbound:
    return Inbound({"content-type": "application/x-www-form-urlencoded"}, urlencode(params).encode())
