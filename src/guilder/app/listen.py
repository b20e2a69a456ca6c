"""`guilder listen`: every event as it happens, signed and sent to an address of this machine, as Stripe's command line does it.

Events are read by the API with a key, so nothing is registered and nothing is left behind.  Those of the last seconds are read again each time
and known by their ids: transactions end in another order than they began, and none is passed over.  While the API does not answer, nothing is
lost either: what happened meanwhile comes afterwards.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import aiohttp
import msgspec

from guilder.core import clock
from guilder.core.errors import GuilderError
from guilder.notify import sign

OVERLAP_S, EVERY_S, PAGE = 30, 0.4, 100
Say = Callable[[str], object]


class _Event(msgspec.Struct):
    """What is needed of an event beside its text."""

    id: str
    type: str
    created: int


class _Page(msgspec.Struct):
    data: list[msgspec.Raw]
    has_more: bool


class NotAllowed(GuilderError):
    """The API does not know the key, or refuses it."""


class Listener:
    """What has been heard, and where it goes."""

    def __init__(self, http: aiohttp.ClientSession, api: str, key: str, types: Sequence[str], since: int) -> None:
        self._http, self._api, self._key, self._types = http, api, key, types
        self._since = since  # nothing older is wanted
        self._seen: dict[str, int] = {}

    async def news(self) -> list[tuple[_Event, bytes]]:
        """Events that were not heard before, oldest first.  Raises aiohttp.ClientError while the API is away."""
        found: list[tuple[_Event, bytes]] = []
        newest = max(self._seen.values(), default=self._since)
        begin, after = max(self._since, newest - OVERLAP_S), ""
        while True:
            page = await self._page(begin, after)
            read = [(msgspec.json.decode(raw, type=_Event), bytes(raw)) for raw in page.data]
            found += [(event, raw) for event, raw in read if event.id not in self._seen]
            if not page.has_more:
                break
            after = read[-1][0].id
        self._seen |= {event.id: event.created for event, _ in found}
        newest = max(self._seen.values(), default=newest)
        self._seen = {id: at for id, at in self._seen.items() if at >= newest - 2 * OVERLAP_S}
        return found[::-1]

    async def _page(self, begin: int, after: str) -> _Page:
        asked = [("limit", str(PAGE)), ("created[gte]", str(begin)), *(("types[]", t) for t in self._types)]
        asked += [("starting_after", after)] if after else []
        headers = {"Authorization": f"Bearer {self._key}"}
        async with self._http.get(f"{self._api}/v1/events", params=asked, headers=headers) as answer:
            body = await answer.read()
            if answer.status in (400, 401, 403):
                raise NotAllowed(f"The API refuses: {msgspec.json.decode(body)['error']['message']}")
            answer.raise_for_status()
            return msgspec.json.decode(body, type=_Page)


async def listen(
    api: str,
    key: str,
    forward_to: str,
    types: Sequence[str],
    secret: str,
    say: Say,
    *,
    stop: asyncio.Event | None = None,
) -> None:
    """Forward until stopped, or until SIGINT or SIGTERM.  What the address answers is said; an event is sent once."""
    if stop is None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    keys = [sign.read(secret.encode())]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        listener, away = Listener(http, api, key, types, clock.unix(clock.now())), False
        while not stop.is_set():
            try:
                news = await listener.news()
                if away:
                    say("the API answers again")
                away = False
            except (aiohttp.ClientError, TimeoutError) as error:
                if not away:
                    say(f"the API does not answer ({error}); waiting")
                away, news = True, []
            for event, raw in news:
                say(
                    f"{time.strftime('%H:%M:%S')}  {event.type}  {event.id}  {await _forwarded(http, forward_to, event.id, raw, keys)}"
                )
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await stop.wait()


async def _forwarded(http: aiohttp.ClientSession, url: str, id: str, body: bytes, keys: Sequence[sign.Secret]) -> str:
    headers: dict[str, Any] = {
        "Content-Type": "application/json",
        **sign.signed(keys, id, clock.unix(clock.now()), body),
    }
    began = time.monotonic()
    try:
        async with http.post(url, data=body, headers=headers) as answer:
            await answer.read()
            return f"[{answer.status}] {(time.monotonic() - began) * 1000:.0f} ms"
    except (aiohttp.ClientError, TimeoutError) as error:
        return f"[not delivered] {error or type(error).__name__}"
