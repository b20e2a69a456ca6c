"""WeChat Pay's fund-flow bill: opening, movements, closing; and everything that may be wrong with one."""

import gzip
import hashlib
import random
from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import converse
from wechat_side import adapter, error, reply, signed_by_merchant

from guilder.channels.model import (
    FetchStatement,
    LineKind,
    StatementError,
    StatementKind,
    StatementLine,
    StatementProblem,
    Totals,
)
from guilder.channels.wechatpay.funds import read_funds
from guilder.core.amount import cny
from guilder.core.exchange import HttpReply

DAY = date(2018, 2, 1)
NAMES = "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),资金变更提交申请人,备注,业务凭证号"
SUMMARY = "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额"


def bill(*lines: str) -> bytes:
    return ("\ufeff" + "\r\n".join(lines) + "\r\n").encode()


def row(direction: str, amount: str, balance: str, kind: str = "交易", voucher: str = "order-1", note: str = "") -> str:
    return f"`2018-02-01 04:21:23,`5000030,`1900009231,`{kind},`{kind},`{direction},`{amount},`{balance},`system,`{note},`{voucher}"


PAID = row("收入", "10.00", "110.00")
FEE = row("支出", "0.06", "109.94", "扣除交易手续费")
BACK = row("支出", "4.00", "105.94", "退款", "refund-1", "缺货, 退款总金额4.00元;含手续费0.02元")
FEE_BACK = row("收入", "0.02", "105.96", "退还交易手续费", "refund-1")
SENT = row("支出", "5.00", "100.96", "商家转账", "payout-1")
ROWS = (PAID, FEE, BACK, FEE_BACK, SENT)
SUMS = "`5.0,`2.0,`10.02,`3.0,`9.06"
GOOD = bill(NAMES, *ROWS, SUMMARY, SUMS)


def sha1(raw: bytes) -> str:
    return hashlib.sha1(raw).hexdigest()


@pytest.mark.parametrize("packed", [GOOD, gzip.compress(GOOD)], ids=["plain", "gzip"])
def test_opening_and_lines_make_closing(packed):
    statement = read_funds(DAY, packed, sha1(GOOD))
    lines = list(statement.lines)
    assert (statement.opening, statement.closing) == (cny(10_000), cny(10_096))
    assert sum((line.amount for line in lines), cny(10_000)) == cny(10_096)
    assert statement.totals == Totals(payments=2, paid=1002, refunds=3, refunded=906, fee=0)
    assert [line.kind for line in lines] == [
        LineKind.PAYMENT,
        LineKind.FEE,
        LineKind.REFUND,
        LineKind.FEE,
        LineKind.PAYOUT,
    ]
    assert lines[2] == StatementLine(
        number=3,
        kind=LineKind.REFUND,
        key="refund-1",
        payment_key="refund-1",
        channel_ref="5000030",
        amount=cny(-400),
        fee=0,
        at=datetime(2018, 1, 31, 20, 21, 23, tzinfo=UTC),
        status="退款",
        description="缺货, 退款总金额4.00元;含手续费0.02元",
    )


def test_rows_of_one_second_in_any_order_and_brackets_of_either_keyboard():
    shuffled = [BACK, PAID, SENT, FEE, FEE_BACK]
    raw = bill(NAMES.replace("(", "（").replace(")", "）"), *shuffled, SUMMARY, "`5,`2,`10.02,`3,`9.06")
    statement = read_funds(DAY, raw, sha1(raw))
    assert (statement.opening, statement.closing) == (cny(10_000), cny(10_096))


def test_a_day_that_ends_where_it_began():
    raw = bill(NAMES, row("收入", "1.00", "6.00"), row("支出", "1.00", "5.00"), SUMMARY, "`2,`1,`1.00,`1,`1.00")
    statement = read_funds(DAY, raw, sha1(raw))
    assert statement.opening == statement.closing == cny(500)
    raw = bill(NAMES, row("支出", "7.00", "-2.00", "提现"), SUMMARY, "`1,`0,`0.00,`1,`7.00")
    statement = read_funds(DAY, raw, sha1(raw))
    assert (statement.opening, statement.closing) == (cny(500), cny(-200))
    assert [(line.kind, line.status) for line in statement.lines] == [(LineKind.OTHER, "提现")]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        bill(NAMES),
        bill(NAMES, *ROWS),
        bill(NAMES, *ROWS, SUMMARY),
        bill(NAMES, *ROWS, SUMMARY, SUMS, SUMS),
        bill(*ROWS, SUMMARY, SUMS),
        bill(NAMES, *ROWS[1:], SUMMARY, SUMS),  # a row too few
        bill(NAMES, *ROWS, PAID, SUMMARY, SUMS),
        bill(NAMES, *ROWS, SUMMARY, SUMS.replace("10.02", "10.03")),
        bill(NAMES, *ROWS, SUMMARY, SUMS.replace("9.06", "9.05")),
        bill(NAMES, *ROWS, SUMMARY, SUMS.replace("`5.0", "`6.0")),
        bill(NAMES, *(r.replace("109.94", "109.95") for r in ROWS), SUMMARY, SUMS),  # the chain is broken
        bill(NAMES, *(r.replace("收入", "转入") for r in ROWS), SUMMARY, SUMS),
        bill(NAMES, PAID.replace("`10.00", "`-10.00"), *ROWS[1:], SUMMARY, SUMS),
        bill(NAMES, PAID + ",`more", *ROWS[1:], SUMMARY, SUMS),
        bill(NAMES.replace("业务凭证号", "凭证"), *ROWS, SUMMARY, SUMS),
        bill(NAMES, *ROWS, "资金流水总笔数,收入笔数", "`5,`2"),
    ],
    ids=lambda raw: "",
)
def test_a_bill_that_contradicts_itself_is_corrupt(raw):
    with pytest.raises(StatementError) as caught:
        read_funds(DAY, raw, sha1(raw))
    assert caught.value.problem is StatementProblem.CORRUPT


ADDRESS = {
    "hash_type": "SHA1",
    "hash_value": sha1(GOOD),
    "download_url": "https://api.mch.weixin.qq.com/v3/billdownload/file?token=a",
}


def test_it_is_fetched_as_the_trade_bill_is():
    ask = FetchStatement(DAY, StatementKind.FUNDS)
    statement, [first, second] = converse(
        adapter().statement(ask), reply(200, ADDRESS), HttpReply(200, {}, gzip.compress(GOOD))
    )
    assert statement.closing == cny(10_096)
    assert first.url.endswith("/v3/bill/fundflowbill?bill_date=2018-02-01&account_type=BASIC&tar_type=GZIP")
    assert signed_by_merchant(first) and signed_by_merchant(second)
    for code, problem in (
        ("NO_STATEMENT_EXIST", StatementProblem.EMPTY_DAY),
        ("STATEMENT_CREATING", StatementProblem.NOT_READY),
    ):
        with pytest.raises(StatementError) as caught:
            converse(adapter().statement(ask), error(400, code))
        assert caught.value.problem is problem


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_damage_anywhere_is_corrupt_or_harmless(seed):
    chance = random.Random(seed)
    raw = bytearray(GOOD)
    for _ in range(chance.randrange(1, 4)):
        at, choice = chance.randrange(len(raw)), chance.randrange(3)
        raw[at : at + choice] = chance.randbytes(chance.randrange(3))
    try:
        list(read_funds(DAY, bytes(raw), sha1(raw)).lines)
    except StatementError as error:
        assert error.problem is StatementProblem.CORRUPT
