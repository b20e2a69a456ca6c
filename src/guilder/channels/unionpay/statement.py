"""The files of a settlement day: a zip of ZM (trades) and ZME (errors and complaints), one record a line, columns counted in bytes of GBK.

There are no totals to compare with, so each payment is held to its own arithmetic: what is settled is the amount less the fee.  Of ZME only the
widths are public; its amounts are told as they stand there, for a person to look at.  A row names no year: it is the one that brings its
date nearest to the day.  The zip is kept as it came, and read as a stream each time: a million rows are six hundred megabytes.
"""

import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from operator import itemgetter
from struct import Struct

from guilder.channels.model import LineKind, Statement, StatementError, StatementLine, StatementProblem, Totals
from guilder.core.amount import Amount
from guilder.core.clock import BEIJING

CHARSET = "gbk"
FEE_EXPONENT = 2
MAX_PACKED = 150 << 20
MAX_PLAIN = 2 << 30
# fmt: off
ZM = (3, 11, 11, 6, 10, 19, 12, 4, 2, 21, 2, 32, 2, 6, 10, 13, 13, 4, 15, 2, 2, 6, 2, 4, 32, 1, 21, 15, 1, 15, 32, 13, 13, 8, 32, 13, 13, 12,
      2, 1, 32)  # and a rest of 98 or 99 without a meaning
ZME = (3, 11, 11, 6, 10, 19, 12, 4, 2, 2, 6, 10, 4, 12, 13, 13, 15, 15, 1, 12, 2)
# fmt: on
# Columns, counted from 1: code, time, amount, queryId, order, fee, settled, type, description, discount, original order.
ZM_READ = (1, 5, 7, 10, 12, 16, 17, 20, 35, 36, 41)
# Code, trace number, time, amount, and the fee if it stands where ZM has it: before the settled amount.
ZME_READ = (1, 4, 5, 7, 15)
KIND = {b"01": LineKind.PAYMENT, b"04": LineKind.REFUND, b"31": LineKind.REFUND}
_NAME = re.compile(r"INN\d{8}(ZME?)_")
_OUR_KEY = re.compile(rb"[0-9A-Za-z]{8,32}")
_SIGNED = re.compile(rb"[CD ]\d{12}")
_NOTHING = re.compile(rb"[CD ]?0* *")


class _Layout:
    """Cuts a record into the columns that are read, and sees that columns stand where they should."""

    def __init__(self, widths: Sequence[int], read: Sequence[int]) -> None:
        self._cut = Struct("x".join(f"{w}{'s' if n in read else 'x'}" for n, w in enumerate(widths, 1)))
        gaps = [sum(widths[:n]) + n - 1 for n in range(1, len(widths))]
        self._gaps = itemgetter(*gaps)
        self._blank = (0x20,) * len(gaps)

    def fields(self, record: bytes) -> tuple[bytes, ...]:
        """ValueError if it is too short, or shifted."""
        if len(record) < self._cut.size or self._gaps(record) != self._blank:
            raise ValueError("a record is too short, or its columns do not stand where they should")
        return self._cut.unpack_from(record)


_LAYOUT = {"ZM": _Layout(ZM, ZM_READ), "ZME": _Layout(ZME, ZME_READ)}


@dataclass
class _Sum:
    rows: int = 0
    amount: int = 0
    fee: int = 0


def read_statement(day: date, packed: bytes) -> Statement:
    """Read all of it once, and only then hand out the lines.  Raises StatementError."""
    sums = {kind: _Sum() for kind in LineKind}
    try:
        for line in _lines(day, packed):
            total = sums[line.kind]
            total.rows += 1
            total.amount += line.amount.units
            total.fee += line.fee
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise StatementError(StatementProblem.CORRUPT, str(error) or "the file ends too early") from error
    paid, back = sums[LineKind.PAYMENT], sums[LineKind.REFUND]
    return Statement(
        day=day,
        currency="CNY",
        fee_exponent=FEE_EXPONENT,
        totals=Totals(paid.rows, paid.amount, back.rows, back.amount, sum(each.fee for each in sums.values())),
        raw=packed,
        sha256=hashlib.sha256(packed).hexdigest(),
        lines=_lines(day, packed),
    )


def _lines(day: date, packed: bytes) -> Iterator[StatementLine]:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        entries = _entries(archive)
        number = 0
        for kind, entry in entries:
            layout, line_of = _LAYOUT[kind], _READ[kind]
            with io.BufferedReader(archive.open(entry), 1 << 17) as records:  # type: ignore[type-var]
                for record in records:
                    if record.strip():
                        number += 1
                        yield line_of(day, number, layout.fields(record))


def _entries(archive: zipfile.ZipFile) -> list[tuple[str, zipfile.ZipInfo]]:
    """ZM, then ZME: one of each at most, and no other."""
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        if match := _NAME.match(entry.filename.rpartition("/")[2]):
            if match[1] in found:
                raise ValueError(f"the zip holds two files {match[1]}")
            found[match[1]] = entry
    if not found:
        raise ValueError(f"the zip holds no file of trades, only {sorted(archive.namelist())[:5]}")
    if sum(entry.file_size for entry in found.values()) > MAX_PLAIN:
        raise ValueError("the zip unpacks to more than a statement")
    return sorted(found.items())


def _trade(day: date, number: int, fields: tuple[bytes, ...]) -> StatementLine:
    code, time, amount, query_id, order, fee, settled, type, description, discount, original = fields
    kind = KIND.get(type, LineKind.OTHER)
    units, cost, key = _digits(amount), _cost(fee), order.rstrip().decode("ascii")
    if kind is LineKind.PAYMENT and _NOTHING.fullmatch(discount) and -_cost(settled) != units - cost:
        raise ValueError(f"row {number}: {units} less a fee of {cost} is not what is settled, {settled!r}")
    if kind is not LineKind.OTHER and not key:
        raise ValueError(f"row {number} names no order")
    return StatementLine(
        number=number,
        kind=kind,
        key=key,
        payment_key=_paid(original, description) if kind is LineKind.REFUND else key,
        channel_ref=query_id.rstrip().decode("ascii"),
        amount=Amount(units, "CNY"),
        fee=cost,
        at=_at(day, time),
        status=code.decode("ascii"),
        description=description.rstrip().decode(CHARSET, "ignore"),  # it is cut by bytes: half a letter may be left
    )


def _paid(original: bytes, description: bytes) -> str:
    """Our key of the payment that was refunded: as the file says it, or as our refund did in its own field."""
    said = original.strip() or description.strip()
    return said.decode("ascii") if _OUR_KEY.fullmatch(said) else ""


def _error(day: date, number: int, fields: tuple[bytes, ...]) -> StatementLine:
    code, trace, time, amount, fee = fields
    return StatementLine(
        number=number,
        kind=LineKind.OTHER,
        key="",
        payment_key="",
        channel_ref=(trace + time).decode("ascii"),
        amount=Amount(_digits(amount), "CNY"),
        fee=_cost(fee) if _SIGNED.fullmatch(fee) else 0,
        at=_at(day, time),
        status=f"ZME {code.decode('ascii').rstrip()}",
    )


_READ = {"ZM": _trade, "ZME": _error}


def _digits(text: bytes) -> int:
    if not text.isdigit():
        raise ValueError(f"{text!r} is no number")
    return int(text)


def _cost(text: bytes) -> int:
    """'D000000000024' is 24 that we pay, 'C000000000024' 24 that we get."""
    if not _SIGNED.fullmatch(text):
        raise ValueError(f"{text!r} is no amount with its side")
    units = int(text[1:])
    if text[:1] == b" " and units:
        raise ValueError(f"{text!r} has no side")
    return -units if text[:1] == b"C" else units


def _at(day: date, text: bytes) -> datetime:
    """MMDDhhmmss of Beijing, in the year that is nearest to `day`."""
    clock = _digits(text[4:])
    hours, minutes, seconds = clock // 10000, clock // 100 % 100, clock % 100
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError(f"{text!r} is no time")
    return _midnight(day, text[:4]) + timedelta(seconds=hours * 3600 + minutes * 60 + seconds)


@lru_cache(maxsize=1 << 10)
def _midnight(day: date, text: bytes) -> datetime:
    month, dom = _digits(text[:2]), _digits(text[2:])
    found: list[date] = []
    for year in (day.year - 1, day.year, day.year + 1):
        try:
            found.append(date(year, month, dom))
        except ValueError:
            continue  # no such year, or it has no 29th of February
    if not found:
        raise ValueError(f"{text!r} is no day")
    nearest = min(found, key=lambda each: abs(each - day))
    return datetime(nearest.year, nearest.month, nearest.day, tzinfo=BEIJING).astimezone(UTC)
