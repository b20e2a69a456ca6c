"""Every operation that `wechatpayv3` has of those the WeChat Pay simulator offers, and its callbacks."""

import gzip
import hashlib
import json
import random
import time
import urllib.parse
import urllib.request
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
    inside_wechat(report, client)
    till(report, client)
    rescue(report, client)
    transfer(report, client)
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

    def funds() -> None:
        status, text = client.fundflow_bill(day)
        check(status == 200, text)
        offer = json.loads(text)
        status, packed = client.download_bill(offer["download_url"])
        content = gzip.decompress(packed)
        check(hashlib.sha1(content).hexdigest() == offer["hash_value"], "the hash differs")
        check(content.count(b"\r\n`") == 4, content.decode())  # paid, its fee, refunded; and the summary

    report.step("fund-flow bill", "fundflow_bill(), download_bill()", funds)


OPENID = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"


def ask(
    client: WeChatPay, kind: WeChatPayType, number: str, total: int = 100, **more: Any
) -> tuple[int, dict[str, Any]]:
    """An order by another way."""
    status, text = client.pay(description="测试", out_trade_no=number, amount={"total": total}, pay_type=kind, **more)
    return status, json.loads(text)


def press(report: Report, api: str, params: dict[str, str]) -> None:
    """The payer presses the button of the page that WeChat opens; it opens only what the merchant has signed."""
    form = urllib.parse.urlencode({"api": api, "params": json.dumps(params), "action": "pay"}).encode()
    with urllib.request.urlopen(f"{report.url}/wechat/invoke", form, timeout=30) as page:
        check(b'data-result="ok"' in page.read(), "it was not paid")


def inside_wechat(report: Report, client: WeChatPay) -> None:
    """JSAPI, app and H5: asked for, signed by the client, paid."""
    appid, stamp, nonce = report.config["appid"], str(int(time.time())), "593BEC0C930BF1AFEB40B4A08C8FB242"

    def jsapi() -> None:
        status, order = ask(client, WeChatPayType.JSAPI, "SDKJSAPI1", payer={"openid": OPENID})
        check(status == 200, order)
        package = f"prepay_id={order['prepay_id']}"
        said = {"appId": appid, "timeStamp": stamp, "nonceStr": nonce, "package": package, "signType": "RSA"}
        press(report, "getBrandWCPayRequest", {**said, "paySign": client.sign([appid, stamp, nonce, package])})
        check(hear(report, client, "TRANSACTION.SUCCESS")["payer"]["openid"] == OPENID, "another payer")

    def app() -> None:
        status, order = ask(client, WeChatPayType.APP, "SDKAPP001")
        check(status == 200, order)
        said = {
            "appid": appid,
            "partnerid": report.config["mchid"],
            "prepayid": order["prepay_id"],
            "package": "Sign=WXPay",
        }
        signature = client.sign([appid, stamp, nonce, order["prepay_id"]])
        press(report, "appPay", {**said, "noncestr": nonce, "timestamp": stamp, "sign": signature})
        check(hear(report, client, "TRANSACTION.SUCCESS")["trade_type"] == "APP", "another type")

    def h5() -> None:
        scene = {"payer_client_ip": "203.0.113.9", "h5_info": {"type": "Wap"}}
        status, order = ask(client, WeChatPayType.H5, "SDKH50001", scene_info=scene)
        check(status == 200, order)
        with urllib.request.urlopen(order["h5_url"], timeout=30) as page:
            check("/phone?code=" in page.url, page.url)

    report.step("JSAPI: order, client signature, callback", "pay(JSAPI), sign(), callback()", jsapi)
    report.step("app: order, client signature, callback", "pay(APP), sign(), callback()", app)
    report.step("H5: order, its page", "pay(H5)", h5)


def scanned(like: str) -> str:
    """A payer's code that nobody has used: its third digit says what the payer is like."""
    return f"{like}{random.randrange(10**15):015d}"


def till(report: Report, client: WeChatPay) -> None:
    """The payer is scanned: he pays at once, is asked for his password, shows an old code; reversed."""

    def scan(number: str, code: str, expected: tuple[int, str]) -> None:
        scene = {"store_info": {"id": "SZ-1"}}
        status, said = ask(client, WeChatPayType.CODEPAY, number, payer={"auth_code": code}, scene_info=scene)
        check((status, said.get("code") or said["trade_state"]) == expected, (status, said))

    def state(number: str) -> str:
        return json.loads(client.query(out_trade_no=number)[1])["trade_state"]

    def reverse() -> None:
        for number in ("SDKTILL01", "SDKTILL02"):
            status, text = client.codepay_reverse(number)
            check(status == 200 and state(number) == "REVOKED", (status, text))

    report.step("codepay, paid at once", "pay(CODEPAY)", lambda: scan("SDKTILL01", scanned("130"), (200, "SUCCESS")))
    report.step(
        "codepay, password asked", "pay(CODEPAY)", lambda: scan("SDKTILL02", scanned("131"), (400, "USERPAYING"))
    )
    report.step(
        "codepay, old code", "pay(CODEPAY)", lambda: scan("SDKTILL03", scanned("133"), (400, "AUTH_CODE_EXPIRE"))
    )
    report.step("reverse of a paid and an unpaid order", "codepay_reverse(), query()", reverse)


def rescue(report: Report, client: WeChatPay) -> None:
    """A refund ends abnormally and goes to the payer's bank card, sealed."""

    def abnormal() -> None:
        status, text = client.pay(
            description="测试", out_trade_no="SDKABNORM", amount={"total": 100}, attach="sim:autopay,refund_fail"
        )
        check(status == 200, text)
        hear(report, client, "TRANSACTION.SUCCESS")
        money = {"refund": 100, "total": 100, "currency": "CNY"}
        client.refund("ABNORMAL1", money, out_trade_no="SDKABNORM", notify_url=report.notify_url)
        refund_id = hear(report, client, "REFUND.ABNORMAL")["refund_id"]
        card = {"bank_type": "ICBC_DEBIT", "bank_account": "6222020200112233", "real_name": "张三"}
        status, text = client.abnormal_refund(refund_id, "ABNORMAL1", "USER_BANK_CARD", **card)
        check(status == 200 and json.loads(text)["status"] == "PROCESSING", text)
        hear(report, client, "REFUND.SUCCESS")

    report.step("abnormal refund to a bank card", "abnormal_refund(), callback()", abnormal)


def transfer(report: Report, client: WeChatPay) -> None:
    """A transfer with a sealed name, confirmed by its payee."""

    def send(number: str, fen: int, name: str | None) -> dict[str, Any]:
        told = [{"info_type": "活动名称", "info_content": "新会员有礼"}]
        status, text = client.mch_transfer_bills(
            number, "1000", OPENID, fen, "报销", user_name=name, transfer_scene_report_infos=told
        )
        check(status == 200, text)
        return json.loads(text)

    def confirmed() -> None:
        made = send("SDKOUT1", 200_000, "张三")
        check(made["state"] == "WAIT_USER_CONFIRM", made)
        mchid, appid = report.config["mchid"], report.config["appid"]
        press(report, "requestMerchantTransfer", {"mchId": mchid, "appId": appid, "package": made["package_info"]})
        check(hear(report, client, "MCHTRANSFER.BILL.FINISHED")["state"] == "SUCCESS", "not sent")
        status, text = client.mch_transfer_bills_query(out_bill_no="SDKOUT1")
        check(status == 200 and json.loads(text)["state"] == "SUCCESS", text)
        status, text = client.mch_transfer_bills_query(transfer_bill_no=made["transfer_bill_no"])
        check(status == 200, text)

    def cancelled() -> None:
        send("SDKOUT2", 100, None)
        status, text = client.mch_transfer_bills_cancel("SDKOUT2")
        check(status == 200 and json.loads(text)["state"] == "CANCELLED", text)
        hear(report, client, "MCHTRANSFER.BILL.FINISHED")

    report.step(
        "transfer with a sealed name, callback, query",
        "mch_transfer_bills(), callback(), mch_transfer_bills_query()",
        confirmed,
    )
    report.step("transfer, cancelled", "mch_transfer_bills_cancel()", cancelled)


if __name__ == "__main__":
    main()
