"""UnionPay's signatures from the gateway's side: RSA over the hex letters of SHA-256 over the sorted parameters.

A signer puts its certificate among the parameters as UnionPay does: PEM, lines ended by CR LF, none after the last.
"""

import hashlib
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import rsa

from guilder.simulators import keys


def letters_of(params: Mapping[str, str]) -> bytes:
    """What is signed."""
    kept = [f"{key}={params[key]}" for key in sorted(params) if key != "signature" and params[key] != ""]
    return hashlib.sha256("&".join(kept).encode("utf-8")).hexdigest().encode("ascii")


def verify(key: rsa.RSAPublicKey, params: Mapping[str, str]) -> bool:
    """Whether the merchant signed these parameters."""
    return keys.verify(key, letters_of(params), params.get("signature", ""))


class Signer:
    """A key with its certificate."""

    def __init__(self, key: rsa.RSAPrivateKey, certificate: str) -> None:
        self._key = key
        self._text = "\r\n".join(certificate.strip().splitlines())

    def sign(self, params: Mapping[str, str], *, spoiled: bool = False) -> dict[str, str]:
        """The parameters with certificate and signature, or with a signature over another text."""
        whole = {**params, "signPubKeyCert": self._text}
        letters = letters_of({**whole, "respMsg": "?"} if spoiled else whole)
        return {**whole, "signature": keys.sign(self._key, letters)}


def body_of(params: Mapping[str, str]) -> bytes:
    """A reply: not url-encoded."""
    return "&".join(f"{key}={value}" for key, value in params.items() if value != "").encode("utf-8")
