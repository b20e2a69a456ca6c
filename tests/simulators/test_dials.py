"""Every dial does what its line in the table says."""

import http.client
import json
import time

import pytest

from guilder.simulators.dials import ANSWERS, DIALS, NUMBERS, parse_dial
from simulators.merchant import AlipayMerchant, WeChatMerchant
from simulators.process import Shop, Simulators


@pytest.fixture(scope="module")
def config(sim: Simulators) -> dict[str, str]:
    return sim.open_account("wechatpay")


@pytest.fixture
def merchant(config: dict[str, str], shop: Shop) -> WeChatMerchant:
    return WeChatMerchant(config, f"{shop.url}/notify")


def number(name: str) -> str:
    """A fresh out_trade_no."""
    return f"{name[:14]}{time.time_ns() % 10**12}"


def states(sim: Simulators, merchant: WeChatMerchant, no: str) -> list[str]:
    """What the book says of an order: [] if it has never heard of it."""
    return [trade["state"] for trade in sim.get(f"/sim/book?account={merchant.id}&out_trade_no={no}")["trades"]]


@pytest.mark.parametrize("name", ["silence_before", "hang_before", "error_before", "garbage"])
def test_nothing_is_done(sim: Simulators, merchant: WeChatMerchant, name: str) -> None:
    merchant.timeout_s, no = 0.5, number(name)
    if name == "silence_before":
        with pytest.raises(http.client.RemoteDisconnected):
            merchant.create(no, attach=f"sim:{name}")
    elif name == "hang_before":
        with pytest.raises(TimeoutError):
            merchant.create(no, attach=f"sim:{name}")
    else:
        status, content = merchant.create(no, attach=f"sim:{name}")
        assert (status, b"<html>" in content if name == "garbage" else content["code"]) == (
            (502, True) if name == "garbage" else (500, "SYSTEM_ERROR")
        )
    assert states(sim, merchant, no) == []
    assert merchant.create(no, attach=f"sim:{name}")[0] == 200, "a payment's dial strikes once"


@pytest.mark.parametrize("name", ["silence_after", "hang_after", "error_after", "delay=0.1", "bad_signature"])
def test_it_is_done_all_the_same(sim: Simulators, merchant: WeChatMerchant, name: str) -> None:
    merchant.timeout_s, no = 0.5, number("after")
    if name in ("silence_after", "hang_after"):
        with pytest.raises((http.client.RemoteDisconnected, TimeoutError)):
            merchant.create(no, attach=f"sim:{name}")
    else:
        status, _ = merchant.create(no, attach=f"sim:{name}")
        assert status == (500 if name == "error_after" else 200)
        assert merchant.signed == name.startswith("delay")
    assert states(sim, merchant, no) == ["waiting"]


@pytest.mark.parametrize("op", ["query", "close", "refund"])
def test_another_operation_is_struck(sim: Simulators, merchant: WeChatMerchant, op: str) -> None:
    no = number(op)
    assert merchant.create(no, attach=f"sim:{op}:error_after{',autopay' if op == 'refund' else ''}")[0] == 200
    act = {"query": lambda: merchant.query(no), "close": lambda: merchant.close(no)}
    act["refund"] = lambda: merchant.refund(no, no, 100)
    assert act[op]()[0] == 500
    assert act[op]()[0] in (200, 400)
    trade = sim.trade(merchant.id, no)
    assert {"query": "waiting", "close": "closed", "refund": "paid"}[op] == trade["state"]
    assert len(trade["refunds"]) == (op == "refund")


def test_magic_amounts_turn_dials(sim: Simulators, merchant: WeChatMerchant) -> None:
    codes = {name: code for code, name in NUMBERS.items()}
    assert merchant.create(no := number("magic"), 77_770_000 + codes["error_after"])[0] == 500
    assert states(sim, merchant, no) == ["waiting"]
    assert merchant.create(no := number("magic"), 77_771_000 + codes["error_before"])[0] == 200
    assert [merchant.query(no)[0], merchant.query(no)[0]] == [500, 200]


def test_attach_that_is_no_dial_is_left_alone(merchant: WeChatMerchant) -> None:
    attach = "sim:no_such_dial,query:,=,*"
    assert merchant.create(no := number("attach"), attach=attach)[0] == 200
    assert merchant.query(no)[1]["attach"] == attach


def test_callback_lost(sim: Simulators, merchant: WeChatMerchant) -> None:
    merchant.create(no := number("lost"), attach="sim:autopay,callback_lost")
    [callback] = sim.trade(merchant.id, no)["callbacks"]
    assert (callback["state"], callback["attempts"]) == ("lost", [])
    assert merchant.query(no)[1]["trade_state"] == "SUCCESS"


def test_paid_without_callback(sim: Simulators, merchant: WeChatMerchant) -> None:
    merchant.create(no := number("quiet"), attach="sim:paid_without_callback")
    assert merchant.query(no)[1]["trade_state"] == "SUCCESS"
    assert [callback["state"] for callback in sim.trade(merchant.id, no)["callbacks"]] == ["lost"]


def test_callback_duplicate(merchant: WeChatMerchant, shop: Shop) -> None:
    merchant.create(number("five"), attach="sim:autopay,callback_duplicate")
    heard = shop.wait(5)
    assert all(merchant.verify(one.headers, one.body) for one in heard)
    assert len({json.loads(one.body)["id"] for one in heard}) == 1


def test_callback_late(sim: Simulators, merchant: WeChatMerchant, shop: Shop) -> None:
    merchant.create(no := number("late"), attach="sim:autopay,callback_late=0.6")
    shop.wait(1)
    trade = sim.until(lambda: (t := sim.trade(merchant.id, no)) and t["callbacks"][0]["attempts"] and t)
    assert trade["callbacks"][0]["attempts"][0]["at"] - trade["paid_at"] >= 600


def test_callback_reordered(merchant: WeChatMerchant, shop: Shop) -> None:
    merchant.create(no := number("order"), attach="sim:autopay,callback_reordered")
    merchant.refund(no, no, 40)
    events = [merchant.open_callback(heard.body)["event_type"] for heard in shop.wait(2)]
    assert events == ["REFUND.SUCCESS", "TRANSACTION.SUCCESS"]


def test_callback_forged(merchant: WeChatMerchant, shop: Shop) -> None:
    shop.answer = lambda heard: (200 if merchant.verify(heard.headers, heard.body) else 401, b"")
    merchant.create(number("forged"), attach="sim:autopay,callback_forged")
    heard = shop.wait(3)
    assert [merchant.verify(one.headers, one.body) for one in heard] == [False, False, True]
    assert heard[1].headers["Wechatpay-Signature"].startswith("WECHATPAY/SIGNTEST/")


def test_wrong_amount(sim: Simulators, merchant: WeChatMerchant, shop: Shop) -> None:
    merchant.create(no := number("wrong"), attach="sim:autopay,wrong_amount")
    [heard] = shop.wait(1)
    assert merchant.open_callback(heard.body)["resource"]["amount"]["total"] == 99
    assert merchant.query(no)[1]["amount"]["total"] == 99
    assert sim.trade(merchant.id, no)["amount"] == 100


def test_decline(sim: Simulators, merchant: WeChatMerchant) -> None:
    _, order = merchant.create(no := number("decline"), attach="sim:decline")
    assert sim.post("/sim/pay", code=order["code_url"])["state"] == "declined"
    assert merchant.query(no)[1]["trade_state"] == "PAYERROR"


def test_late_success(merchant: WeChatMerchant, shop: Shop) -> None:
    merchant.create(no := number("afterall"), attach="sim:late_success=0.2")
    assert merchant.close(no)[0] == 204
    assert merchant.query(no)[1]["trade_state"] == "CLOSED"
    [heard] = shop.wait(1)
    assert merchant.open_callback(heard.body)["event_type"] == "TRANSACTION.SUCCESS"
    assert merchant.query(no)[1]["trade_state"] == "SUCCESS"


def test_refund_fail(merchant: WeChatMerchant, shop: Shop) -> None:
    merchant.create(no := number("abnormal"), attach="sim:paid_without_callback,refund_fail")
    assert merchant.refund(no, no, 100)[1]["status"] == "PROCESSING"
    [heard] = shop.wait(1)
    assert merchant.open_callback(heard.body)["event_type"] == "REFUND.ABNORMAL"
    assert merchant.call("GET", f"/v3/refund/domestic/refunds/{no}")[1]["status"] == "ABNORMAL"


def test_refund_processing(merchant: WeChatMerchant, shop: Shop) -> None:
    merchant.create(no := number("slow"), attach="sim:paid_without_callback,refund_processing=0.8")
    merchant.refund(no, no, 100)
    time.sleep(0.5)  # longer than a refund takes without the dial
    assert merchant.call("GET", f"/v3/refund/domestic/refunds/{no}")[1]["status"] == "PROCESSING"
    shop.wait(1)
    assert merchant.call("GET", f"/v3/refund/domestic/refunds/{no}")[1]["status"] == "SUCCESS"


def test_an_accounts_dials(sim: Simulators, shop: Shop) -> None:
    merchant = WeChatMerchant(sim.open_account("wechatpay"), f"{shop.url}/notify")
    turned = sim.post("/sim/dials", account=merchant.id, dials={"error_after": {"next": 2}, "query:garbage": {}})
    assert set(turned["dials"]) == {"create:error_after", "query:garbage"}
    before = sim.get("/sim/fired")["fired"].get("create:error_after", 0)
    assert [merchant.create(number("next"))[0] for _ in range(3)] == [500, 500, 200]
    assert sim.get("/sim/fired")["fired"]["create:error_after"] == before + 2
    assert [merchant.query("NOBODY")[0] for _ in range(2)] == [502, 502]
    assert sim.call("DELETE", f"/sim/dials?account={merchant.id}") == {"dials": {}}
    assert merchant.query("NOBODY")[0] == 404


def test_a_probability(sim: Simulators, shop: Shop) -> None:
    merchant = WeChatMerchant(sim.open_account("wechatpay"), f"{shop.url}/notify")
    sim.post("/sim/dials", account=merchant.id, dials={"query:error_before": {"probability": 0.5}})
    seen = [merchant.query("NOBODY")[0] for _ in range(20)]
    assert {500, 404} == set(seen)


def test_alipay_knows_the_dials_too(sim: Simulators, shop: Shop) -> None:
    merchant = AlipayMerchant(sim.open_account("alipay"), f"{shop.url}/notify")
    attach = "sim:query:bad_signature,callback_forged,refund_fail"
    order = merchant.precreate("A1", attach=attach)
    shop.answer = lambda heard: (200, b"success" if merchant.verify_notice(heard.body) and merchant.signed else b"fail")
    sim.post("/sim/pay", code=order["qr_code"])
    shop.wait(2)
    assert merchant.query("A1")["trade_status"] == "TRADE_SUCCESS" and not merchant.signed
    assert merchant.query("A1")["trade_status"] == "TRADE_SUCCESS" and merchant.signed
    refused = merchant.call("alipay.trade.refund", out_trade_no="A1", refund_amount="1.00")
    assert refused["sub_code"] == "ACQ.SELLER_BALANCE_NOT_ENOUGH"
    trade = sim.until(lambda: (t := sim.trade(merchant.id, "A1"))["callbacks"][0]["state"] == "acknowledged" and t)
    assert [(one["forged"], one["taken"]) for one in trade["callbacks"][0]["attempts"]] == [
        ("signature", False),
        ("", True),
    ]
    with pytest.raises(http.client.RemoteDisconnected):
        merchant.precreate("A2", attach="sim:silence_before")


def test_an_unknown_dial_is_refused_by_name(sim: Simulators, merchant: WeChatMerchant) -> None:
    with pytest.raises(AssertionError, match="no such dial: 'sielnce'"):
        sim.post("/sim/dials", account=merchant.id, dials={"sielnce": {}})


def test_dials_are_written_and_read_alike() -> None:
    for name in DIALS:
        assert parse_dial(str(parse_dial(name))) == parse_dial(name)
    assert parse_dial("query:silence_after=2*3") == ("query", "silence_after", 2.0, 3)
    assert len(NUMBERS) == len(DIALS) < 100 and set(ANSWERS) < set(DIALS)
