"""People, sessions, invitations, roles and grants as the API shows them.  They are of no environment, so none says livemode."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from guilder.core import clock, ids
from guilder.platform.db import Row

Reach = Literal["platform", "merchant", "store", "own"]


class UserObject(Struct, kw_only=True):
    """Somebody who works here."""

    id: str
    object: Literal["user"] = "user"
    created: int
    disabled: bool
    email: str
    name: str
    totp: Annotated[bool, Meta(description="Whether a code of an authenticator app is asked for.")]


class UserSessionObject(Struct, kw_only=True):
    """Somebody who has signed in, somewhere."""

    id: str
    object: Literal["session"] = "session"
    agent: Annotated[str, Meta(description="What signed in, as it calls itself.")]
    created: int
    current: Annotated[bool, Meta(description="Whether this call was made with it.")]
    expires_at: int
    ip: str
    last_seen_at: Annotated[int, Meta(description="To the minute.")]
    token: Annotated[str | UnsetType, Meta(description="The key of this session. It is answered this once.")] = UNSET
    user: str


class RevokedSessionObject(Struct, kw_only=True):
    """A session that has ended."""

    id: str
    object: Literal["session"] = "session"
    deleted: Literal[True] = True


class RevokedSessionsObject(Struct, kw_only=True):
    """How many sessions have ended."""

    object: Literal["revoked_sessions"] = "revoked_sessions"
    revoked: int


class TotpObject(Struct, kw_only=True):
    """The secret of an authenticator app, which counts once a code of it has confirmed that it was taken in."""

    object: Literal["totp"] = "totp"
    secret: Annotated[str, Meta(description="As it is typed into an app. It is answered this once.")]
    uri: Annotated[str, Meta(description="The same for a code that an app scans: otpauth://…")]


class RecoveryCodesObject(Struct, kw_only=True):
    """Codes for the day on which the phone is lost.  Each lets in once."""

    object: Literal["recovery_codes"] = "recovery_codes"
    codes: Annotated[list[str], Meta(description="They are answered this once.")]


class InvitationObject(Struct, kw_only=True):
    """Somebody who was asked to join, and the role that waits for him."""

    id: str
    object: Literal["invitation"] = "invitation"
    account: str | None
    at: Reach
    created: int
    email: str
    expires_at: int
    given_by: str
    role: str
    status: Literal["open", "accepted", "revoked", "expired"]
    token: Annotated[str | UnsetType, Meta(description="What accepts it. It is answered this once.")] = UNSET


class RoleObject(Struct, kw_only=True):
    """A role: a name for permissions."""

    id: Annotated[str, Meta(description="Its name.")]
    object: Literal["role"] = "role"
    built_in: bool
    description: str
    permissions: list[str]


class DeletedRoleObject(Struct, kw_only=True):
    """A role that is no more."""

    id: str
    object: Literal["role"] = "role"
    deleted: Literal[True] = True


class GrantObject(Struct, kw_only=True):
    """A role that somebody has, and where it reaches."""

    id: str
    object: Literal["grant"] = "grant"
    account: str | None
    at: Reach
    created: int
    given_by: str
    role: str
    to: Annotated[str, Meta(description="A user (usr_…) or a service account (svc_…).")]


class DeletedGrantObject(Struct, kw_only=True):
    """A grant that was taken back."""

    id: str
    object: Literal["grant"] = "grant"
    deleted: Literal[True] = True


def user(row: Row) -> UserObject:
    """A person as the API shows him."""
    return UserObject(
        id=ids.show("usr", row["id"]), created=clock.unix(row["created_at"]), disabled=row["disabled_at"] is not None,
        email=row["email"], name=row["name"], totp=row["totp"] is not None,
    )  # fmt: skip


def session(row: Row, *, current: UUID | None) -> UserSessionObject:
    """A session as the API shows it."""
    return UserSessionObject(
        id=ids.show("ses", row["id"]), agent=row["agent"], created=clock.unix(row["created_at"]), current=row["id"] == current,
        expires_at=clock.unix(row["expires_at"]), ip=row["ip"], last_seen_at=clock.unix(row["last_seen_at"]),
        user=ids.show("usr", row["person_id"]),
    )  # fmt: skip


def invitation(row: Row, *, token: str | UnsetType = UNSET) -> InvitationObject:
    """An invitation as the API shows it."""
    status: Literal["open", "accepted", "revoked", "expired"] = "open"
    if row["accepted_at"] is not None:
        status = "accepted"
    elif row["revoked_at"] is not None:
        status = "revoked"
    elif row["expires_at"] <= clock.now():
        status = "expired"
    return InvitationObject(
        id=ids.show("inv", row["id"]), account=_account(row), at=row["at"], created=clock.unix(row["created_at"]), email=row["email"],
        expires_at=clock.unix(row["expires_at"]), given_by=row["given_by"], role=row["role"], status=status, token=token,
    )  # fmt: skip


def role(row: Row) -> RoleObject:
    """A role as the API shows it."""
    return RoleObject(
        id=row["name"], built_in=row["built_in"], description=row["description"], permissions=list(row["permissions"])
    )


def grant(row: Row) -> GrantObject:
    """A grant as the API shows it."""
    person = row["person_id"] is not None
    to = ids.show("usr", row["person_id"]) if person else ids.show("svc", row["service_id"])
    return GrantObject(
        id=ids.show("gra", row["id"]), account=_account(row), at=row["at"], created=clock.unix(row["created_at"]),
        given_by=row["given_by"], role=row["role"], to=to,
    )  # fmt: skip


def _account(row: Row) -> str | None:
    return None if row["merchant_id"] is None else ids.show("acct", row["merchant_id"])
