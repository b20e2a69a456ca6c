"""Every operation that `python-alipay-sdk` has of those the Alipay simulator offers, and its notices."""

import io
import time
import urllib.request
import zipfile
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from alipay import AliPay
from report import Report, check


class Stay(urllib.request.HTTPRedirectHandler):
    """Do not follow: the address is what we want."""

    def redirect_request(self, *_: object) -> None:
        """No."""


def make_client(config: dict[str, str], notify_url: str) -> AliPay:
    """The client; it has no option for the gateway, so that is set on the instance."""
    client = AliPay(config["app_id"], notify_url, config["private_key"], config["alipay_public_key"], "RSA2")
    client._gateway = config["gateway"]
    return client


def main() -> None:
    """Run all steps."""
    report = Report()
    report.ack = b"success"
    client = report.step("keys", "AliPay(...)", lambda: make_client(report.config, report.notify_url))
    precreate(report, client)
    page(report, client)
    close_and_cancel(report, client)
    refund(report, client)
    bill(report, client)
    raise SystemExit(report.end())


def hear(report: Report, client: AliPay, number: str, status: str) -> dict[str, str]:
    """The next notice, verified by the client; a tampered one must be refused."""
    params = dict(parse_qsl(report.callbacks.get(timeout=10)[1].decode()))
    signature = params.pop("sign")
    check(not client.verify({**params, "total_amount": "9.99"}, signature), "a tampered notice passed")
    check(client.verify(dict(params), signature), params)
    check((params["out_trade_no"], params["trade_status"]) == (number, status), params)
    return params


def expect(content: dict[str, Any], **fields: str) -> dict[str, Any]:
    """A reply that the client has verified."""
    check(all(content.get(name) == value for name, value in fields.items()), content)
    return content


def precreate(report: Report, client: AliPay) -> None:
    """A QR code: not there before it is scanned, then waiting, then paid."""

    def create() -> dict[str, Any]:
        return client.api_alipay_trade_precreate("测试/商品", "SDK-1", 12.30)

    def query() -> dict[str, Any]:
        return client.api_alipay_trade_query("SDK-1")

    order = report.step("precreate", "api_alipay_trade_precreate()", lambda: expect(create(), code="10000"))
    repeated = "precreate repeated: the same code"
    report.step(repeated, "api_alipay_trade_precreate()", lambda: expect(create(), qr_code=order["qr_code"]))
    call = "api_alipay_trade_query()"
    absent = {"code": "40004", "sub_code": "ACQ.TRADE_NOT_EXIST"}
    report.step("query before the scan", call, lambda: expect(query(), **absent))
    report.sim("/sim/pay", code=order["qr_code"], action="walk")
    report.step("query after the scan", call, lambda: expect(query(), trade_status="WAIT_BUYER_PAY"))
    report.sim("/sim/pay", code=order["qr_code"])
    report.step("payment notice", "verify()", lambda: hear(report, client, "SDK-1", "TRADE_SUCCESS"))
    paid = {"trade_status": "TRADE_SUCCESS", "total_amount": "12.30"}
    found = report.step("query of a paid trade", call, lambda: expect(query(), **paid))
    ref = found["trade_no"]
    report.step(
        "query by the channel's number", call, lambda: expect(client.api_alipay_trade_query(trade_no=ref), **paid)
    )


def page(report: Report, client: AliPay) -> None:
    """A page for a browser, and the signed way back."""
    call = "api_alipay_trade_page_pay()"
    url = f"{report.config['gateway']}?" + client.api_alipay_trade_page_pay(
        "页面支付", "SDK-2", 5, return_url="http://127.0.0.1:9/back"
    )

    def visit() -> None:
        try:
            urllib.request.build_opener(Stay).open(url)
        except urllib.error.HTTPError as redirect:
            code = dict(parse_qsl(urlsplit(redirect.headers["Location"]).query))["code"]
            check(redirect.code == 303, redirect.code)
            form = f"code={code}&action=pay".encode()
        urllib.request.urlopen(f"{report.url}/phone?code={code}").read()
        try:
            urllib.request.build_opener(Stay).open(f"{report.url}/phone", form)
        except urllib.error.HTTPError as redirect:
            params = dict(parse_qsl(urlsplit(redirect.headers["Location"]).query))
        signature = params.pop("sign")
        check(params["out_trade_no"] == "SDK-2" and client.verify(params, signature), params)

    report.step("page pay, and the return URL's signature", f"{call}, verify()", visit)
    report.step("notice of a page", "verify()", lambda: hear(report, client, "SDK-2", "TRADE_SUCCESS"))


def close_and_cancel(report: Report, client: AliPay) -> None:
    """Close only what waits; cancel anything."""
    order = client.api_alipay_trade_precreate("关闭", "SDK-3", 1)
    close = client.api_alipay_trade_close
    not_yet = {"sub_code": "ACQ.TRADE_NOT_EXIST"}
    report.step("close before the scan", "api_alipay_trade_close()", lambda: expect(close("SDK-3"), **not_yet))
    report.sim("/sim/pay", code=order["qr_code"], action="walk")
    report.step("close", "api_alipay_trade_close()", lambda: expect(close("SDK-3"), code="10000"))
    report.step("notice of the close", "verify()", lambda: hear(report, client, "SDK-3", "TRADE_CLOSED"))
    wrong = {"sub_code": "ACQ.TRADE_STATUS_ERROR"}
    report.step("close of a paid trade", "api_alipay_trade_close()", lambda: expect(close("SDK-1"), **wrong))
    client.api_alipay_trade_precreate("撤销", "SDK-4", 1)
    done = {"code": "10000", "action": "close"}
    report.step(
        "cancel before the scan",
        "api_alipay_trade_cancel()",
        lambda: expect(client.api_alipay_trade_cancel("SDK-4"), **done),
    )


def refund(report: Report, client: AliPay) -> None:
    """Refund in two parts, repeated, too much; query; notices."""

    def ask(number: str, amount: str) -> dict[str, Any]:
        return client.api_alipay_trade_refund(amount, "SDK-1", out_request_no=number)

    call = "api_alipay_trade_refund()"
    moved, again = {"fund_change": "Y", "refund_fee": "2.30"}, {"fund_change": "N", "refund_fee": "2.30"}
    report.step("refund", call, lambda: expect(ask("R1", "2.30"), **moved))
    report.step("notice of a part refund", "verify()", lambda: hear(report, client, "SDK-1", "TRADE_SUCCESS"))
    report.step("refund repeated", call, lambda: expect(ask("R1", "2.30"), **again))
    other = {"sub_code": "ACQ.DISCORDANT_REPEAT_REQUEST"}
    report.step("refund repeated with another amount", call, lambda: expect(ask("R1", "2.31"), **other))
    much = {"sub_code": "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"}
    report.step("refund beyond what was paid", call, lambda: expect(ask("R2", "10.01"), **much))

    def query(number: str) -> dict[str, Any]:
        return client.api_alipay_trade_fastpay_refund_query(number, out_trade_no="SDK-1")

    done = {"refund_status": "REFUND_SUCCESS", "refund_amount": "2.30"}
    call = "api_alipay_trade_fastpay_refund_query()"
    report.step("refund query", call, lambda: expect(query("R1"), **done))

    def nothing() -> None:
        check("refund_status" not in expect(query("R2"), code="10000"), "a refund that is not")

    report.step("refund query of what is not", call, nothing)


def bill(report: Report, client: AliPay) -> None:
    """The day's zip."""
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 8 * 3600))
    call = "server_api()"
    offer = ("alipay.data.dataservice.bill.downloadurl.query", {"bill_type": "trade", "bill_date": day})

    def ask() -> dict[str, Any]:
        return client.server_api(*offer)

    absent = {"sub_code": "isp.bill_not_exist"}
    report.step("bill of a day that is not over", call, lambda: expect(ask(), **absent))
    report.sim(f"/sim/accounts/{report.config['app_id']}/close-day", day=day)

    def fetch() -> None:
        with urllib.request.urlopen(expect(ask(), code="10000")["bill_download_url"]) as reply:
            archive = zipfile.ZipFile(io.BytesIO(reply.read()), metadata_encoding="gbk")
        names = sorted(archive.namelist())
        stem = f"{report.config['seller_id']}0156_{day.replace('-', '')}_业务明细"
        check(names == [f"{stem}(汇总).csv", f"{stem}.csv"], names)
        text = archive.read(f"{stem}.csv").decode("gbk")
        check("#交易合计：2笔，商家实收共17.30元" in text and "#退款合计：1笔，商家实收退款共-2.30元" in text, text)

    report.step("bill", call, fetch)


if __name__ == "__main__":
    main()
