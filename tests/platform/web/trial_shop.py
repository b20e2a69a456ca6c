"""A small API to try the layer on: things can be made, found, listed and expanded, and every class of error can be had."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.applications import Starlette

from guilder.core import errors
from guilder.core.ids import new_id, show
from guilder.core.page import turn
from guilder.platform.web import (
    Answer,
    Call,
    Currency,
    Listing,
    ListParams,
    Metadata,
    Params,
    Refusals,
    Resource,
    Text,
    Units,
    Url,
    api_key,
    encode,
    expands,
    listing,
    merge_metadata,
    route,
)
from guilder.platform.web.app import build

KEY, READER = "sk_test_shop", "rk_test_reader"


class Customer(msgspec.Struct, kw_only=True):
    """Who buys."""

    id: str
    object: Literal["customer"] = "customer"
    name: str | None = None
    metadata: dict[str, str] = {}


class Charge(msgspec.Struct, kw_only=True):
    """Money that was taken."""

    id: str
    object: Literal["charge"] = "charge"
    amount: int
    customer: Annotated[str, expands("cus")] | None = None
    payment_intent: Annotated[str, expands("pi")] | None = None


class PaymentIntent(msgspec.Struct, kw_only=True):
    """What is to be paid."""

    id: str
    object: Literal["payment_intent"] = "payment_intent"
    amount: int
    currency: str
    created: int
    description: str | None = None
    customer: Annotated[str, expands("cus")] | None = None
    latest_charge: Annotated[str, expands("ch")] | None = None
    metadata: dict[str, str] = {}


class PriceData(Params):
    """A price made up on the spot."""

    currency: Currency
    unit_amount: Units
    REFUSED: ClassVar[Refusals] = {"tax_behavior": "taxes are not computed here."}


class LineItem(Params):
    """One line of a purchase."""

    price_data: PriceData
    quantity: Annotated[int, Meta(ge=1, le=999)] = 1


class CreateIntent(Params):
    """A PaymentIntent to be made."""

    amount: Units
    currency: Currency
    capture_method: Literal["automatic", "manual"] = "automatic"
    confirm: bool = False
    customer: Text | UnsetType = UNSET
    description: Annotated[str, Meta(max_length=1000)] | UnsetType | None = UNSET
    line_items: Annotated[list[LineItem], Meta(max_length=20)] | UnsetType = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    payment_method_types: Annotated[list[Literal["wechat_pay", "alipay"]], Meta(max_length=5)] | UnsetType = UNSET
    return_url: Url | UnsetType = UNSET
    REFUSED: ClassVar[Refusals] = {
        "application_fee_amount": "fees follow the merchant's plan.",
        "card": ("card_data_refused", "card numbers never pass through here."),
    }


class UpdateIntent(Params):
    """What may still be changed."""

    description: Annotated[str, Meta(max_length=1000)] | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET


class ListIntents(ListParams):
    """Which PaymentIntents to list."""

    currency: Currency | UnsetType = UNSET


@dataclass(frozen=True)
class Shop:
    """Who holds a key."""

    scopes: frozenset[str]
    names_account: bool = False
    at_platform: bool = False


@dataclass
class Shelf:
    """Where the things are kept."""

    intents: dict[str, PaymentIntent] = field(default_factory=dict)
    charges: dict[str, Charge] = field(default_factory=dict)
    customers: dict[str, Customer] = field(default_factory=dict)
    keys: dict[str, bytes] = field(default_factory=dict)
    loads: list[tuple[str, list[str]]] = field(default_factory=list)
    answers: dict[str, bytes] = field(default_factory=dict)
    last: Call | None = None

    def put(self, amount: int) -> PaymentIntent:
        """A paid intent with its charge and customer."""
        cus = Customer(id=show("cus", new_id()), name="Lin")
        intent = PaymentIntent(
            id=show("pi", new_id()), amount=amount, currency="cny", created=1_790_000_000 + amount, customer=cus.id
        )
        charge = Charge(id=show("ch", new_id()), amount=amount, customer=cus.id, payment_intent=intent.id)
        intent.latest_charge = charge.id
        self.intents[intent.id], self.charges[charge.id], self.customers[cus.id] = intent, charge, cus
        return intent


@dataclass(frozen=True)
class Running:
    """The shop, served, and what stands on its shelf."""

    port: int
    shelf: Shelf

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


ERRORS: dict[str, Exception] = {
    "card": errors.CardError(
        decline_code="insufficient_funds", details={"payment_intent": {"id": "pi_1", "object": "payment_intent"}}
    ),
    "state": errors.WrongState(),
    "reused": errors.KeyReused(),
    "in_flight": errors.InFlight(),
    "rate": errors.RateLimited(),
    "busy": errors.Busy(),
    "bug": ZeroDivisionError("the secret is 42"),
}


async def authenticate(headers: Mapping[str, str]) -> Shop:
    """Two keys: one may do everything, one only read."""
    match api_key(headers):
        case "sk_test_shop":
            return Shop(frozenset({"payments:read", "payments:write"}))
        case "rk_test_reader":
            return Shop(frozenset({"payments:read"}))
    raise errors.Unauthenticated("Invalid API Key provided.")


def shop(shelf: Shelf) -> Starlette:
    """The application over one shelf."""

    @route("POST", "/v1/payment_intents", scope="payments:write", body=CreateIntent, answer=PaymentIntent)
    async def create_payment_intent(call: Call, body: CreateIntent) -> PaymentIntent:
        """Create a PaymentIntent. Nothing is asked of a channel yet."""
        shelf.last = call
        if isinstance(body.description, str) and (error := ERRORS.get(body.description)):
            raise error
        if call.idempotency_key and shelf.keys.setdefault(call.idempotency_key, call.fingerprint) != call.fingerprint:
            raise errors.KeyReused
        intent = shelf.put(body.amount)
        intent.currency, intent.description, intent.metadata = (
            body.currency,
            body.description or None,
            merge_metadata({}, body.metadata),
        )
        return intent

    @route("GET", "/v1/payment_intents", scope="payments:read", query=ListIntents, answer=Listing[PaymentIntent])
    async def list_payment_intents(call: Call, query: ListIntents) -> Listing[PaymentIntent]:
        """List PaymentIntents, newest first."""
        asked = query.page
        for name, cursor in (("starting_after", asked.after), ("ending_before", asked.before)):
            if cursor is not None and cursor not in shelf.intents:
                raise errors.NotFound(f"No such payment_intent: '{cursor}'", param=name)
        rows = sorted((i for i in shelf.intents.values() if query.currency in (UNSET, i.currency)), key=lambda i: i.id)
        rows = [
            i
            for i in rows
            if (asked.after is None or i.id < asked.after) and (asked.before is None or i.id > asked.before)
        ]
        since, until = asked.created.since, asked.created.until
        rows = [i for i in rows if (since is None or i.created >= since) and (until is None or i.created < until)]
        rows = rows if asked.ascending else rows[::-1]
        return listing(call, turn(asked, rows[: asked.limit + 1]), lambda i: i)

    def found(call: Call) -> PaymentIntent:
        if intent := shelf.intents.get(call.path["intent"]):
            return intent
        raise errors.NotFound(f"No such payment_intent: '{call.path['intent']}'", param="intent")

    @route("GET", "/v1/payment_intents/{intent:pi}", scope="payments:read", answer=PaymentIntent)
    async def retrieve_payment_intent(call: Call) -> PaymentIntent:
        """Retrieve a PaymentIntent."""
        return found(call)

    @route("POST", "/v1/payment_intents/{intent:pi}", scope="payments:write", body=UpdateIntent, answer=PaymentIntent)
    async def update_payment_intent(call: Call, body: UpdateIntent) -> PaymentIntent:
        """Update a PaymentIntent."""
        intent = found(call)
        if body.description is not UNSET:
            intent.description = body.description
        intent.metadata = merge_metadata(intent.metadata, body.metadata)
        return intent

    @route("POST", "/v1/payment_intents/{intent:pi}/cancel", scope="payments:write", answer=PaymentIntent)
    async def cancel_payment_intent(call: Call) -> Answer:
        """Cancel a PaymentIntent. The answer is stored under its key and replayed."""
        key, body = call.idempotency_key, encode(found(call))
        if key is None:
            return Answer(200, body)
        if key in shelf.answers:
            return Answer(200, shelf.answers[key], {"Idempotent-Replayed": "true"})
        shelf.answers[key] = body

        async def keep(expanded: bytes) -> None:
            shelf.answers[key] = expanded

        call.on_expanded = keep
        return Answer(200, body)

    def loader(prefix: str, things: Mapping[str, msgspec.Struct]) -> Resource:
        async def load_many(call: Call, ids: Sequence[str]) -> dict[str, msgspec.Struct]:
            shelf.loads.append((prefix, sorted(ids)))
            return {id: things[id] for id in ids if id in things}

        shapes: dict[str, type[msgspec.Struct]] = {"pi": PaymentIntent, "ch": Charge, "cus": Customer}
        return Resource(prefix, shapes[prefix], load_many)

    return build(
        [
            create_payment_intent,
            list_payment_intents,
            retrieve_payment_intent,
            update_payment_intent,
            cancel_payment_intent,
        ],
        authenticate=authenticate,
        resources=[loader("pi", shelf.intents), loader("ch", shelf.charges), loader("cus", shelf.customers)],
        title="Shop",
    )
