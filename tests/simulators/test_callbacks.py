"""Callbacks come again on the channel's own schedule, on the simulators' clock."""

import pytest

from simulators.merchant import AlipayMerchant, WeChatMerchant
from simulators.process import Shop, Simulators

WECHATPAY_S = [15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600]
ALIPAY_S = [240, 600, 600, 3600, 7200, 21600, 54000]


def advance(sim: Simulators, shop: Shop, steps: list[int]) -> None:
    """Let each step pass and see that a callback comes, and not a second before."""
    offset, count = 0.0, 1
    for step in steps:
        offset += step - 1
        sim.post("/sim/clock", offset_s=offset)
        assert len(shop.heard) == count, f"early: {step}"
        offset += 1.5
        sim.post("/sim/clock", offset_s=offset)
        count += 1
        shop.wait(count)
        sim.until(lambda count=count: tries(sim) == count)


def tries(sim: Simulators) -> int:
    """How often the only callback has been tried."""
    [trade] = sim.get("/sim/book")["trades"]
    return trade["callbacks"][0]["tries"]


def test_wechatpay_gives_up_after_a_day(own_sim: Simulators, shop: Shop) -> None:
    shop.answer = lambda heard: (500, b'{"code":"FAIL"}')
    merchant = WeChatMerchant(own_sim.open_account("wechatpay"), f"{shop.url}/notify")
    merchant.create("RETRY001", attach="sim:autopay")
    shop.wait(1)
    own_sim.until(lambda: tries(own_sim) == 1)
    advance(own_sim, shop, WECHATPAY_S)
    [callback] = own_sim.trade(merchant.id, "RETRY001")["callbacks"]
    assert (callback["state"], len(callback["attempts"])) == ("given_up", 16)
    assert {attempt["status"] for attempt in callback["attempts"]} == {500}


def test_alipay_wants_the_word_success(own_sim: Simulators, shop: Shop) -> None:
    answers = iter([b"fail", b"SUCCESS", b"", b"<html>", b"ok", b"success."])
    shop.answer = lambda heard: (200, next(answers, b"success"))
    merchant = AlipayMerchant(own_sim.open_account("alipay"), f"{shop.url}/notify")
    merchant.precreate("RETRY1", attach="sim:autopay")
    shop.wait(1)
    own_sim.until(lambda: tries(own_sim) == 1)
    advance(own_sim, shop, ALIPAY_S[:6])
    assert own_sim.trade(merchant.id, "RETRY1")["callbacks"][0]["state"] == "acknowledged"
    assert len({merchant.verify_notice(heard.body)["notify_id"] for heard in shop.heard}) == 1


@pytest.mark.parametrize("status", [200, 204])
def test_wechatpay_takes_any_2xx(sim: Simulators, shop: Shop, status: int) -> None:
    shop.answer = lambda heard: (status, b"")
    merchant = WeChatMerchant(sim.open_account("wechatpay"), f"{shop.url}/notify")
    merchant.create("ACK00001", attach="sim:autopay")
    sim.until(lambda: sim.trade(merchant.id, "ACK00001")["callbacks"][0]["state"] == "acknowledged")


def test_a_shop_that_is_down_is_tried_again(own_sim: Simulators, shop: Shop) -> None:
    merchant = WeChatMerchant(own_sim.open_account("wechatpay"), "http://127.0.0.1:9/nobody")
    merchant.create("DOWN0001", attach="sim:autopay")
    own_sim.until(lambda: tries(own_sim) == 1)
    [callback] = own_sim.trade(merchant.id, "DOWN0001")["callbacks"]
    assert callback["state"] == "due" and callback["attempts"][0]["status"] == 0
    assert "ClientConnectorError" in callback["attempts"][0]["answer"]
