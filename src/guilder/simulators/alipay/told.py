"""What is told of a transfer: in replies, to queries, and by the message that it has ended."""

import json
from typing import Any

from guilder.simulators.clock import stamp
from guilder.simulators.model import Facts, Payout
from guilder.simulators.statements import yuan

_STATUS = {
    "PROCESSING": "DEALING",
    "WAITING": "WAIT_PAY",
    "SUCCESS": "SUCCESS",
    "FAILED": "FAIL",
    "CANCELLED": "CLOSED",
}
_WHY = {"error_code": "PAYEE_ACCOUNT_STATUS_ERROR", "fail_reason": "收款方账号异常"}


def message(payout: Payout, app_id: str, now: int) -> tuple[str, Facts]:
    """alipay.fund.trans.order.changed."""
    content = told(payout, "pay_date") | {"trans_amount": yuan(payout.amount), "action_type": "FINISH"}
    content |= {"product_code": "TRANS_ACCOUNT_NO_PWD", "biz_scene": "DIRECT_TRANSFER"}
    method = "alipay.fund.trans.order.changed"
    params = {"msg_method": method, "app_id": app_id, "version": "1.1", "charset": "UTF-8", "utc_timestamp": str(now)}
    return method, params | {"biz_content": json.dumps(content, ensure_ascii=False)}


def told(payout: Payout, when: str) -> dict[str, Any]:
    """Its state and numbers; `when` is the name under which its time is told."""
    status = _STATUS[payout.state]
    content = {
        "order_id": payout.channel_ref,
        "out_biz_no": payout.out_no,
        "pay_fund_order_id": payout.channel_ref.replace("110070000", "110070001"),
        "status": status,
    }
    if status == "SUCCESS":
        content[when] = stamp(payout.done_at)
    return content | (_WHY if status == "FAIL" else {})
