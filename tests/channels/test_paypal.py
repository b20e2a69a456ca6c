"""PayPal conversations: what is asked, and what each answer amounts to."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from paypal_side import (
    AUTHORIZATION,
    BATCH,
    CAPTURE,
    MEMO,
    MERCHANT,
    ORDER,
    REFUND,
    adapter,
    captured,
    config,
    error,
    held,
    money,
    order,
    paid,
    refunded,
    reply,
    talk,
    token,
)
from scripted import KEY, NOW, REFUND_KEY, converse, create, query_refund, refund
from wechat_side import Watch

from guilder.channels.model import (
    CapturePayment,
    ClosePayment,
    CreatePayout,
    QueryPayment,
    QueryPayout,
    Redirect,
    Retry,
    State,
    SubmitEvidence,
)
from guilder.channels.paypal import states
from guilder.core.amount import Amount, cny
from guilder.core.exchange import HttpReply, NotSent, Silence
from guilder.platform import wire

OPEN, APPROVED = order(), order("APPROVED")
QUERY = QueryPayment(KEY, "checkout", NOW, f"O:{ORDER}")
CLOSE = ClosePayment(KEY, "checkout", NOW, memo=f"O:{ORDER}")
CAPTURING = CapturePayment(KEY, "checkout", NOW, cny(1000), cny(1250), f"O:{ORDER};A:{AUTHORIZATION}")
REFUNDING = refund(500)
KNOWN = {"payment_memo": MEMO}
PAYOUT = CreatePayout(KEY, cny(1250), {"email": "a@example.com"}, "奖金", "", NOW)
HELD = order("COMPLETED", intent="AUTHORIZE", authorizations=[held()])
GARBAGE = HttpReply(502, {"content-type": "text/html"}, b"<html>Bad Gateway</html>")


def sent(call: Any) -> Any:
    return json.loads(call.body)


# --- the door


def test_the_first_call_fetches_a_token_and_the_next_uses_it():
    channel = adapter()
    _, [first, second] = converse(channel.ask(QUERY), token(), reply(200, OPEN))
    basic = base64.b64encode(f"{config().client_id}:{config().client_secret}".encode()).decode()
    assert (first.headers["Authorization"], first.body) == (f"Basic {basic}", b"grant_type=client_credentials")
    assert second.headers["Authorization"] == "Bearer A21AAFs9YK9g"
    _, [third] = converse(channel.ask(QUERY), reply(200, OPEN))
    assert third.headers["Authorization"] == "Bearer A21AAFs9YK9g"


def test_a_token_is_in_no_journal():
    kept = wire.without_persons(token().body)
    assert b"A21AAFs9YK9g" not in kept and b"expires_in" in kept


def test_a_token_is_fetched_anew_before_it_ends():
    watch = Watch()
    channel = adapter(watch)
    converse(channel.ask(QUERY), token(expires_in=600), reply(200, OPEN))
    watch.forward(seconds=541)
    _, calls = converse(channel.ask(QUERY), token("second"), reply(200, OPEN))
    assert calls[-1].headers["Authorization"] == "Bearer second"


def test_a_refused_token_is_fetched_once_and_the_call_repeated_once_under_the_same_key():
    refused = reply(401, {"error": "invalid_token"})
    outcome, calls = talk(create("checkout"), refused, token("second"), reply(201, OPEN))
    assert outcome.state is State.PENDING
    assert [c.headers.get("PayPal-Request-Id") for c in calls] == [KEY, None, KEY]
    outcome, _ = talk(create("checkout"), refused, token("second"), refused)
    assert outcome.state is State.UNKNOWN, "that we are not let in says nothing of what an earlier ask did"


@pytest.mark.parametrize(
    "said", [NotSent("x"), Silence("x"), reply(401, {"error": "invalid_client"}), reply(503), reply(200, b"<html>"), reply(200, {"access_token": "a\nb", "expires_in": 1})]
)  # fmt: skip
def test_without_a_token_nothing_was_asked(said):
    outcome, calls = converse(adapter().ask(create("checkout")), said)
    assert (outcome.state, outcome.problem.retry, len(calls)) == (State.FAILED, Retry.SAME_KEY, 1)
    outcome, _ = converse(adapter().ask(QUERY), said)
    assert outcome.state is State.UNKNOWN


SILENT = [Silence("gone"), reply(500, {"name": "INTERNAL_SERVER_ERROR"}), GARBAGE, reply(429), reply(409, {"name": "RESOURCE_CONFLICT"}),
          reply(200, b"{"), reply(200, []), reply(422), error(422, "SOMETHING_NEW"), reply(302)]  # fmt: skip
ASKS = [create("checkout"), QUERY, CLOSE, CAPTURING, replace(REFUNDING, **KNOWN), replace(query_refund(), memo=f"R:{REFUND}"), PAYOUT,
        QueryPayout(KEY, cny(1250), NOW, f"B:{BATCH}"), SubmitEvidence("PP-D-4012", {})]  # fmt: skip


@pytest.mark.parametrize("said", SILENT, ids=lambda s: str(getattr(s, "status", "silence")))
@pytest.mark.parametrize("ask", ASKS, ids=lambda a: type(a).__name__)
def test_C1_C2_what_is_not_listed_is_unknown(ask, said):
    outcome, _ = talk(ask, said)
    assert outcome.state is State.UNKNOWN


# --- create


def test_create_says_all_that_it_must():
    ask = create("checkout", return_url="https://shop.example/back", attach="sim:autopay")
    outcome, [call] = talk(ask, reply(201, OPEN))
    assert (call.method, call.url) == ("POST", "https://api-m.paypal.com/v2/checkout/orders")
    assert (call.headers["PayPal-Request-Id"], call.headers["Prefer"]) == (KEY, "return=representation")
    assert sent(call) == {
        "intent": "CAPTURE",
        "purchase_units": [
            {
                "reference_id": "default",
                "invoice_id": KEY,
                "custom_id": "sim:autopay",
                "description": "两杯咖啡",
                "amount": money(),
            }
        ],
        "payment_source": {
            "paypal": {
                "experience_context": {
                    "user_action": "PAY_NOW",
                    "shipping_preference": "NO_SHIPPING",
                    "return_url": "https://shop.example/back",
                    "cancel_url": "https://shop.example/back",
                }
            }
        },
    }
    assert outcome.state is State.PENDING and outcome.next == Redirect(
        f"https://www.paypal.com/checkoutnow?token={ORDER}"
    )
    assert (outcome.key, outcome.account_ref, outcome.memo) == (KEY, MERCHANT, f"O:{ORDER}")


def test_to_hold_is_to_authorise():
    _, [call] = talk(create("checkout", capture=False), reply(201, OPEN))
    assert sent(call)["intent"] == "AUTHORIZE"


def test_C6_asked_again_it_tells_how_far_it_has_come():
    outcome, _ = talk(create("checkout"), reply(200, paid()))
    assert (outcome.state, outcome.channel_ref, outcome.next) == (State.SUCCEEDED, CAPTURE, None)


def test_C6_asked_again_after_its_payer_has_approved_there_is_no_page_and_its_number_is_known():
    there = order("APPROVED", links=[])
    outcome, _ = talk(create("checkout"), reply(200, there))
    assert (outcome.state, outcome.next, outcome.memo) == (State.PENDING, None, f"O:{ORDER}")


def test_a_key_that_has_another_order_sends_nobody_there():
    outcome, _ = talk(create("checkout", amount=cny(999)), reply(200, OPEN))
    assert (outcome.state, outcome.next, outcome.amount) == (State.PENDING, None, cny(1250))
    assert outcome.problem.decline_code == "duplicate_transaction"


@pytest.mark.parametrize(
    ("amount", "value"),
    [
        (Amount(1099, "USD"), "10.99"),
        (Amount(5, "EUR"), "0.05"),
        (Amount(1099, "JPY"), "1099"),
        (Amount(109900, "HUF"), "1099"),
        (Amount(109900, "TWD"), "1099"),
    ],
)
def test_amounts_are_written_as_paypal_reads_them(amount, value):
    said = order()
    said["purchase_units"][0]["amount"] = money(value, amount.asset)
    outcome, [call] = talk(create("checkout", amount=amount), reply(201, said), channel=adapter(currency=amount.asset))
    assert sent(call)["purchase_units"][0]["amount"] == money(value, amount.asset)
    assert outcome.amount == amount and outcome.next


@pytest.mark.parametrize("amount", [Amount(1050, "HUF"), Amount(1, "TWD"), Amount(100, "USD")])
def test_what_paypal_or_this_account_cannot_take_is_not_asked(amount):
    channel = adapter(currency="HUF" if amount.asset == "USD" else amount.asset)
    outcome, calls = converse(channel.ask(create("checkout", amount=amount)))
    assert (outcome.state, outcome.problem.retry, calls) == (State.FAILED, Retry.NEVER, [])


@pytest.mark.parametrize("issue", sorted(states.REFUSED))
def test_every_listed_issue_is_a_refusal(issue):
    outcome, _ = talk(create("checkout"), error(422, issue))
    decline_code, retry = states.REFUSED[issue]
    assert (outcome.state, outcome.problem.channel_code) == (State.FAILED, issue)
    assert (outcome.problem.decline_code, outcome.problem.retry) == (decline_code, retry)
    assert outcome.problem.message == f"about {issue} (debug_id 90957fca61718)"


# --- query, collect

ORDERS = [
    (order("CREATED"), State.PENDING),
    (order("SAVED"), State.PENDING),
    (order("PAYER_ACTION_REQUIRED"), State.PENDING),
    (order("VOIDED"), State.CLOSED),
    (order("COMPLETED"), State.UNKNOWN),
    (order("NEW_WORD"), State.UNKNOWN),
    (order("APPROVED", custom_id=f"closed:{KEY}"), State.CLOSED),
    (order("CREATED", custom_id=f"closed:{KEY}"), State.CLOSED),
    *((order("COMPLETED", captures=[captured(word)]), state) for word, state in states.CAPTURE_STATE.items()),
    (order("COMPLETED", captures=[captured("NEW_WORD")]), State.UNKNOWN),
    *((order("COMPLETED", authorizations=[held(word)]), state) for word, state in states.AUTHORIZATION_STATE.items()),
    (order("COMPLETED", authorizations=[held("NEW_WORD")]), State.UNKNOWN),
    (order("COMPLETED", captures=[captured("DECLINED"), captured()]), State.SUCCEEDED),
    (order("COMPLETED", captures=[captured("DECLINED"), captured("PENDING")]), State.PENDING),
    (order("COMPLETED", authorizations=[held("CAPTURED")], captures=[captured()]), State.SUCCEEDED),
    (order("COMPLETED", authorizations=[held()], captures=[captured("DECLINED")]), State.AUTHORISED),
]


@pytest.mark.parametrize(("said", "state"), ORDERS)
def test_what_an_order_amounts_to(said, state):
    outcome, [call] = talk(QUERY, reply(200, said))
    assert (call.method, urlsplit(call.url).path) == ("GET", f"/v2/checkout/orders/{ORDER}")
    assert (outcome.state, outcome.key, outcome.account_ref) == (state, KEY, MERCHANT)
    assert (outcome.problem is not None) == (state is State.FAILED)
    assert outcome.memo.startswith(f"O:{ORDER}")


def test_a_completed_order_is_told_with_its_capture():
    outcome, _ = talk(QUERY, reply(200, paid()))
    assert (outcome.channel_ref, outcome.amount, outcome.fee) == (CAPTURE, cny(1250), cny(75))
    assert (outcome.at, outcome.payer, outcome.memo) == (
        datetime(2026, 11, 21, 4, 1, 2, tzinfo=UTC),
        "QYR5Z8XDVJNXQ",
        MEMO,
    )


def test_C7_without_a_memo_there_is_nothing_to_ask_about():
    for ask in (
        replace(QUERY, memo=None),
        replace(CLOSE, memo="gibberish;O:"),
        query_refund(),
        QueryPayout(KEY, cny(1), NOW),
    ):
        outcome, calls = converse(adapter().ask(ask))
        assert (outcome.state, calls) == (State.NOT_FOUND, [])


def test_an_order_that_paypal_has_forgotten_is_not_found():
    for said in (error(404, "INVALID_RESOURCE_ID", "RESOURCE_NOT_FOUND"), reply(404, {"name": "RESOURCE_NOT_FOUND"})):
        for ask in (QUERY, CLOSE):
            outcome, _ = talk(ask, said)
            assert outcome.state is State.NOT_FOUND


def test_a_query_of_an_approved_order_captures_it():
    outcome, [look, call] = talk(QUERY, reply(200, APPROVED), reply(201, paid()))
    assert (call.method, urlsplit(call.url).path, call.body) == ("POST", f"/v2/checkout/orders/{ORDER}/capture", b"{}")
    assert call.headers["PayPal-Request-Id"] == KEY + "C" and "PayPal-Request-Id" not in look.headers
    assert (outcome.state, outcome.memo) == (State.SUCCEEDED, MEMO)


def test_one_that_is_to_be_held_is_authorised():
    outcome, [_, call] = talk(QUERY, reply(200, order("APPROVED", intent="AUTHORIZE")), reply(201, HELD))
    assert urlsplit(call.url).path.endswith("/authorize") and call.headers["PayPal-Request-Id"] == KEY + "A"
    assert (outcome.state, outcome.memo) == (State.AUTHORISED, f"O:{ORDER};A:{AUTHORIZATION}")


@pytest.mark.parametrize(
    "said", [Silence("gone"), reply(500), GARBAGE, error(422, "SOMETHING_NEW"), error(422, "DUPLICATE_INVOICE_ID_")]
)
def test_a_capture_without_a_clear_answer_is_unknown(said):
    outcome, _ = talk(QUERY, reply(200, APPROVED), said)
    assert outcome.state is State.UNKNOWN


@pytest.mark.parametrize("issue", sorted(states.ABOUT_THE_ORDER))
def test_somebody_was_faster_so_the_order_decides(issue):
    outcome, [*_, last] = talk(QUERY, reply(200, APPROVED), error(422, issue), reply(200, paid()))
    assert last.method == "GET" and outcome.state is State.SUCCEEDED
    outcome, _ = talk(QUERY, reply(200, APPROVED), error(422, issue), reply(200, APPROVED))
    assert outcome.state is State.PENDING


@pytest.mark.parametrize("issue", sorted(states.NOT_YET))
def test_a_payer_who_has_to_agree_once_more_is_waited_for(issue):
    outcome, _ = talk(QUERY, reply(200, APPROVED), error(422, issue))
    assert outcome.state is State.PENDING


def test_a_declined_capture_fails_once_the_order_says_that_it_is_over():
    declined = error(422, "INSTRUMENT_DECLINED")
    outcome, [*_, patch] = talk(QUERY, reply(200, APPROVED), declined, reply(204))
    assert patch.method == "PATCH"
    assert sent(patch) == [
        {"op": "replace", "path": "/purchase_units/@reference_id=='default'/custom_id", "value": f"closed:{KEY}"}
    ]
    assert (outcome.state, outcome.problem.channel_code, outcome.problem.retry) == (
        State.FAILED,
        "INSTRUMENT_DECLINED",
        Retry.NEW_KEY,
    )
    for said in ([Silence("gone")], [reply(503)], [error(422, "NOT_PATCHABLE"), reply(200, APPROVED)]):
        outcome, _ = talk(QUERY, reply(200, APPROVED), declined, *said)
        assert outcome.state is State.UNKNOWN, "somebody could still capture it"


def test_an_order_that_has_ended_is_not_captured():
    outcome, [call] = talk(QUERY, reply(200, order("APPROVED", custom_id=f"closed:{KEY}")))
    assert (call.method, outcome.state) == ("GET", State.CLOSED)


# --- close, capture of what is held


def test_closing_writes_into_the_order_that_it_has_ended():
    outcome, [_, patch] = talk(CLOSE, reply(200, OPEN), reply(204))
    assert (patch.method, outcome.state, outcome.key) == ("PATCH", State.CLOSED, KEY)


def test_a_close_that_comes_too_late_says_so():
    outcome, _ = talk(CLOSE, reply(200, paid()))
    assert outcome.state is State.SUCCEEDED
    outcome, _ = talk(CLOSE, reply(200, APPROVED), error(422, "ORDER_ALREADY_COMPLETED"), reply(200, paid()))
    assert outcome.state is State.SUCCEEDED
    outcome, _ = talk(CLOSE, reply(200, order("COMPLETED", captures=[captured("PENDING")])))
    assert outcome.state is State.PENDING, "an eCheck is under way: nobody can stop it"


def test_closing_lets_go_what_is_held():
    for said in (reply(204), reply(200, held("VOIDED"))):
        outcome, [_, call] = talk(CLOSE, reply(200, HELD), said)
        assert urlsplit(call.url).path == f"/v2/payments/authorizations/{AUTHORIZATION}/void"
        assert (outcome.state, call.headers["PayPal-Request-Id"]) == (State.CLOSED, KEY + "V")
    taken = order("COMPLETED", authorizations=[held("CAPTURED")], captures=[captured()])
    outcome, _ = talk(CLOSE, reply(200, HELD), error(422, "PREVIOUSLY_CAPTURED"), reply(200, taken))
    assert outcome.state is State.SUCCEEDED


def test_what_is_held_is_captured_in_part_and_for_good():
    part = captured(
        value="10.00", supplementary_data={"related_ids": {"order_id": ORDER, "authorization_id": AUTHORIZATION}}
    )
    outcome, [_, call] = talk(CAPTURING, reply(200, HELD), reply(201, part))
    assert urlsplit(call.url).path == f"/v2/payments/authorizations/{AUTHORIZATION}/capture"
    assert (
        sent(call) == {"amount": money("10.00"), "final_capture": True}
        and call.headers["PayPal-Request-Id"] == KEY + "C"
    )
    assert (outcome.state, outcome.amount, outcome.key) == (State.SUCCEEDED, cny(1000), KEY)
    assert outcome.memo == f"O:{ORDER};A:{AUTHORIZATION};C:{CAPTURE}"


def test_what_was_captured_before_is_told_as_it_was():
    taken = order("COMPLETED", authorizations=[held("CAPTURED")], captures=[captured(value="10.00")])
    outcome, [call] = talk(CAPTURING, reply(200, taken))
    assert (call.method, outcome.state, outcome.amount) == ("GET", State.SUCCEEDED, cny(1000))
    outcome, _ = talk(CAPTURING, reply(200, HELD), error(422, "AUTHORIZATION_ALREADY_CAPTURED"), reply(200, taken))
    assert outcome.state is State.SUCCEEDED
    outcome, _ = talk(CAPTURING, reply(200, HELD), error(422, "AUTHORIZATION_EXPIRED"))
    assert (outcome.state, outcome.problem.retry) == (State.FAILED, Retry.NEW_KEY)
    outcome, calls = converse(adapter().ask(replace(CAPTURING, memo=None)))
    assert (outcome.state, calls) == (State.UNKNOWN, [])


# --- refunds


def test_a_refund_names_the_capture_and_both_keys():
    outcome, [call] = talk(replace(REFUNDING, **KNOWN), reply(201, refunded()))
    assert (
        urlsplit(call.url).path == f"/v2/payments/captures/{CAPTURE}/refund"
        and call.headers["PayPal-Request-Id"] == REFUND_KEY
    )
    assert sent(call) == {"amount": money("5.00"), "invoice_id": REFUND_KEY, "custom_id": KEY, "note_to_payer": "冷了"}
    assert (outcome.state, outcome.key, outcome.amount, outcome.memo) == (
        State.SUCCEEDED,
        REFUND_KEY,
        cny(500),
        f"R:{REFUND}",
    )
    _, [call] = talk(replace(REFUNDING, payment_ref="9YY"), reply(201, refunded()))
    assert "/captures/9YY/" in call.url
    outcome, calls = converse(adapter().ask(REFUNDING))
    assert (outcome.state, calls) == (State.UNKNOWN, [])


@pytest.mark.parametrize(("word", "state"), [*states.REFUND_STATE.items(), ("NEW_WORD", State.UNKNOWN)])
def test_what_a_refund_amounts_to(word, state):
    for ask in (replace(REFUNDING, **KNOWN), replace(query_refund(), memo=f"R:{REFUND}")):
        outcome, _ = talk(ask, reply(200, refunded(word)))
        assert outcome.state is state and (outcome.problem is not None) == (state is State.FAILED)


@pytest.mark.parametrize("issue", sorted(states.ABOUT_THE_REFUND))
def test_a_refusal_that_may_be_about_the_key_looks_first(issue):
    ask = replace(REFUNDING, **KNOWN)
    with_it = order("COMPLETED", captures=[captured()], refunds=[refunded(invoice_id="another"), refunded()])
    outcome, [_, look] = talk(ask, error(422, issue), reply(200, with_it))
    assert urlsplit(look.url).path == f"/v2/checkout/orders/{ORDER}" and outcome.state is State.SUCCEEDED
    outcome, _ = talk(ask, error(422, issue), reply(200, paid()))
    assert (outcome.state, outcome.problem.retry) == (State.FAILED, Retry.NEVER)
    outcome, _ = talk(ask, error(422, issue), Silence("gone"))
    assert outcome.state is State.UNKNOWN


def test_an_empty_balance_may_be_tried_again_under_the_same_key():
    outcome, _ = talk(replace(REFUNDING, **KNOWN), error(422, "REFUND_FAILED_INSUFFICIENT_FUNDS"))
    assert (outcome.state, outcome.problem.retry) == (State.FAILED, Retry.SAME_KEY)


def test_a_refund_is_found_by_our_key_among_those_of_its_order():
    outcome, _ = talk(
        replace(query_refund(), **KNOWN), reply(200, order("COMPLETED", captures=[captured()], refunds=[refunded()]))
    )
    assert (outcome.state, outcome.key) == (State.SUCCEEDED, REFUND_KEY)
    outcome, _ = talk(replace(query_refund(), **KNOWN), reply(200, paid()))
    assert outcome.state is State.NOT_FOUND
