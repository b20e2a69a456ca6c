"""The trade bill (ALL): a CSV of WeChat Pay's own making (`files`), whose summary sums what its rows say.

Columns vary between merchants and years, so they are found by name.  Amounts are yuan, fees have five decimals.  A refund is a row of
its own with positive amounts and a negative fee; its time is that of the request and its status a snapshot which no later bill
corrects.  A barcode order that was reversed is REVOKED, and has no refund number of ours.  In partner mode 特约商户号 is the merchant.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from operator import itemgetter

from guilder.channels.model import LineKind, Statement, StatementError, StatementLine, StatementProblem, Totals
from guilder.channels.reading import Packed, beijing_instant
from guilder.channels.wechatpay.files import names as names_of
from guilder.channels.wechatpay.files import opened, records
from guilder.core.amount import Amount, from_major, major

FEE_EXPONENT = 5

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

# A file has few distinct amounts, and many rows in one second.
_units = lru_cache(maxsize=1 << 14)(from_major)
_amount = lru_cache(maxsize=1 << 14)(Amount.from_major)
_at = lru_cache(maxsize=1 << 12)(beijing_instant)


def read_statement(day: date, packed: bytes, sha1: str) -> Statement:
    """Unpack, check the hash, the count and every sum, and only then hand out the lines.  Raises StatementError."""
    raw, sha256 = opened(packed, sha1)
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
        sha256=sha256,
        lines=_lines(raw),
    )


def _checked(raw: bytes | Packed) -> tuple[Totals, str]:
    """The control totals and the currency.  ValueError if the summary says otherwise than the rows."""
    rows = records(raw)
    names = names_of(rows)
    summed = {total: column for total, column in SUMMED.items() if column in names}
    _places(names, LINE)  # all that a line needs is there
    pick = itemgetter(*_places(names, (*FIGURES, *summed.values())))
    alike: Counter[tuple[str, ...]] = Counter()  # most rows are like many others in all that is summed
    is_data, fields = next(rows)
    while is_data:
        if len(fields) != len(names):
            raise ValueError(f"row {alike.total() + 1} has {len(fields)} fields, not {len(names)}")
        alike[pick(fields)] += 1
        is_data, fields = next(rows)
    is_data, values = next(rows)
    if not is_data or len(values) != len(fields) or next(rows, None) is not None:
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


def _places(names: list[str], wanted: tuple[str, ...]) -> list[int]:
    return [names.index(name if name in names else FORMERLY.get(name, name)) for name in wanted]


def _lines(raw: bytes | Packed) -> Iterator[StatementLine]:
    rows = records(raw)
    pick = itemgetter(*_places(names_of(rows), LINE))
    for number, (is_data, fields) in enumerate(rows, 1):
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
