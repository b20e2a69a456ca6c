"""UnionPay's callbacks: whose they are, and what they say."""

from datetime import timedelta

import pytest
from scripted import EXPIRES, KEY, NOW, REFUND_KEY, converse
from unionpay_side import (
    MER_ID,
    QUERY_ID,
    REFUND_ID,
    REFUNDED,
    TEST_GATEWAY,
    UNIONPAY,
    adapter,
    callback,
    certificate,
    form,
    found,
    reply,
    rsa_sign,
    signed,
    signing,
)

from guilder.channels.model import BadSignature, ClosePayment, Inbound, State, Subject, Unreadable
from guilder.channels.unionpay.states import write_time
from guilder.core import ids
from guilder.core.amount import Amount, cny
from guilder.core.clock import from_unix
from guilder.payments.states import AttemptState, IntentStatus
from payments.room import Room


def test_a_payment():
    notice = adapter().notice(form(signed(callback())))
    assert (notice.subject, notice.payment_key) == (Subject.PAYMENT, None)
    told = notice.outcome
    assert (told.state, told.key, told.channel_ref, told.amount) == (State.SUCCEEDED, KEY, QUERY_ID, cny(1250))
    assert (told.account_ref, told.app_ref, told.at) == (MER_ID, None, from_unix(1795233662))
    assert (told.payer, told.memo) == ("621626*********0018", f"{QUERY_ID}/000201")


def test_it_has_the_same_id_whenever_it_comes_and_another_if_it_says_something_else():
    ids = [
        adapter().notice(form(signed(callback(**fields)))).event_id
        for fields in ({}, {}, {"respCode": "A6"}, {"orderId": REFUND_KEY})
    ]
    assert ids[0] == ids[1] and len(set(ids)) == 3


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"respCode": "A6"}, State.SUCCEEDED),
        ({"respCode": "42"}, State.SUCCEEDED),
        ({"respCode": "05"}, State.PENDING),
        ({"respCode": "64"}, State.PENDING),  # on a page he may try another card
        ({"respCode": "64", "txnSubType": "07"}, State.PENDING),
        ({"respCode": "64", "txnSubType": "06"}, State.FAILED),  # he was scanned
        ({"respCode": "34"}, State.UNKNOWN),
        ({"respCode": "99"}, State.UNKNOWN),
        ({"respCode": "??"}, State.UNKNOWN),
    ],
)
def test_what_codes_amount_to(fields, state):
    assert adapter().notice(form(signed(callback(**fields)))).outcome.state is state


def test_a_refund_names_its_payment():
    notice = adapter().notice(form(signed(callback(**REFUNDED))))
    assert (notice.subject, notice.payment_key, notice.payment_memo) == (Subject.REFUND, KEY, f"{QUERY_ID}/000201")
    told = notice.outcome
    assert (told.state, told.key, told.channel_ref, told.amount) == (State.SUCCEEDED, REFUND_KEY, REFUND_ID, cny(500))
    assert told.payer is None and told.at == from_unix(1795233960)


def test_a_refund_that_failed():
    told = adapter().notice(form(signed(callback(**{**REFUNDED, "respCode": "63"})))).outcome
    assert told.state is State.FAILED and told.problem and told.problem.channel_code == "63"


def test_over_new_year_the_time_is_in_the_next_year():
    said = callback(txnTime="20261231235900", traceTime="0101000102")
    assert adapter().notice(form(signed(said))).outcome.at == from_unix(1798732862)


def test_a_whole_card_number_is_masked_and_another_currency_is_told():
    told = adapter().notice(form(signed(callback(accNo="6216261000000000018", currencyCode="840")))).outcome
    assert (told.payer, told.amount) == ("*********0018", Amount(1250, "USD"))


FORGED = {
    "a stranger's key": signed(callback(), signer="stranger"),
    "another amount": {**signed(callback()), "txnAmt": "1"},
    "one field more": {**signed(callback()), "extra": "1"},
    "one field less": {k: v for k, v in signed(callback()).items() if k != "accNo"},
    "no signature": {k: v for k, v in signed(callback()).items() if k != "signature"},
    "no certificate": {k: v for k, v in signed(callback()).items() if k != "signPubKeyCert"},
    "line ends": {k: v.replace("\r\n", "\n") for k, v in signed(callback()).items()},
    "another's certificate": signed(callback(), pem=signing("041@x@777290058110048:MERCHANT@1")),
    "the test gateway's": signed(callback(), pem=signing(TEST_GATEWAY)),
    "its own authority": signed(callback(), "stranger", certificate(UNIONPAY, "stranger", "middle", "stranger")),
    "hashed once": {**signed(callback()), "signature": rsa_sign("platform", b"txnAmt=1250")},
    "signMethod 11": signed(callback(signMethod="11")),
}


@pytest.mark.parametrize("how", FORGED)
def test_C3_a_forged_callback_tells_nothing(how):
    with pytest.raises(BadSignature):
        adapter().notice(form(FORGED[how]))


@pytest.mark.parametrize(
    "body", [b"", b"a", b"%ff=1", b"a=1&a=2", "金额=1".encode(), b"a=%zz", b"&".join([b"a=1"] * 300)]
)
def test_what_is_no_form_is_no_callback(body):
    with pytest.raises(BadSignature):
        adapter().notice(Inbound({}, body))


@pytest.mark.parametrize(
    "fields",
    [
        {"respCode": ""},
        {"orderId": ""},
        {"txnType": "02"},
        {"txnType": "31"},
        {"txnAmt": "12.50"},
        {"txnAmt": "１２"},
        {"currencyCode": "999"},
        {"traceTime": "1331120102"},
        {"txnTime": "yesterday"},
    ],
    ids=str,
)
def test_signed_and_of_another_form(fields):
    with pytest.raises(Unreadable):
        adapter().notice(form(signed(callback(**fields))))


@pytest.mark.parametrize(("stored", "status"), [(True, 200), (False, 500)])
def test_a_yes_is_200_and_anything_else_a_no(stored, status):
    assert adapter().ack(stored).status == status


@pytest.mark.parametrize("code", ["05", "34"])
@pytest.mark.parametrize("told", ["00", "42", "A6"])
@pytest.mark.parametrize("late_success", ["refund", "accept"])
def test_a_success_after_the_end_that_its_time_made_is_booked_and_kept_or_given_back(code, told, late_success):
    """Two minutes after its payTimeout an order that UnionPay calls accepted, or does not know, has ended for us.  Should money come
    after all, nobody loses it: it is a late success, and the merchant has said what becomes of these."""
    room = Room(late_success)
    attempt = room.begin().attempt
    key = ids.mint_key(attempt.id, attempt.book_id)
    ask = ClosePayment(key, "qr", NOW, memo=write_time(EXPIRES))
    over = EXPIRES + timedelta(seconds=121)
    answer = found("05", orderId=key, txnAmt="100") if code == "05" else reply("34", orderId=key)
    room.hear(attempt, converse(adapter(over).ask(ask), answer)[0], "close", account_ref=MER_ID)
    assert (attempt.state, room.intent.status) == (AttemptState.CLOSED, IntentStatus.REQUIRES_PAYMENT_METHOD)

    paid = adapter(over + timedelta(hours=1)).notice(form(signed(callback(orderId=key, txnAmt="100", respCode=told))))
    assert room.hear(attempt, paid.outcome, account_ref=MER_ID) is None
    assert room.hear(attempt, paid.outcome, account_ref=MER_ID) is None, "told twice"
    if late_success == "accept":
        assert (attempt.state, room.intent.status) == (AttemptState.SURPLUS, IntentStatus.SUCCEEDED)
        assert (room.booked, room.refunds) == (["surplus", "surplus_accepted"], [])
    else:
        assert (attempt.state, room.intent.status) == (AttemptState.SURPLUS, IntentStatus.REQUIRES_PAYMENT_METHOD)
        assert room.booked == ["surplus"] and [(r.amount, r.charge_id) for r in room.refunds] == [(100, None)]
