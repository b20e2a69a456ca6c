"""The API of webhook endpoints, their deliveries, and events."""

import base64
import re
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from guilder.core import clock, ids
from guilder.core.check import never
from guilder.core.errors import ApprovalRequired, Invalid, NotFound
from guilder.core.page import PageQuery, turn
from guilder.notify import revealing, sign
from guilder.notify.endpoints import Change, Remove, Roll, Update, change_many, create_many, no_such_endpoint
from guilder.notify.model import Endpoint, about, endpoint
from guilder.notify.present import (
    DeletedWebhookEndpoint,
    Event,
    Redelivery,
    WebhookDelivery,
    WebhookEndpoint,
    event_json,
    webhook_delivery,
    webhook_endpoint,
)
from guilder.notify.redeliver import MOST, Ask, redeliver_many
from guilder.platform import approval, guard, persons
from guilder.platform.db import Tx
from guilder.platform.once import answer_once, once, one_phase
from guilder.platform.sql import load, walked
from guilder.platform.web import (
    VERSION,
    Answer,
    Call,
    CreatedRange,
    Listing,
    ListParams,
    Metadata,
    Params,
    Refusals,
    Route,
    Text,
    Url,
    id_of,
    listing,
    merge_metadata,
    route,
)

Q = load(__package__)
EventName = Annotated[
    str,
    Meta(max_length=100, pattern=r"^(\*|[a-z_]+(\.[a-z_]+)+)$", extra={"says": "An event type, or * for all."}),
]
EventNames = Annotated[list[EventName], Meta(min_length=1, max_length=100)]
EventPattern = Annotated[
    str,
    Meta(
        max_length=100, pattern=r"^[a-z_]+(\.[a-z_]+)*(\.\*)?$", extra={"says": "An event type, or a group: charge.*"}
    ),
]
_SEALED = "sealed:"


# ------------------------------------------------------------------------------------------------ endpoints


class CreateEndpoint(Params):
    url: Annotated[
        Url, Meta(description="Where events go. In the test environment it may be an address of this machine.")
    ]
    enabled_events: Annotated[EventNames, Meta(description="Event types, or `*` for all.")]
    api_version: Annotated[Literal["2026-10-28.endive"] | UnsetType, Meta(description="The one version there is.")] = (
        UNSET
    )
    description: Text | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    REFUSED: ClassVar[Refusals] = {"connect": "connected accounts are not supported."}


class UpdateEndpoint(Params):
    url: Url | UnsetType = UNSET
    enabled_events: EventNames | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    disabled: Annotated[bool | UnsetType, Meta(description="true stops deliveries; what waits is given up.")] = UNSET


class RollSecret(Params):
    expires_in: Annotated[
        int, Meta(ge=0, le=7 * 86_400, description="For so many seconds the old secret signs as well.")
    ] = 86_400


class RevealSecret(Params):
    approval: Annotated[
        Annotated[str, id_of("apr")] | UnsetType,
        Meta(description="What all have agreed to: without it, it is asked for."),
    ] = UNSET


class Redeliver(Params):
    event: Annotated[str, id_of("evt")] | UnsetType = UNSET
    created: Annotated[
        CreatedRange | UnsetType, Meta(description="Everything of this time that was not delivered.")
    ] = UNSET


def _created(livemode: bool, _: Endpoint, e: Endpoint) -> WebhookEndpoint:
    return webhook_endpoint(e, livemode=livemode, secret=_sealed(e))


def _changed(livemode: bool, change: Change, e: Endpoint) -> WebhookEndpoint | DeletedWebhookEndpoint:
    match change.what:
        case Remove():
            return DeletedWebhookEndpoint(ids.show("we", e.id))
        case Roll():
            return webhook_endpoint(e, livemode=livemode, secret=_sealed(e))
        case Update():
            return webhook_endpoint(e, livemode=livemode)


def _queued(ask: Ask, n: int) -> Redelivery:
    return Redelivery(endpoint=ids.show("we", ask.endpoint_id), queued=n, has_more=n == MOST)


CREATE = {live: one_phase("create_endpoint", create_many, partial(_created, live)) for live in (False, True)}
CHANGE = {live: one_phase("change_endpoint", change_many, partial(_changed, live)) for live in (False, True)}
REDELIVER = one_phase("redeliver", redeliver_many, _queued)


@route("POST", "/v1/webhook_endpoints", scope="webhooks:write", body=CreateEndpoint, answer=WebhookEndpoint)
async def create_webhook_endpoint(call: Call, body: CreateEndpoint) -> Answer:
    """Create a webhook endpoint. The answer is the only place where its `secret` is shown."""
    who = call.principal
    await _check_url(call, body.url)
    id = ids.new_id()
    new = Endpoint(
        book_id=who.book_id,
        id=id,
        url=body.url,
        enabled_events=_unique(body.enabled_events),
        api_version=VERSION,
        description=body.description or None,
        metadata=msgspec.json.encode(merge_metadata({}, body.metadata)).decode(),
        secret=_new_secret(call, id),
        created_at=clock.now(),
    )
    return _reveal(call, await answer_once(call, CREATE[who.env.livemode], new))


@route("GET", "/v1/webhook_endpoints/{endpoint:we}", scope="webhooks:read", answer=WebhookEndpoint)
async def retrieve_webhook_endpoint(call: Call) -> WebhookEndpoint:
    """Retrieve a webhook endpoint."""
    row = await call.principal.env.db.row(Q.find_endpoint, call.principal.book_id, _endpoint_id(call))
    if row is None:
        raise no_such_endpoint(call.path["endpoint"])
    return webhook_endpoint(endpoint(row), livemode=call.principal.env.livemode)


@route("GET", "/v1/webhook_endpoints", scope="webhooks:read", query=ListParams, answer=Listing[WebhookEndpoint])
async def list_webhook_endpoints(call: Call, query: ListParams) -> Listing[WebhookEndpoint]:
    """List webhook endpoints, newest first."""
    page = query.page
    rows = await call.principal.env.db.rows(
        walked(Q.list_endpoints, page.ascending),
        call.principal.book_id,
        *_cursors("we", page),
        *_bounds(page),
        page.limit + 1,
    )
    live = call.principal.env.livemode
    return listing(call, turn(page, rows), lambda row: webhook_endpoint(endpoint(row), livemode=live))


@route(
    "POST", "/v1/webhook_endpoints/{endpoint:we}", scope="webhooks:write", body=UpdateEndpoint, answer=WebhookEndpoint
)
async def update_webhook_endpoint(call: Call, body: UpdateEndpoint) -> Answer:
    """Update a webhook endpoint. Enabling it again forgets that it was failing; what it missed can be redelivered."""
    if body.url is not UNSET:
        await _check_url(call, body.url)
    events = UNSET if body.enabled_events is UNSET else _unique(body.enabled_events)
    return await _change(call, Update(body.url, events, body.description, body.metadata, body.disabled))


@route("DELETE", "/v1/webhook_endpoints/{endpoint:we}", scope="webhooks:write", answer=DeletedWebhookEndpoint)
async def delete_webhook_endpoint(call: Call) -> Answer:
    """Delete a webhook endpoint. What waits for it is given up."""
    return await _change(call, Remove())


@route(
    "POST",
    "/v1/webhook_endpoints/{endpoint:we}/roll_secret",
    scope="webhooks:write",
    body=RollSecret,
    answer=WebhookEndpoint,
)
async def roll_webhook_secret(call: Call, body: RollSecret) -> Answer:
    """Roll the secret. The answer shows the new one; for `expires_in` seconds every webhook is signed with both."""
    return _reveal(call, await _change(call, Roll(_new_secret(call, _endpoint_id(call)), body.expires_in)))


@route(
    "POST",
    "/v1/webhook_endpoints/{endpoint:we}/reveal",
    scope="keys:reveal",
    body=RevealSecret,
    answer=WebhookEndpoint,
)
async def reveal_webhook_secret(call: Call, body: RevealSecret) -> Answer:
    """Show the secret again, once others have agreed. Without `approval` it is asked for (`approval_required`); with it, it is shown once."""
    who = call.principal
    id = _endpoint_id(call)
    approved = None if body.approval is UNSET else ids.read("apr", body.approval)
    call.given((body, who.actor))  # under one key, nobody else is shown it in a replay

    async def work(tx: Tx) -> WebhookEndpoint | ApprovalRequired:
        if approved is None:
            return approval.required(await revealing.ask(tx, who.book_id, id), livemode=who.livemode)
        e = await revealing.claim(tx, who.book_id, id, approved, who.actor)
        return webhook_endpoint(e, livemode=who.livemode, secret=_sealed(e))

    return _reveal(call, await once(call, work))


@route(
    "POST", "/v1/webhook_endpoints/{endpoint:we}/redeliver", scope="webhooks:write", body=Redeliver, answer=Redelivery
)
async def redeliver_webhooks(call: Call, body: Redeliver) -> Answer:
    """Send again: one `event`, whatever became of it, or everything `created` in a time that was not delivered (at most 1,000)."""
    if (body.event is UNSET) == (body.created is UNSET):
        raise Invalid("Pass in either event or created.", code="parameters_exclusive", param="event")
    event_id = None if body.event is UNSET else ids.read("evt", body.event)
    page = ListParams(created=body.created).page
    ask = Ask(call.principal.book_id, _endpoint_id(call), clock.now(), event_id, *_bounds(page))
    return await answer_once(call, REDELIVER, ask)


async def _change(call: Call, what: Update | Roll | Remove) -> Answer:
    change = Change(call.principal.book_id, _endpoint_id(call), what, clock.now())
    return await answer_once(call, CHANGE[call.principal.env.livemode], change)


def _new_secret(call: Call, endpoint_id: UUID) -> bytes:
    return call.principal.env.keyring.seal(sign.mint().encode(), about(endpoint_id))


def _sealed(e: Endpoint) -> str:
    """N9: how a secret lies in the stored answer; `_reveal` opens it on the way out."""
    return _SEALED + base64.b64encode(e.secret).decode()


def _reveal(call: Call, answer: Answer) -> Answer:
    """The stored answer with its secret opened, the same at each replay."""
    if answer.status != 200:
        return answer
    shown: dict[str, Any] = msgspec.json.decode(answer.body)
    endpoint_id = ids.read("we", shown["id"])
    if endpoint_id is None:
        never("an answer names its endpoint")
    sealed = base64.b64decode(shown["secret"].removeprefix(_SEALED))
    shown["secret"] = call.principal.env.keyring.open(sealed, about(endpoint_id)).decode()
    return Answer(200, msgspec.json.encode(shown), answer.headers)


async def _check_url(call: Call, url: str) -> None:
    """N4, when it is saved."""
    try:
        target = guard.check_url(url, loopback=call.principal.env.name == "test")
    except guard.Refused as error:
        raise Invalid(str(error), code="url_invalid", param="url") from None
    await guard.check_host(target)


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _endpoint_id(call: Call) -> UUID:
    id = ids.read("we", call.path["endpoint"])
    if id is None:
        raise no_such_endpoint(call.path["endpoint"])
    return id


# ------------------------------------------------------------------------------------------------ deliveries


class ListDeliveries(ListParams):
    event: Annotated[str, id_of("evt")] | UnsetType = UNSET
    status: Literal["pending", "delivered", "dead"] | UnsetType = UNSET


@route(
    "GET",
    "/v1/webhook_endpoints/{endpoint:we}/deliveries",
    scope="webhooks:read",
    query=ListDeliveries,
    answer=Listing[WebhookDelivery],
)
async def list_webhook_deliveries(call: Call, query: ListDeliveries) -> Listing[WebhookDelivery]:
    """List what was sent to an endpoint, or is to be, with its latest tries."""
    db, book, id, page = call.principal.env.db, call.principal.book_id, _endpoint_id(call), query.page
    if await db.row(Q.find_endpoint, book, id) is None:
        raise no_such_endpoint(call.path["endpoint"])
    event_id = None if query.event is UNSET else ids.read("evt", query.event)
    rows = await db.rows(
        walked(Q.list_deliveries, page.ascending),
        book,
        id,
        *_cursors("whd", page),
        *_bounds(page),
        query.status or None,
        event_id,
        page.limit + 1,
    )
    tries: dict[UUID, list[Any]] = {}
    for t in await db.rows(Q.list_tries, book, id, [r["event_id"] for r in rows]):
        tries.setdefault(t["event_id"], []).append(t)
    live = call.principal.env.livemode
    return listing(
        call, turn(page, rows), lambda row: webhook_delivery(row, tries.get(row["event_id"], []), livemode=live)
    )


# ------------------------------------------------------------------------------------------------ events


class ListEvents(ListParams):
    type: Annotated[EventPattern, Meta(description="An event type, or a group of them: `charge.*`.")] | UnsetType = (
        UNSET
    )
    types: Annotated[list[EventPattern], Meta(min_length=1, max_length=20)] | UnsetType = UNSET
    delivery_success: Annotated[bool | UnsetType, Meta(description="Whether all its webhooks have been delivered.")] = (
        UNSET
    )


@route("GET", "/v1/events", scope="events:read", query=ListEvents, answer=Listing[Event])
async def list_events(call: Call, query: ListEvents) -> Answer:
    """List events, newest first: the way to catch up with what a server missed."""
    if query.type and query.types:
        raise Invalid("You may pass in either type or types, but not both.", code="parameters_exclusive", param="types")
    page = query.page
    types = [query.type] if query.type else query.types or None
    success = None if query.delivery_success is UNSET else query.delivery_success
    who = call.principal
    rows = await who.env.db.rows(
        walked(Q.list_events, page.ascending), who.book_id, *_cursors("evt", page), [_like(t) for t in types] if types else None, *_bounds(page),
        page.limit + 1, success, None,
    )  # fmt: skip
    found = turn(page, rows)
    recalled = await persons.recall(who.env.db, found.items)
    data = ",".join(event_json(r, recalled, livemode=who.env.livemode, pending=r["pending"]) for r in found.items)
    more = "true" if found.has_more else "false"
    return Answer(200, f'{{"object":"list","data":[{data}],"has_more":{more},"url":"/v1/events"}}'.encode())


@route("GET", "/v1/events/{event:evt}", scope="events:read", answer=Event)
async def retrieve_event(call: Call) -> Answer:
    """Retrieve an event, as it is told to webhook endpoints."""
    who = call.principal
    id = ids.read("evt", call.path["event"])
    row = await who.env.db.row(Q.list_events, who.book_id, None, None, None, None, None, 1, None, id) if id else None
    if row is None:
        raise NotFound(f"No such event: '{call.path['event']}'", param="id")
    recalled = await persons.recall(who.env.db, [row])
    return Answer(200, event_json(row, recalled, livemode=who.env.livemode, pending=row["pending"]).encode())


def _like(pattern: str) -> str:
    return re.sub(r"\*$", "%", pattern.replace("_", r"\_"))


def _cursors(prefix: str, page: PageQuery) -> tuple[UUID | None, UUID | None]:
    """The ids of (after, before)."""
    found: list[UUID | None] = []
    for name, given in (("starting_after", page.after), ("ending_before", page.before)):
        id = ids.read(prefix, given) if given else None
        if given and id is None:
            raise Invalid(f"No such object: '{given}'", code="resource_missing", param=name)
        found.append(id)
    return found[0], found[1]


def _bounds(page: PageQuery) -> tuple[Any, Any]:
    """`created` as [since, until)."""
    since, until = page.created.since, page.created.until
    return (
        None if since is None else clock.from_unix(min(since, 253_402_300_799)),
        None if until is None else clock.from_unix(min(until, 253_402_300_799)),
    )


ROUTES: list[Route] = [
    create_webhook_endpoint,
    retrieve_webhook_endpoint,
    list_webhook_endpoints,
    update_webhook_endpoint,
    delete_webhook_endpoint,
    roll_webhook_secret,
    reveal_webhook_secret,
    redeliver_webhooks,
    list_webhook_deliveries,
    list_events,
    retrieve_event,
]
