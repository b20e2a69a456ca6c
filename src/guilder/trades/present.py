"""Trades as the API shows them."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from guilder.core import clock, ids
from guilder.platform.web import expands
from guilder.trades.model import NO_ITEM, GiveBack, Item, Part, Whole

STATES = {"open": "pending", "done": "succeeded", "failed": "failed"}


class TradeItem(msgspec.Struct, kw_only=True):
    """One thing of a trade."""

    id: str
    object: Literal["trade_item"] = "trade_item"
    amount: int
    amount_held: Annotated[int, Meta(description="Paid, and not with its seller yet.")]
    amount_paid: int
    amount_refunded: Annotated[int, Meta(description="Gone back, or on its way back.")]
    amount_released: Annotated[int, Meta(description="With its seller.")]
    name: str
    quantity: int
    seller: str
    sku: str | None
    unit_amount: int


class TradePayment(msgspec.Struct, kw_only=True):
    """A payment of a trade."""

    amount: int
    amount_received: int
    amount_returned: Annotated[int, Meta(description="Of it, what no item wanted any more: it goes back.")]
    payment_intent: str
    purpose: Literal["whole", "deposit", "balance"]
    status: Literal["open", "paid", "canceled"]


class TradeRefund(msgspec.Struct, kw_only=True):
    """What a refund gives back of an item."""

    amount: int
    item: Annotated[str | None, Meta(description="Null: too much was paid.")]
    refund: str
    status: Literal["pending", "succeeded", "failed"]


class TradeObject(msgspec.Struct, kw_only=True):
    """What was bought, of whom, how it is paid for and what of it went back."""

    id: str
    object: Literal["trade"] = "trade"
    amount: int
    amount_due: Annotated[int, Meta(description="What is not paid yet.")]
    amount_paid: int
    amount_refunded: Annotated[int, Meta(description="Gone back, or on its way back.")]
    amount_reserved: Annotated[int, Meta(description="What open payments ask for.")]
    canceled_at: int | None
    children: Annotated[list[str], Meta(description="Its sub-trades.")]
    created: int
    currency: str
    customer: Annotated[str, expands("cus")] | None
    deposit: int | None
    description: str | None
    items: list[TradeItem]
    livemode: bool
    merchant_ref: str | None
    metadata: dict[str, str]
    parent: str | None
    payments: list[TradePayment]
    refunds: list[TradeRefund]
    released_at: int | None
    status: Literal["open", "partly_paid", "paid", "refunded", "canceled"]
    type: Literal["purchase", "pre_authorisation", "escrow"]


def trade(whole: Whole, *, livemode: bool) -> TradeObject:
    """A trade as it is now."""
    t = whole.trade
    return TradeObject(
        id=ids.show("trd", t.id), amount=t.amount, amount_due=t.amount - t.paid, amount_paid=t.paid, amount_refunded=t.refunded,
        amount_reserved=t.reserved, canceled_at=clock.unix(t.canceled_at) if t.canceled_at else None,
        children=[ids.show("trd", id) for id in whole.children], created=clock.unix(t.created_at), currency=t.currency.lower(),
        customer=ids.show("cus", t.customer_id) if t.customer_id else None, deposit=t.deposit, description=t.description,
        items=[_item(i) for i in whole.items], livemode=livemode, merchant_ref=t.merchant_ref, metadata=t.metadata,
        parent=ids.show("trd", t.parent_id) if t.parent_id else None, payments=[_part(p) for p in whole.parts],
        refunds=[_back(b) for b in whole.back], released_at=clock.unix(t.released_at) if t.released_at else None,
        status=t.status.value, type=t.type,  # pyrefly: ignore[bad-argument-type]
    )  # fmt: skip


def _item(i: Item) -> TradeItem:
    return TradeItem(
        id=ids.show("ti", i.id), amount=i.amount, amount_held=i.held, amount_paid=i.paid, amount_refunded=i.refunded,
        amount_released=i.released, name=i.name, quantity=i.quantity, seller=ids.show("acct", i.seller_id), sku=i.sku,
        unit_amount=i.unit_amount,
    )  # fmt: skip


def _part(p: Part) -> TradePayment:
    return TradePayment(
        amount=p.amount, amount_received=p.received, amount_returned=p.excess, payment_intent=ids.show("pi", p.intent_id),
        purpose=p.purpose, status=p.state,  # pyrefly: ignore[bad-argument-type]
    )  # fmt: skip


def _back(b: GiveBack) -> TradeRefund:
    return TradeRefund(
        amount=b.units, item=None if b.item_id == NO_ITEM else ids.show("ti", b.item_id), refund=ids.show("re", b.refund_id),
        status=STATES[b.state],  # pyrefly: ignore[bad-argument-type]
    )  # fmt: skip
