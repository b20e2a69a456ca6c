"""A way to pay as Stripe's SDKs read it, in the pinned version; what Guilder does not have is null."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import UNSET, Struct, UnsetType, convert, defstruct

from guilder.core import clock, ids
from guilder.merchants.present import PostalAddress
from guilder.payments.model import Method
from guilder.payments.ways import TYPES
from guilder.platform.persons import Blanks
from guilder.platform.web import expands

PERSONAL: dict[str, Blanks] = {
    "payment_method": {"billing_details": {"address": None, "email": None, "name": None, "phone": None, "tax_id": None}}
}


class Billing(Struct, kw_only=True):
    """Who pays."""

    address: PostalAddress | None = None
    email: str | None = None
    name: str | None = None
    phone: str | None = None
    tax_id: str | None = None


class Details(Struct):
    """Nothing is known of a payer's account before it pays."""


class _PaymentMethod(Struct, kw_only=True):
    """A way to pay.  Of the hashes named like types it has the one of its own."""

    id: str
    object: Literal["payment_method"] = "payment_method"
    allow_redisplay: str | None = None
    billing_details: Billing
    created: int
    customer: Annotated[str, expands("cus")] | None = None
    customer_account: str | None = None
    livemode: bool
    metadata: dict[str, str]
    radar_options: dict[str, Any] | None = None
    type: str


if TYPE_CHECKING:
    PaymentMethod = _PaymentMethod
else:  # a hash for each type that the channels of this process declare
    PaymentMethod = defstruct(
        "PaymentMethod", [(t, Details | UnsetType, UNSET) for t in TYPES], bases=(_PaymentMethod,), module=__name__, kw_only=True,
        namespace={"__doc__": _PaymentMethod.__doc__},
    )  # fmt: skip


def payment_method(m: Method, *, livemode: bool) -> PaymentMethod:
    """A way to pay as the API shows it."""
    return PaymentMethod(
        id=ids.show("pm", m.id),
        billing_details=convert(m.billing, Billing),
        created=clock.unix(m.created_at),
        customer=ids.show("cus", m.customer_id) if m.customer_id else None,
        livemode=livemode,
        metadata=m.metadata,
        type=m.type,
        **{m.type: Details()},  # pyrefly: ignore[bad-argument-type]
    )
