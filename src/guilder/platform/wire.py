"""The wire: the only place that calls channels.

    outcome = await wire.carry_out(exchange, Subject(...))

Each call is journaled before it is sent, and its reply after; nobody's secret is in the journal.  A call that a transaction decides
to make can be journaled by that transaction:

    first = wire.ready(exchange, about, root_id)        # inside: the adapter makes and signs its first call
    wire.keep(tx, [first])                              # inside: it is in the journal if the decision is
    outcome = await wire.send(first)                    # after the commit

What goes wrong is one of two things, told to the adapter's generator: `NotSent` (no address, refused, no connection, or an address that `guard`
keeps us from, for who adds a contract says where its channel is: nothing happened) or `Silence` (anything after the first byte may have left: it may have happened).  A pooled connection that the channel had closed counts as silence: we
cannot prove that it had not read.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

import aiohttp
import msgspec
from yarl import URL

from guilder.core import clock, ids
from guilder.core.errors import Busy
from guilder.core.exchange import Exchange, HttpCall, HttpReply, NotSent, Silence
from guilder.platform import context, db, guard, journal_safe, telemetry
from guilder.platform.batch import Lane
from guilder.platform.db import Tx
from guilder.platform.health import Health, Held, Watch
from guilder.platform.journal_safe import without_persons
from guilder.platform.sql import load

Q = load(__package__)
T = TypeVar("T")
log = logging.getLogger("guilder.wire")

CONNECT_S = 3.0
NOTE_S = 0.1  # what was heard waits so long for company


class About(msgspec.Struct, frozen=True):
    """What a call is about."""

    book_id: UUID
    channel_account_id: UUID
    channel: str
    op: str
    about: UUID | None = None  # attempt, refund
    fronted: bool = False  # the front asks, and has its place (health.fronting)


class Message(msgspec.Struct, frozen=True):
    """One line of the journal."""

    about: About
    exchange_id: UUID
    direction: str
    at: datetime
    method: str | None = None
    url: str | None = None
    status: int | None = None
    headers: str | None = None
    body: bytes | None = None
    outcome: str | None = None
    took_ms: int | None = None
    root_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Ready(Generic[T]):
    """An exchange whose first call is made and not yet sent.  Without one (nothing is to be sent) it has its outcome."""

    exchange: Exchange[T]
    about: About
    exchange_id: UUID
    call: HttpCall | None
    out: Message | None = None
    outcome: T | None = None


def ready(exchange: Exchange[T], about: About, root_id: UUID) -> Ready[T]:
    """Have the adapter make its first call."""
    exchange_id = ids.new_id()
    try:
        call = next(exchange)
    except StopIteration as stop:
        return Ready(exchange, about, exchange_id, None, outcome=stop.value)
    return Ready(exchange, about, exchange_id, call, _out(about, exchange_id, call, root_id))


class Wire:
    """Calls to channels from one process, for one environment."""

    def __init__(
        self,
        journal: Lane[Message, None],
        *,
        loopback: bool,
        inside: guard.Networks = (),
        look_up: guard.LookUp = guard.look_up,
        connections: int = 2048,
        health: Health | None = None,
    ) -> None:
        self.health = health or Health()
        self._connector = lambda: guard.guarded_connector(
            loopback=loopback, look_up=look_up, inside=inside, per_host=connections
        )
        self._journal = journal
        self._session: aiohttp.ClientSession | None = None
        self._notes: list[Message] = []  # what we heard, about to be journaled

    async def close(self) -> None:
        """Journal what was heard last, and close the connections."""
        await self.settle()
        if self._session is not None:
            await self._session.close()

    async def settle(self) -> None:
        """Wait until everything heard so far is journaled."""
        self._keep_notes()
        await self._journal.idle()

    async def carry_out(self, exchange: Exchange[T], about: About) -> T:
        """Drive `exchange` to its end.  Raises only what the adapter raises."""
        first = ready(exchange, about, context.current().root_id)
        if first.out is not None:
            await self._journaled(first.out)
        return await self.send(first)

    async def send(self, first: Ready[T]) -> T:
        """Drive an exchange whose first call is in the journal to its end."""
        db.outside()
        exchange, about, call = first.exchange, first.about, first.call
        if call is None:
            return first.outcome  # pyrefly: ignore[bad-return]
        with self.health.watching(about) as watch:
            try:
                while True:
                    try:
                        reply = await self._call(call, about, first.exchange_id, watch)
                    except (NotSent, Silence) as fault:
                        call = exchange.throw(fault)
                    else:
                        call = exchange.send(reply)
                    await self._journaled(_out(about, first.exchange_id, call, context.current().root_id))
            except StopIteration as stop:
                watch.heard(stop.value)
                return stop.value

    def withhold(self, first: Ready[Any], why: str) -> None:
        """Journal that an exchange whose first call is in the journal is not sent after all."""
        first.exchange.close()
        self._note(
            Message(first.about, first.exchange_id, "in", clock.now(), body=why.encode(), outcome="not_sent", took_ms=0,
                    root_id=context.current().root_id)
        )  # fmt: skip

    async def _journaled(self, out: Message) -> None:
        db.outside()
        self._keep_notes()
        await self._journal.submit(out, out.about.book_id)

    def hear(self, about: About, headers: Mapping[str, str], body: bytes, outcome: str) -> None:
        """Journal a callback; what it says is stored already, this keeps its bytes."""
        message = Message(
            about, ids.new_id(), "in", clock.now(), "POST", None, None, journal_safe.headers(headers), without_persons(body), outcome,
            None, context.current().root_id,
        )  # fmt: skip
        self._note(message)

    async def _call(self, call: HttpCall, about: About, exchange_id: UUID, watch: Watch) -> HttpReply:
        started = time.monotonic()
        reply, outcome, fault = None, "reply", None
        try:
            async with self.health.turn(about):
                reply = await self._send(call, self.health.timeout_s(about, call.timeout_s))
        except NotSent as error:
            outcome, fault, watch.void = "not_sent", error, isinstance(error, Held)
        except Silence as error:
            outcome, fault = "silence", error
        watch.silent = reply is None or reply.status >= 500
        took = time.monotonic() - started
        telemetry.CHANNEL.labels(about.channel, about.op, outcome if reply is None else str(reply.status)).observe(took)
        self._note(
            Message(about, exchange_id, "in", clock.now(), None, None, reply.status if reply else None,
                    journal_safe.headers(reply.headers) if reply else None, _kept_reply(about, reply.body) if reply else str(fault).encode(),
                    outcome, round(took * 1000), context.current().root_id)
        )  # fmt: skip
        if fault is not None:
            log.warning("%s %s: %s: %s", about.channel, about.op, outcome, fault)
            raise fault
        assert reply is not None
        return reply

    def _note(self, message: Message) -> None:
        """Journal what was heard without waiting, with the next that is sent or in a moment."""
        if not self._notes:
            asyncio.get_running_loop().call_later(NOTE_S, self._keep_notes)
        self._notes.append(message)

    def _keep_notes(self) -> None:
        """What the channel said counts even if there is no room to keep it."""
        notes, self._notes = self._notes, []
        for message in notes:
            try:
                self._journal.offer(message, message.about.book_id)
            except Busy:
                log.error(
                    "%s %s: the journal is full, and what was heard is not in it",
                    message.about.channel,
                    message.about.op,
                )

    async def _send(self, call: HttpCall, timeout_s: float) -> HttpReply:
        """Send, and sort what goes wrong into NotSent and Silence."""
        try:
            async with self._http().request(
                call.method,
                URL(call.url, encoded=True),  # it was signed as it stands
                headers=dict(call.headers),
                data=call.body or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S),
            ) as answer:
                chunks, size = [], 0
                async for chunk in answer.content.iter_any():
                    size += len(chunk)
                    if size > call.max_bytes:
                        raise Silence(f"the reply is longer than {call.max_bytes} bytes")
                    chunks.append(chunk)
                body = b"".join(chunks)
                return HttpReply(answer.status, {k.lower(): v for k, v in answer.headers.items()}, body)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise NotSent(str(error)) from error
        except (aiohttp.ClientError, TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            raise Silence(str(error) or type(error).__name__) from error

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._connector(),
                auto_decompress=True,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers={"User-Agent"},
            )
            # aiohttp repeats a dropped GET by itself; here one line of the journal is one call, and whoever wants
            # another asks again.  There is no public switch (3.14).
            self._session._retry_connection = False
        return self._session


def keep(tx: Tx, firsts: Sequence[Ready[Any]]) -> None:
    """Journal these first calls with the transaction that decides to make them."""
    _write(tx, [first.out for first in firsts if first.out is not None])


async def write_messages(tx: Tx, messages: list[Message]) -> Sequence[None]:
    """The journal lane's work: one insert for the whole batch."""
    _write(tx, messages)
    return [None] * len(messages)


def _write(tx: Tx, messages: Sequence[Message]) -> None:
    if not messages:
        return
    tx.write(
        Q.insert_wire_messages,
        [
            (m.about.book_id, ids.new_id(), m.exchange_id, m.about.about, m.about.channel_account_id, m.about.op, m.direction, m.method,
             m.url, m.status, m.headers, m.body, m.outcome, m.took_ms, m.root_id, m.at)
            for m in messages
        ],
    )  # fmt: skip


def _out(about: About, exchange_id: UUID, call: HttpCall, root_id: UUID) -> Message:
    return Message(
        about, exchange_id, "out", clock.now(), call.method, journal_safe.url(call.url), None,
        journal_safe.headers(call.headers), _kept_ask(about, call.body), None, None, root_id,
    )  # fmt: skip


def _kept_ask(about: About, body: bytes) -> bytes:
    """What was asked, as the journal keeps it.  Of evidence in a dispute only that it went: it lies sealed elsewhere."""
    if about.op != "evidence":
        return without_persons(body)
    return f"[evidence of {len(body)} bytes, SHA-256 {hashlib.sha256(body).hexdigest()}]".encode()


def _kept_reply(about: About, body: bytes) -> bytes:
    """A reply as the journal keeps it.  Of a channel's file of a day only what proves it: it names payers in every line, and lies whole in
    its statement."""
    if about.op == "evidence":
        return _kept_ask(about, body)
    if about.op != "statement" or body.startswith(b"{"):
        return without_persons(body)
    return f"[a file of {len(body)} bytes, SHA-256 {hashlib.sha256(body).hexdigest()}]".encode()
