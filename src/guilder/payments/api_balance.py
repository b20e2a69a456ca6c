"""The merchant's balance, and what made it: the book's account `payable`, as shops know it."""

from typing import Annotated, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from guilder.core import clock, ids
from guilder.core.errors import NotFound
from guilder.core.page import turn
from guilder.merchants.principal import Principal
from guilder.payments.params import not_here
from guilder.platform.db import Row
from guilder.platform.sql import load, walked
from guilder.platform.web import Call, Currency, Listing, ListParams, Params, Refusals, Text, listing, route
from guilder.platform.web.cursor import cursor

Q = load(__package__)
Type = Literal["charge", "refund", "adjustment"]
TYPES = {
    "charge": "charge",
    "surplus_accepted": "charge",
    "refund": "refund",
}  # by the journal's rule; else an adjustment


class Funds(Struct, kw_only=True):
    """Units of one currency."""

    amount: int
    currency: str


class BalanceObject(Struct, kw_only=True):
    """What Guilder owes the merchant.  Money that a channel settles straight to the merchant is not in it."""

    object: Literal["balance"] = "balance"
    available: list[Funds]
    connect_reserved: list[Funds] | None = None
    instant_available: list[Funds] | None = None
    issuing: None = None
    livemode: bool
    pending: Annotated[list[Funds], Meta(description="Reserved by holds.")]
    refund_and_dispute_prefunding: None = None


class FeeDetail(Struct, kw_only=True):
    """A part of a fee."""

    amount: int
    application: None = None
    currency: str
    description: str = "Fee of the platform"
    type: Literal["application_fee"] = "application_fee"


class BalanceTransactionObject(Struct, kw_only=True):
    """One movement of the balance."""

    id: str
    object: Literal["balance_transaction"] = "balance_transaction"
    amount: int
    available_on: int
    balance_type: Literal["payments"] = "payments"
    created: int
    currency: str
    description: str | None = None
    exchange_rate: None = None
    fee: Annotated[int, Meta(description="What the platform keeps of a charge; refunds do not give it back.")] = 0
    fee_details: list[FeeDetail] = []
    net: Annotated[int, Meta(description="`amount` less `fee`: what the balance moved by.")]
    reporting_category: str
    source: Annotated[str | None, Meta(description="The charge or refund.")]
    status: Literal["available"] = "available"
    type: Type


class Retrieve(Params):
    """Nothing to say."""


class ListBalanceTransactions(ListParams):
    """Newest first."""

    currency: Currency | UnsetType = UNSET
    source: Text | UnsetType = UNSET
    type: Type | UnsetType = UNSET
    REFUSED: ClassVar[Refusals] = not_here("payout")


@route("GET", "/v1/balance", scope="payments:read", query=Retrieve, answer=BalanceObject, tag="Balance")
async def retrieve_balance(call: Call, query: Retrieve) -> BalanceObject:
    """Retrieve the balance: what was collected for the merchant and is not given back, by currency."""
    who: Principal = call.principal
    rows = await who.env.db.rows(Q.balance_of, who.book_id)
    free = [Funds(amount=r["balance"] - r["held"], currency=r["asset"].lower()) for r in rows]
    held = [Funds(amount=r["held"], currency=r["asset"].lower()) for r in rows]
    none = [Funds(amount=0, currency="cny")]
    return BalanceObject(available=free or none, pending=held or none, livemode=who.livemode)


@route(
    "GET", "/v1/balance_transactions", scope="payments:read", query=ListBalanceTransactions,
    answer=Listing[BalanceTransactionObject], tag="Balance",
)  # fmt: skip
async def list_balance_transactions(call: Call, query: ListBalanceTransactions) -> Listing[BalanceTransactionObject]:
    """List what moved the balance, newest first."""
    who, page = call.principal, query.page
    about = None if query.source is UNSET else _source(query.source)
    rows = await who.env.db.rows(
        walked(Q.list_balance_transactions, page.ascending), who.book_id, *cursor(page, "txn"), page.limit + 1,
        None if query.currency is UNSET else query.currency.upper(), about,
        None if query.type is UNSET else query.type,
    )  # fmt: skip
    return listing(call, turn(page, rows), _transaction)


@route(
    "GET", "/v1/balance_transactions/{balance_transaction:txn}", scope="payments:read", query=Retrieve,
    answer=BalanceTransactionObject, tag="Balance",
)  # fmt: skip
async def retrieve_balance_transaction(call: Call, query: Retrieve) -> BalanceTransactionObject:
    """Retrieve one movement of the balance."""
    shown = call.path["balance_transaction"]
    row = await call.principal.env.db.row(Q.find_balance_transaction, call.principal.book_id, ids.read("txn", shown))
    if row is None:
        raise NotFound(f"No such balance transaction: '{shown}'", param="id")
    return _transaction(row)


def _source(shown: str) -> object:
    id = ids.read("ch", shown) or ids.read("re", shown)
    if id is None:
        raise NotFound(f"No such source: '{shown[:100]}'", param="source")
    return id


def _transaction(row: Row) -> BalanceTransactionObject:
    kind = TYPES.get(row["rule"], "adjustment")
    booked = (row["id"].int >> 80) // 1000
    source = row["source_id"]
    currency, net, fee = row["asset"].lower(), int(row["units"]), int(row["fee"])
    return BalanceTransactionObject(
        id=ids.show("txn", row["id"]), amount=net + fee, available_on=booked, created=clock.unix(row["at"]),
        currency=currency, fee=fee, fee_details=[FeeDetail(amount=fee, currency=currency)] if fee else [], net=net,
        reporting_category="other_adjustment" if kind == "adjustment" else kind,
        source=None if source is None else ids.show("ch" if kind == "charge" else "re", source), type=kind,  # pyrefly: ignore[bad-argument-type]
    )  # fmt: skip


ROUTES = (retrieve_balance, list_balance_transactions, retrieve_balance_transaction)
