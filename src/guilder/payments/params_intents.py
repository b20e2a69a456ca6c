"""Parameters of the calls of PaymentIntents."""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import UNSET, UnsetType

from guilder.payments.params import Options, PaymentMethodData, Shipping, TypeName, not_here
from guilder.platform.web import Currency, ListParams, Metadata, Params, Refusals, Text, Units, Url, id_of

TypeNames = Annotated[list[TypeName], msgspec.Meta(min_length=1, max_length=10)]
Amount = Annotated[Units, msgspec.Meta(description="In the currency's smallest unit: 1250 is 12.50 yuan.")]


class AutomaticMethods(Params):
    """Offer every way that the merchant has."""

    enabled: bool
    allow_redirects: Literal["always"] | UnsetType = UNSET  # alipay goes by redirect unless its options say client=qr


class CreateIntent(Params):
    """What is to be paid."""

    amount: Amount
    currency: Currency
    allowed_payment_method_types: TypeNames | UnsetType = UNSET
    automatic_payment_methods: AutomaticMethods | UnsetType = UNSET
    capture_method: Literal["automatic", "automatic_async", "manual"] | UnsetType = UNSET
    confirm: bool | UnsetType = UNSET
    confirmation_method: Literal["automatic"] | UnsetType = UNSET
    customer: Annotated[str, id_of("cus")] | UnsetType = UNSET
    description: Annotated[str, msgspec.Meta(max_length=1000)] | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    operator: Annotated[str, id_of("ope")] | UnsetType = UNSET
    payment_method: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | UnsetType = UNSET
    payment_method_data: PaymentMethodData | UnsetType = UNSET
    payment_method_options: Options | UnsetType = UNSET
    payment_method_types: TypeNames | UnsetType = UNSET
    receipt_email: Annotated[str, msgspec.Meta(max_length=512)] | UnsetType | None = UNSET
    return_url: Url | UnsetType = UNSET
    shipping: Shipping | UnsetType | None = UNSET
    statement_descriptor: Annotated[str, msgspec.Meta(max_length=22)] | UnsetType | None = UNSET
    statement_descriptor_suffix: Annotated[str, msgspec.Meta(max_length=22)] | UnsetType | None = UNSET
    store: Annotated[str, id_of("sto")] | UnsetType = UNSET
    terminal: Annotated[str, id_of("ter")] | UnsetType = UNSET
    REFUSED: ClassVar[Refusals] = not_here(
        "amount_details", "application_fee_amount", "confirmation_token", "customer_account",
        "error_on_requires_action", "excluded_payment_method_types", "hooks", "mandate", "mandate_data", "off_session",
        "on_behalf_of", "payment_details", "payment_method_configuration", "radar_options", "setup_future_usage",
        "transfer_data", "transfer_group", "use_stripe_sdk",
    )  # fmt: skip


class UpdateIntent(Params):
    """What may change before it is paid."""

    allowed_payment_method_types: TypeNames | UnsetType = UNSET
    amount: Amount | UnsetType = UNSET
    capture_method: Literal["automatic", "automatic_async", "manual"] | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    customer: Annotated[str, id_of("cus")] | UnsetType = UNSET
    description: Annotated[str, msgspec.Meta(max_length=1000)] | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    payment_method: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | UnsetType = UNSET
    payment_method_data: PaymentMethodData | UnsetType = UNSET
    payment_method_options: Options | UnsetType = UNSET
    payment_method_types: TypeNames | UnsetType = UNSET
    receipt_email: Annotated[str, msgspec.Meta(max_length=512)] | UnsetType | None = UNSET
    shipping: Shipping | UnsetType | None = UNSET
    statement_descriptor: Annotated[str, msgspec.Meta(max_length=22)] | UnsetType | None = UNSET
    statement_descriptor_suffix: Annotated[str, msgspec.Meta(max_length=22)] | UnsetType | None = UNSET
    REFUSED: ClassVar[Refusals] = not_here(
        "amount_details", "application_fee_amount", "customer_account",
        "excluded_payment_method_types", "hooks", "payment_details", "payment_method_configuration", "setup_future_usage",
        "transfer_data", "transfer_group",
    )  # fmt: skip


class ConfirmIntent(Params):
    """How the payer pays."""

    capture_method: Literal["automatic", "automatic_async", "manual"] | UnsetType = UNSET
    payment_method: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | UnsetType = UNSET
    payment_method_data: PaymentMethodData | UnsetType = UNSET
    payment_method_options: Options | UnsetType = UNSET
    receipt_email: Annotated[str, msgspec.Meta(max_length=512)] | UnsetType | None = UNSET
    return_url: Url | UnsetType = UNSET
    shipping: Shipping | UnsetType | None = UNSET
    REFUSED: ClassVar[Refusals] = not_here(
        "allowed_payment_method_types", "amount_details", "amount_to_confirm", "confirmation_token", "error_on_requires_action",
        "excluded_payment_method_types", "hooks", "mandate", "mandate_data", "off_session", "payment_details", "radar_options",
        "setup_future_usage", "use_stripe_sdk",
    )  # fmt: skip


class CaptureIntent(Params):
    """How much of what is held; all of it unless said.  The rest is let go."""

    amount_to_capture: Amount | UnsetType = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    REFUSED: ClassVar[Refusals] = not_here(
        "amount_details", "application_fee_amount", "final_capture", "hooks", "payment_details", "statement_descriptor",
        "statement_descriptor_suffix", "transfer_data",
    )  # fmt: skip


class CancelIntent(Params):
    """Why it ends."""

    cancellation_reason: Literal["duplicate", "fraudulent", "requested_by_customer", "abandoned"] | UnsetType = UNSET


class RetrieveIntent(Params):
    """A publishable key shows the client secret."""

    client_secret: Text | UnsetType = UNSET


class ListIntents(ListParams):
    """Newest first."""

    customer: Annotated[str, id_of("cus")] | UnsetType = UNSET
    store: Annotated[str, id_of("sto")] | UnsetType = UNSET
    terminal: Annotated[str, id_of("ter")] | UnsetType = UNSET
    REFUSED: ClassVar[Refusals] = not_here("customer_account")
