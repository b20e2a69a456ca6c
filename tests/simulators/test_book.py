"""The book outlives `kill -9`: what was answered is in it, and what it says is still to come does come."""

import contextlib
import http.client
import sqlite3
import subprocess
import sys
import threading

import pytest

from simulators.merchant import WeChatMerchant
from simulators.process import Shop, Simulators


def crowd(merchant: WeChatMerchant, attach: str, answered: dict[str, str]) -> list[threading.Thread]:
    """Eight shoppers who create orders until the line is dead, and write down what they were answered."""

    def shopper(name: int) -> None:
        for turn in range(100_000):
            no = f"KILL{name:02d}x{turn:05d}"
            try:
                status, content = merchant.create(no, attach=attach)
            except (OSError, http.client.HTTPException):
                return
            assert status == 200
            answered[no] = content["code_url"]

    shoppers = [threading.Thread(target=shopper, args=(name,)) for name in range(8)]
    for thread in shoppers:
        thread.start()
    return shoppers


def kept(sim: Simulators) -> dict[str, str]:
    """The orders in the file of a dead process."""
    with contextlib.closing(sqlite3.connect(sim.data / "book.sqlite3")) as book:
        return dict(book.execute("SELECT out_trade_no, token FROM trade"))


def test_what_was_answered_survives_kill_9(own_sim: Simulators, shop: Shop) -> None:
    merchant = WeChatMerchant(own_sim.open_account("wechatpay"), f"{shop.url}/notify", timeout_s=2)
    answered: dict[str, str] = {}
    shoppers = crowd(merchant, "", answered)
    own_sim.until(lambda: len(answered) > 100)
    own_sim.kill()
    for thread in shoppers:
        thread.join()
    assert len(answered) > 100 and answered.items() <= kept(own_sim).items()
    for turn in range(3):  # and the very last one, the moment it was answered
        own_sim.start()
        merchant.create(f"LASTONE{turn}")
        own_sim.kill()
        assert f"LASTONE{turn}" in kept(own_sim)
    own_sim.start()


def test_callbacks_survive_kill_9(own_sim: Simulators, shop: Shop) -> None:
    shop.answer = lambda heard: (500, b"")
    merchant = WeChatMerchant(own_sim.open_account("wechatpay"), f"{shop.url}/notify", timeout_s=2)
    shoppers = crowd(merchant, "sim:autopay", {})
    shop.wait(40)
    own_sim.kill()
    for thread in shoppers:
        thread.join()
    paid = set(kept(own_sim))
    shop.heard.clear()
    shop.answer = lambda heard: (200, b"")
    own_sim.start()
    own_sim.post("/sim/clock", offset_s=16)
    # Some requests waited in the socket's backlog while nobody was there, so there may be more.
    own_sim.until(lambda: paid <= {merchant.open_callback(one.body)["resource"]["out_trade_no"] for one in shop.heard})


def test_a_restarted_process_carries_on(own_sim: Simulators, shop: Shop) -> None:
    merchant = WeChatMerchant(own_sim.open_account("wechatpay"), f"{shop.url}/notify")
    _, order = merchant.create("WAITING1")
    merchant.create("REFUNDED1", attach="sim:paid_without_callback,refund_processing=1")
    refund = merchant.refund("REFUNDED1", "R1", 40)[1]
    merchant.create("CLOSED1", attach="sim:late_success=1")
    merchant.close("CLOSED1")
    own_sim.post("/sim/dials", account=merchant.id, dials={"query:garbage": {"next": 1}})
    own_sim.post("/sim/clock", offset_s=-3600)
    own_sim.kill()
    own_sim.start()

    assert own_sim.get("/sim/clock")["offset_s"] == -3600
    assert merchant.query("WAITING1")[0] == 502
    assert merchant.create("WAITING1") == (200, order)
    assert merchant.refund("REFUNDED1", "R1", 40)[1]["refund_id"] == refund["refund_id"]
    own_sim.post("/sim/clock", offset_s=2)
    events = {merchant.open_callback(heard.body)["event_type"] for heard in shop.wait(2)}
    assert events == {"REFUND.SUCCESS", "TRANSACTION.SUCCESS"}
    assert merchant.query("CLOSED1")[1]["trade_state"] == "SUCCESS"
    own_sim.post("/sim/pay", code=order["code_url"])
    assert merchant.query("WAITING1")[1]["trade_state"] == "SUCCESS"


def test_a_book_has_one_owner(sim: Simulators) -> None:
    command = [sys.executable, "-m", "guilder.simulators", "--port", "0", "--data", str(sim.data)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (second.returncode, second.stderr) == (1, f"guilder.simulators: another process is using {sim.data}\n")


def test_the_book_only_grows(own_sim: Simulators) -> None:
    own_sim.open_account("alipay")
    own_sim.kill()
    book = sqlite3.connect(own_sim.data / "book.sqlite3")
    for statement in ("UPDATE entry SET at = 0", "DELETE FROM entry"):
        with pytest.raises(sqlite3.IntegrityError, match="the book only grows"):
            book.execute(statement)
    book.close()
    own_sim.start()
