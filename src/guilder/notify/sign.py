"""Signatures on webhooks: Stripe's scheme and Standard Webhooks 1.0.0 side by side, from one secret.

A secret is `whsec_` and 32 random bytes in base64.  Stripe's HMAC key is that whole text; Standard Webhooks' is the bytes.

    Stripe-Signature: t=1790000000,v1=<hex of HMAC-SHA256(text, "1790000000.<body>")>[,v1=<of the old secret>]
    webhook-signature: v1,<base64 of HMAC-SHA256(bytes, "evt_....1790000000.<body>")>[ v1,<of the old secret>]

The id is the event's and constant; the timestamp is that of the try.
Sources: stripe-python `WebhookSignature`, the Standard Webhooks specification.
"""

import base64
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass

PREFIX = "whsec_"


@dataclass(frozen=True, slots=True)
class Secret:
    """Both keys that one secret is."""

    text: bytes
    raw: bytes

    def __repr__(self) -> str:
        return "Secret()"  # and nothing of it


def mint() -> str:
    """A new secret."""
    return PREFIX + base64.b64encode(os.urandom(32)).decode()


def read(text: bytes) -> Secret:
    """The keys of a secret."""
    return Secret(text, base64.b64decode(text[len(PREFIX) :]))


def signed(secrets: Sequence[Secret], id: str, at: int, body: bytes) -> dict[str, str]:
    """The headers that prove where `body` comes from, with one signature per secret."""
    stamp = b"%d." % at + body
    named = id.encode() + b"." + stamp
    stripe = [f"t={at}"] + ["v1=" + hmac.digest(s.text, stamp, "sha256").hex() for s in secrets]
    standard = ["v1," + base64.b64encode(hmac.digest(s.raw, named, "sha256")).decode() for s in secrets]
    return {
        "Stripe-Signature": ",".join(stripe),
        "webhook-id": id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(standard),
    }
