"""One-time codes of an authenticator app: RFC 6238 over RFC 4226, six digits, SHA-1, steps of 30 seconds, as every app takes them.  And the
recovery codes for the day on which the phone is lost."""

import base64
import hashlib
import hmac
import secrets
from datetime import datetime
from urllib.parse import quote

from guilder.core.ids import ALPHABET

STEP_S, DIGITS = 30, 6
SECRET_BYTES = 20  # RFC 4226: as long as the hash
RECOVERY_CODES, RECOVERY_LENGTH = 10, 16


def new_secret() -> bytes:
    """The secret that the app and we share."""
    return secrets.token_bytes(SECRET_BYTES)


def shown(secret: bytes) -> str:
    """The secret as people type it into an app."""
    return base64.b32encode(secret).decode()


def uri(secret: bytes, email: str) -> str:
    """What the code says that an app scans."""
    return f"otpauth://totp/Guilder:{quote(email)}?secret={shown(secret)}&issuer=Guilder"


def code_at(secret: bytes, step: int) -> str:
    """The code of a time step."""
    mac = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    at = mac[-1] & 15
    return f"{(int.from_bytes(mac[at : at + 4], 'big') & 0x7FFF_FFFF) % 10**DIGITS:0{DIGITS}}"


def step_of(secret: bytes, code: str, now: datetime) -> int | None:
    """The time step whose code this is: this one, the one before or the one after, for clocks differ.  None: it is none of theirs."""
    here = int(now.timestamp()) // STEP_S
    given = code.replace(" ", "").encode("utf-8", "replace")
    steps = [s for s in (here - 1, here, here + 1) if hmac.compare_digest(code_at(secret, s).encode(), given)]
    return steps[-1] if steps else None


def new_recovery_codes() -> list[str]:
    """Ten codes, in groups of four."""
    return [
        "-".join("".join(secrets.choice(ALPHABET) for _ in range(4)) for _ in range(RECOVERY_LENGTH // 4))
        for _ in range(RECOVERY_CODES)
    ]


def recovery_digest(code: str) -> bytes | None:
    """What is stored of a recovery code; None for what can be none."""
    bare = code.lower().replace("-", "").replace(" ", "")
    return hashlib.sha256(bare.encode()).digest() if len(bare) == RECOVERY_LENGTH and bare.isascii() else None
