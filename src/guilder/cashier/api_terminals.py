"""The calls of tills that take money: present an amount at the counter, or collect from a payer who was scanned."""

from dataclasses import replace
from datetime import timedelta
from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from guilder.cashier import counter
from guilder.core import clock, ids
from guilder.core.errors import Invalid
from guilder.merchants import channel_accounts, present_stores, stores
from guilder.merchants.model_stores import Place
from guilder.merchants.present_stores import TerminalObject
from guilder.merchants.principal import Principal
from guilder.payments import confirm, methods, present, routes, ways
from guilder.payments import store as payments_store
from guilder.payments.create import add
from guilder.payments.life import Scene
from guilder.payments.model import Changes, Intent
from guilder.payments.params import PaymentMethodData
from guilder.payments.present import Face, PaymentIntent
from guilder.platform import context
from guilder.platform.db import Tx
from guilder.platform.once import answer, key_of, once
from guilder.platform.web import Answer, Call, Currency, Metadata, Params, Route, Units, id_of, merge_metadata, route

SCANNED_S = 60  # of a payment whose payer was scanned; the channel reverses its try before that
Operator = Annotated[str, id_of("ope")]
Description = Annotated[
    str, Meta(max_length=1000, description="What it is for; the store's name, unless something is said.")
]


class PresentAmount(Params):
    """What whoever scans the till's code is asked for."""

    amount: Units
    currency: Annotated[Currency, Meta(description="The store's, unless another is said.")] | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    expires_in_s: Annotated[int, Meta(ge=30, le=3600)] = 300
    metadata: Metadata | UnsetType | None = UNSET
    operator: Operator | UnsetType = UNSET


class CollectAmount(Params):
    """Whom the till has scanned, and for how much."""

    amount: Units
    auth_code: Annotated[
        str,
        Meta(
            pattern=r"^[0-9]{8,32}$", examples=["134567890123456789"],
            description="The digits of the payer's code. Its wallet is known by how it begins.",
            extra={"says": "It must be the 8 to 32 digits of a payer's code."},
        ),
    ]  # fmt: skip
    currency: Annotated[Currency, Meta(description="The store's, unless another is said.")] | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    operator: Operator | UnsetType = UNSET


class Nothing(Params):
    """Nothing to say."""


@route(
    "POST", "/v1/terminals/{terminal:ter}/present", scope="payments:write", body=PresentAmount, answer=PaymentIntent, tag="Stores"
)  # fmt: skip
async def present_at_terminal(call: Call, body: PresentAmount) -> Answer:
    """Present an amount: whoever opens the till's code is shown this payment, in whatever wallet, until it is paid or over."""
    who: Principal = call.principal
    by, place = context.current(), await _place(call, body)
    accounts = await channel_accounts.of_merchant(who.env, who.book_id)
    currency = _currency(body, place)
    types = ways.offered(accounts, currency)
    if not types:
        raise Invalid("This merchant has no way to take payments here.", code="payment_method_unactivated")
    new = _payment(who, body, place, types, body.expires_in_s)

    async def work(tx: Tx) -> PaymentIntent:
        assert place.terminal is not None
        terminal = await stores.lock_terminal(tx, who.book_id, place.terminal.id)
        changes, face = Changes(by=by), Face(who.env)
        intent = add(Scene(changes, face, clock.now(), "api"), new)
        await payments_store.save(tx, changes)
        await stores.present(tx, terminal, intent.id, clock.now() + timedelta(seconds=body.expires_in_s))
        return present.intent(face, intent)

    return await once(call, work)


@route(
    "POST",
    "/v1/terminals/{terminal:ter}/clear",
    scope="payments:write",
    body=Nothing,
    answer=TerminalObject,
    tag="Stores",
)
async def clear_terminal(call: Call, body: Nothing) -> Answer:
    """Present nothing: whoever opens the till's code says himself how much.  A payment that was presented stays; cancel it if it shall not be
    paid."""
    who: Principal = call.principal
    id = ids.read("ter", call.path["terminal"])

    async def work(tx: Tx) -> TerminalObject:
        terminal = await stores.lock_terminal(tx, who.book_id, id or ids.PLATFORM)
        await stores.present(tx, terminal, None, None)
        return present_stores.terminal(who.env, replace(terminal, presented_id=None, presented_until=None))

    return await once(call, work)


@route(
    "POST", "/v1/terminals/{terminal:ter}/collect", scope="payments:write", body=CollectAmount, answer=PaymentIntent, tag="Stores"
)  # fmt: skip
async def collect_at_terminal(call: Call, body: CollectAmount) -> Answer:
    """Collect from a payer whose code the till has scanned.  `succeeded`: it is paid.  `processing`: the payer is asked for his password, or
    the channel has not said; ask for the PaymentIntent again, or wait for its event.  What is not paid within the channel's deadline is
    reversed there, and the PaymentIntent is canceled."""
    who: Principal = call.principal
    by, key, place = context.current(), key_of(call), await _place(call, body)
    accounts = await channel_accounts.of_merchant(who.env, who.book_id)
    way = ways.scanned(body.auth_code, accounts)
    terminal = place.terminal
    assert terminal is not None
    said = {"auth_code": body.auth_code, "store_id": place.store.code, "terminal_id": terminal.code}
    if place.operator is not None:
        said["operator_id"] = place.operator.code
    passed = {name: value for name, value in said.items() if name in (*way.needs, *way.takes)}
    options = {way.type: {"client": way.client, **passed}}
    new = _payment(who, body, place, [way.type], SCANNED_S)
    new.extra["payment_method_options"], new.extra["given"] = ways.apart(options)
    method = methods.from_data(who.book_id, PaymentMethodData(type=way.type))
    router = await routes.router(who.env, who.book_id)
    wish = confirm.Begin(
        who.book_id, new.id, lambda i, tried: router.choose(i, way.type, options, tried=tried), way.type, method.id, by, Face(who.env),
        clock.now() + timedelta(seconds=SCANNED_S), new=new, new_method=method,
    )  # fmt: skip
    return answer(await confirm.confirm(who.env, key, wish))


async def _place(call: Call, body: PresentAmount | CollectAmount) -> Place:
    who: Principal = call.principal
    place = await stores.place(
        who.env.db, who.book_id, terminal=call.path["terminal"], operator=body.operator or None
    )  # fmt: skip
    assert place is not None
    return place


def _payment(
    who: Principal, body: PresentAmount | CollectAmount, place: Place, types: list[str], expires_s: float
) -> Intent:
    return counter.payment(
        who.book_id, body.amount, _currency(body, place), types, place, late_success=who.late_success,
        root_id=context.current().root_id, business_line=who.business_line, expires_s=expires_s,
        description=body.description or None, metadata=merge_metadata({}, body.metadata),
    )  # fmt: skip


def _currency(body: PresentAmount | CollectAmount, place: Place) -> str:
    return place.store.currency if body.currency is UNSET else body.currency.upper()


ROUTES: tuple[Route, ...] = (present_at_terminal, clear_terminal, collect_at_terminal)
