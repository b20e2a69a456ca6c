"""Ways to pay, as payments choose them: a stored `pm_`, data given on the spot, or a test token."""

from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from guilder.core import clock, ids
from guilder.core.errors import Invalid, NotFound
from guilder.merchants import customers
from guilder.merchants.principal import Principal
from guilder.payments import store, ways
from guilder.payments.model import Method
from guilder.payments.params import PaymentMethodData
from guilder.platform.sql import load
from guilder.platform.web import merge_metadata

Q = load(__package__)


class Chosen(msgspec.Struct, frozen=True):
    """The way that a payment takes.  `new`: it is written with the payment."""

    id: UUID
    type: str
    dial: str | None
    new: Method | None = None


async def chosen(who: Principal, named: str | UnsetType, data: PaymentMethodData | UnsetType) -> Chosen | None:
    """The way that a request names; None if it names none.  Raises Invalid, NotFound."""
    if named is not UNSET and data is not UNSET:
        raise Invalid("You may give one of payment_method and payment_method_data.", param="payment_method_data")
    if data is not UNSET:
        return _made(from_data(who.book_id, data))
    if named is UNSET:
        return None
    token = ways.read_token(named)
    if token is not None:
        if who.livemode:
            raise Invalid(
                f"{named} is a test token: it works with test keys only.",
                param="payment_method",
                code="resource_missing",
            )
        return _made(Method(who.book_id, ids.new_id(), token[0], token[1], None, {}, {}, 0, clock.now()))
    id = ids.read("pm", named)
    if id is None:
        raise NotFound(f"No such PaymentMethod: '{named}'", param="payment_method")
    return await stored(who, id)


async def stored(who: Principal, id: UUID) -> Chosen:
    """A stored way.  Raises NotFound."""
    row = await who.env.db.row(Q.find_method, who.book_id, id)
    if row is None:
        raise NotFound(f"No such PaymentMethod: '{ids.show('pm', id)}'", param="payment_method")
    method = store.method_of(row)
    return Chosen(method.id, method.type, method.dial)


def from_data(book_id: UUID, data: PaymentMethodData) -> Method:
    """A way to pay from its parameters."""
    billing = {} if data.billing_details is UNSET else msgspec.to_builtins(data.billing_details)
    return Method(
        book_id, ids.new_id(), data.type, None, None, billing, merge_metadata({}, data.metadata), 0, clock.now()
    )


def _made(method: Method) -> Chosen:
    return Chosen(method.id, method.type, method.dial, method)


async def must_have_customer(who: Principal, shown: str) -> None:
    """Raises NotFound unless the merchant has this customer."""
    id = ids.read("cus", shown)
    if id is None or not await customers.exists(who.env.db, who.book_id, id):
        raise NotFound(f"No such customer: '{shown}'", param="customer")
