"""The book outlives `kill -9`: what was answered is in it, and what it says is still to come does come."""

import http.client
import sqlite3
import subprocess
import sys
import threading

import pytest

from simulators.merchant import WeChatMerchant
from simulators.process import Shop, Simulators


def test_what_was_answered_survives_kill_9(own_sim: Simulators, shop: Shop) -> None:
    merchant = WeChatMerchant(own_sim.open_account("wechatpay"), f"{shop.url}/notify")
    answered: dict[str, str] = {}

    def shopper(name: int) -> None:
        for turn in range(10_000):
            no = f"KILL{name:02d}x{turn:05d}"
            try:
                status, content = WeChatMerchant.create(merchant, no, attach="sim:autopay")
            except OSError:
                return
            except http.client.HTTPException:
                return
            assert status == 200
            answered[no] = content["code_url"]

    shoppers = [threading.Thread(target=shopper, args=(name,)) for name in range(8)]
    for thread in shoppers:
        thread.start()
    shop.wait(40)
    own_sim.kill()
    book = sqlite3.connect(own_sim.data / "book.sqlite3")
    kept = dict(
        book.execute("SELECT out_trade_no, token FROM trade WHERE account = ? AND state = 'paid'", [merchant.id])
    )
    due = book.execute("SELECT count(*) FROM callback WHERE state = 'due'").fetchone()[0]
    book.close()
    assert answered.items() <= kept.items()

    # Connections that wait in the socket's backlog are answered by the next process.
    own_sim.start()
    for thread in shoppers:
        thread.join(0.01)
    merchant.config = {**merchant.config, "base_url": "http://127.0.0.1:1"}
    for thread in shoppers:
        thread.join()
    heard = {merchant.open_callback(one.body)["resource"]["out_trade_no"] for one in shop.wait(len(kept))}
    own_sim.until(lambda: heard.update(_numbers(merchant, shop)) or set(kept) <= heard)
    assert due <= len(kept)


def _numbers(merchant: WeChatMerchant, shop: Shop) -> set[str]:
    return {merchant.open_callback(one.body)["resource"]["out_trade_no"] for one in list(shop.heard)}


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
