"""The calls of routing that look at payments: try a version on past ones, and why a payment went where it went."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from guilder.core import clock, ids
from guilder.core.errors import NotFound
from guilder.merchants.principal import Principal
from guilder.payments.replay import Flow, Outlook, replay, tries
from guilder.platform.sql import load
from guilder.platform.web import Call, Params, Route, route
from guilder.routing import rulesets
from guilder.routing.model import Routed

Q = load(__package__)


class TryRuleset(Params):
    """On which payments."""

    days: Annotated[int, Meta(ge=1, le=366, description="Of the last days.")] = 7


class Nothing(Params):
    """Nothing to say."""


class FlowObject(Struct, kw_only=True):
    """What goes to one channel account."""

    channel_account: str
    amounts: Annotated[dict[str, int], Meta(description="Minor units, by currency.")]
    payments: int


class OutlookObject(Struct, kw_only=True):
    """Past payments, as they went and as they would have gone by a version."""

    object: Literal["routing.outlook"] = "routing.outlook"
    after: list[FlowObject]
    before: list[FlowObject]
    elsewhere: Annotated[int, Meta(description="Payments that would have gone to another account.")]
    fees_after: Annotated[int, Meta(description="Of the payments whose fee the rules know both ways.")]
    fees_before: int
    never_matched: Annotated[list[str], Meta(description="Rules that chose for no payment.")]
    nowhere: Annotated[int, Meta(description="Payments that no account of today takes.")]
    payments: int
    rules: Annotated[dict[str, int], Meta(description="Payments by the rule that chose.")]
    skipped: Annotated[dict[str, int], Meta(description="How often rules could not be worked out.")]
    whole: Annotated[bool, Meta(description="Whether all payments of these days were looked at.")]


class TryObject(Struct, kw_only=True):
    """One try of a payment: where it went, and why."""

    id: str
    object: Literal["payment_attempt"] = "payment_attempt"
    channel: str
    channel_account: str
    created: int
    problem: Annotated[dict[str, Any] | None, Meta(description="Why it failed.")]
    routed: Annotated[
        Routed | None, Meta(description="What chose its account, and why no other; null: there was nothing to choose.")
    ]
    state: str
    way: str


class TryList(Struct, kw_only=True):
    """All of them: there are few."""

    object: Literal["list"] = "list"
    data: list[TryObject]
    has_more: bool = False
    url: str


@route("POST", "/v1/routing/rulesets/{ruleset:rs}/try", scope="routing:read", body=TryRuleset, answer=OutlookObject)
async def try_ruleset(call: Call, body: TryRuleset) -> OutlookObject:
    """Try a version on past payments: how many would have gone elsewhere, by account and amount, and at what fees. Nothing changes."""
    who: Principal = call.principal
    row = await rulesets.find(who.env, who.book_id, call.path["ruleset"])
    return outlook(await replay(who.env, who.book_id, rulesets.of_row(row), body.days))


@route(
    "GET",
    "/v1/payment_intents/{intent:pi}/routing",
    scope="payments:read",
    query=Nothing,
    answer=TryList,
    tag="Routing",
)
async def list_payment_tries(call: Call, query: Nothing) -> TryList:
    """Where each try of a payment went, by which rule, and why at no other account."""
    who: Principal = call.principal
    id = ids.read("pi", call.path["intent"])
    if id is None or await who.env.db.row(Q.find_intent, who.book_id, id) is None:
        raise NotFound(f"No such payment_intent: '{call.path['intent']}'", param="intent")
    rows = await tries(who.env, who.book_id, id)
    shown = [
        TryObject(
            id=ids.show("at", r["id"]), channel=r["channel"], channel_account=ids.show("ca", r["channel_account_id"]),
            created=clock.unix(r["created_at"]), problem=None if r["problem"] is None else msgspec.json.decode(r["problem"]),
            routed=None if r["routed"] is None else msgspec.json.decode(r["routed"], type=Routed), state=r["state"], way=r["way"],
        )
        for r in rows
    ]  # fmt: skip
    return TryList(data=shown, url=call.target)


def outlook(found: Outlook) -> OutlookObject:
    """What a replay found, as it is shown."""
    return OutlookObject(
        after=_flows(found.after), before=_flows(found.before), elsewhere=found.elsewhere, fees_after=found.fees_after,
        fees_before=found.fees_before, never_matched=found.never, nowhere=found.nowhere, payments=found.payments, rules=found.rules,
        skipped=dict(found.skipped), whole=found.whole,
    )  # fmt: skip


def _flows(flows: dict[Any, Flow]) -> list[FlowObject]:
    return [
        FlowObject(
            channel_account=ids.show("ca", id),
            amounts={c.lower(): n for c, n in flow.amounts.items()},
            payments=flow.payments,
        )
        for id, flow in sorted(flows.items(), key=lambda item: -item[1].payments)
    ]


ROUTES: tuple[Route, ...] = (try_ruleset, list_payment_tries)
