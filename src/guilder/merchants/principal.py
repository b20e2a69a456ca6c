"""Who is calling: from an API key to a merchant, an environment and scopes."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from guilder.core import clock, ids
from guilder.core.errors import Unauthenticated
from guilder.merchants import keys
from guilder.platform.environment import Env
from guilder.platform.sql import load

Q = load(__package__)


class Everything(Container[str]):
    """The scopes of a secret key: all that a key can be given, and nothing that is for people."""

    def __contains__(self, scope: object) -> bool:
        return scope in keys.SCOPES


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller.  Its book is its merchant's."""

    env: Env
    merchant_id: UUID
    key_id: UUID
    kind: str
    scopes: Container[str]
    name: str
    business_line: str
    late_success: str
    expires_at: datetime | None
    actor: str  # 'key_…', 'usr_…', 'svc_…': who answers for what is done
    own: Container[str] = (
        frozenset()
    )  # what is allowed with what the caller made, beside `scopes`, which is with everything here
    person_id: UUID | None = None  # of a person or a service account
    platform: Container[str] = (
        frozenset()
    )  # what is allowed on the platform itself: with what its merchants may not change

    @property
    def book_id(self) -> UUID:
        return self.merchant_id

    @property
    def livemode(self) -> bool:
        return self.env.livemode

    @property
    def at_platform(self) -> bool:
        """Whether the caller acts for the platform, and for no account."""
        return self.merchant_id == ids.PLATFORM

    @property
    def names_account(self) -> bool:
        """Whether the caller says in a header whose book it is about.  A key belongs to one merchant."""
        return self.person_id is not None


async def authenticate(envs: Mapping[str, Env], key: str) -> Principal:
    """The caller behind an API key.  Raises Unauthenticated; the message never repeats more than the key's ends."""
    parts = key.split("_", 2)
    if len(parts) != 3 or parts[0] not in keys.KINDS:
        raise Unauthenticated(f"Invalid API key provided: {_hint(key)}. Keys look like sk_test_… or sk_live_….")
    env = envs.get(parts[1])
    if env is None:
        raise Unauthenticated(
            f"Invalid API key provided: {_hint(key)}. There is no environment {parts[1][:12]!r} here."
        )
    hashed = keys.digest(key)

    async def look_up() -> Principal | None:
        row = await env.control.row(Q.find_key, hashed)
        if row is None or row["env"] != env.name:
            return None
        return Principal(
            env, row["merchant_id"], row["id"], row["kind"], _scopes(row["scopes"]), row["name"], row["business_line"],
            row["late_success"], row["expires_at"], ids.show("key", row["id"]),
        )  # fmt: skip

    found = await env.cache.get(("key", hashed), look_up)
    if found is None or (found.expires_at is not None and found.expires_at <= clock.now()):
        raise Unauthenticated(f"Invalid API key provided: {_hint(key)}. It is unknown, expired or revoked.")
    return found


def _scopes(granted: Sequence[str]) -> Container[str]:
    """What a key may do; whoever may read payments may also do what a payer's browser may."""
    if "*" in granted:
        return Everything()
    return frozenset(granted) | ({"payments:client"} if "payments:read" in granted else set())


def _hint(key: str) -> str:
    return f"{key[:8]}…{key[-4:]}" if len(key) >= 24 else "(too short to be one)"
