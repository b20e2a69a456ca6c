"""The calls of service accounts and their keys: the platform's, so no `Stripe-Account` goes with them.

Where a key is shown the answer is not kept, and an Idempotency-Key is refused: whoever lost the answer makes another key and revokes the one
that nobody has.
"""

from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from guilder.core import ids
from guilder.core.errors import NotFound
from guilder.core.page import turn
from guilder.merchants import onboard
from guilder.merchants.principal import Principal
from guilder.people import present_services as present
from guilder.people import services
from guilder.people.api_roles import RoleName
from guilder.people.api_users import giver
from guilder.people.grants import Place
from guilder.people.model import At
from guilder.people.present import Reach
from guilder.people.present_services import ServiceAccountObject, ServiceKeyObject
from guilder.people.principal import staff
from guilder.people.services import OVERLAP_S
from guilder.platform.db import Row, Tx
from guilder.platform.once import keyless, once_in_control
from guilder.platform.sql import load, walked
from guilder.platform.web import Answer, Call, Listing, ListParams, Params, id_of, listing, route
from guilder.platform.web.cursor import cursor

Q = load(__package__)
Name = Annotated[str, Meta(min_length=1, max_length=100, examples=["Nightly export"])]
LONGEST_S = 10 * 366 * 86_400


class MakeServiceAccount(Params):
    """Who it is, and what it may do, where."""

    name: Name
    role: RoleName
    at: Annotated[Reach, Meta(description="`store` is refused: there are no stores yet.")] = "platform"
    account: Annotated[str, id_of("acct")] | UnsetType = UNSET


class ChangeServiceAccount(Params):
    """What is to change; the rest stays."""

    name: Name | UnsetType = UNSET
    disabled: Annotated[bool | UnsetType, Meta(description="Disabled, none of its keys works.")] = UNSET


class MakeServiceKey(Params):
    """How long it is to work."""

    expires_in: (
        Annotated[int, Meta(ge=1, le=LONGEST_S, description="In seconds; without it, until revoked.")] | UnsetType
    ) = UNSET


class RollServiceKey(Params):
    """How long both keys work."""

    expires_in: Annotated[
        int, Meta(ge=0, le=7 * 86_400, description="For so many seconds the old key works as well.")
    ] = OVERLAP_S


@route(
    "GET",
    "/v1/service_accounts",
    scope="people:read",
    query=ListParams,
    answer=Listing[ServiceAccountObject],
    platform=True,
)
async def list_service_accounts(call: Call, query: ListParams) -> Listing[ServiceAccountObject]:
    """List service accounts, newest first."""
    control, page = _platform(call).env.control, query.page
    rows = await control.rows(walked(Q.list_services, page.ascending), *cursor(page, "svc"), page.limit + 1, None)
    found = turn(page, rows)
    grants = await control.rows(Q.grants_of_services, [r["id"] for r in found.items])
    return listing(call, found, lambda row: present.service_account(services.service_of(row, grants)))


@route(
    "GET", "/v1/service_accounts/{service_account:svc}", scope="people:read", answer=ServiceAccountObject, platform=True
)
async def retrieve_service_account(call: Call) -> ServiceAccountObject:
    """Retrieve a service account."""
    row, grants = await _find(call)
    return present.service_account(services.service_of(row, grants))


@route(
    "POST",
    "/v1/service_accounts",
    scope="people:write",
    body=MakeServiceAccount,
    answer=ServiceAccountObject,
    platform=True,
)
async def make_service_account(call: Call, body: MakeServiceAccount) -> Answer:
    """Make a service account with a role.  Nobody gives it more than he may himself.  Make a key for it next."""
    by = giver(call)
    merchant_id = None if body.account is UNSET else ids.read("acct", body.account)
    if merchant_id is not None and await onboard.find(call.principal.env, merchant_id) is None:
        raise NotFound(f"No such account: '{body.account}'", param="account")
    place = Place(At(body.at), merchant_id)

    async def work(tx: Tx) -> ServiceAccountObject:
        return present.service_account(await services.make(tx, by, body.name, body.role, place))

    return await once_in_control(call, work)


@route(
    "POST",
    "/v1/service_accounts/{service_account:svc}",
    scope="people:write",
    body=ChangeServiceAccount,
    answer=ServiceAccountObject,
    platform=True,
)
async def change_service_account(call: Call, body: ChangeServiceAccount) -> Answer:
    """Rename, disable or enable a service account.  Disabled, none of its keys works, everywhere within a second."""
    by, id = giver(call), _service_id(call)
    name = None if body.name is UNSET else body.name
    disabled = None if body.disabled is UNSET else body.disabled

    async def work(tx: Tx) -> ServiceAccountObject:
        return present.service_account(await services.change(tx, by, id, name=name, disabled=disabled))

    return await once_in_control(call, work)


@route(
    "GET",
    "/v1/service_accounts/{service_account:svc}/keys",
    scope="people:read",
    query=ListParams,
    answer=Listing[ServiceKeyObject],
    platform=True,
)
async def list_service_keys(call: Call, query: ListParams) -> Listing[ServiceKeyObject]:
    """List the keys of a service account, newest first; never the keys themselves."""
    await _find(call)
    page = query.page
    rows = await _platform(call).env.control.rows(
        walked(Q.list_service_keys, page.ascending), _service_id(call), *cursor(page, "svk"), page.limit + 1
    )
    return listing(call, turn(page, rows), lambda row: present.service_key(services.key_of(row)))


@route(
    "POST",
    "/v1/service_accounts/{service_account:svc}/keys",
    scope="people:write",
    body=MakeServiceKey,
    answer=ServiceKeyObject,
    platform=True,
)
async def make_service_key(call: Call, body: MakeServiceKey) -> ServiceKeyObject:
    """Make a key.  The answer is the only place where its `secret` is shown."""
    keyless(call)
    by, id = giver(call), _service_id(call)
    expires_in_s = None if body.expires_in is UNSET else body.expires_in
    made = await call.principal.env.control.transact(
        lambda tx: services.make_key(tx, by, id, expires_in_s=expires_in_s)
    )
    return present.service_key(made)


@route(
    "POST",
    "/v1/service_accounts/{service_account:svc}/keys/{key:svk}/roll",
    scope="people:write",
    body=RollServiceKey,
    answer=ServiceKeyObject,
    platform=True,
)
async def roll_service_key(call: Call, body: RollServiceKey) -> ServiceKeyObject:
    """Replace a key.  The answer shows the new one; for `expires_in` seconds both work."""
    keyless(call)
    by, id, key_id = giver(call), _service_id(call), _key_id(call)
    made = await call.principal.env.control.transact(
        lambda tx: services.roll_key(tx, by, id, key_id, overlap_s=body.expires_in)
    )
    return present.service_key(made)


@route(
    "POST",
    "/v1/service_accounts/{service_account:svc}/keys/{key:svk}/revoke",
    scope="people:write",
    answer=ServiceKeyObject,
    platform=True,
)
async def revoke_service_key(call: Call) -> Answer:
    """Refuse a key from now on, everywhere within a second."""
    id, key_id = _service_id(call), _key_id(call)

    async def work(tx: Tx) -> ServiceKeyObject:
        return present.service_key(await services.revoke_key(tx, id, key_id))

    return await once_in_control(call, work)


async def _find(call: Call) -> tuple[Row, list[Row]]:
    control, id = _platform(call).env.control, _service_id(call)
    row = await control.row(Q.list_services, None, None, None, None, 1, id)
    if row is None:
        raise services.no_such(call.path["service_account"])
    return row, await control.rows(Q.grants_of_services, [id])


def _platform(call: Call) -> Principal:
    """The caller, who is somebody of the platform's."""
    return staff(call.principal)


def _service_id(call: Call) -> UUID:
    id = ids.read("svc", call.path["service_account"])
    if id is None:
        raise services.no_such(call.path["service_account"])
    return id


def _key_id(call: Call) -> UUID:
    id = ids.read("svk", call.path["key"])
    if id is None:
        raise services.no_such_key(call.path["key"])
    return id


ROUTES = (
    list_service_accounts, retrieve_service_account, make_service_account, change_service_account, list_service_keys, make_service_key,
    roll_service_key, revoke_service_key,
)  # fmt: skip
