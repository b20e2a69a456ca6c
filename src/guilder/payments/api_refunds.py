"""The calls of refunds and charges."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from guilder.core import ids
from guilder.core.errors import Invalid, NotFound
from guilder.core.page import turn
from guilder.merchants.principal import Principal
from guilder.payments import present, rescue, store
from guilder.payments import refund as refunding
from guilder.payments.model import Charge, Intent
from guilder.payments.params import not_here
from guilder.payments.present import ChargeObject, Face, PaymentIntent, RefundObject
from guilder.platform import context
from guilder.platform.db import Tx
from guilder.platform.once import answer, key_of, once
from guilder.platform.sql import load, walked
from guilder.platform.web import (
    Answer,
    Call,
    Listing,
    ListParams,
    Metadata,
    Params,
    Refusals,
    Resource,
    Units,
    id_of,
    listing,
    merge_metadata,
    route,
)
from guilder.platform.web.cursor import cursor

Q = load(__package__)
ChargeId = Annotated[str, id_of("ch")]
IntentId = Annotated[str, id_of("pi")]


class CreateRefund(Params):
    """What is to go back: name the charge or its payment."""

    amount: Units | UnsetType = UNSET
    charge: ChargeId | UnsetType = UNSET
    payment_intent: IntentId | UnsetType = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    reason: Literal["duplicate", "fraudulent", "requested_by_customer"] | UnsetType = UNSET
    REFUSED: ClassVar[Refusals] = not_here(
        "currency", "customer", "instructions_email", "origin", "refund_application_fee", "reverse_transfer"
    )


class UpdateRefund(Params):
    """Only metadata changes."""

    metadata: Metadata | UnsetType | None = UNSET


class RescueRefund(Params):
    """Where it goes instead. Told to the channel, sealed, and kept nowhere."""

    type: Annotated[
        Literal["payer", "merchant"],
        msgspec.Meta(description="Whose bank account: `merchant` is the one that the channel knows."),
    ]
    bank: Annotated[str, msgspec.Meta(max_length=40)] | UnsetType = UNSET
    account: Annotated[str, msgspec.Meta(max_length=64)] | UnsetType = UNSET
    name: Annotated[str, msgspec.Meta(max_length=64)] | UnsetType = UNSET


class Retrieve(Params):
    """Nothing to say."""


class ListRefunds(ListParams):
    """Newest first."""

    charge: ChargeId | UnsetType = UNSET
    payment_intent: IntentId | UnsetType = UNSET


class ListCharges(ListParams):
    """Newest first."""

    customer: Annotated[str, id_of("cus")] | UnsetType = UNSET
    payment_intent: IntentId | UnsetType = UNSET
    REFUSED: ClassVar[Refusals] = not_here("transfer_group")


@route("POST", "/v1/refunds", scope="refunds:write", body=CreateRefund, answer=RefundObject, tag="Refunds")
async def create_refund(call: Call, body: CreateRefund) -> Answer:
    """Give money back: all that is left, or `amount`.  Never more than was captured, however many ask at once."""
    by, key = context.current(), key_of(call)
    who: Principal = call.principal
    if (body.charge is UNSET) == (body.payment_intent is UNSET):
        raise Invalid(
            "One of the following params should be provided for this request: payment_intent or charge.",
            code="parameter_missing",
        )
    intent_id = await _intent_of(who, body)
    wish = refunding.Wish(
        who.book_id, intent_id, None if body.amount is UNSET else body.amount, None if body.reason is UNSET else body.reason,
        merge_metadata({}, body.metadata), by, Face(who.env),
    )  # fmt: skip
    return answer(await refunding.refund(who.env, key, wish))


async def _intent_of(who: Principal, body: CreateRefund) -> UUID:
    if body.payment_intent is not UNSET:
        id = ids.read("pi", body.payment_intent)
        if id is not None:
            return id
        raise NotFound(f"No such payment_intent: '{body.payment_intent}'", param="payment_intent")
    found = await who.env.db.value(Q.find_charge_intent, who.book_id, ids.read("ch", str(body.charge)))
    if found is None:
        raise NotFound(f"No such charge: '{body.charge}'", param="charge")
    return found


@route("POST", "/v1/refunds/{refund:re}", scope="refunds:write", body=UpdateRefund, answer=RefundObject, tag="Refunds")
async def update_refund(call: Call, body: UpdateRefund) -> Answer:
    """Change a refund's metadata."""
    who: Principal = call.principal

    async def work(tx: Tx) -> RefundObject:
        row = await tx.row(Q.lock_refund, who.book_id, ids.read("re", call.path["refund"]))
        if row is None:
            raise _no_refund(call.path["refund"])
        refund = store.refund_of(row)
        refund.metadata = merge_metadata(refund.metadata, body.metadata)
        await tx.run(Q.set_refund_metadata, refund.book_id, refund.id, msgspec.json.encode(refund.metadata).decode())
        return present.refund(Face(who.env), refund)

    return await once(call, work)


@route(
    "POST",
    "/v1/refunds/{refund:re}/rescue",
    scope="refunds:write",
    body=RescueRefund,
    answer=RefundObject,
    tag="Refunds",
)
async def rescue_refund(call: Call, body: RescueRefund) -> RefundObject:
    """Send a refund that has failed to a bank account instead, where the channel can do that."""
    who: Principal = call.principal
    if body.type == "payer" and not (body.bank and body.account and body.name):
        raise Invalid("The payer's account takes bank, account and name.", param="account")
    to = {"type": body.type} | {n: v for n in ("bank", "account", "name") if (v := getattr(body, n)) is not UNSET}
    refund = await rescue.rescue(who.env, who.book_id, ids.read("re", call.path["refund"]), to)
    return present.refund(Face(who.env), refund)


@route("GET", "/v1/refunds/{refund:re}", scope="refunds:read", query=Retrieve, answer=RefundObject, tag="Refunds")
async def retrieve_refund(call: Call, query: Retrieve) -> RefundObject:
    """Retrieve a refund."""
    who: Principal = call.principal
    row = await who.env.db.row(Q.find_refund, who.book_id, ids.read("re", call.path["refund"]))
    if row is None or row["charge_id"] is None:
        raise _no_refund(call.path["refund"])
    return present.refund(Face(who.env), store.refund_of(row))


@route("GET", "/v1/refunds", scope="refunds:read", query=ListRefunds, answer=Listing[RefundObject], tag="Refunds")
async def list_refunds(call: Call, query: ListRefunds) -> Listing[RefundObject]:
    """List refunds, newest first."""
    who: Principal = call.principal
    page = query.page
    rows = await who.env.db.rows(
        walked(Q.list_refunds, page.ascending), who.book_id, *cursor(page, "re"), page.limit + 1,
        ids.read("ch", query.charge) if query.charge is not UNSET else None,
        ids.read("pi", query.payment_intent) if query.payment_intent is not UNSET else None,
    )  # fmt: skip
    return listing(call, turn(page, [store.refund_of(r) for r in rows]), lambda r: present.refund(Face(who.env), r))


@route("GET", "/v1/charges/{charge:ch}", scope="payments:read", query=Retrieve, answer=ChargeObject, tag="Charges")
async def retrieve_charge(call: Call, query: Retrieve) -> ChargeObject:
    """Retrieve a charge: what was collected for a payment."""
    shown = call.path["charge"]
    found = await load_charges(call, [shown])
    if shown not in found:
        raise NotFound(f"No such charge: '{shown}'", param="charge")
    return found[shown]


@route("GET", "/v1/charges", scope="payments:read", query=ListCharges, answer=Listing[ChargeObject], tag="Charges")
async def list_charges(call: Call, query: ListCharges) -> Listing[ChargeObject]:
    """List charges, newest first."""
    who: Principal = call.principal
    page = query.page
    rows = await who.env.db.rows(
        walked(Q.list_charges, page.ascending), who.book_id, *cursor(page, "ch"), page.limit + 1,
        ids.read("pi", query.payment_intent) if query.payment_intent is not UNSET else None,
        ids.read("cus", query.customer) if query.customer is not UNSET else None,
    )  # fmt: skip
    charges = [store.charge_of(r) for r in rows]
    intents = await _intents(who, [c.intent_id for c in charges])
    return listing(call, turn(page, charges), lambda c: present.charge(Face(who.env), c, intents[c.intent_id]))


async def load_charges(call: Call, shown: Sequence[str]) -> Mapping[str, ChargeObject]:
    """Charges by their shown ids, for `expand`; none for a key that may not read payments."""
    who: Principal = call.principal
    if "payments:read" not in who.scopes:
        return {}
    rows = await who.env.db.rows(Q.find_charges, who.book_id, _ids("ch", shown))
    charges: list[Charge] = [store.charge_of(r) for r in rows]
    intents = await _intents(who, [c.intent_id for c in charges])
    return {ids.show("ch", c.id): present.charge(Face(who.env), c, intents[c.intent_id]) for c in charges}


async def load_intents(call: Call, shown: Sequence[str]) -> Mapping[str, PaymentIntent]:
    """Payments by their shown ids, for `expand`; none for a key that may not read payments."""
    who: Principal = call.principal
    if "payments:read" not in who.scopes:
        return {}
    found = await _intents(who, _ids("pi", shown))
    return {ids.show("pi", i.id): present.intent(Face(who.env), i) for i in found.values()}


async def _intents(who: Principal, wanted: Sequence[UUID]) -> dict[UUID, Intent]:
    rows = await who.env.db.rows(Q.find_intents, who.book_id, list(wanted))
    return {r["id"]: store.intent_of(r) for r in rows}


def _ids(prefix: str, shown: Sequence[str]) -> list[Any]:
    return [id for s in shown if (id := ids.read(prefix, s)) is not None]


def _no_refund(shown: str) -> NotFound:
    return NotFound(f"No such refund: '{shown}'", param="refund")


ROUTES = (create_refund, rescue_refund, list_refunds, retrieve_refund, update_refund, list_charges, retrieve_charge)
RESOURCES = (Resource("ch", ChargeObject, load_charges), Resource("pi", PaymentIntent, load_intents))
