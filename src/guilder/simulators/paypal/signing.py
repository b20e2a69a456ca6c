"""Webhook signatures from PayPal's side, and the certificate that proves them.

Text:        `transmission id|transmission time|webhook id|CRC-32 of the body in decimal`, SHA256withRSA.
Certificate: of messageverificationcerts.paypal.com, by an authority of the simulator's own; its chain lies under
             /v1/notifications/certs/, and the merchant is given the authority.
"""

import uuid
import zlib
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from guilder.simulators import keys

NAME = "messageverificationcerts.paypal.com"
ELSEWHERE = "https://certificates.example/v1/notifications/certs/CERT-forged"


def platform_keys() -> dict[str, str]:
    """The channel's own key, its certificate and the authority behind it."""
    key, above = keys.make_key(), keys.make_key()
    authority = _authority(above)
    return {
        "paypal_key": keys.private_pem(key),
        "paypal_certificate": _pem(_certificate(key, above, authority)),
        "paypal_authority": _pem(authority),
    }


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _authority(key: rsa.RSAPrivateKey) -> x509.Certificate:
    subject, now = _named("PayPal simulator authority"), datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    made = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=3650))
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    made = made.add_extension(usage, critical=True)
    made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return made.sign(key, hashes.SHA256())


def _certificate(key: rsa.RSAPrivateKey, above: rsa.RSAPrivateKey, authority: x509.Certificate) -> x509.Certificate:
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(authority.subject, _named(NAME), key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=3650))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above.public_key()), critical=False)
    return made.sign(above, hashes.SHA256())


def headers(key: rsa.RSAPrivateKey, webhook_id: str, certificate_url: str, body: bytes, forged: str) -> dict[str, str]:
    """What proves a webhook; `forged` is '', 'signature' (over another text), 'certificate' (somebody's own), 'webhook' (another's)."""
    id, time = str(uuid.uuid4()), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    about = body + b" " if forged == "signature" else body
    webhook = "0" + webhook_id[1:] if forged == "webhook" else webhook_id
    return {
        "PAYPAL-TRANSMISSION-ID": id,
        "PAYPAL-TRANSMISSION-TIME": time,
        "PAYPAL-TRANSMISSION-SIG": keys.sign(key, f"{id}|{time}|{webhook}|{zlib.crc32(about)}".encode()),
        "PAYPAL-CERT-URL": ELSEWHERE if forged == "certificate" else certificate_url,
        "PAYPAL-AUTH-ALGO": "SHA256withRSA",
        "PAYPAL-AUTH-VERSION": "v2",
    }
