"""WeChat Pay: what is asked, and what each answer amounts to.  Conversations on a scripted wire."""

import json

import pytest
from scripted import KEY, NOW, REFUND_KEY, close, converse, create, query, query_refund, refund
from wechat_side import (
    APPID,
    CERTIFIED,
    MCHID,
    PUBLIC_KEY_ID,
    Watch,
    adapter,
    certificates,
    error,
    headers,
    refunded,
    reply,
    serial_of,
    signed_by_merchant,
    transaction,
)

from guilder.channels.model import Outcome, QrCode, Retry, State
from guilder.core.amount import Amount, cny
from guilder.core.clock import from_unix
from guilder.core.exchange import HttpReply, NotSent, Silence

CODE_URL = {"code_url": "weixin://wxpay/bizpayurl?pr=qCkSnYm"}
NOT_EXIST = error(404, "ORDER_NOT_EXIST")
NO_REFUND = error(404, "RESOURCE_NOT_EXISTS")
SUCCEEDED = Outcome(
    State.SUCCEEDED,
    key=KEY,
    channel_ref="4200000925202611211234567890",
    amount=cny(1250),
    account_ref=MCHID,
    app_ref=APPID,
    at=from_unix(1795233662),
    payer="oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
)


def state_of(outcome: Outcome) -> tuple[State, str | None, Retry | None]:
    problem = outcome.problem
    return outcome.state, problem and problem.channel_code, problem and problem.retry


def test_a_native_order_is_asked_for_in_wechats_words():
    ask = create("native", payer_ip="203.0.113.9", attach="sim:delay")
    outcome, [call] = converse(adapter().ask(ask), reply(200, CODE_URL))

    assert outcome == Outcome(State.PENDING, next=QrCode(CODE_URL["code_url"]))
    assert (call.method, call.url) == ("POST", "https://api.mch.weixin.qq.com/v3/pay/transactions/native")
    assert json.loads(call.body) == {
        "appid": APPID,
        "mchid": MCHID,
        "description": "两杯咖啡",
        "out_trade_no": KEY,
        "time_expire": "2026-11-21T12:30:00+08:00",
        "notify_url": "https://pay.example/n",
        "amount": {"total": 1250, "currency": "CNY"},
        "attach": "sim:delay",
        "scene_info": {"payer_client_ip": "203.0.113.9"},
    }
    assert signed_by_merchant(call)
    assert call.headers["Wechatpay-Serial"] == PUBLIC_KEY_ID
    assert call.headers["Accept"] == "application/json" and call.headers["User-Agent"]


@pytest.mark.parametrize("base", ["https://api2.mch.weixin.qq.com", "http://127.0.0.1:8002/wechat/"])
def test_the_signature_covers_path_and_query_wherever_the_channel_lives(base):
    _, [call] = converse(adapter(base_url=base).ask(query("native")), reply(200, transaction()))
    assert call.url == f"{base.rstrip('/')}/v3/pay/transactions/out-trade-no/{KEY}?mchid={MCHID}"
    assert call.body == b"" and "Content-Type" not in call.headers
    assert signed_by_merchant(call)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "PARAM_ERROR", (State.FAILED, Retry.NEVER, "processing_error")),
        (401, "SIGN_ERROR", (State.FAILED, Retry.NEVER, "processing_error")),
        (400, "APPID_MCHID_NOT_MATCH", (State.FAILED, Retry.NEVER, "processing_error")),
        (400, "MCH_NOT_EXISTS", (State.FAILED, Retry.NEVER, "processing_error")),
        (403, "NO_AUTH", (State.FAILED, Retry.NEVER, "service_not_allowed")),
        (403, "NOAUTH", (State.FAILED, Retry.NEVER, "service_not_allowed")),
        (403, "RULE_LIMIT", (State.FAILED, Retry.NEW_KEY, "transaction_not_allowed")),
        (403, "ACCOUNT_ERROR", (State.FAILED, Retry.NEW_KEY, "do_not_honor")),
        (202, "USERPAYING", (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
        (429, "FREQUENCY_LIMITED", (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
        (429, "RATELIMIT_EXCEEDED", (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
        (500, "SYSTEM_ERROR", (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
        (500, "BANK_ERROR", (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
        (500, "OPENID_MISMATCH", (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
        (500, "INVALID_TRANSACTIONID", (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
        (400, "WHAT_IS_THIS", (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),  # C1
        (418, "PARAM_ERROR_2", (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
    ],
)
def test_C1_what_each_error_of_a_create_amounts_to(status, code, expected):
    outcome, _ = converse(adapter().ask(create("native")), error(status, code))
    problem = outcome.problem
    assert problem is not None
    assert (outcome.state, problem.retry, problem.decline_code) == expected
    assert problem.channel_code == code


@pytest.mark.parametrize("code", ["OUT_TRADE_NO_USED", "INVALID_REQUEST", "ORDER_CLOSED", "ORDERPAID", "TRADE_ERROR"])
@pytest.mark.parametrize(
    ("found", "state"),
    [
        (reply(200, transaction()), State.SUCCEEDED),
        (reply(200, transaction("NOTPAY")), State.PENDING),
        (reply(200, transaction("CLOSED")), State.CLOSED),
        (NOT_EXIST, State.FAILED),
        (error(500, "SYSTEM_ERROR"), State.UNKNOWN),
        (NotSent(), State.UNKNOWN),
        (Silence(), State.UNKNOWN),
    ],
)
def test_a_refusal_about_the_key_is_settled_by_what_lives_under_it(code, found, state):
    outcome, calls = converse(adapter().ask(create("native")), error(400, code), found)
    assert outcome.state is state
    assert outcome.problem is not None
    assert calls[1].method == "GET"


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("SUCCESS", State.SUCCEEDED),
        ("REFUND", State.SUCCEEDED),
        ("NOTPAY", State.PENDING),
        ("USERPAYING", State.PENDING),
        ("ACCEPT", State.PENDING),
        ("CLOSED", State.CLOSED),
        ("REVOKED", State.CLOSED),
        ("PAYERROR", State.FAILED),
        ("SOMETHING_NEW", State.UNKNOWN),
    ],
)
def test_trade_states(word, state):
    outcome, _ = converse(adapter().ask(query("native")), reply(200, transaction(word)))
    assert (outcome.state, outcome.key, outcome.account_ref) == (state, KEY, MCHID)


def test_C4_a_query_says_all_that_the_channel_said():
    outcome, _ = converse(adapter().ask(query("native")), reply(200, transaction()))
    assert outcome == SUCCEEDED
    wrong = transaction(amount={"total": 1, "currency": "USD"}, mchid="1900000001", out_trade_no="another")
    outcome, _ = converse(adapter().ask(query("native")), reply(200, wrong))
    assert (outcome.amount, outcome.account_ref, outcome.key) == (Amount(1, "USD"), "1900000001", "another")


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (NOT_EXIST, State.NOT_FOUND),
        (error(401, "SIGN_ERROR"), State.UNKNOWN),  # that we may not ask says nothing of the payment
        (error(400, "PARAM_ERROR"), State.UNKNOWN),
        (error(404, "ROUTE_NOT_FOUND"), State.UNKNOWN),
        (error(429, "FREQUENCY_LIMITED"), State.UNKNOWN),
        (error(500, "SYSTEM_ERROR"), State.UNKNOWN),
        (reply(204), State.UNKNOWN),
        (reply(200, b"<html>"), State.UNKNOWN),
        (reply(200, b""), State.UNKNOWN),
        (reply(200, {"trade_state": "SUCCESS"}), State.UNKNOWN),
        (reply(200, transaction(amount={"total": -5, "currency": "CNY"})), State.UNKNOWN),
        (reply(200, transaction(amount={"total": "1250", "currency": "CNY"})), State.UNKNOWN),
        (reply(200, transaction(success_time="yesterday")), State.UNKNOWN),
        (NotSent(), State.UNKNOWN),
        (Silence(), State.UNKNOWN),
    ],
)
def test_C2_a_query_that_brings_no_answer_brings_no_news(answer, state):
    outcome, _ = converse(adapter().ask(query("native")), answer)
    assert outcome.state is state


@pytest.mark.parametrize(
    ("ask", "state"),
    [
        (create("native"), State.FAILED),
        (refund(), State.FAILED),
        (query("native"), State.UNKNOWN),
        (close("native"), State.UNKNOWN),
        (query_refund(), State.UNKNOWN),
    ],
)
def test_C2_not_sent_is_a_failure_where_something_was_to_be_done(ask, state):
    outcome, _ = converse(adapter().ask(ask), NotSent("refused"))
    assert state_of(outcome) == (state, "not_sent", Retry.SAME_KEY)
    outcome, _ = converse(adapter().ask(ask), Silence("reset"))
    assert outcome == Outcome(State.UNKNOWN)


def tampered(answer: HttpReply, **changes: str) -> HttpReply:
    return HttpReply(answer.status, {**answer.headers, **changes}, answer.body)


@pytest.mark.parametrize(
    "answer",
    [
        HttpReply(200, {}, json.dumps(CODE_URL).encode()),
        HttpReply(400, {}, b'{"code":"PARAM_ERROR"}'),
        HttpReply(302, {"location": "https://evil.example/"}, b""),
        reply(200, CODE_URL, signer="stranger"),
        error(400, "PARAM_ERROR", signer="stranger"),
        HttpReply(200, headers(b"something else"), json.dumps(CODE_URL).encode()),
        tampered(reply(200, CODE_URL), **{"wechatpay-timestamp": "1795233601"}),
        tampered(reply(200, CODE_URL), **{"wechatpay-timestamp": "١٧٩٥٢٣٣٦٠٠"}),
        tampered(reply(200, CODE_URL), **{"wechatpay-nonce": ""}),
        tampered(reply(200, CODE_URL), **{"wechatpay-signature": ""}),
        tampered(reply(200, CODE_URL), **{"wechatpay-signature": "WECHATPAY/SIGNTEST/abcd"}),
        tampered(reply(200, CODE_URL), **{"wechatpay-signature": "nöt base64"}),
        tampered(reply(200, CODE_URL), **{"wechatpay-serial": "PUB_KEY_ID_0000000000000000000000000000"}),
        tampered(reply(200, CODE_URL), **{"wechatpay-signature-type": "WECHATPAY2-SM2-WITH-SM3"}),
        reply(200, CODE_URL, at=from_unix(int(NOW.timestamp()) - 300)),
        reply(200, CODE_URL, at=from_unix(int(NOW.timestamp()) + 300)),
    ],
)
def test_C3_a_reply_that_does_not_verify_tells_nothing(answer):
    outcome, _ = converse(adapter().ask(create("native")), answer)
    assert state_of(outcome) == (State.UNKNOWN, "bad_signature", Retry.SAME_KEY)


def test_a_reply_may_be_almost_five_minutes_off():
    outcome, _ = converse(
        adapter().ask(create("native")), reply(200, CODE_URL, at=from_unix(int(NOW.timestamp()) - 299))
    )
    assert outcome.state is State.PENDING


def test_closed_is_closed():
    outcome, [call] = converse(adapter().ask(close("native")), reply(204))
    assert outcome == Outcome(State.CLOSED)
    assert call.url.endswith(f"/out-trade-no/{KEY}/close") and json.loads(call.body) == {"mchid": MCHID}


@pytest.mark.parametrize(
    ("refusal", "found", "state"),
    [
        (error(400, "ORDERPAID"), reply(200, transaction()), State.SUCCEEDED),
        (error(400, "ORDER_CLOSED"), reply(200, transaction("CLOSED")), State.CLOSED),
        (error(202, "USERPAYING"), reply(200, transaction("USERPAYING")), State.PENDING),
        (error(404, "ORDER_NOT_EXIST"), NOT_EXIST, State.NOT_FOUND),
        (error(400, "WHAT_IS_THIS"), Silence(), State.UNKNOWN),
    ],
)
def test_a_close_that_is_refused_asks_what_the_order_is_now(refusal, found, state):
    outcome, _ = converse(adapter().ask(close("native")), refusal, found)
    assert outcome.state is state


def test_a_refund_is_asked_for_in_wechats_words():
    outcome, [call] = converse(adapter().ask(refund()), reply(200, refunded()))
    assert outcome == Outcome(
        State.PENDING, key=REFUND_KEY, channel_ref="50000000382019052709732678859", amount=cny(500)
    )
    assert call.url == "https://api.mch.weixin.qq.com/v3/refund/domestic/refunds"
    assert json.loads(call.body) == {
        "out_trade_no": KEY,
        "out_refund_no": REFUND_KEY,
        "notify_url": "https://pay.example/n",
        "amount": {"refund": 500, "total": 1250, "currency": "CNY"},
        "reason": "冷了",
    }


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, "NOT_ENOUGH", (State.FAILED, Retry.SAME_KEY, "insufficient_funds")),
        (403, "USER_ACCOUNT_ABNORMAL", (State.FAILED, Retry.NEVER, "do_not_honor")),
        (404, "RESOURCE_NOT_EXISTS", (State.FAILED, Retry.NEVER, "processing_error")),
        (400, "PARAM_ERROR", (State.FAILED, Retry.NEVER, "processing_error")),
        (429, "FREQUENCY_LIMITED", (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
        (500, "SYSTEM_ERROR", (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
        (403, "WHAT_IS_THIS", (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
    ],
)
def test_C1_what_each_error_of_a_refund_amounts_to(status, code, expected):
    outcome, _ = converse(adapter().ask(refund()), error(status, code))
    assert outcome.problem is not None
    assert (outcome.state, outcome.problem.retry, outcome.problem.decline_code) == expected


def test_a_refused_refund_may_have_been_made_before():
    refusal = error(400, "INVALID_REQUEST")
    outcome, _ = converse(adapter().ask(refund()), refusal, reply(200, refunded("SUCCESS")))
    assert outcome.state is State.SUCCEEDED
    outcome, _ = converse(adapter().ask(refund()), refusal, NO_REFUND)
    assert state_of(outcome) == (State.FAILED, "INVALID_REQUEST", Retry.NEVER)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("SUCCESS", State.SUCCEEDED),
        ("PROCESSING", State.PENDING),
        ("CLOSED", State.CLOSED),
        ("ABNORMAL", State.FAILED),
        ("SOMETHING_NEW", State.UNKNOWN),
    ],
)
def test_refund_states(word, state):
    outcome, [call] = converse(adapter().ask(query_refund()), reply(200, refunded(word)))
    assert (outcome.state, outcome.key, outcome.amount) == (state, REFUND_KEY, cny(500))
    assert call.url.endswith(f"/v3/refund/domestic/refunds/{REFUND_KEY}")


def test_a_refund_that_is_not_there():
    outcome, _ = converse(adapter().ask(query_refund()), NO_REFUND)
    assert outcome == Outcome(State.NOT_FOUND)


# --- trust by certificate


def by_certificate(name: str, status: int, content: object, at=NOW) -> HttpReply:
    return reply(status, content, signer=name, serial=serial_of(name), at=at)


def test_certificates_are_fetched_before_the_first_call_and_kept_for_twelve_hours():
    watch = Watch()
    channel = adapter(watch, **CERTIFIED)
    answer = by_certificate("certified-1", 200, CODE_URL)
    outcome, calls = converse(channel.ask(create("native")), certificates("certified-1"), answer)
    assert outcome.state is State.PENDING
    assert [c.url.rpartition("/")[2] for c in calls] == ["certificates", "native"]
    assert all(signed_by_merchant(c) and "Wechatpay-Serial" not in c.headers for c in calls)

    watch.forward(hours=11, minutes=59)
    _, calls = converse(channel.ask(query("native")), by_certificate("certified-1", 200, transaction(), watch.at))
    assert len(calls) == 1
    watch.forward(minutes=1)
    fresh = certificates("certified-1", "certified-2", at=watch.at)
    answer = by_certificate("certified-2", 200, transaction(), watch.at)
    outcome, _ = converse(channel.ask(query("native")), fresh, answer)
    assert outcome.state is State.SUCCEEDED


@pytest.mark.parametrize(
    "answer",
    [
        NotSent(),
        Silence(),
        error(500, "SYSTEM_ERROR"),
        reply(200, {"data": []}),
        reply(200, b"nonsense"),
        certificates("certified-1", signer="stranger"),
        certificates("certified-1", apiv3_key="x" * 32),
        certificates("certified-1", at=from_unix(int(NOW.timestamp()) - 600)),
    ],
)
def test_without_certificates_nothing_is_asked(answer):
    channel = adapter(**CERTIFIED)
    outcome, _ = converse(channel.ask(create("native")), answer)
    assert state_of(outcome) == (State.FAILED, "not_sent", Retry.SAME_KEY)


def test_a_certificate_that_is_new_meanwhile_is_fetched_to_verify_the_reply():
    watch = Watch()
    channel = adapter(watch, **CERTIFIED)
    assert converse(channel.refresh_trust(), certificates("certified-1"))[0]
    watch.forward(minutes=2)
    answer = by_certificate("certified-2", 200, transaction(), watch.at)
    fresh = certificates("certified-1", "certified-2", at=watch.at)
    outcome, calls = converse(channel.ask(query("native")), answer, fresh)
    assert outcome.state is State.SUCCEEDED
    assert calls[1].url.endswith("/v3/certificates")


def test_a_stale_certificate_serves_on_while_none_can_be_fetched():
    watch = Watch()
    channel = adapter(watch, **CERTIFIED)
    assert converse(channel.refresh_trust(), certificates("certified-1"))[0]
    watch.forward(days=2)
    answer = by_certificate("certified-1", 200, transaction(), watch.at)
    outcome, _ = converse(channel.ask(query("native")), Silence(), answer)
    assert outcome.state is State.SUCCEEDED
    _, calls = converse(channel.ask(query("native")), answer)
    assert len(calls) == 1, "it asks again only after a minute"
    watch.forward(days=400)
    outcome, _ = converse(channel.ask(create("native")), Silence())
    assert outcome.state is State.FAILED, "an expired certificate serves nobody"


def test_while_a_merchant_switches_both_kinds_of_signature_are_taken():
    channel = adapter(trust="certificate")
    answer = reply(200, transaction())
    outcome, _ = converse(channel.ask(query("native")), certificates("certified-1"), answer)
    assert outcome.state is State.SUCCEEDED
    channel = adapter(trust="public_key")
    answer = by_certificate("certified-1", 200, transaction())
    outcome, _ = converse(channel.ask(query("native")), answer, certificates("certified-1"))
    assert outcome.state is State.SUCCEEDED
