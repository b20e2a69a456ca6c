"""Files of a day as channels hand them out, of any size, made from what they document; and what reads each, ours and the library alone.

Nothing here is shared with the simulators or the adapters: a file that only its own maker can read proves nothing.  Names hold what real ones
hold: commas, Chinese, tabs.
"""

import csv
import gzip
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from datetime import datetime as at
from struct import Struct

from guilder.channels.alipay.statement import read_statement as read_alipay
from guilder.channels.model import Statement
from guilder.channels.paypal.settlement import read_report as read_paypal
from guilder.channels.stripe.statement import read_statement as read_stripe
from guilder.channels.unionpay.statement import read_statement as read_unionpay
from guilder.channels.wechatpay.statement import read_statement as read_wechat

DAY = date(2026, 6, 1)


@dataclass(frozen=True)
class Sample:
    """A format: how a file of so many lines is made, how we read it, and the library's own pass over it (how many rows it saw)."""

    title: str
    library: str
    make: Callable[[int], bytes]
    read: Callable[[bytes], Statement]
    bound: Callable[[bytes], int]


def _moments(n: int) -> Iterator[at]:
    """So many instants over one day."""
    first = at(2026, 6, 1, tzinfo=UTC)
    for i in range(n):
        yield first + timedelta(seconds=86_000 * i // n)


def _key(i: int) -> str:
    return f"{i:032d}"


# ------------------------------------------------------------------------------------------------ WeChat Pay

_WECHAT_HEAD = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,"
    "微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
)
_WECHAT_SUMMARY = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"


def _wechat(lines: int) -> bytes:
    """gzip of UTF-8 with BOM and CRLF; nine tenths paid, one tenth given back."""
    out = io.BytesIO()
    paid = back = 0
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) as file:
        file.write(b"\xef\xbb\xbf" + _WECHAT_HEAD.encode() + b"\r\n")
        for i, when in enumerate(_moments(lines)):
            units = 100 + i % 5000
            common = f"`{when:%Y-%m-%d %H:%M:%S},`wx81be3101902f7cb2,`1601959334,`0,`,`42000009252021{i:014d},`{_key(i)},`ofyak5{i:022d},`NATIVE"
            if i % 10:
                paid += units
                row = f"{common},`SUCCESS,`OTHERS,`CNY,`{units / 100:.2f},`0.00,`0,`0,`0.00,`0.00,`,`,`绿茶, 两杯,`,`0.00000,`0.60%,`{units / 100:.2f},`0.00,`"
            else:
                back += units
                row = (
                    f"{common},`REFUND,`OTHERS,`CNY,`0.00,`0.00,`50000{i:024d},`r{_key(i)[1:]},`{units / 100:.2f},`0.00,`ORIGINAL,`SUCCESS,`绿茶,`,"
                    f"`0.00000,`0.60%,`0.00,`{units / 100:.2f},`"
                )
            file.write(row.encode() + b"\r\n")
        sums = f"`{lines},`{paid / 100:.2f},`{back / 100:.2f},`0.00,`0.00000,`{paid / 100:.2f},`{back / 100:.2f}"
        file.write(f"{_WECHAT_SUMMARY}\r\n{sums}\r\n".encode())
    return out.getvalue()


def _sha1(packed: bytes) -> str:
    digest = hashlib.sha1(usedforsecurity=False)
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _wechat_bound(packed: bytes) -> int:
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        return sum(len(line.split(b",`")) == 27 for line in file)


# ------------------------------------------------------------------------------------------------ Alipay

_ALIPAY_HEAD = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,商家实收（元）,支付宝红包（元）,"
    "集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注"
)


def _alipay(lines: int) -> bytes:
    """A zip whose names and contents are GBK, as bytes: the zip library would say UTF-8."""
    body = io.BytesIO()
    body.write("#支付宝业务明细查询\r\n#账号：[20880211096256330156]\r\n".encode("gbk"))
    body.write(
        "#-----------------------------------------业务明细列表----------------------------------------\r\n".encode(
            "gbk"
        )
    )
    body.write(_ALIPAY_HEAD.encode("gbk") + b"\r\n")
    rows = [0, 0]
    sums = [0, 0]
    for i, when in enumerate(_moments(lines)):
        units, back = 100 + i % 5000, i % 10 == 0
        rows[back] += 1
        sums[back] += -units if back else units
        money, request = f"{'-' if back else ''}{units / 100:.2f}", f"r{_key(i)[1:]}" if back else ""
        body.write(
            f"20260601220014{i:014d}\t,{_key(i)}\t,{'退款' if back else '交易'}\t,绿茶两杯,{when:%Y-%m-%d %H:%M:%S},{when:%Y-%m-%d %H:%M:%S},"
            f",\t,\t,\t,138****0000\t,{money},{money},0.00,0.00,0.00,0.00,0.00,,0.00\t,0.00,{request}\t,0.00,0.00,\r\n".encode(
                "gbk"
            )
        )
    body.write(
        "#-----------------------------------------业务明细列表结束------------------------------------\r\n".encode(
            "gbk"
        )
    )
    body.write(f"#交易合计：{rows[0]}笔，商家实收共{sums[0] / 100:.2f}元，商家优惠共0.00元\r\n".encode("gbk"))
    body.write(f"#退款合计：{rows[1]}笔，商家实收退款共{sums[1] / 100:.2f}元，商家优惠退款共0.00元\r\n".encode("gbk"))
    body.write("#导出时间：[2026年06月02日 05:46:49]\r\n".encode("gbk"))
    return _zipped({"2088021109625633_20260601_业务明细.csv": body.getbuffer()})


class _GbkName(zipfile.ZipInfo):
    """An entry whose name goes out as GBK, without the flag that would say what it is."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.filename.encode("gbk"), self.flag_bits & ~0x800


def _zipped(files: dict[str, memoryview]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in files.items():
            entry = _GbkName(name, (2026, 6, 2, 5, 46, 48))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, bytes(content), compresslevel=1)
    return out.getvalue()


def _opened(packed: bytes) -> io.BufferedIOBase:
    archive = zipfile.ZipFile(io.BytesIO(packed))
    return io.BufferedReader(archive.open(archive.infolist()[0]), 1 << 17)  # type: ignore[type-var]


def _alipay_bound(packed: bytes) -> int:
    return sum(len(row) == 25 for row in csv.reader(io.TextIOWrapper(_opened(packed), "gb18030")))


# ------------------------------------------------------------------------------------------------ UnionPay

_ZM = (3, 11, 11, 6, 10, 19, 12, 4, 2, 21, 2, 32, 2, 6, 10, 13, 13, 4, 15, 2, 2, 6, 2, 4, 32, 1, 21, 15, 1, 15, 32, 13, 13, 8, 32, 13, 13, 12, 2, 1, 32, 98)  # fmt: skip


def _unionpay(lines: int) -> bytes:
    """ZM: fixed width in bytes of GBK, one blank between columns."""
    body, none = io.BytesIO(), " 000000000000"
    for i, when in enumerate(_moments(lines)):
        units, back = 100 + i % 5000, i % 10 == 0
        cells = {
            1: "S56" if back else "S22", 2: "48022901", 3: "00040000", 4: f"{i % 1_000_000:06d}", 5: f"{when:%m%d%H%M%S}", 6: "621626*********0018",
            7: f"{units:012d}", 8: "4900", 9: "07", 10: f"{i:021d}", 11: "05", 12: f"r{_key(i)[1:]}" if back else _key(i), 13: "01", 16: " " + "0" * 12,
            17: f"{'D' if back else 'C'}{units:012d}", 18: "0201", 20: "04" if back else "01", 22: "000201", 28: "777290058110097", 30: "0" * 15,
            32: none, 33: none, 34: "01080209", 35: _key(i - 1) if back else "绿茶两杯", 36: none, 37: none, 38: " 00000000000", 40: "7",
        }  # fmt: skip
        if back:
            cells |= {27: f"{i - 1:021d}", 41: _key(i - 1)}
        body.write(b" ".join(cells.get(n, "").encode("gbk").ljust(w) for n, w in enumerate(_ZM, 1)) + b"\r\n")
    return _zipped(
        {"INN26060188ZM_777290058110097": body.getbuffer(), "INN26060188ZME_777290058110097": memoryview(b"")}
    )


def _unionpay_bound(packed: bytes) -> int:
    cut = Struct("x".join(f"{w}s" for w in _ZM))
    return sum(len(cut.unpack_from(line)) == len(_ZM) for line in _opened(packed))


# ------------------------------------------------------------------------------------------------ Stripe

_STRIPE_HEAD = (
    "balance_transaction_id,created_utc,currency,gross,fee,net,reporting_category,source_id,description,customer_facing_amount,customer_facing_currency,"
    "charge_id,payment_intent_id,payment_metadata[guilder_key],refund_metadata[guilder_key]"
)


def _stripe(lines: int) -> bytes:
    body = io.BytesIO()
    body.write(_STRIPE_HEAD.encode() + b"\n")
    for i, when in enumerate(_moments(lines)):
        units, back = 100 + i % 5000, i % 10 == 0
        sign, fee = "-" if back else "", "0.00" if back else "0.30"
        net = f"-{units / 100:.2f}" if back else f"{(units - 30) / 100:.2f}"
        kind, source = ("refund", f"re_{i:024d}") if back else ("charge", f"ch_{i:024d}")
        body.write(
            f'txn_{i:024d},{when:%Y-%m-%d %H:%M:%S},cny,{sign}{units / 100:.2f},{fee},{net},{kind},{source},"两杯茶, ""大""",{sign}{units / 100:.2f},cny,'
            f"ch_{i:024d},pi_{i:024d},{_key(i)},{('r' + _key(i)[1:]) if back else ''}\n".encode()
        )
    return body.getvalue()


def _csv_bound(raw: bytes) -> int:
    return sum(1 for _ in csv.reader(io.TextIOWrapper(io.BytesIO(raw), "utf-8-sig", newline=""))) - 1


# ------------------------------------------------------------------------------------------------ PayPal

_PAYPAL_HEAD = (
    "Transaction ID", "Invoice ID", "PayPal Reference ID", "PayPal Reference ID Type", "Transaction Event Code", "Transaction Initiation Date",
    "Transaction Completion Date", "Transaction Debit or Credit", "Gross Transaction Amount", "Gross Transaction Currency", "Fee Debit or Credit",
    "Fee Amount", "Fee Currency", "Custom Field", "Consumer ID", "Payment Tracking ID", "Store ID", "Bank Reference ID", "Credit Transactional Fee",
    "Credit Promotional Fee", "Credit Term",
)  # fmt: skip


def _paypal(lines: int) -> bytes:
    body = io.BytesIO()
    day = "2026/06/01 00:00:00 +0000,2026/06/01 23:59:59 +0000"
    head = ",".join(f'"{name}"' for name in ("CH", *_PAYPAL_HEAD))
    body.write(
        f'\ufeff"RH",2026/06/02 02:44:19 +0000,"A","MERCHANT",009,\r\n"FH",01\r\n"SH",{day},"MERCHANT",""\r\n{head}\r\n'.encode()
    )
    credit = debit = fees = 0
    for i, when in enumerate(_moments(lines)):
        units, back = 100 + i % 5000, i % 10 == 0
        moment = f"{when:%Y/%m/%d %H:%M:%S} +0000"
        if back:
            debit += units
            money, code = f'"DR",{units},"USD","",,""', "T1107"
        else:
            credit, fees = credit + units, fees + 30
            money, code = f'"CR",{units},"USD","DR",30,"USD"', "T0006"
        body.write(
            f'"SB","{i:017d}","{_key(i)}","","","{code}",{moment},{moment},{money},"{_key(i)}","","","","",,,""\r\n'.encode()
        )
    sums = f'"USD",{credit},{debit},0,{fees},"USD",0,0,0,0'
    body.write(f'"SF",{sums}\r\n"SC",{lines}\r\n"RF",{sums}\r\n"RC",{lines}\r\n"FF",{lines}\r\n'.encode())
    return body.getvalue()


SAMPLES: dict[str, Sample] = {
    "wechatpay": Sample(
        "WeChat Pay, trade bill, gzip",
        "bytes.split",
        _wechat,
        lambda packed: read_wechat(DAY, packed, _sha1(packed)),
        _wechat_bound,
    ),
    "alipay": Sample(
        "Alipay, 业务明细, zip of GBK", "csv", _alipay, lambda packed: read_alipay(DAY, packed), _alipay_bound
    ),
    "unionpay": Sample(
        "UnionPay, ZM, zip of GBK", "struct", _unionpay, lambda packed: read_unionpay(DAY, packed), _unionpay_bound
    ),
    "stripe": Sample(
        "Stripe, itemised report, CSV",
        "csv",
        _stripe,
        lambda packed: read_stripe(DAY, packed, len(packed), "CNY"),
        _csv_bound,
    ),
    "paypal": Sample(
        "PayPal, settlement report, CSV",
        "csv",
        _paypal,
        lambda packed: read_paypal(DAY, packed, "MERCHANT", "USD"),
        _csv_bound,
    ),
}
