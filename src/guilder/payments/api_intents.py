"""The calls of PaymentIntents."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from guilder.core import clock, ids
from guilder.core.errors import Forbidden, Invalid, NotFound, WrongState
from guilder.core.page import turn
from guilder.merchants import channel_accounts, stores
from guilder.merchants.channel_accounts import ChannelAccount
from guilder.merchants.principal import Principal
from guilder.payments import cancel as cancelling
from guilder.payments import capture as capturing
from guilder.payments import confirm as confirming
from guilder.payments import life, methods, pledges, present, routes, store, ways
from guilder.payments.create import CREATE, NewIntent
from guilder.payments.model import Changes, Intent
from guilder.payments.params import Options
from guilder.payments.params_intents import (
    CancelIntent,
    CaptureIntent,
    ConfirmIntent,
    CreateIntent,
    ListIntents,
    RetrieveIntent,
    UpdateIntent,
)
from guilder.payments.present import Face, PaymentIntent
from guilder.payments.states import OPEN_ATTEMPT, IntentStatus
from guilder.platform import context
from guilder.platform.db import Tx
from guilder.platform.idempotency import Asked
from guilder.platform.once import answer, key_of, once
from guilder.platform.sql import load, walked
from guilder.platform.web import (
    Answer,
    Call,
    Listing,
    listing,
    merge_metadata,
    route,
)
from guilder.platform.web.cursor import cursor

Q = load(__package__)


@route("POST", "/v1/payment_intents", scope="payments:write", body=CreateIntent, answer=PaymentIntent, tag="Payments")
async def create_payment_intent(call: Call, body: CreateIntent) -> Answer:
    """Create a PaymentIntent.  With `confirm`, ask the channel at once."""
    by, key = context.current(), key_of(call)
    who: Principal = call.principal
    confirm = body.confirm is True
    if not confirm and (body.return_url is not UNSET):
        raise Invalid("return_url is for a confirmation: give it together with confirm=true.", param="return_url")
    intent = await _new_intent(who, body, by.root_id)
    chosen = await methods.chosen(who, body.payment_method, body.payment_method_data)
    if chosen is not None:
        intent.method_id, intent.method_type = chosen.id, chosen.type
        if chosen.type not in intent.types:
            raise Invalid(
                f"The PaymentMethod type {chosen.type} is not among payment_method_types.", param="payment_method"
            )
        intent.status = IntentStatus.REQUIRES_CONFIRMATION
    if not confirm:
        made = await who.env.lane(CREATE).submit(
            Asked(key, NewIntent(intent, by, Face(who.env), chosen.new if chosen else None)), who.book_id
        )
        return answer(made)
    if chosen is None:
        raise Invalid(
            "You cannot confirm this PaymentIntent because it's missing a payment method.",
            code="parameter_missing",
            param="payment_method",
        )
    wish = await _wish(who, intent.id, chosen, body.return_url, by, new=intent)
    return answer(await confirming.confirm(who.env, key, wish))


async def _new_intent(who: Principal, body: CreateIntent, root_id: UUID) -> Intent:
    accounts = await channel_accounts.of_merchant(who.env, who.book_id)
    currency = body.currency.upper()
    types = _types(body) or ways.offered(accounts)
    for type in types:
        _must_be_offered(type, accounts, currency)
    if not types:
        raise Invalid(
            "This merchant has no channel account yet: no way to pay can be offered.", code="payment_method_unactivated"
        )
    if body.capture_method == "manual":
        ways.must_hold(types, accounts)
    if body.customer is not UNSET:
        await methods.must_have_customer(who, body.customer)
    extra: dict[str, Any] = {}
    for name in ("receipt_email", "shipping", "statement_descriptor", "statement_descriptor_suffix",
                 "automatic_payment_methods", "allowed_payment_method_types", "capture_method"):  # fmt: skip
        if (value := getattr(body, name)) not in (UNSET, None):
            extra[name] = msgspec.to_builtins(value)
    _take_options(extra, body.payment_method_options)
    place = await stores.place(
        who.env.db, who.book_id, body.store or None, body.terminal or None, body.operator or None
    )
    return Intent(
        who.book_id, ids.new_id(), 0, IntentStatus.REQUIRES_PAYMENT_METHOD, body.amount, currency,
        ids.read("cus", body.customer) if body.customer is not UNSET else None, None, None, types, None, None,
        body.description or None, merge_metadata({}, body.metadata), extra, None, None, None, None, None, None,
        who.late_success, root_id, who.business_line, clock.now(), "api", None, *(place.ids if place else ()),
    )  # fmt: skip


def _must_be_offered(type: str, accounts: Sequence[ChannelAccount], currency: str) -> None:
    """Raises Invalid unless this merchant has a channel account that collects by this type in this currency."""
    ways.fitting(type, accounts, currency, {}, asked=False)


def _take_options(extra: dict[str, Any], said: Options | UnsetType) -> None:
    """Keep what was said of ways to pay; what of it is the payer's stays apart, and is never shown."""
    if said is UNSET:
        return
    shown, private = ways.apart(msgspec.to_builtins(said))
    extra["payment_method_options"] = shown
    extra.pop("given", None)
    if private:
        extra["given"] = private


def _types(body: CreateIntent | UpdateIntent) -> list[str] | None:
    """The ways that a request offers; None if it names none.  The pinned SDKs say `allowed_payment_method_types`, older ones
    `payment_method_types`."""
    if body.allowed_payment_method_types is not UNSET and body.payment_method_types is not UNSET:
        raise Invalid(
            "You may give one of allowed_payment_method_types and payment_method_types.",
            code="parameters_exclusive",
            param="payment_method_types",
        )
    named = body.allowed_payment_method_types or body.payment_method_types
    return None if named is UNSET else list(dict.fromkeys(named))


async def _wish(
    who: Principal, intent_id: UUID, chosen: "methods.Chosen", return_url: str | UnsetType, by: Any, *, new: Intent | None = None,
    changed: dict[str, Any] | None = None,
) -> confirming.Begin:  # fmt: skip
    router = await routes.router(who.env, who.book_id)
    now_said = {} if changed is None else changed
    billing = chosen.new.billing if chosen.new is not None else {}
    payer = routes.Payer(country=(billing.get("address") or {}).get("country") or "")

    def choose(intent: Intent, tried: routes.Tried) -> routes.Choice:
        seen = intent
        if now_said:
            seen = intent.copy()
            seen.extra.update(now_said)
        options = ways.together(seen.extra.get("payment_method_options", {}), seen.extra.get("given", {}))
        return router.choose(seen, chosen.type, options, payer=payer, tried=tried)

    expiry = clock.now() + timedelta(seconds=who.env.settings.payment_expiry_s)
    return confirming.Begin(
        who.book_id, intent_id, choose, chosen.type, chosen.id, by, Face(who.env), expiry,
        None if return_url is UNSET else return_url, chosen.dial, new, chosen.new, changed or {},
    )  # fmt: skip


@route(
    "POST",
    "/v1/payment_intents/{intent:pi}/confirm",
    scope="payments:write",
    body=ConfirmIntent,
    answer=PaymentIntent,
    tag="Payments",
)
async def confirm_payment_intent(call: Call, body: ConfirmIntent) -> Answer:
    """Ask the channel to collect.  The answer says what the payer is to do."""
    by, key = context.current(), key_of(call)
    who: Principal = call.principal
    chosen = await methods.chosen(who, body.payment_method, body.payment_method_data)
    if chosen is None:
        intent = await _find(who, call.path["intent"])
        if intent.method_id is None:
            raise Invalid(
                "You cannot confirm this PaymentIntent because it's missing a payment method. Give payment_method or "
                "payment_method_data, or update the PaymentIntent first.",
                code="payment_intent_unexpected_state", param="payment_method",
            )  # fmt: skip
        chosen = await methods.stored(who, intent.method_id)
    changed = {
        name: msgspec.to_builtins(value)
        for name in ("receipt_email", "shipping", "capture_method")
        if (value := getattr(body, name)) is not UNSET
    }
    _take_options(changed, body.payment_method_options)
    wish = await _wish(who, _id(call.path["intent"]), chosen, body.return_url, by, changed=changed)
    return answer(await confirming.confirm(who.env, key, wish))


@route(
    "POST",
    "/v1/payment_intents/{intent:pi}/cancel",
    scope="payments:write",
    body=CancelIntent,
    answer=PaymentIntent,
    tag="Payments",
)
async def cancel_payment_intent(call: Call, body: CancelIntent) -> Answer:
    """End a payment that is not paid.  What is open at a channel is closed there first; while the channel has not answered, the
    status stays `processing` and Guilder keeps at it."""
    by, key = context.current(), key_of(call)
    who: Principal = call.principal
    id = _id(call.path["intent"])
    reason = "requested_by_customer" if body.cancellation_reason is UNSET else body.cancellation_reason
    wish = cancelling.Cancel(who.book_id, id, reason, by, Face(who.env))
    return answer(await cancelling.cancel(who.env, key, wish))


@route(
    "POST",
    "/v1/payment_intents/{intent:pi}/capture",
    scope="payments:write",
    body=CaptureIntent,
    answer=PaymentIntent,
    tag="Payments",
)
async def capture_payment_intent(call: Call, body: CaptureIntent) -> Answer:
    """Collect what is held, once: all of it, or less, and then the rest is let go."""
    by, key = context.current(), key_of(call)
    who: Principal = call.principal
    units = None if body.amount_to_capture is UNSET else body.amount_to_capture
    wish = capturing.Capture(who.book_id, _id(call.path["intent"]), units, body.metadata or {}, by, Face(who.env))
    return answer(await capturing.capture(who.env, key, wish))


@route(
    "POST",
    "/v1/payment_intents/{intent:pi}",
    scope="payments:write",
    body=UpdateIntent,
    answer=PaymentIntent,
    tag="Payments",
)
async def update_payment_intent(call: Call, body: UpdateIntent) -> Answer:
    """Change a payment that is not confirmed; metadata and description at any time."""
    who: Principal = call.principal
    id = _id(call.path["intent"])
    accounts = await channel_accounts.of_merchant(who.env, who.book_id)
    if body.customer is not UNSET:
        await methods.must_have_customer(who, body.customer)
    chosen = await methods.chosen(who, body.payment_method, body.payment_method_data)

    async def work(tx: Tx) -> PaymentIntent:
        locked = await store.lock(tx, [(who.book_id, id)])
        intent = locked.get((who.book_id, id))
        if intent is None:
            raise _no_such(call.path["intent"])
        await _must_be_free(tx, intent, body)
        changes = Changes()
        if chosen is not None and chosen.new is not None:
            changes.new_methods[chosen.new.key] = chosen.new
        life.move_intent(life.Scene(changes, Face(who.env), clock.now(), "api"), intent, _apply(intent, body, chosen))
        for type in intent.types:
            _must_be_offered(type, accounts, intent.currency)
        if intent.extra.get("capture_method") == "manual":
            ways.must_hold(intent.types, accounts)
        await store.save(tx, changes)
        return present.intent(Face(who.env), intent)

    return await once(call, work)


async def _must_be_free(tx: Tx, intent: Intent, body: UpdateIntent) -> None:
    """What is to be paid is fixed while a channel may still collect it.  Raises WrongState."""
    touched = [name for name in ("amount", "currency") if getattr(body, name) is not UNSET]
    if touched and any(a.state in OPEN_ATTEMPT for a in (await store.attempts(tx, [intent.key])).values()):
        raise WrongState(
            f"This PaymentIntent's {touched[0]} could not be updated: an earlier try is still open at its channel and may yet be paid. Wait "
            "until it is closed, or make a new PaymentIntent.",
            param=touched[0],
        )


def _apply(intent: Intent, body: UpdateIntent, chosen: "methods.Chosen | None") -> IntentStatus:
    """The changes of an update, and the status that follows; WrongState for what is fixed once a channel was asked."""
    fixed = (
        "amount",
        "currency",
        "customer",
        "payment_method",
        "payment_method_data",
        "payment_method_options",
        "payment_method_types",
        "allowed_payment_method_types",
    )
    touched = [name for name in fixed if getattr(body, name) is not UNSET]
    of_trade = [name for name in ("amount", "currency", "customer") if getattr(body, name) is not UNSET]
    if of_trade and intent.origin == pledges.ORIGIN:
        raise WrongState(
            f"This PaymentIntent is a trade's, and its {of_trade[0]} with it: cancel it, and make another one of the trade.",
            param=of_trade[0],
        )
    if touched and intent.status not in (IntentStatus.REQUIRES_PAYMENT_METHOD, IntentStatus.REQUIRES_CONFIRMATION):
        raise WrongState(
            f"This PaymentIntent's {touched[0]} could not be updated because it has a status of {intent.status.value}.",
            param=touched[0],
        )
    if body.amount is not UNSET:
        intent.amount = body.amount
    if body.currency is not UNSET:
        intent.currency = body.currency.upper()
    if body.customer is not UNSET:
        intent.customer_id = ids.read("cus", body.customer)
    intent.types = _types(body) or intent.types
    if body.description is not UNSET:
        intent.description = body.description
    intent.metadata = merge_metadata(intent.metadata, body.metadata)
    for name in (
        "receipt_email",
        "shipping",
        "statement_descriptor",
        "statement_descriptor_suffix",
        "allowed_payment_method_types",
        "capture_method",
    ):
        value = getattr(body, name)
        if value is None:
            intent.extra.pop(name, None)
        elif value is not UNSET:
            intent.extra[name] = msgspec.to_builtins(value)
    _take_options(intent.extra, body.payment_method_options)
    if chosen is not None:
        if chosen.type not in intent.types:
            raise Invalid(
                f"The PaymentMethod type {chosen.type} is not among payment_method_types.", param="payment_method"
            )
        intent.method_id, intent.method_type = chosen.id, chosen.type
        return IntentStatus.REQUIRES_CONFIRMATION
    return intent.status


@route(
    "GET",
    "/v1/payment_intents/{intent:pi}",
    scope="payments:client",
    query=RetrieveIntent,
    answer=PaymentIntent,
    tag="Payments",
)
async def retrieve_payment_intent(call: Call, query: RetrieveIntent) -> PaymentIntent:
    """Retrieve a PaymentIntent.  A publishable key must show its client secret."""
    who: Principal = call.principal
    face = Face(who.env)
    intent = await _find(who, call.path["intent"])
    shown = call.path["intent"]
    given = query.client_secret
    if given is not UNSET:
        head, _, link = given.partition("_secret_")
        if head != shown or not who.env.keyring.is_link(shown, link):
            raise Invalid("The client_secret provided does not match this PaymentIntent.", param="client_secret")
    elif who.kind == "pk":
        raise Forbidden(
            "A publishable key retrieves a PaymentIntent with its client_secret only.", param="client_secret"
        )
    return present.intent(face, intent)


@route(
    "GET",
    "/v1/payment_intents",
    scope="payments:read",
    query=ListIntents,
    answer=Listing[PaymentIntent],
    tag="Payments",
)
async def list_payment_intents(call: Call, query: ListIntents) -> Listing[PaymentIntent]:
    """List PaymentIntents, newest first."""
    who: Principal = call.principal
    page = query.page
    rows = await who.env.db.rows(
        walked(Q.list_intents, page.ascending), who.book_id, *cursor(page, "pi"), page.limit + 1,
        ids.read("cus", query.customer) if query.customer is not UNSET else None,
        ids.read("sto", query.store) if query.store is not UNSET else None,
        ids.read("ter", query.terminal) if query.terminal is not UNSET else None,
    )  # fmt: skip
    face = Face(who.env)
    return listing(call, turn(page, [store.intent_of(r) for r in rows]), lambda i: present.intent(face, i))


def _id(shown: str) -> UUID:
    id = ids.read("pi", shown)
    if id is None:
        raise _no_such(shown)
    return id


def _no_such(shown: str) -> NotFound:
    return NotFound(f"No such payment_intent: '{shown}'", param="intent")


async def _find(who: Principal, shown: str) -> Intent:
    row = await who.env.db.row(Q.find_intent, who.book_id, _id(shown))
    if row is None:
        raise _no_such(shown)
    return store.intent_of(row)


ROUTES = (
    create_payment_intent, list_payment_intents, retrieve_payment_intent, update_payment_intent, confirm_payment_intent,
    capture_payment_intent, cancel_payment_intent,
)  # fmt: skip
