"""One suite that every adapter passes against its simulator, over real HTTP.

A new channel is one more `Case` in `cases`, or in its own package.  Nothing here knows what a channel's messages look like: the suite
speaks the port on one side, and the simulators' control API, which stands for payers and channels' staff, on the other.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, TypeVar

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from guilder.channels.info import Operation, Way
from guilder.channels.model import (
    Ask,
    BadSignature,
    Channel,
    CreatePayment,
    CreateRefund,
    FetchStatement,
    Inbound,
    NeedsTrust,
    Notice,
    Outcome,
    QueryPayment,
    QueryRefund,
    Retry,
    State,
    Statement,
    StatementKind,
    StatementProblem,
    Subject,
    Unreadable,
)
from guilder.channels.registry import make, refs
from guilder.conformance.payers import Memory, carried, close, code_of, just_now, new_key, query, refund, same, waits
from guilder.core.amount import cny
from guilder.core.clock import now
from guilder.core.exchange import Exchange, HttpReply, NotSent, Silence
from guilder.reconciliation.days import day_of

T = TypeVar("T")
PATIENCE_S = 20.0
Heard = Notice | BadSignature | Unreadable


@dataclass(frozen=True)
class Case:
    """A way of a channel, and how its account is opened at the simulator."""

    channel: str
    way: str
    trust: str = ""
    create_asks: bool = True  # False: the payer's browser is simply sent there
    known_at_once: bool = True  # False: the channel knows the trade when the payer has opened it
    shows_again: bool = True  # False: asked again, it says that the order is there, and not what to show
    refunds_at_once: bool = False
    given: dict[str, str] = field(default_factory=dict)  # what the way needs
    options: dict[str, str] = field(default_factory=dict)  # of the account at the simulator
    notice_names_payer: bool = True
    told: bool = True  # False: no callback about a payment, it is asked about
    ends_by: str = "close"  # the channel's operation that ends an order
    code: Callable[[Mapping[str, str], Outcome], str] | None = (
        None  # what the phone reads, where that is no QR code and no address
    )
    ahead_s: int = 0  # so far the adapter's clock is ahead: some orders are not ended at once
    fee_exponent: int = 2
    before_the_file: StatementProblem = StatementProblem.NOT_READY

    def __str__(self) -> str:
        return "-".join(filter(None, (self.channel, self.way, self.trust, *self.options.values())))


@dataclass
class World:
    """One channel account, its adapter, the wire, and a small server that hears callbacks."""

    case: Case
    simulator: str
    session: aiohttp.ClientSession
    account: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    channel: Channel = field(init=False)
    heard: asyncio.Queue[Heard] = field(default_factory=asyncio.Queue)
    notify_url: str = ""
    memory: Memory = field(default_factory=Memory)
    last: str = ""  # the payment that was asked for last

    # --- the wire

    async def run(self, exchange: Exchange[T]) -> T:
        """Carry out an exchange over HTTP, as the platform's wire does."""
        try:
            call = next(exchange)
            while True:
                try:
                    reply = await carried(self.session, call)
                except (NotSent, Silence) as fault:
                    call = exchange.throw(fault)
                else:
                    call = exchange.send(reply)
        except StopIteration as stop:
            return stop.value

    async def ask(self, ask: Ask) -> Outcome:
        """Ask as the core does: the same time at every repetition, and the memo that was heard last."""
        outcome = await self.run(self.channel.ask(self.memory.completed(ask)))
        self.memory.hear(getattr(ask, "key", None), outcome)
        return outcome

    @property
    def day(self) -> date:
        """The channel's own day."""
        return day_of(self.channel.info, now())

    async def statement(self, kind: StatementKind = StatementKind.TRADES) -> Statement:
        return await self.run(self.channel.statement(FetchStatement(self.day, kind)))

    @property
    def way(self) -> Way:
        return self.channel.info.way(self.case.way)

    def can(self, operation: Operation) -> bool:
        return self.channel.info.can(operation, self.case.way)

    # --- callbacks

    async def hear(self, request: web.Request) -> web.Response:
        """The callback's door: verify, with a second look where trust must be fetched, and acknowledge."""
        headers = {k.lower(): v for k, v in request.headers.items()}
        inbound = Inbound(headers, await request.read(), request.query_string, now())
        try:
            try:
                notice = self.channel.notice(inbound)
            except NeedsTrust:
                assert await self.run(self.channel.refresh_trust())
                notice = self.channel.notice(inbound)
        except (BadSignature, Unreadable) as error:
            self.heard.put_nowait(error)
            return self._answer(self.channel.ack(False))
        self.memory.hear(notice.outcome.key, notice.outcome)
        self.heard.put_nowait(notice)
        return self._answer(self.channel.ack(True))

    @staticmethod
    def _answer(ack: HttpReply) -> web.Response:
        return web.Response(status=ack.status, body=ack.body, headers=dict(ack.headers))

    async def next_notice(self) -> Heard:
        """What was heard next.  A payment that waits is asked about, as the core does: some channels collect only then."""
        async with asyncio.timeout(PATIENCE_S):
            while isinstance(heard := await self.heard.get(), Notice) and waits(heard):
                await self.ask(QueryPayment(heard.outcome.key or "", self.case.way, now()))
        return heard

    # --- payers and the channel's staff

    async def control(self, path: str, **body: Any) -> dict[str, Any]:
        async with self.session.post(f"{self.simulator}/sim/{path}", json=body) as answer:
            said = await answer.json()
            assert answer.status == 200, said
            return said

    async def scan(self, created: Outcome, action: str = "pay") -> None:
        """The payer opens what was shown, or was scanned, and pays, declines or walks away."""
        read = self.case.code
        code = await code_of(created, self.session) if read is None else read(self.config, created)
        which = {"code": code} if code else {"account": self.account, "out_trade_no": created.key or self.last}
        await self.control("pay", channel=self.case.channel, action=action, **which)

    async def book(self) -> list[dict[str, Any]]:
        """The simulator's own book of this account: the only oracle."""
        async with self.session.get(f"{self.simulator}/sim/book?account={self.account}") as answer:
            return (await answer.json())["trades"]

    # --- asks

    def create(self, fen: int = 1250, *, dials: str = "", key: str = "") -> CreatePayment:
        self.last = key or new_key()
        return CreatePayment(
            key=self.last,
            way=self.case.way,
            amount=cny(fen),
            description="两杯咖啡",
            expires_at=now() + timedelta(minutes=30),
            notify_url=self.notify_url,
            return_url="http://127.0.0.1/back" if self.way.shows == "redirect" else None,
            attach=f"sim:{dials}" if dials else None,
            given=self.case.given,
        )

    async def created(self, fen: int = 1250, *, dials: str = "") -> tuple[CreatePayment, Outcome]:
        ask = self.create(fen, dials=dials)
        outcome = await self.ask(ask)
        assert outcome.state is State.PENDING, outcome
        return ask, outcome

    async def opened(self, fen: int = 1250, *, dials: str = "") -> tuple[CreatePayment, Outcome]:
        """A payment that the payer has looked at and not paid."""
        ask, outcome = await self.created(fen, dials=dials)
        await self.scan(outcome, "walk")
        return ask, outcome

    async def paid(self, fen: int = 1250, *, dials: str = "") -> tuple[CreatePayment, Notice]:
        ask, outcome = await self.created(fen, dials=dials)
        await self.scan(outcome)
        notice = await self.payment_told(ask)
        assert isinstance(notice, Notice) and notice.outcome.state is State.SUCCEEDED
        return ask, notice

    async def payment_told(self, ask: CreatePayment) -> Heard:
        """What is heard of it: by a callback, or, where the channel sends none, asked."""
        return (
            await self.next_notice() if self.case.told else Notice("asked", Subject.PAYMENT, await self.ask(query(ask)))
        )

    async def finished(self, ask: CreateRefund) -> Outcome:
        """Ask what became of a refund until it has ended."""
        async with asyncio.timeout(PATIENCE_S):
            while (outcome := await self.ask(QueryRefund(ask.key, ask.payment_key, ask.amount))).state is State.PENDING:
                await asyncio.sleep(0.05)
        return outcome


@asynccontextmanager
async def open_world(case: Case, simulator: str) -> AsyncIterator[World]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_S)) as session:
        session._retry_connection = False  # aiohttp would repeat a GET whose answer was dropped, and hide the silence
        world = World(case, simulator, session)
        opened = await world.control("accounts", channel=case.channel, options=case.options, trust=case.trust)
        world.account, world.config = opened["id"], opened["config"]
        world.channel = make(case.channel, world.config, lambda: now() + timedelta(seconds=case.ahead_s))
        app = web.Application()
        app.router.add_post("/notify", world.hear)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        world.notify_url = f"http://127.0.0.1:{runner.addresses[0][1]}/notify"
        await world.control(f"accounts/{world.account}/endpoint", url=world.notify_url)
        try:
            yield world
        finally:
            await runner.cleanup()


# Dials that leave us without a believable answer, and whether the channel has acted all the same.
SILENCES = ["silence_before", "silence_after", "error_before", "error_after", "garbage", "bad_signature"]


class Conformance:
    """Every test takes a `world` of its own: an account that nobody else uses."""

    async def test_a_payment_from_its_creation_to_its_callback(self, world: World) -> None:
        ask, created = await world.created()
        assert created.next or world.way.shows == "nothing"
        expected = State.PENDING if world.case.known_at_once else State.NOT_FOUND
        assert (await world.ask(query(ask))).state is expected
        await world.scan(created)

        notice = await world.payment_told(ask)
        assert isinstance(notice, Notice) and notice.subject is Subject.PAYMENT and notice.event_id
        told, asked = notice.outcome, await world.ask(query(ask))
        for outcome in (told, asked):
            assert (outcome.state, outcome.key, outcome.amount) == (State.SUCCEEDED, ask.key, ask.amount)
            assert just_now(outcome.at)
        assert asked.payer and bool(told.payer) == world.case.notice_names_payer
        assert told.channel_ref == asked.channel_ref
        assert (told.account_ref, told.app_ref or "") in (
            known := refs(world.case.channel, world.config),
            (None, known[1]),
        )

    async def test_C6_the_same_ask_twice_is_one_payment(self, world: World) -> None:
        ask, first = await world.opened()
        again = await world.ask(ask)
        if world.case.create_asks and world.case.shows_again:
            assert same(again.next, first.next)
        await world.scan(again if again.next else first)
        assert (await world.ask(query(ask))).state is State.SUCCEEDED
        assert [trade["out_trade_no"] for trade in await world.book()] == [ask.key]

    async def test_a_payer_who_walks_away(self, world: World) -> None:
        ask, _ = await world.opened()
        assert (await world.ask(query(ask))).state is State.PENDING

    async def test_what_was_never_asked_for_is_not_found(self, world: World) -> None:
        ask = world.create()
        assert (await world.ask(query(ask))).state is State.NOT_FOUND
        assert (await world.ask(close(ask))).state is State.NOT_FOUND
        assert (await world.ask(QueryRefund(new_key(), ask.key, cny(1)))).state is State.NOT_FOUND

    async def test_closed_is_closed(self, world: World) -> None:
        if not world.can(Operation.CLOSE):
            return
        ask, _ = await world.opened()
        assert (await world.ask(close(ask))).state is State.CLOSED
        assert (await world.ask(query(ask))).state is State.CLOSED
        assert (await world.ask(close(ask))).state is State.CLOSED
        await world.control("pay", account=world.account, out_trade_no=ask.key)
        assert (await world.ask(query(ask))).state is State.CLOSED, "it cannot be paid any more"

    async def test_a_close_that_comes_too_late_says_paid(self, world: World) -> None:
        ask, notice = await world.paid()
        closed = await world.ask(close(ask))
        assert (closed.state, closed.amount) == (State.SUCCEEDED, ask.amount)
        assert closed.channel_ref == notice.outcome.channel_ref

    async def test_a_key_used_for_another_amount(self, world: World) -> None:
        if not world.case.create_asks:
            return  # nothing is asked
        ask, _ = await world.opened()
        again = await world.ask(world.create(999, key=ask.key))
        assert again.state is State.PENDING and again.problem and again.next is None
        assert again.amount == ask.amount, "the channel tells of what it has"

    async def test_refunds_partial_and_several_and_never_too_much(self, world: World) -> None:
        ask, _ = await world.paid(1000)
        first, second, third = (refund(world.notify_url, ask, fen) for fen in (300, 650, 51))
        for one in (first, second):
            answer = await world.ask(one)
            assert answer.state is (State.SUCCEEDED if world.case.refunds_at_once else State.PENDING), answer
            done = await world.finished(one)
            assert (done.state, done.key, done.amount) == (State.SUCCEEDED, one.key, one.amount)
            told = await world.next_notice()
            assert isinstance(told, Notice) and told.subject is Subject.REFUND
            assert (told.outcome.state, told.outcome.key, told.payment_key) == (State.SUCCEEDED, one.key, ask.key)
            assert told.outcome.amount in (one.amount, None) and just_now(told.outcome.at)

        refused = await world.ask(third)
        assert refused.state is State.FAILED and refused.problem and refused.problem.retry is not Retry.SAME_KEY
        assert (await world.ask(QueryRefund(third.key, ask.key, third.amount))).state is State.NOT_FOUND
        again = await world.ask(first)
        assert again.state is State.SUCCEEDED, "the same ask twice is one refund"
        [trade] = await world.book()
        assert sum(r["amount"] for r in trade["refunds"]) == 950
        assert (await world.ask(query(ask))).state is State.SUCCEEDED

    async def test_a_refund_that_fails(self, world: World) -> None:
        ask, _ = await world.paid(dials="refund:refund_fail")
        asked = refund(world.notify_url, ask, 500)
        answer = await world.ask(asked)
        if answer.state is State.PENDING:
            answer = await world.finished(asked)
        assert answer.state is State.FAILED and answer.problem

    @pytest.mark.parametrize("dial", SILENCES)
    async def test_C2_C3_a_create_without_a_believable_answer(self, world: World, dial: str) -> None:
        if not world.case.create_asks:
            return  # nothing is asked
        ask = world.create(dials=f"create:{dial}")
        assert (await world.ask(ask)).state is State.UNKNOWN
        again = await world.ask(ask)
        assert again.state is State.PENDING, "asked once more, with the same key"
        assert again.next or not world.case.shows_again or world.way.shows == "nothing"
        assert len(await world.book()) == 1

    @pytest.mark.parametrize("dial", SILENCES)
    async def test_C2_C3_a_query_without_a_believable_answer(self, world: World, dial: str) -> None:
        ask, _ = await world.paid()
        await world.control("dials", account=world.account, dials={f"query:{dial}": {"next": 1}})
        assert (await world.ask(query(ask))).state is State.UNKNOWN
        assert (await world.ask(query(ask))).state is State.SUCCEEDED

    @pytest.mark.parametrize("dial", SILENCES)
    async def test_C2_C3_a_close_without_a_believable_answer(self, world: World, dial: str) -> None:
        if not world.can(Operation.CLOSE):
            return
        ask, _ = await world.opened(dials=f"{world.case.ends_by}:{dial}")
        assert (await world.ask(close(ask))).state is State.UNKNOWN
        assert (await world.ask(close(ask))).state is State.CLOSED

    @pytest.mark.parametrize("dial", SILENCES)
    async def test_C2_C3_a_refund_without_a_believable_answer(self, world: World, dial: str) -> None:
        ask, _ = await world.paid(dials=f"refund:{dial},refund_query:{dial}")
        asked = refund(world.notify_url, ask, 500)
        assert (await world.ask(asked)).state is State.UNKNOWN
        assert (await world.ask(asked)).state in (State.SUCCEEDED, State.PENDING, State.UNKNOWN)
        states = {(await world.ask(QueryRefund(asked.key, ask.key, asked.amount))).state for _ in range(2)}
        assert states <= {State.UNKNOWN, State.PENDING, State.SUCCEEDED}
        assert (await world.finished(asked)).state is State.SUCCEEDED
        [trade] = await world.book()
        assert [r["amount"] for r in trade["refunds"]] == [500]

    async def test_C2_not_sent(self, world: World) -> None:
        ask, _ = await world.paid()
        place = URL(world.simulator)
        nowhere = {name: value.replace(f":{place.port}", ":1") for name, value in world.config.items()}
        world.channel = make(world.case.channel, nowhere, lambda: now() + timedelta(seconds=world.case.ahead_s))
        for unsent in (refund(world.notify_url, ask, 1), *([world.create()] if world.case.create_asks else [])):
            outcome = await world.ask(unsent)
            assert outcome.state is State.FAILED and outcome.problem and outcome.problem.retry is Retry.SAME_KEY
        assert (await world.ask(query(ask))).state is State.UNKNOWN
        assert (await world.ask(close(ask))).state is State.UNKNOWN

    async def test_C3_a_forged_callback_is_refused_and_the_genuine_one_still_comes(self, world: World) -> None:
        if not world.case.told:
            return
        ask, created = await world.created(dials="callback_forged")
        await world.scan(created)
        assert isinstance(await world.next_notice(), BadSignature)
        while isinstance(notice := await world.next_notice(), BadSignature):
            pass  # a channel may know several ways to forge one
        assert isinstance(notice, Notice) and notice.outcome.key == ask.key

    async def test_a_callback_that_comes_five_times_has_one_id(self, world: World) -> None:
        if not world.case.told:
            return
        _, created = await world.created(dials="callback_duplicate")
        await world.scan(created)
        notices = [await world.next_notice() for _ in range(5)]
        assert len({n.event_id for n in notices if isinstance(n, Notice)}) == 1

    async def test_C4_a_wrong_amount_is_told_as_it_was_said(self, world: World) -> None:
        ask, created = await world.created(1250, dials="wrong_amount")
        await world.scan(created)
        notice = await world.payment_told(ask)
        assert isinstance(notice, Notice) and notice.outcome.amount == cny(1249)
        assert (await world.ask(query(ask))).amount == cny(1249)

    async def test_C4_a_callback_meant_for_another_account(self, world: World) -> None:
        """The channel signs for all accounts with one key: it cannot be opened, or it names the other account.  Or each has its own."""
        if not world.case.told:
            return
        async with open_world(world.case, world.simulator) as other:
            ask, created = await other.created()
            other.channel = world.channel
            await other.scan(created)
            told = await other.next_notice()
        if isinstance(told, Notice):
            assert told.outcome.key == ask.key
            assert told.outcome.account_ref and told.outcome.account_ref not in world.config.values()
        else:
            assert isinstance(told, Unreadable | BadSignature)

    async def test_cancel_gives_back_what_was_paid(self, world: World) -> None:
        if not world.can(Operation.CANCEL):
            return
        ask, _ = await world.paid()
        assert (await world.ask(close(ask, cancel=True))).state is State.CLOSED
        [trade] = await world.book()
        assert sum(r["amount"] for r in trade["refunds"]) == 1250
        unpaid, _ = await world.opened()
        expected = State.CLOSED if world.can(Operation.CLOSE) else State.PENDING
        assert (await world.ask(close(unpaid, cancel=True))).state is expected
