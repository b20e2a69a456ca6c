"""alipay.fund.trans.uni.transfer and what tells of it: money to other people's Alipay.

Accounts that tests may send to: nobody@example.com does not exist; any other takes what it is sent.  With more than a million
yuan at once the merchant's own balance is too low.
"""

import json
from typing import Any

from guilder.simulators import payouts
from guilder.simulators.alipay.asks import Ask, Content, business
from guilder.simulators.alipay.operations import Operations
from guilder.simulators.alipay.told import told
from guilder.simulators.clock import day_of
from guilder.simulators.model import Payout
from guilder.simulators.statements import yuan

_IDENTITIES = ("ALIPAY_USER_ID", "ALIPAY_LOGON_ID", "ALIPAY_OPEN_ID")
_LEAST, _WITH_REMARK, _BALANCE = 10, 50_000_00, 1_000_000_00


def transfer(operations: Operations, ask: Ask) -> Content:
    """Send, or say again what became of it."""
    number, amount = ask.text("out_biz_no", must=True), ask.fen("trans_amount")
    payee = _payee(ask)
    fingerprint = json.dumps([amount, payee, ask.text("remark"), ask.text("order_title")])
    book, desk = operations.desk.book, operations.desk
    payout = book.find_payout(ask.account.id, number)
    if payout is not None:
        if payout.fingerprint != fingerprint:
            raise business("PAYMENT_INFO_INCONSISTENCY", "两次请求商户单号一样，但是参数不一致")
        return told(payout, "trans_date")
    _check(ask, amount, payee)
    now, serial = desk.clock.now(), book.serial()
    payout = Payout(
        account=ask.account.id,
        out_no=number,
        channel=operations.channel.name,
        channel_ref=f"{day_of(now).replace('-', '')}110070000{serial:015d}",
        amount=amount,
        currency="CNY",
        payee=json.dumps(payee, ensure_ascii=False),
        notify_url=ask.notify_url,
        fingerprint=fingerprint,
        created_at=now,
        dials=operations.look("payout", ask)[1],
    )
    payouts.accept(desk, payout)
    return told(payout, "trans_date")


def _payee(ask: Ask) -> dict[str, Any]:
    info = ask.content.get("payee_info")
    payee = {name: value for name, value in info.items() if value} if isinstance(info, dict) else {}
    if payee.get("identity_type") not in _IDENTITIES or not payee.get("identity"):
        raise business("INVALID_PARAMETER", "参数有误：payee_info")
    return payee


def _check(ask: Ask, amount: int, payee: dict[str, Any]) -> None:
    for name, needed in (("product_code", "TRANS_ACCOUNT_NO_PWD"), ("biz_scene", "DIRECT_TRANSFER")):
        if ask.text(name, must=True) != needed:
            raise business("INVALID_PARAMETER", f"参数有误：{name}")
    if amount < _LEAST:
        raise business("EXCEED_LIMIT_SM_MIN_AMOUNT", "请求金额低于单笔最小转账金额")
    if payee["identity_type"] == "ALIPAY_LOGON_ID" and not payee.get("name"):
        raise business("INVALID_PARAMETER", "参数有误：收款方为登录号时必须传入姓名")
    if payee["identity"] == "nobody@example.com":
        raise business("PAYEE_NOT_EXIST", "收款用户不存在")
    if amount >= _WITH_REMARK and not ask.text("remark"):
        raise business("MEMO_REQUIRED_IN_TRANSFER_ERROR", "单笔转账金额达到50000元时，需要填写付款理由")
    if amount > _BALANCE:
        raise business("PAYER_BALANCE_NOT_ENOUGH", "付款方余额不足")


def query(operations: Operations, ask: Ask) -> Content:
    """alipay.fund.trans.common.query."""
    book, number, ref = operations.desk.book, ask.text("out_biz_no"), ask.text("order_id")
    if number:
        for name in ("product_code", "biz_scene"):
            ask.text(name, must=True)
    payout = book.find_payout_by_ref(ask.account.id, ref) if ref else book.find_payout(ask.account.id, number)
    if payout is None:
        raise business("ORDER_NOT_EXIST", "转账订单不存在")
    return told(payout, "pay_date") | {"trans_amount": yuan(payout.amount)}
