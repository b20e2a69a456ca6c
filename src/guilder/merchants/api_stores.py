"""The calls of stores, tills and operators."""

from dataclasses import replace
from typing import Annotated, Any, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from guilder.core import clock, ids
from guilder.core.errors import Invalid
from guilder.core.page import turn
from guilder.merchants import present_stores, stores
from guilder.merchants.model_stores import Operator, Store, Terminal
from guilder.merchants.params import Address
from guilder.merchants.present_stores import OperatorObject, StoreObject, TerminalObject
from guilder.merchants.principal import Principal
from guilder.platform.db import Tx
from guilder.platform.once import once
from guilder.platform.sql import load, walked
from guilder.platform.web import (
    Answer,
    Call,
    Currency,
    Listing,
    ListParams,
    Metadata,
    Params,
    Route,
    id_of,
    listing,
    merge_metadata,
    route,
)
from guilder.platform.web.cursor import cursor

Q = load(__package__)
T = TypeVar("T", Store, Terminal, Operator)
Code = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_-]{1,32}$", examples=["0001"],
        description="Your own number of it, which channels may be told.",
        extra={"says": "A code has 1 to 32 letters, digits, - and _."},
    ),
]  # fmt: skip
Name = Annotated[str, Meta(min_length=1, max_length=100)]
StoreId = Annotated[str, id_of("sto")]


class CreateStore(Params):
    """A shop."""

    code: Code
    name: Annotated[Name, Meta(description="Payers read it.")]
    address: Address | UnsetType | None = UNSET
    currency: Annotated[Currency, Meta(description="Of what is paid at its counter.")] = "cny"
    metadata: Metadata | UnsetType | None = UNSET


class UpdateStore(Params):
    """What is to change; the rest stays."""

    address: Address | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    name: Name | UnsetType = UNSET


class ListStores(ListParams):
    """Newest first."""

    code: Code | UnsetType = UNSET


class CreateTerminal(Params):
    """A till."""

    code: Code
    name: Name
    store: StoreId
    metadata: Metadata | UnsetType | None = UNSET


class UpdateTerminal(Params):
    """What is to change; the rest stays."""

    enabled: bool | UnsetType = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    name: Name | UnsetType = UNSET


class CreateOperator(Params):
    """Whoever stands at a till."""

    code: Code
    name: Name
    store: Annotated[StoreId, Meta(description="Where he works; left out: wherever he is needed.")] | UnsetType = UNSET


class UpdateOperator(Params):
    """What is to change; the rest stays."""

    enabled: bool | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    store: StoreId | UnsetType | None = UNSET


class ListOfStore(ListParams):
    """Newest first."""

    store: StoreId | UnsetType = UNSET


@route("POST", "/v1/stores", scope="stores:write", body=CreateStore, answer=StoreObject, tag="Stores")
async def create_store(call: Call, body: CreateStore) -> Answer:
    """Create a store.  Its `counter_url` is the code for its counter: print it, and payers pay there with whatever wallet they have."""
    who: Principal = call.principal
    _a_merchants(who)
    address = None if body.address in (UNSET, None) else msgspec.to_builtins(body.address)
    new = Store(
        who.book_id, ids.new_id(), body.code, body.name, body.currency.upper(), address, merge_metadata({}, body.metadata), True,
        clock.now(),
    )  # fmt: skip
    return await _create(call, new)


@route("GET", "/v1/stores", scope="stores:read", query=ListStores, answer=Listing[StoreObject], tag="Stores")
async def list_stores(call: Call, query: ListStores) -> Listing[StoreObject]:
    """List stores, newest first."""
    who: Principal = call.principal
    page = query.page
    rows = await who.env.db.rows(
        walked(Q.list_stores, page.ascending), who.book_id, *cursor(page, "sto"), page.limit + 1, query.code or None
    )
    return listing(call, turn(page, rows), lambda r: present_stores.store(who.env, stores.read(Store, r)))


@route("GET", "/v1/stores/{store:sto}", scope="stores:read", answer=StoreObject, tag="Stores")
async def retrieve_store(call: Call) -> StoreObject:
    """Retrieve a store."""
    who: Principal = call.principal
    return present_stores.store(who.env, await stores.get(who.env.db, Store, who.book_id, call.path["store"]))


@route("POST", "/v1/stores/{store:sto}", scope="stores:write", body=UpdateStore, answer=StoreObject, tag="Stores")
async def update_store(call: Call, body: UpdateStore) -> Answer:
    """Update a store.  One that is not enabled takes no new payments; what was paid there stays."""
    return await _update(call, Store, body)


@route("POST", "/v1/terminals", scope="stores:write", body=CreateTerminal, answer=TerminalObject, tag="Stores")
async def create_terminal(call: Call, body: CreateTerminal) -> Answer:
    """Create a till of a store.  It has a code of its own, at which it can present an amount."""
    who: Principal = call.principal
    _a_merchants(who)
    new = Terminal(
        who.book_id, ids.new_id(), _id("sto", body.store), body.code, body.name, merge_metadata({}, body.metadata), True,
        clock.now(),
    )  # fmt: skip
    return await _create(call, new)


@route("GET", "/v1/terminals", scope="stores:read", query=ListOfStore, answer=Listing[TerminalObject], tag="Stores")
async def list_terminals(call: Call, query: ListOfStore) -> Listing[TerminalObject]:
    """List tills, newest first."""
    who: Principal = call.principal
    page, of = query.page, _id("sto", query.store) if query.store is not UNSET else None
    rows = await who.env.db.rows(
        walked(Q.list_terminals, page.ascending), who.book_id, *cursor(page, "ter"), page.limit + 1, of
    )
    return listing(call, turn(page, rows), lambda r: present_stores.terminal(who.env, stores.read(Terminal, r)))


@route("GET", "/v1/terminals/{terminal:ter}", scope="stores:read", answer=TerminalObject, tag="Stores")
async def retrieve_terminal(call: Call) -> TerminalObject:
    """Retrieve a till."""
    who: Principal = call.principal
    return present_stores.terminal(who.env, await stores.get(who.env.db, Terminal, who.book_id, call.path["terminal"]))


@route(
    "POST", "/v1/terminals/{terminal:ter}", scope="stores:write", body=UpdateTerminal, answer=TerminalObject, tag="Stores"
)  # fmt: skip
async def update_terminal(call: Call, body: UpdateTerminal) -> Answer:
    """Update a till.  One that is not enabled takes no new payments."""
    return await _update(call, Terminal, body)


@route("POST", "/v1/operators", scope="stores:write", body=CreateOperator, answer=OperatorObject, tag="Stores")
async def create_operator(call: Call, body: CreateOperator) -> Answer:
    """Create an operator: whoever stands at a till, named with the payments that he takes."""
    who: Principal = call.principal
    _a_merchants(who)
    store_id = None if body.store is UNSET else _id("sto", body.store)
    return await _create(
        call, Operator(who.book_id, ids.new_id(), store_id, body.code, body.name, True, clock.now())
    )  # fmt: skip


@route("GET", "/v1/operators", scope="stores:read", query=ListOfStore, answer=Listing[OperatorObject], tag="Stores")
async def list_operators(call: Call, query: ListOfStore) -> Listing[OperatorObject]:
    """List operators, newest first."""
    who: Principal = call.principal
    page, of = query.page, _id("sto", query.store) if query.store is not UNSET else None
    rows = await who.env.db.rows(
        walked(Q.list_operators, page.ascending), who.book_id, *cursor(page, "ope"), page.limit + 1, of
    )
    return listing(call, turn(page, rows), lambda r: present_stores.operator(who.env, stores.read(Operator, r)))


@route("GET", "/v1/operators/{operator:ope}", scope="stores:read", answer=OperatorObject, tag="Stores")
async def retrieve_operator(call: Call) -> OperatorObject:
    """Retrieve an operator."""
    who: Principal = call.principal
    return present_stores.operator(who.env, await stores.get(who.env.db, Operator, who.book_id, call.path["operator"]))


@route(
    "POST", "/v1/operators/{operator:ope}", scope="stores:write", body=UpdateOperator, answer=OperatorObject, tag="Stores"
)  # fmt: skip
async def update_operator(call: Call, body: UpdateOperator) -> Answer:
    """Update an operator."""
    return await _update(call, Operator, body)


async def _create(call: Call, new: T) -> Answer:
    who: Principal = call.principal

    async def work(tx: Tx) -> Struct:
        return _shown(who, await stores.create(tx, new))

    return await once(call, work)


async def _update(call: Call, kind: type[T], body: UpdateStore | UpdateTerminal | UpdateOperator) -> Answer:
    who: Principal = call.principal
    shown = call.path[{Store: "store", Terminal: "terminal", Operator: "operator"}[kind]]
    id = ids.read(stores.PREFIX[kind], shown)
    if id is None:
        raise stores.no_such(kind, shown)

    def change(was: T) -> T:
        given: dict[str, Any] = {}
        for name in ("name", "enabled", "address", "metadata", "store"):
            if (value := getattr(body, name, UNSET)) is UNSET:
                continue
            match name:
                case "metadata":
                    given[name] = merge_metadata(getattr(was, name), value)
                case "store":
                    given["store_id"] = None if value is None else _id("sto", value)
                case _:
                    given[name] = msgspec.to_builtins(value)
        return replace(was, **given)

    async def work(tx: Tx) -> Struct:
        return _shown(who, await stores.update(tx, kind, who.book_id, id, change))

    return await once(call, work)


def _shown(who: Principal, thing: Store | Terminal | Operator) -> Struct:
    match thing:
        case Store():
            return present_stores.store(who.env, thing)
        case Terminal():
            return present_stores.terminal(who.env, thing)
        case _:
            return present_stores.operator(who.env, thing)


def _id(prefix: str, shown: str) -> UUID:
    id = ids.read(prefix, shown)
    if id is None:
        raise stores.no_such(Store, shown)
    return id


def _a_merchants(who: Principal) -> None:
    if who.book_id == ids.PLATFORM:
        raise Invalid("A store is a merchant's: name the merchant in Stripe-Account.", param="Stripe-Account")


ROUTES: tuple[Route, ...] = (
    create_store, list_stores, retrieve_store, update_store, create_terminal, list_terminals, retrieve_terminal, update_terminal,
    create_operator, list_operators, retrieve_operator, update_operator,
)  # fmt: skip
