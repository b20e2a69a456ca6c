"""The calls of contracts with channels.  Where a chain says so, a change waits for the approval of others."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from guilder.channels.registry import CHANNELS
from guilder.core import ids
from guilder.core.errors import ApprovalRequired, Forbidden, Invalid, NotFound
from guilder.merchants import channel_accounts, present
from guilder.merchants.present import ChannelAccountObject
from guilder.merchants.principal import Principal
from guilder.platform import approval
from guilder.platform.db import Tx
from guilder.platform.once import once
from guilder.platform.web import Answer, Call, Params, Route, route

Setting = Annotated[str, Meta(max_length=10_000)]


class AddAccount(Params):
    """A contract."""

    channel: Annotated[
        str, Meta(pattern=r"^[a-z][a-z0-9_]{0,39}$", examples=["wechatpay"], extra={"says": "a channel's code."})
    ]
    config: Annotated[
        dict[Annotated[str, Meta(min_length=1, max_length=40)], Setting],
        Meta(max_length=50, description="`guilder channels fields CHANNEL` says of what."),
    ]
    name: Annotated[str, Meta(max_length=100)] = ""
    funds: (
        Annotated[
            Literal["platform", "merchant"],
            Meta(
                description="Whose money the channel collects; that it is the platform's, which owes it then, only the platform says."
            ),
        ]
        | UnsetType
    ) = UNSET


class Nothing(Params):
    """Nothing to say."""


class ChannelAccountList(Struct, kw_only=True):
    """All of them: there are few."""

    object: Literal["list"] = "list"
    data: list[ChannelAccountObject]
    has_more: bool = False
    url: str


@route("GET", "/v1/channel_accounts", scope="channels:read", query=Nothing, answer=ChannelAccountList)
async def list_channel_accounts(call: Call, query: Nothing) -> ChannelAccountList:
    """List the contracts with channels, enabled or not, oldest first."""
    who: Principal = call.principal
    rows = await channel_accounts.every(who.env, who.book_id)
    return ChannelAccountList(data=[present.channel_account(r, livemode=who.livemode) for r in rows], url=call.target)


@route("POST", "/v1/channel_accounts", scope="channels:write", body=AddAccount, answer=ChannelAccountObject)
async def add_channel_account(call: Call, body: AddAccount) -> Answer:
    """Add a contract with a channel. Its secrets are sealed, and shown to nobody again."""
    who: Principal = call.principal
    _a_merchants(who)
    if body.channel not in CHANNELS:
        raise Invalid(f"There is no channel {body.channel!r}; there are {', '.join(CHANNELS)}.", param="channel")
    may = "channels:write" in who.platform
    funds = body.funds or ("platform" if may else "merchant")
    if funds == "platform" and not may:
        raise Forbidden("Only the platform's people say that a channel collects for the platform.", param="funds")
    made = await channel_accounts.new(
        who.env, who.book_id, body.channel, dict(body.config), name=body.name, funds=funds
    )
    return await _change(call, made.command(), f"Add a contract with {body.channel}, {made.name!r}.")


@route(
    "POST",
    "/v1/channel_accounts/{channel_account:ca}/enable",
    scope="channels:write",
    body=Nothing,
    answer=ChannelAccountObject,
)
async def enable_channel_account(call: Call, body: Nothing) -> Answer:
    """Use a contract for payments again."""
    return await _switch(call, "enable")


@route(
    "POST",
    "/v1/channel_accounts/{channel_account:ca}/disable",
    scope="channels:write",
    body=Nothing,
    answer=ChannelAccountObject,
)
async def disable_channel_account(call: Call, body: Nothing) -> Answer:
    """Use a contract for no new payment. What was begun ends there, and refunds of its payments go back there."""
    return await _switch(call, "disable")


async def _switch(call: Call, what: Literal["enable", "disable"]) -> Answer:
    shown = call.path["channel_account"]
    command = {"do": what, "channel_account": shown}
    return await _change(call, command, f"{what.capitalize()} the contract {shown}.")


async def _change(call: Call, command: dict[str, Any], summary: str) -> Answer:
    who: Principal = call.principal
    id, shown = ids.read("ca", command["channel_account"]), command["channel_account"]

    async def work(tx: Tx) -> ChannelAccountObject | ApprovalRequired:
        if command["do"] != "add" and (id is None or await channel_accounts.find(tx, who.book_id, id) is None):
            raise NotFound(f"No such channel account: '{shown}'", param="channel_account")
        asked = await channel_accounts.change(tx, who.book_id, command, summary)
        if asked is not None:
            return approval.required(asked, livemode=who.livemode)
        row = None if id is None else await channel_accounts.find(tx, who.book_id, id)
        assert row is not None
        return present.channel_account(row, livemode=who.livemode)

    return await once(call, work)


def _a_merchants(who: Principal) -> None:
    if who.book_id == ids.PLATFORM:
        raise Invalid("A contract is a merchant's: name the merchant in Stripe-Account.", param="Stripe-Account")


ROUTES: tuple[Route, ...] = (
    list_channel_accounts,
    add_channel_account,
    enable_channel_account,
    disable_channel_account,
)
