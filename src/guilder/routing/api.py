"""The calls of routing: versions of the rules, and the switch of a channel account."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from guilder.core import ids
from guilder.core.errors import ApprovalRequired, NotFound
from guilder.core.page import turn
from guilder.merchants import channel_accounts
from guilder.merchants.principal import Principal
from guilder.platform import approval, breaker
from guilder.platform.approval import Approval
from guilder.platform.db import Row, Tx
from guilder.platform.once import once
from guilder.platform.sql import load, walked
from guilder.platform.web import Answer, Call, Listing, ListParams, Params, Route, listing, route
from guilder.platform.web.cursor import cursor
from guilder.routing import rulesets
from guilder.routing.model import Content
from guilder.routing.present import ChannelStandingObject, RulesetObject, ruleset, standing

Q = load(__package__)
Why = Annotated[str, Meta(max_length=500)]


class DraftRuleset(Params):
    """A version that nothing goes by yet."""

    content: Content
    note: Why = ""


class Because(Params):
    """Why."""

    why: Why = ""


class ListRulesets(ListParams):
    """Newest first."""


class Nothing(Params):
    """Nothing to say."""


class StandingList(Struct, kw_only=True):
    """All of them: there are few."""

    object: Literal["list"] = "list"
    data: list[ChannelStandingObject]
    has_more: bool = False
    url: str


@route("POST", "/v1/routing/rulesets", scope="routing:write", body=DraftRuleset, answer=RulesetObject)
async def create_ruleset(call: Call, body: DraftRuleset) -> Answer:
    """Draft a version of the rules. It is checked, and nothing goes by it until it is activated."""
    who: Principal = call.principal

    async def work(tx: Tx) -> RulesetObject:
        return ruleset(await rulesets.draft(tx, who.book_id, body.content, body.note), livemode=who.livemode)

    return await once(call, work)


@route("GET", "/v1/routing/rulesets", scope="routing:read", query=ListRulesets, answer=Listing[RulesetObject])
async def list_rulesets(call: Call, query: ListRulesets) -> Listing[RulesetObject]:
    """List the versions, newest first."""
    who: Principal = call.principal
    page = query.page
    rows = await who.env.db.rows(
        walked(Q.list_rulesets, page.ascending), who.book_id, *cursor(page, "rs"), page.limit + 1
    )
    return listing(call, turn(page, rows), lambda r: ruleset(r, livemode=who.livemode))


@route("GET", "/v1/routing/rulesets/{ruleset:rs}", scope="routing:read", query=Nothing, answer=RulesetObject)
async def retrieve_ruleset(call: Call, query: Nothing) -> RulesetObject:
    """Retrieve a version."""
    who: Principal = call.principal
    return ruleset(await rulesets.find(who.env, who.book_id, call.path["ruleset"]), livemode=who.livemode)


@route("POST", "/v1/routing/rulesets/{ruleset:rs}/activate", scope="routing:write", body=Because, answer=RulesetObject)
async def activate_ruleset(call: Call, body: Because) -> Answer:
    """Have payments go by a version from the next second on. Where a chain says so, others have to agree first."""
    who: Principal = call.principal
    id = ids.read("rs", call.path["ruleset"])

    async def work(tx: Tx) -> RulesetObject | ApprovalRequired:
        if id is None:
            raise NotFound(f"No such ruleset: '{call.path['ruleset']}'", param="ruleset")
        return _shown(await rulesets.activate(tx, who.book_id, id, body.why), livemode=who.livemode)

    done = await once(call, work)
    await channel_accounts.tell(who.env)
    return done


def _shown(done: Row | Approval, *, livemode: bool) -> RulesetObject | ApprovalRequired:
    if isinstance(done, Approval):
        return approval.required(done, livemode=livemode)
    return ruleset(done, livemode=livemode)


@route("GET", "/v1/channel_accounts/standing", scope="channels:read", query=Nothing, answer=StandingList)
async def list_channel_standings(call: Call, query: Nothing) -> StandingList:
    """How the channel accounts stand: their breakers, the operator's switch, and the calls of the last seconds."""
    who: Principal = call.principal
    accounts = [r["id"] for r in await channel_accounts.every(who.env, who.book_id)]
    rows = await breaker.standing(who.env.db, accounts)
    return StandingList(data=[standing(rows[a], livemode=who.livemode) for a in accounts], url=call.target)


@route(
    "POST", "/v1/channel_accounts/{channel_account:ca}/pause", scope="channels:write", body=Because, answer=ChannelStandingObject
)  # fmt: skip
async def pause_channel_account(call: Call, body: Because) -> Answer:
    """Ask an account for no new payment, from the next second on. What was begun ends there, and refunds go back there."""
    return await _switch(call, paused=True, why=body.why)


@route(
    "POST", "/v1/channel_accounts/{channel_account:ca}/resume", scope="channels:write", body=Because, answer=ChannelStandingObject
)  # fmt: skip
async def resume_channel_account(call: Call, body: Because) -> Answer:
    """Ask a paused account for payments again."""
    return await _switch(call, paused=False, why=body.why)


async def _switch(call: Call, *, paused: bool, why: str) -> Answer:
    who: Principal = call.principal
    id = ids.read("ca", call.path["channel_account"])

    async def work(tx: Tx) -> ChannelStandingObject:
        if id is None or await channel_accounts.find(tx, who.book_id, id) is None:
            raise NotFound(f"No such channel account: '{call.path['channel_account']}'", param="channel_account")
        await breaker.switch(tx, who.book_id, id, paused=paused, why=why)
        return standing(await breaker.one(tx, id), livemode=who.livemode)

    return await once(call, work)


ROUTES: tuple[Route, ...] = (
    create_ruleset, list_rulesets, retrieve_ruleset, activate_ruleset, list_channel_standings, pause_channel_account, resume_channel_account,
)  # fmt: skip
