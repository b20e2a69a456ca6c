"""Service accounts: what acts by itself, what it may do, and the keys by which it is known.

    made = await services.make(tx, giver, "Nightly export", "auditor", Place(At.PLATFORM))
    key = await services.make_key(tx, giver, made.id)     # key.secret, an sv_…, exists nowhere else

Whoever makes a key holds it, and can do with it whatever the account may.  So nobody gives an account (G2), and nobody takes a key of one,
that may do more than he may himself; only the operator of the machine is not asked.  And no account decides on approvals: that is a person's,
see `grants_of`.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from guilder.core import clock, ids
from guilder.core.errors import Forbidden, NotFound, WrongState
from guilder.people import grants, principal
from guilder.people.grants import Giver, Place
from guilder.people.model import At, Grant
from guilder.people.model_services import Key, Service
from guilder.platform import trail
from guilder.platform.db import Database, Row, Tx
from guilder.platform.sql import load, walked

Q = load(__package__)
OVERLAP_S = 24 * 3600


async def make(tx: Tx, giver: Giver, name: str, role: str, place: Place) -> Service:
    """Make an account with this role.  In the control database.  Raises Invalid, Forbidden, NotFound."""
    id = ids.new_id()
    await tx.run(Q.insert_service, id, name, clock.now())
    trail.note(tx, "service.made", ids.show("svc", id), after={"name": name})
    await grants.give(tx, giver, id, role, place, service=True)
    return await _lock(tx, id)


async def change(tx: Tx, giver: Giver, id: UUID, *, name: str | None = None, disabled: bool | None = None) -> Service:
    """Rename, disable or enable an account.  Disabled, none of its keys works, from the next second on.  Raises NotFound, Forbidden."""
    was = await _lock(tx, id)
    at = was.disabled_at if disabled is None else None if not disabled else was.disabled_at or clock.now()
    now = replace(was, name=name or was.name, disabled_at=at)
    if was.disabled_at is not None and now.disabled_at is None:
        await _refuse_more(tx, giver, now.grants)
    await tx.run(Q.change_service, id, now.name, now.disabled_at)
    before, after = ({"name": s.name, "disabled": s.disabled_at is not None} for s in (was, now))
    if before != after:
        trail.note(tx, "service.changed", ids.show("svc", id), before=before, after=after)
    return now


async def make_key(tx: Tx, giver: Giver, service_id: UUID, *, expires_in_s: int | None = None) -> Key:
    """A new key of an account.  Raises NotFound, WrongState, Forbidden."""
    service = await _lock(tx, service_id)
    if service.disabled_at is not None:
        raise WrongState("This service account is disabled: enable it first.", code="service_account_disabled")
    await _refuse_more(tx, giver, service.grants)
    secret, hashed = principal.new_token(principal.SERVICE)
    now = clock.now()
    expires_at = None if expires_in_s is None else now + timedelta(seconds=expires_in_s)
    made = Key(ids.new_id(), service_id, secret[-4:], now, expires_at, secret=secret)
    await tx.run(Q.insert_service_key, made.id, service_id, hashed, made.last4, now, expires_at)
    after = {"of": ids.show("svc", service_id), "expires_at": None if expires_at is None else clock.unix(expires_at)}
    trail.note(tx, "service_key.made", ids.show("svk", made.id), after=after)
    return made


async def roll_key(tx: Tx, giver: Giver, service_id: UUID, key_id: UUID, *, overlap_s: int = OVERLAP_S) -> Key:
    """Replace a key: the old one works for `overlap_s` more seconds, and never longer than it would have.  Raises NotFound, WrongState,
    Forbidden."""
    old = await _lock_key(tx, service_id, key_id)
    now = clock.now()
    if (
        old.revoked_at is not None
        or old.replaced_by is not None
        or (old.expires_at is not None and old.expires_at <= now)
    ):
        raise WrongState("This key is revoked, over or was rolled before; roll the newer one.", code="service_key_over")
    new = await make_key(tx, giver, service_id)
    until = now + timedelta(seconds=overlap_s)
    await tx.run(Q.change_service_key, key_id, min(until, old.expires_at or until), None, new.id)
    after = {"replaced_by": ids.show("svk", new.id), "overlap_s": overlap_s}
    trail.note(tx, "service_key.rolled", ids.show("svk", key_id), after=after)
    return new


async def revoke_key(tx: Tx, service_id: UUID, key_id: UUID) -> Key:
    """Refuse a key from now on.  Revoking it again changes nothing.  Raises NotFound."""
    old = await _lock_key(tx, service_id, key_id)
    if old.revoked_at is not None:
        return old
    now = replace(old, revoked_at=clock.now())
    await tx.run(Q.change_service_key, key_id, now.expires_at, now.revoked_at, now.replaced_by)
    trail.note(tx, "service_key.revoked", ids.show("svk", key_id))
    return now


async def everybody(control: Database) -> list[Service]:
    """All accounts, oldest first."""
    rows = await control.rows(walked(Q.list_services, True), None, None, None, None, None, None)
    grants = await control.rows(Q.grants_of_services, [r["id"] for r in rows])
    return [service_of(r, grants) for r in rows]


async def keys_of(control: Database, service_id: UUID) -> list[Key]:
    """An account's keys, oldest first."""
    return [
        key_of(r)
        for r in await control.rows(walked(Q.list_service_keys, True), service_id, None, None, None, None, None)
    ]


def no_such(shown: str) -> NotFound:
    """The refusal for an id that names no account."""
    return NotFound(f"No such service account: '{shown}'", param="service_account")


def no_such_key(shown: str) -> NotFound:
    """The refusal for an id that names no key of the account."""
    return NotFound(f"No such key of this service account: '{shown}'", param="key")


def service_of(row: Row, grants: Sequence[Row]) -> Service:
    """An account from its row and those of its grants."""
    held = [grant_of(g) for g in grants if g["service_id"] == row["id"]]
    return Service(row["id"], row["name"], row["created_at"], row["disabled_at"], held)


def grant_of(row: Row) -> Grant:
    """A grant from its row."""
    return Grant(row["role"], At(row["at"]), row["merchant_id"], frozenset(row["permissions"]))


def key_of(row: Row) -> Key:
    """A key from its row."""
    return Key(
        row["id"], row["service_id"], row["last4"], row["created_at"], row["expires_at"], row["revoked_at"], row["replaced_by"]
    )  # fmt: skip


async def _refuse_more(tx: Tx, giver: Giver, given: Sequence[Grant]) -> None:
    """Forbidden if any grant allows what the giver is not allowed there, now."""
    by = await giver.authority(tx)
    if by is None:
        return
    for g in given:
        at = g.merchant_id or ids.PLATFORM
        allowed = by.over(at) | (by.own(at) if g.at is At.OWN else frozenset())
        if more := sorted(g.permissions - allowed):
            raise Forbidden(
                f"With {g.role} the account may do what you may not: {', '.join(more)}. Whoever takes a key holds it, so nobody takes one "
                "that may do more than he may."
            )


async def _lock(tx: Tx, id: UUID) -> Service:
    row = await tx.row(Q.lock_service, id)
    if row is None:
        raise no_such(ids.show("svc", id))
    return service_of(row, await tx.rows(Q.grants_of_services, [id]))


async def _lock_key(tx: Tx, service_id: UUID, key_id: UUID) -> Key:
    row = await tx.row(Q.lock_service_key, service_id, key_id)
    if row is None:
        raise no_such_key(ids.show("svk", key_id))
    return key_of(row)
