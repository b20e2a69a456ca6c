"""A day's file: CSV in UTF-8, a row for each credit and each return, then a row of totals, then the hash of all before it.

time,bank_ref,order_no,refund_no,kind,amount,fee,payer,text
2026-11-22T09:00:00+08:00,B1,7f3a…,,CREDIT,1250,8,6222…,two coffees
TOTAL,1,1250,0,0,8
SHA256,<hex>
"""

import csv
import hashlib
from collections.abc import Iterator
from datetime import date

from guilder.channels.model import LineKind, Statement, StatementError, StatementLine, StatementProblem, Totals
from guilder.channels.reading import instant
from guilder.core.amount import cny

HEAD = "time,bank_ref,order_no,refund_no,kind,amount,fee,payer,text"
_CORRUPT = StatementProblem.CORRUPT


def read_statement(day: date, raw: bytes) -> Statement:
    """Hash, then totals, then lines on demand.  Raises StatementError."""
    content, _, last = raw.rstrip(b"\n").rpartition(b"\n")
    content += b"\n"
    digest = hashlib.sha256(content).hexdigest()
    if last.decode("ascii", "replace") != f"SHA256,{digest}":
        raise StatementError(_CORRUPT, "the hash is missing or another")
    try:
        rows, _, total = content.decode().rstrip("\n").rpartition("\n")
        told = Totals(*(int(n) for n in total.removeprefix("TOTAL,").split(",")))
        counted = _totals(_lines(rows))
    except (ValueError, TypeError) as error:
        raise StatementError(_CORRUPT, str(error)) from error
    if told != counted:
        raise StatementError(_CORRUPT, f"the totals say {told}, the rows {counted}")
    return Statement(day, "CNY", 2, told, raw, hashlib.sha256(raw).hexdigest(), _lines(rows))


def _lines(text: str) -> Iterator[StatementLine]:
    rows = text.split("\n")
    if not rows or rows[0] != HEAD:
        raise ValueError("the columns are others")
    for number, row in enumerate(csv.reader(rows[1:], strict=True), 1):
        at, ref, order_no, refund_no, kind, amount, fee, _, words = row
        moved = instant(at)
        if kind not in ("CREDIT", "RETURN") or moved is None:
            raise ValueError(f"row {number} is of no kind that we know")
        said = LineKind.REFUND if kind == "RETURN" else LineKind.PAYMENT
        key = refund_no if kind == "RETURN" else order_no or ref  # of money without a number nobody here knows
        yield StatementLine(number, said, key, order_no, ref, cny(int(amount)), int(fee), moved, kind, words)


def _totals(lines: Iterator[StatementLine]) -> Totals:
    counts = {"CREDIT": [0, 0], "RETURN": [0, 0]}
    fee = 0
    for line in lines:
        counts[line.status][0] += 1
        counts[line.status][1] += line.amount.units
        fee += line.fee
    (paid, units), (refunds, back) = counts["CREDIT"], counts["RETURN"]
    return Totals(paid, units, refunds, back, fee)
