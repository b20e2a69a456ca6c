"""WeChat Pay's callbacks: who is believed, and what they say."""

import json
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import KEY, NOW, REFUND_KEY, converse
from test_wechatpay import SUCCEEDED
from wechat_side import (
    CERTIFIED,
    Watch,
    adapter,
    certificates,
    envelope,
    headers,
    notice,
    refunded,
    sealed,
    serial_of,
    transaction,
)

from guilder.channels.model import BadSignature, Inbound, NeedsTrust, Notice, State, Subject, Unreadable
from guilder.core.amount import cny

CHANNEL = adapter()
PAID = envelope(transaction())


def test_a_payment():
    assert CHANNEL.notice(notice(PAID)) == Notice("EV-2018022511223320873", Subject.PAYMENT, SUCCEEDED)


@pytest.mark.parametrize(
    ("word", "state"), [("SUCCESS", State.SUCCEEDED), ("ABNORMAL", State.FAILED), ("CLOSED", State.CLOSED)]
)
def test_a_refund(word, state):
    said = {k: v for k, v in refunded(word).items() if k != "status"} | {"refund_status": word, "mchid": "1900000109"}
    del said["amount"]["currency"]
    heard = CHANNEL.notice(notice(envelope(said, f"REFUND.{word}")))
    assert (heard.subject, heard.payment_key, heard.outcome.state) == (Subject.REFUND, KEY, state)
    assert (heard.outcome.key, heard.outcome.amount, heard.outcome.account_ref) == (REFUND_KEY, cny(500), "1900000109")


def test_a_late_callback_is_as_good_as_a_prompt_one():
    assert CHANNEL.notice(notice(PAID, at=NOW - timedelta(hours=20))).outcome == SUCCEEDED


def without(inbound: Inbound, **changes: str) -> Inbound:
    return Inbound({**inbound.headers, **{f"wechatpay-{k}": v for k, v in changes.items()}}, inbound.body)


GOOD = notice(PAID)
OTHER = json.dumps(envelope(transaction(amount={"total": 999999}))).encode()


@pytest.mark.parametrize(
    "inbound",
    [
        Inbound({}, GOOD.body),
        Inbound(GOOD.headers, OTHER),
        Inbound(GOOD.headers, GOOD.body + b" "),
        Inbound(GOOD.headers, GOOD.body[:-40]),
        Inbound(GOOD.headers, b""),
        notice(PAID, signer="stranger"),
        notice(PAID, serial="PUB_KEY_ID_0000000000000000000000000000"),
        notice(PAID, serial=""),
        without(GOOD, signature=""),
        without(GOOD, signature="WECHATPAY/SIGNTEST/" + GOOD.headers["wechatpay-signature"]),
        without(GOOD, signature=GOOD.headers["wechatpay-signature"][:-8]),
        without(GOOD, timestamp="0"),
        without(GOOD, nonce="another"),
        without(GOOD, nonce="\udcff"),
    ],
    ids=lambda inbound: "",
)
def test_nobody_else_is_believed(inbound):
    with pytest.raises(BadSignature):
        CHANNEL.notice(inbound)


TWICE = b'{"id":"EV-1","id":"EV-2",' + json.dumps(PAID).encode()[1:]
PAID_TWICE = b'{"amount":{"total":1},' + json.dumps(transaction()).encode()[1:]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"id":1}',
        b"\xff\xfe",
        b"[" * 100_000,
        TWICE,
        envelope(PAID_TWICE),
        envelope(transaction(), "MCHTRANSFER.BILL.FINISHED"),
        envelope(transaction(), resource={}),
        envelope(transaction(), resource=None),
        envelope(transaction(), resource={"algorithm": "AEAD_AES_256_GCM", "ciphertext": "", "nonce": ""}),
        envelope(transaction(), resource=sealed(b"{}") | {"algorithm": "none"}),
        envelope(transaction(), resource=sealed(b"{}") | {"nonce": "fdasflkja485"}),
        envelope(transaction(), resource=sealed(b"{}") | {"nonce": "\ud800"}),
        envelope(transaction(), resource=sealed(b"{}") | {"associated_data": "certificate"}),
        envelope(transaction(), resource=sealed(b"{}") | {"ciphertext": "not base64!"}),
        envelope(transaction(), resource=sealed(json.dumps(transaction()).encode(), apiv3_key="y" * 32)),
        envelope(b"{}"),
        envelope(b"<xml/>"),
        envelope(transaction(out_trade_no=7)),
        envelope(transaction(out_trade_no="a\u0000b")),
        envelope(transaction(out_trade_no="\ud83d")),
        envelope(transaction(success_time="2026-11-21T12:01:02")),
        envelope(transaction(success_time="0001-01-01T00:00:00+08:00")),
        envelope(transaction(amount={"total": 12.5, "currency": "CNY"})),
        envelope(transaction(amount={"total": True, "currency": "CNY"})),
        envelope(transaction(amount={"total": 2**63, "currency": "CNY"})),
    ],
    ids=lambda body: "",
)
def test_what_is_signed_and_yet_not_of_the_documented_form(body):
    with pytest.raises(Unreadable):
        CHANNEL.notice(notice(body))


def test_an_unknown_certificate_asks_for_trust_once_a_minute():
    watch = Watch()
    channel = adapter(watch, **CERTIFIED)
    told = notice(PAID, signer="certified-1", serial=serial_of("certified-1"))
    with pytest.raises(NeedsTrust):
        channel.notice(told)
    learnt, _ = converse(channel.refresh_trust(), certificates("certified-1"))
    assert learnt and channel.notice(told).outcome == SUCCEEDED

    stranger = notice(PAID, signer="stranger", serial="7F00FF00")
    with pytest.raises(BadSignature):
        channel.notice(stranger)
    watch.forward(minutes=1)
    with pytest.raises(NeedsTrust):
        channel.notice(stranger)
    converse(channel.refresh_trust(), certificates("certified-1", at=watch.at))
    with pytest.raises(BadSignature):
        channel.notice(stranger)
    with pytest.raises(BadSignature):
        channel.notice(notice(PAID, signer="stranger", serial=serial_of("certified-1")))


def test_the_serial_number_is_the_same_in_small_letters():
    channel = adapter(**CERTIFIED)
    converse(channel.refresh_trust(), certificates("certified-1"))
    assert channel.notice(notice(PAID, signer="certified-1", serial=serial_of("certified-1").lower()))


def test_an_expired_certificate_is_not_believed():
    watch = Watch()
    channel = adapter(watch, **CERTIFIED)
    converse(channel.refresh_trust(), certificates("certified-1"))
    watch.forward(days=400)
    with pytest.raises(BadSignature):
        channel.notice(notice(PAID, signer="certified-1", serial=serial_of("certified-1")))


def test_acknowledged_only_when_stored():
    assert CHANNEL.ack(True).status == 204
    refused = CHANNEL.ack(False)
    assert refused.status == 500 and json.loads(refused.body)["code"] == "FAIL"


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=300) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(repr).map(str.encode)
)
def test_whatever_is_signed_is_read_or_unreadable(body):
    with pytest.raises(Unreadable):
        CHANNEL.notice(Inbound(headers(body), body))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(GOOD.headers)), st.text(max_size=40)), st.binary(max_size=100))
def test_whatever_is_not_signed_is_refused(changes, body):
    with pytest.raises((BadSignature, NeedsTrust)):
        CHANNEL.notice(Inbound({**GOOD.headers, "wechatpay-serial": "PUB_KEY_ID_1", **changes}, body))


FACTS = st.dictionaries(
    st.sampled_from([*transaction(), "refund_id", "out_refund_no", "refund_status"]),
    st.none()
    | st.text(max_size=30)
    | st.integers()
    | st.floats()
    | st.dictionaries(st.text(max_size=8), st.integers()),
)


@settings(max_examples=150, deadline=None)
@given(FACTS, st.sampled_from(["TRANSACTION.SUCCESS", "REFUND.SUCCESS"]))
def test_whatever_is_sealed_is_read_or_unreadable(facts, event):
    try:
        heard = CHANNEL.notice(notice(envelope(transaction(**facts), event)))
    except Unreadable:
        return
    assert heard.outcome.key
