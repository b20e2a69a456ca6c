"""Who is calling, if it is a person or a service account: from a token to what they may do at one merchant of one environment.

    Authorization: Bearer us_…             a person who has signed in (sv_…: a service account)
    Stripe-Account: acct_…                 whose book; without it, the platform's own
    Guilder-Environment: live              without it, the first one of this installation

A token holds no rights: what its bearer may do is looked up, and a change holds everywhere within a second.  A session ends after twelve
hours, and sooner when nobody uses it for two; that it is used is written down once a minute, not at each call.
"""

import hashlib
import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from guilder.core import clock, ids
from guilder.core.errors import Forbidden, Invalid, Unauthenticated
from guilder.merchants import onboard
from guilder.merchants.principal import Principal
from guilder.people.model import At, Authority, Grant
from guilder.platform.db import Database, Row, Tx
from guilder.platform.environment import Env
from guilder.platform.sql import load

Q = load(__package__)
_ALPHABET = string.ascii_letters + string.digits
PERSON, SERVICE = "us", "sv"
PREFIXES = (PERSON, SERVICE)
_OVER = "This session or key is unknown, over or revoked. Sign in again."
_NOBODY = "Only somebody who has signed in may do this: a key is nobody, and manages nobody."
ACCOUNT, ENVIRONMENT = "stripe-account", "guilder-environment"
IDLE_S, NOTE_S = 2 * 3600, 60
# What every person may do with what is his own, whatever his roles: his name, his password, his sessions.
SELF = frozenset({"people:read", "people:write"})


@dataclass(slots=True)
class Bearer:
    """Whose token it is: a person ('usr_…') or a service account ('svc_…'), by which session or key."""

    id: UUID
    by: UUID
    actor: str
    name: str
    expires_at: datetime | None
    seen_at: datetime | None = None  # of a session: when its use was noted last


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
        raise Unauthenticated(_OVER)
    await _see(env, bearer)
    authority = await authority_of(env, bearer.id)
    merchant_id = _account(headers)
    merchant = None if merchant_id == ids.PLATFORM else await onboard.find(env, merchant_id)
    allowed, own = authority.over(merchant_id), authority.own(merchant_id)
    if merchant_id != ids.PLATFORM and (merchant is None or not (allowed or own)):
        raise Forbidden(f"You have no role at {headers[ACCOUNT]}, or there is no such account.", param="Stripe-Account")
    kind = "person" if token.startswith(PERSON) else "service"
    if kind == "person":
        own |= SELF
    return Principal(
        env, merchant_id, bearer.by, kind, allowed, bearer.name,
        merchant["business_line"] if merchant else "", merchant["late_success"] if merchant else "refund", bearer.expires_at,
        bearer.actor, own, bearer.id, authority.over(ids.PLATFORM),
    )  # fmt: skip


def nobody(env: Env) -> Principal:
    """Whoever calls what is open to everybody."""
    return Principal(
        env, ids.PLATFORM, ids.PLATFORM, "nobody", frozenset(), "nobody", "", "refund", None, "nobody"
    )  # fmt: skip


def staff(who: Principal) -> Principal:
    """`who`, if it is somebody who works here.  Raises Forbidden for a merchant's key."""
    if who.person_id is None:
        raise Forbidden(_NOBODY)
    return who


def person(who: Principal) -> UUID:
    """The person who calls.  Raises Forbidden for a key and for a service account."""
    if who.person_id is None or who.kind != "person":
        raise Forbidden(_NOBODY)
    return who.person_id


async def authority_of(env: Env, id: UUID) -> Authority:
    """What a person or service account may do; nothing if it is disabled."""

    async def look_up() -> Authority:
        return await read_authority(env.control, id)

    return await env.cache.get(("authority", id), look_up)


async def read_authority(control: Database, id: UUID) -> Authority:
    """The same, as it is now."""
    return _authority(await control.rows(Q.grants_of, id))


async def authority_in(tx: Tx, id: UUID) -> Authority:
    """The same inside a transaction of the control database."""
    return _authority(await tx.rows(Q.grants_of, id))


def _authority(rows: Sequence[Row]) -> Authority:
    return Authority([Grant(r["role"], At(r["at"]), r["merchant_id"], frozenset(r["permissions"])) for r in rows])


async def _see(env: Env, bearer: Bearer) -> None:
    """Note once a minute that a session is in use.  Raises Unauthenticated if nobody has used it for too long, in any process."""
    if bearer.seen_at is None or clock.now() - bearer.seen_at < timedelta(seconds=NOTE_S):
        return
    seen = await env.control.transact(lambda tx: tx.value(Q.see_session, bearer.by, IDLE_S), durable=False)
    if seen is None:
        raise Unauthenticated(_OVER)
    bearer.seen_at = seen


async def _bearer(env: Env, token: str) -> Bearer | None:
    hashed = digest(token)

    async def look_up() -> Bearer | None:
        session = token.startswith(f"{PERSON}_")
        if session:
            row = await env.control.row(Q.find_session, hashed, IDLE_S)
        else:
            row = await env.control.row(Q.find_service_key, hashed)
        if row is None:
            return None
        actor = ids.show("usr" if session else "svc", row["whose"])
        seen = row["last_seen_at"] if session else None
        return Bearer(row["whose"], row["id"], actor, row["name"], row["expires_at"], seen)

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
