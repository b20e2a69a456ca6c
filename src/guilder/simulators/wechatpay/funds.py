"""The fund-flow bill: every movement of a merchant's balance, with what was there after it.

    <BOM>记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),...
    `2018-02-01 04:21:23,`5000...,`1900...,`退款,`退款,`支出,`0.02,`0.17,`system,`缺货,`REF42...
    资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额
    `3,`1,`0.01,`2,`0.02

The columns, the two first lines of a day and the summary are those of WeChat Pay's documentation; what it calls a transfer's business
is not documented there, and is 商家转账 here.  Byte order mark and CRLF as in the trade bill.
"""

from collections.abc import Iterator, Sequence

from guilder.simulators.book import Book
from guilder.simulators.clock import day_bounds, stamp
from guilder.simulators.model import Account, Payout
from guilder.simulators.statements import Line, yuan

NAMES = "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),资金变更提交申请人,备注,业务凭证号"
SUMMARY = "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额"
FIRST_BALANCE = 100_000_00  # what every merchant has put in before the first day

Move = tuple[int, str, str, str, int, str, str]  # at, number, name, kind, fen (negative: out), note, voucher


def _payouts(book: Book, account: Account, until: int) -> list[Payout]:
    sql = "SELECT * FROM payout WHERE account = ? AND state = 'SUCCESS' AND done_at < ? ORDER BY done_at, out_no"
    return [Payout(*row) for row in book.rows(sql, account.id, until)]


def moved(book: Book, account: Account, day: str) -> int:
    """How many payouts the day has that no trade bill tells of.  0 for no day at all."""
    try:
        since, until = day_bounds(day)
    except ValueError:
        return 0
    return sum(1 for p in _payouts(book, account, until) if p.done_at >= since)


def opening(book: Book, account: Account, since: int) -> int:
    """The balance before the day, from all that went before it.  Statements that a test has changed do not count."""
    [(paid,)] = book.rows(
        "SELECT coalesce(sum(amount - (amount * 60 + 5000) / 10000), 0) FROM trade WHERE account = ? AND paid_at > 0 AND paid_at < ?",
        account.id,
        since,
    )
    [(back,)] = book.rows(
        "SELECT coalesce(sum(amount - (amount * 60 + 5000) / 10000), 0) FROM refund WHERE account = ? AND created_at < ?",
        account.id,
        since,
    )
    return FIRST_BALANCE + int(paid) - int(back) - sum(p.amount for p in _payouts(book, account, since))


def _moves(lines: Sequence[Line], payouts: Sequence[Payout]) -> Iterator[Move]:
    for line in lines:
        if line.out_refund_no:
            note = f"退款总金额{yuan(line.amount)}元;含手续费{yuan(-line.fee)}元"
            yield line.at, line.refund_ref, "退款", "退款", -line.amount, note, line.out_refund_no
            yield line.at, line.refund_ref, "退款", "退还交易手续费", -line.fee, "", line.out_refund_no
        else:
            yield line.at, line.channel_ref, "交易", "交易", line.amount, "", line.out_trade_no
            yield line.at, line.channel_ref, "交易", "扣除交易手续费", -line.fee, "", line.out_trade_no
    for payout in payouts:
        yield payout.done_at, payout.channel_ref, "商家转账", "商家转账", -payout.amount, "", payout.out_no


def render(book: Book, account: Account, day: str, lines: Sequence[Line], corrupt: str) -> bytes:
    """The day's file; with `totals` its income is 0.01 yuan off."""
    since, until = day_bounds(day)
    payouts = [p for p in _payouts(book, account, until) if p.done_at >= since]
    balance, rows, income, outgo = opening(book, account, since), [], [0, 0], [0, 0]
    for number, move in enumerate(sorted(m for m in _moves(lines, payouts) if m[4]), 1):
        at, ref, name, kind, fen, note, voucher = move
        balance += fen
        of = income if fen > 0 else outgo
        of[0], of[1] = of[0] + 1, of[1] + abs(fen)
        flow = f"{account.id}{day.replace('-', '')}{number:012d}"
        direction = "收入" if fen > 0 else "支出"
        rows.append(
            _ticked(
                [stamp(at), ref, flow, name, kind, direction, yuan(abs(fen)), yuan(balance), "system", note, voucher]
            )
        )
    off = corrupt == "totals"
    total = [str(len(rows)), str(income[0]), yuan(income[1] + off), str(outgo[0]), yuan(outgo[1])]
    return "\r\n".join(["\ufeff" + NAMES, *rows, SUMMARY, _ticked(total), ""]).encode()


def _ticked(fields: Sequence[str]) -> str:
    return ",".join("`" + field for field in fields)
