"""A day's rows as transaction search lists them, and as the settlement report has them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from guilder.simulators.book import Book
from guilder.simulators.model import Account, Payout
from guilder.simulators.statements import Line, fee_of

COLUMNS = (
    "Transaction ID", "Invoice ID", "PayPal Reference ID", "PayPal Reference ID Type", "Transaction Event Code",
    "Transaction Initiation Date", "Transaction Completion Date", "Transaction Debit or Credit", "Gross Transaction Amount",
    "Gross Transaction Currency", "Fee Debit or Credit", "Fee Amount", "Fee Currency", "Custom Field", "Consumer ID",
    "Payment Tracking ID", "Store ID", "Bank Reference ID", "Credit Transactional Fee", "Credit Promotional Fee", "Credit Term",
)  # fmt: skip
PAYOUT_FEE = 25


class Row(NamedTuple):
    """One row, whichever way it is told; `amount` is negative when money left, `fee` when PayPal took it."""

    id: str
    invoice: str
    reference: str
    code: str
    at: int
    amount: int
    fee: int
    custom: str
    payer: str
    subject: str


def bounds(day: str) -> tuple[int, int]:
    """From and until (not included) of a day: UTC's.  Raises ValueError on nonsense."""
    start = int(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() * 1000)
    return start, start + 86_400_000


def gather(book: Book, account: Account, day: str) -> list[Line]:
    """What was captured and given back that day, in order of time."""
    since, until = bounds(day)
    about = "t.out_trade_no, t.channel_ref, t.description, t.attach, t.payer, t.way, t.created_at"
    paid = (
        f"SELECT {about}, t.paid_at, t.captured FROM trade t WHERE t.account = ? AND t.paid_at >= ? AND t.paid_at < ?"  # noqa: S608
    )
    given = (
        f"SELECT {about}, r.done_at, r.amount, r.out_refund_no, r.channel_ref FROM refund r JOIN trade t USING (account, out_trade_no)"  # noqa: S608
        " WHERE r.account = ? AND r.state = 'SUCCESS' AND r.done_at >= ? AND r.done_at < ?"
    )
    rows = [*book.rows(paid, account.id, since, until), *book.rows(given, account.id, since, until)]
    return sorted((_line(*row) for row in rows), key=lambda line: (line.at, line.channel_ref, line.out_refund_no))


def _line(
    no: str, ref: str, text: str, attach: str, payer: str, way: str, made: int, at: int, amount: int, *refund: str
) -> Line:
    fee = -fee_of(amount) if refund else fee_of(amount)
    line = Line(no, ref, at, amount, fee, text, attach, payer, way, made)
    if refund:
        line.out_refund_no, line.refund_ref = refund
    return line


def payouts_of(book: Book, account: Account, day: str) -> list[Payout]:
    """The payouts that were paid that day."""
    since, until = bounds(day)
    sql = (
        "SELECT * FROM payout WHERE account = ? AND state = 'SUCCESS' AND done_at >= ? AND done_at < ? ORDER BY done_at"
    )
    return [Payout(*row) for row in book.rows(sql, account.id, since, until)]


def rows_of(lines: Sequence[Line], payouts: Sequence[Payout]) -> list[Row]:
    """All rows of a day, in order of time."""
    rows = [_row(line) for line in lines]
    rows += [
        Row(p.channel_ref, p.out_no, "", "T0001", p.done_at, -p.amount, -PAYOUT_FEE, p.out_no, "", "Payout")
        for p in payouts
    ]
    return sorted(rows, key=lambda row: (row.at, row.id))


def _row(line: Line) -> Row:
    if line.out_refund_no:
        back = (line.refund_ref, line.out_refund_no, line.channel_ref, "T1107", line.at, -line.amount, -line.fee)
        return Row(*back, line.out_trade_no, line.payer, line.description)
    custom = line.attach or line.out_trade_no
    return Row(
        line.channel_ref,
        line.out_trade_no,
        "",
        "T0006",
        line.at,
        line.amount,
        -line.fee,
        custom,
        line.payer,
        line.description,
    )


def details(row: Row, account: Account, currency: str, value: Any) -> dict[str, Any]:
    """A row of transaction search."""
    at = _zoned(row.at).strftime("%Y-%m-%dT%H:%M:%S%z")
    info: dict[str, Any] = {
        "paypal_account_id": account.id,
        "transaction_id": row.id,
        "transaction_event_code": row.code,
        "transaction_initiation_date": at,
        "transaction_updated_date": at,
        "transaction_amount": {"currency_code": currency, "value": value(row.amount, currency)},
        "fee_amount": {"currency_code": currency, "value": value(row.fee, currency)},
        "transaction_status": "S",
        "transaction_subject": row.subject,
        "invoice_id": row.invoice,
        "custom_field": row.custom,
        "protection_eligibility": "01",
    }
    if row.reference:
        info |= {"paypal_reference_id": row.reference, "paypal_reference_id_type": "TXN"}
    return {"transaction_info": info}


def _zoned(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC)


def _text(value: str) -> str:
    """Text is quoted, always."""
    return '"' + value.replace('"', '""') + '"'


def _stamp(ms: int) -> str:
    return _zoned(ms).strftime("%Y/%m/%d %H:%M:%S %z")


def report(account: Account, day: str, lines: Sequence[Line], payouts: Sequence[Payout], corrupt: str) -> bytes:
    """`STL-YYYYMMDD.01.009.CSV`; `corrupt` is '', 'totals', 'hash' (a count is off) or 'truncate'."""
    currency = account.settings()["currency"]
    scale = 100 if currency == "JPY" else 1  # hundredths, even of yen
    rows = rows_of(lines, payouts)
    since, until = bounds(day)
    body = [_body(row, currency, scale) for row in rows]
    sums = [
        sum(r.amount for r in rows if r.amount > 0), -sum(r.amount for r in rows if r.amount < 0),
        sum(r.fee for r in rows if r.fee > 0), -sum(r.fee for r in rows if r.fee < 0),
    ]  # fmt: skip
    figures = [str(figure * scale) for figure in sums]
    if corrupt == "totals":
        figures[0] = str(sums[0] * scale + 1)
    balance = sums[0] - sums[1] + sums[2] - sums[3]
    direction, left = ("CR" if balance >= 0 else "DR"), str(abs(balance) * scale)
    balances = f'"CR",0,"{direction}",{left},"CR",0,"CR",0,"CR",0,"{direction}",{left},{len(rows)}'
    footer = f"{_text(currency)},{','.join(figures)},{balances}"
    count = len(rows) + (1 if corrupt == "hash" else 0)
    text = [
        f'"RH",{_stamp(until + 3 * 3_600_000)},"A",{_text(account.id)},009,',
        '"FH",01',
        f'"SH",{_stamp(since)},{_stamp(until - 1000)},{_text(account.id)},""',
        '"CH",' + ",".join(map(_text, COLUMNS)),
        *body,
        f'"SF",{footer}',
        f'"SC",{count}',
        f'"RF",{footer}',
        f'"RC",{len(rows)}',
        f'"FF",{len(rows)}',
        "",
    ]
    content = "\r\n".join(text).encode("utf-8-sig")
    return content[: len(content) * 2 // 3] if corrupt == "truncate" else content


def _body(row: Row, currency: str, scale: int) -> str:
    fee = f"{'' if not row.fee else _text('CR' if row.fee > 0 else 'DR')},{abs(row.fee) * scale if row.fee else ''}"
    fields = [
        _text("SB"), _text(row.id), _text(row.invoice), _text(row.reference), _text("TXN" if row.reference else ""), _text(row.code),
        _stamp(row.at), _stamp(row.at), _text("CR" if row.amount > 0 else "DR"), str(abs(row.amount) * scale), _text(currency),
        fee, _text(currency if row.fee else ""), _text(row.custom), _text(row.payer), _text(""), _text(""), _text(""), "", "", _text(""),
    ]  # fmt: skip
    return ",".join(fields)
