"""Whose signatures count as WeChat Pay's, and who may read what is sealed for it: the pinned public key, and the platform
certificates of the moment.

While a merchant switches from certificates to the public key, replies and callbacks come signed by either, so both are
accepted (the official SDK's combined verifier does the same); the configuration only says which is asked for.
"""

import base64
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from guilder.channels.model import BadSignature, NeedsTrust
from guilder.channels.reading import instant, read_as, read_json
from guilder.channels.signing import MIN_BITS, Verifier
from guilder.channels.wechatpay.config import WeChatConfig
from guilder.core.check import must
from guilder.core.exchange import HttpReply

FRESH_FOR = timedelta(hours=12)  # WeChat asks for a refresh at least this often
ASK_AGAIN_AFTER = timedelta(minutes=1)  # an unknown serial costs at most one call a minute, whoever sends it
REPLY_WINDOW_S = 300
SIGNATURE_TYPE = "WECHATPAY2-SHA256-RSA2048"
_SERIAL = re.compile(r"[0-9A-F]{1,40}")  # of a certificate, not the id of a public key


class Sealed(msgspec.Struct, frozen=True):
    """What WeChat encrypted with the APIv3 key (AEAD_AES_256_GCM; the tag is the ciphertext's end)."""

    algorithm: str
    ciphertext: str
    nonce: str
    associated_data: str | None = None


class _Certificate(msgspec.Struct, frozen=True):
    serial_no: str
    effective_time: str
    expire_time: str
    encrypt_certificate: Sealed


class _Certificates(msgspec.Struct, frozen=True):
    data: list[_Certificate]


class _Known(msgspec.Struct, frozen=True):
    verifier: Verifier
    since: datetime
    until: datetime


class Trust:
    """The keys that verify; the key that opens."""

    def __init__(self, config: WeChatConfig, now: Callable[[], datetime]) -> None:
        self._now = now
        self._aead = AESGCM(config.apiv3_key.encode())
        self._by_certificate = config.trust == "certificate"
        self._pinned: dict[str, Verifier] = {}
        if config.public_key.strip():
            self._pinned[config.public_key_id.strip().upper()] = Verifier.read(config.public_key, "public_key")
        self._certificates: dict[str, _Known] = {}
        self._learnt_at: datetime | None = None
        self._tried_at: datetime | None = None

    def open(self, sealed: Sealed) -> bytes:
        """Decrypt.  ValueError if it was not encrypted with our APIv3 key, or was changed."""
        if sealed.algorithm != "AEAD_AES_256_GCM":
            raise ValueError(f"unknown algorithm {sealed.algorithm!r}")
        ciphertext = base64.b64decode(sealed.ciphertext, validate=True)
        try:
            return self._aead.decrypt(sealed.nonce.encode(), ciphertext, (sealed.associated_data or "").encode())
        except InvalidTag:
            raise ValueError("it does not open with the APIv3 key") from None

    def seal(self, *texts: str) -> tuple[str, list[str]]:
        """Encrypt for WeChat Pay's eyes alone: the name of the key, and each text.  By the public key where that is what we trust,
        else by the certificate that lasts longest; there must be one (`missing`).  ValueError if a text is too long."""
        now = self._now()
        if self._by_certificate:
            good = {serial: k for serial, k in self._certificates.items() if k.since <= now < k.until}
            must(good, "a certificate is there before anything is sealed")
            serial = max(good, key=lambda serial: good[serial].until)
            verifier = good[serial].verifier
        else:
            [(serial, verifier)] = self._pinned.items()
        return serial, [verifier.seal(text) for text in texts]

    def missing(self) -> bool:
        """Must certificates be fetched before any reply can be verified?"""
        now = self._now()
        return self._by_certificate and not any(k.since <= now < k.until for k in self._certificates.values())

    def due(self) -> bool:
        """Should certificates be fetched?  They are to be refreshed every twelve hours."""
        if not self._by_certificate:
            return False
        stale = self._learnt_at is None or self._now() - self._learnt_at >= FRESH_FOR
        return self.missing() or (stale and self._may_try())

    def unknown(self, headers: Mapping[str, str]) -> bool:
        """Does the signature name a certificate that we have not seen and may now ask for?"""
        serial = headers.get("wechatpay-serial", "").upper()
        return bool(_SERIAL.fullmatch(serial)) and serial not in self._certificates and self._may_try()

    def _may_try(self) -> bool:
        return self._tried_at is None or self._now() - self._tried_at >= ASK_AGAIN_AFTER

    def trying(self) -> None:
        """Note that the certificates are being asked for."""
        self._tried_at = self._now()

    def learn(self, reply: HttpReply) -> bool:
        """Take the certificates from the reply of GET /v3/certificates; False if it cannot be trusted.

        The reply is signed with one of the certificates that it brings; what vouches for them is the APIv3 key."""
        try:
            brought = dict(self._read(c) for c in read_as(_Certificates, read_json(reply.body)).data)
        except ValueError:
            return False
        before, self._certificates = self._certificates, brought
        if reply.status == 200 and brought and self.verifies_reply(reply):
            self._learnt_at = self._now()
            return True
        self._certificates = before
        return False

    def _read(self, sent: _Certificate) -> tuple[str, _Known]:
        certificate = x509.load_pem_x509_certificate(self.open(sent.encrypt_certificate))
        key = certificate.public_key()
        if not isinstance(key, RSAPublicKey) or key.key_size < MIN_BITS:
            raise ValueError(f"not an RSA certificate of at least {MIN_BITS} bits")
        if int(sent.serial_no, 16) != certificate.serial_number:
            raise ValueError("the certificate has another serial number")
        since, until = instant(sent.effective_time), instant(sent.expire_time)
        if since is None or until is None:
            raise ValueError("the certificate has no time of validity")
        return sent.serial_no.upper(), _Known(Verifier(key), since, until)

    def verifies_reply(self, reply: HttpReply) -> bool:
        """Is this reply WeChat's, whole, and of this moment?"""
        stamp = reply.headers.get("wechatpay-timestamp", "")
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12):
            return False
        fresh = abs(self._now().timestamp() - int(stamp)) < REPLY_WINDOW_S
        return fresh and self._verifies(reply.headers, reply.body)

    def check_notice(self, headers: Mapping[str, str], body: bytes) -> None:
        """Raise BadSignature, or NeedsTrust, unless this callback is WeChat's.  Its age is no reason: a genuine one may come
        hours late, and what came before is known by its id."""
        if self._verifies(headers, body):
            return
        if self.unknown(headers):
            raise NeedsTrust("signed with a platform certificate that is not known yet")
        raise BadSignature("the signature does not verify")

    def _verifies(self, headers: Mapping[str, str], body: bytes) -> bool:
        if headers.get("wechatpay-signature-type", SIGNATURE_TYPE) != SIGNATURE_TYPE:
            return False
        verifier = self._verifier(headers.get("wechatpay-serial", "").upper())
        stamp, nonce = headers.get("wechatpay-timestamp", ""), headers.get("wechatpay-nonce", "")
        if verifier is None or not stamp or not nonce:
            return False
        message = f"{stamp}\n{nonce}\n".encode(errors="replace") + body + b"\n"
        return verifier.verify(message, headers.get("wechatpay-signature", ""))

    def _verifier(self, serial: str) -> Verifier | None:
        known = self._certificates.get(serial)
        if known is not None:
            return known.verifier if known.since <= self._now() < known.until else None
        return self._pinned.get(serial)
