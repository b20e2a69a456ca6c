"""Alipay: what is asked, and what each answer amounts to.  Conversations on a scripted wire."""

import json
from urllib.parse import urlsplit

import pytest
from alipay_side import (
    APP_ID,
    GATEWAY,
    SELLER_ID,
    TRADE_NO,
    adapter,
    asked,
    failed,
    ok,
    read_params,
    refunded,
    reply,
    trade,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import KEY, REFUND_KEY, close, converse, create, query, query_refund, refund

from guilder.channels.alipay.sign import members
from guilder.channels.model import Outcome, QrCode, Redirect, Retry, State
from guilder.core.amount import cny
from guilder.core.clock import from_unix
from guilder.core.exchange import HttpReply, NotSent, Silence

QR = {"out_trade_no": KEY, "qr_code": "https://qr.alipay.com/bavh4wjlxf12tper3a"}
NOT_EXIST = failed("trade_query", "ACQ.TRADE_NOT_EXIST")
SUCCEEDED = Outcome(
    State.SUCCEEDED,
    key=KEY,
    channel_ref=TRADE_NO,
    amount=cny(1250),
    at=from_unix(1795233662),
    payer="2088101117955611",
)
ORDER = {
    "out_trade_no": KEY,
    "total_amount": "12.50",
    "subject": "两杯咖啡",
    "seller_id": SELLER_ID,
    "time_expire": "2026-11-21 12:30:00",
}


def state_of(outcome: Outcome) -> tuple[State, str | None, Retry | None]:
    problem = outcome.problem
    return outcome.state, problem and problem.channel_code, problem and problem.retry


def test_a_page_is_a_signed_address_and_no_call():
    ask = create("page", return_url="https://shop.example/back?a=1&b=2", attach="sim:query:delay=3")
    outcome, calls = converse(adapter().ask(ask))
    assert calls == []
    assert isinstance(outcome.next, Redirect) and outcome.state is State.PENDING
    assert outcome.next.url.startswith(GATEWAY + "?")
    params, order = read_params(urlsplit(outcome.next.url).query)
    assert order == ORDER | {"product_code": "FAST_INSTANT_TRADE_PAY", "passback_params": "sim%3Aquery%3Adelay%3D3"}
    del params["sign"], params["biz_content"]
    assert params == {
        "app_id": APP_ID,
        "method": "alipay.trade.page.pay",
        "format": "JSON",
        "charset": "utf-8",
        "sign_type": "RSA2",
        "timestamp": "2026-11-21 12:00:00",
        "version": "1.0",
        "notify_url": "https://pay.example/n",
        "return_url": "https://shop.example/back?a=1&b=2",
    }


def test_a_qr_code_is_asked_for_in_alipays_words():
    outcome, [call] = converse(adapter().ask(create("precreate")), ok("trade_precreate", **QR))
    assert outcome == Outcome(State.PENDING, key=KEY, next=QrCode(QR["qr_code"]))
    params, order = asked(call)
    assert order == ORDER and params["method"] == "alipay.trade.precreate"
    assert call.method == "POST" and "charset=utf-8" in call.url, "it must be known before the body is read"


def test_a_subject_without_what_alipay_does_not_want_in_it():
    ask = create("precreate", description="a/b=c&d" + "长" * 300)
    _, [call] = converse(adapter().ask(ask), ok("trade_precreate", **QR))
    assert asked(call)[1]["subject"] == "a b c d" + "长" * 249


@pytest.mark.parametrize(
    ("code", "sub_code", "expected"),
    [
        ("20000", "isp.unknow-error", (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
        ("20000", "aop.ACQ.SYSTEM_ERROR", (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
        ("20001", "aop.invalid-auth-token", (State.FAILED, Retry.NEVER, "processing_error")),
        ("40001", "isv.missing-method", (State.FAILED, Retry.NEVER, "processing_error")),
        ("40002", "isv.invalid-signature", (State.FAILED, Retry.NEVER, "processing_error")),
        ("40003", "isv.insufficient-isv-permissions", (State.FAILED, Retry.NEVER, "processing_error")),
        ("40005", "", (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
        ("40006", "isv.insufficient-user-permissions", (State.FAILED, Retry.NEVER, "processing_error")),
        ("10003", "", (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),  # in process: never a success
        ("40004", "ACQ.SYSTEM_ERROR", (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
        ("40004", "ACQ.WHAT_IS_THIS", (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),  # C1
        ("40004", "", (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
        ("40004", "ACQ.BUYER_BALANCE_NOT_ENOUGH", (State.FAILED, Retry.NEW_KEY, "insufficient_funds")),
        ("40004", "ACQ.BUYER_BANKCARD_BALANCE_NOT_ENOUGH", (State.FAILED, Retry.NEW_KEY, "insufficient_funds")),
        ("40004", "ACQ.PAYMENT_AUTH_CODE_INVALID", (State.FAILED, Retry.NEW_KEY, "invalid_account")),
        ("40004", "ACQ.EXIST_FORBIDDEN_WORD", (State.FAILED, Retry.NEVER, "processing_error")),
        ("40004", "ACQ.TOTAL_FEE_EXCEED", (State.FAILED, Retry.NEVER, "invalid_amount")),
        ("40004", "ACQ.ACCESS_FORBIDDEN", (State.FAILED, Retry.NEVER, "service_not_allowed")),
        ("40004", "ACQ.INVALID_PARAMETER", (State.FAILED, Retry.NEVER, "processing_error")),
    ],
)
def test_C1_what_each_error_of_a_precreate_amounts_to(code, sub_code, expected):
    outcome, _ = converse(adapter().ask(create("precreate")), failed("trade_precreate", sub_code, code))
    problem = outcome.problem
    assert problem is not None
    assert (outcome.state, problem.retry, problem.decline_code) == expected
    assert problem.channel_code == (sub_code or code)


@pytest.mark.parametrize(
    "sub_code", ["ACQ.CONTEXT_INCONSISTENT", "ACQ.TRADE_HAS_SUCCESS", "ACQ.TRADE_HAS_CLOSE", "ACQ.TRADE_STATUS_ERROR"]
)
@pytest.mark.parametrize(
    ("found", "state"),
    [
        (ok("trade_query", **trade()), State.SUCCEEDED),
        (ok("trade_query", **trade("WAIT_BUYER_PAY")), State.PENDING),
        (ok("trade_query", **trade("TRADE_CLOSED")), State.CLOSED),
        (NOT_EXIST, State.FAILED),
        (failed("trade_query", "ACQ.SYSTEM_ERROR"), State.UNKNOWN),
        (NotSent(), State.UNKNOWN),
    ],
)
def test_a_refusal_about_the_key_is_settled_by_what_lives_under_it(sub_code, found, state):
    outcome, _ = converse(adapter().ask(create("precreate")), failed("trade_precreate", sub_code), found)
    assert outcome.state is state and outcome.problem is not None


@pytest.mark.parametrize("way", ["page", "precreate"])
@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("WAIT_BUYER_PAY", State.PENDING),
        ("TRADE_SUCCESS", State.SUCCEEDED),
        ("TRADE_FINISHED", State.SUCCEEDED),
        ("TRADE_CLOSED", State.CLOSED),
        ("SOMETHING_NEW", State.UNKNOWN),
    ],
)
def test_trade_states(way, word, state):
    outcome, [call] = converse(adapter().ask(query(way)), ok("trade_query", **trade(word)))
    assert (outcome.state, outcome.key, outcome.amount) == (state, KEY, cny(1250))
    assert asked(call)[1] == {"out_trade_no": KEY}


def test_C4_a_query_says_all_that_the_channel_said():
    outcome, _ = converse(adapter().ask(query("page")), ok("trade_query", **trade()))
    assert outcome == SUCCEEDED
    other = trade(total_amount="0.01", out_trade_no="another")
    outcome, _ = converse(adapter().ask(query("page")), ok("trade_query", **other))
    assert (outcome.amount, outcome.key) == (cny(1), "another")


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (NOT_EXIST, State.NOT_FOUND),
        (failed("trade_query", "ACQ.SYSTEM_ERROR"), State.UNKNOWN),
        (failed("trade_query", "ACQ.INVALID_PARAMETER"), State.UNKNOWN),  # that we may not ask says nothing of it
        (failed("trade_query", "isv.invalid-signature", "40002"), State.UNKNOWN),
        (ok("trade_query"), State.UNKNOWN),
        (ok("trade_query", **trade(total_amount="12.505")), State.UNKNOWN),
        (ok("trade_query", **trade(total_amount=12.5)), State.UNKNOWN),
        (ok("trade_query", **trade(send_pay_date="soon")), State.UNKNOWN),
        (NotSent(), State.UNKNOWN),
        (Silence(), State.UNKNOWN),
        (HttpReply(502, {}, b"<html>Bad Gateway</html>"), State.UNKNOWN),
        (HttpReply(200, {}, b"<html>"), State.UNKNOWN),
        (HttpReply(200, {}, b""), State.UNKNOWN),
    ],
)
def test_C2_a_query_that_brings_no_answer_brings_no_news(answer, state):
    outcome, _ = converse(adapter().ask(query("precreate")), answer)
    assert outcome.state is state


@pytest.mark.parametrize(
    ("ask", "state"),
    [
        (create("precreate"), State.FAILED),
        (refund(), State.FAILED),
        (query("page"), State.UNKNOWN),
        (close("page"), State.UNKNOWN),
        (close("page", cancel=True), State.UNKNOWN),
        (query_refund(), State.UNKNOWN),
    ],
)
def test_C2_not_sent_is_a_failure_where_something_was_to_be_done(ask, state):
    outcome, _ = converse(adapter().ask(ask), NotSent("refused"))
    assert state_of(outcome) == (state, "not_sent", Retry.SAME_KEY)
    outcome, _ = converse(adapter().ask(ask), Silence("reset"))
    assert outcome == Outcome(State.UNKNOWN)


GOOD = ok("trade_precreate", **QR).body


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (GOOD.replace(b"bavh4", b"bavh5"), "bad_signature"),
        (reply("trade_precreate", {"code": "10000", **QR}, signer="stranger").body, "bad_signature"),
        (b'{"alipay_trade_precreate_response":{"code":"10000"}}', "bad_signature"),
        (b'{"alipay_trade_precreate_response":{"code":"10000"},"sign":""}', "bad_signature"),
        (b'{"error_response":{"code":"40002","sub_code":"isv.invalid-app-id"}}', "bad_signature"),
        (ok("trade_query", **QR).body, "unreadable"),  # signed, and the answer to another question
        (b'{"alipay_trade_precreate_response":{},' + GOOD[1:], "unreadable"),  # which of the two was signed?
        (GOOD + b"x", "unreadable"),
        (GOOD[:-1], "unreadable"),
        (b'{"alipay_trade_precreate_response":[],"sign":"AA=="}', "unreadable"),
        (b'{"alipay_trade_precreate_response":{"code":10000},"sign":"AA=="}', "unreadable"),
        (b'{"alipay_trade_precreate_response":{"code":"10000"},"sign":7}', "unreadable"),
        (b"[" * 100_000, "unreadable"),
        (b'{"a":' + b"[" * 100_000, "unreadable"),
        (b"\xff", "unreadable"),
    ],
    ids=lambda body: "",
)
def test_C3_a_reply_that_does_not_verify_tells_nothing(body, code):
    outcome, _ = converse(adapter().ask(create("precreate")), HttpReply(200, {}, body))
    assert state_of(outcome) == (State.UNKNOWN, code, Retry.SAME_KEY)


def test_the_signature_is_over_the_very_bytes_braces_escapes_and_spaces_included():
    inner = b'{ "code":"40004" , "sub_code":"ACQ.TRADE_NOT_EXIST","sub_msg":"}\\u4ea4\\/\\"{\xe6\x98\x93}}" }'
    outcome, _ = converse(adapter().ask(query("page")), reply("trade_query", None, inner=inner))
    assert outcome == Outcome(State.NOT_FOUND)


def test_a_signed_error_response_is_believed():
    inner = b'{"code":"40002","msg":"Invalid Arguments","sub_code":"isv.invalid-app-id"}'
    answer = reply("trade_precreate", None, inner=inner)
    body = answer.body.replace(b"alipay_trade_precreate_response", b"error_response")
    outcome, _ = converse(adapter().ask(create("precreate")), HttpReply(200, {}, body))
    assert state_of(outcome) == (State.FAILED, "isv.invalid-app-id", Retry.NEVER)


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ([ok("trade_close", out_trade_no=KEY)], State.CLOSED),
        ([failed("trade_close", "ACQ.TRADE_NOT_EXIST")], State.NOT_FOUND),  # the payer has not opened it: not yet
        ([failed("trade_close", "ACQ.TRADE_STATUS_ERROR"), ok("trade_query", **trade())], State.SUCCEEDED),
        (
            [failed("trade_close", "ACQ.REASON_TRADE_STATUS_INVALID"), ok("trade_query", **trade("TRADE_CLOSED"))],
            State.CLOSED,
        ),
        ([failed("trade_close", "ACQ.WHAT_IS_THIS"), ok("trade_query", **trade("WAIT_BUYER_PAY"))], State.PENDING),
        ([failed("trade_close", "ACQ.SYSTEM_ERROR"), Silence()], State.UNKNOWN),
    ],
)
def test_close(answers, state):
    outcome, calls = converse(adapter().ask(close("page")), *answers)
    assert outcome.state is state
    assert asked(calls[0])[0]["method"] == "alipay.trade.close"


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ([ok("trade_cancel", out_trade_no=KEY, retry_flag="N", action="close")], State.CLOSED),
        ([ok("trade_cancel", out_trade_no=KEY, retry_flag="N", action="refund", trade_no=TRADE_NO)], State.CLOSED),
        ([ok("trade_cancel", out_trade_no=KEY, retry_flag="N")], State.NOT_FOUND),
        ([ok("trade_cancel", out_trade_no=KEY, retry_flag="?")], State.UNKNOWN),
        ([ok("trade_cancel", out_trade_no=KEY)], State.UNKNOWN),
        ([failed("trade_cancel", "ACQ.TRADE_NOT_EXIST")], State.NOT_FOUND),
        ([failed("trade_cancel", "ACQ.SYSTEM_ERROR"), ok("trade_query", **trade())], State.SUCCEEDED),
    ],
)
def test_cancel(answers, state):
    outcome, calls = converse(adapter().ask(close("precreate", cancel=True)), *answers)
    assert outcome.state is state
    assert asked(calls[0])[0]["method"] == "alipay.trade.cancel"


def test_a_refund_is_asked_for_in_alipays_words():
    done = {"out_trade_no": KEY, "trade_no": TRADE_NO, "fund_change": "Y", "refund_fee": "10.00"}
    outcome, [call] = converse(
        adapter().ask(refund()), ok("trade_refund", gmt_refund_pay="2026-11-21 12:06:00", **done)
    )
    assert outcome == Outcome(State.SUCCEEDED, channel_ref=TRADE_NO, at=from_unix(1795233960))
    params, order = asked(call)
    assert params["method"] == "alipay.trade.refund"
    assert order == {
        "out_trade_no": KEY,
        "out_request_no": REFUND_KEY,
        "refund_amount": "5.00",
        "refund_reason": "冷了",
    }


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (ok("trade_fastpay_refund_query", **refunded()), State.SUCCEEDED),
        (ok("trade_fastpay_refund_query", out_trade_no=KEY, trade_no=TRADE_NO), State.UNKNOWN),
        (Silence(), State.UNKNOWN),
        (NotSent(), State.UNKNOWN),
    ],
)
def test_a_refund_without_a_change_of_funds_asks_what_became_of_it(found, state):
    done = ok("trade_refund", out_trade_no=KEY, trade_no=TRADE_NO, fund_change="N", refund_fee="5.00")
    outcome, _ = converse(adapter().ask(refund()), done, found)
    assert outcome.state is state


@pytest.mark.parametrize(
    ("sub_code", "expected"),
    [
        ("ACQ.SELLER_BALANCE_NOT_ENOUGH", (State.FAILED, Retry.SAME_KEY, "insufficient_funds")),
        ("ACQ.TRADE_NOT_EXIST", (State.FAILED, Retry.NEVER, "processing_error")),
        ("ACQ.SYSTEM_ERROR", (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
        ("ACQ.WHAT_IS_THIS", (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
    ],
)
def test_C1_what_each_error_of_a_refund_amounts_to(sub_code, expected):
    outcome, _ = converse(adapter().ask(refund()), failed("trade_refund", sub_code))
    assert outcome.problem is not None
    assert (outcome.state, outcome.problem.retry, outcome.problem.decline_code) == expected


@pytest.mark.parametrize(
    "sub_code",
    [
        "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL",
        "ACQ.TRADE_NOT_ALLOW_REFUND",
        "ACQ.DISCORDANT_REPEAT_REQUEST",
        "ACQ.TRADE_HAS_FINISHED",
        "ACQ.TRADE_STATUS_ERROR",
    ],
)
def test_a_refused_refund_may_have_been_made_before(sub_code):
    refusal = failed("trade_refund", sub_code)
    outcome, _ = converse(adapter().ask(refund()), refusal, ok("trade_fastpay_refund_query", **refunded()))
    assert outcome.state is State.SUCCEEDED
    nothing = ok("trade_fastpay_refund_query", out_trade_no=KEY, trade_no=TRADE_NO)
    outcome, _ = converse(adapter().ask(refund()), refusal, nothing)
    assert outcome.state is State.FAILED and outcome.problem and outcome.problem.channel_code == sub_code


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (ok("trade_fastpay_refund_query", **refunded()), State.SUCCEEDED),
        (ok("trade_fastpay_refund_query", **refunded(refund_status="")), State.SUCCEEDED),
        (ok("trade_fastpay_refund_query", out_trade_no=KEY), State.NOT_FOUND),  # 10000: the query worked, no more
        (ok("trade_fastpay_refund_query", **refunded(refund_status="REFUND_NEW")), State.UNKNOWN),
        (failed("trade_fastpay_refund_query", "ACQ.TRADE_NOT_EXIST"), State.NOT_FOUND),
        (failed("trade_fastpay_refund_query", "ACQ.SYSTEM_ERROR"), State.UNKNOWN),
    ],
)
def test_refund_query(answer, state):
    outcome, [call] = converse(adapter().ask(query_refund()), answer)
    assert outcome.state is state
    assert asked(call)[1] == {
        "out_trade_no": KEY,
        "out_request_no": REFUND_KEY,
        "query_options": ["gmt_refund_pay"],
    }
    if state is State.SUCCEEDED:
        assert (outcome.key, outcome.amount, outcome.at) == (REFUND_KEY, cny(500), from_unix(1795233960))


def test_alipay_hands_out_no_keys():
    assert converse(adapter().refresh_trust()) == (False, [])


# --- the scanner

WORD = st.text(max_size=8)
PLAIN = st.recursive(
    st.none() | WORD | st.integers(),
    lambda c: st.lists(c, max_size=3) | st.dictionaries(WORD, c, max_size=3),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(WORD, PLAIN, max_size=4), st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_the_scanner_finds_each_value_and_its_very_text(content, ascii_only, indent):
    text = json.dumps(content, ensure_ascii=ascii_only, indent=indent)
    found = members(text)
    assert {name: value for name, (value, _) in found.items()} == content
    assert all(span in text and json.loads(span) == value for value, span in found.values())


@settings(max_examples=400, deadline=None)
@given(st.text() | st.text(alphabet='{}[]",:\\ \n01aeu-."').map(lambda t: "{" + t) | PLAIN.map(json.dumps))
def test_the_scanner_reads_an_object_or_complains(text):
    try:
        found = members(text)
    except ValueError:
        return
    assert {name: value for name, (value, _) in found.items()} == json.loads(text)
