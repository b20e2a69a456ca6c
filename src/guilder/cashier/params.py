"""Parameters of checkout sessions: each is honoured, stored and echoed, or refused by name."""

from typing import Annotated, ClassVar, Literal

from msgspec import UNSET, Meta, UnsetType

from guilder.core.amount import MAX
from guilder.payments.params import Options, Shipping, ShortText, TypeName, not_here
from guilder.platform.web import (
    Currency,
    ListParams,
    Metadata,
    Params,
    Refusals,
    UnixTime,
    Url,
    id_of,
)

MAX_LINES = 100
Email = Annotated[
    str, Meta(pattern=r"^[^@\s]{1,64}@[^@\s]{1,255}$", max_length=320, extra={"says": "It must be an email address."})
]
_TAX = "taxes are not part of this release: give prices with tax included."
_COLLECT = "the page collects the payment and nothing else."


class ProductData(Params):
    """What is sold."""

    name: Annotated[str, Meta(min_length=1, max_length=250)]
    description: Annotated[str, Meta(max_length=1000)] | UnsetType | None = UNSET
    images: (
        Annotated[list[Url], Meta(max_length=8, description="Echoed; the page loads nothing from elsewhere.")]
        | UnsetType
    ) = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    unit_label: Annotated[str, Meta(max_length=12)] | UnsetType | None = UNSET
    REFUSED: ClassVar[Refusals] = {"tax_code": _TAX, "tax_details": _TAX}


class PriceData(Params):
    """What one unit costs."""

    currency: Currency
    product_data: ProductData
    unit_amount: Annotated[int, Meta(ge=0, le=MAX, examples=[1250], extra={"over": "amount_too_large"})]
    tax_behavior: Literal["unspecified"] | UnsetType = UNSET
    REFUSED: ClassVar[Refusals] = {
        "product": "there is no catalogue of products: give product_data.",
        "recurring": "subscriptions are not part of this release.",
        "unit_amount_decimal": "amounts are whole minor units: give unit_amount.",
    }


class LineItemData(Params):
    """One thing that is paid for."""

    price_data: PriceData
    quantity: Annotated[int, Meta(ge=1, le=999_999)] = 1
    metadata: Metadata | UnsetType | None = UNSET
    REFUSED: ClassVar[Refusals] = {
        "price": "there is no catalogue of prices: give price_data.",
        "adjustable_quantity": "the payer cannot change quantities.",
        "dynamic_tax_rates": _TAX,
        "tax_rates": _TAX,
    }


class PaymentIntentData(Params):
    """What the session's payment is made with."""

    capture_method: Literal["automatic", "automatic_async", "manual"] | UnsetType = UNSET
    description: Annotated[str, Meta(max_length=1000)] | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    receipt_email: Email | UnsetType = UNSET
    shipping: Shipping | UnsetType = UNSET
    statement_descriptor: Annotated[str, Meta(max_length=22)] | UnsetType | None = UNSET
    statement_descriptor_suffix: Annotated[str, Meta(max_length=22)] | UnsetType | None = UNSET
    REFUSED: ClassVar[Refusals] = not_here(
        "application_fee_amount", "on_behalf_of", "setup_future_usage", "transfer_data", "transfer_group"
    )


class TextPart(Params):
    """A sentence of the merchant's."""

    message: Annotated[str, Meta(min_length=1, max_length=1200)]


class CustomText(Params):
    """Sentences that the page shows: `submit` under the ways to pay, `after_submit` once it is paid."""

    after_submit: TextPart | UnsetType = UNSET
    submit: TextPart | UnsetType = UNSET
    REFUSED: ClassVar[Refusals] = {"shipping_address": _COLLECT, "terms_of_service_acceptance": _COLLECT}


class CreateSession(Params):
    """A page for one payment."""

    line_items: Annotated[list[LineItemData], Meta(min_length=1, max_length=MAX_LINES)]
    mode: Literal["payment"]
    success_url: Annotated[Url, Meta(description="`{CHECKOUT_SESSION_ID}` in it becomes the session's id.")]
    billing_address_collection: Literal["auto"] | UnsetType = UNSET
    cancel_url: Url | UnsetType = UNSET
    client_reference_id: Annotated[str, Meta(min_length=1, max_length=200)] | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    custom_text: CustomText | UnsetType = UNSET
    customer: Annotated[str, id_of("cus")] | UnsetType = UNSET
    customer_creation: Literal["if_required"] | UnsetType = UNSET
    customer_email: Email | UnsetType = UNSET
    expires_at: (
        Annotated[UnixTime, Meta(description="30 minutes to 24 hours from now; 2 hours by default.")] | UnsetType
    ) = UNSET
    integration_identifier: ShortText | UnsetType = UNSET
    locale: Literal["auto", "zh", "en", "en-GB"] = "auto"
    metadata: Metadata | UnsetType | None = UNSET
    origin_context: Literal["mobile_app", "web"] | UnsetType = UNSET
    payment_intent_data: PaymentIntentData | UnsetType = UNSET
    payment_method_options: Options | UnsetType = UNSET
    payment_method_types: Annotated[list[TypeName], Meta(min_length=1, max_length=10)] | UnsetType = UNSET
    submit_type: Literal["auto", "book", "donate", "pay"] = "auto"
    ui_mode: Literal["hosted_page", "hosted"] = "hosted_page"
    REFUSED: ClassVar[Refusals] = {
        **not_here(
            "adaptive_pricing", "after_expiration", "allowed_payment_method_types", "branding_settings", "customer_account",
            "excluded_payment_method_types", "invoice_creation", "managed_payments", "payment_method_configuration",
            "payment_method_data", "permissions", "saved_payment_method_options", "setup_intent_data", "subscription_data",
            "wallet_options",
        ),
        **dict.fromkeys(
            ("consent_collection", "custom_fields", "name_collection", "phone_number_collection", "shipping_address_collection",
             "tax_id_collection", "customer_update"),
            _COLLECT,
        ),
        "allow_promotion_codes": "promotion codes are not part of this release.",
        "automatic_tax": _TAX,
        "discounts": "discounts are not part of this release: give prices after discount.",
        "optional_items": "the payer pays for all line items and for nothing else.",
        "payment_method_collection": "it is for subscriptions, which are not part of this release.",
        "redirect_on_completion": "the page is hosted: the payer always returns to success_url.",
        "return_url": "the page is hosted: give success_url and cancel_url.",
        "shipping_options": "shipping rates are not part of this release: add shipping as a line item.",
    }  # fmt: skip


class ExpireSession(Params):
    """Nothing but the session."""


class CustomerDetails(Params):
    """Who the customer said to be."""

    email: Email


class ListSessions(ListParams):
    """Newest first."""

    customer: Annotated[str, id_of("cus")] | UnsetType = UNSET
    customer_details: CustomerDetails | UnsetType = UNSET
    payment_intent: Annotated[str, id_of("pi")] | UnsetType = UNSET
    status: Literal["complete", "expired", "open"] | UnsetType = UNSET
    REFUSED: ClassVar[Refusals] = not_here("customer_account", "payment_link", "subscription")
