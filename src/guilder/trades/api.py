"""The calls of trades."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from msgspec import UNSET

from guilder.core import clock, ids
from guilder.core.amount import MAX
from guilder.core.errors import Invalid, NotFound, Rejected
from guilder.core.page import turn
from guilder.merchants import channel_accounts, onboard
from guilder.merchants.principal import Principal
from guilder.payments import methods, ways
from guilder.payments.present import Face, PaymentIntent
from guilder.platform import context, timeline
from guilder.platform.db import Tx
from guilder.platform.idempotency import Asked
from guilder.platform.once import answer, key_of, once
from guilder.platform.sql import load, walked
from guilder.platform.web import Answer, Call, Listing, Resource, listing, merge_metadata, route
from guilder.platform.web.cursor import cursor
from guilder.trades import present, release, store
from guilder.trades import refund as refunding
from guilder.trades.create import CREATE, NewTrade
from guilder.trades.model import REFUSED_TYPES, Item, Trade, Whole
from guilder.trades.params import (
    CancelTrade,
    CreateTrade,
    ListTrades,
    NewItem,
    PayTrade,
    RefundTrade,
    ReleaseTrade,
    RetrieveTrade,
)
from guilder.trades.pay import PAY, Wish
from guilder.trades.present import TradeObject
from guilder.trades.states import TradeStatus

Q = load(__package__)


@route("POST", "/v1/trades", scope="payments:write", body=CreateTrade, answer=TradeObject, tag="Trades")
async def create_trade(call: Call, body: CreateTrade) -> Answer:
    """Create a trade: items, each some merchant's.  It is paid for by payments of its own: POST /v1/trades/{trade}/payment_intents."""
    by, key = context.current(), key_of(call)
    who: Principal = call.principal
    if body.type in REFUSED_TYPES:
        raise Invalid(
            f"The type {body.type} is refused: {REFUSED_TYPES[body.type]}", code="trade_type_unavailable", param="type"
        )
    if body.customer is not UNSET:
        await methods.must_have_customer(who, body.customer)
    trade = Trade(
        who.book_id, ids.new_id(), 0, body.type, TradeStatus.OPEN, body.merchant_ref or None, _id("trd", body.parent or None), _total(body),
        body.currency.upper(), body.deposit or None, 0, 0, 0, 0, None, _id("cus", body.customer or None), body.description or None,
        merge_metadata({}, body.metadata), by.root_id, who.business_line, clock.now(),
    )  # fmt: skip
    items = [await _item(who, trade, n, item) for n, item in enumerate(body.items)]
    made = NewTrade(Whole(trade, items), by, who.livemode)
    return answer(await who.env.lane(CREATE).submit(Asked(key, made), who.book_id))


def _total(body: CreateTrade) -> int:
    """(T1) What the items come to.  Raises Invalid."""
    total = sum(i.quantity * i.unit_amount for i in body.items)
    if not 0 < total <= MAX:
        code = "amount_too_large" if total else "amount_too_small"
        raise Invalid(f"The items come to {total}; a trade has 1 to {MAX} minor units.", code=code, param="items")
    if body.deposit is not UNSET and (body.deposit >= total or body.type == "pre_authorisation"):
        why = "a pre-authorisation is for the whole trade" if body.deposit < total else f"the items come to {total}"
        raise Invalid(f"A deposit is a part of what is to be paid: {why}.", param="deposit")
    return total


async def _item(who: Principal, trade: Trade, n: int, item: NewItem) -> Item:
    seller = who.book_id
    if item.seller is not UNSET:
        named = ids.read("acct", item.seller)
        if named is None or await onboard.find(who.env, named) is None:
            raise NotFound(f"No such merchant: '{item.seller}'", param=f"items[{n}][seller]")
        seller = named
    return Item(
        who.book_id, ids.new_id(), trade.id, n, seller, item.sku or None, item.name, item.quantity, item.unit_amount,
        item.quantity * item.unit_amount,
    )  # fmt: skip


@route(
    "POST", "/v1/trades/{trade:trd}/payment_intents", scope="payments:write", body=PayTrade, answer=PaymentIntent, tag="Trades"
)  # fmt: skip
async def pay_trade(call: Call, body: PayTrade) -> Answer:
    """Make a PaymentIntent for a trade, or for a part of it; confirm it as any other.

    What open payments ask for is reserved: together with what is paid it is never more than the trade.
    """
    by, key = context.current(), key_of(call)
    who: Principal = call.principal
    whole = await _find(who, call.path["trade"])
    accounts = await channel_accounts.of_merchant(who.env, who.book_id)
    types = list(dict.fromkeys(body.payment_method_types or ways.offered(accounts, whole.trade.currency)))
    for type in types:
        ways.fitting(type, accounts, whole.trade.currency, {}, asked=False)
    if not types:
        raise Invalid(
            f"This merchant has no channel account that takes {whole.trade.currency.lower()}: no way to pay can be offered.",
            code="payment_method_unactivated",
        )
    if whole.trade.type == "pre_authorisation":
        ways.must_hold(types, accounts)
    wish = Wish(
        who.book_id, whole.trade.id, ids.new_id(), body.amount or None, tuple(types), body.description or None,
        merge_metadata({}, body.metadata), who.late_success, by, Face(who.env),
    )  # fmt: skip
    return answer(await who.env.lane(PAY).submit(Asked(key, wish), who.book_id))


@route(
    "POST", "/v1/trades/{trade:trd}/refunds", scope="refunds:write", body=RefundTrade, answer=TradeObject, tag="Trades"
)
async def refund_trade(call: Call, body: RefundTrade) -> Answer:
    """Give items back, or parts of them.  Each item's seller gives back what he got for it, and nobody else does."""
    who: Principal = call.principal
    items = None
    if body.items is not UNSET:
        items = tuple(refunding.Wanted(_must("ti", i.item), i.amount or None, i.quantity or None) for i in body.items)
    wish = refunding.Wish(
        who.book_id, _must("trd", call.path["trade"]), items, body.reason or None, merge_metadata({}, body.metadata), context.current(),
        Face(who.env),
    )  # fmt: skip

    async def work(tx: Tx) -> TradeObject | Rejected:
        done = await refunding.refund(tx, wish)
        return present.trade(done, livemode=who.livemode) if isinstance(done, Whole) else done

    return await once(call, work)


@route(
    "POST",
    "/v1/trades/{trade:trd}/release",
    scope="payments:write",
    body=ReleaseTrade,
    answer=TradeObject,
    tag="Trades",
)
async def release_trade(call: Call, body: ReleaseTrade) -> Answer:
    """Give the sellers of an escrow what is held for them."""
    who: Principal = call.principal
    items = None if body.items is UNSET else [_must("ti", i) for i in body.items]

    async def work(tx: Tx) -> TradeObject:
        id = _must("trd", call.path["trade"])
        return present.trade(
            await release.release(tx, who.book_id, id, items, livemode=who.livemode), livemode=who.livemode
        )

    return await once(call, work)


@route(
    "POST", "/v1/trades/{trade:trd}/cancel", scope="payments:write", body=CancelTrade, answer=TradeObject, tag="Trades"
)
async def cancel_trade(call: Call, body: CancelTrade) -> Answer:
    """End a trade that nobody has paid for and that no open payment asks for."""
    who: Principal = call.principal

    async def work(tx: Tx) -> TradeObject:
        whole = await release.cancel(tx, who.book_id, _must("trd", call.path["trade"]), livemode=who.livemode)
        return present.trade(whole, livemode=who.livemode)

    return await once(call, work)


@route("GET", "/v1/trades/{trade:trd}", scope="payments:read", query=RetrieveTrade, answer=TradeObject, tag="Trades")
async def retrieve_trade(call: Call, query: RetrieveTrade) -> TradeObject:
    """Retrieve a trade."""
    who: Principal = call.principal
    return present.trade(await _find(who, call.path["trade"]), livemode=who.livemode)


@route("GET", "/v1/trades", scope="payments:read", query=ListTrades, answer=Listing[TradeObject], tag="Trades")
async def list_trades(call: Call, query: ListTrades) -> Listing[TradeObject]:
    """List trades, newest first.  `of` finds them by an id of anybody's, as the timeline does."""
    who: Principal = call.principal
    page = query.page
    among = await _trades_of(who, query.of) if query.of is not UNSET else None

    async def work(tx: Tx) -> list[Whole]:
        rows = await tx.rows(
            walked(Q.list_trades, page.ascending), who.book_id, *cursor(page, "trd"), page.limit + 1, query.merchant_ref or None,
            _id("trd", query.parent or None), query.status or None, among,
        )  # fmt: skip
        return await store.whole(tx, rows)

    found = await who.env.db.transact(work, durable=False)
    return listing(call, turn(page, found), lambda w: present.trade(w, livemode=who.livemode))


async def _trades_of(who: Principal, said: str) -> list[UUID]:
    """The trades that an id of anybody's belongs to."""

    async def work(tx: Tx) -> list[UUID]:
        things = await timeline.find(tx, said.strip(), [who.book_id])
        story = await timeline.gather(tx, things, [who.book_id], livemode=who.livemode)
        return [t.id for t in story.of("trd")]

    return await who.env.db.transact(work, durable=False)


async def _find(who: Principal, shown: str) -> Whole:
    async def work(tx: Tx) -> list[Whole]:
        return await store.find(tx, who.book_id, [_must("trd", shown)])

    found = await who.env.db.transact(work, durable=False)
    if not found:
        raise NotFound(f"No such trade: '{shown}'", param="trade")
    return found[0]


def _id(prefix: str, shown: str | None) -> UUID | None:
    return None if shown is None else ids.read(prefix, shown)


def _must(prefix: str, shown: str) -> UUID:
    id = ids.read(prefix, shown)
    if id is None:
        raise NotFound(
            f"No such {'trade' if prefix == 'trd' else 'item'}: '{shown}'",
            param="trade" if prefix == "trd" else "items",
        )
    return id


async def load_trades(call: Call, shown: Sequence[str]) -> Mapping[str, TradeObject]:
    """Trades by their shown ids, for `expand`; none for a key that may not read payments."""
    who: Principal = call.principal
    if "payments:read" not in who.scopes:
        return {}
    wanted: list[Any] = [id for s in shown if (id := ids.read("trd", s)) is not None]
    found = await who.env.db.transact(lambda tx: store.find(tx, who.book_id, wanted), durable=False)
    return {ids.show("trd", w.trade.id): present.trade(w, livemode=who.livemode) for w in found}


ROUTES = (create_trade, list_trades, retrieve_trade, pay_trade, refund_trade, release_trade, cancel_trade)
RESOURCES = (Resource("trd", TradeObject, load_trades),)
