"""Who is believed: `Stripe-Signature: t=1700000000,v1=<hex>,v1=<hex>` over `t.body`, HMAC-SHA256 with the endpoint's secret.

Any `v1` by any of our secrets will do (both stand there while a secret is rolled); other schemes (`v0`) prove nothing.  A signature
older or newer than five minutes is refused: Stripe signs each delivery anew.
"""

import hashlib
import hmac
from collections.abc import Iterable

from guilder.channels.model import BadSignature

TOLERANCE_S = 300
MAX_SIGNATURES = 16


def check(header: str, body: bytes, secrets: Iterable[str], now: int) -> None:
    """Raises BadSignature unless one of `secrets` has signed `body`, and not long ago."""
    parts = [part.strip().partition("=") for part in header.split(",")[: MAX_SIGNATURES + 2]]
    stamps = [value for name, _, value in parts if name == "t"]
    given = [value for name, _, value in parts if name == "v1" and value.isascii()]
    if len(stamps) != 1 or not stamps[0].isascii() or not stamps[0].isdigit() or len(stamps[0]) > 12 or not given:
        raise BadSignature("the header Stripe-Signature is missing or not of its form")
    signed = stamps[0].encode() + b"." + body
    expected = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    if not any(hmac.compare_digest(right, one) for right in expected for one in given):
        raise BadSignature("no signature is by a secret of this endpoint")
    if abs(now - int(stamps[0])) > TOLERANCE_S:
        raise BadSignature(f"the signature is more than {TOLERANCE_S} seconds old")
