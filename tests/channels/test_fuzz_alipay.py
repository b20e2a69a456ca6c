"""Whatever bytes come from Alipay, or from whoever plays it, end in what the port knows: an outcome, a typed error, nothing else."""

import base64
import json
from typing import Any

import pytest
from alipay_side import adapter, callback, certificate, certified, notice, number, reply
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import KEY, NOW, close, create, query, query_refund, refund
from test_alipay_funds import GOOD as FUNDS
from test_alipay_payouts import ASK, QUERY, message
from test_alipay_statement import GOOD as TRADES
from test_alipay_statement import packed, packed_as

from guilder.channels.alipay.funds import read_funds
from guilder.channels.alipay.statement import read_statement
from guilder.channels.model import (
    Ask,
    BadSignature,
    IdentifyPayer,
    Inbound,
    NeedsTrust,
    Outcome,
    State,
    StatementError,
    StatementProblem,
    Unreadable,
)
from guilder.core.exchange import Exchange, HttpReply

DAY = NOW.date()
GIVEN = {"buyer_id": "2088101117955611", "auth_code": "281234567890120099"}
ASKS: list[Ask] = [
    *(create(way, given=GIVEN) for way in ("precreate", "jsapi", "barcode")),
    query("page"),
    close("page"),
    close("page", cancel=True),
    refund(),
    query_refund(),
    ASK,
    QUERY,
    IdentifyPayer("4b203fe6c11548bcabd8da5bb087a83b"),
]
KEYED, CERTIFIED = adapter(), certified()
NEXT = number("root", 23)
TEXT = st.text(max_size=12)
WORDS = TEXT | st.sampled_from(
    ["10000", "10003", "40004", "20000", "TRADE_SUCCESS", "WAIT_BUYER_PAY", "SUCCESS", "FAIL", "DEALING", "Y", "N", "close", "12.50", "12.505",
     "2026-11-21 12:01:02", "2026-11-21 25:00:00", "9999-12-31 23:59:59", "0001-01-01 00:00:00", "ACQ.TRADE_NOT_EXIST", "ORDER_NOT_EXIST", KEY]
)  # fmt: skip
VALUES = WORDS | st.none() | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.lists(TEXT, max_size=2)
NAMES = st.sampled_from(
    ["code", "msg", "sub_code", "sub_msg", "out_trade_no", "trade_no", "trade_status", "total_amount", "send_pay_date", "gmt_payment",
     "buyer_user_id", "qr_code", "retry_flag", "action", "fund_change", "gmt_refund_pay", "refund_status", "refund_amount",
     "out_request_no", "out_biz_no", "status", "order_id", "trans_amount", "trans_date", "pay_date", "error_code", "fail_reason", "user_id",
     "open_id", "alipay_cert_content"]
)  # fmt: skip
NODES = st.dictionaries(NAMES, VALUES, max_size=12) | st.dictionaries(NAMES, WORDS, min_size=6, max_size=16)


def carried(exchange: Exchange[Any], answer: Any) -> Any:
    """Carry out an exchange whose every call is answered alike."""
    try:
        call = next(exchange)
        for _ in range(8):
            call = exchange.send(answer(call))
    except StopIteration as stop:
        return stop.value
    raise AssertionError(f"it asks and asks: {call.url}")


def method(call: Any) -> str:
    return call.url.partition("method=alipay.")[2].partition("&")[0].replace(".", "_")


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ASKS), NODES)
def test_whatever_is_signed_becomes_an_outcome(ask, node):
    outcome = carried(KEYED.ask(ask), lambda call: reply(method(call), {"code": "10000", **node}))
    assert isinstance(outcome, Outcome)
    assert outcome.state is not State.AUTHORISED


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(ASKS), st.binary(max_size=120), st.sampled_from([0, 1, 20, -1]), st.sampled_from([KEYED, CERTIFIED])
)
def test_whatever_is_not_signed_tells_nothing(ask, junk, at, channel):
    good = reply("trade_query", {"code": "10000", "out_trade_no": KEY}, signer="stranger", by=NEXT).body
    body = junk if at == 0 else good[:at] + junk + good[at:]
    assert carried(channel.ask(ask), lambda call: HttpReply(200, {}, body)).state is State.UNKNOWN


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=200)
    | st.binary(max_size=8).map(lambda b: base64.b64encode(certificate("next", serial=23).encode() + b)),
    st.booleans(),
)
def test_whatever_is_said_to_be_a_certificate(content, cut):
    text = content.decode("latin-1")[: 300 if cut else None]

    def answer(call: Any) -> HttpReply:
        if "alipaycert" in call.url:
            node = json.dumps({"code": "10000", "alipay_cert_content": text})
            return HttpReply(200, {}, b'{"alipay_open_app_alipaycert_download_response":%s}' % node.encode())
        return reply("trade_query", {"code": "10000"}, "stranger", by=NEXT)

    assert carried(certified().ask(query("page")), answer).state is State.UNKNOWN


@settings(max_examples=300, deadline=None)
@given(
    st.booleans(),
    st.dictionaries(NAMES | st.sampled_from([*callback(), *message(), "refund_fee", "gmt_refund"]), WORDS, max_size=6),
)
def test_whatever_is_signed_as_a_callback(of_transfer, changes):
    changes = {k: v.encode(errors="ignore").decode() for k, v in changes.items()}
    for channel in (KEYED, CERTIFIED):
        try:
            heard = channel.notice(notice({**(message() if of_transfer else callback()), **changes}))
        except (Unreadable, NeedsTrust):
            continue
        assert heard.event_id is not None


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(VALUES, lambda c: st.lists(c, max_size=2) | st.dictionaries(NAMES, c, max_size=5), max_leaves=8)
    | st.text(max_size=40)
)
def test_whatever_a_message_holds(content):
    text = content if isinstance(content, str) else json.dumps(content)
    try:
        heard = KEYED.notice(notice(message(biz_content=text.encode(errors="ignore").decode())))
    except Unreadable:
        return
    assert isinstance(heard.outcome, Outcome)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | st.text(alphabet="sign_type=RSA2&%+f0alipay_cert_sn", max_size=120).map(str.encode))
def test_whatever_is_not_signed_is_no_callback(body):
    for channel in (KEYED, CERTIFIED):
        with pytest.raises((BadSignature, NeedsTrust)):
            channel.notice(Inbound({}, body))


FILES = {
    "trade": (read_statement, TRADES, packed),
    "funds": (read_funds, FUNDS, lambda raw: packed_as("账务明细", raw, None)),
}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(FILES)), st.integers(0, 4000), st.binary(max_size=6), st.integers(0, 12), st.booleans())
def test_whatever_is_done_to_a_bill(name, at, put, cut, inside):
    read, raw, pack = FILES[name]
    whole = raw if inside else pack(raw)
    at %= len(whole)
    damaged = whole[:at] + put + whole[at + cut :]
    try:
        statement = read(DAY, pack(damaged) if inside else damaged)
    except StatementError as error:
        assert error.problem is StatementProblem.CORRUPT
        return
    assert all(line.amount.asset == "CNY" for line in statement.lines)
