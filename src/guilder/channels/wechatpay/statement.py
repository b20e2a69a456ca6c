"""The trade bill (ALL): a CSV of WeChat Pay's own making.

    <BOM>交易时间,公众账号ID,...                 names, plain
    `2021-01-28 17:07:11,`wx81be...,`...          rows: a backtick before every field, no quoting, commas may stand inside
    总交易单数,应结订单总金额,...                 names of the summary
    `3,`0.03,...

UTF-8 with BOM, CRLF; the hash (SHA-1) covers the uncompressed bytes with all of that.  Columns vary between merchants and
years, so they are found by name.  Amounts are yuan, fees have five decimals.  A refund is a row of its own with positive amounts
and a negative fee; its time is that of the request and its status a snapshot which no later bill corrects.
"""

import hashlib
import zlib
from collections import Counter
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from io import BytesIO
from operator import itemgetter

from guilder.channels.model import LineKind, Statement, StatementError, StatementLine, StatementProblem, Totals
from guilder.channels.reading import beijing_instant
from guilder.core.amount import Amount, from_major, major

FEE_EXPONENT = 5
MAX_PACKED = 256 << 20
MAX_PLAIN = 1 << 30
BOM = b"\xef\xbb\xbf"

KIND = {"SUCCESS": LineKind.PAYMENT, "REFUND": LineKind.REFUND, "REVOKED": LineKind.REFUND}
# Name in the summary -> the column that it sums.  The second half is what merchants of before 2018 may still get.
SUMMED = {
    "应结订单总金额": "应结订单金额",
    "退款总金额": "退款金额",
    "充值券退款总金额": "充值券退款金额",
    "手续费总金额": "手续费",
    "订单总金额": "订单金额",
    "申请退款总金额": "申请退款金额",
    "总交易额": "总金额",
    "总退款金额": "退款金额",
    "总企业红包退款金额": "企业红包退款金额",
}
COUNT = "总交易单数"

# What a line is made of, in the order of `_line`.
LINE = (
    "交易时间",
    "微信订单号",
    "商户订单号",
    "交易状态",
    "货币种类",
    "订单金额",
    "微信退款单号",
    "商户退款单号",
    "申请退款金额",
    "退款状态",
    "商品名称",
    "手续费",
)
FIGURES = ("交易状态", "货币种类", "订单金额", "申请退款金额", "手续费")
FORMERLY = {"订单金额": "总金额", "申请退款金额": "退款金额"}

Record = tuple[bool, list[str]]  # is it a row of data?  and its fields

# A file has few distinct amounts, and many rows in one second.
_units = lru_cache(maxsize=1 << 14)(from_major)
_amount = lru_cache(maxsize=1 << 14)(Amount.from_major)
_at = lru_cache(maxsize=1 << 12)(beijing_instant)


def read_statement(day: date, packed: bytes, sha1: str) -> Statement:
    """Unpack, check the hash, the count and every sum, and only then hand out the lines.  Raises StatementError."""
    raw = _unpacked(packed)
    if hashlib.sha1(raw, usedforsecurity=False).hexdigest() != sha1.lower():
        raise StatementError(StatementProblem.CORRUPT, "the file does not have the hash that WeChat Pay gave")
    try:
        totals, currency = _checked(raw)
    except (ValueError, LookupError, StopIteration) as error:
        raise StatementError(StatementProblem.CORRUPT, str(error) or "the file ends too early") from error
    return Statement(
        day=day,
        currency=currency,
        fee_exponent=FEE_EXPONENT,
        totals=totals,
        raw=raw,
        sha256=hashlib.sha256(raw).hexdigest(),
        lines=_lines(raw),
    )


def _unpacked(packed: bytes) -> bytes:
    if not packed.startswith(b"\x1f\x8b"):
        return packed  # an HTTP client may have unpacked it; the hash tells
    unpacking = zlib.decompressobj(wbits=31)
    try:
        raw = unpacking.decompress(packed, MAX_PLAIN)
    except zlib.error as error:
        raise StatementError(StatementProblem.CORRUPT, f"the file does not unpack: {error}") from error
    if not unpacking.eof or unpacking.unused_data:
        raise StatementError(StatementProblem.CORRUPT, "the file is cut off, or more than a file")
    return raw


def _records(raw: bytes) -> Iterator[Record]:
    lines = BytesIO(raw)
    lines.seek(len(BOM) if raw.startswith(BOM) else 0)
    for line in lines:
        text = line.rstrip(b"\r\n").decode()
        if text.startswith("`"):
            yield True, text[1:].split(",`")
        elif text:
            yield False, text.split(",")


def _checked(raw: bytes) -> tuple[Totals, str]:
    """The control totals and the currency.  ValueError if the summary says otherwise than the rows."""
    records = _records(raw)
    names = _names(records)
    summed = {total: column for total, column in SUMMED.items() if column in names}
    _places(names, LINE)  # all that a line needs is there
    pick = itemgetter(*_places(names, (*FIGURES, *summed.values())))
    alike: Counter[tuple[str, ...]] = Counter()  # most rows are like many others in all that is summed
    is_data, fields = next(records)
    while is_data:
        if len(fields) != len(names):
            raise ValueError(f"row {alike.total() + 1} has {len(fields)} fields, not {len(names)}")
        alike[pick(fields)] += 1
        is_data, fields = next(records)
    is_data, values = next(records)
    if not is_data or len(values) != len(fields) or next(records, None) is not None:
        raise ValueError("the file does not end with one summary")
    sums = dict.fromkeys(summed, 0)
    for row, times in alike.items():
        for total, text in zip(summed, row[len(FIGURES) :], strict=True):
            sums[total] += times * _units(text, FEE_EXPONENT)
    _compare(dict(zip(fields, values, strict=True)), sums, alike.total())
    return _totals(alike)


def _compare(summary: dict[str, str], sums: dict[str, int], rows: int) -> None:
    if int(summary[COUNT]) != rows:
        raise ValueError(f"the summary counts {summary[COUNT]} rows, there are {rows}")
    said = {name: _units(text, FEE_EXPONENT) for name, text in summary.items() if name in sums}
    if "手续费总金额" not in said or not said.keys() & {"订单总金额", "总交易额"}:
        raise ValueError("the summary leaves out the order amounts or the fees")
    for name, units in said.items():
        if units != sums[name]:
            raise ValueError(
                f"{name} is {summary[name]} in the summary, and {major(sums[name], FEE_EXPONENT)} by the rows"
            )


def _totals(alike: Counter[tuple[str, ...]]) -> tuple[Totals, str]:
    payments = paid = refunds = refunded = fees = 0
    currencies = set()
    for (status, currency, order, refund, fee, *_), times in alike.items():
        if KIND[status] is LineKind.PAYMENT:
            payments += times
            paid += times * _units(order, 2)
        else:
            refunds += times
            refunded += times * _units(refund, 2)
        fees += times * _units(fee, FEE_EXPONENT)
        currencies.add(currency)
    if len(currencies) > 1:
        raise ValueError("the file has more than one currency")
    return Totals(payments, paid, refunds, refunded, fees), currencies.pop() if currencies else "CNY"


def _names(records: Iterator[Record]) -> list[str]:
    is_data, names = next(records)
    if is_data or len(set(names)) != len(names):
        raise ValueError("the file does not begin with the names of its columns")
    return names


def _places(names: list[str], wanted: tuple[str, ...]) -> list[int]:
    return [names.index(name if name in names else FORMERLY.get(name, name)) for name in wanted]


def _lines(raw: bytes) -> Iterator[StatementLine]:
    records = _records(raw)
    pick = itemgetter(*_places(_names(records), LINE))
    for number, (is_data, fields) in enumerate(records, 1):
        if not is_data:
            return
        try:
            yield _line(number, pick(fields))
        except (ValueError, LookupError) as error:
            raise StatementError(StatementProblem.CORRUPT, f"row {number}: {error}") from error


def _line(number: int, row: tuple[str, ...]) -> StatementLine:
    (
        at,
        channel_ref,
        payment_key,
        status,
        currency,
        order,
        refund_ref,
        refund_key,
        refund,
        refund_status,
        description,
        fee,
    ) = row
    kind = KIND[status]
    is_refund = kind is LineKind.REFUND
    named = is_refund and refund_key not in ("", "0")
    return StatementLine(
        number=number,
        kind=kind,
        key=refund_key if named else payment_key,
        payment_key=payment_key,
        channel_ref=refund_ref if named else channel_ref,
        amount=_amount(refund if is_refund else order, currency),
        fee=_units(fee, FEE_EXPONENT),
        at=_at(at),
        status=refund_status if is_refund and refund_status else status,
        description=description,
    )
