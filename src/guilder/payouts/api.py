"""The calls of payouts."""

from typing import Annotated, ClassVar, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from guilder.channels.info import Operation
from guilder.core import clock, ids
from guilder.core.errors import Invalid, NotFound
from guilder.core.page import turn
from guilder.merchants import channel_accounts
from guilder.merchants.channel_accounts import ChannelAccount
from guilder.merchants.principal import Principal
from guilder.payments.params import Option, OptionName, TypeName, not_here
from guilder.payouts import create as creating
from guilder.payouts import present, store
from guilder.payouts.model import Payout
from guilder.payouts.present import PayoutObject
from guilder.payouts.states import PayoutState
from guilder.platform import context
from guilder.platform.db import Tx
from guilder.platform.once import answer, key_of, once
from guilder.platform.sql import load, walked
from guilder.platform.web import (
    Answer,
    Call,
    Currency,
    Listing,
    ListParams,
    Metadata,
    Params,
    Refusals,
    Units,
    id_of,
    listing,
    merge_metadata,
    route,
)
from guilder.platform.web.cursor import cursor

Q = load(__package__)
DIAL = "sim"  # test environment: what of a payee's details the simulator takes for dials


class Destination(Params):
    """Who is paid, and by which type of way.  What a payee needs is the channel's: docs/reference/ways.md."""

    type: TypeName
    payee: Annotated[dict[OptionName, Option], Meta(min_length=1, max_length=10)]
    channel_account: Annotated[str, id_of("ca")] | UnsetType = UNSET


class CreatePayout(Params):
    """What goes to whom."""

    amount: Units
    currency: Currency
    destination_data: Destination
    description: Annotated[str, Meta(max_length=1000)] | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    method: Literal["standard"] | UnsetType = UNSET
    statement_descriptor: Annotated[str, Meta(max_length=22)] | UnsetType | None = UNSET
    REFUSED: ClassVar[Refusals] = {
        "destination": "bank accounts are not stored here: say who is paid in destination_data.",
        **not_here("source_type", "payout_method"),
    }


class UpdatePayout(Params):
    """Only metadata changes."""

    metadata: Metadata | UnsetType | None = UNSET


class ListPayouts(ListParams):
    """Newest first."""

    status: Literal["pending", "in_transit", "paid", "failed"] | UnsetType = UNSET
    REFUSED: ClassVar[Refusals] = not_here("arrival_date", "destination")


@route("POST", "/v1/payouts", scope="payouts:write", body=CreatePayout, answer=PayoutObject, tag="Payouts")
async def create_payout(call: Call, body: CreatePayout) -> Answer:
    """Pay somebody out of what is available.  The amount is held before the channel is asked."""
    by, key = context.current(), key_of(call)
    who: Principal = call.principal
    account = await _account(who, body)
    payee = dict(body.destination_data.payee)
    dial = payee.pop(DIAL, None)
    if dial is not None and who.livemode:
        raise Invalid("`sim` is for test keys only.", param=f"destination_data[payee][{DIAL}]")
    _check_payee(account, payee)
    id = ids.new_id()
    payout = Payout(
        who.book_id, id, 0, PayoutState.UNKNOWN, body.amount, body.currency.upper(), account.id, account.info.code,
        body.destination_data.type, account.funds, creating.sealed_payee(who.env, id, payee), present.masked(payee),
        body.description or None, body.statement_descriptor or None, merge_metadata({}, body.metadata), f"sim:{dial}" if dial else None,
        None, None, None, None, None, 0, None, by.root_id, who.business_line, clock.now(),
    )  # fmt: skip
    return answer(await creating.create(who.env, key, creating.Wish(payout, by, who.livemode)))


async def _account(who: Principal, body: CreatePayout) -> ChannelAccount:
    """The channel account that pays: the one named, or the oldest that can."""
    to = body.destination_data
    named = None if to.channel_account is UNSET else ids.read("ca", to.channel_account)
    for account in await channel_accounts.of_merchant(who.env, who.book_id):
        fits = account.info.can(Operation.PAYOUT) and any(w.type == to.type for w in account.info.ways)
        if fits and named in (None, account.id):
            if body.currency.upper() not in account.info.currencies:
                raise Invalid(f"{to.type} does not pay out {body.currency}.", param="currency")
            return account
    raise Invalid(
        f"This merchant has no channel account that pays out by {to.type}: add one, or choose another type.",
        code="payouts_not_allowed",
        param="destination_data[channel_account]" if named is not None else "destination_data[type]",
    )


def _check_payee(account: ChannelAccount, payee: dict[str, str]) -> None:
    at = "destination_data[payee]"
    known = {name.rstrip("?"): not name.endswith("?") for name in account.info.payee}
    for name, needed in known.items():
        if needed and name not in payee:
            raise Invalid(f"Missing required param: {at}[{name}].", code="parameter_missing", param=f"{at}[{name}]")
    for name in payee:
        if name not in known:
            raise Invalid(f"Received unknown parameter: {at}[{name}]", code="parameter_unknown", param=f"{at}[{name}]")


@route("GET", "/v1/payouts/{payout:po}", scope="payouts:read", answer=PayoutObject, tag="Payouts")
async def retrieve_payout(call: Call) -> PayoutObject:
    """Retrieve a payout."""
    who: Principal = call.principal
    row = await who.env.db.row(Q.find_payout, who.book_id, _id(call.path["payout"]))
    if row is None:
        raise _no_such(call.path["payout"])
    return present.payout(store.payout_of(row), livemode=who.livemode)


@route("POST", "/v1/payouts/{payout:po}", scope="payouts:write", body=UpdatePayout, answer=PayoutObject, tag="Payouts")
async def update_payout(call: Call, body: UpdatePayout) -> Answer:
    """Change a payout's metadata."""
    who: Principal = call.principal
    id = _id(call.path["payout"])

    async def work(tx: Tx) -> PayoutObject:
        found = (await store.lock(tx, [(who.book_id, id)])).get((who.book_id, id))
        if found is None:
            raise _no_such(call.path["payout"])
        found.metadata = merge_metadata(found.metadata, body.metadata)
        await tx.run(Q.set_metadata, who.book_id, id, msgspec.json.encode(found.metadata).decode())
        return present.payout(found, livemode=who.livemode)

    return await once(call, work)


@route("GET", "/v1/payouts", scope="payouts:read", query=ListPayouts, answer=Listing[PayoutObject], tag="Payouts")
async def list_payouts(call: Call, query: ListPayouts) -> Listing[PayoutObject]:
    """List payouts, newest first."""
    who: Principal = call.principal
    page = query.page
    wanted = None if query.status is UNSET else [s.value for s, shown in present.SHOWN.items() if shown == query.status]
    rows = await who.env.db.rows(
        walked(Q.list_payouts, page.ascending), who.book_id, *cursor(page, "po"), page.limit + 1, wanted
    )
    return listing(
        call, turn(page, [store.payout_of(r) for r in rows]), lambda p: present.payout(p, livemode=who.livemode)
    )


def _id(shown: str) -> UUID:
    id = ids.read("po", shown)
    if id is None:
        raise _no_such(shown)
    return id


def _no_such(shown: str) -> NotFound:
    return NotFound(f"No such payout: '{shown}'", param="payout")


ROUTES = (create_payout, list_payouts, retrieve_payout, update_payout)
