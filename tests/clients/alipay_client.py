"""Every operation that `python-alipay-sdk` has of those the Alipay simulator offers, and its notices; by key or by certificate."""

import base64
import io
import json
import time
import urllib.request
import zipfile
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from alipay import AliPay, DCAliPay
from report import Report, check


class Stay(urllib.request.HTTPRedirectHandler):
    """Do not follow: the address is what we want."""

    def redirect_request(self, *_: object) -> None:
        """No."""


def make_client(config: dict[str, str], notify_url: str) -> AliPay:
    """The client; it has no option for the gateway, so that is set on the instance."""
    if "app_cert" in config:
        papers = (config["app_cert"], config["alipay_cert"], config["root_cert"])
        client = DCAliPay(config["app_id"], config["private_key"], *papers, app_notify_url=notify_url)
    else:
        client = AliPay(config["app_id"], notify_url, config["private_key"], config["alipay_public_key"], "RSA2")
    client._gateway = config["gateway"]
    return client


def main() -> None:
    """Run all steps."""
    report = Report()
    report.ack = b"success"
    made = "DCAliPay(...)" if "app_cert" in report.config else "AliPay(...)"
    client = report.step("keys", made, lambda: make_client(report.config, report.notify_url))
    precreate(report, client)
    page(report, client)
    close_and_cancel(report, client)
    refund(report, client)
    handed(report, client)
    scanned(report, client)
    transfer(report, client)
    owner(report, client)
    if isinstance(client, DCAliPay):
        certificate(report, client)
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


def handed(report: Report, client: AliPay) -> None:
    """What a mobile page, an app and a mini program are handed."""
    gateway = report.config["gateway"]
    wap = client.api_alipay_trade_wap_pay(
        "手机", "SDK-5", 2, return_url="http://127.0.0.1:9/back", quit_url="http://127.0.0.1:9/"
    )
    app = client.api_alipay_trade_app_pay("应用", "SDK-6", 3)
    for number, name, order in (("SDK-5", "wap", wap), ("SDK-6", "app", app)):
        state = report.sim("/sim/pay", code=f"{gateway}?{order}")["state"]
        report.step(f"{name} pay", f"api_alipay_trade_{name}_pay()", lambda state=state: check(state == "paid", state))
        report.step(
            f"notice of a {name} pay", "verify()", lambda number=number: hear(report, client, number, "TRADE_SUCCESS")
        )

    def create() -> dict[str, Any]:
        buyer = {"buyer_id": "2088101117955611", "product_code": "JSAPI_PAY"}
        return client.api_alipay_trade_create("小程序", "SDK-7", 4, **buyer)

    call = "api_alipay_trade_create()"
    made = report.step("create", call, lambda: expect(create(), code="10000", out_trade_no="SDK-7"))
    report.step("create repeated: the same trade", call, lambda: expect(create(), trade_no=made["trade_no"]))
    waits = {"trade_status": "WAIT_BUYER_PAY"}
    query = "api_alipay_trade_query()"
    report.step("query of a created trade", query, lambda: expect(client.api_alipay_trade_query("SDK-7"), **waits))
    report.sim("/sim/pay", code=made["trade_no"])
    report.step("notice of a created trade", "verify()", lambda: hear(report, client, "SDK-7", "TRADE_SUCCESS"))


def scanned(report: Report, client: AliPay) -> None:
    """The payer's code: paid at once, asked for a password, refused, cancelled."""
    app_id = report.config["app_id"]

    def pay(number: str, code: str, yuan: float) -> dict[str, Any]:
        return client.api_alipay_trade_pay(number, "bar_code", code, "条码", total_amount=yuan)

    call = "api_alipay_trade_pay()"
    paid = {"code": "10000", "total_amount": "1.50"}
    report.step("barcode, paid at once", call, lambda: expect(pay("SDK-8", "281234567890120099", 1.5), **paid))
    report.step("notice of a barcode", "verify()", lambda: hear(report, client, "SDK-8", "TRADE_SUCCESS"))
    asks = {"code": "10003", "msg": "order success pay inprocess"}
    report.step("barcode, a password first", call, lambda: expect(pay("SDK-9", "281234567890120003", 0.1), **asks))
    report.sim("/sim/pay", account=app_id, out_trade_no="SDK-9")
    report.step("notice after the password", "verify()", lambda: hear(report, client, "SDK-9", "TRADE_SUCCESS"))
    done = {"trade_status": "TRADE_SUCCESS"}
    report.step(
        "query after the password",
        "api_alipay_trade_query()",
        lambda: expect(client.api_alipay_trade_query("SDK-9"), **done),
    )
    spent, poor = {"sub_code": "ACQ.PAYMENT_AUTH_CODE_INVALID"}, {"sub_code": "ACQ.BUYER_BALANCE_NOT_ENOUGH"}
    report.step("barcode, not valid", call, lambda: expect(pay("SDK-10", "281234567890120000", 1), **spent))
    report.step("barcode, no money", call, lambda: expect(pay("SDK-10", "281234567890120004", 1), **poor))
    expect(pay("SDK-11", "281234567890120003", 1), code="10003")
    closed = {"retry_flag": "N", "action": "close"}
    report.step(
        "cancel while the payer is asked",
        "api_alipay_trade_cancel()",
        lambda: expect(client.api_alipay_trade_cancel("SDK-11"), **closed),
    )
    report.step("notice of the cancel", "verify()", lambda: hear(report, client, "SDK-11", "TRADE_CLOSED"))


def transfer(report: Report, client: AliPay) -> None:
    """Money to somebody: once under one number, asked about, refused."""
    by_certificate = isinstance(client, DCAliPay)
    kind = {"product_code": "TRANS_ACCOUNT_NO_PWD", "biz_scene": "DIRECT_TRANSFER"}

    def send(number: str, identity: str, yuan: float, name: str | None = None) -> dict[str, Any]:
        of = "ALIPAY_LOGON_ID" if "@" in identity else "ALIPAY_USER_ID"
        if by_certificate:
            return client.api_alipay_fund_trans_uni_transfer(number, of, identity, yuan, name, order_title="佣金")
        payee = {"identity": identity, "identity_type": of, "name": name}
        order = {"out_biz_no": number, "trans_amount": yuan, "order_title": "佣金", "payee_info": payee, **kind}
        return client.server_api("alipay.fund.trans.uni.transfer", order)

    call = "api_alipay_fund_trans_uni_transfer()" if by_certificate else "server_api()"
    sent = report.step("transfer", call, lambda: expect(send("T1", "2088101117955611", 8.8), status="SUCCESS"))
    again = {"order_id": sent["order_id"]}
    report.step("transfer repeated: the same order", call, lambda: expect(send("T1", "2088101117955611", 8.8), **again))
    other, nobody = {"sub_code": "PAYMENT_INFO_INCONSISTENCY"}, {"sub_code": "PAYEE_NOT_EXIST"}
    report.step(
        "transfer repeated with another amount", call, lambda: expect(send("T1", "2088101117955611", 9), **other)
    )
    report.step("transfer to nobody", call, lambda: expect(send("T2", "nobody@example.com", 1, "无名"), **nobody))

    def ask(number: str) -> dict[str, Any]:
        return client.server_api("alipay.fund.trans.common.query", {"out_biz_no": number, **kind})

    done = {"status": "SUCCESS", "trans_amount": "8.80", **again}
    report.step("transfer query", "server_api()", lambda: expect(ask("T1"), **done))
    report.step("transfer query of what is not", "server_api()", lambda: expect(ask("T2"), sub_code="ORDER_NOT_EXIST"))


def owner(report: Report, client: AliPay) -> None:
    """Who holds the wallet."""
    asked = {
        "app_id": report.config["app_id"],
        "scope": "auth_base",
        "redirect_uri": "http://127.0.0.1:9/back",
        "state": "s",
    }

    def tell() -> None:
        try:
            urllib.request.build_opener(Stay).open(f"{report.config['oauth_url']}?{urlencode(asked)}")
        except urllib.error.HTTPError as redirect:
            back = dict(parse_qsl(urlsplit(redirect.headers["Location"]).query))
        grant = {"grant_type": "authorization_code", "code": back["auth_code"]}
        who = client.server_api("alipay.system.oauth.token", **grant)
        check(who["user_id"].startswith("2088") and who["open_id"] and "code" not in who, who)

    report.step("who holds the wallet", "server_api()", tell)


def certificate(report: Report, client: DCAliPay) -> None:
    """Alipay's certificate, by the number that the client makes of it."""
    pem = report.config["alipay_cert"]

    def fetch() -> None:
        signed = client.api_alipay_open_app_alipaycert_download(client.get_cert_sn(pem))
        with urllib.request.urlopen(f"{report.config['gateway']}?{signed}") as reply:
            content = json.load(reply)["alipay_open_app_alipaycert_download_response"]
        check(pem in base64.b64decode(content["alipay_cert_content"]).decode(), content)

    report.step("Alipay's certificate", "api_alipay_open_app_alipaycert_download()", fetch)


def bill(report: Report, client: AliPay) -> None:
    """The day's zips."""
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
        check("#交易合计：7笔，商家实收共27.90元" in text and "#退款合计：1笔，商家实收退款共-2.30元" in text, text)

    report.step("bill", call, fetch)

    def account() -> None:
        question = {"bill_type": "signcustomer", "bill_date": day}
        url = expect(client.server_api(offer[0], question), code="10000")["bill_download_url"]
        with urllib.request.urlopen(url) as reply:
            archive = zipfile.ZipFile(io.BytesIO(reply.read()), metadata_encoding="gbk")
        [name] = [name for name in archive.namelist() if name.endswith("_账务明细.csv")]
        text = archive.read(name).decode("gbk")
        check("#收入合计：7笔，共27.90元" in text and "转账" in text, text)

    report.step("account bill", call, account)


if __name__ == "__main__":
    main()
