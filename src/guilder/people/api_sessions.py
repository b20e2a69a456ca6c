"""The calls of signing in and out, and of accepting an invitation."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from guilder.core import clock, ids
from guilder.core.errors import Forbidden, NotFound
from guilder.core.page import turn
from guilder.people import invite, present, sessions, users
from guilder.people.present import RevokedSessionObject, RevokedSessionsObject, UserObject, UserSessionObject
from guilder.people.principal import IDLE_S, person, staff
from guilder.people.sign_in import sign_in
from guilder.platform.db import Tx
from guilder.platform.once import keyless, once_in_control
from guilder.platform.sql import load, walked
from guilder.platform.web import Answer, Call, Listing, ListParams, Params, Secret, id_of, listing, route
from guilder.platform.web.cursor import cursor

Q = load(__package__)
EmailAddress = Annotated[
    str,
    Meta(
        max_length=254, pattern=r"^[^@\s\x00]+@[^@\s\x00]+$", examples=["you@example.com"],
        extra={"code": "email_invalid", "says": "It must be an email address."},
    ),
]  # fmt: skip
Name = Annotated[str, Meta(max_length=256)]


class SignIn(Params):
    """Who you are."""

    email: EmailAddress
    password: Secret
    code: Annotated[Secret, Meta(description="Of your authenticator app, or a recovery code.")] | UnsetType = UNSET


class AcceptInvitation(Params):
    """The token of an invitation, and the password that you choose; who is here already gives the one that he has."""

    token: Secret
    password: Secret
    name: Name = ""


class ListSessions(ListParams):
    """Newest first."""

    user: Annotated[str, id_of("usr")] | UnsetType = UNSET


@route("POST", "/v1/sessions", scope=None, body=SignIn, answer=UserSessionObject)
async def sign_in_user(call: Call, body: SignIn) -> UserSessionObject:
    """Sign in.  The answer is the only place where the session's `token` is shown: send it as `Authorization: Bearer us_…`."""
    keyless(call)
    agent = "".join(c for c in call.headers.get("user-agent", "") if c.isprintable())
    env = call.principal.env
    made = await sign_in(env, body.email, body.password, body.code or None, ip=call.remote_ip, agent=agent)
    return UserSessionObject(
        id=ids.show("ses", made.id), agent=made.agent, created=clock.unix(made.created_at), current=True,
        expires_at=clock.unix(made.expires_at), ip=made.ip, last_seen_at=clock.unix(made.created_at), token=made.token,
        user=ids.show("usr", made.person["id"]),
    )  # fmt: skip


@route("GET", "/v1/sessions", scope="people:read", query=ListSessions, answer=Listing[UserSessionObject], own=True)
async def list_user_sessions(call: Call, query: ListSessions) -> Listing[UserSessionObject]:
    """List the sessions that can be used: your own, or those of a `user`."""
    who = staff(call.principal)
    page = query.page
    whose = who.person_id if query.user is UNSET else ids.read("usr", query.user)
    if whose != who.person_id and not _everybodys(call):
        raise Forbidden("You may see your own sessions only.", param="user")
    rows = await who.env.control.rows(
        walked(Q.list_sessions, page.ascending), whose, *cursor(page, "ses"), page.limit + 1, IDLE_S
    )
    return listing(call, turn(page, rows), lambda row: present.session(row, current=who.key_id))


@route("DELETE", "/v1/sessions/{user_session:ses}", scope="people:write", answer=RevokedSessionObject, own=True)
async def revoke_user_session(call: Call) -> Answer:
    """End a session: sign out, or end another one of yours.  Who has people:write for the platform ends anybody's."""
    who = staff(call.principal)
    shown = call.path["user_session"]
    id = ids.read("ses", shown)
    if id is None:
        raise NotFound(f"No such session: '{shown}'")
    of = None if _everybodys(call) else who.person_id

    async def work(tx: Tx) -> RevokedSessionObject:
        await sessions.revoke(tx, id, of=of)
        return RevokedSessionObject(id=shown)

    return await once_in_control(call, work)


@route("POST", "/v1/sessions/revoke_others", scope="people:write", answer=RevokedSessionsObject, own=True)
async def revoke_other_user_sessions(call: Call) -> Answer:
    """End all your sessions but this one."""
    me, this = person(call.principal), call.principal.key_id

    async def work(tx: Tx) -> RevokedSessionsObject:
        return RevokedSessionsObject(revoked=await sessions.revoke_all(tx, me, but=this))

    return await once_in_control(call, work)


@route("POST", "/v1/invitations/accept", scope=None, body=AcceptInvitation, answer=UserObject)
async def accept_invitation(call: Call, body: AcceptInvitation) -> UserObject:
    """Accept an invitation.  You can sign in then."""
    keyless(call)
    env = call.principal.env
    id = await invite.accept(env, body.token, body.password, body.name, ip=call.remote_ip)
    return present.user(await users.find(env.control, id))


def _everybodys(call: Call) -> bool:
    """Whether the caller may do it with everybody's: people:read or people:write for the whole platform, not for one merchant."""
    return not call.only_own and call.principal.merchant_id == ids.PLATFORM


ROUTES = (sign_in_user, list_user_sessions, revoke_user_session, revoke_other_user_sessions, accept_invitation)
