"""Stripe: what is asked, and what each answer amounts to.  Conversations on a scripted wire."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from scripted import EXPIRES, KEY, NOW, REFUND_KEY, close, converse, create, query, query_refund, refund
from stripe_side import (
    AT,
    CLIENT_SECRET,
    DECLINE,
    DU,
    PI,
    PO,
    PUBLISHABLE,
    RE,
    adapter,
    config,
    declined,
    error,
    fields,
    intent,
    payout,
    reply,
)
from stripe_side import dispute as disputed
from stripe_side import refund as refunded

from guilder.channels.model import (
    CapturePayment,
    CreatePayout,
    Dispute,
    DisputeState,
    Outcome,
    QueryPayout,
    Redirect,
    Retry,
    Sdk,
    State,
    SubmitEvidence,
)
from guilder.channels.stripe import Stripe
from guilder.channels.stripe.form import encode
from guilder.channels.stripe.states import from_wire, to_wire
from guilder.core.amount import EXPONENT, Amount, cny
from guilder.core.clock import from_unix
from guilder.core.exchange import HttpReply, NotSent, Silence

SUCCEEDED = Outcome(
    State.SUCCEEDED, key=KEY, channel_ref=PI, amount=cny(1250), at=from_unix(AT + 2), payer="pm_1", memo=PI, fee=cny(66)
)
TOKEN = create("token", given={"token": "pm_1"}, return_url="https://shop.example/back")
FIELDS = Sdk("card_elements", {"client_secret": CLIENT_SECRET, "publishable_key": PUBLISHABLE, "payment_intent": PI})
EXPAND = "expand%5B%5D=latest_charge.balance_transaction"
CAPTURE = CapturePayment(KEY, "token", NOW, cny(1000), cny(1250), PI)
PAYOUT = CreatePayout(KEY, cny(1250), {}, "to the bank", "https://pay.example/n", NOW)


def known(ask: Any) -> Any:
    """The ask as it is once the memo was noted."""
    return replace(ask, payment_memo=PI) if hasattr(ask, "payment_memo") else replace(ask, memo=PI)


def state_of(outcome: Outcome) -> tuple[State, str | None, Retry | None]:
    problem = outcome.problem
    return outcome.state, problem and problem.channel_code, problem and problem.retry


# --- create


def test_a_token_is_charged_at_once():
    outcome, [call] = converse(adapter().ask(TOKEN), reply(intent()))
    assert outcome == SUCCEEDED
    assert (call.method, call.url) == ("POST", "https://api.stripe.com/v1/payment_intents")
    assert call.headers["Authorization"] == "Bearer sk_test_51Qabc" and call.headers["Idempotency-Key"] == KEY
    assert call.headers["Stripe-Version"] == "2026-10-28.endive"
    assert fields(call) == {
        "amount": "1250",
        "currency": "cny",
        "payment_method_types[0]": "card",
        "capture_method": "automatic",
        "description": "两杯咖啡",
        "metadata[guilder_key]": KEY,
        "metadata[guilder_way]": "token",
        "expand[0]": "latest_charge.balance_transaction",
        "payment_method": "pm_1",
        "confirm": "true",
        "return_url": "https://shop.example/back",
    }


def test_elements_are_left_to_the_payers_page():
    waiting = intent("requires_payment_method", metadata={"guilder_key": KEY, "guilder_way": "elements"})
    outcome, [call] = converse(adapter().ask(create("elements", attach="sim:autopay")), reply(waiting))
    assert (outcome.state, outcome.next, outcome.memo) == (State.PENDING, FIELDS, PI)
    asked = fields(call)
    assert "confirm" not in asked and "payment_method" not in asked and asked["metadata[attach]"] == "sim:autopay"


def test_the_bank_wants_to_see_the_payer():
    there = {"type": "redirect_to_url", "redirect_to_url": {"url": "https://hooks.stripe.com/3ds", "return_url": "x"}}
    outcome, _ = converse(adapter().ask(TOKEN), reply(intent("requires_action", next_action=there)))
    assert (outcome.state, outcome.next) == (State.PENDING, Redirect("https://hooks.stripe.com/3ds"))
    by_itself = {"type": "use_stripe_sdk", "use_stripe_sdk": {}}
    outcome, _ = converse(adapter().ask(TOKEN), reply(intent("requires_action", next_action=by_itself)))
    assert (outcome.state, outcome.next) == (State.PENDING, FIELDS)
    nowhere = {"type": "redirect_to_url", "redirect_to_url": {"url": "javascript:alert(1)"}}
    outcome, _ = converse(adapter().ask(TOKEN), reply(intent("requires_action", next_action=nowhere)))
    assert outcome.state is State.UNKNOWN


def test_money_is_only_held():
    outcome, [call] = converse(adapter().ask(replace(TOKEN, capture=False)), reply(intent("requires_capture")))
    assert (outcome.state, outcome.amount, outcome.at) == (State.AUTHORISED, cny(1250), from_unix(AT + 1))
    assert fields(call)["capture_method"] == "manual"


def test_a_decline_spends_the_key_and_says_why():
    outcome, _ = converse(adapter().ask(TOKEN), declined())
    assert state_of(outcome) == (State.FAILED, "card_declined", Retry.NEW_KEY)
    assert outcome.problem and outcome.problem.decline_code == "insufficient_funds"
    assert (outcome.key, outcome.memo) == (KEY, PI)
    bare, _ = converse(adapter().ask(TOKEN), error(402, "card_error", "expired_card"))
    assert state_of(bare) == (State.FAILED, "expired_card", Retry.NEW_KEY)
    assert bare.problem and bare.problem.decline_code == "expired_card"


def test_a_repeat_is_followed_by_a_look():
    """What Stripe repeats is what it said the first time."""
    first = reply(intent("requires_action"), idempotent_replayed="true")
    outcome, calls = converse(adapter().ask(TOKEN), first, reply(intent()))
    assert outcome == SUCCEEDED
    assert calls[1].url == f"https://api.stripe.com/v1/payment_intents/{PI}?{EXPAND}"
    for fault in (NotSent(), Silence(), reply({}, 500)):
        outcome, _ = converse(adapter().ask(TOKEN), first, fault)
        assert outcome.state is State.UNKNOWN, "the intent is there: this is no failure"


def test_a_key_used_for_something_else():
    other = intent("requires_payment_method", amount=999)
    refusal = error(400, "idempotency_error")
    outcome, calls = converse(adapter().ask(TOKEN), refusal, reply({"object": "search_result", "data": [other]}))
    assert (outcome.state, outcome.amount, outcome.next) == (State.PENDING, cny(999), None) and outcome.problem
    assert calls[1].url.startswith(
        "https://api.stripe.com/v1/payment_intents/search?query=metadata%5B%27guilder_key%27%5D"
    )
    for answer in (reply({"data": []}), error(400, "invalid_request_error"), reply([]), reply({}, 503)):
        outcome, _ = converse(adapter().ask(TOKEN), refusal, answer)
        assert outcome.state is State.UNKNOWN, "the search lags behind: not found is no failure"


REFUSALS = [
    (error(400, "invalid_request_error", "amount_too_small", param="amount"), Retry.NEVER),
    (error(400, "invalid_request_error", "resource_missing", param="payment_method"), Retry.NEW_KEY),
    (error(401, "invalid_request_error"), Retry.NEVER),
    (error(403, "invalid_request_error", "secret_key_required"), Retry.NEVER),
    (error(404, "invalid_request_error", "resource_missing"), Retry.NEVER),
]
DOUBTS = [
    error(409, "idempotency_error", "idempotency_key_in_use"),
    error(409, "invalid_request_error", "lock_timeout"),
    error(424, "invalid_request_error"),
    error(429, "invalid_request_error", "rate_limit"),
    error(500, "api_error"),
    error(503, "invalid_request_error"),
    error(402, "something_new"),
    error(400, "api_error"),
    replace(error(400, "invalid_request_error"), headers={"stripe-should-retry": "true"}),
    reply({}, 400),
    reply({"error": "no"}, 400),
    reply([], 200),
    reply({}, 200),
    reply(intent(status=7)),
    reply(intent("succeeded", amount_received=-1)),
    reply(intent("succeeded", amount_received=12.5)),
    reply(intent("succeeded", currency="CNY")),
    reply(intent("succeeded", currency="isk", amount_received=1250)),
    reply(intent("succeeded", id="")),
    reply(intent("something_new")),
    HttpReply(200, {}, b""),
    HttpReply(200, {}, b'{"id":"pi_1","id":"pi_2"}'),
    HttpReply(502, {}, b"<html>"),
    HttpReply(200, {}, b"\xff"),
]
MADE = [TOKEN, known(refund()), PAYOUT, CAPTURE, SubmitEvidence(DU, {"uncategorized_text": "x"})]


@pytest.mark.parametrize(("answer", "retry"), REFUSALS, ids=lambda x: "")
def test_what_stripe_refuses_did_not_happen(answer, retry):
    outcome, _ = converse(adapter().ask(TOKEN), answer)
    assert outcome.state is State.FAILED and outcome.problem and outcome.problem.retry is retry


@pytest.mark.parametrize("answer", DOUBTS, ids=lambda x: "")
@pytest.mark.parametrize("ask", [TOKEN, known(query("token")), PAYOUT], ids=lambda ask: type(ask).__name__)
def test_C1_what_is_not_listed_is_unknown(ask, answer):
    outcome, _ = converse(adapter().ask(ask), answer)
    assert outcome.state is State.UNKNOWN


@pytest.mark.parametrize("ask", MADE, ids=lambda ask: type(ask).__name__)
def test_C2_silence_is_unknown_and_not_sent_is_not(ask):
    outcome, _ = converse(adapter().ask(ask), Silence())
    assert outcome.state is State.UNKNOWN
    outcome, _ = converse(adapter().ask(ask), NotSent())
    assert state_of(outcome) == (State.FAILED, "not_sent", Retry.SAME_KEY)


# --- query, capture, close

STATUSES = {
    "requires_payment_method": State.PENDING,
    "requires_confirmation": State.PENDING,
    "requires_action": State.PENDING,
    "processing": State.PENDING,
    "requires_capture": State.AUTHORISED,
    "succeeded": State.SUCCEEDED,
    "canceled": State.CLOSED,
    "wonderful": State.UNKNOWN,
}


@pytest.mark.parametrize(("status", "state"), STATUSES.items())
def test_every_status(status, state):
    outcome, _ = converse(adapter().ask(known(query("token"))), reply(intent(status)))
    assert outcome.state is state and (outcome.at is None) == (state not in (State.AUTHORISED, State.SUCCEEDED))


def test_a_declined_card_is_the_end_of_a_token_and_not_of_a_form():
    back = intent("requires_payment_method", last_payment_error=DECLINE)
    outcome, _ = converse(adapter().ask(known(query("token"))), reply(back))
    assert state_of(outcome) == (State.FAILED, "card_declined", Retry.NEW_KEY)
    back["metadata"] = {"guilder_key": KEY, "guilder_way": "elements"}
    outcome, _ = converse(adapter().ask(known(query("elements"))), reply(back))
    assert state_of(outcome) == (State.PENDING, "card_declined", Retry.NEW_KEY) and outcome.next == FIELDS


def test_C7_without_a_memo_nothing_is_known():
    for ask in (
        query("token"),
        close("token"),
        query_refund(),
        replace(CAPTURE, memo=None),
        QueryPayout(KEY, cny(1), NOW),
    ):
        assert converse(adapter().ask(ask)) == (Outcome(State.NOT_FOUND, unasked=True), [])
    missing = error(404, "invalid_request_error", "resource_missing")
    assert converse(adapter().ask(known(query("token"))), missing)[0].state is State.NOT_FOUND
    assert converse(adapter().ask(known(query("token"))), error(401, "invalid_request_error"))[0].state is State.UNKNOWN


def test_a_capture_of_a_part():
    outcome, [call] = converse(adapter().ask(CAPTURE), reply(intent(amount_received=1000)))
    assert (outcome.state, outcome.amount) == (State.SUCCEEDED, cny(1000))
    assert call.url.endswith(f"/{PI}/capture") and "Idempotency-Key" not in call.headers
    assert fields(call)["amount_to_capture"] == "1000"


@pytest.mark.parametrize(
    ("is_now", "state"),
    [
        ("requires_capture", State.FAILED),
        ("succeeded", State.SUCCEEDED),
        ("canceled", State.CLOSED),
        ("processing", State.PENDING),
    ],
)
def test_a_capture_refused_is_settled_by_a_look(is_now, state):
    refusal = error(400, "invalid_request_error", "payment_intent_unexpected_state")
    outcome, _ = converse(adapter().ask(CAPTURE), refusal, reply(intent(is_now)))
    assert outcome.state is state and outcome.problem
    unseen, _ = converse(adapter().ask(CAPTURE), refusal, Silence())
    assert unseen.state is State.UNKNOWN


def test_closing():
    outcome, [call] = converse(adapter().ask(known(close("token"))), reply(intent("canceled")))
    assert outcome.state is State.CLOSED and call.url.endswith(f"/{PI}/cancel")
    refusal = error(400, "invalid_request_error", "payment_intent_unexpected_state")
    for is_now, state in (("succeeded", State.SUCCEEDED), ("canceled", State.CLOSED), ("processing", State.PENDING)):
        assert converse(adapter().ask(known(close("token"))), refusal, reply(intent(is_now)))[0].state is state


# --- refunds


@pytest.mark.parametrize(
    ("status", "state"),
    [("pending", State.PENDING), ("requires_action", State.PENDING), ("succeeded", State.SUCCEEDED), ("failed", State.FAILED),
     ("canceled", State.CLOSED), (None, State.UNKNOWN), ("new", State.UNKNOWN)],
)  # fmt: skip
def test_a_refund(status, state):
    outcome, [call] = converse(adapter().ask(known(refund())), reply(refunded(status)))
    assert (outcome.state, outcome.key, outcome.memo, outcome.amount) == (state, REFUND_KEY, RE, cny(500))
    assert call.headers["Idempotency-Key"] == REFUND_KEY
    assert fields(call) == {
        "payment_intent": PI,
        "amount": "500",
        "metadata[guilder_key]": REFUND_KEY,
        "metadata[guilder_payment]": KEY,
        "metadata[reason]": "冷了",
    }


def test_a_refund_that_is_refused_may_have_been_made():
    """A day later the key is forgotten."""
    refusal = error(400, "invalid_request_error", "charge_already_refunded")
    nothing, mine = reply({"data": []}), reply({"data": [refunded(metadata={}), refunded()]})
    outcome, calls = converse(adapter().ask(known(refund())), refusal, nothing)
    assert state_of(outcome) == (State.FAILED, "charge_already_refunded", Retry.NEVER)
    assert calls[1].url == f"https://api.stripe.com/v1/refunds?payment_intent={PI}&limit=100"
    assert converse(adapter().ask(known(refund())), refusal, mine)[0].state is State.SUCCEEDED
    for answer in (Silence(), NotSent(), reply({"data": [{}]}), reply({}, 500)):
        assert converse(adapter().ask(known(refund())), refusal, answer)[0].state is State.UNKNOWN


def test_a_refund_of_nothing_that_is_known():
    outcome, calls = converse(adapter().ask(refund()))
    assert outcome.state is State.FAILED and calls == []
    _, [call] = converse(adapter().ask(replace(refund(), payment_ref=PI)), reply(refunded()))
    assert fields(call)["payment_intent"] == PI


def test_a_refund_is_asked_about():
    outcome, [call] = converse(
        adapter().ask(replace(query_refund(), memo=RE)), reply(refunded("failed", failure_reason="lost_or_stolen_card"))
    )
    assert state_of(outcome) == (State.FAILED, "lost_or_stolen_card", Retry.NEVER) and call.url.endswith(
        f"/v1/refunds/{RE}"
    )
    listed = reply({"data": [refunded()]})
    assert converse(adapter().ask(known(query_refund())), listed)[0].state is State.SUCCEEDED
    assert converse(adapter().ask(known(query_refund())), reply({"data": []}))[0].state is State.NOT_FOUND


# --- payouts and disputes


def test_a_payout():
    ask = replace(PAYOUT, payee={"destination": "ba_1"})
    outcome, [call] = converse(adapter().ask(ask), reply(payout("pending")))
    assert (outcome.state, outcome.memo, outcome.key) == (State.PENDING, PO, KEY)
    assert fields(call)["destination"] == "ba_1" and call.headers["Idempotency-Key"] == KEY
    for status, state in (
        ("in_transit", State.PENDING),
        ("paid", State.SUCCEEDED),
        ("failed", State.FAILED),
        ("canceled", State.CLOSED),
    ):
        assert converse(adapter().ask(QueryPayout(KEY, cny(1250), NOW, PO)), reply(payout(status)))[0].state is state
    short, _ = converse(adapter().ask(PAYOUT), error(400, "invalid_request_error", "balance_insufficient"))
    assert state_of(short) == (State.FAILED, "balance_insufficient", Retry.NEW_KEY)
    again, _ = converse(adapter().ask(PAYOUT), reply(payout("pending"), idempotent_replayed="true"), reply(payout()))
    assert again.state is State.SUCCEEDED


LATER = NOW + timedelta(hours=23, minutes=1)


def listed(*payouts: dict[str, Any], more: bool = False) -> HttpReply:
    return reply({"object": "list", "url": "/v1/payouts", "has_more": more, "data": list(payouts)})


def test_a_payout_whose_key_stripe_has_forgotten_is_looked_for_in_the_list_and_never_made_again():
    ask = QueryPayout(KEY, cny(1250), NOW)
    others = [payout(id=f"po_{n}", metadata={"guilder_key": f"other{n}"} if n % 2 else {}) for n in range(3)]
    first, second = listed(*others[:2], more=True), listed(others[2], payout())
    outcome, calls = converse(Stripe(config(), now=lambda: LATER).ask(ask), first, second)
    assert (outcome.state, outcome.key, outcome.channel_ref, outcome.memo) == (State.SUCCEEDED, KEY, PO, PO)
    asked = [dict(parse_qsl(urlsplit(call.url).query)) for call in calls]
    made = {"limit": "100", "created[gte]": str(AT - 300), "created[lte]": str(AT + 23 * 3600 + 300)}
    assert asked == [made, made | {"starting_after": "po_1"}]
    assert [(call.method, urlsplit(call.url).path) for call in calls] == [("GET", "/v1/payouts")] * 2


def test_a_payout_that_the_list_does_not_have_is_not_found():
    ask, channel = QueryPayout(KEY, cny(1250), NOW), Stripe(config(), now=lambda: LATER)
    assert converse(channel.ask(ask), listed(payout(metadata={})))[0] == Outcome(State.NOT_FOUND)
    for answer in (
        listed(*[payout(metadata={})] * 2, more=True),
        reply({"data": [{"id": 7}]}),
        error(500, "api_error"),
    ):
        answers = [answer] * (50 if answer.status == 200 and b"po_" in answer.body else 1)
        assert converse(channel.ask(ask), *answers)[0].state is State.UNKNOWN, (
            "nothing is concluded from less than all of it"
        )


def test_evidence():
    ask = SubmitEvidence(DU, {"uncategorized_text": "tracked", "product_description": "coffee"})
    outcome, [call] = converse(adapter().ask(ask), reply(disputed("under_review")))
    assert outcome.state is State.SUCCEEDED and outcome.memo == PI
    assert outcome.dispute == Dispute(
        DU, DisputeState.UNDER_REVIEW, cny(1250), "product_not_received", from_unix(AT + 86400), cny(1500), taken=True
    )
    assert fields(call)["evidence[uncategorized_text]"] == "tracked" and fields(call)["submit"] == "true"
    given_in, [call] = converse(adapter().ask(replace(ask, accept=True)), reply(disputed("lost")))
    assert (
        given_in.dispute
        and given_in.dispute.state is DisputeState.LOST
        and call.url.endswith(f"/v1/disputes/{DU}/close")
    )
    late, _ = converse(adapter().ask(ask), error(400, "invalid_request_error"))
    assert late.state is State.FAILED
    assert converse(adapter().ask(ask), reply(disputed("something_new")))[0].state is State.UNKNOWN


# --- money and forms


@pytest.mark.parametrize("asset", sorted(EXPONENT))
def test_every_currency_survives_the_wire(asset):
    amount = Amount(12_340, asset)
    assert from_wire(to_wire(amount), asset.lower()) == amount
    assert to_wire(amount) == (1_234_000 if asset in ("ISK", "UGX") else 12_340)


def test_forms():
    assert encode({"a": 1, "b": None, "c": {"d e": "f&g", "h": None}, "i": ["j", "k"], "l": True}) == (
        "a=1&c%5Bd+e%5D=f%26g&i%5B0%5D=j&i%5B1%5D=k&l=true"
    )


def test_a_repeat_is_byte_for_byte_the_same():
    """Stripe refuses a key that comes with other parameters."""
    _, [one] = converse(adapter().ask(TOKEN), Silence())
    _, [two] = converse(adapter().ask(replace(TOKEN, expires_at=EXPIRES.replace(hour=5))), Silence())
    assert (one.body, one.headers) == (two.body, two.headers)
