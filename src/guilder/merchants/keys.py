"""API keys: made, shown once, rolled, revoked, recognised.

    sk_test_<32 characters>    may do everything in one environment
    rk_test_…                  may do what its scopes say
    pk_test_…                  may be seen by browsers: only what a client secret opens

The prefix names the environment; 32 characters of 62 are 190 random bits, so a plain SHA-256 is hash enough.
"""

import hashlib
import secrets
import string
from dataclasses import dataclass
from uuid import UUID

from guilder.core import ids
from guilder.core.errors import Invalid, NotFound
from guilder.platform import trail
from guilder.platform.db import Database, Row, Tx
from guilder.platform.sql import load

Q = load(__package__)
_ALPHABET = string.ascii_letters + string.digits
OVERLAP_S = 24 * 3600
KINDS = {"sk": "secret", "pk": "publishable", "rk": "restricted"}
SCOPES = (
    "payments:read", "payments:write", "refunds:read", "refunds:write", "payouts:read", "payouts:write", "disputes:read", "disputes:write",
    "customers:read", "customers:write", "customers:erase",
    "checkout:read", "checkout:write", "events:read", "webhooks:read", "webhooks:write", "ledger:read", "ledger:write",
    "payments:client",
    "stores:read", "stores:write",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Made:
    """A new key.  `secret` exists nowhere else."""

    id: UUID
    secret: str


def digest(secret: str) -> bytes:
    """What is stored of a key."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


async def make(tx: Tx, merchant_id: UUID, env: str, kind: str, scopes: tuple[str, ...] = (), name: str = "") -> Made:
    """Make a key.  Raises Invalid for an unknown kind or scope."""
    if kind not in KINDS:
        raise Invalid(f"A key is one of {', '.join(KINDS)}; not {kind!r}.", param="kind")
    if unknown := set(scopes) - set(SCOPES):
        raise Invalid(f"Unknown scopes: {', '.join(sorted(unknown))}. Known are {', '.join(SCOPES)}.", param="scopes")
    granted = {"sk": ("*",), "pk": ("payments:client",), "rk": scopes}[kind]
    secret = f"{kind}_{env}_" + "".join(secrets.choice(_ALPHABET) for _ in range(32))
    id = ids.new_id()
    await tx.run(Q.insert_key, id, merchant_id, env, kind, digest(secret), secret[-4:], list(granted), name)
    made = {"kind": kind, "env": env, "scopes": list(granted)}
    trail.note(tx, "key.made", ids.show("key", id), book_id=merchant_id, after=made)
    return Made(id, secret)


async def roll(tx: Tx, key_id: UUID, overlap_s: int = OVERLAP_S) -> Made:
    """Replace a key: the old one works for `overlap_s` more seconds.  Raises NotFound."""
    old = await tx.row(Q.get_key, key_id)
    if old is None:
        raise NotFound("No such key.")
    scopes = tuple(old["scopes"]) if old["kind"] == "rk" else ()
    new = await make(tx, old["merchant_id"], old["env"], old["kind"], scopes, old["name"])
    if await tx.value(Q.expire_key, key_id, overlap_s, new.id) is None:
        raise NotFound("This key is revoked or was rolled before; roll the newer one.")
    after = {"replaced_by": ids.show("key", new.id), "overlap_s": overlap_s}
    trail.note(tx, "key.rolled", ids.show("key", key_id), book_id=old["merchant_id"], after=after)
    return new


async def revoke(tx: Tx, key_id: UUID) -> None:
    """Refuse a key from now on.  Raises NotFound."""
    merchant_id = await tx.value(Q.revoke_key, key_id)
    if merchant_id is None:
        raise NotFound("No such key, or it is revoked already.")
    trail.note(tx, "key.revoked", ids.show("key", key_id), book_id=merchant_id)


async def of_merchant(control: Database, merchant_id: UUID) -> list[Row]:
    """A merchant's keys, oldest first."""
    return await control.rows(Q.list_keys, merchant_id)


async def revision(control: Database) -> int:
    """The number that moves with every change of what is shared."""
    return await control.value(Q.revision)
