"""Alipay's account bill: how the balance moved, and everything that may be wrong with a file of it."""

import random
from datetime import UTC, date, datetime

import pytest
from alipay_side import adapter, asked, ok
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import converse
from test_alipay_statement import packed_as, text

from guilder.channels.alipay.funds import read_funds
from guilder.channels.model import (
    FetchStatement,
    LineKind,
    StatementError,
    StatementKind,
    StatementLine,
    StatementProblem,
    Totals,
)
from guilder.core.amount import cny
from guilder.core.exchange import HttpReply

DAY = date(2012, 12, 29)
NAMES = "账务流水号,业务流水号,商户订单号,商品名称,发生时间,对方账号,收入金额（+元）,支出金额（-元）,账户余额（元）,交易渠道,业务类型,备注"
HEAD = (
    "#支付宝账务明细查询",
    "#账号：[20888011365400330156]",
    "#起始日期：[2012年12月29日 00:00:00]   终止日期：[2012年12月30日 00:00:00]",
    "#-----------------------------------------账务明细列表----------------------------------------",
)
# Newest first, as they come; the first three as they stood in a real file, but for names and what was left out of it.
ROWS = [
    "54632446537371\t,2012122923922029\t,3226563\t,航机票\t,2012-12-29 21:02:06,陈* (k***@126.com)\t,2274.00,0.00,14533.03,支付宝,在线支付,",
    "54629090595412\t,2012122948927762\t,3226533\t,收费\t,2012-12-29 20:31:33,\t,0.00,2.36,12259.03,支付宝,收费,",
    "54629090595411\t,2012122948927762\t,3226533\t,航机票\t,2012-12-29 20:31:32,张*\t,393.00,0.00,12261.39,支付宝,在线支付,",
    "54628332402592\t,2012122926087003\t,3226400\t,退,票\t,2012-12-29 20:24:46,田*\t,0.00,-6.67,11868.39,支付宝,交易退款,",
    "54628332402591\t,2012122926087002\t,po_1\t,转账\t,2012-12-29 20:24:45,田*\t,,111.00,11875.06,支付宝,转账,",
    "54628332402590\t,2012122926087001\t,\t,提现\t,2012-12-29 20:24:44,\t,0.00,1.00,11986.06,支付宝,提现,",
]
FOOT = (
    "#----------------------------------------账务明细列表结束-------------------------------------",
    "#支出合计：4笔，共121.03元",
    "#收入合计：2笔，共2667.00元",
    "#导出时间：[2012年12月31日 13:19:01]",
)
SUMMARY = (
    "#支付宝账务汇总查询",
    "类型,收入笔数,收入金额（+元）,支出笔数,支出金额（-元）,总金额（元）",
    "在线支付,2,2667.00,0,0.00,2667.00",
    "合计,2,2667.00,4,-121.03,2545.97",
    "#导出时间：[2012年12月31日 13:19:01]",
)


def bill(*rows: str, names: str = NAMES, foot: tuple[str, ...] = FOOT) -> bytes:
    return text(*HEAD, names, *rows, *foot)


def packed(detail: bytes, summary: bytes | None = text(*SUMMARY)) -> bytes:
    return packed_as("账务明细", detail, summary)


GOOD = bill(*ROWS)


def test_how_the_balance_moved():
    statement = read_funds(DAY, packed(GOOD))
    assert (statement.opening, statement.closing) == (cny(1_198_706), cny(1_453_303))
    lines = list(statement.lines)
    assert [(line.kind, line.amount.units) for line in lines] == [
        (LineKind.PAYMENT, 227_400),
        (LineKind.FEE, -236),
        (LineKind.PAYMENT, 39_300),
        (LineKind.REFUND, -667),
        (LineKind.PAYOUT, -11_100),
        (LineKind.OTHER, -100),
    ]
    assert sum(line.amount.units for line in lines) == 1_453_303 - 1_198_706
    assert statement.totals == Totals(2, 266_700, 1, 667, 236)
    assert lines[3] == StatementLine(
        number=4,
        kind=LineKind.REFUND,
        key="3226400",
        payment_key="3226400",
        channel_ref="2012122926087003",
        amount=cny(-667),
        fee=0,
        at=datetime(2012, 12, 29, 12, 24, 46, tzinfo=UTC),
        status="交易退款",
        description="退,票",
    )


@pytest.mark.parametrize("order", [ROWS[::-1], ROWS[3:] + ROWS[:3], random.Random(7).sample(ROWS, 6)])
def test_in_whatever_order_the_rows_come(order):
    statement = read_funds(DAY, packed(bill(*order)))
    assert (statement.opening, statement.closing) == (cny(1_198_706), cny(1_453_303))


def moved(names: list[str], rows: list[str], order: list[int]) -> tuple[str, list[str]]:
    return ",".join(names[i] for i in order), [",".join(row.split(",")[i] for i in order) for row in rows]


def test_columns_are_found_by_name():
    plain = [row.replace("退,票", "退票") for row in ROWS]
    for order in ([6, 7, 8, 0, 1, 2, 3, 4, 10, 11, 5, 9], [0, 2, 1, 6, 7, 8, 4, 11, 10]):
        names, rows = moved(NAMES.split(","), plain, order)
        statement = read_funds(DAY, packed(bill(*rows, names=names)))
        assert statement.closing == cny(1_453_303) and statement.totals.refunded == 667
    narrow = NAMES.replace("（", "(").replace("）", ")")
    assert read_funds(DAY, packed(bill(*ROWS, names=narrow))).totals.payments == 2


def test_without_balances_and_with_commas_behind_everything():
    names, rows = moved(NAMES.split(","), [row.replace("退,票", "退票") for row in ROWS], [0, 1, 2, 6, 7, 4, 10])
    foot = tuple(line + ",,,,,," for line in FOOT)
    statement = read_funds(DAY, packed(bill(*(row + ",,," for row in rows), names=names, foot=foot), None))
    assert statement.opening is None and statement.closing is None
    assert statement.totals == Totals(2, 266_700, 1, 667, 236)


def test_a_day_on_which_nothing_moved():
    foot = (FOOT[0], "#支出合计：0笔，共0.00元,,,,,,,", "#收入合计：0笔，共0.00元,,,,,,,", FOOT[3])
    statement = read_funds(DAY, packed(bill(foot=foot), None))
    assert list(statement.lines) == [] and statement.totals == Totals(0, 0, 0, 0, 0) and statement.opening is None


def changed(find: str, put: str, at: bytes = GOOD) -> bytes:
    old, new = find.encode("gb18030"), put.encode("gb18030")
    assert old in at
    return at.replace(old, new, 1)


SUMS = text(*SUMMARY)


@pytest.mark.parametrize(
    ("detail", "summary"),
    [
        (
            bill(*ROWS[:2], *ROWS[3:], foot=("#支出合计：4笔，共121.03元", "#收入合计：1笔，共2274.00元")),
            None,
        ),  # a row is gone
        (changed("393.00,0.00,12261.39", "393.01,0.00,12261.39"), None),
        (changed("0.00,2.36,12259.03", "0.00,2.36,12259.04"), None),  # a balance that follows from nothing
        (changed("2667.00元", "2667.01元"), None),
        (changed("4笔", "5笔"), None),
        (changed("#收入合计", "#收入总计"), None),
        (bill(*ROWS, foot=(*FOOT, FOOT[1])), None),  # twice
        (bill(*ROWS, foot=(*FOOT, ROWS[0])), None),  # after the end
        (changed("2012-12-29 21:02:06", "2012-12-32 21:02:06"), None),
        (changed("2274.00,0.00", "2274.00,1.00"), None),  # both ways
        (changed("2274.00,0.00", "-2274.00,0.00"), None),
        (changed("14533.03", "14533.035"), None),
        (changed("交易渠道", "业务类型"), None),  # a column twice
        (changed("业务流水号", "业务流水"), None),
        (text(*HEAD), None),
        (GOOD[: len(GOOD) // 2], None),
        (b"", None),
        (b"\xff\xff\xff", None),
        (GOOD, changed("2667.00,4", "2667.00,3", SUMS)),
        (GOOD, changed("合计,2", "合计,3", SUMS)),
        (GOOD, changed("收入笔数", "笔数", SUMS)),
        (GOOD, b""),
    ],
    ids=lambda _: "",
)
def test_a_file_that_does_not_add_up_is_none(detail, summary):
    with pytest.raises(StatementError) as caught:
        read_funds(DAY, packed(detail, summary))
    assert caught.value.problem is StatementProblem.CORRUPT


def test_a_trade_bill_is_no_account_bill():
    with pytest.raises(StatementError):
        read_funds(DAY, packed_as("业务明细", GOOD, None))


def test_it_is_asked_for_by_its_own_name():
    url = "https://dwbillcenter.alipay.com/downloadBillFile.resource?token=x"
    offer = ok("data_dataservice_bill_downloadurl_query", bill_download_url=url)
    ask = FetchStatement(DAY, StatementKind.FUNDS)
    statement, calls = converse(adapter().statement(ask), offer, HttpReply(200, {}, packed(GOOD)))
    assert asked(calls[0])[1] == {"bill_type": "signcustomer", "bill_date": "2012-12-29"}
    assert calls[1].url == url and statement.closing == cny(1_453_303)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=0, max_size=4), st.integers(0, 6))
def test_whatever_is_done_to_a_file_it_is_read_or_refused(at, put, cut):
    damaged = GOOD[:at] + put + GOOD[at + cut :]
    try:
        statement = read_funds(DAY, packed(damaged))
    except StatementError as error:
        assert error.problem is StatementProblem.CORRUPT
        return
    assert sum(line.amount.units for line in statement.lines) == 254_597


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(alphabet='#,账收支出入合计笔共元：0123456789.-\t "', max_size=60), max_size=12))
def test_whatever_is_written_it_is_read_or_refused(rows):
    try:
        statement = read_funds(DAY, packed(bill(*rows), None))
    except StatementError as error:
        assert error.problem is StatementProblem.CORRUPT
        return
    list(statement.lines)
