"""Parameters that several calls of payments share."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec
from msgspec import UNSET, UnsetType

from guilder.merchants.params import Address, ShortText
from guilder.payments.ways import TYPES
from guilder.platform.web import Metadata, Params, Refusals

if TYPE_CHECKING:
    TypeName = str
else:
    TypeName = Literal[TYPES]  # what the channels of this process declare
KNOWN = ", ".join(TYPES)
_STRIPES = (
    "acss_debit", "affirm", "afterpay_clearpay", "alma", "amazon_pay", "au_becs_debit", "bacs_debit", "bancontact", "billie",
    "bizum", "blik", "boleto", "cashapp", "crypto", "custom", "customer_balance", "eps", "fpx", "giropay", "grabpay", "ideal",
    "interac_present", "kakao_pay", "klarna", "konbini", "kr_card", "link", "mb_way", "mobilepay", "multibanco", "naver_pay",
    "nz_bank_account", "oxxo", "p24", "pay_by_bank", "payco", "paynow", "paypal", "paypay", "payto", "pix", "promptpay",
    "revolut_pay", "samsung_pay", "satispay", "scalapay", "sepa_debit", "sequra", "sofort", "sunbit", "swish", "twint", "upi",
    "us_bank_account", "zip",
)  # fmt: skip
OTHER_TYPES = tuple(t for t in _STRIPES if t not in TYPES)

_WHY = {
    "application_fee_amount": "fees between merchants are not part of this release, and an ignored fee would lose money.",
    "transfer_data": "transfers between merchants are not part of this release, and an ignored transfer would lose money.",
    "on_behalf_of": "connected accounts are not part of this release.",
    "amount_to_confirm": "a payment is confirmed for its whole amount.",
    "mandate_data": "mandates are not part of this release: the payer pays each time.",
    "mandate": "mandates are not part of this release: the payer pays each time.",
    "off_session": "a payer must be present to scan or to be redirected.",
    "setup_future_usage": "no way of this release can be charged again without its payer.",
    "reverse_transfer": "transfers between merchants are not part of this release.",
    "refund_application_fee": "application fees are not part of this release.",
}


def not_here(*names: str) -> Refusals:
    """Parameters of Stripe's that are refused by name, each with the reason."""
    return {name: _WHY.get(name, "it is not part of this release.") for name in names}


class Shipping(Params):
    """Where goods go; kept and echoed."""

    address: Address
    name: ShortText
    carrier: ShortText | UnsetType | None = UNSET
    phone: ShortText | UnsetType | None = UNSET
    tracking_number: ShortText | UnsetType | None = UNSET


class BillingDetails(Params):
    """Who pays; kept and echoed."""

    address: Address | UnsetType | None = UNSET
    email: ShortText | UnsetType | None = UNSET
    name: ShortText | UnsetType | None = UNSET
    phone: ShortText | UnsetType | None = UNSET
    tax_id: ShortText | UnsetType | None = UNSET


class Nothing(Params):
    """A way that has no parameters of its own."""


class _MethodData(Params):
    """A way to pay, made on the spot."""

    type: TypeName
    billing_details: BillingDetails | UnsetType = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    REFUSED: ClassVar[Refusals] = {
        "card": ("card_data_refused", "card numbers are accepted nowhere: cards go through a channel's own page."),
        **not_here("allow_redisplay", "radar_options"),
        **dict.fromkeys(OTHER_TYPES, f"this release knows the types {KNOWN}."),
    }


OptionName = Annotated[
    str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,39}$", extra={"says": "It is no option of a way to pay."})
]
Option = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
# `client` says where the payer is; what else a way needs or takes is in docs/reference/ways.md.  Checked when the way is chosen.
OptionsOfOne = Annotated[dict[OptionName, Option], msgspec.Meta(max_length=20)]


class _Options(Params):
    """Options per way (ADR 0002)."""

    REFUSED: ClassVar[Refusals] = dict.fromkeys(
        (t for t in ("card", "card_present", "demo_pay", *OTHER_TYPES) if t not in TYPES),
        f"this release knows the types {KNOWN}.",
    )


if TYPE_CHECKING:
    PaymentMethodData = _MethodData
    Options = _Options
else:  # a field for each type that the channels of this process declare
    PaymentMethodData = msgspec.defstruct(
        "PaymentMethodData",
        [(t, Nothing | UnsetType, UNSET) for t in TYPES if t != "card"],
        bases=(_MethodData,), module=__name__, kw_only=True, frozen=True, forbid_unknown_fields=True,
        namespace={"__doc__": _MethodData.__doc__},
    )  # fmt: skip
    Options = msgspec.defstruct(
        "Options",
        [(t, OptionsOfOne | UnsetType, UNSET) for t in TYPES],
        bases=(_Options,), module=__name__, kw_only=True, frozen=True, forbid_unknown_fields=True,
        namespace={"__doc__": _Options.__doc__},
    )  # fmt: skip
