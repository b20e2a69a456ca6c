"""The trade bill: a zip with one CSV of rows (业务明细) and one of sums (业务明细(汇总)), names and contents in GBK.

    #支付宝业务明细查询                            comments begin with '#'
    支付宝交易号,商户订单号,业务类型,...              names; columns vary, so they are found by name
    2019...453\\t,service_...\\t,交易\\t,...           many fields end with a TAB; nothing is quoted
    #交易合计：6笔，商家实收共0.06元，商家优惠共0.00元      the control totals
    #退款合计：4笔，商家实收退款共-0.04元，商家优惠退款共0.00元

A refund is a row with negative amounts, the number of the original trade and our number of the refund.  The service fee is
negative when Alipay takes it: here it is turned round.
"""

import hashlib
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from io import BytesIO
from operator import itemgetter
from typing import NamedTuple

from guilder.channels.model import LineKind, Statement, StatementError, StatementLine, StatementProblem, Totals
from guilder.channels.reading import beijing_instant
from guilder.core.amount import Amount, from_major, major

FEE_EXPONENT = 2
MAX_PACKED = 256 << 20
MAX_PLAIN = 1 << 30
_PIECE = 1 << 20
CHARSET = "gb18030"  # GBK with everything that was added since

KIND = {"交易": LineKind.PAYMENT, "退款": LineKind.REFUND}
TITLE, CREATED = "商品名称", "创建时间"
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_MONEY = r"(-?[\d.]+)元"
_FOOTER = {
    LineKind.PAYMENT: re.compile(rf"#交易合计：(\d+)笔，商家实收共{_MONEY}，商家优惠共{_MONEY}"),
    LineKind.REFUND: re.compile(rf"#退款合计：(\d+)笔，商家实收退款共{_MONEY}，商家优惠退款共{_MONEY}"),
}

_units = lru_cache(maxsize=1 << 14)(from_major)  # a day has few distinct amounts
_at = lru_cache(maxsize=1 << 12)(beijing_instant)


@dataclass
class _Sum:
    """What the rows of one kind add up to, as the footers count it, and as we do."""

    rows: int = 0
    received: int = 0
    discount: int = 0
    amount: int = 0
    fee: int = 0


def read_statement(day: date, packed: bytes) -> Statement:
    """Unpack, check counts and sums, and only then hand out the lines.  Raises StatementError."""
    try:
        raw, summary = unpacked(packed, "业务明细")
        sums = _checked(raw)
        if summary is not None:
            _compare_summary(summary, sums)
    except (ValueError, LookupError, StopIteration) as error:
        raise StatementError(StatementProblem.CORRUPT, str(error) or "the file ends too early") from error
    paid, back = sums[LineKind.PAYMENT], sums[LineKind.REFUND]
    return Statement(
        day=day,
        currency="CNY",
        fee_exponent=FEE_EXPONENT,
        totals=Totals(paid.rows, paid.amount, back.rows, back.amount, paid.fee + back.fee),
        raw=raw,
        sha256=hashlib.sha256(raw).hexdigest(),
        lines=_lines(raw),
    )


def unpacked(packed: bytes, name: str) -> tuple[bytes, bytes | None]:
    """The rows and, where it is there, the summary of a bill that has `name` in its entries'.  ValueError otherwise.  Entry names are GBK without the flag that would say so."""
    try:
        with zipfile.ZipFile(BytesIO(packed), metadata_encoding="gbk") as archive:
            entries = {e.filename: e for e in archive.infolist()}
            details = [e for entry, e in entries.items() if entry.endswith(f"{name}.csv")]
            summaries = [e for entry, e in entries.items() if entry.endswith(f"{name}(汇总).csv")]
            if len(details) != 1 or len(summaries) > 1:
                raise ValueError(f"the zip holds {sorted(entries)}")
            if sum(e.file_size for e in (*details, *summaries)) > MAX_PLAIN:
                raise ValueError("the zip unpacks to more than a statement")
            return _inflated(archive, details[0]), _inflated(archive, summaries[0]) if summaries else None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"the zip cannot be read: {error}") from error


def _inflated(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """One entry, piece by piece: read at once it would lie in memory twice."""
    out = BytesIO()
    with archive.open(entry) as packed:
        shutil.copyfileobj(packed, out, _PIECE)
    return out.getvalue()


def records(raw: bytes) -> Iterator[str]:
    """The lines of a file that hold something, one by one."""
    for line in BytesIO(raw):
        text = line.decode(CHARSET).rstrip("\r\n")
        if text:
            yield text


class _Row(NamedTuple):
    """The columns that matter, in the order of COLUMNS."""

    channel_ref: str
    key: str
    type: str
    title: str
    created: str
    ended: str
    order: str
    received: str
    discount: str
    refund_key: str
    fee: str


COLUMNS = (
    "支付宝交易号",
    "商户订单号",
    "业务类型",
    TITLE,
    CREATED,
    "完成时间",
    "订单金额（元）",
    "商家实收（元）",
    "商家优惠（元）",
    "退款批次号/请求号",
    "服务费（元）",
)


class _Table:
    """The names of the columns, and how a row is cut along them."""

    def __init__(self, names: list[str]) -> None:
        self._width = len(names)
        self._pick = itemgetter(*map(names.index, COLUMNS))
        self.title, self.created = names.index(TITLE), names.index(CREATED)
        if len(set(names)) != len(names) or self.created != self.title + 1:
            raise ValueError("the columns are not those of a trade bill")

    @classmethod
    def find(cls, records: Iterator[str]) -> "_Table":
        for text in records:
            if not text.startswith("#"):
                return cls([name.strip() for name in text.split(",")])
        raise ValueError("there is no table")

    def row(self, text: str) -> _Row:
        """A line's fields.  Commas in the title and the closing remark are the shop's: the time after the title, which
        nothing else looks like, shows where it ends."""
        fields = text.split(",")
        if len(fields) > self._width:
            created = next(i for i in range(self.created, len(fields)) if _TIME.fullmatch(fields[i].strip()))
            last = created + self._width - 1 - self.created
            title, remark = ",".join(fields[self.title : created]), ",".join(fields[last:])
            fields = [*fields[: self.title], title, *fields[created:last], remark]
        if len(fields) != self._width:
            raise ValueError(f"a row has {len(fields)} fields, not {self._width}")
        return _Row._make([field.strip() for field in self._pick(fields)])


def _checked(raw: bytes) -> dict[LineKind, _Sum]:
    """What the rows add up to.  ValueError if the footers say otherwise."""
    texts = records(raw)
    table = _Table.find(texts)
    sums = {kind: _Sum() for kind in LineKind}
    footers = []
    for text in texts:
        if text.startswith("#"):
            footers.append(text)
            continue
        if footers:
            raise ValueError("there are rows after the end of the table")
        row = table.row(text)
        line = _line(0, row)  # all of it is read before any of it is handed out
        total = sums[line.kind]
        total.rows += 1
        total.received += _units(row.received, 2)
        total.discount += _units(row.discount, 2)
        total.amount += line.amount.units
        total.fee += line.fee
    for kind, pattern in _FOOTER.items():
        found = [match for match in map(pattern.match, footers) if match]
        if len(found) != 1:
            raise ValueError(f"the file does not end with the totals of each {kind}")
        total = sums[kind]
        said = (int(found[0][1]), _units(found[0][2], 2), _units(found[0][3], 2))
        if said != (total.rows, total.received, total.discount):
            raise ValueError(f"{found[0][0]!r}, and the rows: {total.rows}, {major(total.received, 2)}")
    return sums


def _compare_summary(summary: bytes, sums: dict[LineKind, _Sum]) -> None:
    """Counts and fees, which mean one thing only, against the last row (合计) of the other file."""
    table = [[f.strip() for f in text.split(",")] for text in records(summary) if not text.startswith("#")]
    row = dict(zip(table[0], table[-1], strict=True))
    paid, back = sums[LineKind.PAYMENT], sums[LineKind.REFUND]
    said = (int(row["交易订单总笔数"]), int(row["退款订单总笔数"]), -_units(row["服务费（元）"], 2))
    if said != (paid.rows, back.rows, paid.fee + back.fee):
        raise ValueError(f"the summary counts {said}, the rows {(paid.rows, back.rows, paid.fee + back.fee)}")


def _lines(raw: bytes) -> Iterator[StatementLine]:
    texts = records(raw)
    table = _Table.find(texts)
    rows = (text for text in texts if not text.startswith("#"))
    for number, text in enumerate(rows, 1):
        yield _line(number, table.row(text))


def _line(number: int, row: _Row) -> StatementLine:
    kind = KIND[row.type]
    order = _units(row.order, 2)
    return StatementLine(
        number=number,
        kind=kind,
        key=row.refund_key if kind is LineKind.REFUND else row.key,
        payment_key=row.key,
        channel_ref=row.channel_ref,
        amount=Amount(-order if kind is LineKind.REFUND else order, "CNY"),
        fee=-_units(row.fee, FEE_EXPONENT),
        at=_at(row.ended or row.created),
        status=row.type,
        description=row.title,
    )
