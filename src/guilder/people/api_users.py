"""The calls of people: oneself, and everybody."""

from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from guilder.core import ids
from guilder.core.page import turn
from guilder.people import factors, present, totp, users
from guilder.people.api_sessions import Name
from guilder.people.grants import Giver
from guilder.people.present import RecoveryCodesObject, TotpObject, UserObject
from guilder.people.principal import person, staff
from guilder.platform.db import Tx
from guilder.platform.once import keyless, once_in_control
from guilder.platform.sql import load, walked
from guilder.platform.web import Answer, Call, Listing, ListParams, Params, Secret, listing, route
from guilder.platform.web.cursor import cursor

Q = load(__package__)


class ListUsers(ListParams):
    """Newest first."""

    email: Annotated[str, Meta(min_length=1, max_length=254, description="Exactly this address.")] | UnsetType = UNSET


class UpdateUser(Params):
    """The name to have from now on."""

    name: Name


class ChangePassword(Params):
    """The password that you have, and the one that you choose."""

    current_password: Secret
    password: Secret


class WithPassword(Params):
    """Your password: a session alone does not change what signs in."""

    password: Secret


class ConfirmTotp(Params):
    """The code that the app shows now."""

    code: Secret


@route("GET", "/v1/users/me", scope="people:read", answer=UserObject, own=True)
async def retrieve_me(call: Call) -> UserObject:
    """Retrieve yourself."""
    return present.user(await users.find(call.principal.env.control, me(call)))


@route("POST", "/v1/users/me", scope="people:write", body=UpdateUser, answer=UserObject, own=True)
async def update_me(call: Call, body: UpdateUser) -> Answer:
    """Give yourself another name."""
    return await _rename(call, me(call), body)


@route("POST", "/v1/users/me/password", scope="people:write", body=ChangePassword, answer=UserObject, own=True)
async def change_my_password(call: Call, body: ChangePassword) -> UserObject:
    """Change your password.  All your other sessions end."""
    keyless(call)
    who, id = call.principal, me(call)
    await users.change_password(
        who.env, id, who.key_id, body.current_password, body.password, ip=call.remote_ip
    )  # fmt: skip
    return present.user(await users.find(who.env.control, id))


@route("POST", "/v1/users/me/totp", scope="people:write", body=WithPassword, answer=TotpObject, own=True)
async def enrol_my_totp(call: Call, body: WithPassword) -> TotpObject:
    """Enrol an authenticator app.  The answer is the only place where its secret is shown; a code of it confirms that it was taken in."""
    keyless(call)
    secret, email = await factors.begin(call.principal.env, me(call), body.password, ip=call.remote_ip)
    return TotpObject(secret=totp.shown(secret), uri=totp.uri(secret, email))


@route("POST", "/v1/users/me/totp/confirm", scope="people:write", body=ConfirmTotp, answer=RecoveryCodesObject, own=True)  # fmt: skip
async def confirm_my_totp(call: Call, body: ConfirmTotp) -> RecoveryCodesObject:
    """Confirm the app with a code of it: from now on one is asked for.  The answer shows your recovery codes, this once."""
    keyless(call)
    return RecoveryCodesObject(codes=await factors.confirm(call.principal.env, me(call), body.code))


@route("POST", "/v1/users/me/totp/remove", scope="people:write", body=WithPassword, answer=UserObject, own=True)
async def remove_my_totp(call: Call, body: WithPassword) -> UserObject:
    """Remove the app and the recovery codes: the password alone signs in again."""
    keyless(call)
    id = me(call)
    await factors.remove(call.principal.env, id, body.password, ip=call.remote_ip)
    return present.user(await users.find(call.principal.env.control, id))


@route("POST", "/v1/users/me/recovery_codes", scope="people:write", body=WithPassword, answer=RecoveryCodesObject, own=True)  # fmt: skip
async def renew_my_recovery_codes(call: Call, body: WithPassword) -> RecoveryCodesObject:
    """Make ten recovery codes; the former ones count no more.  They are shown this once."""
    keyless(call)
    codes = await factors.renew_recovery_codes(call.principal.env, me(call), body.password, ip=call.remote_ip)
    return RecoveryCodesObject(codes=codes)


@route("GET", "/v1/users", scope="people:read", query=ListUsers, answer=Listing[UserObject])
async def list_users(call: Call, query: ListUsers) -> Listing[UserObject]:
    """List people, newest first: of an account, those who have a role there."""
    who, page = staff(call.principal), query.page
    rows = await who.env.control.rows(
        walked(Q.list_people, page.ascending), *cursor(page, "usr"), page.limit + 1, at_merchant(call),
        (query.email or "").lower() or None,
    )  # fmt: skip
    return listing(call, turn(page, rows), present.user)


@route("GET", "/v1/users/{user:usr}", scope="people:read", answer=UserObject)
async def retrieve_user(call: Call) -> UserObject:
    """Retrieve a person: of an account, one who has a role there."""
    who, shown = staff(call.principal), call.path["user"]
    id, merchant = user_id(shown), at_merchant(call)
    if merchant is not None and not await who.env.control.value(Q.works_at, id, merchant):
        raise users.no_such(shown)
    return present.user(await users.find(who.env.control, id))


@route("POST", "/v1/users/{user:usr}", scope="people:write", body=UpdateUser, answer=UserObject, platform=True)
async def update_user(call: Call, body: UpdateUser) -> Answer:
    """Give a person another name."""
    return await _rename(call, user_id(call.path["user"]), body)


@route("POST", "/v1/users/{user:usr}/disable", scope="people:write", answer=UserObject, platform=True)
async def disable_user(call: Call) -> Answer:
    """Let a person in no more.  Sessions end at once, and so do the invitations that the person made."""
    id, by = user_id(call.path["user"]), giver(call)

    async def work(tx: Tx) -> UserObject:
        return present.user(await users.disable(tx, by, id))

    return await once_in_control(call, work)


@route("POST", "/v1/users/{user:usr}/enable", scope="people:write", answer=UserObject, platform=True)
async def enable_user(call: Call) -> Answer:
    """Let a person in again.  It also ends the wait after wrong passwords."""
    id, by = user_id(call.path["user"]), giver(call)

    async def work(tx: Tx) -> UserObject:
        return present.user(await users.enable(tx, by, id))

    return await once_in_control(call, work)


async def _rename(call: Call, id: UUID, body: UpdateUser) -> Answer:
    async def work(tx: Tx) -> UserObject:
        return present.user(await users.rename(tx, id, body.name))

    return await once_in_control(call, work)


def me(call: Call) -> UUID:
    """The person who calls."""
    return person(call.principal)


def giver(call: Call) -> Giver:
    """Whoever calls, as one who gives and takes."""
    who = staff(call.principal)
    return Giver(who.person_id, who.actor)


def at_merchant(call: Call) -> UUID | None:
    """The merchant at which the caller acts; None: the platform."""
    id: UUID = call.principal.merchant_id
    return None if id == ids.PLATFORM else id


def user_id(shown: str) -> UUID:
    """The id of a person.  Raises NotFound."""
    id = ids.read("usr", shown)
    if id is None:
        raise users.no_such(shown)
    return id


ROUTES = (
    retrieve_me, update_me, change_my_password, enrol_my_totp, confirm_my_totp, remove_my_totp, renew_my_recovery_codes, list_users,
    retrieve_user, update_user, disable_user, enable_user,
)  # fmt: skip
