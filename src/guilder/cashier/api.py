"""The calls of checkout sessions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET

from guilder.cashier import expire, links, present, store
from guilder.cashier.create import CREATE, NewSession
from guilder.cashier.model import Line, Session, Status
from guilder.cashier.params import CreateSession, ExpireSession, LineItemData, ListSessions
from guilder.cashier.present import CheckoutSession, LineItem, LineItems
from guilder.core import clock, ids
from guilder.core.amount import MAX
from guilder.core.errors import Invalid, NotFound
from guilder.core.page import turn
from guilder.merchants import channel_accounts
from guilder.merchants.principal import Principal
from guilder.payments import methods, ways
from guilder.payments.model import Intent
from guilder.payments.present import Face
from guilder.payments.states import IntentStatus
from guilder.platform.idempotency import Asked
from guilder.platform.once import answer, context_of, key_of
from guilder.platform.sql import load, walked
from guilder.platform.web import Answer, Call, Listing, ListParams, Resource, listing, merge_metadata, route

Q = load(__package__)
SHORTEST, USUAL, LONGEST = timedelta(minutes=30), timedelta(hours=2), timedelta(hours=24)
_SLACK = timedelta(minutes=2)  # for the time that a request and two clocks take


@route(
    "POST", "/v1/checkout/sessions", scope="checkout:write", body=CreateSession, answer=CheckoutSession, tag="Checkout"
)
async def create_checkout_session(call: Call, body: CreateSession) -> Answer:
    """Create a session and its PaymentIntent.  Send the payer to its `url`."""
    by, key = context_of(call), key_of(call)
    who: Principal = call.principal
    session = await _new_session(who, body, by.root_id)
    new = NewSession(session, _payment_of(who, session, body), by, Face(who.env), _wants_lines(call))
    return answer(await who.env.lane(CREATE).submit(Asked(key, new), who.book_id))


async def _new_session(who: Principal, body: CreateSession, root_id: UUID) -> Session:
    now = clock.now()
    currency, amount = _total(body)
    customer = None
    if body.customer is not UNSET:
        if body.customer_email is not UNSET:
            raise Invalid("You may give one of customer and customer_email.", param="customer_email")
        await methods.must_have_customer(who, body.customer)
        customer = ids.read("cus", body.customer)
    id = ids.new_id()
    extra = {
        name: msgspec.to_builtins(value)
        for name in (
            "billing_address_collection",
            "custom_text",
            "integration_identifier",
            "origin_context",
            "payment_method_options",
        )
        if (value := getattr(body, name)) is not UNSET
    }
    return Session(
        who.book_id, id, 0, Status.OPEN, ids.new_id(), amount, currency, customer, body.customer_email or None,
        body.client_reference_id or None, merge_metadata({}, body.metadata),
        body.success_url.replace("{CHECKOUT_SESSION_ID}", links.show_id(who.livemode, id)), body.cancel_url or None, body.locale,
        body.submit_type, await _types(who, body, currency), [_line(item) for item in body.line_items], extra, _expiry(body, now),
        root_id, who.business_line, now,
    )  # fmt: skip


def _total(body: CreateSession) -> tuple[str, int]:
    """The one currency of all lines, and what they come to.  Raises Invalid."""
    currency = body.currency if body.currency is not UNSET else body.line_items[0].price_data.currency
    for i, item in enumerate(body.line_items):
        if item.price_data.currency != currency:
            raise Invalid(
                f"All line items of a session have one currency: this one is {item.price_data.currency}, not {currency}.",
                param=f"line_items[{i}][price_data][currency]",
            )
    amount = sum(item.price_data.unit_amount * item.quantity for item in body.line_items)
    if not 0 < amount <= MAX:
        code = "amount_too_large" if amount else "amount_too_small"
        raise Invalid(
            f"The line items come to {amount}; a payment has 1 to {MAX} minor units.", code=code, param="line_items"
        )
    return currency.upper(), amount


async def _types(who: Principal, body: CreateSession, currency: str) -> list[str]:
    """The ways that the page offers.  Raises Invalid for one that this merchant does not have."""
    accounts = await channel_accounts.of_merchant(who.env, who.book_id)
    if body.payment_method_types is not UNSET:
        types: list[str] = list(dict.fromkeys(body.payment_method_types))
    else:
        types = ways.offered(accounts, currency)
    for type in types:
        ways.fitting(type, accounts, currency, {}, asked=False)
    if not types:
        raise Invalid(
            f"This merchant has no channel account that takes {currency.lower()}: no way to pay can be offered.",
            code="payment_method_unactivated",
        )
    return types


def _line(item: LineItemData) -> Line:
    price, product = item.price_data, item.price_data.product_data
    return Line(
        ids.text(ids.new_id()), product.name, price.unit_amount, item.quantity, product.description or None,
        product.images or [], merge_metadata({}, item.metadata), merge_metadata({}, product.metadata), product.unit_label or None,
    )  # fmt: skip


def _expiry(body: CreateSession, now: datetime) -> datetime:
    if body.expires_at is UNSET:
        return (now + USUAL).replace(microsecond=0)
    at = clock.from_unix(body.expires_at)
    if not SHORTEST - _SLACK <= at - now <= LONGEST + _SLACK:
        raise Invalid("The `expires_at` timestamp must be 30 minutes to 24 hours from now.", param="expires_at")
    return at


def _payment_of(who: Principal, s: Session, body: CreateSession) -> Intent:
    """The payment that a session is for.  What is bought is its description, unless another is given: channels show it."""
    extra: dict[str, Any] = {}
    data = body.payment_intent_data
    description, metadata = _described(s), {}
    if data is not UNSET:
        if data.capture_method == "manual":
            refusal = ways.manual_capture(s.types)
            refusal.param = "payment_intent_data[capture_method]"
            raise refusal
        description, metadata = data.description or description, merge_metadata({}, data.metadata)
        for name in ("receipt_email", "shipping", "statement_descriptor", "statement_descriptor_suffix"):
            if (value := getattr(data, name)) not in (UNSET, None):
                extra[name] = msgspec.to_builtins(value)
    if options := s.extra.get("payment_method_options"):
        extra["payment_method_options"] = options
    return Intent(
        s.book_id, s.intent_id, 0, IntentStatus.REQUIRES_PAYMENT_METHOD, s.amount, s.currency, s.customer_id, None, None, s.types,
        None, None, description, metadata, extra, None, None, None, None, None, s.expires_at, who.late_success, s.root_id,
        s.business_line, s.created_at, origin="checkout",
    )  # fmt: skip


def _described(s: Session) -> str:
    first, others = s.lines[0], len(s.lines) - 1
    return f"{first.name} +{others}" if others else first.name


@route(
    "GET",
    "/v1/checkout/sessions",
    scope="checkout:read",
    query=ListSessions,
    answer=Listing[CheckoutSession],
    tag="Checkout",
)
async def list_checkout_sessions(call: Call, query: ListSessions) -> Listing[CheckoutSession]:
    """List checkout sessions, newest first."""
    who: Principal = call.principal
    page = query.page
    since, until = page.created.since, page.created.until
    rows = await who.env.db.rows(
        walked(Q.list_sessions, page.ascending), who.book_id, _cursor(who, "starting_after", page.after), _cursor(who, "ending_before", page.before),
        clock.from_unix(since) if since is not None else None, clock.from_unix(until) if until is not None else None,
        page.limit + 1, ids.read("cus", query.customer) if query.customer is not UNSET else None,
        ids.read("pi", query.payment_intent) if query.payment_intent is not UNSET else None, query.status or None,
        query.customer_details.email if query.customer_details is not UNSET else None,
    )  # fmt: skip
    return listing(call, turn(page, [store.session_of(r) for r in rows]), lambda s: _shown(call, s))


def _cursor(who: Principal, name: str, value: str | None) -> UUID | None:
    id = links.read_id(who.livemode, value) if value is not None else None
    if value is not None and id is None:
        raise Invalid(f"No such object: '{value}'", code="resource_missing", param=name)
    return id


@route("GET", "/v1/checkout/sessions/{session}", scope="checkout:read", answer=CheckoutSession, tag="Checkout")
async def retrieve_checkout_session(call: Call) -> CheckoutSession:
    """Retrieve a checkout session."""
    return _shown(call, await _find(call))


@route(
    "GET", "/v1/checkout/sessions/{session}/line_items", scope="checkout:read", query=ListParams, answer=Listing[LineItem],
    tag="Checkout",
)  # fmt: skip
async def list_checkout_session_line_items(call: Call, query: ListParams) -> Listing[LineItem]:
    """List what a session is for, in the order in which it was given."""
    session = await _find(call)
    live = call.principal.livemode
    shown = [present.line_item(line, session, livemode=live) for line in session.lines]
    begin, end = _bounds([item.id for item in shown], query)
    page = shown[begin:end]
    if query.page.ascending:
        return Listing(data=page[-query.limit :], has_more=len(page) > query.limit, url=call.target)
    return Listing(data=page[: query.limit], has_more=len(page) > query.limit, url=call.target)


def _bounds(known: list[str], query: ListParams) -> tuple[int, int]:
    """The part of a list that its cursors leave.  Raises Invalid for a cursor that is not in it."""
    bounds = [0, len(known)]
    for i, (name, value, step) in enumerate(
        (("starting_after", query.starting_after, 1), ("ending_before", query.ending_before, 0))
    ):
        if value is not UNSET:
            if value not in known:
                raise Invalid(f"No such object: '{value}'", code="resource_missing", param=name)
            bounds[i] = known.index(value) + step
    return bounds[0], bounds[1]


@route(
    "POST", "/v1/checkout/sessions/{session}/expire", scope="checkout:write", body=ExpireSession, answer=CheckoutSession,
    tag="Checkout",
)  # fmt: skip
async def expire_checkout_session(call: Call, body: ExpireSession) -> Answer:
    """End an open session.  What is open at a channel is closed there first: while the channel has not answered, the session
    stays open, cannot be paid again, and Guilder keeps at it."""
    session = await _find(call)
    return await expire.expire(call, session, with_lines=_wants_lines(call))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Ids of one prefix, as `expand` names them, and their UUIDs."""

    shown: dict[UUID, str]

    @classmethod
    def of(cls, shown: Sequence[str], parsed: Sequence[UUID | None]) -> "_Wanted":
        return cls({id: s for s, id in zip(shown, parsed, strict=True) if id is not None})


async def _load_sessions(call: Call, shown: Sequence[str]) -> Mapping[str, CheckoutSession]:
    who: Principal = call.principal
    wanted = _Wanted.of(shown, [links.read_id(who.livemode, s) for s in shown])
    found = await store.find(who.env.db, who.book_id, list(wanted.shown))
    return {wanted.shown[s.id]: _shown(call, s) for s in found}


async def _load_lines(call: Call, shown: Sequence[str]) -> Mapping[str, LineItems]:
    who: Principal = call.principal
    wanted = _Wanted.of(shown, [ids.read("li", s) for s in shown])
    found = await store.find(who.env.db, who.book_id, list(wanted.shown))
    return {wanted.shown[s.id]: present.line_items(s, livemode=who.livemode) for s in found}


async def _find(call: Call) -> Session:
    who: Principal = call.principal
    shown = call.path["session"]
    id = links.read_id(who.livemode, shown)
    found = await store.find(who.env.db, who.book_id, [id]) if id else []
    if not found:
        raise NotFound(f"No such checkout session: '{shown}'", param="session")
    return found[0]


def _shown(call: Call, s: Session) -> CheckoutSession:
    env = call.principal.env
    url = links.session_url(env, s.book_id, s.id)
    return present.session(s, livemode=env.livemode, url=url, with_lines=_wants_lines(call))


def _wants_lines(call: Call) -> bool:
    return any(path.removeprefix("data.").partition(".")[0] == "line_items" for path in call.expand)


ROUTES = (
    create_checkout_session, list_checkout_sessions, retrieve_checkout_session, list_checkout_session_line_items,
    expire_checkout_session,
)  # fmt: skip
RESOURCES = (Resource("cs", CheckoutSession, _load_sessions), Resource("li", LineItems, _load_lines))
