"""The life of a payment: P1 to P5 in every state, for every outcome, through every door, in every order."""

from datetime import timedelta
from itertools import permutations, product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from changed import replace
from guilder.channels.model import State
from guilder.core import clock
from guilder.core.errors import GuilderError
from guilder.payments import confirm, doubts, life, life_refund, refund
from guilder.payments.states import (
    ATTEMPT_NEXT,
    INTENT_NEXT,
    OPEN_ATTEMPT,
    REFUND_NEXT,
    AttemptState,
    IntentStatus,
    RefundState,
)
from guilder.platform.idempotency import Reply
from payments.room import Room, contradictions
from payments.scenes import NOT_SENT, said

A, S, R = AttemptState, IntentStatus, RefundState
DOORS = ("reply", "callback", "query", "close")
STATES = [s.value for s in State]


def asked(late_success: str = "refund", funds: str = "platform") -> tuple[Room, Any]:
    """A payment whose channel is being asked."""
    room = Room(late_success, funds)
    begun = room.begin()
    assert isinstance(begun, confirm.Begun)
    return room, begun.attempt


def paid() -> tuple[Room, Any]:
    room, attempt = asked()
    room.say(attempt, "succeeded")
    return room, attempt


def refunding(units: int | None = None) -> tuple[Room, Any]:
    room, _ = paid()
    begun = room.refund(units)
    assert isinstance(begun, refund.Begun)
    return room, begun.refund


# --- one success -------------------------------------------------------------------------------------------------------------


def test_P1_a_success_is_booked_in_the_same_breath() -> None:
    room, attempt = paid()

    assert (attempt.state, room.intent.status, room.intent.charge_id) == (A.SUCCEEDED, S.SUCCEEDED, room.charges[0].id)
    assert room.balances == {"receivable": -100, "payable": 100}
    assert [e.type for e in room.events] == ["charge.succeeded", "payment_intent.succeeded"]


def test_P1_money_that_the_channel_settles_to_the_merchant_is_no_liability_of_ours() -> None:
    room, attempt = asked(funds="merchant")
    room.say(attempt, "succeeded")

    assert room.balances == {"receivable": -100, "own": 100}


@pytest.mark.parametrize("door", DOORS)
def test_NT04_told_fifty_times_it_counts_once(door: str) -> None:
    room, attempt = asked()
    for _ in range(50):
        assert room.say(attempt, "succeeded", door) is None

    assert (room.booked, len(room.charges), len(room.events)) == (["charge"], 1, 2)


@pytest.mark.parametrize("rule", ["refund", "accept"])
def test_NT05_in_whatever_order_it_is_told_the_money_is_booked_once(rule: str) -> None:
    words = ("succeeded", "succeeded", "failed", "pending", "closed", "unknown")
    for order in set(permutations(words)):
        room, attempt = asked(rule)
        for word in order:
            room.say(attempt, word)

        ended_first = min(order.index("failed"), order.index("closed")) < order.index("succeeded")
        assert attempt.state is (A.SURPLUS if ended_first else A.SUCCEEDED), order
        assert room.booked == (
            ["charge"] if not ended_first else ["surplus"] if rule == "refund" else ["surplus", "surplus_accepted"]
        ), order
        assert room.balances["receivable"] == -100, order


def test_a_success_without_a_time_is_dated_now() -> None:
    room, attempt = asked()
    room.hear(attempt, said(attempt, State.SUCCEEDED, at=None))

    assert clock.now() - room.charges[0].paid_at < timedelta(minutes=1)


@pytest.mark.parametrize("door", DOORS)
def test_whoever_calls_back_without_having_collected_is_asked_at_once(door: str) -> None:
    """PayPal tells that a payer has approved, and collects when it is asked next."""
    room, attempt = asked()
    room.say(attempt, "pending", door)

    wait = attempt.ask_at - clock.now()
    assert wait <= timedelta(0) if door == "callback" else wait > timedelta(seconds=1)


# --- second and late successes ---------------------------------------------------------------------------------------------------


def two_tries(late_success: str = "refund") -> tuple[Room, Any, Any]:
    """The payer was shown a code, and then chose again."""
    room, first = asked(late_success)
    room.say(first, "pending")
    second = room.begin().attempt
    return room, first, second


def test_P2_both_tries_are_paid_one_charge_and_one_surplus_that_goes_back() -> None:
    room, first, second = two_tries()
    assert first.close_wanted, "the older one is to be closed"
    room.say(second, "pending")
    room.say(first, "succeeded")
    assert second.close_wanted, "it is paid for"
    room.say(second, "succeeded")

    assert (first.state, second.state, room.booked) == (A.SUCCEEDED, A.SURPLUS, ["charge", "surplus"])
    [back] = room.refunds
    assert (back.charge_id, back.attempt_id, back.amount) == (None, second.id, 100)
    room.say(back, "succeeded")
    assert room.balances == {"receivable": -100, "payable": 100}


@pytest.mark.parametrize("end", ["closed", "failed"])
def test_P2_a_success_after_the_end_goes_back(end: str) -> None:
    room, attempt = asked()
    room.say(attempt, end)
    room.say(attempt, "succeeded")

    assert (room.intent.status, room.balances) == (S.REQUIRES_PAYMENT_METHOD, {"receivable": -100, "surplus": 100})
    room.say(room.refunds[0], "succeeded")
    assert room.balances == {}


@pytest.mark.parametrize("canceled", [True, False])
def test_P2_a_success_after_the_end_revives_the_payment_where_the_merchant_says_so(canceled: bool) -> None:
    room, attempt = asked("accept")
    if canceled:
        room.cancel()
    room.say(attempt, "closed")
    assert room.intent.status is (S.CANCELED if canceled else S.REQUIRES_PAYMENT_METHOD)
    room.say(attempt, "succeeded")

    assert (attempt.state, room.intent.status, room.refunds) == (A.SURPLUS, S.SUCCEEDED, [])
    assert room.balances == {"receivable": -100, "payable": 100}
    assert room.intent.canceled_at is None
    assert isinstance(room.refund(60), refund.Begun), "and can be refunded as any other"


def test_P2_a_late_success_that_is_accepted_closes_the_try_that_took_its_place() -> None:
    room, first = asked("accept")
    room.say(first, "closed")
    second = room.begin().attempt
    room.say(second, "pending")
    room.say(first, "succeeded")

    assert (room.intent.status, room.intent.attempt_id) == (S.SUCCEEDED, first.id)
    assert second.close_wanted
    room.say(second, "succeeded")
    assert room.booked == ["surplus", "surplus_accepted", "surplus"]


def test_P2_a_second_payment_under_one_key_is_a_case_and_is_not_booked() -> None:
    room, attempt = paid()
    case = room.hear(attempt, said(attempt, State.SUCCEEDED, channel_ref="another"))

    assert case is not None and case.kind == "second_channel_ref"
    assert room.booked == ["charge"]


def test_a_charge_names_the_way_that_was_paid_and_not_the_one_chosen_last() -> None:
    room, first, _ = two_tries()
    room.intent.method_type = "alipay"
    room.say(first, "succeeded")

    assert room.charges[0].method_type == "wechat_pay"


# --- P3: only an answer ends an attempt ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "door"), list(product(("unknown", "not_found", "pending"), DOORS)))
def test_P3_silence_ends_nothing_however_often(word: str, door: str) -> None:
    began = clock.now()
    room, attempt = asked()
    for _ in range(30):
        attempt.asked += 1
        room.say(attempt, word, door)

    assert attempt.state in OPEN_ATTEMPT and attempt.ask_at is not None and attempt.ask_at > began


def test_P3_it_is_asked_for_ever_and_a_person_hears_of_it_after_a_day() -> None:
    room, attempt = asked()
    attempt.expires_at = clock.now() - timedelta(days=2)
    room.say(attempt, "unknown", "query")

    assert (attempt.state, [c.kind for c in room.cases]) == (A.UNKNOWN, ["unresolved_attempt"])
    assert attempt.ask_at is not None and attempt.ask_at - clock.now() > timedelta(minutes=59)


def test_the_schedule_never_skips_the_expiry() -> None:
    room, attempt = asked()
    attempt.expires_at = clock.now() + timedelta(seconds=20)
    for asked_before in range(6):
        attempt.asked = asked_before
        room.say(attempt, "pending", "query")
        assert attempt.ask_at is not None and attempt.ask_at <= attempt.expires_at + timedelta(seconds=1)


# --- P5: contradictions ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["amount_mismatch", "amount_missing", "currency_mismatch", "key_mismatch", "account_mismatch",
                                  "account_mismatch (app)", "account_mismatch (ours)"])  # fmt: skip
@pytest.mark.parametrize("before", [None, "pending", "closed", "failed", "succeeded"])
def test_P5_what_contradicts_the_attempt_credits_nothing(kind: str, before: str | None) -> None:
    room, attempt = asked()
    if before is not None:
        room.say(attempt, before)
    state, status, booked = attempt.state, room.intent.status, room.booked
    outcome, contract = contradictions(attempt)[kind]

    case = room.hear(attempt, outcome, **contract)

    assert case is not None and case.kind == kind.partition(" ")[0]
    if (
        before == "pending" and kind in doubts.PAID_OTHERWISE
    ):  # its money moved: nobody may pay again until a person has looked
        state, status = AttemptState.UNKNOWN, IntentStatus.PROCESSING
    assert (attempt.state, room.intent.status, room.booked) == (state, status, booked)
    if state in OPEN_ATTEMPT:
        room.say(attempt, "succeeded")
        assert room.booked == ["charge"], "the truth is believed afterwards"


@pytest.mark.parametrize("word", ["failed", "closed", "pending"])
def test_P5_a_false_end_ends_nothing(word: str) -> None:
    room, attempt = asked()
    outcome = replace(said(attempt, State(word)), account_ref="1900000002")

    assert room.hear(attempt, outcome) is not None
    assert attempt.state is A.UNKNOWN


def test_P5_a_refund_is_held_to_what_was_asked() -> None:
    room, r = refunding(60)
    for wrong in ({"amount": replace(r.money, units=61)}, {"key": "0" * 32}, {"account_ref": "1900000002"}):
        case = room.hear_refund(r, replace(said(r, State.SUCCEEDED), **wrong))
        assert case is not None and r.state is R.UNKNOWN
    assert room.hear_refund(r, replace(said(r, State.SUCCEEDED), amount=None)) is None, (
        "its key is its own: the amount may be left out"
    )
    assert r.state is R.SUCCEEDED


# --- refunds ---------------------------------------------------------------------------------------------------------------------------


def test_P4_refunds_never_exceed_the_charge() -> None:
    room, _ = paid()
    answers = [room.refund(units) for units in (60, 60, 40, 1, None)]

    assert [type(a) for a in answers] == [refund.Begun, Reply, refund.Begun, Reply, Reply]
    assert [a.status for a in answers if isinstance(a, Reply)] == [400] * 3
    assert room.charges[0].refunded == 100


def test_P4_a_refund_that_fails_is_released_once() -> None:
    room, r = refunding(60)
    for _ in range(3):
        room.say(r, "failed")

    assert (r.state, room.charges[0].refunded) == (R.FAILED, 0)
    assert isinstance(room.refund(100), refund.Begun)


@pytest.mark.parametrize("order", list(permutations(["pending", "unknown", "succeeded", "succeeded", "not_found"])))
def test_NT05_a_refund_is_booked_once_in_whatever_order_it_is_told(order: tuple[str, ...]) -> None:
    room, r = refunding(60)
    for word in order:
        room.say(r, word)

    assert (r.state, room.booked) == (R.SUCCEEDED, ["charge", "refund"])
    assert room.balances == {"receivable": -40, "payable": 40}


@pytest.mark.parametrize(("first", "then"), [("failed", "succeeded"), ("succeeded", "failed")])
def test_a_refund_whose_end_changes_is_a_case_for_a_person(first: str, then: str) -> None:
    """The channel had refused and gave the money back after all (or the other way): we have told the merchant otherwise."""
    room, r = refunding(60)
    room.say(r, first)
    case = room.say(r, then)

    assert case is not None and case.kind == "refund_end_changed"
    assert r.state.value == first
    assert [c.kind for c in room.cases] == [*["refund_failed"] * (first == "failed"), "refund_end_changed"]


@pytest.mark.parametrize("word", ["failed", "closed"])
def test_a_refund_that_the_channel_closed_has_failed(word: str) -> None:
    room, r = refunding(60)
    room.hear_refund(r, said(r, State(word), problem=None))

    assert (r.state, room.charges[0].refunded) == (R.FAILED, 0)


def test_a_refund_that_was_not_sent_is_sent_again() -> None:
    room, r = refunding(60)
    room.hear_refund(r, said(r, State.FAILED, problem=NOT_SENT))

    assert (r.state, room.charges[0].refunded, r.ask_at is not None) == (R.UNKNOWN, 60, True)


@pytest.mark.parametrize("word", ["failed", "closed"])
def test_a_surplus_that_the_channel_does_not_take_back_stays_ours_to_give(word: str) -> None:
    room, attempt = asked()
    room.say(attempt, "closed")
    room.say(attempt, "succeeded")
    [back] = room.refunds
    room.say(back, word)

    assert (back.state, back.ask_at is not None, [c.kind for c in room.cases]) == (
        R.UNKNOWN,
        True,
        ["surplus_refund_refused"],
    )
    assert room.balances == {"receivable": -100, "surplus": 100}


# --- cancel ------------------------------------------------------------------------------------------------------------------------------


def test_a_cancel_waits_for_the_channels_word() -> None:
    room, attempt = asked()
    room.say(attempt, "pending")
    room.cancel()
    assert (room.intent.status, attempt.close_wanted) == (S.REQUIRES_ACTION, True)
    assert isinstance(room.begin(), Reply), "no new try may begin"
    room.say(attempt, "closed", "close")

    assert (room.intent.status, room.intent.cancel_reason) == (S.CANCELED, "abandoned")


def test_a_cancel_that_comes_too_late_succeeds_as_a_payment() -> None:
    room, attempt = asked()
    room.cancel()
    room.say(attempt, "succeeded", "close")

    assert (room.intent.status, room.intent.cancel_wanted_at, room.booked) == (S.SUCCEEDED, None, ["charge"])


@pytest.mark.parametrize("end", ["closed", "failed"])
def test_a_cancel_that_waits_for_an_older_try_ends_with_it(end: str) -> None:
    """The latest try has failed already, an older one is still open at its channel: nobody else would end the payment."""
    room, first, second = two_tries()
    room.say(second, "failed")
    room.cancel()
    assert room.intent.status is S.REQUIRES_PAYMENT_METHOD
    room.say(first, end)

    assert (room.intent.status, room.intent.cancel_wanted_at) == (S.CANCELED, None)
    assert [e.type for e in room.events].count("payment_intent.canceled") == 1


def test_an_expired_payment_ends_with_its_last_try() -> None:
    room, attempt = asked()
    room.intent.expires_at = clock.now() - timedelta(seconds=1)
    room.say(attempt, "closed")

    assert (room.intent.status, room.intent.cancel_reason) == (S.CANCELED, "expired")


# --- every combination, and every story ---------------------------------------------------------------------------------------------------

LATEST = [
    *product(OPEN_ATTEMPT, (S.PROCESSING, S.REQUIRES_ACTION)), *product((A.FAILED, A.CLOSED), (S.REQUIRES_PAYMENT_METHOD, S.CANCELED)),
    (A.SUCCEEDED, S.SUCCEEDED), *product((A.SURPLUS,), (S.REQUIRES_PAYMENT_METHOD, S.CANCELED, S.SUCCEEDED)),
]  # fmt: skip


@pytest.mark.parametrize("rule", ["refund", "accept"])
@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize("latest", [True, False])
def test_no_outcome_is_impossible_in_any_state(rule: str, wanted: bool, latest: bool) -> None:
    """Every state of an attempt, every status beside it, every outcome, every door: it is decided, along the tables."""
    tried = 0
    combinations = LATEST if latest else list(product(A, S))
    for (state, status), word, door in product(combinations, [*STATES, "wrong amount"], DOORS):
        room = Room(rule)
        attempt = room.begin().attempt
        attempt.state, room.intent.status = state, status
        attempt.ask_at = clock.now() if state in OPEN_ATTEMPT else None
        attempt.paid_at = clock.now() if state in (A.SUCCEEDED, A.SURPLUS) else None
        attempt.channel_ref = said(attempt, State.SUCCEEDED).channel_ref if attempt.paid_at else None
        room.intent.cancel_wanted_at = clock.now() if wanted and status not in (S.SUCCEEDED, S.CANCELED) else None
        if not latest:
            room.intent.attempt_id = room.desk.account
        scene = room._scene(door)
        outcome = (
            contradictions(attempt)["amount_mismatch"][0] if word == "wrong amount" else said(attempt, State(word))
        )
        life.hear_payment(scene, room.intent, attempt, outcome, room.desk.contract)
        assert attempt.state is state or attempt.state in ATTEMPT_NEXT[state]
        assert room.intent.status is status or room.intent.status in INTENT_NEXT[status]
        assert (len(scene.changes.journals) > 0) == (
            attempt.paid_at is not None and state not in (A.SUCCEEDED, A.SURPLUS)
        )
        tried += 1
    assert tried >= 200


@pytest.mark.parametrize("state", list(R))
def test_no_outcome_is_impossible_of_a_refund(state: RefundState) -> None:
    for word, door, of_surplus in product(STATES, DOORS, (False, True)):
        room, r = refunding(60)
        r.state, charge = state, None if of_surplus else room.charges[0]
        r.charge_id = None if of_surplus else r.charge_id
        scene = room._scene(door)
        life_refund.hear_refund(scene, room.intent, charge, r, said(r, State(word)), room.desk.contract)
        assert r.state is state or r.state in REFUND_NEXT[state]


tries = st.sampled_from([0, 0, 1, 1, 2, 3])
words = st.sampled_from([*STATES, "wrong amount"])
steps = st.one_of(
    st.just(("begin",)), st.just(("cancel",)),
    st.tuples(st.just("hear"), tries, words, st.sampled_from(DOORS)), st.tuples(st.just("hear"), tries, words, st.sampled_from(DOORS)),
    st.tuples(st.just("refund"), st.sampled_from([None, 1, 60, 100])), st.tuples(st.just("hear refund"), tries, words, st.sampled_from(DOORS)),
)  # fmt: skip


@settings(max_examples=600, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
@given(st.sampled_from(["refund", "accept"]), st.lists(steps, min_size=4, max_size=30))
def test_every_story_keeps_the_promises_after_every_step(rule: str, story: list[Any]) -> None:
    room = Room(rule)
    room.begin()
    for kind, *how in story:
        if kind in ("begin", "cancel"):
            getattr(room, kind)()
        elif kind == "refund":
            answer = room.refund(*how)
            assert not isinstance(answer, GuilderError)
        else:
            things = room.attempts if kind == "hear" else room.refunds
            if how[0] < len(things):
                room.say(things[how[0]], *how[1:])


@pytest.mark.parametrize("table", [ATTEMPT_NEXT, INTENT_NEXT, REFUND_NEXT])
def test_the_tables_are_whole(table: dict[Any, frozenset[Any]]) -> None:
    kind = type(next(iter(table)))
    assert table.keys() == set(kind)
    assert all(following <= set(kind) and state not in following for state, following in table.items())
