"""Every operation that `wechatpayv3` has of those the WeChat Pay simulator offers, and its callbacks."""

import gzip
import hashlib
import json
import time
from typing import Any

from report import Report, check
from wechatpayv3 import WeChatPay, WeChatPayType
from wechatpayv3.core import Core


def make_client(url: str, config: dict[str, str], notify_url: str) -> WeChatPay:
    """A client of either trust mode; the package has no option for the host, so it is set on its core."""
    arguments: dict[str, Any] = {
        "wechatpay_type": WeChatPayType.NATIVE,
        "mchid": config["mchid"],
        "private_key": config["private_key"],
        "cert_serial_no": config["serial_no"],
        "apiv3_key": config["apiv3_key"],
        "appid": config["appid"],
        "notify_url": notify_url,
    }
    if config["trust"] == "public_key":
        arguments |= {"public_key": config["public_key"], "public_key_id": config["public_key_id"]}
    assign = Core.__setattr__

    def redirected(core: Core, name: str, value: object) -> None:
        assign(core, name, url if name == "_gate_way" else value)

    Core.__setattr__ = redirected  # in certificate mode the constructor downloads the certificates
    return WeChatPay(**arguments)


def main() -> None:
    """Run all steps."""
    report = Report()
    config = report.config
    client = report.step(
        f"trust by {config['trust'].replace('_', ' ')}",
        "WeChatPay(...)",
        lambda: make_client(config["base_url"], config, report.notify_url),
    )
    pay_and_query(report, client)
    close(report, client)
    refund(report, client)
    bill(report, client)
    raise SystemExit(report.end())


def pay(client: WeChatPay, number: str) -> dict[str, Any]:
    """A native order over 1.00 yuan."""
    status, text = client.pay(description="测试, 商品", out_trade_no=number, amount={"total": 100})
    check(status == 200, text)
    return json.loads(text)


def hear(report: Report, client: WeChatPay, event: str) -> dict[str, Any]:
    """The next callback, verified and decrypted by the client; a tampered one must be refused."""
    headers, body = report.callbacks.get(timeout=10)
    check(
        client.callback(headers, body.replace(b'"create_time"', b'"create_tine"')) is None, "a tampered callback passed"
    )
    content = client.callback(headers, body)
    check(content and content["event_type"] == event, content)
    return content["resource"]


def pay_and_query(report: Report, client: WeChatPay) -> None:
    """Create, repeat, query, pay, hear, query by both numbers."""
    order = report.step("native create", "pay()", lambda: pay(client, "SDK000001"))
    report.step("create repeated: the same code", "pay()", lambda: check(pay(client, "SDK000001") == order, order))

    def query(state: str, **number: str) -> dict[str, Any]:
        status, text = client.query(**number)
        found = json.loads(text)
        check(status == 200 and found["trade_state"] == state, text)
        return found

    def unknown() -> None:
        status, text = client.query(out_trade_no="SDK999999")
        check((status, json.loads(text)["code"]) == (404, "ORDER_NOT_EXIST"), text)

    report.step("query of an unpaid order", "query(out_trade_no=)", lambda: query("NOTPAY", out_trade_no="SDK000001"))
    report.step("query of an unknown order", "query(out_trade_no=)", unknown)
    report.sim("/sim/pay", channel="wechatpay", code=order["code_url"])
    resource = report.step("payment callback", "callback()", lambda: hear(report, client, "TRANSACTION.SUCCESS"))
    report.step("query of a paid order", "query(out_trade_no=)", lambda: query("SUCCESS", out_trade_no="SDK000001"))
    ref = resource["transaction_id"]
    report.step("query by the channel's number", "query(transaction_id=)", lambda: query("SUCCESS", transaction_id=ref))

    def create_again() -> None:
        status, text = client.pay(description="测试, 商品", out_trade_no="SDK000001", amount={"total": 100})
        check(status == 400 and json.loads(text)["code"] == "ORDERPAID", text)

    report.step("create of a paid order", "pay()", create_again)


def close(report: Report, client: WeChatPay) -> None:
    """Close an order, and try to close a paid one."""
    pay(client, "SDK000002")

    def done() -> None:
        status, text = client.close("SDK000002")
        check(status == 204, (status, text))
        check(json.loads(client.query(out_trade_no="SDK000002")[1])["trade_state"] == "CLOSED", "still open")

    def refused() -> None:
        status, text = client.close("SDK000001")
        check(status == 400 and json.loads(text)["code"] == "ORDERPAID", text)

    report.step("close", "close()", done)
    report.step("close of a paid order", "close()", refused)


def refund(report: Report, client: WeChatPay) -> None:
    """Refund in two parts, too much, repeated; query; hear."""

    def ask(number: str, amount: int) -> tuple[int, dict[str, Any]]:
        money = {"refund": amount, "total": 100, "currency": "CNY"}
        notify_url = report.notify_url
        status, text = client.refund(number, money, out_trade_no="SDK000001", notify_url=notify_url)
        return status, json.loads(text)

    def first() -> None:
        status, content = ask("REFUND1", 60)
        check(status == 200 and content["status"] == "PROCESSING", content)
        check(ask("REFUND1", 60)[1]["refund_id"] == content["refund_id"], "the repeat made a second refund")

    def too_much() -> None:
        status, content = ask("REFUND2", 41)
        check(status == 400 and content["code"] == "INVALID_REQUEST", content)

    def query() -> None:
        status, text = client.query_refund("REFUND1")
        check(status == 200 and json.loads(text)["status"] == "SUCCESS", text)

    report.step("refund, repeated", "refund()", first)
    report.step("refund beyond what was paid", "refund()", too_much)
    report.step("refund callback", "callback()", lambda: hear(report, client, "REFUND.SUCCESS"))
    report.step("refund query", "query_refund()", query)


def bill(report: Report, client: WeChatPay) -> None:
    """The day's bill in each type, packed and plain."""
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 8 * 3600))
    report.sim(f"/sim/accounts/{report.config['mchid']}/close-day", day=day)

    def fetch(kind: str, packing: str, rows: int) -> None:
        status, text = client.trade_bill(day, kind, packing)
        check(status == 200, text)
        offer = json.loads(text)
        status, content = client.download_bill(offer["download_url"])
        check(status == 200, content)
        content = gzip.decompress(content) if packing else content
        check(hashlib.sha1(content).hexdigest() == offer["hash_value"], "the hash differs")
        check(content.count(b"\r\n`") == rows + 1, content.decode())

    report.step("trade bill ALL, gzip", "trade_bill(), download_bill()", lambda: fetch("ALL", "GZIP", 2))
    report.step("trade bill SUCCESS", "trade_bill(), download_bill()", lambda: fetch("SUCCESS", "", 1))
    report.step("trade bill REFUND", "trade_bill(), download_bill()", lambda: fetch("REFUND", "", 1))


if __name__ == "__main__":
    main()
