"""alipay.trade.pay: the shop has scanned the payer's code.

A code is 16 to 24 digits that begin with 25 to 30; its last four say what the payer's wallet does:

    0000     the code is not valid (any more)
    0003     the payer is asked for a password first: 10003, then the phone decides
    0004     there is not enough money
    others   paid at once
"""

import re

from guilder.simulators import trades
from guilder.simulators.alipay.asks import Ask, Content, business
from guilder.simulators.alipay.operations import Operations
from guilder.simulators.clock import stamp
from guilder.simulators.model import Trade
from guilder.simulators.statements import yuan

_CODE = re.compile(r"(?:2[5-9]|30)\d{14,22}")


def pay(operations: Operations, ask: Ask) -> Content:
    """Take the payer's money, or ask the payer."""
    desk, code = operations.desk, ask.text("auth_code", must=True)
    if ask.text("scene", must=True) not in ("bar_code", "wave_code"):
        raise business("ACQ.INVALID_PARAMETER", "参数无效：scene")
    if operations.find(ask) is None:
        _refuse(code)
    trade = operations.create(ask, "barcode")
    if trade.state == "waiting" and not code.endswith("0003"):
        trades.pay(desk, trade, f"2088{code[2:14]}")
    if trade.state == "declined":
        raise business("ACQ.BUYER_BALANCE_NOT_ENOUGH", "买家余额不足")
    if trade.state == "waiting":
        content = {"code": "10003", "msg": "order success pay inprocess"}
        return content | {"out_trade_no": trade.out_trade_no, "trade_no": trade.channel_ref}
    return _paid(operations, trade)


def _refuse(code: str) -> None:
    """What the wallet refuses leaves no trade behind."""
    if not _CODE.fullmatch(code) or code.endswith("0000"):
        raise business("ACQ.PAYMENT_AUTH_CODE_INVALID", "支付授权码无效")
    if code.endswith("0004"):
        raise business("ACQ.BUYER_BALANCE_NOT_ENOUGH", "买家余额不足")


def _paid(operations: Operations, trade: Trade) -> Content:
    amount = yuan(operations.channel.told_amount(trade))
    return {
        "buyer_logon_id": "pay***@example.com",
        "buyer_pay_amount": amount,
        "buyer_user_id": trade.payer,
        "fund_bill_list": [{"amount": amount, "fund_channel": "ALIPAYACCOUNT"}],
        "gmt_payment": stamp(trade.paid_at),
        "invoice_amount": amount,
        "out_trade_no": trade.out_trade_no,
        "point_amount": "0.00",
        "receipt_amount": amount,
        "total_amount": amount,
        "trade_no": trade.channel_ref,
    }
