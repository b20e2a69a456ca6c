"""The call that says what a merchant's channels can do: for shops and consoles that offer ways to pay, and know no channel."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from guilder.channels.info import Info, Way
from guilder.merchants import channel_accounts
from guilder.merchants.principal import Principal
from guilder.platform.web import Call, Params, Route, route

LANGUAGES = ("en", "zh")


class Nothing(Params):
    """Nothing to say."""


class Names(Struct, kw_only=True):
    """What people call it, in each language."""

    en: str
    zh: str


class ChannelWay(Struct, kw_only=True):
    """One way of paying: `type` and `payment_method_options[<type>][client]` ask for it, with what it `needs`."""

    name: str
    type: str
    names: Names
    client: str
    shows: Literal["qr", "redirect", "form", "sdk", "nothing"]
    needs: list[str]
    takes: list[str]
    least: int
    most: int | None
    operations: list[str]


class ChannelObject(Struct, kw_only=True):
    """A channel that the merchant has a contract with, and what it can do.  Amounts are in minor units."""

    object: Literal["channel"] = "channel"
    code: str
    title: str
    names: Names
    ways: list[ChannelWay]
    currencies: list[str]
    operations: list[str]
    livemode: bool


class ChannelList(Struct, kw_only=True):
    """All of them: there are few."""

    object: Literal["list"] = "list"
    data: list[ChannelObject]
    has_more: bool = False
    url: str


@route("GET", "/v1/channels", scope="payments:read", query=Nothing, answer=ChannelList)
async def list_channels(call: Call, query: Nothing) -> ChannelList:
    """List what the merchant's enabled contracts with channels can do: ways to pay by type and client, currencies, amounts, operations."""
    who: Principal = call.principal
    found: dict[str, list[Info]] = {}
    for account in await channel_accounts.of_merchant(who.env, who.book_id):
        found.setdefault(account.info.code, []).append(account.info)
    return ChannelList(data=[_channel(infos, livemode=who.livemode) for infos in found.values()], url=call.target)


def _channel(infos: Sequence[Info], *, livemode: bool) -> ChannelObject:
    """One channel, as all contracts with it together can do it."""
    first = infos[0]
    ways: dict[str, ChannelWay] = {}
    for info in infos:
        for way in info.ways:
            ways.setdefault(way.name, _way(info, way))
    return ChannelObject(
        code=first.code, title=first.title, names=_names(first), ways=list(ways.values()),
        currencies=sorted({c.lower() for info in infos for c in info.currencies}),
        operations=sorted({o.value for info in infos for o in info.operations}), livemode=livemode,
    )  # fmt: skip


def _way(info: Info, way: Way) -> ChannelWay:
    return ChannelWay(
        name=way.name, type=way.type, names=_names(info, way.type), client=way.client, shows=way.shows, needs=list(way.needs),
        takes=list(way.takes), least=way.least, most=way.most, operations=sorted(o.value for o in info.operations if info.can(o, way.name)),
    )  # fmt: skip


def _names(info: Info, type: str | None = None) -> Names:
    return Names(**{language: info.called(language, type) for language in LANGUAGES})


ROUTES: tuple[Route, ...] = (list_channels,)
