"""Held and captured: what a channel holds is collected once, all of it or less, or let go."""

from typing import Any

import msgspec
import pytest

from changed import replace
from guilder.channels.model import Outcome, State
from guilder.core.amount import cny
from guilder.payments import cancel, capture, record, refund
from guilder.payments.model import Attempt, Intent
from guilder.payments.states import AttemptState, IntentStatus
from guilder.platform import outbox
from guilder.platform.db import Database
from guilder.platform.idempotency import Asked, Reply
from guilder.platform.sql import Query
from payments.scenes import NOT_SENT, Desk, an_env, said

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio
A, S = AttemptState, IntentStatus


@pytest.fixture
def desk(db: Database) -> Desk:
    outbox.register(())
    return Desk(an_env(db))


async def held(desk: Desk, amount: int = 100) -> tuple[Intent, Attempt]:
    intent, attempt = await desk.confirmed(amount, extra={"capture_method": "manual"})
    assert attempt.hold
    await hear(desk, attempt, State.AUTHORISED)
    return intent, attempt


async def hear(desk: Desk, attempt: Attempt, state: State, **over: Any) -> Any:
    [recorded] = await desk.run(record.record_many, desk.heard(attempt, said(attempt, state, **over)))
    return recorded


def wish(desk: Desk, intent: Intent, units: int | None = None, key: str | None = None) -> Asked[capture.Capture]:
    return Asked(desk.key(key), capture.Capture(desk.book, intent.id, units, {}, desk.by(), desk.face))


async def begin(desk: Desk, *wishes: Asked[capture.Capture]) -> list[Any]:
    return await desk.run(capture.begin_many, *wishes)


async def booked(desk: Desk) -> list[tuple[str, int]]:
    rows = await desk.db.rows(
        Query("b", "SELECT rule, units FROM ledger.line WHERE book_id = $1 ORDER BY journal_id"), desk.book
    )
    return [(r["rule"], r["units"]) for r in rows]


async def test_what_is_held_is_in_no_book(desk: Desk):
    intent, _ = await held(desk)

    now = await desk.look(intent)
    assert (now.status, now.charge_id, await booked(desk)) == (S.REQUIRES_CAPTURE, None, [])


@pytest.mark.parametrize("units", [None, 100, 60, 1])
async def test_what_is_captured_is_collected_and_nothing_else(desk: Desk, units: int | None):
    intent, attempt = await held(desk)
    [begun] = await begin(desk, wish(desk, intent, units))
    collected = 100 if units is None else units
    for _ in range(2):  # told twice
        await hear(desk, attempt, State.SUCCEEDED, amount=cny(collected))

    now = await desk.look(intent)
    assert (begun.attempt.capture, now.status, now.received) == (collected, S.SUCCEEDED, collected)
    assert await booked(desk) == [("charge", collected)]
    [more] = await desk.run(refund.begin_many, desk.wish_refund(intent.id, collected + 1))
    assert isinstance(more, Reply) and more.status == 400
    [back] = await desk.run(refund.begin_many, desk.wish_refund(intent.id))
    assert back.refund.amount == collected


async def test_another_amount_than_was_captured_is_a_case(desk: Desk):
    intent, attempt = await held(desk)
    await begin(desk, wish(desk, intent, 60))
    recorded = await hear(desk, attempt, State.SUCCEEDED, amount=cny(100))

    assert recorded.case is not None and recorded.case.kind == "amount_mismatch"
    assert await booked(desk) == []


async def test_more_than_is_held_is_refused_and_twice_is_refused(desk: Desk):
    intent, _ = await held(desk)
    [over] = await begin(desk, wish(desk, intent, 101))
    first, second = await begin(desk, wish(desk, intent, 60), wish(desk, intent, 60))

    assert (over.status, msgspec.json.decode(over.body)["error"]["param"]) == (400, "amount_to_capture")
    assert isinstance(first, capture.Begun) and isinstance(second, Reply) and second.status == 400


async def test_a_capture_that_did_not_leave_is_asked_for_again(desk: Desk):
    intent, attempt = await held(desk)
    await begin(desk, wish(desk, intent, 60))
    await hear(desk, attempt, State.FAILED, problem=NOT_SENT)

    [now] = await desk.attempts(intent.id)
    assert (now.state, now.capture, now.ask_at is not None) == (A.AUTHORISED, 60, True)
    assert (await desk.look(intent)).status is S.PROCESSING


async def test_a_refused_capture_leaves_it_held(desk: Desk):
    intent, attempt = await held(desk)
    await begin(desk, wish(desk, intent, 60))
    [_] = await desk.run(
        record.record_many, desk.heard(attempt, said(attempt, State.FAILED, amount=cny(60)), "capture")
    )

    [now] = await desk.attempts(intent.id)
    assert (now.state, now.capture, (await desk.look(intent)).status) == (A.AUTHORISED, None, S.REQUIRES_CAPTURE)
    [again] = await begin(desk, wish(desk, intent, 40))
    assert isinstance(again, capture.Begun) and again.attempt.capture == 40


async def test_a_hold_that_the_channel_ends_asks_for_another_way(desk: Desk):
    intent, attempt = await held(desk)
    await hear(desk, attempt, State.CLOSED)

    assert (await desk.look(intent)).status is S.REQUIRES_PAYMENT_METHOD and await booked(desk) == []


async def test_cancel_lets_go_of_what_is_held(desk: Desk):

    intent, attempt = await held(desk)
    [closing] = await desk.run(cancel.begin_many, desk.cancel(intent.id))
    await hear(desk, attempt, State.CLOSED)

    assert [a.id for a in closing.attempts] == [attempt.id]
    assert (await desk.look(intent)).status is S.CANCELED and await booked(desk) == []


@pytest.mark.parametrize("state", [State.PENDING, State.UNKNOWN, State.NOT_FOUND])
async def test_silence_about_what_is_held_changes_nothing(desk: Desk, state: State):
    intent, attempt = await held(desk)
    await hear(desk, attempt, state)

    [now] = await desk.attempts(intent.id)
    assert (now.state, (await desk.look(intent)).status) == (A.AUTHORISED, S.REQUIRES_CAPTURE)


async def test_held_where_it_was_to_be_collected_is_a_case(desk: Desk):
    _, attempt = await desk.confirmed(100)
    recorded = await hear(desk, attempt, State.AUTHORISED)

    assert recorded.case is not None and recorded.case.kind == "held_not_collected"


async def test_held_after_the_end_is_a_case(desk: Desk):
    _, attempt = await desk.confirmed(100, extra={"capture_method": "manual"})
    await hear(desk, attempt, State.CLOSED)
    recorded = await hear(desk, attempt, State.AUTHORISED)

    assert recorded.case is not None and recorded.case.kind == "late_hold"


async def test_the_memo_is_kept_and_given_back(desk: Desk):
    intent, attempt = await desk.confirmed(100)
    outcome: Outcome = replace(said(attempt, State.PENDING), memo="order-1")
    await desk.run(record.record_many, desk.heard(attempt, outcome))

    [now] = await desk.attempts(intent.id)
    assert now.memo == "order-1"
