"""Transaction search: a day's rows, by pages, checked against the counts that PayPal says of them.

    GET /v1/reporting/transactions?start_date=&end_date=&transaction_currency=&page=&page_size=500

More than ten thousand rows are refused (RESULTSET_TOO_LARGE), so the time is halved until they fit.  The day is UTC's.  Rows of what is
only pending (P) or was denied (D) are no money and no lines.  Fees are negative where PayPal takes them: here they are turned round.
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlencode

import msgspec

from guilder.channels.conclude import Doubtful
from guilder.channels.model import LineKind, Statement, StatementError, StatementLine, StatementProblem, Totals
from guilder.channels.paypal.config import PayPalConfig
from guilder.channels.paypal.door import Door
from guilder.channels.paypal.money import Money
from guilder.channels.paypal.states import Refusal
from guilder.channels.reading import instant, read_as, read_json
from guilder.core.amount import EXPONENT, Amount
from guilder.core.exchange import Exchange, NotSent, Silence

PAGE = 500
MAX_PAGE_BYTES = 16 << 20
MAX_PAGES = 40  # of one stretch of time: twice what PayPal lists at most
NARROWEST = timedelta(seconds=2)
MOVED = frozenset({"S", "V"})  # V: went well, and was taken back since; that is a row of its own
_DISPUTED = frozenset({"T1106", "T1110", "T1111", "T1201", "T1202", "T1207", "T1208"})
_FEES = frozenset({"T1108", "T1109"})


class _Info(msgspec.Struct, frozen=True):
    transaction_id: str
    transaction_event_code: str
    transaction_initiation_date: str
    transaction_amount: Money
    transaction_status: str = "S"
    fee_amount: Money | None = None
    invoice_id: str = ""
    custom_field: str = ""
    transaction_subject: str = ""


class _Row(msgspec.Struct, frozen=True):
    transaction_info: _Info


class _Page(msgspec.Struct, frozen=True):
    transaction_details: list[_Row]
    total_items: int
    total_pages: int
    page: int
    last_refreshed_datetime: str | None = None


def kind_of(code: str, incoming: bool) -> LineKind:
    """What a transaction event code stands for.  PayPal's page "Transaction event codes" lists them by hundreds."""
    if code.startswith("T00"):
        return LineKind.PAYMENT if incoming else LineKind.PAYOUT if code == "T0001" else LineKind.OTHER
    if code == "T1107":
        return LineKind.OTHER if incoming else LineKind.REFUND
    if code in _DISPUTED:
        return LineKind.DISPUTE
    return LineKind.FEE if code.startswith("T01") or code in _FEES else LineKind.OTHER


def signed(kind: LineKind, units: int) -> int:
    """As lines have it: what is paid, refunded or paid out is positive, the rest keeps its direction."""
    return abs(units) if kind in (LineKind.PAYMENT, LineKind.REFUND, LineKind.PAYOUT) else units


def fetch_transactions(door: Door, config: PayPalConfig, day: date, now: datetime) -> Exchange[Statement]:
    """The rows of `day`.  Raises StatementError."""
    since = datetime(day.year, day.month, day.day, tzinfo=UTC)
    pages: list[bytes] = []
    todo = [(since, since + timedelta(days=1))]
    try:
        while todo:
            begin, end = todo.pop()
            if not (yield from _stretch(door, config, begin, end, since + timedelta(days=1), pages)):
                middle = begin + (end - begin) // 2
                middle = middle.replace(microsecond=0)
                if end - begin < NARROWEST:
                    raise StatementError(StatementProblem.CORRUPT, f"a second has more rows than PayPal lists: {begin}")
                todo += [(middle, end), (begin, middle)]
    except (NotSent, Silence, Doubtful) as error:
        raise StatementError(StatementProblem.UNKNOWN, f"no answer: {error}") from error
    return _statement(day, config.currency, pages)


def _stretch(
    door: Door, config: PayPalConfig, begin: datetime, end: datetime, until: datetime, pages: list[bytes]
) -> Exchange[bool]:
    """The pages from `begin` to `end`; False if they are too many at once."""
    number, total, rows = 1, 1, 0
    while number <= total:
        asked = {
            "start_date": begin.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "end_date": (end - timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "transaction_currency": config.currency,
            "fields": "transaction_info",
            "page_size": str(PAGE),
            "page": str(number),
        }
        reply = yield from door.call(
            "GET", f"/v1/reporting/transactions?{urlencode(asked)}", timeout_s=60.0, max_bytes=MAX_PAGE_BYTES
        )
        if reply.status != 200:
            refusal = Refusal.read(reply)
            if refusal.code == "RESULTSET_TOO_LARGE":
                return False
            raise Doubtful(refusal.code, refusal.message)
        page = _read(reply.body)
        if page.last_refreshed_datetime and (instant(page.last_refreshed_datetime) or until) < until:
            raise StatementError(StatementProblem.NOT_READY, "PayPal has not listed the whole day yet")
        total, rows = page.total_pages, rows + len(page.transaction_details)
        if page.page != number or total > MAX_PAGES:
            raise StatementError(StatementProblem.CORRUPT, f"page {number} says that it is page {page.page} of {total}")
        if page.transaction_details:
            pages.append(reply.body)
        if number >= total and rows != page.total_items:
            raise StatementError(
                StatementProblem.CORRUPT, f"PayPal counts {page.total_items} rows, and its pages have {rows}"
            )
        number += 1
    return True


def _read(body: bytes) -> _Page:
    try:
        said = read_json(body)
    except ValueError as error:  # cut on its way: asked once more, it may come whole
        raise StatementError(StatementProblem.UNKNOWN, f"a page is no JSON: {error}") from error
    try:
        page = read_as(_Page, said)
        instant(page.last_refreshed_datetime)
    except ValueError as error:
        raise StatementError(StatementProblem.CORRUPT, f"a page cannot be read: {error}") from error
    return page


def _statement(day: date, currency: str, pages: Sequence[bytes]) -> Statement:
    """Everything is read once before any of it is handed out."""
    payments = paid = refunds = refunded = fee = count = 0
    digest = hashlib.sha256()  # of the rows alone: what stands around them changes with every look
    for line in _lines(pages, currency):
        count += 1
        fee += line.fee
        digest.update(msgspec.json.encode(line))
        if line.kind is LineKind.PAYMENT:
            payments, paid = payments + 1, paid + line.amount.units
        elif line.kind is LineKind.REFUND:
            refunds, refunded = refunds + 1, refunded + line.amount.units
    if not count:
        raise StatementError(StatementProblem.EMPTY_DAY, "PayPal lists nothing that moved money")
    return Statement(
        day=day,
        currency=currency,
        fee_exponent=EXPONENT[currency],
        totals=Totals(payments, paid, refunds, refunded, fee),
        raw=b"\n".join(pages),
        sha256=digest.hexdigest(),
        lines=_lines(pages, currency),
    )


def _lines(pages: Sequence[bytes], currency: str) -> Iterator[StatementLine]:
    number = 0
    for body in pages:
        for row in _read(body).transaction_details:
            info = row.transaction_info
            if info.transaction_status not in MOVED:
                continue
            number += 1
            try:
                yield _line(number, info, currency)
            except ValueError as error:
                raise StatementError(StatementProblem.CORRUPT, f"{info.transaction_id[:40]}: {error}") from error


def _line(number: int, info: _Info, currency: str) -> StatementLine:
    amount = info.transaction_amount.amount()
    fee = info.fee_amount.amount() if info.fee_amount else Amount(0, currency)
    at = instant(info.transaction_initiation_date)
    if amount.asset != currency or fee.asset != currency or at is None:
        raise ValueError(f"it is not all {currency}, or has no time")
    kind = kind_of(info.transaction_event_code, amount.units > 0)
    return StatementLine(
        number=number,
        kind=kind,
        key=info.invoice_id,
        payment_key=info.custom_field if kind is LineKind.REFUND else info.invoice_id,
        channel_ref=info.transaction_id,
        amount=Amount(signed(kind, amount.units), currency),
        fee=-fee.units,
        at=at,
        status=info.transaction_event_code,
        description=info.transaction_subject,
    )
