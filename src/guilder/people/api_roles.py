"""The calls of invitations, roles and grants."""

from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from guilder.core import ids
from guilder.core.errors import Forbidden, Invalid, NotFound
from guilder.core.page import Page, PageQuery, turn
from guilder.merchants import onboard
from guilder.people import grants, invite, present, roles
from guilder.people.api_sessions import EmailAddress
from guilder.people.api_users import at_merchant, giver
from guilder.people.grants import Place
from guilder.people.model import At
from guilder.people.present import (
    DeletedGrantObject,
    DeletedRoleObject,
    GrantObject,
    InvitationObject,
    Reach,
    RoleObject,
)
from guilder.people.principal import staff
from guilder.platform.db import Row, Tx
from guilder.platform.once import keyless, once_in_control
from guilder.platform.sql import load, walked
from guilder.platform.web import Answer, Call, Listing, ListParams, Params, id_of, listing, route
from guilder.platform.web.cursor import cursor

Q = load(__package__)
RoleName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z][a-z0-9_]{1,39}$", examples=["merchant_staff"],
        extra={"says": "Two to forty small letters, digits and underscores, a letter first."},
    ),
]  # fmt: skip
Permission = Annotated[str, Meta(min_length=1, max_length=50, examples=["payments:read"])]
Permissions = Annotated[list[Permission], Meta(min_length=1, max_length=100)]
Description = Annotated[str, Meta(max_length=500)]


class Placed(Params):
    """Where a role reaches: at the platform, unless an account is named, here or in `Stripe-Account`."""

    role: RoleName
    at: Annotated[Reach | UnsetType, Meta(description="`store` is refused: there are no stores yet.")] = UNSET
    account: Annotated[str, id_of("acct")] | UnsetType = UNSET


class CreateInvitation(Placed, kw_only=True):
    """Whom to ask, and to what."""

    email: EmailAddress


class CreateGrant(Placed, kw_only=True):
    """Whom to give it."""

    to: Annotated[str, Meta(pattern=r"^(usr|svc)_[0-9a-z]{26}$", extra={"says": "A user or a service account."})]


class ListGrants(ListParams):
    """Newest first."""

    user: Annotated[str, id_of("usr")] | UnsetType = UNSET


class CreateRole(Params):
    """A role of your own."""

    name: RoleName
    permissions: Permissions
    description: Description = ""


class UpdateRole(Params):
    """What is to change; the rest stays."""

    permissions: Permissions | UnsetType = UNSET
    description: Description | UnsetType = UNSET


# ------------------------------------------------------------------------------------------------ invitations


@route("POST", "/v1/invitations", scope="people:write", body=CreateInvitation, answer=InvitationObject)
async def create_invitation(call: Call, body: CreateInvitation) -> InvitationObject:
    """Invite somebody.  The answer is the only place where the `token` is shown that accepts it, within seven days, once."""
    keyless(call)
    by, place = giver(call), await _place(call, body)

    async def work(tx: Tx) -> InvitationObject:
        made = await invite.invite(tx, by, body.email, body.role, place)
        return present.invitation(_there(await tx.row(Q.find_invitation, made.id)), token=made.token)

    return await call.principal.env.control.transact(work)


@route("GET", "/v1/invitations", scope="people:read", query=ListParams, answer=Listing[InvitationObject])
async def list_invitations(call: Call, query: ListParams) -> Listing[InvitationObject]:
    """List invitations, newest first: of an account, those to it."""
    who, page = staff(call.principal), query.page
    rows = await who.env.control.rows(
        walked(Q.list_invitations, page.ascending), *cursor(page, "inv"), page.limit + 1, at_merchant(call)
    )
    return listing(call, turn(page, rows), present.invitation)


@route("GET", "/v1/invitations/{invitation:inv}", scope="people:read", answer=InvitationObject)
async def retrieve_invitation(call: Call) -> InvitationObject:
    """Retrieve an invitation; never its token."""
    who = staff(call.principal)
    row = await who.env.control.row(Q.find_invitation, _id("inv", call.path["invitation"]))
    return present.invitation(_here(call, row, call.path["invitation"]))


@route("POST", "/v1/invitations/{invitation:inv}/revoke", scope="people:write", answer=InvitationObject)
async def revoke_invitation(call: Call) -> Answer:
    """Revoke an invitation that nobody has accepted."""
    by, shown = giver(call), call.path["invitation"]
    id = _id("inv", shown)

    async def work(tx: Tx) -> InvitationObject:
        _here(call, await tx.row(Q.find_invitation, id), shown)
        return present.invitation(await invite.revoke(tx, by, id))

    return await once_in_control(call, work)


# ------------------------------------------------------------------------------------------------ roles


@route("GET", "/v1/roles", scope="people:read", query=ListParams, answer=Listing[RoleObject])
async def list_roles(call: Call, query: ListParams) -> Listing[RoleObject]:
    """List roles, by name."""
    who = staff(call.principal)
    if query.created is not UNSET:
        raise Invalid("Roles are listed by name, not by when they were made.", param="created")
    rows = [r for r in await roles.everything(who.env.control) if _between(query.page, r["name"])]
    return listing(call, _turned(query.page, rows), present.role)


@route("GET", "/v1/roles/{role}", scope="people:read", answer=RoleObject)
async def retrieve_role(call: Call) -> RoleObject:
    """Retrieve a role, by its name."""
    row = await staff(call.principal).env.control.row(Q.find_role, call.path["role"])
    if row is None:
        raise NotFound(f"No such role: '{call.path['role']}'")
    return present.role(row)


@route("POST", "/v1/roles", scope="people:write", body=CreateRole, answer=RoleObject, platform=True)
async def create_role(call: Call, body: CreateRole) -> Answer:
    """Make a role of your own."""

    async def work(tx: Tx) -> RoleObject:
        return present.role(await roles.make(tx, body.name, body.permissions, body.description))

    return await once_in_control(call, work)


@route("POST", "/v1/roles/{role}", scope="people:write", body=UpdateRole, answer=RoleObject, platform=True)
async def update_role(call: Call, body: UpdateRole) -> Answer:
    """Change a role, for everybody who has it, within a second.  A built-in one cannot be changed, nor one that you have."""
    by, name = giver(call), call.path["role"]
    permissions = None if body.permissions is UNSET else body.permissions
    description = None if body.description is UNSET else body.description

    async def work(tx: Tx) -> RoleObject:
        return present.role(await roles.change(tx, by, name, permissions, description))

    return await once_in_control(call, work)


@route("DELETE", "/v1/roles/{role}", scope="people:write", answer=DeletedRoleObject, platform=True)
async def delete_role(call: Call) -> Answer:
    """Delete a role that nobody has."""
    by, name = giver(call), call.path["role"]

    async def work(tx: Tx) -> DeletedRoleObject:
        await roles.delete(tx, by, name)
        return DeletedRoleObject(id=name)

    return await once_in_control(call, work)


# ------------------------------------------------------------------------------------------------ grants


@route("POST", "/v1/grants", scope="people:write", body=CreateGrant, answer=GrantObject)
async def create_grant(call: Call, body: CreateGrant) -> Answer:
    """Give somebody a role.  Given twice, it is the same grant."""
    by, place, service = giver(call), await _place(call, body), body.to.startswith("svc")
    to = _id("svc" if service else "usr", body.to)

    async def work(tx: Tx) -> GrantObject:
        return present.grant(await grants.give(tx, by, to, body.role, place, service=service))

    return await once_in_control(call, work)


@route("GET", "/v1/grants", scope="people:read", query=ListGrants, answer=Listing[GrantObject], own=True)
async def list_grants(call: Call, query: ListGrants) -> Listing[GrantObject]:
    """List grants, newest first: of an account, those at it; who may not see others' sees his own."""
    who, page = staff(call.principal), query.page
    whose = None if query.user is UNSET else ids.read("usr", query.user)
    merchant = at_merchant(call)
    if call.only_own:
        if whose not in (None, who.person_id):
            raise Forbidden("You may see your own grants only.", param="user")
        whose, merchant = who.person_id, None
    rows = await who.env.control.rows(
        walked(Q.list_grants, page.ascending), *cursor(page, "gra"), page.limit + 1, merchant, whose
    )
    return listing(call, turn(page, rows), present.grant)


@route("DELETE", "/v1/grants/{grant:gra}", scope="people:write", answer=DeletedGrantObject)
async def delete_grant(call: Call) -> Answer:
    """Take a role back from somebody."""
    by, shown = giver(call), call.path["grant"]
    id = _id("gra", shown)

    async def work(tx: Tx) -> DeletedGrantObject:
        _here(call, await tx.row(Q.find_grant, id), shown)
        await grants.take(tx, by, id)
        return DeletedGrantObject(id=shown)

    return await once_in_control(call, work)


async def _place(call: Call, body: Placed) -> Place:
    """Where the role is to reach.  Raises Invalid for an account that is none."""
    merchant = at_merchant(call)
    if body.account is not UNSET:
        named = _id("acct", body.account)
        if merchant is not None and named != merchant:
            raise Forbidden("You act at another account; name this one in Stripe-Account.", param="account")
        merchant = named
    at = At(body.at) if body.at is not UNSET else At.PLATFORM if merchant is None else At.MERCHANT
    if at is At.PLATFORM and body.account is UNSET:
        merchant = None
    if merchant is not None and await onboard.find(call.principal.env, merchant) is None:
        raise NotFound(f"No such account: '{ids.show('acct', merchant)}'", param="account")
    return Place(at, merchant)


def _here(call: Call, row: Row | None, shown: str) -> Row:
    """`row`, if it is there, and of the account at which the caller acts."""
    merchant = at_merchant(call)
    if row is None or (merchant is not None and row["merchant_id"] != merchant):
        raise NotFound(f"No such object: '{shown}'")
    return row


def _there(row: Row | None) -> Row:
    if row is None:
        raise NotFound
    return row


def _id(prefix: str, shown: str) -> UUID:
    id = ids.read(prefix, shown)
    if id is None:
        raise NotFound(f"No such object: '{shown}'")
    return id


def _between(page: PageQuery, name: str) -> bool:
    return (page.after is None or name > page.after) and (page.before is None or name < page.before)


def _turned(page: PageQuery, rows: list[Any]) -> Page[Any]:
    """A page of all that lie between its ends: there are so few that the database need not cut it."""
    kept = rows[-page.limit :] if page.ascending else rows[: page.limit]
    return Page(kept, has_more=len(rows) > page.limit)


ROUTES = (
    create_invitation, list_invitations, retrieve_invitation, revoke_invitation, list_roles, retrieve_role, create_role, update_role,
    delete_role, create_grant, list_grants, delete_grant,
)  # fmt: skip
