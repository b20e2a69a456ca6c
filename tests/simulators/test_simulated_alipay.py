"""What Alipay answers when something is wrong, too early, or asked twice."""

import urllib.error
import urllib.request
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest

from simulators.merchant import AlipayMerchant
from simulators.process import Shop, Simulators


@pytest.fixture(scope="module")
def config(sim: Simulators) -> dict[str, str]:
    return sim.open_account("alipay")


@pytest.fixture
def merchant(config: dict[str, str], shop: Shop) -> AlipayMerchant:
    return AlipayMerchant(config, f"{shop.url}/notify")


def test_a_request_that_nobody_signed(merchant: AlipayMerchant) -> None:
    params = merchant.params("alipay.trade.query", {"out_trade_no": "X"})
    content = merchant.send({**params, "timestamp": "2020-01-01 00:00:00"}, "")
    assert b"isv.invalid-signature" in content and content.startswith(b'{"alipay_trade_query_response":')
    for spoil, code in (
        ({"app_id": "2021"}, b"isv.invalid-app-id"),
        ({"method": "alipay.nothing"}, b"isv.invalid-method"),
    ):
        content = merchant.send(params | spoil, "")
        assert content.startswith(b'{"error_response":') and code in content and b'"sign"' not in content
    assert b"isv.missing-sign" in merchant.send({key: value for key, value in params.items() if key != "sign"}, "")


def test_slashes_are_escaped_and_signed_so(merchant: AlipayMerchant) -> None:
    order = {"out_trade_no": "SLASH", "total_amount": "1.00", "subject": "a/b"}
    content = merchant.send(merchant.params("alipay.trade.precreate", order), "")
    assert b"https:\\/\\/qr.alipay.com\\/" in content and merchant.signed


def test_parameters_may_stand_in_the_query_or_the_body(merchant: AlipayMerchant) -> None:
    params = merchant.params("alipay.trade.query", {"out_trade_no": "NOBODY"})
    with urllib.request.urlopen(f"{merchant.config['gateway']}?{urlencode(params)}") as reply:
        assert b"ACQ.TRADE_NOT_EXIST" in reply.read()
    assert b"ACQ.TRADE_NOT_EXIST" in merchant.send({}, urlencode(params))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"total_amount": "0.00"}, "ACQ.INVALID_PARAMETER"),
        ({"total_amount": "1.001"}, "ACQ.INVALID_PARAMETER"),
        ({"total_amount": "-1"}, "ACQ.INVALID_PARAMETER"),
        ({"total_amount": ""}, "isv.missing-total-amount"),
        ({"out_trade_no": ""}, "isv.missing-out-trade-no"),
        ({"out_trade_no": "no spaces"}, "ACQ.INVALID_PARAMETER"),
        ({"subject": ""}, "isv.missing-subject"),
        ({"time_expire": "soon"}, "ACQ.INVALID_PARAMETER"),
        ({"time_expire": "2020-01-01 00:00:00"}, "ACQ.INVALID_PARAMETER"),
        ({"timeout_express": "1y"}, "ACQ.INVALID_PARAMETER"),
    ],
    ids=str,
)
def test_a_create_with_a_wrong_parameter(merchant: AlipayMerchant, change: dict[str, str], code: str) -> None:
    order = {"out_trade_no": "WRONG", "total_amount": "1.00", "subject": "x"}
    assert merchant.call("alipay.trade.precreate", **(order | change))["sub_code"] == code


def test_a_trade_exists_once_its_payer_has_opened_it(sim: Simulators, merchant: AlipayMerchant) -> None:
    order = merchant.precreate("OPEN-1")
    assert merchant.precreate("OPEN-1") == order
    assert merchant.precreate("OPEN-1", "2.00")["sub_code"] == "ACQ.CONTEXT_INCONSISTENT"
    early = [
        merchant.call(f"alipay.trade.{op}", out_trade_no="OPEN-1", refund_amount="1")
        for op in ("query", "close", "refund")
    ]
    assert {content["sub_code"] for content in early} == {"ACQ.TRADE_NOT_EXIST"}
    sim.post("/sim/pay", code=order["qr_code"], action="walk")
    assert merchant.query("OPEN-1")["trade_status"] == "WAIT_BUYER_PAY"
    sim.post("/sim/pay", code=order["qr_code"])
    assert merchant.query("OPEN-1")["trade_status"] == "TRADE_SUCCESS"
    assert merchant.precreate("OPEN-1")["sub_code"] == "ACQ.TRADE_HAS_SUCCESS"
    assert merchant.call("alipay.trade.close", out_trade_no="OPEN-1")["sub_code"] == "ACQ.TRADE_STATUS_ERROR"


def test_cancel(sim: Simulators, merchant: AlipayMerchant, shop: Shop) -> None:
    def cancel(number: str) -> dict[str, str]:
        return merchant.call("alipay.trade.cancel", out_trade_no=number)

    assert "action" not in cancel("NOBODY")
    unseen = merchant.precreate("CANCEL-1")
    assert cancel("CANCEL-1")["action"] == "close"
    assert sim.post("/sim/pay", code=unseen["qr_code"])["state"] == "closed"
    merchant.precreate("CANCEL-2", attach="sim:autopay")
    shop.wait(1)
    assert cancel("CANCEL-2")["action"] == "refund"
    assert merchant.query("CANCEL-2")["trade_status"] == "TRADE_CLOSED"
    assert cancel("CANCEL-2")["action"] == "refund"
    assert [part["amount"] for part in sim.trade(merchant.id, "CANCEL-2")["refunds"]] == [100]


def test_refund(merchant: AlipayMerchant, shop: Shop) -> None:
    def refund(number: str, amount: str) -> dict[str, str]:
        return merchant.call(
            "alipay.trade.refund", out_trade_no="REFUND-1", refund_amount=amount, out_request_no=number
        )

    merchant.precreate("REFUND-1", "10.00", attach="sim:autopay")
    first, again = refund("A", "3.00"), refund("A", "3.00")
    assert [(part["fund_change"], part["refund_fee"]) for part in (first, again)] == [("Y", "3.00"), ("N", "3.00")]
    assert refund("A", "3.01")["sub_code"] == "ACQ.DISCORDANT_REPEAT_REQUEST"
    assert refund("B", "7.01")["sub_code"] == "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"
    assert refund("", "1.00")["sub_code"] == "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"
    assert refund("B", "7.00")["refund_fee"] == "10.00"
    notices = [merchant.verify_notice(heard.body) for heard in shop.wait(3)]
    told = [(notice["trade_status"], notice.get("refund_fee"), notice.get("out_biz_no")) for notice in notices]
    # Callbacks travel side by side, so their order says nothing.
    assert set(told) == {("TRADE_SUCCESS", None, None), ("TRADE_SUCCESS", "3.00", "A"), ("TRADE_CLOSED", "10.00", "B")}
    query = {"out_trade_no": "REFUND-1", "query_options": ["gmt_refund_pay"]}
    found = merchant.call("alipay.trade.fastpay.refund.query", out_request_no="B", **query)
    assert (found["refund_status"], found["refund_amount"]) == ("REFUND_SUCCESS", "7.00") and found["gmt_refund_pay"]
    missing = merchant.call("alipay.trade.fastpay.refund.query", out_request_no="C", **query)
    assert missing["code"] == "10000" and "refund_status" not in missing


def test_a_refund_in_progress(merchant: AlipayMerchant, shop: Shop) -> None:
    merchant.precreate("SLOW-1", attach="sim:paid_without_callback,refund_processing=0.3")
    ask = {"out_trade_no": "SLOW-1", "refund_amount": "1.00", "out_request_no": "S"}
    assert merchant.call("alipay.trade.refund", **ask)["fund_change"] == "N"
    assert "refund_status" not in merchant.call("alipay.trade.fastpay.refund.query", **ask)
    shop.wait(1)
    assert merchant.call("alipay.trade.fastpay.refund.query", **ask)["refund_status"] == "REFUND_SUCCESS"


class Stay(urllib.request.HTTPRedirectHandler):
    """Do not follow: the address is what we want."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """No."""


def visit(url: str, data: bytes | None = None) -> tuple[int, str]:
    """Status, and where it leads or what it says."""
    try:
        with urllib.request.build_opener(Stay).open(url, data, timeout=10) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers.get("Location") or error.read().decode()


def test_a_page(sim: Simulators, merchant: AlipayMerchant, shop: Shop) -> None:
    url = merchant.page("PAGE-1", "5.00", f"{shop.url}/back?order=1")
    status, place = visit(url)
    code = dict(parse_qsl(urlsplit(place).query))["code"]
    assert status == 303 and "5.00" in visit(place)[1]
    status, back = visit(f"{sim.url}/phone", urlencode({"code": code, "action": "pay"}).encode())
    assert status == 303 and back.startswith(f"{shop.url}/back?order=1&")
    query = urlsplit(back).query.partition("&")[2]
    assert merchant.verify_notice(query.encode())["out_trade_no"] == "PAGE-1" and merchant.signed
    assert visit(url) == (400, "ACQ.TRADE_HAS_SUCCESS: 交易已被支付\n")
    assert visit(url.replace("5.00", "6.00"))[1].startswith('{"alipay_trade_page_pay_response"')
    second = merchant.page("PAGE-2", "5.00", f"{shop.url}/back")
    assert sim.post("/sim/pay", code=second)["out_trade_no"] == "PAGE-2"


PAYEE = {"identity": "2088101117955611", "identity_type": "ALIPAY_USER_ID"}
TRANSFER = {
    "product_code": "TRANS_ACCOUNT_NO_PWD",
    "biz_scene": "DIRECT_TRANSFER",
    "trans_amount": "8.80",
    "payee_info": PAYEE,
}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"trans_amount": "0.09"}, "EXCEED_LIMIT_SM_MIN_AMOUNT"),
        ({"trans_amount": "50000.00"}, "MEMO_REQUIRED_IN_TRANSFER_ERROR"),
        ({"trans_amount": "1000000.01", "remark": "佣金"}, "PAYER_BALANCE_NOT_ENOUGH"),
        ({"biz_scene": "PERSONAL_PAY"}, "INVALID_PARAMETER"),
        ({"payee_info": {}}, "INVALID_PARAMETER"),
        ({"payee_info": "2088"}, "INVALID_PARAMETER"),
        ({"payee_info": {"identity": "a@b.example", "identity_type": "ALIPAY_LOGON_ID"}}, "INVALID_PARAMETER"),
        (
            {"payee_info": {"identity": "nobody@example.com", "identity_type": "ALIPAY_LOGON_ID", "name": "x"}},
            "PAYEE_NOT_EXIST",
        ),
        ({"out_biz_no": ""}, "isv.missing-out-biz-no"),
    ],
    ids=str,
)
def test_a_transfer_with_a_wrong_parameter(
    sim: Simulators, merchant: AlipayMerchant, change: dict[str, object], code: str
) -> None:
    order = {"out_biz_no": "WRONG-T", **TRANSFER, **change}
    assert merchant.call("alipay.fund.trans.uni.transfer", **order)["sub_code"] == code
    assert "WRONG-T" not in {row["out_no"] for row in sim.get(f"/sim/payouts?account={merchant.id}")["payouts"]}


def test_a_transfer_and_its_message(merchant: AlipayMerchant, shop: Shop) -> None:
    sent = [merchant.call("alipay.fund.trans.uni.transfer", out_biz_no="T-1", **TRANSFER) for _ in range(2)]
    assert sent[0] == sent[1] and sent[0]["status"] == "SUCCESS" and sent[0]["trans_date"]
    heard = merchant.verify_notice(shop.wait(1)[0].body)
    assert merchant.signed and heard["msg_method"] == "alipay.fund.trans.order.changed" and "notify_time" not in heard


def test_a_transfer_that_is_accepted_and_fails(sim: Simulators, merchant: AlipayMerchant) -> None:
    order = {"out_biz_no": "T-2", **TRANSFER, "passback_params": quote("sim:payout_fail,payout_processing=0.2")}
    assert merchant.call("alipay.fund.trans.uni.transfer", **order)["status"] == "DEALING"
    question = {"out_biz_no": "T-2", "product_code": "TRANS_ACCOUNT_NO_PWD", "biz_scene": "DIRECT_TRANSFER"}
    failed = sim.until(
        lambda: (c := merchant.call("alipay.fund.trans.common.query", **question))["status"] == "FAIL" and c
    )
    assert failed["error_code"] == "PAYEE_ACCOUNT_STATUS_ERROR" and "pay_date" not in failed


def test_a_partners_calls_need_the_grant(sim: Simulators, shop: Shop) -> None:
    merchant = AlipayMerchant(sim.open_account("alipay", options={"partner": "1"}), f"{shop.url}/notify")
    assert merchant.query("X")["sub_code"] == "aop.invalid-app-auth-token"
    granted = merchant.params(
        "alipay.trade.query", {"out_trade_no": "X"}, app_auth_token=merchant.config["app_auth_token"]
    )
    assert b"ACQ.TRADE_NOT_EXIST" in merchant.send(granted, "")


def test_certificates_are_named_by_both_sides(sim: Simulators, shop: Shop) -> None:
    config = sim.open_account("alipay", trust="certificate")
    merchant = AlipayMerchant(config | {"alipay_public_key": ""}, f"{shop.url}/notify")
    unnamed = merchant.params("alipay.trade.query", {"out_trade_no": "X"})
    with urllib.request.urlopen(f"{config['gateway']}?{urlencode(unnamed)}") as reply:
        content = reply.read()
    assert b"isv.invalid-app-cert-sn" in content and b'"alipay_cert_sn":"' in content


def test_a_wallet_tells_its_owner_once(sim: Simulators, merchant: AlipayMerchant) -> None:
    asked = urlencode(
        {"app_id": merchant.id, "scope": "auth_base", "redirect_uri": "http://127.0.0.1:9/back?a=1", "state": "s"}
    )
    status, back = visit(f"{merchant.config['oauth_url']}?{asked}")
    assert status == 303 and back.startswith("http://127.0.0.1:9/back?a=1&")
    code = dict(parse_qsl(urlsplit(back).query))["auth_code"]
    told = []
    for _ in range(2):
        grant = merchant.params("alipay.system.oauth.token", {}, grant_type="authorization_code", code=code)
        told.append(merchant.send(grant, ""))
        assert merchant.signed
    assert b'"user_id":"2088' in told[0] and b'"code"' not in told[0]
    assert told[1].startswith(b'{"error_response":') and b"isv.code-invalid" in told[1]
    assert visit(f"{sim.url}/oauth2/publicAppAuthorize.htm?app_id=nobody&redirect_uri=http://x")[0] == 400


def test_the_sheet_that_the_bridge_opens(sim: Simulators, merchant: AlipayMerchant) -> None:
    order = {"total_amount": "5.00", "subject": "单 & 双", "product_code": "JSAPI_PAY", "buyer_id": "2088101117955611"}
    for action, result in (("walk", "6001"), ("decline", "4000"), ("pay", "9000")):
        made = merchant.call("alipay.trade.create", out_trade_no=f"SHEET-{action}", **order)
        assert "单 &amp; 双" in visit(f"{sim.url}/alipay/wallet?trade_no={made['trade_no']}")[1]
        form = urlencode({"trade_no": made["trade_no"], "action": action}).encode()
        assert f'data-result="{result}"' in visit(f"{sim.url}/alipay/wallet", form)[1]
    assert merchant.query("SHEET-pay")["trade_status"] == "TRADE_SUCCESS"
    status, script = visit(f"{sim.url}/alipay/bridge.js")
    assert status == 200 and sim.url in script and "tradePay" in script
    assert visit(f"{sim.url}/alipay/wallet?trade_no=nothing")[0] == 404
