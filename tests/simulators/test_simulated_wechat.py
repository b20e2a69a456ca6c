"""WeChat in the payer's hand: its bridge, H5, who he is, his code at the till; transfers to him; and service providers."""

import base64
import http.client
import json
import time
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from simulators.merchant import WeChatMerchant, sign
from simulators.process import Shop, Simulators

OPENID = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"


@pytest.fixture(scope="module")
def config(sim: Simulators) -> dict[str, str]:
    return sim.open_account("wechatpay")


@pytest.fixture
def merchant(config: dict[str, str], shop: Shop) -> WeChatMerchant:
    return WeChatMerchant(config, f"{shop.url}/notify")


def order(merchant: WeChatMerchant, way: str, number: str, total: int = 100, **more: Any) -> tuple[int, Any]:
    body = {
        "appid": merchant.config["appid"],
        "mchid": merchant.id,
        "description": "测试",
        "out_trade_no": number,
        "amount": {"total": total, "currency": "CNY"},
    }
    if way != "codepay":
        body["notify_url"] = merchant.notify_url
    return merchant.call("POST", f"/v3/pay/transactions/{way}", body | more)


def fetch(
    sim: Simulators, path: str, form: dict[str, str] | None = None, **headers: str
) -> tuple[int, dict[str, str], str]:
    """A browser's request; redirects are not followed."""
    line = http.client.HTTPConnection(urlsplit(sim.url).netloc, timeout=10)
    try:
        line.request("POST" if form else "GET", path, urlencode(form) if form else None, headers)
        reply = line.getresponse()
        return reply.status, {k.lower(): v for k, v in reply.headers.items()}, reply.read().decode()
    finally:
        line.close()


def bridge_params(merchant: WeChatMerchant, prepay_id: str, **changes: str) -> dict[str, str]:
    said = {
        "appId": merchant.config["appid"],
        "timeStamp": str(int(time.time())),
        "nonceStr": "abc",
        "package": f"prepay_id={prepay_id}",
    }
    said |= changes
    text = "".join(f"{said[name]}\n" for name in ("appId", "timeStamp", "nonceStr", "package")).encode()
    return {**said, "signType": "RSA", "paySign": sign(merchant.config["private_key"], text)}


def invoke(sim: Simulators, api: str, params: dict[str, str], action: str = "") -> tuple[int, str]:
    if action:
        status, _, text = fetch(
            sim, "/wechat/invoke", {"api": api, "params": json.dumps(params), "action": action},
            **{"Content-Type": "application/x-www-form-urlencoded"},
        )  # fmt: skip
    else:
        status, _, text = fetch(sim, f"/wechat/invoke?api={api}&params={quote(json.dumps(params))}")
    return status, text


@pytest.mark.parametrize(
    ("action", "result", "state"),
    [("pay", "ok", "SUCCESS"), ("decline", "fail", "PAYERROR"), ("cancel", "cancel", "NOTPAY")],
)
def test_the_bridge_shows_what_is_to_be_paid_and_tells_what_was_done(sim, merchant, action, result, state):
    number = f"JSAPI{action}"
    status, made = order(merchant, "jsapi", number, payer={"openid": OPENID})
    assert status == 200 and made["prepay_id"].startswith("wx")
    params = bridge_params(merchant, made["prepay_id"])
    status, text = invoke(sim, "getBrandWCPayRequest", params)
    assert status == 200 and "确认付款" in text and "1.00" in text
    status, text = invoke(sim, "getBrandWCPayRequest", params, action)
    assert status == 200 and f'data-result="{result}"' in text
    found = merchant.query(number)[1]
    assert found["trade_state"] == state
    if state == "SUCCESS":
        assert (found["trade_type"], found["payer"]) == ("JSAPI", {"openid": OPENID})


@pytest.mark.parametrize(
    "change",
    [
        {"appId": "wx0000000000000000"},
        {"package": "prepay_id=wx0"},
        {"paySign": "bm8="},
        {"nonceStr": "other"},
        {"signType": "MD5"},
    ],
    ids=str,
)
def test_the_bridge_believes_nobody_but_the_merchant(sim, merchant, change):
    number = f"BAD{next(iter(change))}"
    _, made = order(merchant, "jsapi", number, payer={"openid": OPENID})
    params = bridge_params(merchant, made["prepay_id"]) | change
    for action in ("", "pay"):
        status, text = invoke(sim, "getBrandWCPayRequest", params, action)
        assert status == 400 and 'data-result="fail"' in text
    assert merchant.query(number)[1]["trade_state"] == "NOTPAY"


def test_the_bridge_is_a_script_that_knows_where_it_came_from(sim):
    status, headers, text = fetch(sim, "/wechat/jsbridge.js")
    assert status == 200 and headers["content-type"].startswith("text/javascript")
    assert f'"{sim.url}"' in text and "WeixinJSBridgeReady" in text and "{{" not in text
    assert fetch(sim, "/wechat/done.js")[0] == 200
    assert invoke(sim, "nothing", {})[0] == invoke(sim, "getBrandWCPayRequest", {})[0] == 400
    assert fetch(sim, "/wechat/invoke?api=appPay&params=[")[0] == 400


def test_an_app_signs_over_the_bare_prepay_id(sim, merchant):
    _, made = order(merchant, "app", "APP00001")
    said = {"appid": merchant.config["appid"], "timestamp": "1", "noncestr": "abc", "prepayid": made["prepay_id"]}
    good = sign(merchant.config["private_key"], "".join(f"{v}\n" for v in said.values()).encode())
    said |= {"partnerid": merchant.id, "package": "Sign=WXPay"}
    bad = sign(merchant.config["private_key"], f"{said['appid']}\n1\nabc\nprepay_id={made['prepay_id']}\n".encode())
    assert invoke(sim, "appPay", {**said, "sign": bad}, "pay")[0] == 400
    assert invoke(sim, "appPay", {**said, "sign": good}, "pay")[0] == 200
    assert merchant.query("APP00001")[1]["trade_type"] == "APP"


def test_a_phones_browser_goes_to_wechat_and_back(own_sim, shop):
    merchant = WeChatMerchant(own_sim.open_account("wechatpay"), f"{shop.url}/notify")
    scene = {"payer_client_ip": "203.0.113.9", "h5_info": {"type": "Wap"}}
    assert order(merchant, "h5", "H5000001")[1]["code"] == "PARAM_ERROR"
    _, made = order(merchant, "h5", "H5000001", scene_info=scene)
    assert order(merchant, "h5", "H5000001", scene_info=scene)[1] == made
    path = made["h5_url"].removeprefix(own_sim.url)
    status, headers, _ = fetch(own_sim, f"{path}&redirect_url={quote('http://shop.example/done?a=1', safe='')}")
    assert status == 302 and headers["location"].startswith("/phone?code=")
    code = parse_qs(urlsplit(headers["location"]).query)["code"][0]
    status, headers, _ = fetch(own_sim, "/phone", {"code": code, "action": "pay"})
    assert (status, headers["location"]) == (303, "http://shop.example/done?a=1")
    assert merchant.query("H5000001")[1]["trade_type"] == "MWEB"
    own_sim.post("/sim/clock", offset_s=301)
    assert fetch(own_sim, path)[0] == fetch(own_sim, "/wechat/h5?prepay_id=wx0")[0] == 400


def scan(sim: Simulators, like: str = "pays") -> str:
    return json.loads(fetch(sim, f"/wechat/code?like={like}", Accept="application/json")[2])["auth_code"]


def charge(merchant: WeChatMerchant, number: str, code: str, total: int = 100) -> tuple[int, Any]:
    return order(merchant, "codepay", number, total, payer={"auth_code": code}, scene_info={"store_info": {"id": "1"}})


def test_a_payers_code_pays_once(sim, merchant):
    code = scan(sim)
    assert len(code) == 18 and code[:2] in {"10", "11", "12", "13", "14", "15"}
    assert 'data-code="1' in fetch(sim, "/wechat/code")[2]
    status, paid = charge(merchant, "TILL0001", code)
    assert (status, paid["trade_state"], paid["trade_type"]) == (200, "SUCCESS", "MICROPAY")
    assert charge(merchant, "TILL0001", code)[1]["code"] == "ORDERPAID"
    assert charge(merchant, "TILL0002", code)[1]["code"] == "AUTH_CODE_EXPIRE"
    assert charge(merchant, "TILL0002", scan(sim, "expired"))[1]["code"] == "AUTH_CODE_EXPIRE"
    assert charge(merchant, "TILL0002", "280000000000000000")[1]["code"] == "AUTH_CODE_INVALID"
    assert order(merchant, "codepay", "TILL0002", payer={"auth_code": scan(sim)})[1]["code"] == "PARAM_ERROR"
    assert merchant.query("TILL0002")[0] == 404
    assert charge(merchant, "TILL0003", scan(sim, "broke"))[1]["code"] == "NOT_ENOUGH"
    assert merchant.query("TILL0003")[1]["trade_state"] == "PAYERROR"


@pytest.mark.parametrize(("like", "total"), [("password", 100), ("pays", 100_000)])
def test_a_password_is_asked_for_and_given(sim, merchant, shop, like, total):
    number, code = f"PASS{total}", scan(sim, like)
    assert charge(merchant, number, code, total)[1]["code"] == "USERPAYING"
    assert merchant.query(number)[1]["trade_state"] == "USERPAYING"
    sim.post("/sim/pay", code=code)
    assert merchant.query(number)[1]["trade_state"] == "SUCCESS"
    assert not shop.heard, "nothing is told of it"


def test_a_reversal_gives_back_what_was_paid(own_sim, shop):
    merchant = WeChatMerchant(own_sim.open_account("wechatpay"), f"{shop.url}/notify")
    names = {"appid": merchant.config["appid"], "mchid": merchant.id}

    def reverse(number: str) -> tuple[int, Any]:
        return merchant.call("POST", f"/v3/pay/transactions/out-trade-no/{number}/reverse", names)

    charge(merchant, "REVERSE1", scan(own_sim))
    charge(merchant, "REVERSE2", scan(own_sim, "password"))
    assert merchant.close("REVERSE2")[1]["code"] == "INVALID_REQUEST", "barcode orders are reversed"
    for number in ("REVERSE1", "REVERSE1", "REVERSE2"):
        assert reverse(number) == (200, {**names, "out_trade_no": number})
    assert [merchant.query(f"REVERSE{n}")[1]["trade_state"] for n in (1, 2)] == ["REVOKED", "REVOKED"]
    assert [r["amount"] for r in own_sim.trade(merchant.id, "REVERSE1")["refunds"]] == [100]
    assert own_sim.trade(merchant.id, "REVERSE2")["refunds"] == []
    assert reverse("NOBODY01")[1]["code"] == "ORDER_NOT_EXIST"
    merchant.create("NATIVE01")
    assert reverse("NATIVE01")[1]["code"] == "INVALID_REQUEST"
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 8 * 3600))
    own_sim.post(f"/sim/accounts/{merchant.id}/close-day", day=day)
    bill = merchant.download(merchant.bill(day)[1]["download_url"]).decode()
    assert "`MICROPAY,`REVOKED," in bill and "reverse:" not in bill


def test_who_holds_the_phone(sim, config):
    where = {
        "appid": config["appid"],
        "redirect_uri": "http://shop.example/c?x=1",
        "response_type": "code",
        "scope": "snsapi_base",
        "state": "s",
    }
    status, headers, _ = fetch(sim, f"/connect/oauth2/authorize?{urlencode(where)}")
    back = urlsplit(headers["location"])
    assert status == 302 and back.netloc == "shop.example" and parse_qs(back.query)["state"] == ["s"]
    code, cookie = parse_qs(back.query)["code"][0], headers["set-cookie"].partition(";")[0]

    def token(code: str, **changes: str) -> dict[str, Any]:
        asked = {
            "appid": config["appid"],
            "secret": config["app_secret"],
            "code": code,
            "grant_type": "authorization_code",
        }
        return json.loads(fetch(sim, f"/sns/oauth2/access_token?{urlencode(asked | changes)}")[2])

    assert token(code, secret="x")["errcode"] == 40125 and token(code, appid="wx0")["errcode"] == 40013
    who = token(code)["openid"]
    assert token(code)["errcode"] == 40029, "a code is good once"
    _, headers, _ = fetch(sim, f"/connect/oauth2/authorize?{urlencode(where)}", Cookie=cookie)
    assert token(parse_qs(urlsplit(headers["location"]).query)["code"][0])["openid"] == who, (
        "the same phone, the same payer"
    )
    _, headers, _ = fetch(sim, f"/connect/oauth2/authorize?{urlencode(where)}")
    assert token(parse_qs(urlsplit(headers["location"]).query)["code"][0])["openid"] != who
    for wrong in ({"appid": "wx0"}, {"scope": "all"}, {"redirect_uri": "javascript:alert(1)"}):
        assert fetch(sim, f"/connect/oauth2/authorize?{urlencode(where | wrong)}")[0] == 400


def seal(config: dict[str, str], text: str) -> str:
    key = serialization.load_pem_public_key(config["public_key"].encode())
    assert isinstance(key, rsa.RSAPublicKey)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
    return base64.b64encode(key.encrypt(text.encode(), oaep)).decode()


def transfer(merchant: WeChatMerchant, number: str, fen: int = 100, **more: Any) -> tuple[int, Any]:
    body = {
        "appid": merchant.config["appid"],
        "out_bill_no": number,
        "transfer_scene_id": "1000",
        "openid": OPENID,
        "transfer_amount": fen,
        "transfer_remark": "报销",
        "notify_url": merchant.notify_url,
        "transfer_scene_report_infos": [{"info_type": "活动名称", "info_content": "新会员有礼"}],
    }
    return merchant.call("POST", "/v3/fund-app/mch-transfer/transfer-bills", body | more)


def bill_of(merchant: WeChatMerchant, number: str) -> tuple[int, Any]:
    return merchant.call("GET", f"/v3/fund-app/mch-transfer/transfer-bills/out-bill-no/{number}")


@pytest.mark.parametrize(
    ("action", "result", "state"),
    [("pay", "ok", "SUCCESS"), ("decline", "fail", "FAIL"), ("cancel", "cancel", "WAIT_USER_CONFIRM")],
)
def test_a_transfer_waits_for_its_payee(sim, merchant, shop, action, result, state):
    number = f"OUT{action}"
    status, made = transfer(merchant, number)
    assert (status, made["state"]) == (200, "WAIT_USER_CONFIRM") and made["package_info"]
    assert transfer(merchant, number)[1] == made, "asked twice, it is one"
    assert transfer(merchant, number, 101)[1]["code"] == "INVALID_REQUEST"
    params = {"mchId": merchant.id, "appId": merchant.config["appid"], "package": made["package_info"]}
    assert "确认收款" in invoke(sim, "requestMerchantTransfer", params)[1]
    assert f'data-result="{result}"' in invoke(sim, "requestMerchantTransfer", params, action)[1]
    found = bill_of(merchant, number)[1]
    assert (found["state"], found["transfer_amount"], "package_info" in found) == (state, 100, False)
    if state != "WAIT_USER_CONFIRM":
        [heard] = shop.wait(1)
        told = merchant.open_callback(heard.body)
        assert (told["event_type"], told["resource"]["state"]) == ("MCHTRANSFER.BILL.FINISHED", state)


def test_a_payees_name_is_sealed_and_there_when_it_must_be(own_sim, shop):
    merchant = WeChatMerchant(own_sim.open_account("wechatpay"), f"{shop.url}/notify")
    assert transfer(merchant, "NAME1", 200_000)[1]["code"] == "PARAM_ERROR"
    assert transfer(merchant, "NAME1", 29, user_name="x")[1]["code"] == "PARAM_ERROR"
    assert transfer(merchant, "NAME1", 100, user_name="not sealed")[1]["code"] == "PARAM_ERROR"
    assert transfer(merchant, "NAME1", 100, transfer_scene_report_infos=[])[1]["code"] == "PARAM_ERROR"
    assert transfer(merchant, "NAME1", 100, user_name=seal(merchant.config, "张三"))[1]["code"] == "PARAM_ERROR", (
        "for which key?"
    )
    assert bill_of(merchant, "NAME1")[1]["code"] == "NOT_FOUND"
    transfer(merchant, "LATE1")
    transfer(merchant, "CANCEL1")
    cancel = merchant.call("POST", "/v3/fund-app/mch-transfer/transfer-bills/out-bill-no/CANCEL1/cancel", {})
    assert cancel[1]["state"] == "CANCELLED" and bill_of(merchant, "CANCEL1")[1]["state"] == "CANCELLED"
    own_sim.post("/sim/clock", offset_s=86_401)
    late = bill_of(merchant, "LATE1")[1]
    assert (late["state"], late["fail_reason"]) == ("FAIL", "OVERDUE_CLOSE")


def test_a_service_provider_signs_for_its_merchants(sim, shop):
    first = sim.open_account("wechatpay", options={"mode": "partner"})  # type: ignore[arg-type]
    other = sim.open_account("wechatpay", options={"mode": "partner", "partner": first["sub_mchid"]})  # type: ignore[arg-type]
    assert (first["mchid"], first["private_key"]) == (other["mchid"], other["private_key"]) and first[
        "sub_mchid"
    ] != other["sub_mchid"]
    partner = WeChatMerchant(first, f"{shop.url}/notify")

    def ask(sub: str, number: str, **changes: Any) -> tuple[int, Any]:
        body = {
            "sp_appid": first["appid"],
            "sp_mchid": first["mchid"],
            "sub_mchid": sub,
            "description": "测试",
            "out_trade_no": number,
            "notify_url": partner.notify_url,
            "amount": {"total": 100},
        }
        return partner.call("POST", "/v3/pay/partner/transactions/native", body | changes)

    for own in (first, other):
        status, made = ask(own["sub_mchid"], "SHARED01")
        assert status == 200
        sim.post("/sim/pay", code=made["code_url"])
        names = f"sp_mchid={first['mchid']}&sub_mchid={own['sub_mchid']}"
        found = partner.call("GET", f"/v3/pay/partner/transactions/out-trade-no/SHARED01?{names}")[1]
        assert (found["sub_mchid"], found["sp_mchid"], found["trade_state"]) == (
            own["sub_mchid"],
            first["mchid"],
            "SUCCESS",
        )
        assert "mchid" not in found and "sp_openid" in found["payer"]
    assert {partner.open_callback(heard.body)["resource"]["sub_mchid"] for heard in shop.wait(2)} == {
        first["sub_mchid"],
        other["sub_mchid"],
    }
    stranger = sim.open_account("wechatpay", options={"mode": "partner"})  # type: ignore[arg-type]
    assert ask(stranger["sub_mchid"], "SHARED02")[1]["code"] == "PARAM_ERROR"
    assert ask(first["sub_mchid"], "SHARED02", sp_appid="wx0")[1]["code"] == "APPID_MCHID_NOT_MATCH"
    assert (
        partner.call("GET", f"/v3/pay/transactions/out-trade-no/SHARED01?mchid={first['mchid']}")[1]["code"]
        == "NO_AUTH"
    )
