"""What WeChat Pay answers when something is wrong, and when something is asked twice."""

from typing import Any

import pytest

from simulators.merchant import WeChatMerchant
from simulators.process import Shop, Simulators


@pytest.fixture(scope="module")
def config(sim: Simulators) -> dict[str, str]:
    return sim.open_account("wechatpay")


@pytest.fixture
def merchant(config: dict[str, str], shop: Shop) -> WeChatMerchant:
    return WeChatMerchant(config, f"{shop.url}/notify")


@pytest.mark.parametrize(
    "spoil",
    [
        {"signature": "bm90aGluZw=="},
        {"signature": "?"},
        {"mchid": "1900000000"},
        {"serial_no": "ABCDEF"},
        {"timestamp": "1600000000"},
        {"timestamp": "now"},
    ],
    ids=str,
)
def test_a_request_that_nobody_signed(merchant: WeChatMerchant, spoil: dict[str, str]) -> None:
    status, content = merchant.call("GET", f"/v3/pay/transactions/out-trade-no/NOBODY?mchid={merchant.id}", **spoil)
    assert (status, content["code"]) == (401, "SIGN_ERROR")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"appid": "wx0000000000000000"}, "APPID_MCHID_NOT_MATCH"),
        ({"out_trade_no": "short"}, "PARAM_ERROR"),
        ({"out_trade_no": "x" * 33}, "PARAM_ERROR"),
        ({"description": ""}, "PARAM_ERROR"),
        ({"description": "长" * 128}, "PARAM_ERROR"),
        ({"attach": "长" * 43}, "PARAM_ERROR"),
        ({"amount": {"total": 0}}, "PARAM_ERROR"),
        ({"amount": {"total": 1.5}}, "PARAM_ERROR"),
        ({"amount": {"total": 1, "currency": "USD"}}, "PARAM_ERROR"),
        ({"notify_url": "http://shop.example/notify?order=1"}, "PARAM_ERROR"),
        ({"notify_url": "shop.example"}, "PARAM_ERROR"),
        ({"time_expire": "tomorrow"}, "PARAM_ERROR"),
        ({"time_expire": "2020-01-01T00:00:00+08:00"}, "PARAM_ERROR"),
    ],
    ids=str,
)
def test_a_create_with_a_wrong_parameter(merchant: WeChatMerchant, change: dict[str, Any], code: str) -> None:
    status, content = merchant.create("WRONG001", **change)
    assert (status, content["code"], merchant.signed) == (400, code, True)
    assert merchant.query("WRONG001")[0] == 404


def test_one_number_is_one_order(sim: Simulators, merchant: WeChatMerchant) -> None:
    status, order = merchant.create("ONCE0001")
    assert merchant.create("ONCE0001") == (200, order)
    assert [merchant.create("ONCE0001", 101)[1]["code"], status] == ["OUT_TRADE_NO_USED", 200]
    sim.post("/sim/pay", account=merchant.id, out_trade_no="ONCE0001")
    assert merchant.create("ONCE0001")[1]["code"] == "ORDERPAID"
    assert merchant.close("ONCE0001")[1]["code"] == "ORDERPAID"


def test_close(sim: Simulators, merchant: WeChatMerchant) -> None:
    assert merchant.close("NOBODY01")[1]["code"] == "ORDER_NOT_EXIST"
    _, order = merchant.create("CLOSE001")
    assert merchant.close("CLOSE001") == (204, b"") and merchant.signed
    assert merchant.close("CLOSE001")[1]["code"] == "ORDER_CLOSED"
    assert merchant.create("CLOSE001")[1]["code"] == "ORDER_CLOSED"
    assert sim.post("/sim/pay", code=order["code_url"])["state"] == "closed"
    assert merchant.query("CLOSE001")[1]["trade_state"] == "CLOSED"


def test_an_unpaid_order_tells_less(merchant: WeChatMerchant) -> None:
    merchant.create("UNPAID01")
    _, content = merchant.query("UNPAID01")
    assert content["trade_state"] == "NOTPAY"
    assert not {"transaction_id", "success_time", "payer"} & set(content)
    assert merchant.call("GET", "/v3/pay/transactions/out-trade-no/UNPAID01?mchid=1900000000")[0] == 400


def test_an_order_expires(own_sim: Simulators, shop: Shop) -> None:
    merchant = WeChatMerchant(own_sim.open_account("wechatpay"), f"{shop.url}/notify")
    _, order = merchant.create("EXPIRE01")
    own_sim.post("/sim/clock", offset_s=2 * 3600 + 1)
    assert own_sim.post("/sim/pay", code=order["code_url"])["state"] == "closed"
    assert merchant.query("EXPIRE01")[1]["trade_state"] == "CLOSED"


def test_refunds_never_exceed_the_payment(sim: Simulators, merchant: WeChatMerchant, shop: Shop) -> None:
    merchant.create("REFUND01", attach="sim:paid_without_callback")
    status, refund = merchant.refund("REFUND01", "PART1", 60)
    assert (status, refund["status"], refund["amount"]["refund"]) == (200, "PROCESSING", 60)
    assert merchant.query("REFUND01")[1]["trade_state"] == "REFUND"
    shop.wait(1)
    again = merchant.refund("REFUND01", "PART1", 60)[1]
    assert (again["refund_id"], again["status"]) == (refund["refund_id"], "SUCCESS")
    codes = [
        merchant.refund("REFUND01", "PART1", 59)[1]["code"],
        merchant.refund("REFUND01", "PART2", 41)[1]["code"],
        merchant.refund("REFUND01", "PART2", 40, 101)[1]["code"],
        merchant.refund("NOBODY01", "PART2", 40)[1]["code"],
        merchant.refund("REFUND01", "PART2", 0)[1]["code"],
    ]
    assert codes == ["INVALID_REQUEST", "INVALID_REQUEST", "INVALID_REQUEST", "RESOURCE_NOT_EXISTS", "PARAM_ERROR"]
    assert merchant.refund("REFUND01", "PART2", 40)[0] == 200
    assert merchant.call("GET", "/v3/refund/domestic/refunds/NOBODY")[1]["code"] == "RESOURCE_NOT_EXISTS"
    merchant.create("UNPAID02")
    assert merchant.refund("UNPAID02", "PART9", 1)[1]["code"] == "INVALID_REQUEST"
    assert sum(part["amount"] for part in sim.trade(merchant.id, "REFUND01")["refunds"]) == 100


def test_a_bills_address_needs_a_signature(sim: Simulators, merchant: WeChatMerchant) -> None:
    status, content = merchant.call("GET", "/v3/billdownload/file?token=guess")
    assert (status, content["code"], merchant.signed) == (400, "INVALID_REQUEST", False)
    status, content = merchant.call("GET", "/v3/billdownload/file?token=guess", mchid="1900000000")
    assert status == 401
