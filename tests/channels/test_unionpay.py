"""UnionPay: what is asked, and what each answer amounts to.  Conversations on a scripted wire."""

from base64 import b64decode
from dataclasses import replace
from datetime import timedelta

import pytest
from scripted import EXPIRES, KEY, NOW, REFUND_KEY, close, converse, create, query, query_refund, refund
from unionpay_side import (
    MER_ID,
    QUERY_ID,
    REFUND_ID,
    REFUNDED,
    adapter,
    as_sent,
    asked,
    body,
    found,
    reply,
    signed_by_merchant,
    signing,
)

from guilder.channels.model import CreatePayment, Form, Outcome, QrCode, Retry, Sdk, State
from guilder.channels.unionpay.states import REFUSED
from guilder.channels.unionpay.ways import INFO
from guilder.core.amount import cny
from guilder.core.clock import from_unix
from guilder.core.exchange import HttpReply, NotSent, Silence

SENT, UNTIL, PAID_MEMO = "20261121120000", "20261121123000", f"{QUERY_ID}/000000"
API = "https://gateway.95516.com/gateway/api/"
CODE = "6212345678901234567"
BASICS = {"version": "5.1.0", "encoding": "UTF-8", "signMethod": "01", "accessType": "0", "merId": MER_ID}
ORDER = {
    **BASICS,
    "txnType": "01",
    "orderId": KEY,
    "txnTime": SENT,
    "txnAmt": "1250",
    "currencyCode": "156",
    "backUrl": "https://pay.example/n",
    "orderDesc": "两杯咖啡",
    "reqReserved": "两杯咖啡",
}
QR = {"qrCode": "https://qr.95516.com/00010000/62123"}
AFTER = EXPIRES + timedelta(seconds=121)


def order(way: str, **changes: object) -> CreatePayment:
    given = {"given": {"auth_code": CODE}} if way == "barcode" else {}
    return create(way, **{"created_at": NOW, **given, **changes})


def paid_refund(memo: str | None = PAID_MEMO):
    return replace(refund(), created_at=NOW, payment_memo=memo, payment_created_at=NOW - timedelta(days=1))


def state_of(outcome: Outcome) -> tuple[State, str | None, Retry | None]:
    problem = outcome.problem
    return outcome.state, problem and problem.channel_code, problem and problem.retry


# --- what is asked


@pytest.mark.parametrize(("way", "channel_type"), [("page", "07"), ("wap", "08")])
def test_a_page_is_a_signed_form_and_no_call(way, channel_type):
    outcome, calls = converse(adapter().ask(order(way, return_url="https://shop.example/back?a=1&b=2")))
    assert calls == [] and (outcome.state, outcome.memo) == (State.PENDING, UNTIL)
    assert isinstance(outcome.next, Form) and outcome.next.url == f"{API}frontTransReq.do"
    assert signed_by_merchant(dict(outcome.next.fields)) == {
        **ORDER,
        "txnSubType": "01",
        "bizType": "000201",
        "channelType": channel_type,
        "payTimeout": UNTIL,
        "frontUrl": "https://shop.example/back?a=1&b=2",
        "riskRateInfo": "{commodityName=两杯咖啡}",
    }


def test_a_qr_code():
    outcome, [call] = converse(adapter().ask(order("qr")), reply(txnSubType="07", **QR))
    assert outcome == Outcome(State.PENDING, key=KEY, next=QrCode(QR["qrCode"]), memo=UNTIL)
    assert call.url == f"{API}backTransReq.do"
    assert asked(call) == {
        **ORDER, "txnSubType": "07", "bizType": "000000", "channelType": "08", "payTimeout": UNTIL,
    }  # fmt: skip


def test_a_barcode():
    ask = order("barcode", given={"auth_code": CODE, "terminal_id": "T0000001"})
    outcome, [call] = converse(adapter().ask(ask), reply(txnSubType="06", queryId=QUERY_ID))
    assert outcome == Outcome(State.PENDING, key=KEY, memo=PAID_MEMO)
    assert call.url == f"{API}backTransReq.do"
    assert asked(call) == {
        **ORDER, "txnSubType": "06", "bizType": "000000", "channelType": "08", "qrNo": CODE, "termId": "T0000001",
    }  # fmt: skip


@pytest.mark.parametrize(("stage", "mode"), [("production", "00"), ("test", "01")])
def test_the_app(stage, mode):
    outcome, [call] = converse(adapter(stage=stage).ask(order("app")), reply(tn="589612345678901234567"))
    assert outcome.next == Sdk("unionpay_app", {"tn": "589612345678901234567", "mode": mode})
    assert call.url == f"{API}appTransReq.do" and asked(call)["bizType"] == "000201"


def test_what_a_merchant_attaches_goes_in_base64_and_the_description_without_what_parsers_trip_over():
    _, [call] = converse(
        adapter().ask(order("qr", attach="sim:query:delay=3", description="a&b={c}[d]\n" + "长" * 50)), reply(**QR)
    )
    fields = asked(call)
    assert b64decode(fields["reqReserved"]) == b"sim:query:delay=3"
    assert fields["orderDesc"] == "a b  c  d  " + "长" * 21


def test_every_way_is_declared_and_asked():
    for way in INFO.ways:
        outcome, _ = converse(adapter().ask(order(way.name)), *([] if way.shows == "form" else [reply(tn="1", **QR)]))
        assert outcome.state is State.PENDING and (outcome.next is None) == (way.shows == "nothing")


# --- what the answer to a create amounts to


@pytest.mark.parametrize("code", [c for c in REFUSED if c not in ("12", "35", "36", "45")])
def test_a_listed_refusal_is_final(code):
    outcome, _ = converse(adapter().ask(order("qr")), reply(code))
    assert outcome.state is State.FAILED and outcome.problem and outcome.problem.channel_code == code


@pytest.mark.parametrize(
    "code", ["03", "04", "06", "37", "42", "70", "74", "75", "79", "98", "99", "A6", "", "000", "0", "xx"]
)
def test_C1_what_settles_nothing_is_unknown(code):
    outcome, _ = converse(adapter().ask(order("qr")), reply(code))
    assert outcome.state is State.UNKNOWN


def test_accepted_for_later_waits():
    outcome, _ = converse(adapter().ask(order("barcode")), reply("05", queryId=QUERY_ID))
    assert (outcome.state, outcome.memo) == (State.PENDING, PAID_MEMO)


def test_accepted_with_nothing_to_show_is_unknown():
    for way in ("qr", "app"):
        assert converse(adapter().ask(order(way)), reply())[0].state is State.UNKNOWN


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (found("00", orderId=KEY), (State.SUCCEEDED, "12")),
        (found("05"), (State.PENDING, "12")),
        (reply("34"), (State.FAILED, "12")),
        (reply("34", signer="stranger"), (State.UNKNOWN, "bad_signature")),
        (reply("06"), (State.UNKNOWN, "06")),
        (Silence(), (State.UNKNOWN, "12")),
    ],
)
def test_C6_of_a_repetition_what_lives_under_the_key_decides(second, expected):
    outcome, [_, ask] = converse(adapter().ask(order("qr")), reply("12"), second)
    assert (outcome.state, outcome.problem and outcome.problem.channel_code) == expected
    assert asked(ask)["txnType"] == "00" and asked(ask)["orderId"] == KEY and asked(ask)["txnTime"] == SENT


UNBELIEVABLE = {
    "another's signature": reply(signer="stranger", **QR),
    "another's certificate": reply(pem=signing("041@x@777290058110048:MERCHANT@1"), **QR),
    "the test gateway": reply(pem=signing("041@x@00040000:SIGN@1"), **QR),
    "changed": HttpReply(200, {}, reply(**QR).body.replace(b"qr.95516.com", b"qr.evil.com")),
    "line ends": HttpReply(200, {}, reply(**QR).body.replace(b"\r\n", b"\n")),
    "url-encoded": HttpReply(200, {}, reply(**QR).body.replace(b"+", b"%2B").replace(b"=", b"%3D")),
    "plus signs lost": HttpReply(200, {}, reply(**QR).body.replace(b"+", b" ")),
    "unsigned": HttpReply(200, {}, body({"respCode": "00", **QR})),
    "no code": reply("", **QR),
    "empty": HttpReply(200, {}, b""),
    "html": HttpReply(200, {}, b"<html>a=b</html>"),
    "no utf-8": HttpReply(200, {}, b"respCode=\xff\xfe"),
    "502": HttpReply(502, {}, reply(**QR).body),
    "another order": reply(orderId="X" + KEY[1:], **QR),
    "silence": Silence(),
}


@pytest.mark.parametrize("how", UNBELIEVABLE)
def test_C2_C3_an_unbelievable_answer_is_unknown(how):
    answer = UNBELIEVABLE[how]
    asks = [
        order("qr"),
        query("qr"),
        close("qr"),
        close("qr", cancel=True),
        paid_refund(),
        replace(query_refund(), created_at=NOW),
    ]
    for ask in asks:
        assert converse(adapter().ask(ask), answer)[0].state is State.UNKNOWN, ask


def test_C2_not_sent_is_a_failure_of_what_does_something_only():
    for ask in (order("qr"), paid_refund()):
        assert state_of(converse(adapter().ask(ask), NotSent())[0]) == (State.FAILED, "not_sent", Retry.SAME_KEY)
    for ask in (query("qr"), close("qr"), replace(query_refund(), created_at=NOW)):
        assert converse(adapter().ask(ask), NotSent())[0].state is State.UNKNOWN


# --- queries


@pytest.mark.parametrize(
    ("way", "path"),
    [("page", "queryTrans.do"), ("app", "queryTrans.do"), ("qr", "backTransReq.do"), ("barcode", "backTransReq.do")],
)
def test_a_query_names_order_and_time(way, path):
    outcome, [call] = converse(adapter().ask(query(way)), found("00"))
    assert call.url == API + path
    biz_type = "000000" if way in ("qr", "barcode") else "000201"
    assert asked(call) == {
        **BASICS, "bizType": biz_type, "channelType": "07", "txnType": "00", "txnSubType": "00", "orderId": KEY, "txnTime": SENT,
    }  # fmt: skip
    assert outcome == Outcome(
        State.SUCCEEDED,
        key=KEY,
        channel_ref=QUERY_ID,
        amount=cny(1250),
        account_ref=MER_ID,
        at=from_unix(1795233662),
        payer="621626*********0018",
        memo=f"{QUERY_ID}/{biz_type}",
    )


BEFORE_AND_AFTER = [  # origRespCode: before payTimeout, after it; of a payer who was scanned: at once, after five minutes
    ("00", State.SUCCEEDED, State.SUCCEEDED, State.SUCCEEDED, State.SUCCEEDED),
    ("A6", State.SUCCEEDED, State.SUCCEEDED, State.SUCCEEDED, State.SUCCEEDED),
    ("42", State.SUCCEEDED, State.SUCCEEDED, State.SUCCEEDED, State.SUCCEEDED),
    ("03", State.PENDING, State.PENDING, State.PENDING, State.PENDING),
    ("04", State.PENDING, State.PENDING, State.PENDING, State.PENDING),
    ("05", State.PENDING, State.CLOSED, State.PENDING, State.PENDING),
    ("70", State.PENDING, State.PENDING, State.PENDING, State.PENDING),
    ("01", State.PENDING, State.FAILED, State.PENDING, State.FAILED),
    ("12", State.PENDING, State.FAILED, State.PENDING, State.FAILED),
    ("60", State.PENDING, State.FAILED, State.PENDING, State.FAILED),
    ("34", State.PENDING, State.CLOSED, State.NOT_FOUND, State.CLOSED),
    ("64", State.PENDING, State.FAILED, State.FAILED, State.FAILED),
    ("30", State.PENDING, State.FAILED, State.FAILED, State.FAILED),
    ("06", State.UNKNOWN, State.UNKNOWN, State.UNKNOWN, State.UNKNOWN),
    ("74", State.UNKNOWN, State.UNKNOWN, State.UNKNOWN, State.UNKNOWN),
    ("99", State.UNKNOWN, State.UNKNOWN, State.UNKNOWN, State.UNKNOWN),
    ("zz", State.UNKNOWN, State.UNKNOWN, State.UNKNOWN, State.UNKNOWN),
]  # fmt: skip


@pytest.mark.parametrize(("code", *"abcd"), BEFORE_AND_AFTER)
def test_what_became_of_an_order(code, a, b, c, d):
    told = [
        converse(adapter(now).ask(replace(query(way), memo=memo)), found(code))[0].state
        for way, memo, now in (
            ("page", UNTIL, NOW),
            ("page", UNTIL, AFTER),
            ("barcode", PAID_MEMO, NOW),
            ("barcode", PAID_MEMO, NOW + timedelta(seconds=301)),
        )
    ]
    assert told == [a, b, c, d]


@pytest.mark.parametrize("way", ["page", "wap", "qr", "app"])
def test_there_is_none_means_not_yet_until_the_payTimeout_that_we_gave(way):
    def told(memo: str | None, now) -> State:
        return converse(adapter(now).ask(replace(query(way), memo=memo)), reply("34"))[0].state

    assert told(UNTIL, NOW) is State.PENDING, "a form, a code is out"
    assert told(None, NOW) is State.NOT_FOUND, "nothing that we know of"
    assert told(UNTIL, EXPIRES + timedelta(seconds=119)) is State.PENDING
    assert told(UNTIL, AFTER) is State.CLOSED
    assert told(None, AFTER) is State.NOT_FOUND, "without a payTimeout the longest that there is"
    assert told(None, NOW + timedelta(seconds=7321)) is State.CLOSED
    assert told("nonsense", NOW) is State.NOT_FOUND


@pytest.mark.parametrize(
    "answer",
    [
        reply("00"),  # understood, and no word of the order
        found("00", orderId=REFUND_KEY),
        found("00", txnTime="20261121115959"),
        found("00", txnAmt="12.5"),
        found("00", traceTime="soon"),
        reply("35"),
        reply("37"),
    ],
)
def test_an_answer_about_something_else_is_unknown(answer):
    assert converse(adapter().ask(query("qr")), answer)[0].state is State.UNKNOWN


def test_a_decline_is_told_with_its_reason():
    outcome, _ = converse(adapter().ask(query("barcode")), found("64"))
    assert outcome.problem and (outcome.problem.decline_code, outcome.problem.message) == (
        "insufficient_funds",
        "原说明",
    )


# --- closing and cancelling


def test_nothing_closes_an_order_but_its_time():
    ask = replace(close("qr"), memo=UNTIL)
    for answer, before, after in (
        (found("05"), State.PENDING, State.CLOSED),
        (found("64"), State.PENDING, State.CLOSED),
        (reply("34"), State.PENDING, State.CLOSED),
        (found("00"), State.SUCCEEDED, State.SUCCEEDED),
        (found("04"), State.PENDING, State.PENDING),
    ):
        assert [converse(adapter(now).ask(ask), answer)[0].state for now in (NOW, AFTER)] == [before, after]


VOIDED = {"orderId": "V" + KEY[1:], "txnType": "31", "txnSubType": "00"}


def test_what_was_paid_today_is_voided():
    outcome, [_, void, last] = converse(
        adapter().ask(close("barcode", cancel=True)), found("00"), reply(**VOIDED), found("00", **VOIDED)
    )
    assert outcome == Outcome(State.CLOSED, key=KEY, channel_ref=QUERY_ID)
    assert asked(void) == {
        **BASICS, **VOIDED, "bizType": "000000", "channelType": "08", "txnTime": SENT, "txnAmt": "1250", "currencyCode": "156",
        "backUrl": "http://www.specialUrl.com", "origQryId": QUERY_ID, "reqReserved": KEY,
    }  # fmt: skip
    assert asked(last)["orderId"] == VOIDED["orderId"]


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ([reply("12", **VOIDED), found("00", **VOIDED)], State.CLOSED),  # voided before
        ([reply("05", **VOIDED), found("05", **VOIDED)], State.UNKNOWN),
        ([reply("04", **VOIDED), reply("34", **VOIDED)], State.UNKNOWN),
        ([reply("35", **VOIDED), reply("34", **VOIDED)], State.SUCCEEDED),  # refunded in part
        ([reply("45", **VOIDED), reply("34", **VOIDED)], State.SUCCEEDED),
        ([reply("32", **VOIDED)], State.SUCCEEDED),
        ([reply("00", **VOIDED), Silence()], State.UNKNOWN),
        ([Silence()], State.UNKNOWN),
        ([reply("00", **VOIDED), found("30", **VOIDED)], State.SUCCEEDED),
        ([reply("99", **VOIDED), reply("34", **VOIDED)], State.UNKNOWN),
    ],
)
def test_a_void_is_believed_when_it_is_found(answers, state):
    outcome, _ = converse(adapter().ask(close("barcode", cancel=True)), found("00"), *answers)
    assert outcome.state is state


@pytest.mark.parametrize(
    ("settled", "now", "voids"),
    [
        ("1121", NOW, True),
        ("1120", NOW, False),
        ("1121", NOW.replace(hour=14, minute=59, second=59), True),
        ("1121", NOW.replace(hour=15, minute=0), False),  # 23:00 in Beijing: the 22nd begins
        ("1122", NOW.replace(hour=15, minute=0), True),
    ],
)
def test_of_another_settlement_day_nothing_is_voided(settled, now, voids):
    more = [reply(**VOIDED), found("00", **VOIDED)] if voids else [found("00", settleDate=settled)]
    outcome, _ = converse(adapter(now).ask(close("barcode", cancel=True)), found("00", settleDate=settled), *more)
    assert outcome.state is (State.CLOSED if voids else State.SUCCEEDED)


def test_what_was_not_paid_is_not_voided():
    outcome, _ = converse(adapter().ask(close("barcode", cancel=True)), found("05"), found("05"))
    assert outcome.state is State.PENDING


# --- refunds


@pytest.mark.parametrize(
    ("memo", "named"),
    [
        (PAID_MEMO, {"origQryId": QUERY_ID, "bizType": "000000"}),
        (f"{QUERY_ID}/000201", {"origQryId": QUERY_ID, "bizType": "000201"}),
        (None, {"origOrderId": KEY, "origTxnTime": "20261120120000", "bizType": "000201"}),
        (UNTIL, {"origOrderId": KEY, "origTxnTime": "20261120120000", "bizType": "000201"}),
    ],
)
def test_a_refund_names_its_payment_and_itself(memo, named):
    answer = reply(orderId=REFUND_KEY, queryId=REFUND_ID, txnType="04")
    outcome, [call] = converse(adapter().ask(paid_refund(memo)), answer)
    assert outcome == Outcome(
        State.PENDING, key=REFUND_KEY, channel_ref=REFUND_ID, memo=f"{REFUND_ID}/{named['bizType']}"
    )
    assert call.url == f"{API}backTransReq.do"
    assert asked(call) == {
        **BASICS, **named, "channelType": "07", "txnType": "04", "txnSubType": "00", "orderId": REFUND_KEY, "txnTime": SENT,
        "txnAmt": "500", "currencyCode": "156", "backUrl": "https://pay.example/n", "reqReserved": KEY,
    }  # fmt: skip


@pytest.mark.parametrize("code", ["12", "35", "36", "45"])
@pytest.mark.parametrize(
    ("second", "state"),
    [
        (found("00", **REFUNDED), State.SUCCEEDED),
        (found("05", **REFUNDED), State.PENDING),
        (reply("34", orderId=REFUND_KEY), State.FAILED),
        (Silence(), State.UNKNOWN),
    ],
)
def test_a_refusal_that_may_be_about_the_refund_itself(code, second, state):
    outcome, _ = converse(adapter().ask(paid_refund()), reply(code, orderId=REFUND_KEY), second)
    assert outcome.state is state and outcome.problem and outcome.problem.channel_code == code


@pytest.mark.parametrize(
    ("code", "state"),
    [("32", State.FAILED), ("03", State.UNKNOWN), ("04", State.UNKNOWN), ("06", State.UNKNOWN), ("05", State.PENDING)],
)
def test_other_answers_to_a_refund(code, state):
    assert converse(adapter().ask(paid_refund()), reply(code, orderId=REFUND_KEY))[0].state is state


@pytest.mark.parametrize(
    ("code", "state", "later"),
    [
        ("00", State.SUCCEEDED, State.SUCCEEDED),
        ("A6", State.SUCCEEDED, State.SUCCEEDED),
        ("05", State.PENDING, State.PENDING),
        ("03", State.PENDING, State.PENDING),
        ("01", State.PENDING, State.FAILED),
        ("60", State.PENDING, State.FAILED),
        ("63", State.FAILED, State.FAILED),
        ("99", State.UNKNOWN, State.UNKNOWN),
    ],
)
def test_what_became_of_a_refund(code, state, later):
    ask = replace(query_refund(), created_at=NOW, payment_memo=PAID_MEMO)
    answer = found(code, **REFUNDED)
    assert [converse(adapter(at).ask(ask), answer)[0].state for at in (NOW, NOW + timedelta(hours=2))] == [state, later]


def test_a_refund_that_arrived():
    ask = replace(query_refund(), created_at=NOW, memo=f"{REFUND_ID}/000000")
    outcome, [call] = converse(adapter().ask(ask), found("00", **REFUNDED))
    assert call.url == f"{API}backTransReq.do"
    assert outcome == Outcome(
        State.SUCCEEDED,
        key=REFUND_KEY,
        channel_ref=REFUND_ID,
        amount=cny(500),
        account_ref=MER_ID,
        at=from_unix(1795233960),
        memo=f"{REFUND_ID}/000000",
    )


# --- both sides' keys


@pytest.mark.parametrize(
    ("answer", "good"),
    [
        (reply(orderId="KEY20261121120000", certType="01", encryptPubKeyCert=as_sent(signing())), True),
        (reply("11", orderId=""), False),
        (reply(signer="stranger"), False),
        (Silence(), False),
        (NotSent(), False),
    ],
)
def test_asking_for_the_encryption_certificate_shows_whether_both_sides_keys_are_good(answer, good):
    told, [call] = converse(adapter().refresh_trust(), answer)
    assert told is good
    assert (asked(call)["txnType"], asked(call)["certType"]) == ("95", "01")
