"""The calls of service accounts and their keys: the platform's, so no `Stripe-Account` goes with them.

Where a key is shown the answer is not kept, so an Idempotency-Key could not be honoured and is refused: whoever lost the answer makes another
key and revokes the one that nobody has.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal, TypeVar
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from guilder.core import ids
from guilder.core.check import never
from guilder.core.errors import Forbidden, Invalid
from guilder.core.page import turn
from guilder.merchants import onboard
from guilder.merchants.principal import Principal
from guilder.people import present_services as present
from guilder.people import services
from guilder.people.model import At, Authority
from guilder.people.model_services import Wish
from guilder.people.present_services import ServiceAccountObject, ServiceKeyObject
from guilder.people.principal import read_authority
from guilder.people.services import OVERLAP_S
from guilder.platform.db import Row, Tx
from guilder.platform.sql import load, walked
from guilder.platform.web import Call, Listing, ListParams, Params, id_of, listing, route
from guilder.platform.web.cursor import cursor

Q = load(__package__)
T = TypeVar("T")
S = TypeVar("S")
Name = Annotated[str, Meta(min_length=1, max_length=100, examples=["Nightly export"])]
LONGEST_S = 10 * 366 * 86_400


class MakeServiceAccount(Params):
    """Who it is, and what it may do, where."""

    name: Name
    role: Annotated[str, Meta(min_length=1, max_length=60, examples=["auditor"])]
    at: Annotated[Literal["platform", "merchant", "store", "own"], Meta(description="Where the role reaches.")] = (
        "platform"
    )
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


@route("GET", "/v1/service_accounts", scope="people:read", query=ListParams, answer=Listing[ServiceAccountObject])
async def list_service_accounts(call: Call, query: ListParams) -> Listing[ServiceAccountObject]:
    """List service accounts, newest first."""
    control, page = _platform(call).env.control, query.page
    rows = await control.rows(walked(Q.list_services, page.ascending), *cursor(page, "svc"), page.limit + 1, None)
    found = turn(page, rows)
    grants = await control.rows(Q.grants_of_services, [r["id"] for r in found.items])
    return listing(call, found, lambda row: present.service_account(services.service_of(row, grants)))


@route("GET", "/v1/service_accounts/{service_account:svc}", scope="people:read", answer=ServiceAccountObject)
async def retrieve_service_account(call: Call) -> ServiceAccountObject:
    """Retrieve a service account."""
    row, grants = await _find(call)
    return present.service_account(services.service_of(row, grants))


@route("POST", "/v1/service_accounts", scope="people:write", body=MakeServiceAccount, answer=ServiceAccountObject)
async def make_service_account(call: Call, body: MakeServiceAccount) -> ServiceAccountObject:
    """Make a service account with a role.  Nobody gives it more than he may himself.  Make a key for it next."""
    who = _platform(call)
    merchant_id = None if body.account is UNSET else ids.read("acct", body.account)
    if body.account is not UNSET and (merchant_id is None or await onboard.find(who.env, merchant_id) is None):
        raise Invalid(f"No such account: '{body.account}'", code="resource_missing", param="account")
    wish = Wish(body.role, At(body.at), merchant_id)
    return await _do(call, lambda tx, by: services.make(tx, body.name, [wish], by=by), present.service_account)


@route(
    "POST", "/v1/service_accounts/{service_account:svc}", scope="people:write", body=ChangeServiceAccount, answer=ServiceAccountObject
)  # fmt: skip
async def change_service_account(call: Call, body: ChangeServiceAccount) -> ServiceAccountObject:
    """Rename, disable or enable a service account.  Disabled, none of its keys works, everywhere within a second."""
    id = _service_id(call)
    name = None if body.name is UNSET else body.name
    disabled = None if body.disabled is UNSET else body.disabled
    return await _do(
        call, lambda tx, by: services.change(tx, id, name=name, disabled=disabled, by=by), present.service_account
    )


@route(
    "GET", "/v1/service_accounts/{service_account:svc}/keys", scope="people:read", query=ListParams, answer=Listing[ServiceKeyObject]
)  # fmt: skip
async def list_service_keys(call: Call, query: ListParams) -> Listing[ServiceKeyObject]:
    """List the keys of a service account, newest first; never the keys themselves."""
    await _find(call)
    page = query.page
    rows = await _platform(call).env.control.rows(
        walked(Q.list_service_keys, page.ascending), _service_id(call), *cursor(page, "svk"), page.limit + 1
    )
    return listing(call, turn(page, rows), lambda row: present.service_key(services.key_of(row)))


@route(
    "POST", "/v1/service_accounts/{service_account:svc}/keys", scope="people:write", body=MakeServiceKey, answer=ServiceKeyObject
)  # fmt: skip
async def make_service_key(call: Call, body: MakeServiceKey) -> ServiceKeyObject:
    """Make a key.  The answer is the only place where its `secret` is shown."""
    id = _service_id(call)
    expires_in_s = None if body.expires_in is UNSET else body.expires_in
    return await _do(
        call, lambda tx, by: services.make_key(tx, id, expires_in_s=expires_in_s, by=by), present.service_key
    )


@route(
    "POST", "/v1/service_accounts/{service_account:svc}/keys/{key:svk}/roll", scope="people:write", body=RollServiceKey,
    answer=ServiceKeyObject,
)  # fmt: skip
async def roll_service_key(call: Call, body: RollServiceKey) -> ServiceKeyObject:
    """Replace a key.  The answer shows the new one; for `expires_in` seconds both work."""
    id, key_id = _service_id(call), _key_id(call)
    return await _do(
        call, lambda tx, by: services.roll_key(tx, id, key_id, overlap_s=body.expires_in, by=by), present.service_key
    )


@route(
    "POST",
    "/v1/service_accounts/{service_account:svc}/keys/{key:svk}/revoke",
    scope="people:write",
    answer=ServiceKeyObject,
)
async def revoke_service_key(call: Call) -> ServiceKeyObject:
    """Refuse a key from now on, everywhere within a second."""
    id, key_id = _service_id(call), _key_id(call)
    return await _do(call, lambda tx, _: services.revoke_key(tx, id, key_id), present.service_key)


async def _do(call: Call, work: Callable[[Tx, Authority], Awaitable[T]], show: Callable[[T], S]) -> S:
    """Run `work` in the control database as the caller, who may do what he may at this moment."""
    if call.idempotency_key is not None:
        raise Invalid(
            "An Idempotency-Key is refused here: answers that show a key are not kept. If you lost one, list what there is and revoke it.",
            code="parameter_unsupported",
            param="Idempotency-Key",
        )
    who = _platform(call)
    if who.person_id is None:
        never("_platform refuses keys")
    by = await read_authority(who.env.control, who.person_id)
    return show(await who.env.control.transact(lambda tx: work(tx, by)))


async def _find(call: Call) -> tuple[Row, list[Row]]:
    control, id = _platform(call).env.control, _service_id(call)
    row = await control.row(Q.list_services, None, None, None, None, 1, id)
    if row is None:
        raise services.no_such(call.path["service_account"])
    return row, await control.rows(Q.grants_of_services, [id])


def _platform(call: Call) -> Principal:
    """The caller, who speaks for the platform.  Forbidden to keys of merchants, Invalid with an account."""
    who: Principal = call.principal
    if who.person_id is None:
        raise Forbidden("A merchant's API key has no part in this: sign in, or use a service account.")
    if who.merchant_id != ids.PLATFORM:
        raise Invalid("Service accounts are the platform's: leave Stripe-Account out.", param="Stripe-Account")
    return who


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
