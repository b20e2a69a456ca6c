"""Whatever WeChat Pay's keys have signed, and whatever only claims it: every parser ends in an outcome or in an error of its type."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import KEY, NOW, REFUND_KEY, converse, create, query, query_refund, refund
from test_wechatpay_payouts import ASK as TRANSFER
from test_wechatpay_payouts import QUERY as TRANSFER_QUERY
from test_wechatpay_payouts import SCENE
from test_wechatpay_payouts import bill as transfer
from wechat_side import CERTIFIED, adapter, certificates, envelope, notice, refunded, reply, transaction

from guilder.channels.model import (
    FetchStatement,
    IdentifyPayer,
    Notice,
    Outcome,
    RescueRefund,
    State,
    StatementError,
    StatementKind,
    Unreadable,
)
from guilder.core.exchange import Exchange, HttpReply

CHANNEL = adapter(**SCENE, app_secret="s" * 32)
BY_CERTIFICATE = adapter(**CERTIFIED)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FACTS = {
    **transaction(),
    **refunded(),
    **transfer("SUCCESS"),
    "prepay_id": "wx1",
    "code_url": "weixin://",
    "h5_url": "https://h5",
}
STATUS = st.sampled_from([200, 201, 202, 204, 301, 400, 401, 403, 404, 409, 429, 500, 503])
GIVEN = {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "auth_code": "13" + "0" * 16, "payer_ip": "::1"}
ASKS = [
    *(create(way, given=GIVEN) for way in ("native", "jsapi", "mini", "app", "h5", "codepay")),
    query("native"),
    refund(),
    query_refund(),
    RescueRefund(REFUND_KEY, "5000", KEY, {"type": "merchant"}),
    TRANSFER,
    TRANSFER_QUERY,
]


def changed(facts: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """The documented reply, with some of its fields other than they should be."""
    return st.dictionaries(st.sampled_from(sorted(facts)), ANYTHING).map(lambda other: facts | other)


def ended(exchange: Exchange[Outcome], answer: HttpReply) -> Outcome:
    """The outcome, when the same is answered to whatever is asked."""
    call = next(exchange)
    for _ in range(5):
        try:
            call = exchange.send(answer)
        except StopIteration as stop:
            return stop.value
    raise AssertionError(f"it asks on and on: {call}")


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(ASKS),
    STATUS,
    changed(FACTS) | ANYTHING | st.fixed_dictionaries({"code": ANYTHING, "message": ANYTHING}),
)
def test_whatever_is_signed_ends_an_ask(ask, status, content):
    try:
        body = json.dumps(content).encode()
    except ValueError:
        return
    outcome = ended(CHANNEL.ask(ask), reply(status, body))
    assert isinstance(outcome, Outcome)
    if outcome.state is State.SUCCEEDED:
        assert (
            status == 200
            and outcome.key
            == content["out_trade_no" if ask in ASKS[:7] else "out_refund_no" if ask in ASKS[7:10] else "out_bill_no"]
        )


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(ASKS), STATUS, st.binary(max_size=200))
def test_bytes_that_are_signed_end_an_ask(ask, status, body):
    assert ended(CHANNEL.ask(ask), reply(status, body)).state is not State.SUCCEEDED


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(ASKS), STATUS, changed(FACTS))
def test_C3_whatever_a_stranger_signs_says_nothing(ask, status, content):
    try:
        answer = reply(status, content, signer="stranger")
    except ValueError:
        return
    assert ended(CHANNEL.ask(ask), answer).state is State.UNKNOWN


EVENTS = st.sampled_from(
    ["TRANSACTION.SUCCESS", "REFUND.SUCCESS", "REFUND.ABNORMAL", "MCHTRANSFER.BILL.FINISHED", "COUPON.USE"]
)


@settings(max_examples=300, deadline=None)
@given(changed(FACTS) | ANYTHING, EVENTS)
def test_whatever_is_sealed_is_read_or_unreadable(facts, event):
    try:
        heard = CHANNEL.notice(notice(envelope(json.dumps(facts).encode(), event)))
    except (Unreadable, ValueError) as error:
        assert isinstance(error, Unreadable) or "surrogate" in str(error)
        return
    assert isinstance(heard, Notice) and heard.outcome.key


@settings(max_examples=200, deadline=None)
@given(STATUS, ANYTHING.map(lambda c: json.dumps(c).encode()) | st.binary(max_size=100))
def test_who_holds_the_phone(status, body):
    outcome = ended(CHANNEL.ask(IdentifyPayer("code")), HttpReply(status, {}, body))
    assert outcome.state in (State.UNKNOWN, State.FAILED, State.SUCCEEDED) and (outcome.payer is None or status == 200)


FETCHED = certificates("certified-1").headers


@settings(max_examples=200, deadline=None)
@given(ANYTHING.map(lambda c: json.dumps({"data": c}).encode()) | st.binary(max_size=100))
def test_certificates(body):
    assert converse(BY_CERTIFICATE.refresh_trust(), HttpReply(200, FETCHED, body))[0] is False


@pytest.mark.parametrize("kind", StatementKind)
@settings(max_examples=100, deadline=None)
@given(content=ANYTHING)
def test_where_a_file_is_to_be_fetched(kind, content):
    with pytest.raises(StatementError):
        ask = CHANNEL.statement(FetchStatement(NOW.date(), kind))
        address = (
            content if isinstance(content, dict) else {"hash_type": "SHA1", "hash_value": "0", "download_url": content}
        )
        try:
            answer = reply(200, address)
        except ValueError:
            raise StatementError(None, "not to be encoded") from None  # type: ignore[arg-type]
        next(ask)
        ask.send(answer)
        ask.send(HttpReply(200, {}, b"nothing"))
