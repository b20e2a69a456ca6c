"""What WeChat Pay can do, and by which ways."""

from datetime import time

from guilder.channels.info import Info, Operation, Way
from guilder.core.clock import BEIJING

# A scanned payer is at the till: asked often, given up before he has gone.  Reversing is for these orders alone.
_TILL = {"query_after_s": (3, 6, 11, 16, 26, 36), "max_expiry_s": 45}
_ONLINE = frozenset({Operation.CLOSE, Operation.REFUND, Operation.RESCUE_REFUND})
_SCANNED = _ONLINE | {Operation.CANCEL}
TYPE = "wechat_pay"

INFO = Info(
    code="wechatpay",
    title="WeChat Pay",
    titles={"zh": "微信支付"},
    ways=(
        Way("native", TYPE, "web", "qr", takes=("payer_ip",), operations=_ONLINE),
        Way("jsapi", TYPE, "jsapi", "sdk", needs=("openid",), takes=("payer_ip",), operations=_ONLINE),
        Way("mini", TYPE, "mini", "sdk", needs=("openid",), takes=("payer_ip",), operations=_ONLINE),
        Way("app", TYPE, "app", "sdk", takes=("payer_ip",), operations=_ONLINE),
        Way("h5", TYPE, "wap", "redirect", needs=("payer_ip",), operations=_ONLINE),
        Way(
            "codepay",
            TYPE,
            "barcode",
            "nothing",
            needs=("auth_code",),
            takes=("store_id",),
            operations=_SCANNED,
            scans=r"1[0-5]\d{16}",
            **_TILL,
        ),
    ),
    currencies=frozenset({"CNY"}),
    operations=_SCANNED | {Operation.PAYOUT, Operation.IDENTIFY},
    min_expiry_s=60,
    max_expiry_s=7200,  # a code_url lives for two hours
    zone=BEIJING,
    day_cut=time(0),
    statement_from=time(10),
    query_after_s=(5, 15, 30, 90),
    refund_query_after_s=(10, 60, 600, 3600, 21600, 86400),
    statements=("trades", "funds"),
    payee=("openid", "name?"),
)
