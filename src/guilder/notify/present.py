"""Events and endpoints as merchants see them, in Stripe's shape."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from guilder.core import clock, ids
from guilder.notify.model import Endpoint
from guilder.platform.db import Row
from guilder.platform.persons import Said, put_back
from guilder.platform.web.call import VERSION

_quote = msgspec.json.encode


class EventData(msgspec.Struct):
    """The object as it was then, and on updates what changed."""

    object: dict[str, Any]
    previous_attributes: dict[str, Any] | UnsetType = UNSET


class EventRequest(msgspec.Struct):
    """The request that caused it; null where nobody asked."""

    id: str | None
    idempotency_key: str | None


class Event(msgspec.Struct):
    """Something that happened.  Sort events of one object by `object_version`: deliveries may overtake each other."""

    id: str
    object: Literal["event"]
    api_version: str
    created: int
    data: EventData
    livemode: bool
    pending_webhooks: int
    request: EventRequest
    type: str
    object_version: int


def event_json(row: Row, recalled: Mapping[UUID, Said], *, livemode: bool, pending: int) -> str:
    """An event row as JSON.  The stored object goes in as it is; nothing is decoded but what something was taken out of."""
    event_id = row["event_id"] if "event_id" in row else row["id"]
    data, before = row["data"], row["previous"]
    if (said := recalled.get(event_id)) is not None:
        data, before = put_back(data, before, said)
    previous = f',"previous_attributes":{before}' if before else ""
    return (
        f'{{"id":"{ids.show("evt", event_id)}","object":"event","api_version":"{VERSION}",'
        f'"created":{clock.unix(row["created_at"])},"data":{{"object":{data}{previous}}},'
        f'"livemode":{"true" if livemode else "false"},"pending_webhooks":{pending},'
        f'"request":{{"id":{_text(row["request_id"])},"idempotency_key":{_text(row["idempotency_key"])}}},'
        f'"type":"{row["type"]}","object_version":{row["object_version"]}}}'
    )


def _text(value: str | None) -> str:
    return _quote(value).decode() if value else "null"


class WebhookEndpoint(msgspec.Struct, kw_only=True):
    """An endpoint.  `secret` is told once: when it is made and when it is rolled."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    api_version: str
    application: None = None
    created: int
    description: str | None
    disabled_reason: Annotated[
        Literal["merchant", "failing", "gone"] | None,
        Meta(description="failing: days of nothing but failures; gone: it answered 410."),
    ]
    enabled_events: list[str]
    failing_since: Annotated[int | None, Meta(description="Since then no delivery has succeeded.")]
    livemode: bool
    metadata: dict[str, str]
    secret: str | UnsetType = UNSET
    status: Literal["enabled", "disabled"]
    url: str


class DeletedWebhookEndpoint(msgspec.Struct):
    """What is left of an endpoint."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    deleted: Literal[True] = True


class Redelivery(msgspec.Struct, kw_only=True):
    """What a redelivery set going."""

    object: Literal["webhook_redelivery"] = "webhook_redelivery"
    endpoint: str
    queued: Annotated[int, Meta(description="Deliveries that were started again.")]
    has_more: Annotated[bool, Meta(description="There may be more: ask again.")]


class WebhookTry(msgspec.Struct):
    """One try of a delivery."""

    at: int
    status: Annotated[int | None, Meta(description="The endpoint's HTTP status; null: it gave no answer.")]
    took_ms: int
    error: str | None
    response: Annotated[str, Meta(description="The first 500 bytes of what it answered.")]


class WebhookDelivery(msgspec.Struct, kw_only=True):
    """One event on its way to one endpoint."""

    id: str
    object: Literal["webhook_delivery"] = "webhook_delivery"
    created: int
    endpoint: str
    event: str
    event_type: str
    livemode: bool
    next_try_at: int | None
    status: Literal["pending", "delivered", "dead"]
    tries: Annotated[list[WebhookTry], Meta(description="The latest ten, oldest first.")]


def webhook_endpoint(endpoint: Endpoint, *, livemode: bool, secret: str | UnsetType = UNSET) -> WebhookEndpoint:
    """An endpoint as the API shows it."""
    return WebhookEndpoint(
        id=ids.show("we", endpoint.id),
        api_version=endpoint.api_version,
        created=clock.unix(endpoint.created_at),
        description=endpoint.description,
        disabled_reason=endpoint.reason,  # pyrefly: ignore[bad-argument-type] - the table's CHECK lists the same
        enabled_events=list(endpoint.enabled_events),
        failing_since=clock.unix(endpoint.failing_since) if endpoint.failing_since else None,
        livemode=livemode,
        metadata=msgspec.json.decode(endpoint.metadata),
        secret=secret,
        status="enabled" if endpoint.status == "enabled" else "disabled",
        url=endpoint.url,
    )


def webhook_delivery(row: Row, tries: list[Row], *, livemode: bool) -> WebhookDelivery:
    """A delivery with its latest tries."""
    return WebhookDelivery(
        id=ids.show("whd", row["event_id"]),
        created=clock.unix(row["created_at"]),
        endpoint=ids.show("we", row["endpoint_id"]),
        event=ids.show("evt", row["event_id"]),
        event_type=row["type"],
        livemode=livemode,
        next_try_at=clock.unix(row["run_at"]) if row["state"] == "pending" else None,
        status=row["state"],
        tries=[WebhookTry(clock.unix(t["at"]), t["status"], t["took_ms"], t["error"], t["response"]) for t in tries],
    )
