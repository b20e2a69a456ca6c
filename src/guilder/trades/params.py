"""Parameters of the calls of trades."""

from typing import Annotated, ClassVar, Literal

from msgspec import UNSET, Meta, UnsetType

from guilder.core.amount import MAX
from guilder.payments.params import TypeName
from guilder.platform.web import Currency, ListParams, Metadata, Params, Refusals, Units, id_of
from guilder.trades.model import MAX_ITEMS, REFUSED_TYPES, TYPES

Words = Annotated[str, Meta(min_length=1, max_length=250)]
Number = Annotated[str, Meta(min_length=1, max_length=200)]
TradeId = Annotated[str, id_of("trd")]
ItemId = Annotated[str, id_of("ti")]


class NewItem(Params):
    """One thing that is bought."""

    name: Words
    unit_amount: Annotated[int, Meta(ge=0, le=MAX, examples=[1250], extra={"over": "amount_too_large"})]
    quantity: Annotated[int, Meta(ge=1, le=999_999)] = 1
    seller: (
        Annotated[str, id_of("acct"), Meta(description="The merchant whose it is; you, if it is left out.")] | UnsetType
    ) = UNSET
    sku: Number | UnsetType | None = UNSET
    REFUSED: ClassVar[Refusals] = {"amount": "an item's amount is quantity times unit_amount."}


class CreateTrade(Params):
    """What is bought."""

    currency: Currency
    items: Annotated[list[NewItem], Meta(min_length=1, max_length=MAX_ITEMS)]
    type: Annotated[
        Literal[(*TYPES, *REFUSED_TYPES)],  # pyrefly: ignore
        Meta(
            description="; ".join(f"{name}: {says}" for name, says in TYPES.items())
            + ". The others wait for what they need."
        ),
    ] = "purchase"
    customer: Annotated[str, id_of("cus")] | UnsetType = UNSET
    deposit: Annotated[Units, Meta(description="What is asked for first; the balance later.")] | UnsetType = UNSET
    description: Annotated[str, Meta(max_length=1000)] | UnsetType | None = UNSET
    merchant_ref: (
        Annotated[Number, Meta(description="Your own number: of one trade, whatever becomes of it.")] | UnsetType
    ) = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    parent: Annotated[TradeId, Meta(description="The trade that this one is a part of.")] | UnsetType = UNSET
    REFUSED: ClassVar[Refusals] = {"amount": "a trade's amount is what its items come to."}


class PayTrade(Params):
    """How much of it, and by which ways."""

    amount: (
        Annotated[
            Units, Meta(description="The deposit first, if there is one, and then all that is left, unless said.")
        ]
        | UnsetType
    ) = UNSET
    description: Annotated[str, Meta(max_length=1000)] | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    payment_method_types: Annotated[list[TypeName], Meta(min_length=1, max_length=10)] | UnsetType = UNSET
    REFUSED: ClassVar[Refusals] = {
        "confirm": "make it here, and confirm the PaymentIntent.",
        "capture_method": "a trade of the type pre_authorisation is captured by hand, and no other.",
        "currency": "it is the trade's.",
        "customer": "it is the trade's.",
    }


class RefundItem(Params):
    """An item that goes back: all that was paid for it and is left, or a part."""

    item: ItemId
    amount: Units | UnsetType = UNSET
    quantity: Annotated[int, Meta(ge=1, le=999_999, description="So many of it, at their price.")] | UnsetType = UNSET


class RefundTrade(Params):
    """What goes back; everything that is left, if no items are named."""

    items: Annotated[list[RefundItem], Meta(min_length=1, max_length=MAX_ITEMS)] | UnsetType = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    reason: Literal["duplicate", "fraudulent", "requested_by_customer"] | UnsetType = UNSET


class ReleaseTrade(Params):
    """Whose goods have arrived; everything, now and whatever is paid later, if no items are named."""

    items: Annotated[list[ItemId], Meta(min_length=1, max_length=MAX_ITEMS)] | UnsetType = UNSET


class CancelTrade(Params):
    """Nothing to say."""


class RetrieveTrade(Params):
    """Nothing to say."""


class ListTrades(ListParams):
    """Newest first."""

    merchant_ref: Number | UnsetType = UNSET
    of: (
        Annotated[
            str, Meta(min_length=1, max_length=200, description="An id of anybody's: the trades that it belongs to.")
        ]
        | UnsetType
    ) = UNSET
    parent: TradeId | UnsetType = UNSET
    status: Literal["open", "partly_paid", "paid", "refunded", "canceled"] | UnsetType = UNSET
