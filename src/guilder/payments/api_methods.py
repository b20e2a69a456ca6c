"""The calls of PaymentMethods."""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar
from uuid import UUID

from msgspec import UNSET, UnsetType

from guilder.core import ids
from guilder.core.page import turn
from guilder.merchants import customers
from guilder.merchants.principal import Principal
from guilder.payments import attach as attaching
from guilder.payments import methods, present_method, store
from guilder.payments.model import BookKey, Changes
from guilder.payments.params import PaymentMethodData, TypeName, not_here
from guilder.payments.present_method import PaymentMethod
from guilder.platform.db import Tx
from guilder.platform.once import once
from guilder.platform.sql import load, walked
from guilder.platform.web import Answer, Call, Listing, ListParams, Params, Refusals, Resource, id_of, listing, route
from guilder.platform.web.cursor import cursor

Q = load(__package__)
CustomerId = Annotated[str, id_of("cus")]


class CreateMethod(PaymentMethodData):
    """A way to pay."""

    REFUSED: ClassVar[Refusals] = {
        **PaymentMethodData.REFUSED,
        "customer": "a method is made first, and attached then: POST /v1/payment_methods/{id}/attach.",
        "payment_method": "methods are not shared between accounts in this release.",
    }


class AttachMethod(Params):
    """Whose it is to be."""

    customer: CustomerId
    REFUSED: ClassVar[Refusals] = not_here("customer_account")


class DetachMethod(Params):
    """Nothing to say."""


class ListCustomerMethods(ListParams):
    """Newest first."""

    type: TypeName | UnsetType = UNSET
    REFUSED: ClassVar[Refusals] = not_here("allow_redisplay")


class ListMethods(ListCustomerMethods):
    """Newest first."""

    customer: CustomerId | UnsetType = UNSET
    REFUSED: ClassVar[Refusals] = not_here("allow_redisplay", "customer_account")


@route("POST", "/v1/payment_methods", scope="payments:write", body=CreateMethod, answer=PaymentMethod)
async def create_payment_method(call: Call, body: CreateMethod) -> Answer:
    """Create a PaymentMethod."""
    who: Principal = call.principal
    method = methods.from_data(who.book_id, body)

    async def work(tx: Tx) -> PaymentMethod:
        await store.save(tx, Changes(new_methods={method.key: method}))
        return present_method.payment_method(method, livemode=who.livemode)

    return await once(call, work)


@route("GET", "/v1/payment_methods/{payment_method:pm}", scope="payments:read", answer=PaymentMethod)
async def retrieve_payment_method(call: Call) -> PaymentMethod:
    """Retrieve a PaymentMethod."""
    shown = call.path["payment_method"]
    found = (await load_methods(call, [shown])).get(shown)
    if found is None:
        raise attaching.no_such(shown)
    return found


@route("GET", "/v1/payment_methods", scope="payments:read", query=ListMethods, answer=Listing[PaymentMethod])
async def list_payment_methods(call: Call, query: ListMethods) -> Listing[PaymentMethod]:
    """List PaymentMethods, newest first: a customer's, or all."""
    return await _list(call, query, query.customer or None)


@route(
    "GET", "/v1/customers/{customer:cus}/payment_methods", scope="payments:read", query=ListCustomerMethods,
    answer=Listing[PaymentMethod], tag="Payment methods",
)  # fmt: skip
async def list_customer_payment_methods(call: Call, query: ListCustomerMethods) -> Listing[PaymentMethod]:
    """List a customer's PaymentMethods, newest first."""
    return await _list(call, query, call.path["customer"])


@route(
    "POST",
    "/v1/payment_methods/{payment_method:pm}/attach",
    scope="payments:write",
    body=AttachMethod,
    answer=PaymentMethod,
)
async def attach_payment_method(call: Call, body: AttachMethod) -> Answer:
    """Attach a PaymentMethod to a customer.  wechat_pay and alipay still ask their payer each time: what is kept is the choice."""
    who: Principal = call.principal
    key, customer_id = _key(call), ids.read("cus", body.customer)
    if customer_id is None:
        raise customers.no_such(body.customer, param="customer")

    async def work(tx: Tx) -> PaymentMethod:
        method = await attaching.attach(tx, key, customer_id, livemode=who.livemode)
        return present_method.payment_method(method, livemode=who.livemode)

    return await once(call, work)


@route(
    "POST",
    "/v1/payment_methods/{payment_method:pm}/detach",
    scope="payments:write",
    body=DetachMethod,
    answer=PaymentMethod,
)
async def detach_payment_method(call: Call, body: DetachMethod) -> Answer:
    """Detach a PaymentMethod from its customer.  It stays usable, and may be attached again."""
    who: Principal = call.principal
    key = _key(call)

    async def work(tx: Tx) -> PaymentMethod:
        return present_method.payment_method(
            await attaching.detach(tx, key, livemode=who.livemode), livemode=who.livemode
        )

    return await once(call, work)


async def load_methods(call: Call, shown: Sequence[str]) -> Mapping[str, PaymentMethod]:
    """PaymentMethods by their shown ids, for `expand`; none for a key that may not read payments."""
    who: Principal = call.principal
    if "payments:read" not in who.scopes:
        return {}
    wanted = [id for s in shown if (id := ids.read("pm", s)) is not None]
    found = [store.method_of(r) for r in await who.env.db.rows(Q.find_methods, who.book_id, wanted)]
    return {ids.show("pm", m.id): present_method.payment_method(m, livemode=who.livemode) for m in found}


async def _list(call: Call, query: ListCustomerMethods, customer: str | None) -> Listing[PaymentMethod]:
    who: Principal = call.principal
    page, customer_id = query.page, None
    if customer is not None:
        await methods.must_have_customer(who, customer)
        customer_id = ids.read("cus", customer)
    rows = await who.env.db.rows(
        walked(Q.list_methods, page.ascending),
        who.book_id,
        *cursor(page, "pm"),
        page.limit + 1,
        customer_id,
        query.type or None,
    )
    return listing(
        call,
        turn(page, rows),
        lambda row: present_method.payment_method(store.method_of(row), livemode=who.livemode),
    )


def _key(call: Call) -> BookKey:
    id: UUID | None = ids.read("pm", call.path["payment_method"])
    if id is None:
        raise attaching.no_such(call.path["payment_method"])
    return call.principal.book_id, id


ROUTES = (
    create_payment_method, list_payment_methods, retrieve_payment_method, attach_payment_method, detach_payment_method,
    list_customer_payment_methods,
)  # fmt: skip
RESOURCES = (Resource("pm", PaymentMethod, load_methods),)
STEPS = (attaching.detach_all,)  # of customers.delete
