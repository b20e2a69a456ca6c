"""APIv3 signatures and encryption, from the channel's side.

Request:  `METHOD\\npath?query\\ntimestamp\\nnonce\\nbody\\n`, in `Authorization: WECHATPAY2-SHA256-RSA2048 ...`.
Reply and callback: `timestamp\\nnonce\\nbody\\n`, in `Wechatpay-*` headers.
Callback content and certificates: AES-256-GCM under the merchant's APIv3 key.
What a merchant hides (names, bank cards): RSA-OAEP with SHA-1, for the key that `Wechatpay-Serial` names.
"""

import base64
import os
import re
import time
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from guilder.simulators import keys

SCHEME = "WECHATPAY2-SHA256-RSA2048"
_FIELD = re.compile(r'(\w+)="([^"]*)"')
_SKEW_S = 300


@dataclass(frozen=True, slots=True)
class Claim:
    """What an Authorization header says about its sender, not yet verified."""

    mchid: str
    serial_no: str
    timestamp: str
    nonce_str: str
    signature: str


def read_claim(authorization: str) -> Claim | None:
    """The fields of an Authorization header, in whatever order; None if it is not one of ours."""
    scheme, _, rest = authorization.partition(" ")
    fields = dict(_FIELD.findall(rest))
    names = Claim.__dataclass_fields__
    if scheme != SCHEME or not all(name in fields for name in names):
        return None
    return Claim(**{name: fields[name] for name in names})


def is_fresh(timestamp: str) -> bool:
    """Within five minutes of now; real time, whatever the simulators' clock says."""
    return timestamp.isascii() and timestamp.isdigit() and abs(time.time() - int(timestamp)) <= _SKEW_S


def verify_request(key: rsa.RSAPublicKey, claim: Claim, method: str, target: str, body: bytes) -> bool:
    """Whether the merchant signed exactly this request.  `target` is path and query as they stood on the wire."""
    head = f"{method}\n{target}\n{claim.timestamp}\n{claim.nonce_str}\n".encode()
    return keys.verify(key, head + body + b"\n", claim.signature)


def sign_headers(key: rsa.RSAPrivateKey, serial: str, body: bytes) -> dict[str, str]:
    """The headers that prove a reply or callback."""
    timestamp, nonce = str(int(time.time())), os.urandom(16).hex()
    signature = keys.sign(key, f"{timestamp}\n{nonce}\n".encode() + body + b"\n")
    return {
        "Wechatpay-Timestamp": timestamp,
        "Wechatpay-Nonce": nonce,
        "Wechatpay-Signature": signature,
        "Wechatpay-Signature-Type": SCHEME,
        "Wechatpay-Serial": serial,
        "Request-ID": os.urandom(16).hex().upper(),
    }


def encrypt(apiv3_key: str, text: bytes, associated_data: str) -> dict[str, str]:
    """An AEAD_AES_256_GCM box as it stands in callbacks and in the list of certificates."""
    nonce = os.urandom(6).hex()
    box = AESGCM(apiv3_key.encode()).encrypt(nonce.encode(), text, associated_data.encode())
    return {
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": base64.b64encode(box).decode(),
        "associated_data": associated_data,
        "nonce": nonce,
    }


def decrypt(key: rsa.RSAPrivateKey, sealed: str) -> str:
    """What was encrypted for us; '' if it was not."""
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303 - the protocol's
    try:
        return key.decrypt(base64.b64decode(sealed, validate=True), oaep).decode()
    except ValueError:
        return ""
