"""Whose signatures count as Alipay's: by keys, or by certificates.

Keys.          Alipay's public key for this app.  While one replaces another, both are configured and either counts.
Certificates.  Calls name ours and the roots that we know.  Replies name the certificate that signed them, callbacks mostly none.
               One that we have not seen is fetched (`alipay.open.app.alipaycert.download`), and counts if a configured root
               vouches for it and its owner is that of the configured one: Alipay renews its certificates without asking
               anybody, and the same roots vouch for every merchant's.

A certificate's number is the MD5 of its issuer and its decimal serial, as in Alipay's own SDKs; the roots' is those of all RSA
roots, with `_` between.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import NameOID

from guilder.channels.alipay.config import AlipayConfig
from guilder.channels.signing import MIN_BITS, Signer, Verifier

ASK_AGAIN_AFTER = timedelta(minutes=1)  # an unknown number costs at most one call a minute, whoever sends it
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_RSA = "1.2.840.113549.1.1."  # signature algorithms of PKCS #1
_NUMBER = re.compile(r"[0-9a-f]{32}")
_LONGEST_CHAIN = 4


class Trust:
    """The keys that verify.  ValueError if one cannot be read, or the app's certificate is not of its key."""

    def __init__(self, config: AlipayConfig, signer: Signer, now: Callable[[], datetime]) -> None:
        self._now = now
        self._by_certificate = config.mode == "certificate"
        self._roots: Sequence[x509.Certificate] = ()
        self._owners: frozenset[tuple[str, ...]] = frozenset()
        self._tried_at: datetime | None = None
        self.wanted = ""  # the number of a certificate that signed something and is not known
        self.says: Mapping[str, str] = {}  # how a call names us
        if not self._by_certificate:
            keys = filter(None, (key.strip() for key in config.alipay_public_key.split(",")))
            self._keys = {str(n): Verifier.read(key, "alipay_public_key") for n, key in enumerate(keys)}
            return
        ours = _read("app_cert", config.app_cert)[0]
        if not _verifier(ours, "app_cert").verify(b"guilder", signer.sign(b"guilder")):
            raise ValueError("app_cert is not the certificate of private_key")
        self._roots = _read("root_cert", config.root_cert)
        theirs = _read("alipay_cert", config.alipay_cert)
        self._keys = {number(c): _verifier(c, "alipay_cert") for c in theirs}
        self._owners = frozenset(map(_owner, theirs))
        roots = [number(root) for root in self._roots if root.signature_algorithm_oid.dotted_string.startswith(_RSA)]
        self.says = {"app_cert_sn": number(ours), "alipay_root_cert_sn": "_".join(roots)}

    def verifies(self, text: bytes, signature: str, signed_by: str = "") -> bool:
        """Is `signature` Alipay's?  Where a certificate is named, it must be that one's."""
        if self._by_certificate and signed_by:
            key = self._keys.get(signed_by)
            return key is not None and key.verify(text, signature)
        return any(key.verify(text, signature) for key in self._keys.values())

    def misses(self, signed_by: str) -> bool:
        """Does it name a certificate that we have not seen, and may ask for now?"""
        if not self._by_certificate or signed_by in self._keys or not _NUMBER.fullmatch(signed_by):
            return False
        self.wanted = signed_by
        return self._tried_at is None or self._now() - self._tried_at >= ASK_AGAIN_AFTER

    def trying(self) -> None:
        """Note that the wanted certificate is being asked for."""
        self._tried_at = self._now()

    def learn(self, content: str) -> bool:
        """Take the wanted certificate from `content` (base64 of PEM, its issuers behind it) if a root vouches for it."""
        try:
            chain = _read("it", base64.b64decode(content, validate=True).decode("ascii"))
            [leaf] = [c for c in chain if number(c) == self.wanted]
            if _owner(leaf) not in self._owners or not self._vouched(leaf, chain):
                return False
            self._keys[self.wanted] = _verifier(leaf, "it")
        except ValueError:
            return False
        self.wanted = ""
        return True

    def _vouched(self, leaf: x509.Certificate, chain: Sequence[x509.Certificate]) -> bool:
        """Does a chain of certificates, all valid now, lead from a root to `leaf`?"""
        at, now = leaf, self._now()
        for _ in range(_LONGEST_CHAIN):
            if not at.not_valid_before_utc <= now < at.not_valid_after_utc:
                return False
            if any(_issued(at, by=root) for root in self._roots):
                return True
            above = next((c for c in chain if c != at and _is_authority(c) and _issued(at, by=c)), None)
            if above is None:
                return False
            at = above
        return False


def number(certificate: x509.Certificate) -> str:
    """How Alipay names a certificate."""
    name = certificate.issuer.rfc4514_string()  # CN=...,OU=...,O=...,C=CN
    return hashlib.md5(f"{name}{certificate.serial_number}".encode(), usedforsecurity=False).hexdigest()


def _read(name: str, pem: str) -> list[x509.Certificate]:
    """All certificates of a text.  Among the roots are some of kinds that cannot be read here: they vouch for nothing."""
    found = list(_readable(_PEM.findall(pem)))
    if not found:
        raise ValueError(f"{name} holds no readable certificate (PEM)")
    return found


def _readable(blocks: Iterable[str]) -> Iterable[x509.Certificate]:
    for block in blocks:
        try:
            yield x509.load_pem_x509_certificate(block.encode())
        except ValueError:
            continue


def _verifier(certificate: x509.Certificate, name: str) -> Verifier:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPublicKey) or key.key_size < MIN_BITS:
        raise ValueError(f"{name} is not an RSA certificate of at least {MIN_BITS} bits")
    return Verifier(key)


def _owner(certificate: x509.Certificate) -> tuple[str, ...]:
    """Whose it is: the organisation, for the common name changes with each."""
    return tuple(str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, x509.ExtensionNotFound):
        return False


def _issued(certificate: x509.Certificate, *, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
