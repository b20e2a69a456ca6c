"""The account bill (signcustomer): how the seller's balance moved, a zip like that of the trade bill.

    #支付宝账务明细查询
    账务流水号,业务流水号,商户订单号,商品名称,发生时间,对方账号,收入金额（+元）,支出金额（-元）,账户余额（元）,交易渠道,业务类型,备注
    54632446537371\\t,2012122923922029\\t,3226563\\t,海航机票\\t,2012-12-29 21:02:06,...\\t,2274.00,0.00,14533.03,支付宝,在线支付,
    #支出合计：0笔，共0.00元                                  the control totals, perhaps with commas behind
    #收入合计：18笔，共14989.00元

Columns and their order vary by account, and so does the width of the brackets in their names.  Either amount may be empty; what
went out is written with a minus by some.  Rows come oldest first or newest first.  Where the balance is told, each row's must be
the one that another left: then opening + rows = closing, whatever their order.

A line's amount is what the balance changed by.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from guilder.channels.alipay.statement import FEE_EXPONENT, records, unpacked
from guilder.channels.model import LineKind, Statement, StatementError, StatementLine, StatementProblem, Totals
from guilder.channels.reading import beijing_instant
from guilder.core.amount import Amount, from_major, major

# 业务类型.  What is not here is `other`, and its word stays in the line's status.
KIND = {
    "在线支付": LineKind.PAYMENT,
    "交易付款": LineKind.PAYMENT,
    "交易退款": LineKind.REFUND,
    "退款": LineKind.REFUND,
    "转账": LineKind.PAYOUT,
    "收费": LineKind.FEE,
}
_BRACKETS = str.maketrans("（）", "()")
_REQUIRED = ("账务流水号", "业务流水号", "商户订单号", "发生时间", "收入金额(+元)", "支出金额(-元)")
_OPTIONAL = ("业务类型", "商品名称", "账户余额(元)")
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_FOOTER = {word: re.compile(rf"#{word}合计：(\d+)笔，共(-?[\d.]+)元,*") for word in ("收入", "支出")}
_SUMMARY = ("收入笔数", "收入金额(+元)", "支出笔数", "支出金额(-元)")

_units = lru_cache(maxsize=1 << 14)(from_major)
_at = lru_cache(maxsize=1 << 12)(beijing_instant)


class _Row(NamedTuple):
    """The columns that matter; '' where the file has no such column."""

    number: str
    ref: str
    key: str
    time: str
    income: str
    expense: str
    type: str
    title: str
    balance: str

    @property
    def came(self) -> int:
        return _units(self.income, 2) if self.income else 0

    @property
    def left(self) -> int:
        return abs(_units(self.expense, 2)) if self.expense else 0


@dataclass
class _Sums:
    """What the rows add up to, as the footers count it (rows that came in, rows that went out), and as we do."""

    came: int = 0
    came_rows: int = 0
    left: int = 0
    left_rows: int = 0

    def add(self, row: _Row) -> None:
        came, left = row.came, row.left
        if came < 0 or (came and left):
            raise ValueError(f"row {row.number} moves money both ways")
        self.came += came
        self.came_rows += bool(came)
        self.left += left
        self.left_rows += bool(left)

    @property
    def said(self) -> tuple[int, int, int, int]:
        return self.came_rows, self.came, self.left_rows, self.left


class _Chain:
    """Whether the balances follow from each other: what one row left, another found, but for the first and the last."""

    def __init__(self) -> None:
        self._loose: dict[int, int] = {}  # balance -> found so often less left so often; near each other they cancel
        self._told = True
        self._earliest = ("9999", 0)

    def add(self, row: _Row) -> None:
        self._told = self._told and bool(row.balance)
        if self._told:
            left = _units(row.balance, 2)
            found = left - row.came + row.left
            self._count(found, 1)
            self._count(left, -1)
            self._earliest = min(self._earliest, (row.time, found))

    def _count(self, balance: int, by: int) -> None:
        if times := self._loose.pop(balance, 0) + by:
            self._loose[balance] = times

    def ends(self) -> tuple[int, int] | None:
        """The balance before all rows and after them; None where it is not told.  ValueError if there is no such chain."""
        if not self._told or self._earliest[0] == "9999":
            return None
        first = [balance for balance, n in self._loose.items() for _ in range(n)]
        last = [balance for balance, n in self._loose.items() for _ in range(-n)]
        if len(first) > 1:
            loose = ", ".join(major(balance, 2) for balance in sorted(first)[:4])
            raise ValueError(f"the balances do not follow from each other: {loose}")
        return (first[0], last[0]) if first else (self._earliest[1], self._earliest[1])


def read_funds(day: date, packed: bytes) -> Statement:
    """Unpack, check counts, sums and balances, and only then hand out the lines.  Raises StatementError."""
    try:
        raw, summary = unpacked(packed, "账务明细")
        totals, ends = _checked(raw, summary)
    except (ValueError, LookupError, StopIteration) as error:
        raise StatementError(StatementProblem.CORRUPT, str(error) or "the file ends too early") from error
    opening, closing = (Amount(balance, "CNY") for balance in ends) if ends else (None, None)
    return Statement(
        day=day,
        currency="CNY",
        fee_exponent=FEE_EXPONENT,
        totals=totals,
        raw=raw,
        sha256=hashlib.sha256(raw).hexdigest(),
        lines=_lines(raw),
        opening=opening,
        closing=closing,
    )


class _Table:
    """Where the columns are, and how a row is cut along them."""

    def __init__(self, text: str) -> None:
        names = [name.strip().translate(_BRACKETS) for name in text.split(",")]
        while names and not names[-1]:
            names.pop()
        if len(set(names)) != len(names):
            raise ValueError("a column stands twice")
        self._width = len(names)
        self._spare = len(names)  # an empty field behind the row, for columns that are not there
        where = [names.index(name) for name in _REQUIRED]
        where += [names.index(name) if name in names else self._spare for name in _OPTIONAL]
        self._pick = itemgetter(*where)
        self._time = where[3]
        self._title = where[7]

    @classmethod
    def find(cls, lines: Iterator[str]) -> "_Table":
        for text in lines:
            if not text.startswith("#"):
                return cls(text)
        raise ValueError("there is no table")

    def row(self, text: str) -> _Row:
        """A line's fields.  Commas in the title are the shop's where the time stands behind it; elsewhere in the last column."""
        fields = [field.strip() for field in text.split(",")]
        surplus = len(fields) - self._width
        if surplus > 0 and self._title < self._time:
            time = next((i for i in range(self._time, len(fields)) if _TIME.fullmatch(fields[i])), None)
            if time is None:
                raise ValueError("a row without a time")
            shift = time - self._time
            fields[self._title : self._title + shift + 1] = [",".join(fields[self._title : self._title + shift + 1])]
            surplus -= shift
        while surplus > 0 and not fields[-1]:
            fields.pop()
            surplus -= 1
        if surplus > 0:
            fields[self._width - 1 :] = [",".join(fields[self._width - 1 :])]
        if len(fields) != self._width:
            raise ValueError(f"a row has {len(fields)} fields, not {self._width}")
        return _Row._make(self._pick([*fields, ""]))


def _rows(raw: bytes, footers: list[str]) -> Iterator[_Row]:
    """The rows, and into `footers` what stands behind them."""
    lines = records(raw)
    table = _Table.find(lines)
    for text in lines:
        if text.startswith("#"):
            footers.append(text)
        elif footers:
            raise ValueError("there are rows after the end of the table")
        else:
            yield table.row(text)


def _checked(raw: bytes, summary: bytes | None) -> tuple[Totals, tuple[int, int] | None]:
    """What the rows add up to, and the balances around them.  ValueError if footers, summary or balances say otherwise."""
    footers: list[str] = []
    sums, chain = _Sums(), _Chain()
    count: Counter[LineKind] = Counter()
    units: Counter[LineKind] = Counter()
    for row in _rows(raw, footers):
        sums.add(row)
        chain.add(row)
        line = _line(0, row)  # all of it is read before any of it is handed out
        count[line.kind] += 1
        units[line.kind] += line.amount.units
    said = (*_footer(footers, "收入"), *_footer(footers, "支出"))
    if said != sums.said:
        raise ValueError(f"the file's own totals say {said}, its rows {sums.said}")
    if summary is not None:
        _compare_summary(summary, sums)
    payment, refund = LineKind.PAYMENT, LineKind.REFUND
    totals = Totals(count[payment], units[payment], count[refund], -units[refund], -units[LineKind.FEE])
    return totals, chain.ends()


def _footer(footers: Iterable[str], word: str) -> tuple[int, int]:
    found = [match for match in map(_FOOTER[word].fullmatch, footers) if match]
    if len(found) != 1:
        raise ValueError(f"the file does not end with the totals of {word}")
    return int(found[0][1]), abs(_units(found[0][2], 2))


def _compare_summary(summary: bytes, sums: _Sums) -> None:
    """The last row (合计) of the other file."""
    table = [[f.strip() for f in text.split(",")] for text in records(summary) if not text.startswith("#")]
    row = dict(zip((name.translate(_BRACKETS) for name in table[0]), table[-1], strict=True))
    came_rows, came, left_rows, left = (row[name] for name in _SUMMARY)
    said = (int(came_rows), _units(came, 2), int(left_rows), abs(_units(left, 2)))
    if said != sums.said:
        raise ValueError(f"the summary says {said}, the rows {sums.said}")


def _lines(raw: bytes) -> Iterator[StatementLine]:
    for number, row in enumerate(_rows(raw, []), 1):
        yield _line(number, row)


def _line(number: int, row: _Row) -> StatementLine:
    kind = KIND.get(row.type, LineKind.OTHER)
    moved = row.came - row.left
    if kind is LineKind.PAYOUT and moved >= 0:
        kind = LineKind.OTHER  # somebody sent us something
    return StatementLine(
        number=number,
        kind=kind,
        key=row.key,
        payment_key=row.key if kind in (LineKind.PAYMENT, LineKind.REFUND, LineKind.FEE) else "",
        channel_ref=row.ref or row.number,
        amount=Amount(moved, "CNY"),
        fee=0,
        at=_at(row.time),
        status=row.type,
        description=row.title,
    )
