"""The ways of paying at UnionPay, and which product each belongs to: a product has its own address and codes."""

import re
from datetime import datetime, time, timedelta
from typing import NamedTuple

from guilder.channels.info import Info, Operation, Way
from guilder.channels.unionpay.states import read_time, write_time
from guilder.core.clock import BEIJING


class Product(NamedTuple):
    """Where a way is asked for and asked about, and the codes that name it."""

    path: str
    sub_type: str
    biz_type: str
    channel_type: str
    query_path: str = "queryTrans.do"


BACK = "backTransReq.do"
GATEWAY, QR = "000201", "000000"  # the two kinds of business
PRODUCT = {
    "page": Product("frontTransReq.do", "01", GATEWAY, "07"),
    "wap": Product("frontTransReq.do", "01", GATEWAY, "08"),
    "qr": Product(BACK, "07", QR, "08", BACK),
    "barcode": Product(BACK, "06", QR, "08", BACK),
    "app": Product("appTransReq.do", "01", GATEWAY, "08"),
}
BARCODE = PRODUCT["barcode"].sub_type
QUERY_PATH = {GATEWAY: "queryTrans.do", QR: BACK}
MAX_EXPIRY_S = 7200
# The official demo asks about pages after 5, 10, 30, 60 and 120 minutes, about barcodes after 1, 2, 4, 8, 16 and 32 seconds.
INFO = Info(
    code="unionpay",
    title="UnionPay",
    titles={"zh": "银联"},
    names={"unionpay": {"en": "UnionPay", "zh": "云闪付"}},
    ways=(
        Way("page", "unionpay", "web", "form"),
        Way("wap", "unionpay", "wap", "form"),
        Way("qr", "unionpay", "qr", "qr", query_after_s=(5, 15, 30, 60, 120)),
        Way(
            "barcode",
            "unionpay",
            "barcode",
            "nothing",
            needs=("auth_code",),
            takes=("terminal_id",),
            scans=r"62\d{17}",
            query_after_s=(1, 2, 4, 8, 16, 32),
            max_expiry_s=300,
        ),
        Way("app", "unionpay", "app", "sdk"),
    ),
    currencies=frozenset({"CNY"}),
    operations=frozenset({Operation.CANCEL, Operation.REFUND}),  # nothing closes an order but its payTimeout
    min_expiry_s=60,
    max_expiry_s=MAX_EXPIRY_S,
    zone=BEIJING,
    day_cut=time(23),  # the settlement day 18 begins on the 17th at 23:00
    statement_from=time(10),
    query_after_s=(60, 300, 600, 1800, 3600),
    refund_query_after_s=(10, 60, 600, 3600, 21600, 86400),
    extra={"expiry": "an order that was not paid is over when its payTimeout has passed; nothing ends it before"},
)

SETTLES_S = 120  # what was begun before payTimeout may end a little after it
BARCODE_SETTLES_S = 300
_QUERY_ID = re.compile(r"(\d{21})/(\d{6})")


class Memo(NamedTuple):
    """(C7) What later asks must know: of an order its payTimeout, of a payment UnionPay's number and the kind of business."""

    until: datetime | None = None
    query_id: str = ""
    biz_type: str = ""

    @classmethod
    def read(cls, text: str | None) -> "Memo":
        """One that we have not written says nothing."""
        if text and (match := _QUERY_ID.fullmatch(text)):
            return cls(None, match[1], match[2])
        try:
            return cls(read_time(text) if text else None)
        except ValueError:
            return cls()

    @staticmethod
    def of_order(expires_at: datetime) -> str:
        return write_time(expires_at)

    @staticmethod
    def of_payment(query_id: str, biz_type: str) -> str | None:
        return f"{query_id}/{biz_type}" if query_id else None


def over_at(way: str, created_at: datetime, memo: Memo) -> datetime:
    """From when on what has not been paid will not be."""
    if way == "barcode":
        return created_at + timedelta(seconds=BARCODE_SETTLES_S)
    until = memo.until or created_at + timedelta(seconds=MAX_EXPIRY_S)
    return until + timedelta(seconds=SETTLES_S)
