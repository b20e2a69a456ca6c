"""WeChat Pay's other ways: inside WeChat, in apps, in a phone's browser, at the till; and for a service provider's merchants."""

import base64
import json
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from scripted import KEY, NOW, REFUND_KEY, close, converse, create, query, query_refund, refund
from wechat_side import (
    APPID,
    CERTIFIED,
    MCHID,
    NONCE,
    PUBLIC_KEY_ID,
    adapter,
    certificates,
    envelope,
    error,
    key,
    notice,
    refunded,
    reply,
    serial_of,
    transaction,
)

from guilder.channels.model import (
    ClosePayment,
    FetchStatement,
    IdentifyPayer,
    Outcome,
    Redirect,
    RescueRefund,
    Retry,
    Sdk,
    State,
    StatementError,
    StatementKind,
    StatementProblem,
)
from guilder.channels.wechatpay.info import INFO
from guilder.core.amount import cny
from guilder.core.exchange import HttpReply, NotSent, Silence

OPENID = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"
PREPAID = {"prepay_id": "wx201410272009395522657a690389285100"}
STAMP = str(int(NOW.timestamp()))
PARTNER = {"mode": "partner", "sub_mchid": "1900000777"}
NOT_EXIST = error(404, "ORDER_NOT_EXIST")


def vouched(signature: str, *lines: str) -> bool:
    """Did the merchant's key sign these lines?"""
    text = "".join(f"{line}\n" for line in lines).encode()
    key("merchant").public_key().verify(base64.b64decode(signature), text, PKCS1v15(), SHA256())
    return True


# --- inside WeChat, in apps, in browsers


@pytest.mark.parametrize(("way", "kind"), [("jsapi", "wechat_pay_jsapi"), ("mini", "wechat_pay_mini_program")])
def test_inside_wechat_the_page_is_handed_what_its_bridge_takes(way, kind):
    outcome, [call] = converse(adapter().ask(create(way, given={"openid": OPENID})), reply(200, PREPAID))
    body, shown = json.loads(call.body), outcome.next
    assert call.url == "https://api.mch.weixin.qq.com/v3/pay/transactions/jsapi"
    assert (body["payer"], body["appid"], body["mchid"]) == ({"openid": OPENID}, APPID, MCHID)
    assert isinstance(shown, Sdk) and shown.kind == kind
    package = f"prepay_id={PREPAID['prepay_id']}"
    assert {k: v for k, v in shown.params.items() if k != "paySign"} == {
        "appId": APPID,
        "timeStamp": STAMP,
        "nonceStr": NONCE,
        "package": package,
        "signType": "RSA",
    }
    assert vouched(shown.params["paySign"], APPID, STAMP, NONCE, package)


def test_an_app_is_handed_what_its_sdk_takes_signed_over_the_bare_prepay_id():
    outcome, [call] = converse(adapter().ask(create("app")), reply(200, PREPAID))
    assert call.url.endswith("/v3/pay/transactions/app") and "payer" not in json.loads(call.body)
    shown = outcome.next
    assert isinstance(shown, Sdk) and shown.kind == "wechat_pay_app"
    assert {k: v for k, v in shown.params.items() if k != "sign"} == {
        "appid": APPID,
        "partnerid": MCHID,
        "prepayid": PREPAID["prepay_id"],
        "package": "Sign=WXPay",
        "noncestr": NONCE,
        "timestamp": STAMP,
    }
    assert vouched(shown.params["sign"], APPID, STAMP, NONCE, PREPAID["prepay_id"])


def test_a_phones_browser_is_sent_to_wechat_and_back():
    ask = create("h5", given={"payer_ip": "203.0.113.9"}, return_url="https://shop.example/done?order=1")
    address = "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx2016&package=2150917749"
    outcome, [call] = converse(adapter().ask(ask), reply(200, {"h5_url": address}))
    assert json.loads(call.body)["scene_info"] == {"payer_client_ip": "203.0.113.9", "h5_info": {"type": "Wap"}}
    back = "https%3A%2F%2Fshop.example%2Fdone%3Forder%3D1"
    assert outcome == Outcome(State.PENDING, next=Redirect(f"{address}&redirect_url={back}"))
    outcome, _ = converse(adapter().ask(create("h5", given={"payer_ip": "::1"})), reply(200, {"h5_url": address}))
    assert outcome.next == Redirect(address)


@pytest.mark.parametrize("way", ["jsapi", "mini", "app", "h5"])
@pytest.mark.parametrize("content", [b"", b"{}", b'{"prepay_id":7,"h5_url":7}', b"[]"])
def test_what_cannot_be_shown_is_unknown(way, content):
    given = {"openid": OPENID, "payer_ip": "::1"}
    outcome, _ = converse(adapter().ask(create(way, given=given)), reply(200, content))
    assert outcome.state is State.UNKNOWN and outcome.next is None


def test_other_applications_of_the_same_merchant_ask_for_themselves_and_are_the_accounts():
    channel = adapter(mini_appid="wxmini", app_appid="wxapp")
    for way, app in (("mini", "wxmini"), ("app", "wxapp"), ("jsapi", APPID)):
        outcome, [call] = converse(channel.ask(create(way, given={"openid": OPENID})), reply(200, PREPAID))
        assert json.loads(call.body)["appid"] == app
        assert isinstance(outcome.next, Sdk) and app in outcome.next.params.values()
        found, _ = converse(channel.ask(query(way)), reply(200, transaction(appid=app)))
        assert found.app_ref == APPID
        assert channel.notice(notice(envelope(transaction(appid=app)))).outcome.app_ref == APPID
    found, _ = converse(channel.ask(query("mini")), reply(200, transaction(appid="wxother")))
    assert found.app_ref == "wxother"


# --- at the till

SCANNED = create("codepay", given={"auth_code": "131234567890123456", "store_id": "SZ-7"}, attach="a")


def test_a_scanned_payer_is_charged_in_wechats_words():
    outcome, [call] = converse(adapter().ask(SCANNED), reply(200, transaction(trade_type="MICROPAY")))
    assert (outcome.state, outcome.amount, outcome.next) == (State.SUCCEEDED, cny(1250), None)
    assert call.url.endswith("/v3/pay/transactions/codepay")
    assert json.loads(call.body) == {
        "appid": APPID,
        "mchid": MCHID,
        "description": "两杯咖啡",
        "out_trade_no": KEY,
        "amount": {"total": 1250, "currency": "CNY"},
        "attach": "a",
        "scene_info": {"store_info": {"id": "SZ-7"}},
        "payer": {"auth_code": "131234567890123456"},
    }


@pytest.mark.parametrize("status", [202, 400, 403])
def test_a_payer_who_is_asked_for_his_password_is_waited_for(status):
    outcome, calls = converse(adapter().ask(SCANNED), error(status, "USERPAYING"))
    assert outcome == Outcome(State.PENDING) and len(calls) == 1
    outcome, _ = converse(adapter().ask(SCANNED), reply(200, transaction("USERPAYING")))
    assert outcome.state is State.PENDING


@pytest.mark.parametrize(
    ("refusal", "state"),
    [
        (error(500, "SYSTEM_ERROR"), State.UNKNOWN),
        (error(500, "BANK_ERROR"), State.UNKNOWN),
        (error(500, "USERPAYING"), State.UNKNOWN),  # not verified: it is asked about all the same
        (error(429, "FREQUENCY_LIMITED"), State.UNKNOWN),
        (error(400, "WHAT_IS_THIS"), State.UNKNOWN),
        (error(400, "AUTH_CODE_EXPIRE", signer="stranger"), State.UNKNOWN),
        (Silence(), State.UNKNOWN),
        (NotSent(), State.FAILED),
    ],
)
def test_C1_doubt_at_the_till(refusal, state):
    outcome, _ = converse(adapter().ask(SCANNED), refusal)
    assert outcome.state is state


@pytest.mark.parametrize(
    "code", ["AUTH_CODE_EXPIRE", "AUTH_CODE_INVALID", "AUTHCODEEXPIRE", "NOT_ENOUGH", "PARAM_ERROR", "ORDERPAID"]
)
@pytest.mark.parametrize(
    ("found", "state"),
    [
        (reply(200, transaction()), State.SUCCEEDED),  # the first ask had been lost, and had taken the money
        (reply(200, transaction("USERPAYING")), State.PENDING),
        (reply(200, transaction("PAYERROR")), State.FAILED),
        (reply(200, transaction("REVOKED")), State.CLOSED),
        (NOT_EXIST, State.FAILED),
        (error(500, "SYSTEM_ERROR"), State.UNKNOWN),
        (Silence(), State.UNKNOWN),
    ],
)
def test_a_code_pays_once_so_whatever_is_refused_is_asked_about(code, found, state):
    outcome, calls = converse(adapter().ask(SCANNED), error(403, code), found)
    assert outcome.state is state and calls[1].method == "GET"
    assert (outcome.problem and outcome.problem.retry is not Retry.SAME_KEY) or state is State.UNKNOWN


LATER = NOW - timedelta(seconds=20)


def over(*, cancel: bool) -> ClosePayment:
    return ClosePayment(KEY, "codepay", LATER, cancel)


def test_an_order_of_the_till_is_not_reversed_within_fifteen_seconds():
    for ask in (close("codepay"), close("codepay", cancel=True)):
        outcome, calls = converse(adapter().ask(ask))
        assert outcome.state is State.UNKNOWN and not calls


def test_it_is_reversed_and_never_closed():
    outcome, [looked, reversed_] = converse(
        adapter().ask(over(cancel=False)),
        reply(200, transaction("USERPAYING")),
        reply(200, {"mchid": MCHID, "out_trade_no": KEY}),
    )
    assert outcome == Outcome(State.CLOSED) and looked.method == "GET"
    assert reversed_.url.endswith(f"/v3/pay/transactions/out-trade-no/{KEY}/reverse")
    assert json.loads(reversed_.body) == {"appid": APPID, "mchid": MCHID}


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (reply(200, transaction()), State.SUCCEEDED),
        (reply(200, transaction("REVOKED")), State.CLOSED),
        (NOT_EXIST, State.NOT_FOUND),
        (Silence(), State.UNKNOWN),
    ],
)
def test_one_that_is_settled_is_not_reversed_unless_it_is_to_be_cancelled(found, state):
    outcome, calls = converse(adapter().ask(over(cancel=False)), found)
    assert outcome.state is state and len(calls) == 1


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ([reply(200, {"mchid": MCHID, "out_trade_no": KEY})], State.CLOSED),
        ([reply(204)], State.CLOSED),
        ([error(500, "SYSTEM_ERROR")], State.UNKNOWN),
        ([Silence()], State.UNKNOWN),
        ([NotSent()], State.UNKNOWN),
        ([error(400, "WHAT_IS_THIS"), reply(200, transaction())], State.UNKNOWN),  # to be repeated until it is definite
        ([error(400, "ORDER_CLOSED"), reply(200, transaction("REVOKED"))], State.CLOSED),
        ([error(404, "ORDER_NOT_EXIST"), NOT_EXIST], State.NOT_FOUND),
        ([error(400, "WHAT_IS_THIS"), Silence()], State.UNKNOWN),
    ],
)
def test_a_reversal_is_repeated_until_it_is_definite(answers, state):
    outcome, _ = converse(adapter().ask(over(cancel=True)), *answers)
    assert outcome.state is state


def test_the_till_asks_soon_and_gives_up_soon():
    way = INFO.way("codepay")
    assert (way.query_after_s, way.max_expiry_s, way.shows) == ((3, 6, 11, 16, 26, 36), 45, "nothing")
    assert way.needs == ("auth_code",)


# --- a service provider's merchants


def of_partner(state: str = "SUCCESS", **changes: object) -> dict[str, object]:
    said = transaction(state, sp_appid=APPID, sp_mchid=MCHID, sub_mchid=PARTNER["sub_mchid"], **changes)
    del said["mchid"], said["appid"]
    return said


@pytest.mark.parametrize(
    ("sub_appid", "payer", "app"),
    [("", {"sp_openid": OPENID}, APPID), ("wxsub", {"sub_openid": OPENID}, "wxsub")],
)
def test_a_service_provider_asks_for_its_merchant(sub_appid, payer, app):
    channel = adapter(**PARTNER, sub_appid=sub_appid)
    outcome, [call] = converse(channel.ask(create("jsapi", given={"openid": OPENID})), reply(200, PREPAID))
    body = json.loads(call.body)
    assert call.url.endswith("/v3/pay/partner/transactions/jsapi")
    assert (body["sp_appid"], body["sp_mchid"], body["sub_mchid"]) == (APPID, MCHID, "1900000777")
    assert body.get("sub_appid", "") == sub_appid and body["payer"] == payer and "mchid" not in body
    assert isinstance(outcome.next, Sdk) and outcome.next.params["appId"] == app
    assert f'mchid="{MCHID}"' in call.headers["Authorization"], "the service provider signs"
    assert vouched(outcome.next.params["paySign"], app, STAMP, NONCE, outcome.next.params["package"])


def test_in_partner_mode_every_operation_names_the_merchant():
    channel = adapter(**PARTNER)
    names = f"sp_mchid={MCHID}&sub_mchid=1900000777"
    found, [call] = converse(channel.ask(query("native")), reply(200, of_partner(payer={"sp_openid": OPENID})))
    assert call.url.endswith(f"/v3/pay/partner/transactions/out-trade-no/{KEY}?{names}")
    assert (found.account_ref, found.app_ref, found.payer) == ("1900000777", APPID, OPENID)
    _, [call] = converse(channel.ask(close("native")), reply(204))
    assert json.loads(call.body) == {"sp_mchid": MCHID, "sub_mchid": "1900000777"}
    _, [call] = converse(channel.ask(refund()), reply(200, refunded()))
    assert json.loads(call.body)["sub_mchid"] == "1900000777"
    _, [call] = converse(channel.ask(query_refund()), reply(200, refunded()))
    assert call.url.endswith(f"/{REFUND_KEY}?sub_mchid=1900000777")
    _, [call] = converse(channel.ask(over(cancel=True)), reply(200, {}))
    assert json.loads(call.body) == {"sp_appid": APPID, "sp_mchid": MCHID, "sub_mchid": "1900000777"}
    app, _ = converse(channel.ask(create("app")), reply(200, PREPAID))
    assert isinstance(app.next, Sdk) and app.next.params["partnerid"] == "1900000777"
    told = channel.notice(notice(envelope(of_partner())))
    assert told.outcome.account_ref == "1900000777"
    with pytest.raises(StatementError):
        converse(channel.statement(FetchStatement(NOW.date())), error(400, "STATEMENT_CREATING"))


def test_a_service_providers_own_funds_are_not_its_merchants():
    with pytest.raises(StatementError) as caught:
        converse(adapter(**PARTNER).statement(FetchStatement(NOW.date(), StatementKind.FUNDS)))
    assert caught.value.problem is StatementProblem.EMPTY_DAY


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "partner"},
        {"sub_mchid": "1900000777"},
        {"sub_appid": "wxsub"},
        {"mode": "agent"},
        {"transfer_report": "活动名称"},
        {"oauth_url": "weixin"},
    ],
    ids=str,
)
def test_a_configuration_that_does_not_fit_together(wrong):
    with pytest.raises(ValueError, match=r"mode|sub_|transfer_report|oauth_url"):
        adapter(**wrong)


# --- a refund that ended abnormally


def opened_by(name: str, sealed: str) -> str:
    return key(name).decrypt(base64.b64decode(sealed), OAEP(MGF1(SHA1()), SHA1(), None)).decode()


def test_an_abnormal_refund_goes_to_the_payers_card_sealed():
    to = {"type": "payer", "bank": "ICBC_DEBIT", "account": "6222020200112233", "name": "张三"}
    ask = RescueRefund(REFUND_KEY, "50000000382019052709732678859", KEY, to)
    outcome, [call] = converse(adapter().ask(ask), reply(200, refunded()))
    assert outcome.state is State.PENDING
    assert call.url.endswith("/v3/refund/domestic/refunds/50000000382019052709732678859/apply-abnormal-refund")
    body = json.loads(call.body)
    assert (body["out_refund_no"], body["type"], body["bank_type"]) == (REFUND_KEY, "USER_BANK_CARD", "ICBC_DEBIT")
    assert call.headers["Wechatpay-Serial"] == PUBLIC_KEY_ID and b"6222" not in call.body
    assert [opened_by("platform", body[name]) for name in ("bank_account", "real_name")] == ["6222020200112233", "张三"]


def test_with_certificates_it_is_sealed_by_the_one_that_lasts_and_says_which():
    ask = RescueRefund(REFUND_KEY, "5000", KEY, {"type": "payer", "bank": "B", "account": "1", "name": "张三"})
    fresh = certificates("certified-1")
    answer = reply(200, refunded(), signer="certified-1", serial=serial_of("certified-1"))
    _, [_, call] = converse(adapter(**CERTIFIED).ask(ask), fresh, answer)
    assert call.headers["Wechatpay-Serial"] == serial_of("certified-1")
    assert opened_by("certified-1", json.loads(call.body)["real_name"]) == "张三"


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (error(400, "PARAM_ERROR"), State.FAILED),
        (error(404, "RESOURCE_NOT_EXISTS"), State.FAILED),
        (error(500, "SYSTEM_ERROR"), State.UNKNOWN),
        (error(400, "WHAT_IS_THIS"), State.UNKNOWN),
        (Silence(), State.UNKNOWN),
        (NotSent(), State.FAILED),
    ],
)
def test_to_the_merchants_account_nothing_is_sealed(answer, state):
    ask = RescueRefund(REFUND_KEY, "5000", KEY, {"type": "merchant"})
    outcome, [call] = converse(adapter().ask(ask), answer)
    assert outcome.state is state
    assert json.loads(call.body) == {"out_refund_no": REFUND_KEY, "type": "MERCHANT_BANK_CARD"}


def test_what_is_too_long_to_be_sealed_is_never_sent():
    ask = RescueRefund(REFUND_KEY, "5000", KEY, {"type": "payer", "bank": "B", "account": "1", "name": "长" * 100})
    outcome, calls = converse(adapter().ask(ask))
    assert outcome.state is State.FAILED and not calls


# --- who holds the phone

WITH_SECRET = {"app_secret": "0123456789abcdef0123456789abcdef"}


def test_who_holds_the_phone():
    channel = adapter(**WITH_SECRET)
    assert channel.identify_url("https://pay.example/c?x=1", "s&t") == (
        f"https://open.weixin.qq.com/connect/oauth2/authorize?appid={APPID}&redirect_uri=https%3A%2F%2Fpay.example%2Fc%3Fx%3D1"
        "&response_type=code&scope=snsapi_base&state=s%26t#wechat_redirect"
    )
    said = HttpReply(200, {}, json.dumps({"access_token": "t", "openid": OPENID, "scope": "snsapi_base"}).encode())
    outcome, [call] = converse(channel.ask(IdentifyPayer("0a1")), said)
    assert outcome == Outcome(State.SUCCEEDED, payer=OPENID)
    assert call.url == (
        f"https://api.weixin.qq.com/sns/oauth2/access_token?appid={APPID}&secret={WITH_SECRET['app_secret']}"
        "&code=0a1&grant_type=authorization_code"
    )
    _, [call] = converse(adapter(**WITH_SECRET, **PARTNER, sub_appid="wxsub").ask(IdentifyPayer("0a1")), said)
    assert "appid=wxsub" in call.url


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (HttpReply(200, {}, b'{"errcode":40029,"errmsg":"invalid code"}'), State.FAILED),
        (HttpReply(200, {}, b'{"errcode":40163,"errmsg":"code been used"}'), State.FAILED),
        (HttpReply(200, {}, b'{"errcode":-1,"errmsg":"system busy"}'), State.UNKNOWN),
        (HttpReply(200, {}, b'{"errcode":45011,"errmsg":"too often"}'), State.UNKNOWN),
        (HttpReply(200, {}, b"{}"), State.UNKNOWN),
        (HttpReply(200, {}, b"<html>"), State.UNKNOWN),
        (HttpReply(502, {}, b""), State.UNKNOWN),
        (Silence(), State.UNKNOWN),
        (NotSent(), State.UNKNOWN),
    ],
)
def test_nobody_is_taken_for_a_payer(answer, state):
    outcome, _ = converse(adapter(**WITH_SECRET).ask(IdentifyPayer("0a1")), answer)
    assert outcome.state is state and outcome.payer is None


def test_without_a_secret_nobody_is_asked():
    outcome, calls = converse(adapter().ask(IdentifyPayer("0a1")))
    assert outcome.state is State.FAILED and not calls
