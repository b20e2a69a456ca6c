"""The calls of the flight recorder: what happened to a payment, and what an id of anybody's names."""

from typing import Annotated

from msgspec import Meta

from guilder.core import ids
from guilder.core.errors import NotFound
from guilder.merchants.principal import Principal
from guilder.platform import timeline
from guilder.platform.web import Call, Params, route
from guilder.trades import present_timeline
from guilder.trades.present_timeline import Timeline


class OfThis(Params):
    """Nothing to say."""


class OfAnything(Params):
    """What is known of it."""

    of: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=200,
            description="An id of anybody's: ours of any kind, the key or number that a channel knows, your own order number, a request, a trace.",
        ),
    ]


@route(
    "GET", "/v1/payment_intents/{intent:pi}/timeline", scope="payments:read", query=OfThis, answer=Timeline, tag="Timeline"
)  # fmt: skip
async def payment_intent_timeline(call: Call, query: OfThis) -> Timeline:
    """Everything that happened to a payment, in one order of time.

    Requests, tries and why each went where it went, every message to and from the channel, moves of states, journals, events and the
    webhooks that told them, lines of statements, refunds; and cases, approvals and the trail for who may read them.
    """
    shown = call.path["intent"]
    if ids.read("pi", shown) is None:  # a number of somebody's is looked for by `of`, not here
        raise NotFound(f"No such payment_intent: '{shown[:200]}'", param="intent")
    return await told(call, shown, "intent")


@route("GET", "/v1/timeline", scope="payments:read", query=OfAnything, answer=Timeline, tag="Timeline")
async def timeline_of(call: Call, query: OfAnything) -> Timeline:
    """Find the payments that an id of anybody's names, and tell everything that happened to them.

    A payment, try, charge or refund; a trade or your number for it; `metadata[order_id]`; the key or number that a channel knows; an
    event, a webhook's delivery, a line of a statement (`stm_…:12`), a case, an approval, a checkout session, a request, a trace.
    """
    return await told(call, query.of, "of")


async def told(call: Call, said: str, param: str) -> Timeline:
    """The timeline of what `said` names in the caller's book."""
    who: Principal = call.principal
    found = await timeline.tell(who.env, said, [who.book_id], who.scopes)
    if found is None:
        raise NotFound(f"Nothing is known of '{said[:200]}' here.", param=param)
    return present_timeline.timeline(found)


ROUTES = (payment_intent_timeline, timeline_of)
