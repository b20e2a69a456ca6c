"""Checkout sessions as Stripe's SDKs read them, in the pinned version; what Guilder does not have is null."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from guilder.cashier import model
from guilder.cashier.links import show_id
from guilder.cashier.model import Status
from guilder.core import clock, ids
from guilder.platform.persons import Blanks
from guilder.platform.web import expands

_NO_TEXTS = {"after_submit": None, "shipping_address": None, "submit": None, "terms_of_service_acceptance": None}


PERSONAL: dict[str, Blanks] = {"checkout.session": {"customer_details": None, "customer_email": None}}


class Price(msgspec.Struct, kw_only=True):
    """What one unit costs; made with its line and used for nothing else."""

    id: str
    object: Literal["price"] = "price"
    active: bool = False
    billing_scheme: str = "per_unit"
    created: int
    currency: str
    custom_unit_amount: dict[str, Any] | None = None
    livemode: bool
    lookup_key: str | None = None
    metadata: dict[str, str] = {}
    nickname: str | None = None
    product: str
    recurring: dict[str, Any] | None = None
    tax_behavior: str = "unspecified"
    tiers_mode: str | None = None
    transform_quantity: dict[str, Any] | None = None
    type: str = "one_time"
    unit_amount: int
    unit_amount_decimal: str


class LineItem(msgspec.Struct, kw_only=True):
    """One thing that is paid for."""

    id: str
    object: Literal["item"] = "item"
    adjustable_quantity: dict[str, Any] | None = None
    amount_discount: int = 0
    amount_subtotal: int
    amount_tax: int = 0
    amount_total: int
    currency: str
    description: str
    metadata: dict[str, str]
    price: Price
    quantity: int


class LineItems(msgspec.Struct, kw_only=True):
    """All line items of a session."""

    object: Literal["list"] = "list"
    data: list[LineItem]
    has_more: bool = False
    url: str


class CheckoutSession(msgspec.Struct, kw_only=True):
    """A page where one payment is paid."""

    id: str
    object: Literal["checkout.session"] = "checkout.session"
    adaptive_pricing: dict[str, Any] | None = None
    after_expiration: dict[str, Any] | None = None
    allow_promotion_codes: bool | None = None
    allowed_payment_method_types: list[str] | None = None
    amount_subtotal: int
    amount_total: int
    automatic_tax: dict[str, Any]
    billing_address_collection: str | None = None
    branding_settings: dict[str, Any] | None = None
    cancel_url: str | None
    client_reference_id: str | None
    client_secret: str | None = None
    collected_information: dict[str, Any] | None = None
    consent: dict[str, Any] | None = None
    consent_collection: dict[str, Any] | None = None
    created: int
    currency: str
    currency_conversion: dict[str, Any] | None = None
    custom_fields: list[dict[str, Any]] = []
    custom_text: dict[str, Any]
    customer: Annotated[str, expands("cus")] | None
    customer_account: str | None = None
    customer_creation: str | None
    customer_details: dict[str, Any] | None
    customer_email: str | None
    discounts: list[dict[str, Any]] = []
    excluded_payment_method_types: list[str] | None = None
    expires_at: int
    integration_identifier: str | None
    invoice: str | None = None
    invoice_creation: dict[str, Any] | None = None
    line_items: Annotated[str, expands("li")] | UnsetType = UNSET
    livemode: bool
    locale: str
    managed_payments: dict[str, Any] | None = None
    metadata: dict[str, str]
    mode: Literal["payment"] = "payment"
    name_collection: dict[str, Any] | None = None
    optional_items: list[dict[str, Any]] | None = None
    origin_context: str | None
    payment_intent: Annotated[str, expands("pi")]
    payment_link: str | None = None
    payment_method_collection: str | None = None
    payment_method_configuration_details: dict[str, Any] | None = None
    payment_method_options: dict[str, Any]
    payment_method_types: list[str]
    payment_status: Literal["paid", "unpaid"]
    permissions: dict[str, Any] | None = None
    phone_number_collection: dict[str, Any]
    presentment_details: dict[str, Any] | None = None
    recovered_from: str | None = None
    redirect_on_completion: str | None = None
    return_url: str | None = None
    saved_payment_method_options: dict[str, Any] | None = None
    setup_intent: str | None = None
    shipping_address_collection: dict[str, Any] | None = None
    shipping_cost: dict[str, Any] | None = None
    shipping_options: list[dict[str, Any]] = []
    status: Literal["open", "complete", "expired"]
    submit_type: str | None
    subscription: str | None = None
    success_url: str
    tax_id_collection: dict[str, Any] | None = None
    total_details: dict[str, Any]
    ui_mode: Literal["hosted_page"] = "hosted_page"
    url: str | None
    wallet_options: dict[str, Any] | None = None


def session(s: model.Session, *, livemode: bool, url: str, with_lines: bool = False) -> CheckoutSession:
    """A session as the API shows it.  `with_lines` leaves a mark in `line_items` for `expand` to fill in."""
    extra = s.extra
    details = {
        "address": None,
        "email": s.customer_email,
        "name": None,
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }
    return CheckoutSession(
        id=show_id(livemode, s.id),
        amount_subtotal=s.amount,
        amount_total=s.amount,
        automatic_tax={"enabled": False, "liability": None, "provider": None, "status": None},
        billing_address_collection=extra.get("billing_address_collection"),
        cancel_url=s.cancel_url,
        client_reference_id=s.client_reference_id,
        created=clock.unix(s.created_at),
        currency=s.currency.lower(),
        custom_text=_NO_TEXTS | extra.get("custom_text", {}),
        customer=ids.show("cus", s.customer_id) if s.customer_id else None,
        customer_creation=None if s.customer_id else "if_required",
        customer_details=details if s.customer_email else None,
        customer_email=s.customer_email,
        expires_at=clock.unix(s.expires_at),
        integration_identifier=extra.get("integration_identifier"),
        line_items=ids.show("li", s.id) if with_lines else UNSET,
        livemode=livemode,
        locale=s.locale,
        metadata=s.metadata,
        origin_context=extra.get("origin_context"),
        payment_intent=ids.show("pi", s.intent_id),
        payment_method_options=extra.get("payment_method_options", {}),
        payment_method_types=s.types,
        payment_status="paid" if s.status is Status.COMPLETE else "unpaid",
        phone_number_collection={"enabled": False},
        status=s.status.value,
        submit_type=s.submit_type,
        success_url=s.success_url,
        total_details={"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        url=url if s.status is Status.OPEN else None,
    )  # fmt: skip


def line_item(line: model.Line, s: model.Session, *, livemode: bool) -> LineItem:
    """A line item as the API shows it."""
    return LineItem(
        id=f"li_{line.id}",
        amount_subtotal=line.total,
        amount_total=line.total,
        currency=s.currency.lower(),
        description=line.name,
        metadata=line.metadata,
        price=Price(
            id=f"price_{line.id}",
            created=clock.unix(s.created_at),
            currency=s.currency.lower(),
            livemode=livemode,
            product=f"prod_{line.id}",
            unit_amount=line.unit_amount,
            unit_amount_decimal=str(line.unit_amount),
        ),
        quantity=line.quantity,
    )


def line_items(s: model.Session, *, livemode: bool) -> LineItems:
    """Everything that a session is for."""
    url = f"/v1/checkout/sessions/{show_id(livemode, s.id)}/line_items"
    return LineItems(data=[line_item(line, s, livemode=livemode) for line in s.lines], url=url)
