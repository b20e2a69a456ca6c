"""The authority behind UnionPay's signatures: a root, one in the middle, and the certificates that it issues to UnionPay and to merchants.

Its own keys are of an elliptic curve, which are made in no time; all that sign messages are RSA.
"""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from guilder.simulators import keys

SIGNS = "041@Z2026-11-1@00040000:SIGN@00000001"
_DAYS = 3650


def issue(
    name: str, key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey, issuer: str, by: ec.EllipticCurvePrivateKey, *, authority: bool = False
) -> str:  # fmt: skip
    """A certificate over ten years, PEM."""
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .sign(by, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"), x509.NameAttribute(NameOID.COMMON_NAME, common)])


ROOT, MIDDLE = "UnionPay simulator, root", "UnionPay simulator, middle"


def platform_keys() -> dict[str, str]:
    """Keys and certificates of UnionPay, PEM."""
    root, middle = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    signs = keys.make_key()
    return {
        "unionpay_root": issue(ROOT, root.public_key(), ROOT, root, authority=True),
        "unionpay_middle": issue(MIDDLE, middle.public_key(), ROOT, root, authority=True),
        "unionpay_middle_key": middle.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        "unionpay_certificate": issue(SIGNS, signs.public_key(), MIDDLE, middle),
        "unionpay_key": keys.private_pem(signs),
    }


def issue_to_merchant(mer_id: str, key: rsa.RSAPublicKey, middle_key: str) -> str:
    """A merchant's signing certificate, PEM: of the same authority, and of another owner."""
    by = serialization.load_pem_private_key(middle_key.encode(), None)
    if not isinstance(by, ec.EllipticCurvePrivateKey):
        raise ValueError("the authority's key is another than it made")
    return issue(f"041@Z2026-11-1@{mer_id}:MERCHANT@00000001", key, MIDDLE, by)


def serial_of(certificate: str) -> str:
    """The certId: a certificate's serial number in decimal."""
    return str(x509.load_pem_x509_certificate(certificate.encode()).serial_number)
