"""Asking again: what nobody waits for any more is found out, closed, sent and ended, and silence ends nothing."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from book import shown
from guilder.channels.model import CreatePayment, CreateRefund, Outcome, QueryPayment, QueryRefund, State
from guilder.core import clock
from guilder.merchants.channel_accounts import ChannelAccount
from guilder.payments import asking, cancel, confirm, create, record, refund, sweep
from guilder.payments.model import Attempt, Refund
from guilder.payments.states import AttemptState, IntentStatus, RefundState
from guilder.platform.db import Database
from guilder.platform.environment import Env
from payments.promises import broken
from payments.scenes import DECLINED, INFO, NOT_SENT, Desk, said
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio

NOT_FOUND, UNKNOWN = Outcome(State.NOT_FOUND), Outcome(State.UNKNOWN)


@dataclass
class Teller:
    """A channel that answers by a script, ask for ask, and notes what it was asked."""

    script: list[tuple[type, Outcome]] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)
    rule: Callable[[Any], Outcome] | None = None  # instead of a script
    info = INFO

    def ask(self, ask: Any) -> Generator[Any, Any, Outcome]:
        self.asked.append(ask)
        if self.rule is not None:
            return self.rule(ask)
        expected, outcome = self.script.pop(0)
        assert isinstance(ask, expected), ask
        return outcome
        yield


@pytest.fixture
def teller() -> Teller:
    return Teller()


@pytest.fixture
async def desk(env: Env, teller: Teller, place: Place) -> Desk:
    """A desk whose contract is with the teller; nothing of others is due."""
    async with place.owner() as owner:
        await owner.execute("UPDATE payments.attempt SET ask_at = NULL; UPDATE payments.refund SET ask_at = NULL")
    desk = Desk(env)
    account = ChannelAccount(desk.book, desk.account, "", "platform", teller, "1900000001", "wx1")

    async def load() -> ChannelAccount:
        return account

    await env.cache.get(("channel_account", "test", desk.account), load)
    return desk


async def due(place: Place, attempt: Attempt | Refund, **past: float) -> None:
    """Time passes: it is due to be asked about; with `past`, its expiry lies so far back."""
    table = "attempt" if isinstance(attempt, Attempt) else "refund"
    async with place.owner() as owner:
        await owner.execute(f"UPDATE payments.{table} SET ask_at = now() WHERE id = $1", attempt.id)
        if past:
            await owner.execute(
                "UPDATE payments.attempt SET expires_at = $2 WHERE id = $1", attempt.id, clock.now() - timedelta(**past)
            )


async def test_an_unknown_ends_by_what_the_channel_says(desk: Desk, teller: Teller, env: Env, place: Place) -> None:
    intent, attempt = await desk.confirmed()
    await due(place, attempt)
    teller.script = [(QueryPayment, said(attempt, State.SUCCEEDED))]

    assert await sweep.sweep_attempts(env) == 1
    assert (await desk.look(intent)).status is IntentStatus.SUCCEEDED
    assert await sweep.sweep_attempts(env) == 0


async def test_what_the_channel_does_not_have_is_asked_for_again_under_the_same_key(
    desk: Desk, teller: Teller, env: Env, place: Place
) -> None:
    intent, attempt = await desk.confirmed()
    await due(place, attempt)
    teller.script = [(QueryPayment, NOT_FOUND), (CreatePayment, said(attempt, State.PENDING))]

    await sweep.sweep_attempts(env)

    assert len({a.key for a in teller.asked}) == 1
    assert (await desk.look(intent)).status is IntentStatus.REQUIRES_ACTION


async def test_P3_that_it_was_not_sent_this_time_says_nothing_of_the_first(
    desk: Desk, teller: Teller, env: Env, place: Place
) -> None:
    _, attempt = await desk.confirmed()
    await due(place, attempt)
    teller.script = [(QueryPayment, NOT_FOUND), (CreatePayment, Outcome(State.FAILED, problem=NOT_SENT))]

    await sweep.sweep_attempts(env)

    [now] = await desk.attempts()
    assert (now.state, now.ask_at is not None) == (AttemptState.UNKNOWN, True)


async def test_P3_silence_is_asked_about_again_and_again(
    desk: Desk, teller: Teller, env: Env, place: Place, db: Database
) -> None:
    intent, attempt = await desk.confirmed()
    for n in range(5):
        await due(place, attempt)
        teller.script = [(QueryPayment, UNKNOWN)]
        await sweep.sweep_attempts(env)
        [now] = await desk.attempts()
        assert (now.state, now.asked, now.ask_at is not None) == (AttemptState.UNKNOWN, n + 1, True)
    assert (await desk.look(intent)).status is IntentStatus.PROCESSING
    assert await broken(db, desk.book) == []


async def test_an_expired_try_is_closed_at_the_channel_and_asked_about_once_more(
    desk: Desk, teller: Teller, env: Env, place: Place
) -> None:
    intent, attempt = await desk.confirmed()
    await due(place, attempt, minutes=2)
    teller.script = [(object, said(attempt, State.CLOSED)), (QueryPayment, said(attempt, State.SUCCEEDED))]

    await sweep.sweep_attempts(env)

    assert (await desk.look(intent)).status is IntentStatus.SUCCEEDED, "it was paid in the same moment"


async def test_one_that_fails_harms_no_other_and_is_asked_about_after_its_lease(
    desk: Desk, teller: Teller, env: Env, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = [(await desk.confirmed())[1] for _ in range(2)]
    await due(place, bad)
    await due(place, good)

    def rule(ask: Any) -> Outcome:
        if ask.key == said(bad, State.PENDING).key:
            raise ZeroDivisionError
        return said(good, State.SUCCEEDED)

    teller.rule = rule
    assert await sweep.sweep_attempts(env) == 2

    states = {a.id: (a.state, a.ask_at is not None) for a in await desk.attempts()}
    assert states == {bad.id: (AttemptState.UNKNOWN, True), good.id: (AttemptState.SUCCEEDED, False)}


async def test_a_surplus_is_sent_back_once(desk: Desk, teller: Teller, env: Env, db: Database) -> None:
    _, attempt = await desk.confirmed()
    await desk.run(
        record.record_many, *(desk.heard(attempt, said(attempt, s)) for s in (State.CLOSED, State.SUCCEEDED))
    )
    [back] = await desk.refunds()
    teller.script = [(QueryRefund, NOT_FOUND), (CreateRefund, said(back, State.SUCCEEDED))]

    assert [await sweep.sweep_refunds(env) for _ in range(2)] == [1, 0]
    assert (await shown(db, desk.book), await broken(db, desk.book)) == ({}, [])


async def test_a_refund_that_ended_in_silence_is_asked_about_before_it_is_sent_again(
    desk: Desk, teller: Teller, env: Env, place: Place
) -> None:
    intent, _ = await desk.pay()
    [begun] = await desk.run(refund.begin_many, desk.wish_refund(intent.id, 60))
    await due(place, begun.refund)
    teller.script = [(QueryRefund, said(begun.refund, State.SUCCEEDED))]

    await sweep.sweep_refunds(env)

    assert [r.state for r in await desk.refunds()] == [RefundState.SUCCEEDED]


async def test_a_payment_past_its_time_ends(desk: Desk, env: Env, db: Database) -> None:
    past = clock.now() - timedelta(minutes=1)
    idle, open_ = desk.intent(expires_at=past), desk.intent()
    await desk.run(confirm.begin_many, desk.begin(open_.id, new=open_))
    await desk.run(create.create_many, desk.new(idle))

    await sweep.sweep_expired(env)

    assert [(await desk.look(i)).status for i in (idle, open_)] == [IntentStatus.CANCELED, IntentStatus.PROCESSING]


# --- keys whose runner died --------------------------------------------------------------------------------------------------------


async def dies(place: Place, desk: Desk) -> None:
    async with place.owner() as owner:
        await owner.execute(
            "UPDATE platform.answer SET lease_until = now() - interval '1 s' WHERE book_id = $1", desk.book
        )


@pytest.mark.parametrize("meanwhile", ["succeeded", "closed", "pending", None])
async def test_a_successor_finds_out_what_became_of_a_try_and_asks_no_second_one(
    desk: Desk, teller: Teller, env: Env, place: Place, db: Database, meanwhile: str | None
) -> None:
    intent = desk.intent()
    wish = desk.begin(intent.id, "k1", new=intent)
    [begun] = await desk.run(confirm.begin_many, wish)
    if meanwhile:
        await desk.run(record.record_many, desk.heard(begun.attempt, said(begun.attempt, State(meanwhile))))
    await dies(place, desk)
    teller.script = [] if meanwhile else [(QueryPayment, said(begun.attempt, State.SUCCEEDED))]

    reply = await confirm.confirm(env, wish.key, wish.item)
    again = await confirm.confirm(env, wish.key, wish.item)

    assert (reply.status, again.body, again.replayed) == (200, reply.body, True)
    assert len(await desk.attempts()) == 1
    assert await broken(db, desk.book) == [], "above all: what is decided is not asked about for ever"


async def test_a_successor_of_a_refund_asks_first(
    desk: Desk, teller: Teller, env: Env, place: Place, db: Database
) -> None:
    intent, _ = await desk.pay()
    wish = desk.wish_refund(intent.id, 60, "k1")
    [begun] = await desk.run(refund.begin_many, wish)
    await dies(place, desk)
    teller.script = [(QueryRefund, NOT_FOUND), (CreateRefund, said(begun.refund, State.SUCCEEDED))]

    reply = await refund.refund(env, wish.key, wish.item)

    assert (reply.status, len({a.key for a in teller.asked}), len(await desk.refunds())) == (200, 1, 1)
    assert await broken(db, desk.book) == []


async def test_a_successor_of_a_cancel_cancels(
    desk: Desk, teller: Teller, env: Env, place: Place, db: Database
) -> None:
    intent, attempt = await desk.confirmed()
    wish = desk.cancel(intent.id, "k1")
    [closing] = await desk.run(cancel.begin_many, wish)
    assert isinstance(closing, cancel.Closing)
    await dies(place, desk)
    teller.script = [(object, said(attempt, State.CLOSED)), (QueryPayment, said(attempt, State.CLOSED))]

    reply = await cancel.cancel(env, wish.key, wish.item)

    assert (reply.status, (await desk.look(intent)).status) == (200, IntentStatus.CANCELED)
    assert await broken(db, desk.book) == []


@pytest.mark.parametrize("kind", ["begin", "refund", "cancel"])
async def test_twins_in_one_batch_have_one_effect(desk: Desk, db: Database, kind: str) -> None:
    """The very same wish, key object and all, as a test or a retrying caller may hand it in."""
    intent, _ = await (desk.pay() if kind == "refund" else desk.confirmed() if kind == "cancel" else _unpaid(desk))
    wish: Any = {"begin": desk.begin, "cancel": desk.cancel}.get(kind, desk.wish_refund)(intent.id, key="k1")
    work: Any = {"begin": confirm.begin_many, "cancel": cancel.begin_many, "refund": refund.begin_many}[kind]

    first, *others = await desk.run(work, wish, wish, wish)

    assert type(first).__name__ in ("Begun", "Closing")
    assert [type(o).__name__ for o in others] == ["InFlight"] * 2
    assert await broken(db, desk.book) == []


async def _unpaid(desk: Desk) -> tuple[Any, None]:
    intent = desk.intent()
    await desk.run(create.create_many, desk.new(intent))
    return intent, None


async def _says(outcome: Outcome) -> Outcome:
    return outcome


@pytest.mark.parametrize(
    ("said", "looked", "expected"),
    [
        (Outcome(State.FAILED, problem=NOT_SENT), Outcome(State.NOT_FOUND), "unknown"),
        (
            Outcome(State.FAILED, problem=DECLINED),
            Outcome(State.NOT_FOUND),
            "failed",
        ),  # the channel has nothing under our key
        (Outcome(State.FAILED, problem=DECLINED), Outcome(State.NOT_FOUND, unasked=True), "unknown"),
        (Outcome(State.FAILED, problem=DECLINED), UNKNOWN, "unknown"),
        (
            Outcome(State.FAILED, problem=DECLINED),
            Outcome(State.SUCCEEDED),
            "succeeded",
        ),  # what was asked for before was done
        (
            Outcome(State.FAILED, problem=DECLINED, memo="pi_1"),
            Outcome(State.SUCCEEDED),
            "failed",
        ),  # it names what it is about
        (Outcome(State.PENDING), Outcome(State.SUCCEEDED), "pending"),
    ],
)
async def test_P3_the_refusal_of_a_repetition_proves_nothing_by_itself(
    said: Outcome, looked: Outcome, expected: str
) -> None:
    assert (await asking.again(said, lambda: _says(looked))).state.value == expected
