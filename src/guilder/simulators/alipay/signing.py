"""Alipay's RSA2 signatures, from the gateway's side.

Request:  all parameters but `sign`, empty ones dropped, sorted, `k=v` joined by `&`, not url-encoded.
Reply:    the exact bytes of the JSON object behind `"..._response":`; in certificate mode the signer's number stands before the signature.
Notice:   as a request, but without `sign_type` too.
"""

from collections.abc import Iterable, Mapping

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa

from guilder.simulators import keys


def text_of(params: Mapping[str, str], without: Iterable[str] = ("sign",)) -> bytes:
    """What is signed."""
    left_out = set(without)
    pairs = sorted((key, value) for key, value in params.items() if value and key not in left_out)
    return "&".join(f"{key}={value}" for key, value in pairs).encode()


def verify_request(key: rsa.RSAPublicKey, params: Mapping[str, str]) -> bool:
    """Whether the merchant signed these parameters."""
    return keys.verify(key, text_of(params), params.get("sign", ""))


def sign_notice(key: rsa.RSAPrivateKey, params: Mapping[str, str], *, spoiled: bool) -> dict[str, str]:
    """The parameters with their signature, or with one over another text."""
    text = text_of(params, ("sign", "sign_type"))
    return {**params, "sign_type": "RSA2", "sign": keys.sign(key, text + b" " if spoiled else text)}


def envelope(
    node: str, content: Mapping[str, object], key: rsa.RSAPrivateKey | None, *, spoiled: bool, number: str = ""
) -> bytes:
    """The reply's body.  The gateway escapes slashes; without a key it does not sign."""
    inner = msgspec.json.encode(content).replace(b"/", b"\\/")
    body = b'{"' + node.encode() + b'":' + inner
    if number:
        body += b',"alipay_cert_sn":"' + number.encode() + b'"'
    if key is not None:
        body += b',"sign":"' + keys.sign(key, inner + b" " if spoiled else inner).encode() + b'"'
    return body + b"}"
