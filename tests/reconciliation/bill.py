"""WeChat Pay's trade bill, written by hand: what a test wants in it, with sums that hold."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from guilder.channels.model import Statement
from guilder.channels.wechatpay.statement import read_statement
from guilder.core.clock import BEIJING

NAMES = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,"
    "微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
)
SUMMARY = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"


@dataclass(frozen=True)
class Row:
    """A line.  `refund_key`: it gives back."""

    key: str
    amount: int  # fen
    at: datetime
    refund_key: str = ""
    status: str = "SUCCESS"

    def __str__(self) -> str:
        paid, back = ("0.00", _yuan(self.amount)) if self.refund_key else (_yuan(self.amount), "0.00")
        when = self.at.astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S")
        kind, status = ("REFUND", self.status) if self.refund_key else ("SUCCESS", "")
        fields = (
            when, "wx1", "1601959334", "0", "", "42" + self.key, self.key, "payer", "NATIVE", kind, "OTHERS", "CNY", paid, "0.00",
            "50" + self.refund_key, self.refund_key or "0", back, "0.00", "", status, "Tea", "", _fee(self), "0.60%", paid, back, "",
        )  # fmt: skip
        return "`" + ",`".join(fields)


def bill(rows: Iterable[Row], day: date) -> Statement:
    """The file, read by the adapter."""
    raw = text(rows)
    return read_statement(day, raw, hashlib.sha1(raw).hexdigest())


def text(rows: Iterable[Row]) -> bytes:
    """The file's bytes."""
    rows = list(rows)
    paid = _yuan(sum(r.amount for r in rows if not r.refund_key))
    back = _yuan(sum(r.amount for r in rows if r.refund_key))
    fees = sum(_fen(r) for r in rows)
    totals = (str(len(rows)), paid, back, "0.00", _yuan(fees) + "000", paid, back)
    return "\r\n".join(["\ufeff" + NAMES, *map(str, rows), SUMMARY, "`" + ",`".join(totals), ""]).encode()


def _fen(row: Row) -> int:
    fee = (row.amount * 60 + 5000) // 10000
    return -fee if row.refund_key else fee


def _fee(row: Row) -> str:
    return _yuan(_fen(row)) + "000"


def _yuan(fen: int) -> str:
    return f"{'-' if fen < 0 else ''}{abs(fen) // 100}.{abs(fen) % 100:02d}"
