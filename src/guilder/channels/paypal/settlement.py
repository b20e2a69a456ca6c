"""The settlement report: `STL-YYYYMMDD.<sequence>.<version>.CSV`, UTF-8 with a BOM, a record type in front of each row.

    "RH",2024/08/21 02:44:19 -0700,"A","<account>",009,     report: when, which window, whose, which version
    "FH",01                                                 file
    "SH",<from>,<until>,"<account>",""                      section
    "CH","Transaction ID","Invoice ID", ...                 names of the columns; they are found by name
    "SB","...","","...","","T0006",<begun>,<done>,"CR",3000,"USD","DR",117,"USD", ...
    "SF","USD",<gross credits>,<gross debits>,<fee credits>,<fee debits>, ...       for each currency of the section
    "SC",<rows of the section>
    "RF","USD", ...    "RC",<rows of the report>    "FF",<...>

Amounts are unsigned hundredths, even of yen; the column beside them says CR or DR.  Text is quoted, times and numbers are not.
PayPal hands the file out by SFTP; here it is fetched from an https directory that mirrors /ppreports/outgoing.
"""

import csv
import hashlib
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from io import BytesIO, TextIOWrapper
from operator import itemgetter
from typing import NamedTuple

from guilder.channels.model import LineKind, Statement, StatementError, StatementLine, StatementProblem, Totals
from guilder.channels.paypal.config import PayPalConfig
from guilder.channels.paypal.money import from_report
from guilder.channels.paypal.statement import kind_of, signed
from guilder.core.amount import EXPONENT, INT64, Amount
from guilder.core.exchange import Exchange, HttpCall, NotSent, Silence

VERSION = "009"
MAX_BYTES = 512 << 20  # of one file; PayPal splits a report after a million records
TIMEOUT_S = 300.0
MAX_PARTS = 99
COLUMNS = (
    "Transaction ID",
    "Invoice ID",
    "Transaction Event Code",
    "Transaction Completion Date",
    "Transaction Debit or Credit",
    "Gross Transaction Amount",
    "Gross Transaction Currency",
    "Fee Debit or Credit",
    "Fee Amount",
    "Fee Currency",
    "Custom Field",
)
SIGN = {"CR": 1, "DR": -1}


def fetch_report(config: PayPalConfig, day: date) -> Exchange[Statement]:
    """All parts of the report of `day`.  Raises StatementError."""
    if not config.reports_at:
        raise StatementError(StatementProblem.UNKNOWN, "reports_at is not set: see docs/limitations.md about SFTP")
    headers = {"Accept": "text/csv", "User-Agent": "guilder"}
    if config.reports_token:
        headers["Authorization"] = f"Bearer {config.reports_token}"
    parts: list[bytes] = []
    for part in range(1, MAX_PARTS + 1):
        url = f"{config.reports_at.rstrip('/')}/STL-{day:%Y%m%d}.{part:02d}.{VERSION}.CSV"
        try:
            reply = yield HttpCall("GET", url, headers, timeout_s=TIMEOUT_S, max_bytes=MAX_BYTES)
        except (NotSent, Silence) as error:
            raise StatementError(StatementProblem.UNKNOWN, f"no answer: {error}") from error
        if reply.status == 404:
            raise StatementError(StatementProblem.NOT_READY, f"there is no part {part} of the report yet")
        if reply.status != 200:
            raise StatementError(StatementProblem.UNKNOWN, f"the directory answered {reply.status}")
        parts.append(reply.body)
        end = reply.body[-4096:]
        if b'"RC",' in end or b'"FF"' not in end:  # the last one; or one that is cut, which the checks will find
            break
    raw = parts[0] if len(parts) == 1 else b"".join(part.removeprefix(BOM_UTF8) for part in parts)
    return read_report(day, raw, config.merchant_id, config.currency)


@dataclass
class _Sums:
    """Of one currency: gross credits and debits, fee credits and debits, in hundredths as the file has them."""

    figures: list[int] = field(default_factory=lambda: [0, 0, 0, 0])

    def add(self, *more: int) -> None:
        self.figures = [a + b for a, b in zip(self.figures, more, strict=True)]


@dataclass
class _Tally:
    """What the lines of one currency come to."""

    lines: int = 0
    payments: int = 0
    paid: int = 0
    refunds: int = 0
    refunded: int = 0
    fee: int = 0

    def add(self, line: StatementLine) -> None:
        self.lines += 1
        self.fee += line.fee
        if line.kind is LineKind.PAYMENT:
            self.payments, self.paid = self.payments + 1, self.paid + line.amount.units
        elif line.kind is LineKind.REFUND:
            self.refunds, self.refunded = self.refunds + 1, self.refunded + line.amount.units


def read_report(day: date, raw: bytes, account: str, currency: str) -> Statement:
    """Check counts and sums, and only then hand out the lines.  Raises StatementError."""
    try:
        tally = _checked(raw, account, currency)
        if max(abs(tally.paid), abs(tally.refunded), abs(tally.fee)) > INT64:
            raise ValueError("the sums are beyond all measure")
    except (ValueError, LookupError, csv.Error) as error:
        raise StatementError(StatementProblem.CORRUPT, str(error) or "the file ends too early") from error
    if not tally.lines:
        raise StatementError(StatementProblem.EMPTY_DAY, f"the report has no row in {currency}")
    return Statement(
        day=day,
        currency=currency,
        fee_exponent=EXPONENT[currency],
        totals=Totals(tally.payments, tally.paid, tally.refunds, tally.refunded, tally.fee),
        raw=raw,
        sha256=hashlib.sha256(raw).hexdigest(),
        lines=_lines(raw, currency),
    )


def _records(raw: bytes) -> Iterator[list[str]]:
    with TextIOWrapper(BytesIO(raw), "utf-8-sig", newline="") as text:
        for row in csv.reader(text, strict=True):
            if row:
                yield row


def _checked(raw: bytes, account: str, currency: str) -> _Tally:
    """Every footer against the rows before it, and what the rows of one currency come to.  ValueError."""
    tally, seen, footed = _Tally(), Counter[str](), set[str]()
    section: dict[str, _Sums] = {}
    report: dict[str, _Sums] = {}
    rows, all_rows, pick = 0, 0, None
    for record in _records(raw):
        kind, rest = record[0], record[1:]
        seen[kind] += 1
        match kind:
            case "SB":
                if pick is None:
                    raise ValueError("a row before the names of the columns")
                row = _Row._make(pick(record))
                rows += 1
                _add(row, section)
                if row.currency == currency:
                    tally.add(_line(0, row))
            case "RH" | "FH" | "FF":
                pass
            case "SH":
                if rest[2] != account:
                    raise ValueError(f"the section is of account {rest[2][:20]!r}, and not ours")
            case "CH":
                pick = _picker(record)
            case "SF":
                _compare(rest, section)
                footed.add(rest[0])
            case "SC":
                _count("section", rest[0], rows)
                if set(section) - footed:
                    raise ValueError(f"the section has no sums in {sorted(set(section) - footed)}")
                for name, sums in section.items():
                    report.setdefault(name, _Sums()).add(*sums.figures)
                section, footed, rows, all_rows = {}, set(), 0, all_rows + rows
            case "RF":
                _compare(rest, report)
            case "RC":
                _count("report", rest[0], all_rows)
            case _:
                raise ValueError(f"a record of type {kind[:20]!r}")
    if rows or not seen["RH"] or seen["RC"] != 1 or seen["FH"] != seen["FF"] or seen["SH"] != seen["SC"]:
        raise ValueError("the report is not whole: a header without its footer, or none at all")
    return tally


def _count(what: str, said: str, counted: int) -> None:
    if int(said) != counted:
        raise ValueError(f"the {what} counts {said} rows, and has {counted}")


def _compare(said: list[str], sums: dict[str, _Sums]) -> None:
    ours = sums.get(said[0], _Sums()).figures
    theirs = [int(figure or 0) for figure in said[1:5]]
    if theirs != ours:
        raise ValueError(f"the sums in {said[0][:3]} are {theirs}, and the rows make {ours}")


class _Row(NamedTuple):
    """The columns that matter, in the order of COLUMNS."""

    ref: str
    invoice: str
    code: str
    at: str
    direction: str
    gross: str
    currency: str
    fee_direction: str
    fee: str
    fee_currency: str
    custom: str


def _picker(header: list[str]) -> Callable[[list[str]], tuple[str, ...]]:
    if len(set(header)) != len(header):
        raise ValueError("a column stands twice")
    return itemgetter(*(header.index(name) for name in COLUMNS))


def _add(row: _Row, section: dict[str, _Sums]) -> None:
    gross, fee = int(row.gross), int(row.fee or 0)
    if fee and row.fee_currency != row.currency:
        raise ValueError(f"{row.ref[:40]}: the fee is in another currency")
    figures = section.setdefault(row.currency, _Sums()).figures
    figures[0 if SIGN[row.direction] > 0 else 1] += gross
    figures[2 if row.fee_direction == "CR" else 3] += fee


def _lines(raw: bytes, currency: str) -> Iterator[StatementLine]:
    number, pick = 0, None
    for record in _records(raw):
        if record[0] == "CH":
            pick = _picker(record)
        elif record[0] == "SB" and pick is not None:
            row = _Row._make(pick(record))
            if row.currency == currency:
                number += 1
                yield _line(number, row)


def _line(number: int, row: _Row) -> StatementLine:
    sign = SIGN[row.direction]
    kind = kind_of(row.code, sign > 0)
    fee = _units(row.fee, row.currency) if row.fee else 0
    return StatementLine(
        number=number,
        kind=kind,
        key=row.invoice,
        payment_key=row.custom if kind is LineKind.REFUND else row.invoice,
        channel_ref=row.ref,
        amount=Amount(signed(kind, sign * _units(row.gross, row.currency)), row.currency),
        fee=fee if row.fee_direction == "DR" else -fee,
        at=_at(row.at),
        status=row.code,
    )


def _instant(text: str) -> datetime:
    """'2024/08/20 00:01:17 -0700' in UTC."""
    at = datetime.fromisoformat(text.replace("/", "-").replace(" -", "-").replace(" +", "+"))
    if at.tzinfo is None:
        raise ValueError(f"{text[:40]!r} has no zone")
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("out of the calendar") from None


_units = lru_cache(maxsize=1 << 14)(from_report)  # a day has few distinct amounts
_at = lru_cache(maxsize=1 << 12)(_instant)
