"""Secrets at rest: an AES-256-GCM envelope.

    sealed = keyring.seal(b"...", about="merchants.channel_account/<id>")
    keyring.open(sealed, about=...)      # raises Tampered if it was changed, moved to another row, or the key is another

Form: version (1 byte), key id (4 bytes), then a data key wrapped under the key-encryption key, then the ciphertext, each with its
12-byte nonce.  `about` is authenticated: a ciphertext that was copied to another row does not open.
The key-encryption key is 32 bytes from the setting `encryption_key` (base64) or from a file of mode 0600.
"""

import base64
import contextlib
import hashlib
import hmac
import os
import tempfile
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from guilder.core.errors import GuilderError

_VERSION = b"\x01"
_NONCE, _WRAPPED = 12, 12 + 32 + 16


class Tampered(GuilderError):
    """A sealed secret does not open: it was changed, moved, or sealed under another key."""


class Keyring:
    """The key-encryption key and what is derived from it."""

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ValueError("the encryption key is 32 bytes, in base64")
        self._key = AESGCM(key)
        self._id = hashlib.sha256(b"guilder key id" + key).digest()[:4]
        self._links = hmac.new(key, b"guilder links", hashlib.sha256).digest()

    @classmethod
    def load(cls, value: str | None, file: Path) -> "Keyring":
        """From the setting if there is one, else from `file`, which is made on first use."""
        if value:
            return cls(base64.b64decode(value, validate=True))
        if not file.exists():
            _make(file)
        return cls(base64.b64decode(file.read_bytes(), validate=True))

    def seal(self, secret: bytes, about: str) -> bytes:
        """Encrypt `secret`, bound to `about`."""
        data_key, tag = os.urandom(32), about.encode()
        outer, inner = os.urandom(_NONCE), os.urandom(_NONCE)
        wrapped = outer + self._key.encrypt(outer, data_key, tag)
        return _VERSION + self._id + wrapped + inner + AESGCM(data_key).encrypt(inner, secret, tag)

    def open(self, sealed: bytes, about: str) -> bytes:
        """Decrypt what `seal` made for the same `about`.  Raises Tampered."""
        if sealed[:1] != _VERSION or sealed[1:5] != self._id:
            raise Tampered(
                "A sealed secret names another encryption key. Is GUILDER_ENCRYPTION_KEY the one it was made with?"
            )
        wrapped, rest, tag = sealed[5 : 5 + _WRAPPED], sealed[5 + _WRAPPED :], about.encode()
        try:
            data_key = self._key.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], tag)
            return AESGCM(data_key).decrypt(rest[:_NONCE], rest[_NONCE:], tag)
        except (InvalidTag, ValueError) as error:  # ValueError: it was cut
            raise Tampered from error

    def link(self, about: str) -> str:
        """An unguessable, repeatable part of a link to `about`: 128 bits that need no column."""
        digest = hmac.new(self._links, about.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest[:18]).decode()

    def is_link(self, about: str, given: str) -> bool:
        """Whether `given` is the link of `about`, in constant time."""
        return hmac.compare_digest(self.link(about).encode(), given.encode("utf-8", "replace"))


def encrypt(key: bytes, plain: bytes, about: bytes) -> bytes:
    """`plain` under a data key of 32 bytes, bound to `about`: a nonce, then the ciphertext."""
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plain, about)


def decrypt(key: bytes, sealed: bytes, about: bytes) -> bytes:
    """What `encrypt` was given.  Raises Tampered."""
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], about)
    except (InvalidTag, ValueError) as error:
        raise Tampered from error


def _make(file: Path) -> None:
    """A new key, whole and on the disk before anything is sealed with it; of two processes, the first one's."""
    handle, draft = tempfile.mkstemp(prefix=file.name, dir=file.parent)
    with os.fdopen(handle, "wb") as stream:
        stream.write(base64.b64encode(os.urandom(32)))
        stream.flush()
        os.fsync(handle)
    with contextlib.suppress(FileExistsError):
        os.link(draft, file)
    Path(draft).unlink()
    folder = os.open(file.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
