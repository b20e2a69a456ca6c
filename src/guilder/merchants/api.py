"""The calls of customers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from guilder.core import clock, ids
from guilder.core.page import turn
from guilder.merchants import customers, present
from guilder.merchants import erase as erasing
from guilder.merchants import export as exporting
from guilder.merchants.model import Customer
from guilder.merchants.params import Address, ShortText
from guilder.merchants.present import CustomerExport, CustomerObject, DeletedCustomer, ErasedCustomer
from guilder.merchants.principal import Principal
from guilder.platform.db import Tx
from guilder.platform.once import once
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
    encode,
    listing,
    merge_metadata,
    route,
)
from guilder.platform.web.cursor import cursor

Q = load(__package__)
Email = Annotated[
    str,
    Meta(
        max_length=512, pattern=r"^[^@\s\x00]+@[^@\s\x00]+$", examples=["payer@example.com"],
        extra={"code": "email_invalid", "says": "It must be an email address."},
    ),
]  # fmt: skip
Locale = Annotated[
    str,
    Meta(
        max_length=35, pattern=r"^[a-z]{2,3}([-_][A-Za-z0-9]{2,8})*$", examples=["zh-CN"],
        extra={"says": "It must be a language, as in zh-CN."},
    ),
]  # fmt: skip

_AS_A_WHOLE = Meta(description="Replaces the former one as a whole.")
_INVOICES = "there are no invoices in this release."
_CARDS = (
    "card_data_refused",
    "card numbers and card tokens are accepted nowhere: cards go through a channel's own page.",
)
_REFUSED: Refusals = {
    "balance": _INVOICES,
    "business_name": "this release knows one name of a customer: give it as name, and others as metadata.",
    "card": _CARDS,
    "cash_balance": "wallets are not part of this release.",
    "individual_name": "this release knows one name of a customer: give it as name, and others as metadata.",
    "invoice_prefix": _INVOICES,
    "invoice_settings": _INVOICES,
    "next_invoice_sequence": _INVOICES,
    "source": _CARDS,
    "tax": "taxes are not part of this release.",
    "tax_exempt": "taxes are not part of this release.",
    "validate": "nothing is charged to find out whether a way to pay is good.",
}


class CustomerShipping(Params):
    """Where goods go; kept and echoed."""

    address: Address
    name: ShortText
    phone: ShortText | UnsetType | None = UNSET


class CreateCustomer(Params):
    """A payer.  Everything is optional, kept and echoed."""

    address: Annotated[Address, _AS_A_WHOLE] | UnsetType | None = UNSET
    description: Annotated[str, Meta(max_length=5000)] | UnsetType | None = UNSET
    email: Email | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    name: Annotated[str, Meta(max_length=256)] | UnsetType | None = UNSET
    phone: Annotated[str, Meta(max_length=20)] | UnsetType | None = UNSET
    preferred_locales: Annotated[list[Locale], Meta(max_length=20)] | UnsetType | None = UNSET
    shipping: Annotated[CustomerShipping, _AS_A_WHOLE] | UnsetType | None = UNSET
    REFUSED: ClassVar[Refusals] = {
        **_REFUSED,
        "payment_method": "attach it when the customer is there: POST /v1/payment_methods/{id}/attach.",
        "tax_id_data": "taxes are not part of this release.",
        "test_clock": "test clocks are not part of this release.",
    }


class EraseCustomer(Params):
    """Why, for the trail."""

    reason: (
        Annotated[str, Meta(max_length=500, description="Kept for ever with what was done: say nothing of the person.")]
        | UnsetType
    ) = UNSET


class UpdateCustomer(CreateCustomer):
    """What is to change; the rest stays."""

    REFUSED: ClassVar[Refusals] = {**_REFUSED, "default_source": _CARDS}


class ListCustomers(ListParams):
    """Newest first."""

    email: Annotated[str, Meta(min_length=1, max_length=512, description="Exactly this address.")] | UnsetType = UNSET
    REFUSED: ClassVar[Refusals] = {"test_clock": "test clocks are not part of this release."}


@route("POST", "/v1/customers", scope="customers:write", body=CreateCustomer, answer=CustomerObject)
async def create_customer(call: Call, body: CreateCustomer) -> Answer:
    """Create a customer."""
    who: Principal = call.principal
    blank = Customer(who.book_id, ids.new_id(), 0, None, None, None, None, None, None, (), {}, clock.now())
    new = _apply(blank, body)

    async def work(tx: Tx) -> CustomerObject:
        made = await customers.create(tx, new, livemode=who.livemode)
        return present.customer(made, livemode=who.livemode)

    return await once(call, work)


@route("GET", "/v1/customers", scope="customers:read", query=ListCustomers, answer=Listing[CustomerObject])
async def list_customers(call: Call, query: ListCustomers) -> Listing[CustomerObject]:
    """List customers, newest first; deleted ones are not shown."""
    who: Principal = call.principal
    page = query.page
    rows = await who.env.db.rows(
        walked(Q.list_customers, page.ascending), who.book_id, *cursor(page, "cus"), page.limit + 1, query.email or None
    )
    return listing(
        call, turn(page, rows), lambda row: present.customer(customers.customer_of(row), livemode=who.livemode)
    )


@route("GET", "/v1/customers/{customer:cus}", scope="customers:read", answer=CustomerObject)
async def retrieve_customer(call: Call) -> CustomerObject | Answer:
    """Retrieve a customer.  Of a deleted one the answer says only that it was deleted."""
    shown = call.path["customer"]
    left = (await load_customers(call, [shown])).get(shown)
    if left is None:
        raise customers.no_such(shown)
    return left if isinstance(left, CustomerObject) else Answer(200, encode(left))


@route("POST", "/v1/customers/{customer:cus}", scope="customers:write", body=UpdateCustomer, answer=CustomerObject)
async def update_customer(call: Call, body: UpdateCustomer) -> Answer:
    """Update a customer.  What is not given stays; an empty value clears it."""
    who: Principal = call.principal
    id = _id(call)

    async def work(tx: Tx) -> CustomerObject:
        now = await customers.update(tx, who.book_id, id, lambda c: _apply(c, body), livemode=who.livemode)
        return present.customer(now, livemode=who.livemode)

    return await once(call, work)


@route("DELETE", "/v1/customers/{customer:cus}", scope="customers:write", answer=DeletedCustomer)
async def delete_customer(call: Call) -> Answer:
    """Delete a customer for good: what was known of the person is erased, and its payment methods are detached.  Its payments
    stay."""
    who: Principal = call.principal
    id = _id(call)

    async def work(tx: Tx) -> DeletedCustomer:
        return present.deleted(await customers.delete(tx, who.book_id, id, livemode=who.livemode))

    return await once(call, work)


@route("POST", "/v1/customers/{customer:cus}/erase", scope="customers:erase", body=EraseCustomer, answer=ErasedCustomer)
async def erase_customer(call: Call, body: EraseCustomer) -> Answer:
    """Erase a person for good: nothing that says who it is can be read any more, in events that were said before either.  A customer
    that is not deleted yet is.  Amounts, payments and the books stay."""
    who: Principal = call.principal
    id = _id(call)

    async def work(tx: Tx) -> ErasedCustomer:
        done = await erasing.erase(tx, who.book_id, id, livemode=who.livemode, why=body.reason or "")
        return ErasedCustomer(id=ids.show("cus", id), blanked=done)

    return await once(call, work)


@route("GET", "/v1/customers/{customer:cus}/export", scope="customers:erase", answer=CustomerExport)
async def export_customer(call: Call) -> CustomerExport:
    """Export everything that is kept of a customer, and where it lies."""
    who: Principal = call.principal
    id = _id(call)
    kept = await who.env.db.transact(lambda tx: exporting.export(tx, who.book_id, id, livemode=who.livemode))
    return CustomerExport(id=ids.show("cus", id), created=clock.unix(clock.now()), environment=who.env.name, kept=kept)


async def load_customers(call: Call, shown: Sequence[str]) -> Mapping[str, CustomerObject | DeletedCustomer]:
    """Customers by their shown ids, for `expand`; none for a key that may not read customers."""
    who: Principal = call.principal
    if "customers:read" not in who.scopes:
        return {}
    wanted = [id for s in shown if (id := ids.read("cus", s)) is not None]
    found = await customers.find_many(who.env.db, who.book_id, wanted)
    return {ids.show("cus", c.id): present.whatever_is_left(c, livemode=who.livemode) for c in found}


def _apply(c: Customer, body: CreateCustomer) -> Customer:
    """`c` with what was given."""
    given: dict[str, Any] = {
        name: msgspec.to_builtins(value)
        for name in ("address", "description", "email", "name", "phone", "shipping")
        if (value := getattr(body, name)) is not UNSET
    }
    if body.preferred_locales is not UNSET:
        given["locales"] = tuple(body.preferred_locales or ())
    return replace(c, **given, metadata=merge_metadata(c.metadata, body.metadata))


def _id(call: Call) -> UUID:
    id = ids.read("cus", call.path["customer"])
    if id is None:
        raise customers.no_such(call.path["customer"])
    return id


ROUTES = (
    create_customer, list_customers, retrieve_customer, update_customer, delete_customer, erase_customer, export_customer,
)  # fmt: skip
RESOURCES = (Resource("cus", CustomerObject, load_customers),)
