"""Alipay's operations on trades: page, precreate, query, close, cancel, refund, refund query, bill.

A trade exists only once its payer has opened it: before that every operation but `cancel` answers
ACQ.TRADE_NOT_EXIST, which means "not yet".
"""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import msgspec

from guilder.simulators import dials, statements, trades
from guilder.simulators.alipay.channel import Alipay
from guilder.simulators.clock import day_bounds, day_of, parse_stamp, stamp
from guilder.simulators.model import Account, Refund, Trade
from guilder.simulators.statements import yuan

Content = dict[str, Any]
_AMOUNT = re.compile(r"(\d{1,9})(?:\.(\d{1,2}))?")
_OUT_TRADE_NO = re.compile(r"[0-9A-Za-z_\-]{1,64}")
_UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
_VALID_MS = {"precreate": 2 * 3_600_000, "page": 12 * 3_600_000}
_MESSAGES = {"40001": "Missing Required Arguments", "40002": "Invalid Arguments", "40004": "Business Failed"}


class Failed(Exception):
    """The operation failed: code, sub_code, sub_msg and msg of the reply."""

    def __init__(self, code: str, sub_code: str, sub_msg: str, msg: str = "") -> None:
        super().__init__(sub_code)
        self.code, self.sub_code, self.sub_msg = code, sub_code, sub_msg
        self.msg = msg or _MESSAGES[code]

    def content(self) -> Content:
        """As an answer."""
        return {"code": self.code, "msg": self.msg, "sub_code": self.sub_code, "sub_msg": self.sub_msg}


def business(sub_code: str, sub_msg: str) -> Failed:
    """Code 40004."""
    return Failed("40004", sub_code, sub_msg)


@dataclass(frozen=True, slots=True)
class Ask:
    """A verified request."""

    account: Account
    content: dict[str, object]
    notify_url: str
    return_url: str
    address: str

    def text(self, name: str, *, must: bool = False) -> str:
        """A parameter of biz_content, '' if absent.  Raises Failed if it must be there."""
        value = self.content.get(name)
        if value is None or value == "":
            if must:
                raise Failed("40001", f"isv.missing-{name.replace('_', '-')}", f"缺少参数{name}")
            return ""
        return str(value)

    def fen(self, name: str) -> int:
        """An amount in yuan as fen.  Raises Failed on nonsense or nothing."""
        match = _AMOUNT.fullmatch(self.text(name, must=True))
        fen = int(match[1]) * 100 + int((match[2] or "").ljust(2, "0")) if match else 0
        if fen < 1:
            raise business("ACQ.INVALID_PARAMETER", f"参数无效：{name}")
        return fen


class Operations:
    """What the gateway can do."""

    def __init__(self, channel: Alipay) -> None:
        self._channel = channel
        self._desk = channel.desk

    def look(self, op: str, ask: Ask) -> tuple[str, str]:
        """The out_trade_no that a request is about and the dials of its trade."""
        if op == "bill":
            return "", ""
        if op == "create":
            attach = unquote(ask.text("passback_params"))
            return ask.text("out_trade_no", must=True), dials.asked(attach, ask.fen("total_amount"))
        trade = self._find(ask)
        return (trade.out_trade_no, trade.dials) if trade else (ask.text("out_trade_no"), "")

    def _find(self, ask: Ask) -> Trade | None:
        """The trade in question, whether its payer has opened it or not."""
        number, ref = ask.text("out_trade_no"), ask.text("trade_no")
        if not number and not ref:
            raise Failed("40001", "isv.missing-out-trade-no", "out_trade_no和trade_no不能同时为空")
        book = self._desk.book
        trade = book.find_trade_by_ref(ask.account.id, ref) if ref else book.find_trade(ask.account.id, number)
        if trade is not None:
            trades.expire(self._desk, trade)
        return trade

    def _opened(self, ask: Ask) -> Trade:
        trade = self._find(ask)
        if trade is None or not trade.opened_at:
            raise business("ACQ.TRADE_NOT_EXIST", "交易不存在")
        return trade

    # --- payments

    def precreate(self, ask: Ask) -> Content:
        """alipay.trade.precreate: a QR code."""
        trade = self._create(ask, "precreate", "https://qr.alipay.com/bax")
        return {"out_trade_no": trade.out_trade_no, "qr_code": trade.token}

    def page(self, ask: Ask) -> Content:
        """alipay.trade.page.pay: where the payer's browser goes on."""
        trade = self._create(ask, "page", "alipay-page-")
        return {"go": f"{ask.address}/phone?code={quote(trade.token, safe='')}"}

    def _create(self, ask: Ask, way: str, prefix: str) -> Trade:
        amount, now, book = ask.fen("total_amount"), self._desk.clock.now(), self._desk.book
        self._check_create(ask, way)
        trade, fingerprint = (
            self._find(ask),
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
        attach = ask.text("passback_params")
        trade = Trade(
            account=ask.account.id,
            out_trade_no=ask.text("out_trade_no"),
            channel=self._channel.name,
            channel_ref=f"{day_of(now).replace('-', '')}22001{serial:015d}",
            token=f"{prefix}{os.urandom(6).hex()}{serial:x}",
            way=way,
            amount=amount,
            currency="CNY",
            description=ask.text("subject"),
            attach=attach,
            notify_url=ask.notify_url,
            return_url=ask.return_url,
            fingerprint=fingerprint,
            dials=dials.asked(unquote(attach), amount),
            created_at=now,
            expires_at=self._expires_at(ask, now + _VALID_MS[way]),
            state="made",
        )
        trades.create(self._desk, trade)
        return trade

    def _check_create(self, ask: Ask, way: str) -> None:
        if not _OUT_TRADE_NO.fullmatch(ask.text("out_trade_no", must=True)):
            raise business("ACQ.INVALID_PARAMETER", "参数无效：out_trade_no")
        if len(ask.text("subject", must=True)) > 256:
            raise business("ACQ.INVALID_PARAMETER", "参数无效：subject")
        if way == "page" and ask.text("product_code", must=True) != "FAST_INSTANT_TRADE_PAY":
            raise business("ACQ.INVALID_PARAMETER", "参数无效：product_code")

    def _expires_at(self, ask: Ask, latest: int) -> int:
        """From time_expire or timeout_express.  Raises Failed on nonsense or a time that has passed."""
        now, at = self._desk.clock.now(), latest
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
        trade = self._opened(ask)
        amount, paid = yuan(self._channel.told_amount(trade)), bool(trade.paid_at)
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
            "trade_status": self._channel.status(trade),
        }
        return content | ({"send_pay_date": stamp(trade.paid_at)} if paid else {})

    def close(self, ask: Ask) -> Content:
        """alipay.trade.close: only a trade that waits for its payer."""
        trade = self._opened(ask)
        if trade.state == "paid":
            raise business("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")
        if trade.state != "waiting":
            raise business("ACQ.REASON_TRADE_STATUS_INVALID", "交易状态异常")
        trades.close(self._desk, trade)
        return {"out_trade_no": trade.out_trade_no, "trade_no": trade.channel_ref}

    def cancel(self, ask: Ask) -> Content:
        """alipay.trade.cancel: closes what is open, gives back what is paid, shrugs at what is not there."""
        trade = self._find(ask)
        content = {"out_trade_no": ask.text("out_trade_no"), "retry_flag": "N"}
        if trade is None:
            return content
        content |= {"out_trade_no": trade.out_trade_no} | ({"trade_no": trade.channel_ref} if trade.opened_at else {})
        if trade.state in ("made", "waiting"):
            trades.close(self._desk, trade)
            return content | {"action": "close"}
        left = trade.amount - trades.refunded(self._desk, trade)
        if trade.state == "paid" and left > 0:
            trades.accept_refund(self._desk, trade, self._new_refund(trade, f"cancel{trade.out_trade_no}", left, ""))
        return content | {"action": "refund" if trade.paid_at else "close"}

    # --- refunds

    def refund(self, ask: Ask) -> Content:
        """alipay.trade.refund: refund_fee counts all refunds so far, fund_change says whether this call moved money."""
        trade, amount = self._opened(ask), ask.fen("refund_amount")
        number = ask.text("out_request_no")
        if not number and amount != trade.amount:
            raise business("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "部分退款必须传入退款请求号")
        number = number or trade.out_trade_no
        for earlier in self._desk.book.refunds(trade.account, trade.out_trade_no):
            if earlier.out_refund_no == number:
                if earlier.amount != amount:
                    raise business("ACQ.DISCORDANT_REPEAT_REQUEST", "同一笔退款请求号退款金额不一致")
                return self._refund_content(trade, earlier, moved=False)
        if trade.state != "paid":
            raise business("ACQ.TRADE_NOT_ALLOW_REFUND", "当前交易不允许退款")
        if trades.refunded(self._desk, trade) + amount > trade.amount:
            raise business("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "退款金额超限")
        refund = self._new_refund(trade, number, amount, ask.text("refund_reason"))
        if dials.find(refund.dials, "refund", "refund_fail"):
            self._desk.dials.count(trade.account, trade.out_trade_no, "refund", "refund_fail")
            raise business("ACQ.SELLER_BALANCE_NOT_ENOUGH", "卖家余额不足")
        trades.accept_refund(self._desk, trade, refund)
        return self._refund_content(trade, refund, moved=refund.state == "SUCCESS")

    def _new_refund(self, trade: Trade, number: str, amount: int, reason: str) -> Refund:
        now = self._desk.clock.now()
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
            dials=trades.refund_dials(self._desk, trade),
        )

    def _refund_content(self, trade: Trade, refund: Refund, *, moved: bool) -> Content:
        content = {
            "buyer_logon_id": "pay***@example.com",
            "buyer_user_id": trade.payer,
            "fund_change": "Y" if moved else "N",
            "out_trade_no": trade.out_trade_no,
            "refund_fee": yuan(trades.refunded(self._desk, trade, done=True)),
            "send_back_fee": yuan(refund.amount if moved else 0),
            "trade_no": trade.channel_ref,
        }
        return content | ({"gmt_refund_pay": stamp(refund.done_at)} if refund.state == "SUCCESS" else {})

    def query_refund(self, ask: Ask) -> Content:
        """alipay.trade.fastpay.refund.query: code 10000 says only that the question was understood."""
        trade, number = self._opened(ask), ask.text("out_request_no", must=True)
        content = {"out_trade_no": trade.out_trade_no, "trade_no": trade.channel_ref}
        for refund in self._desk.book.refunds(trade.account, trade.out_trade_no):
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
        if kind != "trade":
            raise Failed("40002", "isv.invalid-parameter", "bill_type无效")
        found = statements.find(self._desk.book, ask.account, day, self._desk.clock.now())
        lines = statements.lines_of(found) if found else []
        if found is None or not lines:
            raise business("isp.bill_not_exist", "账单不存在")
        return {"bill": self._channel.statement(ask.account, day, kind, lines, found.corrupt)}


class Operation(NamedTuple):
    """A method's name for the dials, and what it does."""

    op: str
    act: Callable[[Operations, Ask], Content]


OPERATIONS = {
    "alipay.trade.page.pay": Operation("create", Operations.page),
    "alipay.trade.precreate": Operation("create", Operations.precreate),
    "alipay.trade.query": Operation("query", Operations.query),
    "alipay.trade.close": Operation("close", Operations.close),
    "alipay.trade.cancel": Operation("cancel", Operations.cancel),
    "alipay.trade.refund": Operation("refund", Operations.refund),
    "alipay.trade.fastpay.refund.query": Operation("refund_query", Operations.query_refund),
    "alipay.data.dataservice.bill.downloadurl.query": Operation("bill", Operations.bill),
}
