"""Callbacks: what a channel tells the merchant by itself, again and again until it is heard.

Each is a row of the book, so those still due survive kill -9.  Tries follow the channel's own schedule
on the simulators' clock; every try signs anew and leaves an entry with the merchant's answer.
"""

import asyncio
from collections.abc import Mapping

import aiohttp
import msgspec

from guilder.simulators import dials
from guilder.simulators.book import Book
from guilder.simulators.channel import Channel
from guilder.simulators.clock import Clock
from guilder.simulators.dials import Dials
from guilder.simulators.model import Callback, Facts, Refund, Trade

_TIMEOUT = aiohttp.ClientTimeout(total=5)  # WeChat Pay gives a merchant five seconds
_AT_ONCE = 64


class Courier:
    """Sends callbacks.  Needs a running event loop."""

    def __init__(self, book: Book, clock: Clock, turned: Dials, channels: Mapping[str, Channel]) -> None:
        self._book = book
        self._clock = clock
        self._dials = turned
        self._channels = channels
        self._session: aiohttp.ClientSession | None = None
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._due: dict[str, Callback] = {}
        self._held: dict[tuple[str, str], str] = {}  # trade -> its payment's callback, held back by a dial

    def tell(self, trade: Trade, refund: Refund | None) -> None:
        """Something happened to a trade, or to one of its refunds: tell the merchant, if the channel does that."""
        channel = self._channels[trade.channel]
        told = channel.payment_fact(trade) if refund is None else channel.refund_fact(trade, refund)
        url = trade.notify_url if refund is None else refund.notify_url
        if told is None or not url:
            return
        op, no = ("create", "") if refund is None else ("refund", refund.out_refund_no)
        kept = trade.dials if refund is None else refund.dials
        self.say(trade.account, trade.out_trade_no, *told, url, kept, op, no)
        if refund is not None:
            self._release(trade, self._clock.now() + 500)

    def say(
        self,
        account: str,
        about: str,
        event: str,
        fact: Facts,
        url: str,
        kept: str = "",
        op: str = "create",
        refund_no: str = "",
    ) -> None:
        """Tell a merchant `fact`, of the trade or payout `about`; `kept` are the dials that shape it."""
        name, now = self._book.accounts[account].channel, self._clock.now()
        callback = Callback(
            id=f"{name[0].upper()}{now}{self._book.serial():012d}",
            account=account,
            out_trade_no=about,
            out_refund_no=refund_no,
            event=event,
            url=url,
            fact=msgspec.json.encode(fact).decode(),
            created_at=now,
            due_at=now,
            dials=kept,
            op=op,
        )
        self._shape(callback)
        self._book.note("callback_due", account, about, id=callback.id, event=event)
        self._book.put(callback)
        if callback.state == "due":
            self._wait(callback)

    def _shape(self, callback: Callback) -> None:
        """Let the dials lose or delay it before it is ever sent."""
        op = callback.op
        key = (callback.account, callback.out_trade_no)
        if dials.find(callback.dials, op, "callback_lost") or dials.find(callback.dials, op, "paid_without_callback"):
            callback.state = "lost"
            if dials.find(callback.dials, op, "callback_lost"):
                self._dials.count(*key, op, "callback_lost")
        if late := dials.find(callback.dials, op, "callback_late"):
            callback.due_at += int(late.seconds * 1000)
            self._dials.count(*key, op, "callback_late")
        if held := dials.find(callback.dials, op, "callback_reordered"):
            callback.due_at += int(held.seconds * 1000)
            self._held[key] = callback.id
            self._dials.count(*key, op, "callback_reordered")

    def _release(self, trade: Trade, at: int) -> None:
        """The refund's callback is out: the payment's may follow."""
        callback = self._due.get(self._held.pop((trade.account, trade.out_trade_no), ""))
        if callback is not None and callback.due_at > at:
            callback.due_at = at
            self._book.put(callback)
            self._wait(callback)

    def _wait(self, callback: Callback) -> None:
        self._due[callback.id] = callback
        self._clock.at(callback.due_at, lambda: self._send_if_due(callback.id))

    def _send_if_due(self, callback_id: str) -> None:
        callback = self._due.get(callback_id)
        if callback is not None and callback.due_at <= self._clock.now():
            del self._due[callback_id]
            task = asyncio.create_task(self._deliver(callback))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _deliver(self, callback: Callback) -> None:
        await self._book.commit()  # first the book, then the world
        op = callback.op
        key = (callback.account, callback.out_trade_no)
        channel = self._channels[self._book.accounts[callback.account].channel]
        if callback.tries == 0 and dials.find(callback.dials, op, "callback_forged"):
            self._dials.count(*key, op, "callback_forged")
            for forged in channel.forgeries():
                await self._try(callback, forged)
        twins = dials.find(callback.dials, op, "callback_duplicate")
        if callback.tries == 0 and twins:
            self._dials.count(*key, op, "callback_duplicate")
            copies = twins.times if twins.times > 1 else 5
            heard = any(await asyncio.gather(*(self._try(callback) for _ in range(copies))))
        else:
            heard = await self._try(callback)
        callback.tries += 1
        if heard:
            callback.state = "acknowledged"
        elif callback.tries > len(channel.retry_after_s):
            callback.state = "given_up"
        else:
            callback.due_at = self._clock.now() + channel.retry_after_s[callback.tries - 1] * 1000
            self._wait(callback)
        self._book.put(callback)

    async def _try(self, callback: Callback, forged: str = "") -> bool:
        """Send it once and note the answer.  True when the merchant has taken it."""
        account = self._book.accounts[callback.account]
        channel = self._channels[account.channel]
        headers, body = channel.seal(account, callback, forged)
        status, answer = 0, b""
        async with self._gate:
            try:
                post = self._client().post(callback.url, data=body, headers=headers, allow_redirects=False)
                async with post as reply:
                    status, answer = reply.status, await reply.content.read(4096)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                answer = f"{type(error).__name__}: {error}".encode()
        taken = channel.accepted(status, answer)
        self._book.note(
            "callback_try",
            callback.account,
            callback.out_trade_no,
            id=callback.id,
            status=status,
            taken=taken,
            forged=forged,
            answer=answer[:200].decode(errors="replace"),
        )
        return taken

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            # Idle connections go before any server would close them: that race would cost a try.
            line = aiohttp.TCPConnector(keepalive_timeout=2)
            jar = aiohttp.DummyCookieJar()
            self._session = aiohttp.ClientSession(connector=line, timeout=_TIMEOUT, cookie_jar=jar)
        return self._session

    def resume(self) -> None:
        """After a restart: what was due is due again."""
        for row in self._book.rows("SELECT * FROM callback WHERE state = 'due'"):
            callback = Callback(*row)
            if dials.find(callback.dials, "create", "callback_reordered") and not callback.out_refund_no:
                self._held[callback.account, callback.out_trade_no] = callback.id
            self._wait(callback)

    async def close(self) -> None:
        """Stop sending; what has not been acknowledged stays due."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
