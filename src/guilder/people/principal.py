"""Who is calling, if it is a person or a service account: from a token to what they may do at one merchant of one environment.

    Authorization: Bearer us_…             a person who has signed in (sv_…: a service account)
    Stripe-Account: acct_…                 whose book; without it, the platform's own
    Guilder-Environment: live              without it, the first one of this installation

A token holds no rights: what its bearer may do is looked up, and a change holds everywhere within a second.
"""

import hashlib
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from guilder.core import clock, ids
from guilder.core.errors import Forbidden, Invalid, Unauthenticated
from guilder.merchants import onboard
from guilder.merchants.principal import Principal
from guilder.people.model import At, Authority, Grant
from guilder.platform.db import Database
from guilder.platform.environment import Env
from guilder.platform.sql import load

Q = load(__package__)
_ALPHABET = string.ascii_letters + string.digits
PERSON, SERVICE = "us", "sv"
PREFIXES = (PERSON, SERVICE)
ACCOUNT, ENVIRONMENT = "stripe-account", "guilder-environment"


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whose token it is: a person ('usr_…') or a service account ('svc_…'), by which session or key."""

    id: UUID
    by: UUID
    actor: str
    name: str
    expires_at: datetime | None


def new_token(prefix: str) -> tuple[str, bytes]:
    """A token of 190 random bits, and what is stored of it."""
    token = f"{prefix}_" + "".join(secrets.choice(_ALPHABET) for _ in range(32))
    return token, digest(token)


def digest(token: str) -> bytes:
    """What is stored of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


async def authenticate(envs: Mapping[str, Env], token: str, headers: Mapping[str, str]) -> Principal:
    """The caller behind `token`, at the merchant and in the environment that the headers name.

    Raises Unauthenticated; Invalid for a merchant or environment that is none; Forbidden where the caller has no role.
    """
    env = _environment(envs, headers)
    bearer = await _bearer(env, token)
    if bearer is None or (bearer.expires_at is not None and bearer.expires_at <= clock.now()):
        raise Unauthenticated("This session or key is unknown, over or revoked. Sign in again.")
    authority = await authority_of(env, bearer.id)
    merchant_id = _account(headers)
    merchant = None if merchant_id == ids.PLATFORM else await onboard.find(env, merchant_id)
    allowed, own = authority.over(merchant_id), authority.own(merchant_id)
    if merchant_id != ids.PLATFORM and (merchant is None or not (allowed or own)):
        raise Forbidden(f"You have no role at {headers[ACCOUNT]}, or there is no such account.", param="Stripe-Account")
    return Principal(
        env, merchant_id, bearer.by, "person" if token.startswith(PERSON) else "service", allowed, bearer.name,
        merchant["business_line"] if merchant else "", merchant["late_success"] if merchant else "refund", bearer.expires_at,
        bearer.actor, own, bearer.id,
    )  # fmt: skip


async def authority_of(env: Env, id: UUID) -> Authority:
    """What a person or service account may do; nothing if it is disabled."""

    async def look_up() -> Authority:
        return await read_authority(env.control, id)

    return await env.cache.get(("authority", id), look_up)


async def read_authority(control: Database, id: UUID) -> Authority:
    """The same, as it is now."""
    return Authority(
        [
            Grant(r["role"], At(r["at"]), r["merchant_id"], frozenset(r["permissions"]))
            for r in await control.rows(Q.grants_of, id)
        ]
    )


async def _bearer(env: Env, token: str) -> Bearer | None:
    hashed = digest(token)

    async def look_up() -> Bearer | None:
        person = token.startswith(f"{PERSON}_")
        row = await env.control.row(Q.find_session if person else Q.find_service_key, hashed)
        if row is None:
            return None
        return Bearer(
            row["whose"], row["id"], ids.show("usr" if person else "svc", row["whose"]), row["name"], row["expires_at"]
        )

    return await env.cache.get(("bearer", hashed), look_up)


def _environment(envs: Mapping[str, Env], headers: Mapping[str, str]) -> Env:
    named = headers.get(ENVIRONMENT, "")
    env = envs.get(named) if named else next(iter(envs.values()))
    if env is None:
        raise Invalid(
            f"There is no environment {named[:40]!r} here; there are {', '.join(envs)}.", param="Guilder-Environment"
        )
    return env


def _account(headers: Mapping[str, str]) -> UUID:
    named = headers.get(ACCOUNT)
    if named is None:
        return ids.PLATFORM
    id = ids.read("acct", named)
    if id is None or id == ids.PLATFORM:
        raise Invalid(f"{named[:40]!r} is no account: they look like acct_…", param="Stripe-Account")
    return id
