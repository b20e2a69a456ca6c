"""The papers of certificate mode: a root that stands for Ant's, Alipay's two certificates, and one for each merchant.

Alipay renews its certificate when it likes: `POST /sim/alipay/{id}/renew` makes the second one sign for an account.  A number
(`alipay_cert_sn`) is the MD5 of the issuer's name and the decimal serial.
"""

import hashlib
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from guilder.simulators import keys

_WORDS = (NameOID.COUNTRY_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.COMMON_NAME)
_AUTHORITY = (
    "CN",
    "Ant Financial (simulated)",
    "Certification Authority",
    "Ant Financial Certification Authority Class 2",
)


def make_platform() -> dict[str, str]:
    """What the simulated Alipay has: PEMs by name, made once for a data directory."""
    root, first, second = keys.make_key(), keys.make_key(), keys.make_key()
    name = _name(*_AUTHORITY)
    made = {
        "alipay_key": keys.private_pem(first),
        "alipay_key_2": keys.private_pem(second),
        "alipay_root_key": keys.private_pem(root),
        "alipay_root": _pem(_sign(name, root.public_key(), name, root, authority=True)),
    }
    elliptic = ec.generate_private_key(ec.SECP256R1())  # a root that is not RSA: its number is left out
    other = _name("CN", "Ant Financial (simulated)", "Certification Authority", "Ant Financial EC Root")
    made["alipay_other_root"] = _pem(_sign(other, elliptic.public_key(), other, elliptic, authority=True))
    for which, key in (("alipay_certificate", first), ("alipay_certificate_2", second)):
        made[which] = issue(made, "Alipay (simulated)", f"{which}-2088", key.public_key())
    return made


def issue(platform: dict[str, str], owner: str, common_name: str, key: rsa.RSAPublicKey) -> str:
    """A certificate over a key, from the simulated authority.  PEM."""
    authority = keys.load_private(platform["alipay_root_key"])
    subject = _name("CN", owner, "Alipay", common_name)
    return _pem(_sign(subject, key, _name(*_AUTHORITY), authority))


def roots(platform: dict[str, str]) -> str:
    """alipayRootCert.crt: all roots, with an empty line between."""
    return "\n".join((platform["alipay_root"], platform["alipay_other_root"]))


def number(pem: str) -> str:
    """How Alipay names the first certificate of a PEM text."""
    certificate = x509.load_pem_x509_certificate(pem.encode())
    words = {attribute.oid: str(attribute.value) for attribute in certificate.issuer}
    named = ",".join(f"{short}={words[oid]}" for short, oid in zip(("C", "O", "OU", "CN"), _WORDS, strict=True))
    issuer = ",".join(reversed(named.split(",")))
    return hashlib.md5(f"{issuer}{certificate.serial_number}".encode(), usedforsecurity=False).hexdigest()


def _name(*words: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, word) for oid, word in zip(_WORDS, words, strict=True)])


def _sign(
    subject: x509.Name,
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    by: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    *,
    authority: bool = False,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=3650))
    builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    return builder.sign(by, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
