"""Who signs for UnionPay.

Every reply and callback brings the certificate that it was signed with.  It is believed if the middle certificate of our configuration has
issued it, if the root has issued that one, if both are in time, and if it names UnionPay as its owner: the same authority
issues certificates to others.
"""

from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import NameOID

from guilder.channels.signing import MIN_BITS, Verifier

OWNER = {"production": ("中国银联股份有限公司",), "test": ("中国银联股份有限公司", "00040000:SIGN")}
_KEPT = 8  # certificates that were believed: UnionPay changes its own every few years
_LONGEST = 10_000


class Untrusted(Exception):
    """The certificate is not UnionPay's, or not in time."""


class Trust:
    """Finds the verifier of a certificate.  Raises ValueError if the configured certificates are no chain."""

    def __init__(self, root: str, middle: str, stage: str) -> None:
        self._middle = read_certificate(middle, "middle_certificate")
        try:
            self._middle.verify_directly_issued_by(read_certificate(root, "root_certificate"))
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            raise ValueError("middle_certificate was not issued by root_certificate") from None
        self._owners = OWNER[stage]
        self._known: dict[bytes, tuple[x509.Certificate, Verifier]] = {}

    def verifier(self, certificate: bytes, now: datetime) -> Verifier:
        """What verifies signatures made with this certificate.  Raises Untrusted."""
        known = self._known.get(certificate) or self._believed(certificate)
        for each in (known[0], self._middle):
            if not each.not_valid_before_utc <= now <= each.not_valid_after_utc:
                raise Untrusted("the certificate is not valid at this time")
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[certificate] = known
        return known[1]

    def _believed(self, text: bytes) -> tuple[x509.Certificate, Verifier]:
        try:
            certificate = read_certificate(text[:_LONGEST].decode("ascii"), "signPubKeyCert")
            certificate.verify_directly_issued_by(self._middle)
            key = certificate.public_key()
            owner = owner_of(certificate)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
            raise Untrusted("the certificate was not issued for UnionPay's signatures") from error
        if owner not in self._owners:
            raise Untrusted("the certificate names another owner than UnionPay")
        if not isinstance(key, RSAPublicKey) or key.key_size < MIN_BITS:
            raise Untrusted("the certificate's key is none of RSA, or too short")
        return certificate, Verifier(key)


def read_certificate(pem: str, name: str) -> x509.Certificate:
    """ValueError, which names the field, if it is none."""
    try:
        return x509.load_pem_x509_certificate(pem.strip().encode())
    except ValueError:
        raise ValueError(f"{name} is not a readable certificate (PEM)") from None


def owner_of(certificate: x509.Certificate) -> str:
    """The third part of the common name: '041@Z2017-11-1@00040000:SIGN@00000001' is owned by '00040000:SIGN'."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    parts = str(names[0].value).split("@") if len(names) == 1 else []
    return parts[2] if len(parts) > 2 else ""
