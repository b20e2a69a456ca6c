"""WeChat Pay's payouts: what is asked, what each answer amounts to, and what the payee has to do."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.hashes import SHA1
from scripted import KEY, NOW, converse
from wechat_side import (
    APPID,
    CERTIFIED,
    MCHID,
    PUBLIC_KEY_ID,
    adapter,
    certificates,
    envelope,
    error,
    key,
    notice,
    reply,
    serial_of,
)

from guilder.channels.model import CreatePayout, QueryPayout, Retry, Sdk, State, Subject
from guilder.core.amount import cny
from guilder.core.exchange import NotSent, Silence

OPENID = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"
SCENE = {"transfer_scene_id": "1000", "transfer_report": "活动名称=新会员有礼;奖励说明=抽奖"}
ASK = CreatePayout(KEY, cny(1250), {"openid": OPENID, "name": "张三"}, "报销", "https://pay.example/n", NOW)
QUERY = QueryPayout(KEY, cny(1250), NOW)
PACKAGE = "affffddafdfafddffda=="
NONE = error(404, "NOT_FOUND")
REPLY = {
    "out_bill_no": KEY,
    "transfer_bill_no": "1330000071100999991182020050700019480001",
    "create_time": "2026-11-21T12:00:00+08:00",
    "state": "WAIT_USER_CONFIRM",
    "package_info": PACKAGE,
}


def bill(state: str, **changes: Any) -> dict[str, Any]:
    return {
        "mch_id": MCHID,
        "out_bill_no": KEY,
        "transfer_bill_no": REPLY["transfer_bill_no"],
        "state": state,
        "transfer_amount": 1250,
        "openid": OPENID,
        "create_time": "2026-11-21T12:00:00+08:00",
        "update_time": "2026-11-21T12:01:02+08:00",
        **changes,
    }


def test_a_transfer_is_asked_for_in_wechats_words_and_the_payee_confirms_it():
    outcome, [call] = converse(adapter(**SCENE).ask(ASK), reply(200, REPLY))
    assert (outcome.state, outcome.key, outcome.channel_ref) == (State.PENDING, KEY, REPLY["transfer_bill_no"])
    assert outcome.next == Sdk("wechat_pay_transfer", {"mchId": MCHID, "appId": APPID, "package": PACKAGE})
    assert outcome.memo == PACKAGE
    body = json.loads(call.body)
    name = key("platform").decrypt(base64.b64decode(body.pop("user_name")), OAEP(MGF1(SHA1()), SHA1(), None))
    assert name.decode() == "张三" and call.headers["Wechatpay-Serial"] == PUBLIC_KEY_ID
    assert call.url == "https://api.mch.weixin.qq.com/v3/fund-app/mch-transfer/transfer-bills"
    assert body == {
        "appid": APPID,
        "out_bill_no": KEY,
        "transfer_scene_id": "1000",
        "openid": OPENID,
        "transfer_amount": 1250,
        "transfer_remark": "报销",
        "notify_url": "https://pay.example/n",
        "transfer_scene_report_infos": [
            {"info_type": "活动名称", "info_content": "新会员有礼"},
            {"info_type": "奖励说明", "info_content": "抽奖"},
        ],
    }


def test_with_certificates_they_are_fetched_before_anything_is_sealed():
    answer = reply(200, REPLY, signer="certified-1", serial=serial_of("certified-1"))
    outcome, [_, call] = converse(adapter(**SCENE, **CERTIFIED).ask(ASK), certificates("certified-1"), answer)
    assert outcome.state is State.PENDING and call.headers["Wechatpay-Serial"] == serial_of("certified-1")
    outcome, calls = converse(adapter(**SCENE, **CERTIFIED).ask(ASK), Silence())
    assert outcome.state is State.FAILED and outcome.problem and outcome.problem.retry is Retry.SAME_KEY
    assert [c.url.rpartition("/")[2] for c in calls] == ["certificates"], "nothing was asked"


@pytest.mark.parametrize("ask", [replace(ASK, amount=cny(29)), replace(ASK, payee={"openid": OPENID})])
def test_a_name_is_left_out_where_there_is_none_or_none_is_taken(ask):
    _, [call] = converse(adapter(**SCENE).ask(ask), reply(200, REPLY))
    assert "user_name" not in json.loads(call.body)


@pytest.mark.parametrize(
    ("config", "ask"),
    [
        ({}, ASK),
        ({"transfer_scene_id": "1000"}, ASK),
        (SCENE | {"mode": "partner", "sub_mchid": "1900000777"}, ASK),
        (SCENE, replace(ASK, payee={"openid": OPENID, "name": "长" * 100})),
    ],
)
def test_what_cannot_be_asked_is_refused_before_it_is(config, ask):
    outcome, calls = converse(adapter(**config).ask(ask))
    assert outcome.state is State.FAILED and not calls
    assert outcome.problem and outcome.problem.retry is Retry.NEVER


@pytest.mark.parametrize(
    "code", ["PARAM_ERROR", "INVALID_REQUEST", "NO_AUTH", "NOT_ENOUGH", "ACCOUNT_ERROR", "RULE_LIMIT"]
)
@pytest.mark.parametrize(
    ("found", "state"),
    [
        (NONE, State.FAILED),
        (reply(200, bill("SUCCESS")), State.SUCCEEDED),
        (reply(200, bill("PROCESSING")), State.PENDING),
        (error(500, "SYSTEM_ERROR"), State.UNKNOWN),
        (Silence(), State.UNKNOWN),
    ],
)
def test_a_refusal_is_no_failure_before_a_query_has_said_so(code, found, state):
    outcome, calls = converse(adapter(**SCENE).ask(ASK), error(400, code), found)
    assert outcome.state is state and calls[1].url.endswith(f"/out-bill-no/{KEY}")


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (error(429, "FREQUENCY_LIMITED"), State.UNKNOWN),
        (error(500, "SYSTEM_ERROR"), State.UNKNOWN),
        (error(400, "A_NEW_CODE"), State.UNKNOWN),  # "never change the number"
        (error(400, "PARAM_ERROR", signer="stranger"), State.UNKNOWN),
        (reply(200, {"state": "SUCCESS"}), State.UNKNOWN),
        (reply(200, b"<html>"), State.UNKNOWN),
        (Silence(), State.UNKNOWN),
        (NotSent(), State.FAILED),
    ],
)
def test_C1_C2_doubt_about_a_transfer(answer, state):
    outcome, _ = converse(adapter(**SCENE).ask(ASK), answer)
    assert outcome.state is state


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("ACCEPTED", State.PENDING),
        ("PROCESSING", State.PENDING),
        ("WAIT_USER_CONFIRM", State.PENDING),
        ("TRANSFERING", State.PENDING),
        ("SUCCESS", State.SUCCEEDED),
        ("FAIL", State.FAILED),
        ("CANCELING", State.PENDING),
        ("CANCELLED", State.CLOSED),
        ("SOMETHING_NEW", State.UNKNOWN),
    ],
)
def test_states_in_replies_and_callbacks(word, state):
    outcome, [call] = converse(adapter(**SCENE).ask(QUERY), reply(200, bill(word)))
    assert call.method == "GET" and call.url.endswith(f"/transfer-bills/out-bill-no/{KEY}")
    told = adapter(**SCENE).notice(notice(envelope(bill(word), "MCHTRANSFER.BILL.FINISHED")))
    assert told.subject is Subject.PAYOUT
    for said in (outcome, told.outcome):
        assert (said.state, said.key, said.amount, said.account_ref) == (state, KEY, cny(1250), MCHID)
        assert (said.at is not None) == (state is State.SUCCEEDED)


def test_what_the_payee_has_to_do_is_kept_as_long_as_he_has_to_do_it():
    waiting, _ = converse(adapter(**SCENE).ask(replace(QUERY, memo=PACKAGE)), reply(200, bill("WAIT_USER_CONFIRM")))
    assert isinstance(waiting.next, Sdk) and waiting.next.params["package"] == PACKAGE and waiting.memo == PACKAGE
    done, _ = converse(adapter(**SCENE).ask(replace(QUERY, memo=PACKAGE)), reply(200, bill("SUCCESS")))
    assert done.next is None
    lost, _ = converse(adapter(**SCENE).ask(QUERY), reply(200, bill("WAIT_USER_CONFIRM")))
    assert lost.state is State.PENDING and lost.next is None


@pytest.mark.parametrize(
    ("why", "decline_code"),
    [("NAME_NOT_CORRECT", "incorrect_name"), ("OVERDUE_CLOSE", "expired"), ("A_NEW_REASON", "could_not_process")],
)
def test_why_it_failed(why, decline_code):
    outcome, _ = converse(adapter(**SCENE).ask(QUERY), reply(200, bill("FAIL", fail_reason=why)))
    assert outcome.problem and (outcome.problem.channel_code, outcome.problem.decline_code) == (why, decline_code)
    assert outcome.problem.retry is Retry.NEW_KEY


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (NONE, State.NOT_FOUND),
        (error(404, "ROUTE_NOT_FOUND"), State.UNKNOWN),
        (error(400, "NOT_FOUND"), State.UNKNOWN),
        (error(401, "SIGN_ERROR"), State.UNKNOWN),
        (error(500, "SYSTEM_ERROR"), State.UNKNOWN),
        (reply(200, bill("SUCCESS", transfer_amount="1250")), State.UNKNOWN),
        (reply(200, bill("SUCCESS", update_time="yesterday")), State.UNKNOWN),
        (NotSent(), State.UNKNOWN),
        (Silence(), State.UNKNOWN),
    ],
)
def test_C2_a_query_that_brings_no_answer_brings_no_news(answer, state):
    outcome, _ = converse(adapter(**SCENE).ask(QUERY), answer)
    assert outcome.state is state
