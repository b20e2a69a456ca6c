"""A UnionPay merchant who speaks the raw wire to the simulator: forms in, `k=v&k=v` that is not url-encoded out."""

import base64
import hashlib
import urllib.error
import urllib.request
from urllib.parse import urlencode

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from simulators.merchant import PADDING, SHA256, sign

SENT = "20261121120000"


def letters(params: dict[str, str]) -> bytes:
    """What is signed: the hex of SHA-256 over the sorted parameters."""
    pairs = (f"{name}={value}" for name, value in sorted(params.items()) if value and name != "signature")
    return hashlib.sha256("&".join(pairs).encode()).hexdigest().encode()


def is_signed(params: dict[str, str], authority: str) -> bool:
    """Whether the certificate in it was issued by this authority, and it is signed with that certificate."""
    certificate = x509.load_pem_x509_certificate(params["signPubKeyCert"].encode())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.encode()))
    try:
        certificate.public_key().verify(  # type: ignore[union-attr,call-arg]
            base64.b64decode(params["signature"]), letters(params), PADDING, SHA256
        )
    except InvalidSignature:
        return False
    return True


def parse(body: str) -> dict[str, str]:
    """Each name up to its first '=': none of the values that are read here holds an '&'."""
    return dict(pair.split("=", 1) for pair in body.split("&"))


class UnionPayMerchant:
    """Calls UnionPay; every reply's signature must be right."""

    def __init__(self, config: dict[str, str], notify_url: str) -> None:
        self.config, self.notify_url, self.id = config, notify_url, config["mer_id"]

    def params(self, **fields: str) -> dict[str, str]:
        """Signed parameters.  An empty value takes a field out."""
        serial = x509.load_pem_x509_certificate(self.config["certificate"].encode()).serial_number
        whole = {
            "version": "5.1.0", "encoding": "UTF-8", "signMethod": "01", "accessType": "0", "merId": self.id, "certId": str(serial),
            "bizType": "000000", "channelType": "08", "txnTime": SENT, **fields,
        }  # fmt: skip
        whole = {name: value for name, value in whole.items() if value}
        return {**whole, "signature": sign(self.config["private_key"], letters(whole))}

    def send(self, endpoint: str, params: dict[str, str]) -> dict[str, str]:
        """The reply, verified."""
        url = f"{self.config['base_url']}/gateway/api/{endpoint}.do" if endpoint else f"{self.config['file_url']}/"
        with urllib.request.urlopen(url, urlencode(params).encode()) as answer:
            said = parse(answer.read().decode())
        assert is_signed(said, self.config["middle_certificate"])
        assert said["signPubKeyCert"].count("\r\n") == said["signPubKeyCert"].count("\n") and not said[
            "signPubKeyCert"
        ].endswith("\n")
        return said

    def call(self, endpoint: str, **fields: str) -> dict[str, str]:
        return self.send(endpoint, self.params(**fields))

    def order(self, number: str, **fields: str) -> dict[str, str]:
        """A QR code for one yuan."""
        return {
            "txnType": "01", "txnSubType": "07", "orderId": number, "txnAmt": "100", "currencyCode": "156", "backUrl": self.notify_url,
            **fields,
        }  # fmt: skip

    def create(self, number: str, **fields: str) -> dict[str, str]:
        return self.call("backTransReq", **self.order(number, **fields))

    def query(self, number: str, **fields: str) -> dict[str, str]:
        return self.call("backTransReq", txnType="00", txnSubType="00", orderId=number, **fields)

    def give_back(self, kind: str, number: str, amount: str, **original: str) -> dict[str, str]:
        """A refund (04) or void (31)."""
        order = {"txnType": kind, "txnSubType": "00", "orderId": number, "txnAmt": amount, "backUrl": self.notify_url}
        return self.call("backTransReq", **order, **original)
