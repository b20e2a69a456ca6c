"""RSA-SHA256 as WeChat Pay and Alipay both use it: PKCS #1 v1.5 over SHA-256, in base64; and RSA-OAEP, for what only WeChat Pay may read.

Keys are parsed once, when an adapter is made.  One RSA-2048 signature is most of what an ask costs; a verification is a tenth
of it.
"""

import base64
import binascii

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

_PADDING = PKCS1v15()
_SHA256 = SHA256()
_OAEP = OAEP(MGF1(SHA1()), SHA1(), None)  # noqa: S303 - the protocol's; OAEP does not rest on collision resistance
MIN_BITS = 2048


class Signer:
    """Signs with our private key: PEM, or the bare base64 of DER (PKCS #8 or PKCS #1)."""

    def __init__(self, private_key: str, name: str = "private_key") -> None:
        try:
            if "-----BEGIN" in private_key:
                key = load_pem_private_key(private_key.strip().encode(), None)
            else:
                key = load_der_private_key(_bare(private_key), None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ValueError(f"{name} is not a readable private key (PEM or base64, without a password)") from None
        if not isinstance(key, RSAPrivateKey) or key.key_size < MIN_BITS:
            raise ValueError(f"{name} is not an RSA key of at least {MIN_BITS} bits")
        self._key = key

    def sign(self, message: bytes) -> str:
        return base64.b64encode(self._key.sign(message, _PADDING, _SHA256)).decode()


class Verifier:
    """A public key of the channel: verifies what it signed, seals what only it may read."""

    def __init__(self, key: RSAPublicKey) -> None:
        self._key = key

    @classmethod
    def read(cls, public_key: str, name: str) -> "Verifier":
        """From PEM or the bare base64 of a SubjectPublicKeyInfo.  ValueError if it is none."""
        try:
            if "-----BEGIN" in public_key:
                key = load_pem_public_key(public_key.strip().encode())
            else:
                key = load_der_public_key(_bare(public_key))
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ValueError(f"{name} is not a readable public key (PEM or base64)") from None
        if not isinstance(key, RSAPublicKey) or key.key_size < MIN_BITS:
            raise ValueError(f"{name} is not an RSA key of at least {MIN_BITS} bits")
        return cls(key)

    def verify(self, message: bytes, signature: str) -> bool:
        """Is `signature` (base64) one of `message`?  Anything that is no signature at all is not."""
        try:
            self._key.verify(base64.b64decode(signature, validate=True), message, _PADDING, _SHA256)
        except (InvalidSignature, ValueError):
            return False
        return True

    def seal(self, text: str) -> str:
        """Encrypt for who holds the private key.  ValueError if it is too long for one block."""
        return base64.b64encode(self._key.encrypt(text.encode(), _OAEP)).decode()


def _bare(text: str) -> bytes:
    try:
        der = base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    if not der:
        raise ValueError("empty")
    return der
