"""The itemised report of what changed the balance, `balance_change_from_activity.itemized.3`: an RFC 4180 CSV.

    balance_transaction_id,created_utc,currency,gross,fee,net,reporting_category,...,payment_metadata[guilder_key]
    txn_1,2026-05-01 12:00:00,usd,10.00,0.59,9.41,charge,...

Amounts are major units of `currency`, in which the account settles; what the payer saw stands in `customer_facing_*`.  A refund is a row
of its own with negative gross.  A payment captured in part is two rows, the whole and what was let go: they become one line.  Payouts are
in another report.  The file has no summary: its length has to be what Stripe says of it, and each row has to add up.
"""

import csv
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from io import BytesIO, TextIOWrapper
from operator import itemgetter

from guilder.channels.model import LineKind, Statement, StatementError, StatementLine, StatementProblem, Totals
from guilder.core.amount import EXPONENT, INT64, Amount, from_major

REPORT = "balance_change_from_activity.itemized.3"
COLUMNS = (
    "balance_transaction_id",
    "created_utc",
    "currency",
    "gross",
    "fee",
    "net",
    "reporting_category",
    "source_id",
    "description",
    "customer_facing_amount",
    "customer_facing_currency",
    "charge_id",
    "payment_intent_id",
    "payment_metadata[guilder_key]",
    "refund_metadata[guilder_key]",
)
MAX_FILE = 1 << 30

CHARGE, REFUND, LET_GO = "charge", "refund", "partial_capture_reversal"
KIND = {
    CHARGE: LineKind.PAYMENT,
    REFUND: LineKind.REFUND,
    "dispute": LineKind.DISPUTE,
    "dispute_reversal": LineKind.DISPUTE,
    "payout": LineKind.PAYOUT,
    "payout_reversal": LineKind.PAYOUT,
    "fee": LineKind.FEE,
    "network_cost": LineKind.FEE,
}

Row = tuple[str, ...]
_units = lru_cache(maxsize=1 << 14)(from_major)


@lru_cache(maxsize=1 << 12)
def _at(text: str) -> datetime:
    """'2026-05-01 12:00:00', in UTC."""
    if len(text) != 19:
        raise ValueError(f"{text!r} is no time")
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass(slots=True)
class _LetGo:
    """What was let go of payments captured in part, by charge: gross and fee, as they stand in their rows (negative)."""

    gross: dict[str, int] = field(default_factory=dict)
    fee: dict[str, int] = field(default_factory=dict)

    def add(self, charge: str, gross: int, fee: int) -> None:
        self.gross[charge] = self.gross.get(charge, 0) + gross
        self.fee[charge] = self.fee.get(charge, 0) + fee


def read_statement(day: date, raw: bytes, size: int, currency: str) -> Statement:
    """Check length, columns and every row, and only then hand out the lines.  Raises StatementError."""
    if len(raw) != size:
        raise StatementError(StatementProblem.CORRUPT, f"the file has {len(raw)} bytes, and Stripe says {size}")
    try:
        totals, rows, let_go = _checked(raw, currency)
    except (ValueError, LookupError, csv.Error) as error:
        raise StatementError(StatementProblem.CORRUPT, str(error) or "the file ends too early") from error
    if not rows:
        raise StatementError(StatementProblem.EMPTY_DAY, "nothing changed the balance on that day")
    return Statement(
        day=day,
        currency=currency,
        fee_exponent=EXPONENT[currency],
        totals=totals,
        raw=raw,
        sha256=hashlib.sha256(raw).hexdigest(),
        lines=_lines(raw, currency, let_go),
    )


def _rows(raw: bytes) -> Iterator[Row]:
    """The fields of each row, in the order of COLUMNS.  ValueError if a column is missing or a row too short or long."""
    reader = csv.reader(TextIOWrapper(BytesIO(raw), "utf-8-sig", newline=""), strict=True)
    names = next(reader, [])
    if len(set(names)) != len(names):
        raise ValueError("a column stands twice")
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise ValueError(f"the columns {', '.join(missing)} are missing")
    pick = itemgetter(*(names.index(name) for name in COLUMNS))
    for number, row in enumerate(reader, 1):
        if len(row) != len(names):
            raise ValueError(f"row {number} has {len(row)} fields, not {len(names)}")
        yield pick(row)


def _checked(raw: bytes, currency: str) -> tuple[Totals, int, _LetGo]:
    """Totals in the currency of the account, how many rows there are, and what was let go of payments of this file."""
    exponent, let_go = EXPONENT[currency], _LetGo()
    alike: Counter[Row] = Counter()  # most rows are like many others in all that is summed
    for row in _rows(raw):
        _at(row[1])
        alike[row[2:7]] += 1
        if row[6] == LET_GO:
            let_go.add(row[11], _units(row[3], exponent), _units(row[4], exponent))
    payments = paid = refunds = refunded = fees = 0
    for (asset, gross_text, fee_text, net_text, category), times in alike.items():
        if asset != currency.lower():
            raise ValueError(f"a row is in {asset!r}, and {currency} was asked for")
        gross, fee, net = _units(gross_text, exponent), _units(fee_text, exponent), _units(net_text, exponent)
        if gross - fee != net:
            raise ValueError(f"a row does not add up: {gross_text} - {fee_text} is not {net_text}")
        fees += times * fee
        if category == CHARGE:
            payments, paid = payments + times, paid + times * gross
        elif category == REFUND:
            refunds, refunded = refunds + times, refunded - times * gross
    if let_go.gross:
        here = {row[11] for row in _rows(raw) if row[6] == CHARGE and row[11] in let_go.gross}
        let_go = _LetGo({c: let_go.gross[c] for c in here}, {c: let_go.fee[c] for c in here})
        paid += sum(let_go.gross.values())
    return Totals(payments, paid, refunds, refunded, fees), alike.total(), let_go


def _lines(raw: bytes, currency: str, let_go: _LetGo) -> Iterator[StatementLine]:
    number = 0
    for row in _rows(raw):
        if row[6] == LET_GO and row[11] in let_go.gross:
            continue
        number += 1
        try:
            yield _line(number, row, currency, let_go)
        except (ValueError, LookupError) as error:
            raise StatementError(StatementProblem.CORRUPT, f"line {number}: {error}") from error


def _line(number: int, row: Row, currency: str, let_go: _LetGo) -> StatementLine:
    transaction, at, _, _, fee, _, category, source, description, _, _, charge, intent, key, refund_key = row
    kind, let = KIND.get(category, LineKind.OTHER), 0
    taken, ours, theirs = _units(fee, EXPONENT[currency]), "", source or transaction
    if kind is LineKind.PAYMENT:
        ours, theirs = key, intent or theirs
        if charge in let_go.gross:
            taken, let = taken + let_go.fee[charge], let_go.gross[charge]
    elif kind is LineKind.REFUND:
        ours = refund_key
    return StatementLine(
        number=number,
        kind=kind,
        key=ours or theirs,
        payment_key=key or intent,
        channel_ref=theirs,
        amount=_seen(row, kind, currency, let),
        fee=taken,
        at=_at(at),
        status=category,
        description=description,
    )


def _seen(row: Row, kind: LineKind, currency: str, let_go: int) -> Amount:
    """What the payer saw, in his currency; of what is captured in part, the part.  Payments and refunds are both positive."""
    gross, seen, seen_in = row[3], row[9], row[10].upper()
    if seen and seen_in in EXPONENT and seen_in != currency and not let_go:
        units, asset = _units(seen, EXPONENT[seen_in]), seen_in
    else:
        units, asset = _units(gross, EXPONENT[currency]) + let_go, currency
    return _amount(abs(units) if kind is LineKind.PAYMENT or kind is LineKind.REFUND else units, asset)


@lru_cache(maxsize=1 << 14)
def _amount(units: int, asset: str) -> Amount:
    if abs(units) > INT64:
        raise ValueError(f"{units} is no amount")
    return Amount(units, asset)
