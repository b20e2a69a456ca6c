"""Parameters that several calls of payments share."""

from typing import ClassVar, Literal

from msgspec import UNSET, UnsetType

from guilder.merchants.params import Address, ShortText
from guilder.platform.web import Metadata, Params, Refusals

TypeName = Literal["wechat_pay", "alipay"]
OTHER_TYPES = (
    "acss_debit", "affirm", "afterpay_clearpay", "alma", "amazon_pay", "au_becs_debit", "bacs_debit", "bancontact", "billie",
    "bizum", "blik", "boleto", "cashapp", "crypto", "custom", "customer_balance", "eps", "fpx", "giropay", "grabpay", "ideal",
    "interac_present", "kakao_pay", "klarna", "konbini", "kr_card", "link", "mb_way", "mobilepay", "multibanco", "naver_pay",
    "nz_bank_account", "oxxo", "p24", "pay_by_bank", "payco", "paynow", "paypal", "paypay", "payto", "pix", "promptpay",
    "revolut_pay", "samsung_pay", "satispay", "scalapay", "sepa_debit", "sequra", "sofort", "sunbit", "swish", "twint", "upi",
    "us_bank_account", "zip",
)  # fmt: skip

_WHY = {
    "application_fee_amount": "fees between merchants are not part of this release, and an ignored fee would lose money.",
    "transfer_data": "transfers between merchants are not part of this release, and an ignored transfer would lose money.",
    "on_behalf_of": "connected accounts are not part of this release.",
    "amount_to_confirm": "a payment is confirmed for its whole amount.",
    "mandate_data": "mandates are not part of this release: wechat_pay and alipay are paid by the payer each time.",
    "mandate": "mandates are not part of this release: wechat_pay and alipay are paid by the payer each time.",
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


class PaymentMethodData(Params):
    """A way to pay, made on the spot."""

    type: TypeName
    alipay: Nothing | UnsetType = UNSET
    wechat_pay: Nothing | UnsetType = UNSET
    billing_details: BillingDetails | UnsetType = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    REFUSED: ClassVar[Refusals] = {
        "card": ("card_data_refused", "card numbers are accepted nowhere: cards go through a channel's own page."),
        **not_here("allow_redisplay", "radar_options"),
        **dict.fromkeys(OTHER_TYPES, "this release knows the types wechat_pay and alipay."),
    }


class WechatOptions(Params):
    """`client` says where the payer is; this release shows a QR code to each of them."""

    client: Literal["web"] | UnsetType = UNSET
    REFUSED: ClassVar[Refusals] = not_here("app_id", "setup_future_usage")


class AlipayOptions(Params):
    """`client=qr` asks for a code to scan instead of a redirect."""

    client: Literal["web", "qr"] | UnsetType = UNSET
    REFUSED: ClassVar[Refusals] = not_here("setup_future_usage")


class Options(Params):
    """Options per way (ADR 0002)."""

    alipay: AlipayOptions | UnsetType = UNSET
    wechat_pay: WechatOptions | UnsetType = UNSET
    REFUSED: ClassVar[Refusals] = dict.fromkeys(
        ("card", "card_present", "demo_pay", *OTHER_TYPES), "this release knows the types wechat_pay and alipay."
    )
