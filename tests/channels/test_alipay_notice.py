"""Alipay's callbacks: who is believed, and what they say."""

from urllib.parse import urlencode

import pytest
from alipay_side import APP_ID, SELLER_ID, TRADE_NO, adapter, callback, form, notice, text_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import KEY, REFUND_KEY
from wechat_side import sign

from guilder.channels.model import BadSignature, Inbound, Notice, Outcome, State, Subject, Unreadable
from guilder.core.amount import cny
from guilder.core.clock import from_unix

CHANNEL = adapter()
EVENT = "2026112100222120103058860591234567"


def test_a_payment():
    outcome = Outcome(
        State.SUCCEEDED,
        key=KEY,
        channel_ref=TRADE_NO,
        amount=cny(1250),
        account_ref=SELLER_ID,
        app_ref=APP_ID,
        at=from_unix(1795233662),
        payer="2088101117955611",
    )
    assert CHANNEL.notice(notice(callback())) == Notice(EVENT, Subject.PAYMENT, outcome)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("WAIT_BUYER_PAY", State.PENDING),
        ("TRADE_SUCCESS", State.SUCCEEDED),
        ("TRADE_FINISHED", State.SUCCEEDED),
        ("TRADE_CLOSED", State.CLOSED),
        ("TRADE_PENDING", State.UNKNOWN),
    ],
)
def test_trade_states(word, state):
    heard = CHANNEL.notice(notice(callback(trade_status=word, refund_fee="0.00")))
    assert (heard.subject, heard.outcome.state) == (Subject.PAYMENT, state)


@pytest.mark.parametrize("word", ["TRADE_SUCCESS", "TRADE_CLOSED"])
@pytest.mark.parametrize(
    ("marks", "key"),
    [
        ({"refund_fee": "5.00", "gmt_refund": "2026-11-21 12:06:00.123", "out_biz_no": REFUND_KEY}, REFUND_KEY),
        ({"out_biz_no": REFUND_KEY}, REFUND_KEY),
        ({"refund_fee": "5.00"}, None),
        ({"gmt_refund": "2026-11-21 12:06:00.123"}, None),
    ],
)
def test_a_refund_is_not_a_payment(word, marks, key):
    heard = CHANNEL.notice(notice(callback(trade_status=word, **marks)))
    assert (heard.subject, heard.payment_key) == (Subject.REFUND, KEY)
    assert (heard.outcome.state, heard.outcome.key) == (State.SUCCEEDED, key)
    assert heard.outcome.amount is None, "refund_fee is the sum of all refunds"
    assert heard.outcome.at == (from_unix(1795233960) if "gmt_refund" in marks else None)


GOOD = callback()
SIGNATURE = sign("platform", text_of(GOOD))
SIGNED = {**GOOD, "sign_type": "RSA2", "sign": SIGNATURE}


@pytest.mark.parametrize(
    "inbound",
    [
        form({}),
        form(GOOD),
        form(SIGNED | {"sign": ""}),
        form(SIGNED | {"sign": "WECHATPAY/SIGNTEST/"}),
        form(SIGNED | {"sign": "签名"}),
        form(SIGNED | {"sign_type": "RSA"}),
        form(SIGNED | {"sign_type": ""}),
        form(SIGNED | {"total_amount": "0.01"}),
        form(SIGNED | {"trade_status": "TRADE_FINISHED"}),
        form(SIGNED | {"further": "field"}),
        form({k: v for k, v in SIGNED.items() if k != "seller_id"}),
        notice(GOOD, signer="stranger"),
        form([*SIGNED.items(), ("total_amount", "0.01")]),
        form([*SIGNED.items(), ("total_amount", "12.50")]),  # twice the same is twice
        form([(f"f{n}", "") for n in range(500)]),
        Inbound({}, b""),
        Inbound({}, b"\xff\xfe"),
        Inbound({}, b"a=%ff&sign_type=RSA2"),
        Inbound({}, urlencode(SIGNED).encode()[:-30]),
        Inbound({}, b'{"sign":"x"}'),
    ],
    ids=lambda inbound: "",
)
def test_nobody_else_is_believed(inbound):
    with pytest.raises(BadSignature):
        CHANNEL.notice(inbound)


def test_empty_fields_are_not_signed():
    assert CHANNEL.notice(notice(callback(body="", passback_params=""))).event_id == EVENT


@pytest.mark.parametrize(
    "changes",
    [
        {"total_amount": "twelve"},
        {"total_amount": "12.505"},
        {"total_amount": ""},
        {"refund_fee": "?"},
        {"gmt_payment": "2026-13-01 00:00:00"},
        {"gmt_payment": "0001-01-01 00:00:00"},
        {"gmt_refund": "2026-11-21T12:06:00Z"},
    ],
)
def test_what_is_signed_and_yet_not_of_the_documented_form(changes):
    with pytest.raises(Unreadable):
        CHANNEL.notice(notice(callback(**changes)))


@pytest.mark.parametrize("name", ["notify_id", "app_id", "out_trade_no", "trade_no", "trade_status", "total_amount"])
def test_what_is_signed_and_leaves_out_what_matters(name):
    with pytest.raises(Unreadable):
        CHANNEL.notice(notice({k: v for k, v in callback().items() if k != name}))


def test_acknowledged_only_when_stored():
    assert CHANNEL.ack(True).body == b"success"
    assert CHANNEL.ack(False).body != b"success"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet="sign_typeRSA2=&%+f0", max_size=80).map(str.encode))
def test_whatever_is_not_signed_is_refused(body):
    with pytest.raises(BadSignature):
        CHANNEL.notice(Inbound({}, body))


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from([*callback(), "refund_fee", "gmt_refund", "out_biz_no"]), st.text(max_size=20)))
def test_whatever_is_signed_is_read_or_unreadable(changes):
    changes = {k: v.encode(errors="ignore").decode() for k, v in changes.items()}
    try:
        heard = CHANNEL.notice(notice(callback(**changes)))
    except Unreadable:
        return
    assert heard.event_id is not None
