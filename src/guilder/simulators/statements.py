"""A day's statement: which lines it has, and what a test has done to them.

A statement is a snapshot: once frozen it never changes, whatever becomes of its refunds.  It is frozen when
it is first fetched after the channel's hour, or at once by `POST /sim/accounts/{id}/close-day`, where a test
may have rows removed, changed and added.  Totals are made from the rows that the file has.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from guilder.simulators.book import Book
from guilder.simulators.clock import day_bounds
from guilder.simulators.model import Account, Statement

READY_HOUR_MS = 9 * 3600 * 1000  # after the day's end, Beijing
CORRUPT = ("", "hash", "totals", "truncate")
GATHER: "dict[str, Callable[[Book, Account, str], list[Line]]]" = {}  # by channel: what makes its rows, where `collect` does not
_FEE_BPS = 60
_BEGINS_MS = {"unionpay": -3600 * 1000}  # its days begin at 23:00 the day before


class Line(msgspec.Struct):
    """One row of a statement.  Money in fen; `fee` too, negative when it is given back."""

    out_trade_no: str
    channel_ref: str
    at: int
    amount: int
    fee: int
    description: str
    attach: str
    payer: str
    way: str
    created_at: int
    out_refund_no: str = ""
    refund_ref: str = ""
    refund_state: str = ""
    done_at: int = 0
    more: dict[str, str] = {}  # what only its channel knows

    @property
    def key(self) -> str:
        """The merchant's number of what this row is about."""
        return self.out_refund_no or self.out_trade_no


class CloseDay(msgspec.Struct, forbid_unknown_fields=True):
    """The body of close-day.  A number takes so many rows from the top; a list or table names them."""

    day: str
    remove: int | list[str] = 0
    change: int | dict[str, int] = 0
    add: int = 0
    corrupt: str = ""


def fee_of(amount: int) -> int:
    """0.6 %, rounded half up to the fen."""
    return (amount * _FEE_BPS + 5_000) // 10_000


def collect(book: Book, account: Account, day: str) -> list[Line]:
    """The day's rows from the book, in order of time.  Commit first: this reads the file."""
    since, until = (at + _BEGINS_MS.get(account.channel, 0) for at in day_bounds(day))
    columns = "t.out_trade_no, t.channel_ref, t.amount, t.description, t.attach, t.payer, t.way, t.created_at"
    paid = f"SELECT {columns}, t.paid_at FROM trade t WHERE t.account = ? AND t.paid_at >= ? AND t.paid_at < ?"  # noqa: S608
    # WeChat Pay lists a refund on the day it was accepted, Alipay on the day it was done.
    when = "r.created_at" if account.channel == "wechatpay" else "r.state = 'SUCCESS' AND r.done_at"
    given = (
        f"SELECT {columns}, r.created_at, r.amount, r.out_refund_no, r.channel_ref, r.state, r.done_at"  # noqa: S608
        " FROM refund r JOIN trade t USING (account, out_trade_no)"
        f" WHERE r.account = ? AND {when} >= ? AND {when.rpartition(' ')[2]} < ?"
    )
    lines = [_payment(*row) for row in book.rows(paid, account.id, since, until)]
    lines += [_refund(*row) for row in book.rows(given, account.id, since, until)]
    return sorted(lines, key=lambda line: (line.at, line.channel_ref, line.out_refund_no))


def _payment(no: str, ref: str, amount: int, text: str, attach: str, payer: str, way: str, made: int, at: int) -> Line:
    return Line(no, ref, at, amount, fee_of(amount), text, attach, payer, way, made)


def _refund(
    no: str, ref: str, _: int, text: str, attach: str, payer: str, way: str, made: int, at: int, *refund: str | int
) -> Line:
    amount, out_refund_no, refund_ref, state, done_at = refund
    fee = -fee_of(int(amount))
    line = Line(no, ref, at, int(amount), fee, text, attach, payer, way, made, str(out_refund_no), str(refund_ref))
    line.refund_state, line.done_at = str(state), int(done_at)
    return line


def tamper(lines: Sequence[Line], ask: CloseDay, serial: int) -> tuple[list[Line], dict[str, object]]:
    """Remove, change and add rows as asked.  Returns the rows that are left and the keys touched.

    Raises KeyError when a named row is not there and ValueError when there are too few.
    """
    left = {line.key: line for line in lines}
    if len(lines) < (ask.remove if isinstance(ask.remove, int) else 0) + (
        ask.change if isinstance(ask.change, int) else 0
    ):
        raise ValueError("the day has fewer rows than are to be removed and changed")
    removed = list(left)[: ask.remove] if isinstance(ask.remove, int) else ask.remove
    for key in removed:
        del left[key]
    deltas = dict.fromkeys(list(left)[: ask.change], 1) if isinstance(ask.change, int) else ask.change
    for key, delta in deltas.items():
        left[key] = msgspec.structs.replace(left[key], amount=left[key].amount + delta)
    added = [_invented(ask.day, serial, number) for number in range(ask.add)]
    changed = [{"key": key, "delta": delta} for key, delta in deltas.items()]
    touched: dict[str, object] = {"removed": removed, "changed": changed, "added": [line.key for line in added]}
    return [*left.values(), *added], touched


def _invented(day: str, serial: int, number: int) -> Line:
    """A payment that the merchant has never heard of."""
    at = day_bounds(day)[0] + 12 * 3600 * 1000
    no, ref = f"STRANGER{serial}N{number}", f"42009{serial:018d}{number:05d}"
    return Line(no, ref, at, 1234, fee_of(1234), "?", "", "payer-unknown", "native", at)


def freeze(book: Book, account: Account, ask: CloseDay, now: int) -> tuple[Statement, dict[str, object]]:
    """Make the day's statement final, replacing an earlier one; the caller commits before and after."""
    gather = GATHER.get(account.channel, collect)
    lines, touched = tamper(gather(book, account, ask.day), ask, book.serial())
    statement = Statement(account.id, ask.day, now, msgspec.json.encode(lines).decode(), ask.corrupt)
    book.put(statement)
    result: dict[str, Any] = {"day": ask.day, "rows": len(lines), **touched, "corrupt": ask.corrupt}
    book.note("closed_day", account.id, **result)
    return statement, result


def find(book: Book, account: Account, day: str, now: int) -> Statement | None:
    """The day's statement: as frozen, or frozen now that the channel's hour has come, or None before that."""
    for row in book.rows("SELECT * FROM statement WHERE account = ? AND day = ?", account.id, day):
        return Statement(*row)
    if now < day_bounds(day)[1] + READY_HOUR_MS:
        return None
    return freeze(book, account, CloseDay(day), now)[0]


def lines_of(statement: Statement) -> list[Line]:
    """The rows of a frozen day."""
    return msgspec.json.decode(statement.lines, type=list[Line])


def yuan(fen: int) -> str:
    """1234 -> '12.34'"""
    sign = "-" if fen < 0 else ""
    return f"{sign}{abs(fen) // 100}.{abs(fen) % 100:02d}"
