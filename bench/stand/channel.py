"""The channel call alone: the adapter's own signed request, sent to the simulator without Guilder in between.

Timed from the first byte out to the last byte in.  Signing the request and verifying the reply are not in it: where Guilder
does them, they count as what Guilder adds.
"""

import asyncio
import time
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import UUID

from guilder.channels import registry
from guilder.channels.model import CreatePayment, State
from guilder.core import clock, ids
from guilder.core.amount import Amount
from guilder.core.exchange import HttpReply
from stand.line import Lines, request


class Direct:
    """One contract at the simulated channel."""

    def __init__(self, simulators: str, config: dict[str, str], callback: str) -> None:
        self._channel = registry.make("wechatpay", config)
        self._lines = Lines(simulators)
        self._callback = callback
        self._book: UUID = ids.new_id()

    async def create(self, units: int) -> float:
        """Ask for a code that is paid at once; the seconds that the call took.  Raises ConnectionError on any other answer."""
        ask = CreatePayment(
            ids.mint_key(ids.new_id(), self._book), "native", Amount(units, "CNY"), "Order",
            clock.now() + timedelta(hours=2), self._callback, attach="sim:autopay",
        )  # fmt: skip
        exchange = self._channel.ask(ask)
        call = next(exchange)
        url = urlsplit(call.url)
        headers = {"Host": url.netloc, "Content-Type": "application/json"} | dict(call.headers)
        data = request(call.method, url.path, headers, call.body)
        await asyncio.sleep(0)  # others' bytes that came while we signed are read first
        sent = time.monotonic()
        status, head, body = await self._lines.ask(data)
        took = time.monotonic() - sent
        lines = (line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if line)
        try:
            exchange.send(HttpReply(status, {name.lower(): value for name, value in lines}, body))
        except StopIteration as stop:
            if stop.value.state is State.PENDING:
                return took
            raise ConnectionError(f"the channel answered {stop.value}") from None
        raise ConnectionError("one create is one call")
