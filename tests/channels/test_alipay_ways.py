"""Alipay's other ways: what the payer is handed, and what a scanned code comes to.  Conversations on a scripted wire."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from alipay_side import GATEWAY, SELLER_ID, TRADE_NO, adapter, asked, failed, ok, read_params, reply, trade
from scripted import KEY, close, converse, create, query

from guilder.channels.model import IdentifyPayer, Outcome, Redirect, Retry, Sdk, State
from guilder.core.amount import cny
from guilder.core.clock import from_unix
from guilder.core.exchange import NotSent, Silence

USER, OPEN_ID = "2088101117955611", "074a1CcTG1LelxKe4xQC0zgNdId0nxi95b5lsNpazWYoCo5"
COUNTER = {"store_id": "NJ_001", "terminal_id": "T_2", "operator_id": "yx_3"}
PAID = {
    "trade_no": TRADE_NO,
    "out_trade_no": KEY,
    "total_amount": "12.50",
    "gmt_payment": "2026-11-21 12:01:02",
    "buyer_user_id": USER,
}
NOT_EXIST = failed("trade_query", "ACQ.TRADE_NOT_EXIST")


def test_a_mobile_page_is_a_signed_address_with_a_way_out():
    ask = create("wap", return_url="https://shop.example/back", given={"quit_url": "https://shop.example/cart?a=1"})
    outcome, calls = converse(adapter().ask(ask))
    assert calls == [] and isinstance(outcome.next, Redirect) and outcome.next.url.startswith(GATEWAY + "?")
    params, order = read_params(urlsplit(outcome.next.url).query)
    assert (params["method"], params["return_url"]) == ("alipay.trade.wap.pay", "https://shop.example/back")
    assert (order["product_code"], order["quit_url"]) == ("QUICK_WAP_WAY", "https://shop.example/cart?a=1")


def test_an_app_is_handed_a_signed_order():
    outcome, calls = converse(adapter().ask(create("app", return_url="https://shop.example/back")))
    assert calls == [] and outcome.state is State.PENDING
    assert (
        isinstance(outcome.next, Sdk)
        and outcome.next.kind == "alipay_app"
        and set(outcome.next.params) == {"order_string"}
    )
    params, order = read_params(outcome.next.params["order_string"])
    assert params["method"] == "alipay.trade.app.pay" and params["notify_url"] == "https://pay.example/n"
    assert "return_url" not in params and order["product_code"] == "QUICK_MSECURITY_PAY"


@pytest.mark.parametrize("way", ["jsapi", "mini"])
@pytest.mark.parametrize(
    ("given", "buyer"),
    [
        ({"buyer_id": USER}, {"buyer_id": USER}),
        ({"buyer_id": OPEN_ID}, {"buyer_open_id": OPEN_ID}),
        ({"buyer_id": OPEN_ID, "app_id": "2021000000000001"}, {"op_app_id": "2021000000000001", "op_buyer_open_id": OPEN_ID}),
        ({"buyer_id": USER, "app_id": "2021000000000001"}, {"op_app_id": "2021000000000001", "buyer_id": USER}),
        ({"buyer_id": USER, **COUNTER}, {"buyer_id": USER, **COUNTER}),
    ],
)  # fmt: skip
def test_a_trade_is_made_for_who_is_known(way, given, buyer):
    made = ok("trade_create", out_trade_no=KEY, trade_no=TRADE_NO)
    outcome, [call] = converse(adapter().ask(create(way, given=given)), made)
    assert outcome == Outcome(
        State.PENDING, key=KEY, channel_ref=TRADE_NO, next=Sdk("alipay_jsapi", {"trade_no": TRADE_NO})
    )
    params, order = asked(call)
    assert params["method"] == "alipay.trade.create" and order["product_code"] == "JSAPI_PAY"
    assert {
        name: order[name] for name in order if name.startswith(("buyer", "op_", "store", "terminal", "operator"))
    } == buyer
    assert USER not in call.url and OPEN_ID not in call.url, "what names a person stands in no address"


@pytest.mark.parametrize("sub_code", ["ACQ.CONTEXT_INCONSISTENT", "ACQ.TRADE_HAS_SUCCESS"])
def test_a_trade_that_is_there_already(sub_code):
    ask = create("jsapi", given={"buyer_id": USER})
    outcome, _ = converse(adapter().ask(ask), failed("trade_create", sub_code), ok("trade_query", **trade()))
    assert outcome.state is State.SUCCEEDED and outcome.problem


def scan(**given: str):
    return create("barcode", given={"auth_code": "286012345678901234", **given})


def test_a_scanned_code_is_asked_for_in_alipays_words():
    outcome, [call] = converse(adapter().ask(scan(**COUNTER)), ok("trade_pay", **PAID))
    assert outcome == Outcome(
        State.SUCCEEDED, key=KEY, channel_ref=TRADE_NO, amount=cny(1250), at=from_unix(1795233662), payer=USER
    )
    params, order = asked(call)
    assert params["method"] == "alipay.trade.pay" and "28601234567890" not in call.url
    assert order == {
        "out_trade_no": KEY,
        "total_amount": "12.50",
        "subject": "两杯咖啡",
        "seller_id": SELLER_ID,
        "scene": "bar_code",
        "auth_code": "286012345678901234",
        "timeout_express": "1m",
        **COUNTER,
    }


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (failed("trade_pay", code="10003"), (State.PENDING, None, None)),
        (reply("trade_pay", {"code": "10003", "msg": "order success pay inprocess"}), (State.PENDING, None, None)),  # no sub_code
        (failed("trade_pay", "aop.ACQ.SYSTEM_ERROR", "20000"), (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
        (failed("trade_pay", "isp.unknow-error", "20000"), (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
        (failed("trade_pay", "ACQ.SYSTEM_ERROR"), (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
        (failed("trade_pay", "ACQ.WHAT_IS_THIS"), (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
        (failed("trade_pay", "ACQ.BUYER_BALANCE_NOT_ENOUGH"), (State.FAILED, Retry.NEW_KEY, "insufficient_funds")),
        (failed("trade_pay", "ACQ.TOTAL_FEE_EXCEED"), (State.FAILED, Retry.NEVER, "invalid_amount")),
        (failed("trade_pay", "isv.invalid-signature", "40002"), (State.FAILED, Retry.NEVER, "processing_error")),
        (ok("trade_pay", **{**PAID, "total_amount": "?"}), (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
        (ok("trade_pay"), (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
        (reply("trade_pay", {"code": "10000", **PAID}, signer="stranger"), (State.UNKNOWN, Retry.SAME_KEY, "processing_error")),
        (NotSent(), (State.FAILED, Retry.SAME_KEY, "processing_error")),
        (Silence(), (State.UNKNOWN, None, None)),
    ],
)  # fmt: skip
def test_C1_what_each_answer_to_a_scanned_code_amounts_to(answer, expected):
    outcome, _ = converse(adapter().ask(scan()), answer)
    problem = outcome.problem
    assert (outcome.state, problem and problem.retry, problem and problem.decline_code) == expected
    assert outcome.next is None


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (ok("trade_query", **trade()), State.SUCCEEDED),
        (ok("trade_query", **trade("WAIT_BUYER_PAY")), State.PENDING),
        (NOT_EXIST, State.FAILED),
        (Silence(), State.UNKNOWN),
    ],
)
@pytest.mark.parametrize("sub_code", ["ACQ.PAYMENT_AUTH_CODE_INVALID", "ACQ.TRADE_HAS_SUCCESS"])
def test_a_code_that_is_spent_may_have_paid_for_this(sub_code, found, state):
    outcome, _ = converse(adapter().ask(scan()), failed("trade_pay", sub_code), found)
    assert outcome.state is state and outcome.problem is not None


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ([ok("trade_cancel", retry_flag="Y"), ok("trade_cancel", retry_flag="N", action="close")], State.CLOSED),
        ([ok("trade_cancel", retry_flag="Y", action="refund"), ok("trade_cancel", retry_flag="N", action="refund")], State.CLOSED),
        ([ok("trade_cancel", retry_flag="Y"), failed("trade_cancel", "ACQ.SYSTEM_ERROR"), ok("trade_query", **trade())], State.SUCCEEDED),
        ([ok("trade_cancel", retry_flag="Y")] * 3, State.UNKNOWN),
        ([ok("trade_cancel", retry_flag="Y"), Silence()], State.UNKNOWN),
    ],
)  # fmt: skip
def test_a_cancel_is_repeated_until_it_is_definite(answers, state):
    outcome, calls = converse(adapter().ask(close("barcode", cancel=True)), *answers)
    assert outcome.state is state
    assert {asked(call)[1]["out_trade_no"] for call in calls} == {KEY}


@pytest.mark.parametrize("way", ["wap", "app", "jsapi", "mini", "barcode"])
def test_every_way_is_asked_about_by_our_key(way):
    outcome, [call] = converse(adapter().ask(query(way)), ok("trade_query", **trade()))
    assert outcome.state is State.SUCCEEDED and asked(call)[1] == {"out_trade_no": KEY}


# --- who holds the wallet


def test_a_wallet_is_asked_who_holds_it():
    at = adapter(oauth_url="https://oauth.example/a.htm").identify_url("https://pay.example/back?x=1&y=2", "s1")
    assert at.startswith("https://oauth.example/a.htm?")
    assert dict(parse_qsl(urlsplit(at).query)) == {
        "app_id": "2021000123456789",
        "scope": "auth_base",
        "redirect_uri": "https://pay.example/back?x=1&y=2",
        "state": "s1",
    }


WHO = {"user_id": USER, "access_token": "authbseB", "expires_in": 300, "refresh_token": "authbseR"}


@pytest.mark.parametrize(
    ("answer", "state", "payer"),
    [
        (reply("system_oauth_token", WHO), State.SUCCEEDED, USER),
        (reply("system_oauth_token", {"open_id": OPEN_ID, "access_token": "x"}), State.SUCCEEDED, OPEN_ID),
        (reply("system_oauth_token", {"code": "10000", **WHO}), State.SUCCEEDED, USER),
        (reply("system_oauth_token", {"access_token": "x"}), State.UNKNOWN, None),
        (failed("system_oauth_token", "isv.code-invalid", "40002"), State.FAILED, None),
        (failed("system_oauth_token", "aop.unknow-error", "20000"), State.UNKNOWN, None),
        (reply("system_oauth_token", WHO, signer="stranger"), State.UNKNOWN, None),
        (Silence(), State.UNKNOWN, None),
        (NotSent(), State.UNKNOWN, None),
    ],
)
def test_who_a_code_came_from(answer, state, payer):
    outcome, [call] = converse(adapter().ask(IdentifyPayer("4b203fe6c11548bcabd8da5bb087a83b")), answer)
    assert (outcome.state, outcome.payer) == (state, payer)
    params, content = asked(call)
    assert content is None and params["code"] == "4b203fe6c11548bcabd8da5bb087a83b"
    assert params["grant_type"] == "authorization_code" and "code=" not in call.url
