"""RSA keys: the channel's own, made once per data directory, and a fresh one for every merchant.

Making a key takes about 0.1 s of a core, so two lie ready.
"""

import asyncio
import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

_PADDING = padding.PKCS1v15()
_SHA256 = hashes.SHA256()


def make_key() -> rsa.RSAPrivateKey:
    """A new 2048-bit key."""
    return rsa.generate_private_key(65537, 2048)


def sign(key: rsa.RSAPrivateKey, text: bytes) -> str:
    """SHA256withRSA (PKCS #1 v1.5), base64."""
    return base64.b64encode(key.sign(text, _PADDING, _SHA256)).decode()


def verify(key: rsa.RSAPublicKey, text: bytes, signature: str) -> bool:
    """Whether a base64 SHA256withRSA signature is right."""
    try:
        key.verify(base64.b64decode(signature, validate=True), text, _PADDING, _SHA256)
    except Exception:  # whatever is wrong with it, it is not a signature of this text
        return False
    return True


def private_pem(key: rsa.RSAPrivateKey) -> str:
    """PKCS #8 PEM."""
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


def public_pem(key: rsa.RSAPublicKey) -> str:
    """SubjectPublicKeyInfo PEM."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def load_private(pem: str) -> rsa.RSAPrivateKey:
    """From PEM.  Raises ValueError if it is no RSA key."""
    key = serialization.load_pem_private_key(pem.encode(), None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("not an RSA key")
    return key


def make_certificate(key: rsa.RSAPrivateKey, name: str) -> str:
    """A self-signed certificate over ten years, PEM.  Stands for one that the channel's authority issued."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=3650))
    return builder.sign(key, _SHA256).public_bytes(serialization.Encoding.PEM).decode()


def serial_of(certificate: str) -> str:
    """A certificate's serial number as WeChat Pay writes it: upper-case hex."""
    return f"{x509.load_pem_x509_certificate(certificate.encode()).serial_number:X}"


class KeyPool:
    """Keys made ahead of time."""

    def __init__(self, make: Callable[[], rsa.RSAPrivateKey] = make_key, ready: int = 2) -> None:
        self._make = make
        self._ready = ready
        self._tasks: list[asyncio.Task[rsa.RSAPrivateKey]] = []

    def fill(self) -> None:
        """Start making keys, in threads."""
        while len(self._tasks) < self._ready:
            self._tasks.append(asyncio.create_task(asyncio.to_thread(self._make)))

    async def take(self) -> rsa.RSAPrivateKey:
        """A key that nobody else has."""
        self.fill()
        task = self._tasks.pop(0)
        self.fill()
        return await task
