"""Alipay's official SDK: signing, calls, addresses and notices, against the Alipay simulator.

One thing of it is replaced: how it connects, for it fails on an address with a port (`alipay.aop.api.util.WebUtils`).  It knows no
certificates, and calls any reply without a sub_code a success, 10003 too.
"""

import base64
import http.client
import json
import time
import urllib.request
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from alipay.aop.api.AlipayClientConfig import AlipayClientConfig
from alipay.aop.api.DefaultAlipayClient import DefaultAlipayClient
from alipay.aop.api.request.AlipayDataDataserviceBillDownloadurlQueryRequest import (
    AlipayDataDataserviceBillDownloadurlQueryRequest as Bill,
)
from alipay.aop.api.request.AlipayFundTransCommonQueryRequest import AlipayFundTransCommonQueryRequest as QueryTransfer
from alipay.aop.api.request.AlipayFundTransUniTransferRequest import AlipayFundTransUniTransferRequest as Transfer
from alipay.aop.api.request.AlipaySystemOauthTokenRequest import AlipaySystemOauthTokenRequest as Token
from alipay.aop.api.request.AlipayTradeAppPayRequest import AlipayTradeAppPayRequest as App
from alipay.aop.api.request.AlipayTradeCancelRequest import AlipayTradeCancelRequest as Cancel
from alipay.aop.api.request.AlipayTradeCloseRequest import AlipayTradeCloseRequest as Close
from alipay.aop.api.request.AlipayTradeCreateRequest import AlipayTradeCreateRequest as Create
from alipay.aop.api.request.AlipayTradeFastpayRefundQueryRequest import (
    AlipayTradeFastpayRefundQueryRequest as QueryRefund,
)
from alipay.aop.api.request.AlipayTradePagePayRequest import AlipayTradePagePayRequest as Page
from alipay.aop.api.request.AlipayTradePayRequest import AlipayTradePayRequest as Pay
from alipay.aop.api.request.AlipayTradePrecreateRequest import AlipayTradePrecreateRequest as Precreate
from alipay.aop.api.request.AlipayTradeQueryRequest import AlipayTradeQueryRequest as Query
from alipay.aop.api.request.AlipayTradeRefundRequest import AlipayTradeRefundRequest as Refund
from alipay.aop.api.request.AlipayTradeWapPayRequest import AlipayTradeWapPayRequest as Wap
from alipay.aop.api.util import WebUtils
from alipay.aop.api.util.SignatureUtils import get_sign_content, verify_with_rsa
from report import Report, check

BUYER = "2088101117955611"
KIND = {"product_code": "TRANS_ACCOUNT_NO_PWD", "biz_scene": "DIRECT_TRANSFER"}


def connect(url: str, query: str, timeout: float) -> tuple[str, http.client.HTTPConnection]:
    """As the SDK's own does, an absolute address in the request line included, but with a port."""
    parts = urlsplit(url)
    line = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    return f"{parts.scheme}://{parts.netloc}{parts.path}?{query}", line


def bare(pem: str) -> bytes:
    """The DER of a PEM."""
    return base64.b64decode("".join(line for line in pem.splitlines() if not line.startswith("-")))


def inner(pkcs8: bytes) -> bytes:
    """The PKCS #1 key inside a PKCS #8 one of RSA: the last OCTET STRING, behind version and algorithm."""
    at = pkcs8.index(b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\x04\x82") + 19
    return pkcs8[at:]


class Client:
    """The SDK, and what its replies say."""

    def __init__(self, config: dict[str, str], notify_url: str) -> None:
        settings = AlipayClientConfig()
        settings.server_url, settings.app_id = config["gateway"], config["app_id"]
        settings.app_private_key = base64.b64encode(inner(bare(config["private_key"]))).decode()
        settings.alipay_public_key = self.key = base64.b64encode(bare(config["alipay_public_key"])).decode()
        WebUtils.get_http_connection = connect
        self.client, self.notify_url = DefaultAlipayClient(settings), notify_url

    def request(self, kind: type, **content: Any) -> Any:
        """A request of the SDK's, filled through its own model."""
        request = kind()
        request.biz_content = content
        request.notify_url = self.notify_url
        return request

    def call(self, kind: type, **content: Any) -> dict[str, Any]:
        """The verified reply."""
        return json.loads(self.client.execute(self.request(kind, **content)))

    def notice(self, body: bytes) -> dict[str, str]:
        """A notice, verified with the SDK's functions; a tampered one must be refused."""
        params = dict(parse_qsl(body.decode()))
        signature = params.pop("sign")
        params.pop("sign_type")
        try:
            passed = verify_with_rsa(self.key, get_sign_content({**params, "app_id": "1"}).encode(), signature)
        except Exception:  # it raises, rather than answer no
            passed = False
        check(not passed, "a tampered notice passed")
        check(verify_with_rsa(self.key, get_sign_content(params).encode(), signature), params)
        return params


def main() -> None:
    """Run all steps."""
    report = Report()
    report.ack = b"success"
    sdk = report.step("keys", "DefaultAlipayClient(...)", lambda: Client(report.config, report.notify_url))
    codes(report, sdk)
    handed(report, sdk)
    back(report, sdk)
    transfer(report, sdk)
    owner_and_bill(report, sdk)
    raise SystemExit(report.end())


def expect(content: dict[str, Any], **fields: str) -> dict[str, Any]:
    """A reply that says this."""
    check(all(content.get(name) == value for name, value in fields.items()), content)
    return content


def hear(report: Report, sdk: Client, number: str, status: str) -> None:
    """The next notice."""
    params = sdk.notice(report.callbacks.get(timeout=10)[1])
    check((params["out_trade_no"], params["trade_status"]) == (number, status), params)


def codes(report: Report, sdk: Client) -> None:
    """A code to be scanned, and one that was."""
    order = {"out_trade_no": "OFF-1", "total_amount": "12.30", "subject": '官方 }{ "SDK"'}
    made = report.step(
        "precreate", "AlipayTradePrecreateRequest", lambda: expect(sdk.call(Precreate, **order), code="10000")
    )
    absent = {"sub_code": "ACQ.TRADE_NOT_EXIST"}
    report.step(
        "query before the scan",
        "AlipayTradeQueryRequest",
        lambda: expect(sdk.call(Query, out_trade_no="OFF-1"), **absent),
    )
    report.sim("/sim/pay", code=made["qr_code"])
    report.step("payment notice", "verify_with_rsa()", lambda: hear(report, sdk, "OFF-1", "TRADE_SUCCESS"))
    paid = {"trade_status": "TRADE_SUCCESS", "total_amount": "12.30"}
    report.step(
        "query of a paid trade",
        "AlipayTradeQueryRequest",
        lambda: expect(sdk.call(Query, out_trade_no="OFF-1"), **paid),
    )
    scan = {"scene": "bar_code", "auth_code": "281234567890120003", "subject": "条码"}
    asked = {"code": "10003", "msg": "order success pay inprocess"}
    report.step(
        "barcode, a password first",
        "AlipayTradePayRequest",
        lambda: expect(sdk.call(Pay, out_trade_no="OFF-2", total_amount="1.00", **scan), **asked),
    )
    closed = {"action": "close", "retry_flag": "N"}
    report.step("cancel", "AlipayTradeCancelRequest", lambda: expect(sdk.call(Cancel, out_trade_no="OFF-2"), **closed))
    report.step("notice of the cancel", "verify_with_rsa()", lambda: hear(report, sdk, "OFF-2", "TRADE_CLOSED"))
    scan["auth_code"] = "281234567890120099"
    done = {"code": "10000", "total_amount": "2.00"}
    report.step(
        "barcode, paid at once",
        "AlipayTradePayRequest",
        lambda: expect(sdk.call(Pay, out_trade_no="OFF-3", total_amount="2.00", **scan), **done),
    )
    report.step("notice of a barcode", "verify_with_rsa()", lambda: hear(report, sdk, "OFF-3", "TRADE_SUCCESS"))


def handed(report: Report, sdk: Client) -> None:
    """Pages, an app's order, a created trade."""
    gateway = report.config["gateway"]
    orders = (
        ("OFF-4", "page", lambda r: sdk.client.page_execute(r, "GET"), Page, "FAST_INSTANT_TRADE_PAY"),
        ("OFF-5", "wap", lambda r: sdk.client.page_execute(r, "GET"), Wap, "QUICK_WAP_WAY"),
        ("OFF-6", "app", lambda r: f"{gateway}?{sdk.client.sdk_execute(r)}", App, "QUICK_MSECURITY_PAY"),
    )
    for number, name, execute, kind, product in orders:
        order = {"out_trade_no": number, "total_amount": "3.00", "subject": "页面", "product_code": product}
        state = report.sim("/sim/pay", code=execute(sdk.request(kind, **order)))["state"]
        call = "sdk_execute()" if name == "app" else "page_execute()"
        report.step(f"{name} pay", call, lambda state=state: check(state == "paid", state))
        report.step(
            f"notice of a {name} pay",
            "verify_with_rsa()",
            lambda number=number: hear(report, sdk, number, "TRADE_SUCCESS"),
        )
    order = {
        "out_trade_no": "OFF-7",
        "total_amount": "4.00",
        "subject": "小程序",
        "buyer_id": BUYER,
        "product_code": "JSAPI_PAY",
    }
    made = report.step(
        "create", "AlipayTradeCreateRequest", lambda: expect(sdk.call(Create, **order), out_trade_no="OFF-7")
    )
    waits = {"trade_no": made["trade_no"], "trade_status": "WAIT_BUYER_PAY"}
    report.step(
        "query of a created trade",
        "AlipayTradeQueryRequest",
        lambda: expect(sdk.call(Query, out_trade_no="OFF-7"), **waits),
    )
    report.step("close", "AlipayTradeCloseRequest", lambda: expect(sdk.call(Close, out_trade_no="OFF-7"), code="10000"))
    report.step("notice of the close", "verify_with_rsa()", lambda: hear(report, sdk, "OFF-7", "TRADE_CLOSED"))


def back(report: Report, sdk: Client) -> None:
    """A refund, repeated, and asked about."""
    order = {"out_trade_no": "OFF-1", "refund_amount": "2.30", "out_request_no": "R1"}
    moved, again = {"fund_change": "Y", "refund_fee": "2.30"}, {"fund_change": "N", "refund_fee": "2.30"}
    report.step("refund", "AlipayTradeRefundRequest", lambda: expect(sdk.call(Refund, **order), **moved))
    report.step("notice of a refund", "verify_with_rsa()", lambda: hear(report, sdk, "OFF-1", "TRADE_SUCCESS"))
    report.step("refund repeated", "AlipayTradeRefundRequest", lambda: expect(sdk.call(Refund, **order), **again))
    done = {"refund_status": "REFUND_SUCCESS", "refund_amount": "2.30"}
    question = {"out_trade_no": "OFF-1", "out_request_no": "R1"}
    report.step(
        "refund query",
        "AlipayTradeFastpayRefundQueryRequest",
        lambda: expect(sdk.call(QueryRefund, **question), **done),
    )


def transfer(report: Report, sdk: Client) -> None:
    """Money to somebody, and the message that it has arrived."""
    payee = {"identity": "tea@example.com", "identity_type": "ALIPAY_LOGON_ID", "name": "林茶"}
    order = {"out_biz_no": "T1", "trans_amount": "8.80", "order_title": "佣金", "payee_info": payee, **KIND}
    report.step(
        "transfer", "AlipayFundTransUniTransferRequest", lambda: expect(sdk.call(Transfer, **order), status="SUCCESS")
    )

    def message() -> None:
        params = sdk.notice(report.callbacks.get(timeout=10)[1])
        content = json.loads(params["biz_content"])
        check(
            (params["msg_method"], content["out_biz_no"], content["status"])
            == ("alipay.fund.trans.order.changed", "T1", "SUCCESS"),
            params,
        )

    report.step("message of a transfer", "verify_with_rsa()", message)
    done = {"status": "SUCCESS", "trans_amount": "8.80"}
    report.step(
        "transfer query",
        "AlipayFundTransCommonQueryRequest",
        lambda: expect(sdk.call(QueryTransfer, out_biz_no="T1", **KIND), **done),
    )


class Stay(urllib.request.HTTPRedirectHandler):
    """Do not follow: the address is what we want."""

    def redirect_request(self, *_: object) -> None:
        """No."""


def owner_and_bill(report: Report, sdk: Client) -> None:
    """Who holds the wallet; where the day's bills are."""
    asked = {"app_id": report.config["app_id"], "scope": "auth_base", "redirect_uri": "http://127.0.0.1:9/back"}

    def tell() -> None:
        try:
            urllib.request.build_opener(Stay).open(f"{report.config['oauth_url']}?{urlencode(asked)}")
        except urllib.error.HTTPError as redirect:
            said = dict(parse_qsl(urlsplit(redirect.headers["Location"]).query))
        request = Token()
        request.grant_type, request.code = "authorization_code", said["auth_code"]
        who = json.loads(sdk.client.execute(request))
        check(who["user_id"].startswith("2088") and who["open_id"], who)

    report.step("who holds the wallet", "AlipaySystemOauthTokenRequest", tell)
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 8 * 3600))
    report.sim(f"/sim/accounts/{report.config['app_id']}/close-day", day=day)
    for name in ("trade", "signcustomer"):

        def fetch(name: str = name) -> None:
            url = expect(sdk.call(Bill, bill_type=name, bill_date=day), code="10000")["bill_download_url"]
            with urllib.request.urlopen(url) as reply:
                check(reply.read(2) == b"PK", url)

        report.step(f"bill {name}", "AlipayDataDataserviceBillDownloadurlQueryRequest", fetch)


if __name__ == "__main__":
    main()
