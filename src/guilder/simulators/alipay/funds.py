"""The account bill (signcustomer): how the merchant's balance moved on a day, row by row."""

from collections.abc import Sequence
from typing import NamedTuple

from guilder.simulators.alipay.statement import pack
from guilder.simulators.alipay.words import long_stamp, plain
from guilder.simulators.book import Book
from guilder.simulators.clock import day_bounds, stamp
from guilder.simulators.model import Account
from guilder.simulators.statements import Line, yuan

COLUMNS = "账务流水号,业务流水号,商户订单号,商品名称,发生时间,对方账号,收入金额（+元）,支出金额（-元）,账户余额（元）,交易渠道,业务类型,备注"
_SUMMARY = "类型,收入笔数,收入金额（+元）,支出笔数,支出金额（-元）,总金额（元）"


class Move(NamedTuple):
    """One change of the balance; `amount` is negative for what goes out."""

    at: int
    ref: str
    number: str
    title: str
    payer: str
    amount: int
    type: str


def moves(book: Book, account: Account, day: str, lines: Sequence[Line]) -> list[Move]:
    """What moved on a day: its trade bill's rows, the fees in them, and what was sent to people.  Commit first."""
    found = []
    for line in lines:
        if line.out_refund_no:
            found.append(_of(line, -line.amount, "交易退款"))
            continue
        found.append(_of(line, line.amount, "在线支付"))
        if line.fee:
            found.append(_of(line, -line.fee, "收费"))
    sent = "SELECT done_at, channel_ref, out_no, amount FROM payout WHERE account = ? AND state = 'SUCCESS' AND done_at >= ? AND done_at < ?"
    for at, ref, number, amount in book.rows(sent, account.id, *day_bounds(day)):
        found.append(Move(at, ref, number, "转账", "", -amount, "转账"))
    return sorted(found, key=lambda move: move.at)


def _of(line: Line, amount: int, type: str) -> Move:
    return Move(line.at, line.channel_ref, line.out_trade_no, line.description, line.payer, amount, type)


def opening(book: Book, account: Account, day: str) -> int:
    """The balance when the day began."""
    since = day_bounds(day)[0]
    came = "SELECT coalesce(sum(amount - (amount * 60 + 5000) / 10000), 0) FROM trade WHERE account = ? AND paid_at > 0 AND paid_at < ?"
    back = "SELECT coalesce(sum(amount), 0) FROM refund WHERE account = ? AND state = 'SUCCESS' AND done_at < ?"
    sent = "SELECT coalesce(sum(amount), 0) FROM payout WHERE account = ? AND state = 'SUCCESS' AND done_at < ?"
    paid, *left = (book.rows(sql, account.id, since)[0][0] for sql in (came, back, sent))
    return paid - sum(left)


def render(book: Book, account: Account, day: str, lines: Sequence[Line], now: int, corrupt: str) -> bytes:
    """The zip; `corrupt` as in `statement.render`."""
    rows, balance = [], opening(book, account, day)
    for serial, move in enumerate(moves(book, account, day, lines), 1):
        balance += move.amount
        rows.append((serial, move, balance))
    stem = f"{account.settings()['seller_id']}0156_{day.replace('-', '')}"
    files = {
        f"{stem}_账务明细.csv": _detail(account, day, rows, now, wrong=corrupt == "totals"),
        f"{stem}_账务明细(汇总).csv": _sums(account, day, rows, now),
    }
    return pack(files, corrupt)


def _head(account: Account, day: str, title: str) -> list[str]:
    since, until = day_bounds(day)
    return [
        f"#支付宝账务{title}查询",
        f"#账号：[{account.settings()['seller_id']}0156]",
        f"#起始日期：[{long_stamp(since)}]   终止日期：[{long_stamp(until)}]",
        f"#-----------------------------------------账务{title}列表----------------------------------------",
    ]


def _detail(account: Account, day: str, rows: Sequence[tuple[int, Move, int]], now: int, *, wrong: bool) -> str:
    came, left = _split(rows)
    lines = [
        *_head(account, day, "明细"),
        COLUMNS,
        *(_row(day, *row) for row in reversed(rows)),  # newest first, as Alipay's are
        "#----------------------------------------账务明细列表结束-------------------------------------",
        f"#支出合计：{len(left)}笔，共{yuan(-sum(left))}元",
        f"#收入合计：{len(came)}笔，共{yuan(sum(came) + wrong)}元",
        f"#导出时间：[{long_stamp(now)}]",
        "",
    ]
    return "\r\n".join(lines)


def _row(day: str, serial: int, move: Move, balance: int) -> str:
    money = (yuan(max(move.amount, 0)), yuan(max(-move.amount, 0)), yuan(balance))
    number = f"{day.replace('-', '')}{serial:012d}"
    fields = (
        f"{number}\t",
        f"{move.ref}\t",
        f"{move.number}\t",
        f"{plain(move.title)}\t",
        stamp(move.at),
        f"{move.payer}\t",
    )
    return ",".join((*fields, *money, "支付宝", move.type, ""))


def _sums(account: Account, day: str, rows: Sequence[tuple[int, Move, int]], now: int) -> str:
    came, left = _split(rows)
    total = f"合计,{len(came)},{yuan(sum(came))},{len(left)},{yuan(sum(left))},{yuan(sum(came) + sum(left))}"
    end = "#-----------------------------------------账务汇总列表结束------------------------------------"
    return "\r\n".join([*_head(account, day, "汇总"), _SUMMARY, total, end, f"#导出时间：[{long_stamp(now)}]", ""])


def _split(rows: Sequence[tuple[int, Move, int]]) -> tuple[list[int], list[int]]:
    amounts = [move.amount for _, move, _ in rows]
    return [a for a in amounts if a > 0], [a for a in amounts if a < 0]
