"""PayPal's adapter against its simulator, where the suite that all channels share does not look."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from guilder.channels.model import (
    CreatePayout,
    DisputeState,
    LineKind,
    Notice,
    Outcome,
    QueryPayout,
    Retry,
    State,
    StatementError,
    StatementKind,
    StatementProblem,
    Subject,
    SubmitEvidence,
)
from guilder.conformance.payers import close, new_key, query
from guilder.conformance.suite import Case, World, open_world, refund
from guilder.core.amount import Amount, cny
from guilder.core.clock import now

pytestmark = pytest.mark.anyio

CASE = Case("paypal", "checkout", refunds_at_once=True, options={"currency": "CNY"})
PAYEE = {"email": "payee@example.com"}
SILENT = ["silence_before", "silence_after", "error_before", "error_after", "garbage", "bad_signature"]


@pytest.fixture
async def world(simulator: str) -> AsyncIterator[World]:
    async with open_world(CASE, simulator) as world:
        yield world


async def approved(world: World, dials: str = ""):
    ask, created = await world.created(dials=dials)
    await world.scan(created)
    return ask


@pytest.mark.parametrize("dial", SILENT)
async def test_a_capture_without_a_believable_answer_happens_once(world: World, dial: str):
    ask = await approved(world, f"capture:{dial}")
    assert (await world.ask(query(ask))).state is State.UNKNOWN
    assert (await world.ask(query(ask))).state is State.SUCCEEDED
    [trade] = await world.book()
    assert (trade["state"], trade["captured"]) == ("paid", 1250)


async def test_however_many_ask_at_once_it_is_captured_once(world: World):
    ask = await approved(world)
    outcomes = await asyncio.gather(*(world.ask(query(ask)) for _ in range(12)))
    assert {o.state for o in outcomes} == {State.SUCCEEDED} and len({o.channel_ref for o in outcomes}) == 1
    told = await world.next_notice()
    assert isinstance(told, Notice) and told.outcome.state is State.SUCCEEDED


async def test_a_close_and_a_query_at_once_agree_in_the_end(world: World):
    ask = await approved(world)
    await asyncio.gather(*(world.ask(a) for a in (close(ask), query(ask), close(ask), query(ask))))
    ends = {(await world.ask(query(ask))).state for _ in range(3)}
    [trade] = await world.book()
    assert ends == ({State.SUCCEEDED} if trade["state"] == "paid" else {State.CLOSED})


async def test_a_payer_who_agrees_after_the_close_is_not_charged(world: World):
    ask, created = await world.opened()
    assert (await world.ask(close(ask))).state is State.CLOSED
    await world.scan(created)
    assert (await world.ask(query(ask))).state is State.CLOSED
    [trade] = await world.book()
    assert (trade["state"], trade["captured"]) == ("held", 0)


async def test_a_lost_webhook_is_made_up_for_by_asking(world: World):
    ask = await approved(world, "callback_lost")
    assert (await world.ask(query(ask))).state is State.SUCCEEDED
    assert world.heard.empty()


async def test_a_declined_payment_fails_for_good(world: World):
    ask = await approved(world, "capture:decline")
    outcome = await world.ask(query(ask))
    assert (outcome.state, outcome.problem and outcome.problem.retry) == (State.FAILED, Retry.NEW_KEY)
    assert (await world.ask(query(ask))).state is State.CLOSED
    [trade] = await world.book()
    assert trade["state"] == "declined"


async def test_an_order_that_nobody_approves_is_forgotten(world: World):
    ask, _ = await world.created()
    await world.control("clock", offset_s=4 * 3600)
    try:
        assert (await world.ask(query(ask))).state is State.NOT_FOUND
    finally:
        await world.control("clock", offset_s=0)


@pytest.mark.parametrize(
    ("dials", "state"),
    [
        ("refund:refund_processing=0.2", State.SUCCEEDED),
        ("refund:refund_processing=0.2,refund:refund_fail", State.FAILED),
    ],
)
async def test_a_refund_that_takes_its_time(world: World, dials: str, state: State):
    ask, _ = await world.paid(dials=dials)
    back = refund(world.notify_url, ask, 500)
    assert (await world.ask(back)).state is State.PENDING
    assert (await world.finished(back)).state is state
    told = await world.next_notice()
    assert isinstance(told, Notice) and (told.subject, told.outcome.state, told.outcome.key) == (
        Subject.REFUND,
        state,
        back.key,
    )


async def test_a_refund_is_found_without_its_own_memo(world: World):
    ask, _ = await world.paid()
    back = refund(world.notify_url, ask, 500)
    await world.ask(back)
    del world.memory.memos[back.key]
    assert (await world.finished(back)).key == back.key


async def paid_out(world: World, ask: CreatePayout) -> Outcome:
    """Ask what became of a payout until it has ended."""
    async with asyncio.timeout(20):
        while (outcome := await world.ask(QueryPayout(ask.key, ask.amount, ask.created_at))).state is State.PENDING:
            await asyncio.sleep(0.05)
    return outcome


@pytest.mark.parametrize("dial", ["", "payout_processing=0.3", *SILENT])
async def test_a_payout_is_paid_once(world: World, dial: str):
    ask = CreatePayout(new_key(), cny(700), PAYEE, "奖金", "", now(), f"sim:payout:{dial}" if dial else None)
    first = await world.ask(ask)
    assert first.state is (State.UNKNOWN if dial in SILENT else State.PENDING)
    assert (await world.ask(ask)).state in (State.PENDING, State.SUCCEEDED)
    done = await paid_out(world, ask)
    assert (done.state, done.key, done.amount, done.fee) == (State.SUCCEEDED, ask.key, cny(700), cny(25))
    told = await world.next_notice()
    assert isinstance(told, Notice) and (told.subject, told.outcome.state, told.outcome.key) == (
        Subject.PAYOUT,
        State.SUCCEEDED,
        ask.key,
    )


async def test_a_payout_that_fails(world: World):
    ask = CreatePayout(new_key(), cny(700), PAYEE, "奖金", "", now(), "sim:payout:payout_fail")
    await world.ask(ask)
    done = await paid_out(world, ask)
    assert done.state is State.FAILED and done.problem and done.problem.channel_code == "RECEIVER_ACCOUNT_LOCKED"


async def test_a_payout_that_nobody_claims_stays_open(world: World):
    ask = CreatePayout(new_key(), cny(700), {"email": "unclaimed@example.com"}, "奖金", "", now())
    await world.ask(ask)
    outcome = await world.ask(QueryPayout(ask.key, ask.amount, ask.created_at))
    assert (outcome.state, outcome.memo) == (State.PENDING, world.memory.memos[ask.key])


async def dispute(world: World) -> Notice:
    _, notice = await world.paid()
    headers = {"Authorization": f"Bearer {world.channel._door._token}"}  # type: ignore[attr-defined]
    about = {"disputed_transactions": [{"seller_transaction_id": notice.outcome.channel_ref}], "reason": "UNAUTHORISED"}
    async with world.session.post(f"{world.simulator}/v1/customer/disputes", json=about, headers=headers) as said:
        assert said.status == 201
    told = await world.next_notice()
    assert isinstance(told, Notice) and told.outcome.key == notice.outcome.key
    return told


@pytest.mark.parametrize(("accept", "state"), [(False, DisputeState.UNDER_REVIEW), (True, DisputeState.LOST)])
async def test_a_dispute_is_told_and_answered_once(world: World, accept: bool, state: DisputeState):
    told = await dispute(world)
    found = told.outcome.dispute
    assert told.subject is Subject.DISPUTE and found
    assert (found.state, found.amount, found.reason) == (DisputeState.NEEDS_RESPONSE, cny(1250), "fraudulent")
    assert found.due_at and found.due_at - now() > timedelta(days=9)
    ask = SubmitEvidence(found.ref, {"shipping_tracking_number": "1Z", "uncategorized_text": "delivered"}, accept)
    for _ in ("once", "and again"):
        outcome = await world.ask(ask)
        assert outcome.dispute and outcome.dispute.state is state
    heard = await world.next_notice()
    assert isinstance(heard, Notice) and heard.outcome.dispute and heard.outcome.dispute.state is state


@pytest.mark.parametrize("corrupt", ["", "hash", "totals", "truncate"])
async def test_the_settlement_report_has_every_row(world: World, corrupt: str):
    ask, _ = await world.paid(1000)
    back = refund(world.notify_url, ask, 400)
    await world.ask(back)
    payout = CreatePayout(new_key(), cny(300), PAYEE, "奖金", "", now())
    await world.ask(payout)
    await paid_out(world, payout)
    with pytest.raises(StatementError) as caught:
        await world.statement(StatementKind.FUNDS)
    assert caught.value.problem is StatementProblem.NOT_READY
    await world.control(f"accounts/{world.account}/close-day", day=world.day.isoformat(), corrupt=corrupt)
    if corrupt:
        with pytest.raises(StatementError) as caught:
            await world.statement(StatementKind.FUNDS)
        assert caught.value.problem is StatementProblem.CORRUPT
        return
    funds, trades = await world.statement(StatementKind.FUNDS), await world.statement()
    told = {(line.kind, line.key, line.amount.units, line.fee) for line in funds.lines}
    assert told == {(line.kind, line.key, line.amount.units, line.fee) for line in trades.lines}
    assert told == {
        (LineKind.PAYMENT, ask.key, 1000, 6),
        (LineKind.REFUND, back.key, 400, -2),
        (LineKind.PAYOUT, payout.key, 300, 25),
    }
    assert funds.totals == trades.totals


@pytest.mark.parametrize("currency", ["JPY", "HUF", "EUR"])
async def test_a_payment_and_its_statements_in(simulator: str, currency: str):
    async with open_world(replace(CASE, options={"currency": currency}), simulator) as world:
        ask = replace(world.create(), amount=Amount(120_000, currency))
        await world.scan(await world.ask(ask))
        told = await world.next_notice()
        assert isinstance(told, Notice) and told.outcome.amount == Amount(120_000, currency)
        await world.control(f"accounts/{world.account}/close-day", day=world.day.isoformat())
        for kind in StatementKind:
            [line] = (await world.statement(kind)).lines
            assert (line.key, line.amount) == (ask.key, Amount(120_000, currency))


async def test_a_token_of_another_account_opens_nothing(world: World, simulator: str):
    ask, _ = await world.created()
    async with open_world(CASE, simulator) as other:
        other.memory = world.memory
        assert (await other.ask(query(ask))).state is State.NOT_FOUND
