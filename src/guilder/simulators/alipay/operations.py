"""Alipay's operations on trades: page, wap, app, precreate, create, query, close, cancel, refund, refund query, bill.

A trade exists only once its payer has opened it: before that every operation but `cancel` answers
ACQ.TRADE_NOT_EXIST, which means "not yet".  One that was made for a known payer (create, pay) exists at once.
"""

import hashlib
import os
import re
from urllib.parse import quote, unquote

import msgspec

from guilder.simulators import dials, statements, trades
from guilder.simulators.alipay import funds
from guilder.simulators.alipay.asks import Ask, Content, Failed, business
from guilder.simulators.alipay.channel import Alipay
from guilder.simulators.clock import day_bounds, day_of, parse_stamp, stamp
from guilder.simulators.model import Refund, Trade
from guilder.simulators.statements import yuan

_OUT_TRADE_NO = re.compile(r"[0-9A-Za-z_\-]{1,64}")
_UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
_VALID_MS = {"precreate": 2 * 3_600_000, "barcode": 90 * 60_000}
_PRODUCTS = {
    "page": ("FAST_INSTANT_TRADE_PAY",),
    "wap": ("QUICK_WAP_WAY", "QUICK_WAP_PAY"),
    "app": ("QUICK_MSECURITY_PAY",),
}


class Operations:
    """What the gateway can do."""

    def __init__(self, channel: Alipay) -> None:
        self.channel = channel
        self.desk = channel.desk

    def look(self, op: str, ask: Ask) -> tuple[str, str]:
        """The number that a request is about and the dials of its trade or transfer."""
        attach = unquote(ask.text("passback_params"))
        match op:
            case "bill" | "identify" | "certificate":
                return "", ""
            case "create":
                return ask.text("out_trade_no", must=True), dials.asked(attach, ask.fen("total_amount"))
            case "payout":
                return ask.text("out_biz_no", must=True), dials.asked(attach, 0)
            case "payout_query":
                payout = self.desk.book.find_payout(ask.account.id, ask.text("out_biz_no"))
                return (payout.out_no, payout.dials) if payout else (ask.text("out_biz_no"), "")
        trade = self.find(ask)
        return (trade.out_trade_no, trade.dials) if trade else (ask.text("out_trade_no"), "")

    def find(self, ask: Ask) -> Trade | None:
        """The trade in question, whether its payer has opened it or not."""
        number, ref = ask.text("out_trade_no"), ask.text("trade_no")
        if not number and not ref:
            raise Failed("40001", "isv.missing-out-trade-no", "out_trade_no和trade_no不能同时为空")
        book = self.desk.book
        trade = book.find_trade_by_ref(ask.account.id, ref) if ref else book.find_trade(ask.account.id, number)
        if trade is not None:
            trades.expire(self.desk, trade)
        return trade

    def opened(self, ask: Ask) -> Trade:
        trade = self.find(ask)
        if trade is None or not trade.opened_at:
            raise business("ACQ.TRADE_NOT_EXIST", "交易不存在")
        return trade

    # --- payments

    def precreate(self, ask: Ask) -> Content:
        """alipay.trade.precreate: a QR code."""
        trade = self.create(ask, "precreate", "https://qr.alipay.com/bax")
        return {"out_trade_no": trade.out_trade_no, "qr_code": trade.token}

    def page(self, ask: Ask) -> Content:
        """alipay.trade.page.pay, alipay.trade.wap.pay, alipay.trade.app.pay: where the payer's browser or app goes on."""
        way = ask.params["method"].split(".")[2]
        trade = self.create(ask, way, f"alipay-{way}-")
        return {"go": f"{ask.address}/phone?code={quote(trade.token, safe='')}"}

    def made(self, ask: Ask) -> Content:
        """alipay.trade.create: a trade for a payer who is known, which the wallet opens by its number."""
        if ask.text("product_code", must=True) != "JSAPI_PAY":
            raise business("ACQ.INVALID_PARAMETER", "参数无效：product_code")
        names = ("buyer_id", "buyer_open_id", "op_buyer_open_id", "buyer_logon_id")
        buyer = next(filter(None, map(ask.text, names)), "")
        if not buyer:
            raise business("ACQ.BUYER_NOT_EXIST", "买家不存在")
        trade = self.create(ask, "jsapi")
        return {"out_trade_no": trade.out_trade_no, "trade_no": trade.channel_ref}

    def create(self, ask: Ask, way: str, prefix: str = "") -> Trade:
        """The trade that a request asks for, or the same one again.  Without `prefix` it exists at once, and its number is the
        token.  Raises Failed when its number is spent, or means another order."""
        amount, now, book = ask.fen("total_amount"), self.desk.clock.now(), self.desk.book
        self._check_create(ask, way)
        trade, fingerprint = (
            self.find(ask),
            hashlib.sha256(msgspec.json.encode([ask.content, ask.notify_url, way], order="deterministic")).hexdigest(),
        )
        if trade is not None:
            if trade.state == "paid":
                raise business("ACQ.TRADE_HAS_SUCCESS", "交易已被支付")
            if trade.state in ("closed", "declined"):
                raise business("ACQ.TRADE_HAS_CLOSE", "交易已经关闭")
            if trade.fingerprint != fingerprint:
                raise business("ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改")
            return trade
        serial = book.serial()
        ref = f"{day_of(now).replace('-', '')}22001{serial:015d}"
        attach = ask.text("passback_params")
        trade = Trade(
            account=ask.account.id,
            out_trade_no=ask.text("out_trade_no"),
            channel=self.channel.name,
            channel_ref=ref,
            token=f"{prefix}{os.urandom(6).hex()}{serial:x}" if prefix else ref,
            way=way,
            amount=amount,
            currency="CNY",
            description=ask.text("subject"),
            attach=attach,
            notify_url=ask.notify_url,
            return_url=ask.params.get("return_url", ""),
            fingerprint=fingerprint,
            dials=dials.asked(unquote(attach), amount),
            created_at=now,
            expires_at=self._expires_at(ask, now + _VALID_MS.get(way, 12 * 3_600_000)),
            state="made" if prefix else "waiting",
            opened_at=0 if prefix else now,
        )
        trades.create(self.desk, trade)
        return trade

    def _check_create(self, ask: Ask, way: str) -> None:
        if not _OUT_TRADE_NO.fullmatch(ask.text("out_trade_no", must=True)):
            raise business("ACQ.INVALID_PARAMETER", "参数无效：out_trade_no")
        if len(ask.text("subject", must=True)) > 256:
            raise business("ACQ.INVALID_PARAMETER", "参数无效：subject")
        if way in _PRODUCTS and ask.text("product_code", must=True) not in _PRODUCTS[way]:
            raise business("ACQ.INVALID_PARAMETER", "参数无效：product_code")

    def _expires_at(self, ask: Ask, latest: int) -> int:
        """From time_expire or timeout_express.  Raises Failed on nonsense or a time that has passed."""
        now, at = self.desk.clock.now(), latest
        try:
            if text := ask.text("time_expire"):
                at = parse_stamp(text)
            elif text := ask.text("timeout_express"):
                at = now + int(text[:-1]) * _UNITS_MS[text[-1]]
        except (ValueError, KeyError):
            at = 0
        if at <= now:
            raise business("ACQ.INVALID_PARAMETER", "参数无效：订单过期时间")
        return at

    def query(self, ask: Ask) -> Content:
        """alipay.trade.query."""
        trade = self.opened(ask)
        amount, paid = yuan(self.channel.told_amount(trade)), bool(trade.paid_at)
        content = {
            "buyer_logon_id": "pay***@example.com",
            "buyer_pay_amount": amount if paid else "0.00",
            "buyer_user_id": trade.payer or "2088000000000000",
            "invoice_amount": amount if paid else "0.00",
            "out_trade_no": trade.out_trade_no,
            "point_amount": "0.00",
            "receipt_amount": amount if paid else "0.00",
            "total_amount": amount,
            "trade_no": trade.channel_ref,
            "trade_status": self.channel.status(trade),
        }
        return content | ({"send_pay_date": stamp(trade.paid_at)} if paid else {})

    def close(self, ask: Ask) -> Content:
        """alipay.trade.close: only a trade that waits for its payer."""
        trade = self.opened(ask)
        if trade.state == "paid":
            raise business("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")
        if trade.state != "waiting":
            raise business("ACQ.REASON_TRADE_STATUS_INVALID", "交易状态异常")
        trades.close(self.desk, trade)
        return {"out_trade_no": trade.out_trade_no, "trade_no": trade.channel_ref}

    def cancel(self, ask: Ask) -> Content:
        """alipay.trade.cancel: closes what is open, gives back what is paid, shrugs at what is not there."""
        trade = self.find(ask)
        content = {"out_trade_no": ask.text("out_trade_no"), "retry_flag": "N"}
        if trade is None:
            return content
        content |= {"out_trade_no": trade.out_trade_no} | ({"trade_no": trade.channel_ref} if trade.opened_at else {})
        if trade.state in ("made", "waiting"):
            trades.close(self.desk, trade)
            return content | {"action": "close"}
        left = trade.amount - trades.refunded(self.desk, trade)
        if trade.state == "paid" and left > 0:
            trades.accept_refund(self.desk, trade, self._new_refund(trade, f"cancel{trade.out_trade_no}", left, ""))
        return content | {"action": "refund" if trade.paid_at else "close"}

    # --- refunds

    def refund(self, ask: Ask) -> Content:
        """alipay.trade.refund: refund_fee counts all refunds so far, fund_change says whether this call moved money."""
        trade, amount = self.opened(ask), ask.fen("refund_amount")
        number = ask.text("out_request_no")
        if not number and amount != trade.amount:
            raise business("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "部分退款必须传入退款请求号")
        number = number or trade.out_trade_no
        for earlier in self.desk.book.refunds(trade.account, trade.out_trade_no):
            if earlier.out_refund_no == number:
                if earlier.amount != amount:
                    raise business("ACQ.DISCORDANT_REPEAT_REQUEST", "同一笔退款请求号退款金额不一致")
                return self._refund_content(trade, earlier, moved=False)
        if trade.state != "paid":
            raise business("ACQ.TRADE_NOT_ALLOW_REFUND", "当前交易不允许退款")
        if trades.refunded(self.desk, trade) + amount > trade.amount:
            raise business("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "退款金额超限")
        refund = self._new_refund(trade, number, amount, ask.text("refund_reason"))
        if dials.find(refund.dials, "refund", "refund_fail"):
            self.desk.dials.count(trade.account, trade.out_trade_no, "refund", "refund_fail")
            raise business("ACQ.SELLER_BALANCE_NOT_ENOUGH", "卖家余额不足")
        trades.accept_refund(self.desk, trade, refund)
        return self._refund_content(trade, refund, moved=refund.state == "SUCCESS")

    def _new_refund(self, trade: Trade, number: str, amount: int, reason: str) -> Refund:
        now = self.desk.clock.now()
        return Refund(
            account=trade.account,
            out_refund_no=number,
            out_trade_no=trade.out_trade_no,
            channel_ref=trade.channel_ref,
            amount=amount,
            reason=reason,
            notify_url=trade.notify_url,
            fingerprint=str(amount),
            created_at=now,
            done_at=now,
            dials=trades.refund_dials(self.desk, trade),
        )

    def _refund_content(self, trade: Trade, refund: Refund, *, moved: bool) -> Content:
        content = {
            "buyer_logon_id": "pay***@example.com",
            "buyer_user_id": trade.payer,
            "fund_change": "Y" if moved else "N",
            "out_trade_no": trade.out_trade_no,
            "refund_fee": yuan(trades.refunded(self.desk, trade, done=True)),
            "send_back_fee": yuan(refund.amount if moved else 0),
            "trade_no": trade.channel_ref,
        }
        return content | ({"gmt_refund_pay": stamp(refund.done_at)} if refund.state == "SUCCESS" else {})

    def query_refund(self, ask: Ask) -> Content:
        """alipay.trade.fastpay.refund.query: code 10000 says only that the question was understood."""
        trade, number = self.opened(ask), ask.text("out_request_no", must=True)
        content = {"out_trade_no": trade.out_trade_no, "trade_no": trade.channel_ref}
        for refund in self.desk.book.refunds(trade.account, trade.out_trade_no):
            if refund.out_refund_no == number and refund.state == "SUCCESS":
                content |= {
                    "out_request_no": number,
                    "refund_amount": yuan(refund.amount),
                    "refund_status": "REFUND_SUCCESS",
                    "total_amount": yuan(trade.amount),
                }
                if "gmt_refund_pay" in ask.text("query_options"):
                    content["gmt_refund_pay"] = stamp(refund.done_at)
        return content

    # --- bills

    def bill(self, ask: Ask) -> Content:
        """alipay.data.dataservice.bill.downloadurl.query: the day's zip, for the gateway to offer."""
        day, kind = ask.text("bill_date", must=True), ask.text("bill_type", must=True)
        try:
            day_bounds(day)
        except ValueError:
            raise Failed("40002", "isv.invalid-parameter", "bill_date无效") from None
        if kind not in ("trade", "signcustomer"):
            raise Failed("40002", "isv.invalid-parameter", "bill_type无效")
        found = statements.find(self.desk.book, ask.account, day, self.desk.clock.now())
        lines = statements.lines_of(found) if found else []
        sent = kind == "signcustomer" and found is not None and funds.moves(self.desk.book, ask.account, day, [])
        if found is None or not (lines or sent):
            raise business("isp.bill_not_exist", "账单不存在")
        return {"bill": self.channel.statement(ask.account, day, kind, lines, found.corrupt)}
