"""Service accounts and their keys as the API shows them."""

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from guilder.core import clock, ids
from guilder.people.model import Grant
from guilder.people.model_services import Key, Service


class ServiceGrant(Struct, kw_only=True):
    """A role that a service account has, and where it reaches."""

    role: str
    at: Literal["platform", "merchant", "store", "own"]
    account: str | None = None


class ServiceAccountObject(Struct, kw_only=True):
    """Something that acts by itself: a job of yours, a script.  It has keys and no password."""

    id: str
    object: Literal["service_account"] = "service_account"
    created: int
    disabled: bool
    grants: list[ServiceGrant]
    name: str


class ServiceKeyObject(Struct, kw_only=True):
    """A key of a service account."""

    id: str
    object: Literal["service_key"] = "service_key"
    created: int
    expires_at: int | None = None
    last4: str
    replaced_by: str | None = None
    revoked_at: int | None = None
    secret: Annotated[str | None, Meta(description="The key itself, in the answer that makes it and nowhere else.")] = (
        None
    )
    service_account: str


def service_account(s: Service) -> ServiceAccountObject:
    """A service account as the API shows it."""
    return ServiceAccountObject(
        id=ids.show("svc", s.id),
        created=clock.unix(s.created_at),
        disabled=s.disabled_at is not None,
        grants=_grants(s.grants),
        name=s.name,
    )


def service_key(k: Key) -> ServiceKeyObject:
    """A key as the API shows it."""
    return ServiceKeyObject(
        id=ids.show("svk", k.id),
        created=clock.unix(k.created_at),
        expires_at=None if k.expires_at is None else clock.unix(k.expires_at),
        last4=k.last4,
        replaced_by=None if k.replaced_by is None else ids.show("svk", k.replaced_by),
        revoked_at=None if k.revoked_at is None else clock.unix(k.revoked_at),
        secret=k.secret,
        service_account=ids.show("svc", k.service_id),
    )


def _grants(held: Sequence[Grant]) -> list[ServiceGrant]:
    return [
        ServiceGrant(
            role=g.role, at=g.at.value, account=None if g.merchant_id is None else ids.show("acct", g.merchant_id)
        )
        for g in held
    ]
