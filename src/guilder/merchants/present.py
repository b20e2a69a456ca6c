"""Customers as Stripe's SDKs read them, in the pinned version; what Guilder does not have is null.  And contracts, which are our own."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, convert
from msgspec.json import decode

from guilder.core import clock, ids
from guilder.merchants.kept import Kept
from guilder.merchants.model import Customer
from guilder.platform.db import Row
from guilder.platform.persons import Blanks

PERSONAL: dict[str, Blanks] = {
    "customer": {
        "address": None, "description": None, "email": None, "metadata": {}, "name": None, "phone": None, "preferred_locales": [],
        "shipping": None,
    }
}  # fmt: skip


class PostalAddress(Struct, kw_only=True):
    """A postal address."""

    city: str | None = None
    country: str | None = None
    line1: str | None = None
    line2: str | None = None
    postal_code: str | None = None
    state: str | None = None


class CustomerShipping(Struct, kw_only=True):
    """Where a customer's goods go."""

    address: PostalAddress | None = None
    carrier: str | None = None
    name: str | None = None
    phone: str | None = None
    tracking_number: str | None = None


class InvoiceSettings(Struct, kw_only=True, frozen=True):
    """Guilder makes no invoices; shops that look here find nothing instead of failing."""

    custom_fields: None = None
    default_payment_method: None = None
    footer: None = None
    rendering_options: None = None


class CustomerObject(Struct, kw_only=True):
    """A payer that you know.  Of one that was deleted only `id`, `object` and `deleted` are left."""

    id: str
    object: Literal["customer"] = "customer"
    address: PostalAddress | None = None
    balance: Annotated[int | None, Meta(description="Always 0: there are no invoices to owe.")] = 0
    business_name: str | None = None
    cash_balance: dict[str, Any] | None = None
    created: int | UnsetType = UNSET
    currency: str | None = None
    customer_account: str | None = None
    default_source: str | None = None
    deleted: Annotated[Literal[True] | UnsetType, Meta(description="Only of a deleted customer.")] = UNSET
    delinquent: bool | None = False
    description: str | None = None
    discount: dict[str, Any] | None = None
    email: str | None = None
    individual_name: str | None = None
    invoice_credit_balance: dict[str, int] | None = None
    invoice_prefix: str | None = None
    invoice_settings: InvoiceSettings | None = InvoiceSettings()
    livemode: bool | UnsetType = UNSET
    metadata: dict[str, str] | UnsetType = UNSET
    name: str | None = None
    next_invoice_sequence: int | None = None
    phone: str | None = None
    preferred_locales: list[str] = []
    shipping: CustomerShipping | None = None
    sources: dict[str, Any] | None = None
    subscriptions: dict[str, Any] | None = None
    tax: dict[str, Any] | None = None
    tax_exempt: str | None = "none"
    tax_ids: dict[str, Any] | None = None
    test_clock: str | None = None


class DeletedCustomer(Struct, kw_only=True):
    """What is left of a customer."""

    id: str
    object: Literal["customer"] = "customer"
    deleted: Literal[True] = True


class ErasedCustomer(Struct, kw_only=True):
    """What is left of a customer that was erased."""

    id: str
    object: Literal["customer"] = "customer"
    blanked: Annotated[
        dict[str, int], Meta(description="How many payments, ways to pay, answers and so on said something of it.")
    ]
    deleted: Literal[True] = True
    erased: Literal[True] = True


class CustomerExport(Struct, kw_only=True):
    """Everything that is kept of a person: each thing where it lies."""

    id: str
    object: Literal["customer_export"] = "customer_export"
    created: int
    environment: str
    kept: list[Kept]


class ChannelAccountObject(Struct, kw_only=True):
    """A contract with a channel.  Its secrets are shown to nobody."""

    id: str
    object: Literal["channel_account"] = "channel_account"
    channel: str
    created: int
    enabled: Annotated[
        bool, Meta(description="Only an enabled one is asked for payments; what was begun at another ends there.")
    ]
    funds: Annotated[str, Meta(description="Whose money the channel collects.")]
    livemode: bool
    name: str
    public: Annotated[dict[str, str], Meta(description="Its configuration, without what is secret.")]


def channel_account(row: Row, *, livemode: bool) -> ChannelAccountObject:
    """A contract from its row."""
    return ChannelAccountObject(
        id=ids.show("ca", row["id"]), channel=row["channel"], created=clock.unix(row["created_at"]), enabled=row["enabled"],
        funds=row["funds"], livemode=livemode, name=row["name"], public=decode(row["public"], type=dict[str, str]),
    )  # fmt: skip


def customer(c: Customer, *, livemode: bool) -> CustomerObject:
    """A customer as the API shows it."""
    return CustomerObject(
        id=ids.show("cus", c.id),
        address=None if c.address is None else convert(c.address, PostalAddress),
        created=clock.unix(c.created_at),
        description=c.description,
        email=c.email,
        livemode=livemode,
        metadata=c.metadata,
        name=c.name,
        phone=c.phone,
        preferred_locales=list(c.locales),
        shipping=None if c.shipping is None else convert(c.shipping, CustomerShipping),
    )


def whatever_is_left(c: Customer, *, livemode: bool) -> CustomerObject | DeletedCustomer:
    """A customer, or what is left of a deleted one."""
    return customer(c, livemode=livemode) if c.deleted_at is None else deleted(c)


def deleted(c: Customer) -> DeletedCustomer:
    """A deleted customer as the API shows it."""
    return DeletedCustomer(id=ids.show("cus", c.id))
