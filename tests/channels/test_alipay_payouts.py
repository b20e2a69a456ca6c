"""Transfers to people: what is asked, what each answer amounts to, and the message when one has ended."""

import json

import pytest
from alipay_side import APP_ID, adapter, asked, failed, notice, ok, reply
from scripted import NOW, converse

from guilder.channels.model import (
    BadSignature,
    CreatePayout,
    Notice,
    Outcome,
    QueryPayout,
    Retry,
    State,
    Subject,
    Unreadable,
)
from guilder.core.amount import cny
from guilder.core.clock import from_unix
from guilder.core.exchange import NotSent, Silence

KEY, ORDER = "06b2xk6n5vq3x8r6e4m0c9t7wp00000a", "20261121110070000006860066337636"
USER = "2088101117955611"
AT = from_unix(1795233662)


def pay_out(fen: int = 2500, text: str = "九月佣金", **payee: str) -> CreatePayout:
    return CreatePayout(KEY, cny(fen), payee or {"account": USER}, text, "https://pay.example/n", NOW)


ASK, QUERY = pay_out(), QueryPayout(KEY, cny(2500), NOW)
NOT_EXIST = failed("fund_trans_common_query", "ORDER_NOT_EXIST")


def sent(status: str = "SUCCESS", **changes: str):
    fact = {"out_biz_no": KEY, "order_id": ORDER, "pay_fund_order_id": ORDER[:-1], "status": status}
    return ok("fund_trans_uni_transfer", **fact | {"trans_date": "2026-11-21 12:01:02"} | changes)


def found(status: str = "SUCCESS", **changes: str):
    fact = {
        "out_biz_no": KEY,
        "order_id": ORDER,
        "status": status,
        "trans_amount": "25.00",
        "pay_date": "2026-11-21 12:01:02",
    }
    return ok("fund_trans_common_query", **fact | changes)


def refused(sub_code: str = "", code: str = "40004"):
    return failed("fund_trans_uni_transfer", sub_code, code)


@pytest.mark.parametrize(
    ("payee", "info"),
    [
        ({"account": USER}, {"identity": USER, "identity_type": "ALIPAY_USER_ID"}),
        ({"account": "a@b.example", "name": "李四"}, {"identity": "a@b.example", "identity_type": "ALIPAY_LOGON_ID", "name": "李四"}),
        ({"account": "13800138000", "name": "李四"}, {"identity": "13800138000", "identity_type": "ALIPAY_LOGON_ID", "name": "李四"}),
        ({"account": "074a1CcTG1LelxKe4xQC0z"}, {"identity": "074a1CcTG1LelxKe4xQC0z", "identity_type": "ALIPAY_OPEN_ID"}),
        ({"account": USER, "account_type": "logon_id"}, {"identity": USER, "identity_type": "ALIPAY_LOGON_ID"}),
    ],
)  # fmt: skip
def test_a_transfer_is_asked_for_in_alipays_words(payee, info):
    outcome, [call] = converse(adapter().ask(pay_out(**payee)), sent())
    assert outcome == Outcome(State.SUCCEEDED, key=KEY, channel_ref=ORDER, at=AT)
    params, order = asked(call)
    assert params["method"] == "alipay.fund.trans.uni.transfer" and payee["account"] not in call.url
    assert order == {
        "out_biz_no": KEY,
        "trans_amount": "25.00",
        "product_code": "TRANS_ACCOUNT_NO_PWD",
        "biz_scene": "DIRECT_TRANSFER",
        "payee_info": info,
        "order_title": "九月佣金",
        "remark": "九月佣金",
    }


STATES = [
    ("SUCCESS", State.SUCCEEDED),
    ("DEALING", State.PENDING),
    ("WAIT_PAY", State.PENDING),
    ("FAIL", State.FAILED),
    ("CLOSED", State.FAILED),
    ("REFUND", State.FAILED),
    ("SOMETHING_NEW", State.UNKNOWN),
]


@pytest.mark.parametrize(("status", "state"), STATES)
def test_states(status, state):
    why = {"error_code": "PAYEE_ACCOUNT_STATUS_ERROR", "fail_reason": "收款方账号异常"} if status == "FAIL" else {}
    asked_now, _ = converse(adapter().ask(ASK), sent(status, **why))
    later, [call] = converse(adapter().ask(QUERY), found(status, **why))
    assert (asked_now.state, later.state, later.amount, later.channel_ref) == (state, state, cny(2500), ORDER)
    assert later.at == (AT if state is State.SUCCEEDED else None)
    assert asked(call)[1] == {"out_biz_no": KEY, "product_code": "TRANS_ACCOUNT_NO_PWD", "biz_scene": "DIRECT_TRANSFER"}
    if state is State.FAILED:
        assert later.problem and later.problem.retry is Retry.NEW_KEY
        assert later.problem.channel_code == why.get("error_code", status)


@pytest.mark.parametrize(
    ("sub_code", "retry", "decline_code"),
    [
        ("PAYER_BALANCE_NOT_ENOUGH", Retry.SAME_KEY, "insufficient_funds"),
        ("BALANCE_IS_NOT_ENOUGH", Retry.SAME_KEY, "insufficient_funds"),
        ("PAYEE_NOT_EXIST", Retry.NEW_KEY, "invalid_account"),
        ("PAYEE_USER_INFO_ERROR", Retry.NEW_KEY, "invalid_account"),
        ("PERM_AML_NOT_REALNAME_REV", Retry.NEW_KEY, "transaction_not_allowed"),
        ("BLOCK_USER_FORBBIDEN_RECIEVE", Retry.NEW_KEY, "transaction_not_allowed"),
        ("EXCEED_LIMIT_DM_AMOUNT", Retry.NEVER, "invalid_amount"),
        ("EXCEED_LIMIT_ANYTHING_NEW", Retry.NEVER, "invalid_amount"),
        ("PRODUCT_NOT_SIGN", Retry.NEVER, "service_not_allowed"),
        ("INVALID_PARAMETER", Retry.NEVER, "processing_error"),
        ("PAYMENT_INFO_INCONSISTENCY", Retry.NEW_KEY, "duplicate_transaction"),
    ],
)
def test_a_refusal_is_believed_when_nothing_lives_under_the_key(sub_code, retry, decline_code):
    outcome, _ = converse(adapter().ask(ASK), refused(sub_code), NOT_EXIST)
    assert outcome.state is State.FAILED and outcome.problem
    assert (outcome.problem.channel_code, outcome.problem.retry, outcome.problem.decline_code) == (
        sub_code,
        retry,
        decline_code,
    )


@pytest.mark.parametrize(
    "sub_code", ["PAYEE_NOT_EXIST", "EXCEED_LIMIT_DM_AMOUNT", "PAYMENT_INFO_INCONSISTENCY", "PAYER_BALANCE_NOT_ENOUGH"]
)
@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (found(), State.SUCCEEDED),
        (found("DEALING"), State.PENDING),
        (failed("fund_trans_common_query", "SYSTEM_ERROR"), State.UNKNOWN),
        (Silence(), State.UNKNOWN),
        (NotSent(), State.UNKNOWN),
    ],
)
def test_a_refusal_does_not_hide_what_an_earlier_ask_has_sent(sub_code, answer, state):
    outcome, _ = converse(adapter().ask(ASK), refused(sub_code), answer)
    assert outcome.state is state and outcome.problem


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (refused("SYSTEM_ERROR"), State.UNKNOWN),
        (refused("aop.unknow-error", "20000"), State.UNKNOWN),
        (refused("WHAT_IS_THIS"), State.UNKNOWN),
        (refused(), State.UNKNOWN),
        (refused("", "40005"), State.UNKNOWN),
        (sent(trans_date="soon"), State.UNKNOWN),
        (ok("fund_trans_uni_transfer"), State.UNKNOWN),
        (reply("fund_trans_uni_transfer", {"code": "10000", "status": "SUCCESS", "out_biz_no": KEY}, signer="stranger"), State.UNKNOWN),
        (Silence(), State.UNKNOWN),
        (NotSent(), State.FAILED),
    ],
)  # fmt: skip
def test_C1_C2_what_leaves_a_transfer_unknown(answer, state):
    outcome, _ = converse(adapter().ask(ASK), answer)
    assert outcome.state is state
    assert outcome.problem is None or outcome.problem.retry is Retry.SAME_KEY


def test_a_call_that_was_not_admitted_has_sent_nothing():
    outcome, _ = converse(adapter().ask(ASK), refused("isv.insufficient-isv-permissions", "40006"), NOT_EXIST)
    assert outcome.state is State.FAILED and outcome.problem and outcome.problem.retry is Retry.NEVER


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (NOT_EXIST, State.NOT_FOUND),
        (failed("fund_trans_common_query", "SYSTEM_ERROR"), State.UNKNOWN),
        (failed("fund_trans_common_query", "INVALID_PARAMETER"), State.UNKNOWN),
        (found(trans_amount="25.001"), State.UNKNOWN),
        (found(pay_date="2026-13-01 00:00:00"), State.UNKNOWN),
        (NotSent(), State.UNKNOWN),
        (Silence(), State.UNKNOWN),
    ],
)
def test_C2_a_query_that_brings_no_answer_brings_no_news(answer, state):
    assert converse(adapter().ask(QUERY), answer)[0].state is state


# --- the message


def message(**changes: str) -> dict[str, str]:
    content = {
        "out_biz_no": KEY,
        "order_id": ORDER,
        "status": "SUCCESS",
        "trans_amount": "25.00",
        "pay_date": "2026-11-21 12:01:02",
    }
    fact = {"msg_method": "alipay.fund.trans.order.changed", "app_id": APP_ID, "version": "1.1", "charset": "UTF-8"}
    fact |= {"utc_timestamp": "1795233662000", "notify_id": "2026112100222120103058860591234567"}
    return fact | {"biz_content": json.dumps(content, ensure_ascii=False)} | changes


def test_a_message_that_a_transfer_has_ended():
    heard = adapter().notice(notice(message()))
    outcome = Outcome(State.SUCCEEDED, key=KEY, channel_ref=ORDER, amount=cny(2500), at=AT, app_ref=APP_ID)
    assert heard == Notice("2026112100222120103058860591234567", Subject.PAYOUT, outcome)


def test_a_message_that_it_failed():
    content = json.dumps(
        {"out_biz_no": KEY, "status": "FAIL", "error_code": "PAYEE_NOT_EXIST", "fail_reason": "收款用户不存在"}
    )
    outcome = adapter().notice(notice(message(biz_content=content))).outcome
    assert outcome.state is State.FAILED and outcome.problem and outcome.problem.channel_code == "PAYEE_NOT_EXIST"


@pytest.mark.parametrize(
    "changes",
    [
        {"msg_method": "alipay.open.auth.appauth.cancelled"},
        {"biz_content": ""},
        {"biz_content": "[]"},
        {"biz_content": '{"status":"SUCCESS"}'},
        {"biz_content": '{"out_biz_no":"a","out_biz_no":"b","status":"SUCCESS"}'},
        {"biz_content": '{"out_biz_no":"a","status":"SUCCESS","trans_amount":"much"}'},
        {"notify_id": ""},
    ],
)
def test_messages_that_say_nothing_we_know(changes):
    with pytest.raises(Unreadable):
        adapter().notice(notice(message(**changes)))


def test_C3_nobody_else_is_believed():
    with pytest.raises(BadSignature):
        adapter().notice(notice(message(), signer="stranger"))
