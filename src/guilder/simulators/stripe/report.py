"""The itemised report of what changed the balance: its rows from the book, its CSV, and the days (UTC) that are there."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from guilder.simulators import statements
from guilder.simulators.book import Book
from guilder.simulators.model import Account, Dispute, Refund, Statement, Trade
from guilder.simulators.statements import CloseDay, Line
from guilder.simulators.stripe.objects import DISPUTE_FEE, exponent, fee_of

TYPE = "balance_change_from_activity.itemized.3"
DAY_MS = 86_400_000
READY_MS = 12 * 3_600_000  # after the day's end
COLUMNS = (
    "balance_transaction_id", "created_utc", "available_on_utc", "currency", "gross", "fee", "net", "reporting_category", "source_id",
    "description", "customer_facing_amount", "customer_facing_currency", "automatic_payout_id", "customer_id", "charge_id",
    "payment_intent_id", "payment_method_type", "card_brand",
)  # fmt: skip
_METADATA = re.compile(r"(payment|refund)_metadata\[([^\[\]]{1,40})\]")
NEGATIVE = frozenset({"refund", "dispute", "partial_capture_reversal", "payout"})


def bounds(day: str) -> tuple[int, int]:
    """From and until (not included) of a day in UTC."""
    start = int(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() * 1000)
    return start, start + DAY_MS


def gather(book: Book, account: Account, day: str) -> list[Line]:
    """The rows of a day, in order of time.  Commit first: this reads the file."""
    return sorted(moves(book, account, *bounds(day)), key=lambda line: (line.at, line.channel_ref, line.out_refund_no))


def moves(book: Book, account: Account, since: int, until: int) -> Iterator[Line]:
    """All that changed the balance, but payouts."""
    within = (account.id, since, until)
    for row in book.rows("SELECT * FROM trade WHERE account = ? AND paid_at >= ? AND paid_at < ?", *within):
        yield from _charge(Trade(*row))
    sql = "SELECT * FROM refund WHERE account = ? AND state = 'SUCCESS' AND done_at >= ? AND done_at < ?"
    for row in book.rows(sql, *within):
        refund = Refund(*row)
        trade = book.find_trade(account.id, refund.out_trade_no)
        if trade is not None:
            yield _refund(trade, refund)
    for row in book.rows("SELECT * FROM dispute WHERE account = ?", account.id):
        dispute = Dispute(*row)
        trade = book.find_trade(account.id, dispute.out_trade_no)
        if trade is not None:
            yield from (line for line in _dispute(trade, dispute) if since <= line.at < until)


def _line(trade: Trade, category: str, source: str, at: int, amount: int, fee: int, **more: str) -> Line:
    known = {
        "category": category,
        "source": source,
        "charge": f"ch_{trade.channel_ref[3:]}",
        "intent": trade.channel_ref,
        "currency": trade.currency,
        "payment_metadata": msgspec.json.encode(trade.more()["metadata"]).decode(),
    }
    return Line(
        trade.out_trade_no, trade.channel_ref, at, amount, fee, trade.description, trade.attach, trade.payer, trade.way, trade.created_at,
        more=known | more,
    )  # fmt: skip


def _charge(trade: Trade) -> Iterator[Line]:
    """What is captured in part is the whole, and what was let go."""
    whole, taken = trade.amount, trade.captured or trade.amount
    source = f"ch_{trade.channel_ref[3:]}"
    yield _line(trade, "charge", source, trade.paid_at, whole, fee_of(whole, trade.currency))
    if taken != whole:
        fee = fee_of(taken, trade.currency) - fee_of(whole, trade.currency)
        rest = _line(trade, "partial_capture_reversal", source, trade.paid_at, whole - taken, fee)
        rest.out_refund_no = f"let-go-{trade.channel_ref}"
        yield rest


def _refund(trade: Trade, refund: Refund) -> Line:
    metadata = msgspec.json.encode(trade.more()["refunds"].get(refund.channel_ref, {})).decode()
    line = _line(trade, "refund", refund.channel_ref, refund.done_at, refund.amount, 0, refund_metadata=metadata)
    line.description = f"REFUND FOR CHARGE ({trade.description})"
    line.out_refund_no, line.refund_ref, line.refund_state = refund.out_refund_no, refund.channel_ref, refund.state
    return line


def _dispute(trade: Trade, dispute: Dispute) -> Iterator[Line]:
    taken = _line(trade, "dispute", dispute.ref, dispute.created_at, dispute.amount, DISPUTE_FEE)
    taken.out_refund_no, taken.description = dispute.ref, f"Chargeback withdrawal for {taken.more['charge']}"
    yield taken
    if dispute.state == "won":
        decided = msgspec.json.decode(dispute.extra)["decided_at"]
        back = _line(trade, "dispute_reversal", dispute.ref, decided, dispute.amount, 0)
        back.out_refund_no, back.description = f"{dispute.ref}-won", f"Chargeback reversal for {taken.more['charge']}"
        yield back


# --- the days that are there


def days_of(since: int, until: int) -> list[str]:
    """The days between two instants, in ms."""
    first, last = (
        datetime.fromtimestamp(since / 1000, UTC).date(),
        datetime.fromtimestamp((until - 1) / 1000, UTC).date(),
    )
    return [(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)]


def find(book: Book, account: Account, day: str, now: int) -> Statement | None:
    """The day's rows: as frozen, or frozen now that Stripe's hour has come, or None before that."""
    for row in book.rows("SELECT * FROM statement WHERE account = ? AND day = ?", account.id, day):
        return Statement(*row)
    if now < bounds(day)[1] + READY_MS:
        return None
    return statements.freeze(book, account, CloseDay(day), now)[0]


# --- the file


def major(units: int, currency: str) -> str:
    """In major units: 1250 -> '12.50', of JPY '1250'."""
    digits = exponent(currency)
    if digits == 0:
        return str(units)
    whole, part = divmod(abs(units), 10**digits)
    return f"{'-' if units < 0 else ''}{whole}.{part:0{digits}d}"


def render(
    account: Account, lines: Iterable[Line], columns: Sequence[str], currency: str, *, wrong: bool = False
) -> bytes:
    """The CSV (RFC 4180, LF) of the rows in this currency; with `wrong` the first does not add up."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for line in lines:
        one = row(line, account.settings()["currency"])
        if one["currency"] != currency.lower():
            continue
        if wrong:
            one["net"], wrong = one["net"][:-1] + str((int(one["net"][-1]) + 1) % 10), False
        writer.writerow([one.get(name, "") or _metadata(line, name) for name in columns])
    return text.getvalue().encode()


def is_column(name: str) -> bool:
    return name in COLUMNS or _METADATA.fullmatch(name) is not None


def _metadata(line: Line, name: str) -> str:
    match = _METADATA.fullmatch(name)
    if match is None:
        return ""
    return msgspec.json.decode(line.more.get(f"{match[1]}_metadata", "{}")).get(match[2], "")


def row(line: Line, default: str) -> dict[str, str]:
    """The columns of a row; `default` is the currency of one that a test has invented."""
    more = line.more
    currency, category = more.get("currency", default), more.get("category", "charge")
    gross = -line.amount if category in NEGATIVE else line.amount
    source = more.get("source", f"ch_{line.channel_ref}")
    return {
        "balance_transaction_id": f"txn_{source.partition('_')[2]}{'r' if category.endswith('_reversal') else ''}",
        "created_utc": _stamp(line.at),
        "available_on_utc": _stamp((line.at // DAY_MS + 2) * DAY_MS),
        "currency": currency.lower(),
        "gross": major(gross, currency),
        "fee": major(line.fee, currency),
        "net": major(gross - line.fee, currency),
        "reporting_category": category,
        "source_id": source,
        "description": line.description,
        "customer_facing_amount": major(gross, currency),
        "customer_facing_currency": currency.lower(),
        "charge_id": more.get("charge", source),
        "payment_intent_id": more.get("intent", line.channel_ref),
        "payment_method_type": "card",
        "card_brand": "visa",
    }


def _stamp(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
