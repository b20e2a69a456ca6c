"""Every method of the gateway: what the dials call it, what it does, and how its answer goes out."""

from collections.abc import Callable
from typing import NamedTuple

from guilder.simulators.alipay import barcode, transfers, wallet
from guilder.simulators.alipay.asks import Ask, Content
from guilder.simulators.alipay.operations import Operations


class Method(NamedTuple):
    """`form` is how the answer goes out: `node` (signed), `page` (a redirect for a browser), `bare` (signed, and without a code
    when all is well), `open` (not signed: what it brings proves itself)."""

    op: str
    act: Callable[[Operations, Ask], Content]
    form: str = "node"


METHODS = {
    "alipay.trade.page.pay": Method("create", Operations.page, "page"),
    "alipay.trade.wap.pay": Method("create", Operations.page, "page"),
    "alipay.trade.app.pay": Method("create", Operations.page, "page"),
    "alipay.trade.precreate": Method("create", Operations.precreate),
    "alipay.trade.create": Method("create", Operations.made),
    "alipay.trade.pay": Method("create", barcode.pay),
    "alipay.trade.query": Method("query", Operations.query),
    "alipay.trade.close": Method("close", Operations.close),
    "alipay.trade.cancel": Method("cancel", Operations.cancel),
    "alipay.trade.refund": Method("refund", Operations.refund),
    "alipay.trade.fastpay.refund.query": Method("refund_query", Operations.query_refund),
    "alipay.data.dataservice.bill.downloadurl.query": Method("bill", Operations.bill),
    "alipay.fund.trans.uni.transfer": Method("payout", transfers.transfer),
    "alipay.fund.trans.common.query": Method("payout_query", transfers.query),
    "alipay.system.oauth.token": Method("identify", wallet.tell, "bare"),
    "alipay.open.app.alipaycert.download": Method("certificate", wallet.certificate, "open"),
}
