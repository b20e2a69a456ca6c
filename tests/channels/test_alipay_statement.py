"""Alipay's trade bill: what is in it, and everything that may be wrong with one."""

import io
import random
import zipfile
from datetime import UTC, date, datetime

import pytest
from alipay_side import adapter, asked, failed, ok
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import converse

from guilder.channels.alipay.statement import read_statement
from guilder.channels.model import (
    FetchStatement,
    LineKind,
    StatementError,
    StatementLine,
    StatementProblem,
    Totals,
)
from guilder.core.amount import cny
from guilder.core.exchange import HttpReply, NotSent, Silence

DAY = date(2019, 9, 16)
NAMES = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,商家实收（元）,"
    "支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,"
    "退款批次号/请求号,服务费（元）,分润（元）,备注"
)
PAID = (
    "2019091622001458860515315453\t,service_1568601259302\t,交易\t,㐂下单，测试,2019-09-16 10:55:16,2019-09-16 10:55:23,alipay_store\t,\t,\t,\t,"
    "159******20\t,12.50,12.00,0.00,0.00,0.00,0.50,0.00,,0.00\t,0.00,\t,-0.08,0.00,下单测试"
)
BACK = (
    "2019091622001458860515315453\t,service_1568601259302\t,退款\t,㐂下单，测试,2019-09-16 10:55:16,2019-09-16 23:59:59,alipay_store\t,\t,\t,\t,"
    "159******20\t,-5.00,-4.80,0.00,0.00,0.00,-0.20,0.00,,0.00\t,0.00,re_test_1568602607356\t,0.03,0.00,下单测试"
)
HEAD = (
    "#支付宝业务明细查询",
    "#账号：[20880211096256330156]",
    "#起始日期：[2019年09月16日 00:00:00]   终止日期：[2019年09月17日 00:00:00]",
    "#-----------------------------------------业务明细列表----------------------------------------",
)
FOOT = (
    "#-----------------------------------------业务明细列表结束------------------------------------",
    "#交易合计：1笔，商家实收共12.00元，商家优惠共0.50元",
    "#退款合计：1笔，商家实收退款共-4.80元，商家优惠退款共-0.20元",
    "#导出时间：[2019年09月17日 05:46:49]",
)
SUMMARY = (
    "#支付宝业务汇总查询",
    "门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）,商家实收（元）,支付宝优惠（元）,商家优惠（元）,卡消费金额（元）,服务费（元）,分润（元）,实收净额（元）",
    "alipay_store\t,一号店\t,1,1,7.50,7.20,0.00,0.30,0.00,-0.05,0.00,7.15",
    "合计\t,\t,1,1,7.50,7.20,0.00,0.30,0.00,-0.05,0.00,7.15",
    "#导出时间：[2019年09月17日 05:46:49]",
)


class GbkName(zipfile.ZipInfo):
    """An entry whose name is GBK bytes, without the flag that would say UTF-8."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.filename.encode("gbk"), self.flag_bits & ~0x800


def text(*lines: str) -> bytes:
    return ("\r\n".join(lines) + "\r\n").encode("gb18030")


def packed_as(name: str, detail: bytes | None, summary: bytes | None) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in ((name, detail), (f"{name}(汇总)", summary)):
            if content is not None:
                archive.writestr(GbkName(f"20880211096256330156_20190916_{entry}.csv"), content)
    return out.getvalue()


def packed(detail: bytes | None, summary: bytes | None = text(*SUMMARY)) -> bytes:
    return packed_as("业务明细", detail, summary)


GOOD = text(*HEAD, NAMES, PAID, BACK, *FOOT)


def test_payments_and_refunds():
    statement = read_statement(DAY, packed(GOOD))
    assert (statement.currency, statement.fee_exponent, statement.raw) == ("CNY", 2, GOOD)
    assert statement.totals == Totals(payments=1, paid=1250, refunds=1, refunded=500, fee=5)
    assert list(statement.lines) == [
        StatementLine(
            number=1,
            kind=LineKind.PAYMENT,
            key="service_1568601259302",
            payment_key="service_1568601259302",
            channel_ref="2019091622001458860515315453",
            amount=cny(1250),
            fee=8,
            at=datetime(2019, 9, 16, 2, 55, 23, tzinfo=UTC),
            status="交易",
            description="㐂下单，测试",
        ),
        StatementLine(
            number=2,
            kind=LineKind.REFUND,
            key="re_test_1568602607356",
            payment_key="service_1568601259302",
            channel_ref="2019091622001458860515315453",
            amount=cny(500),
            fee=-3,
            at=datetime(2019, 9, 16, 15, 59, 59, tzinfo=UTC),
            status="退款",
            description="㐂下单，测试",
        ),
    ]


def test_commas_in_a_title_and_a_remark_shift_nothing():
    row = PAID.replace("㐂下单，测试", "a,b,,c").replace("下单测试", "x,y")
    [line, _] = read_statement(DAY, packed(text(*HEAD, NAMES, row, BACK, *FOOT))).lines
    assert (line.description, line.amount, line.fee) == ("a,b,,c", cny(1250), 8)


def test_the_rows_suffice_and_columns_are_found_by_name():
    names = NAMES.replace(",集分宝（元）", "")
    rows = [
        r.replace(",0.00,0.00,0.00,0.50", ",0.00,0.00,0.50").replace("-4.80,0.00,0.00", "-4.80,0.00")
        for r in (PAID, BACK)
    ]
    statement = read_statement(DAY, packed(text(*HEAD, names, *rows, *FOOT), summary=None))
    assert statement.totals == Totals(payments=1, paid=1250, refunds=1, refunded=500, fee=5)


@pytest.mark.parametrize(
    "detail",
    [
        b"",
        text(*HEAD),
        text(*HEAD, NAMES, PAID, BACK),
        text(*HEAD, NAMES, PAID, BACK, *FOOT[:2]),
        text(*HEAD, PAID, BACK, *FOOT),
        text(*HEAD, NAMES, PAID, *FOOT),  # a row too few
        text(*HEAD, NAMES, PAID, PAID, BACK, *FOOT),  # a row too many
        text(*HEAD, NAMES, PAID, BACK, *FOOT, PAID),
        text(*HEAD, NAMES, PAID, BACK, *FOOT, FOOT[1]),
        text(*HEAD, NAMES, PAID, BACK, *FOOT).replace("12.00元".encode("gbk"), "12.01元".encode("gbk")),
        text(*HEAD, NAMES, PAID, BACK, *FOOT).replace("-4.80元".encode("gbk"), "-4.81元".encode("gbk")),
        text(*HEAD, NAMES, PAID, BACK, *FOOT).replace("共0.50元".encode("gbk"), "共0.51元".encode("gbk")),
        text(*HEAD, NAMES, PAID.replace("-0.08", "-0.09"), BACK, *FOOT),  # the other file knows
        text(*HEAD, NAMES, PAID.replace("交易\t", "转账\t"), BACK, *FOOT),
        text(*HEAD, NAMES, PAID.replace("12.50", "12.505"), BACK, *FOOT),
        text(*HEAD, NAMES, PAID.replace("2019-09-16 10:55:23", "soon"), BACK, *FOOT),
        text(*HEAD, NAMES, PAID.rpartition(",")[0], BACK, *FOOT),
        text(*HEAD, NAMES.replace("业务类型", "类型"), PAID, BACK, *FOOT),
        GOOD + b"\xff",
    ],
    ids=lambda detail: "",
)
def test_a_bill_that_contradicts_itself_is_corrupt(detail):
    with pytest.raises(StatementError) as caught:
        read_statement(DAY, packed(detail))
    assert caught.value.problem is StatementProblem.CORRUPT


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"<html>",
        packed(None),
        packed(GOOD, summary=b""),
        packed(GOOD, summary=text(*SUMMARY).replace(b",1,1,", b",2,1,")),
        packed(GOOD)[:-30],
        packed(GOOD)[: len(packed(GOOD)) // 2],
    ],
    ids=lambda file: "",
)
def test_a_file_that_came_damaged_is_corrupt(file):
    with pytest.raises(StatementError) as caught:
        read_statement(DAY, file)
    assert caught.value.problem is StatementProblem.CORRUPT


URL = "http://dwbillcenter.alipay.com/downloadBillFile.resource?bizType=trade&fileId=%2Fa"
QUERY = "data_dataservice_bill_downloadurl_query"


def test_the_address_comes_signed_and_the_file_does_not():
    file = HttpReply(200, {}, packed(GOOD))
    answer = ok(QUERY, bill_download_url=URL)
    statement, [first, second] = converse(adapter().statement(FetchStatement(DAY)), answer, file)
    assert statement.totals.payments == 1
    assert asked(first)[1] == {"bill_type": "trade", "bill_date": "2019-09-16"}
    assert (second.method, second.url) == ("GET", URL)


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ([failed(QUERY, "isp.bill_not_exist")], StatementProblem.EMPTY_DAY),
        ([failed(QUERY, "isp.unknow-error", "20000")], StatementProblem.UNKNOWN),
        ([failed(QUERY, "isp.bill_not_exist", signer="stranger")], StatementProblem.UNKNOWN),
        ([ok(QUERY)], StatementProblem.UNKNOWN),
        ([NotSent()], StatementProblem.UNKNOWN),
        ([ok(QUERY, bill_download_url=URL), Silence()], StatementProblem.UNKNOWN),
        ([ok(QUERY, bill_download_url=URL), HttpReply(403, {}, b"expired")], StatementProblem.UNKNOWN),
        ([ok(QUERY, bill_download_url=URL), HttpReply(200, {}, packed(GOOD)[:-30])], StatementProblem.CORRUPT),
    ],
)
def test_why_there_is_no_statement(answers, problem):
    with pytest.raises(StatementError) as caught:
        converse(adapter().statement(FetchStatement(DAY)), *answers)
    assert caught.value.problem is problem


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_damage_anywhere_is_corrupt_or_harmless(seed, inside):
    chance = random.Random(seed)
    raw = bytearray(GOOD if inside else packed(GOOD))
    for _ in range(chance.randrange(1, 4)):
        at, choice = chance.randrange(len(raw)), chance.randrange(3)
        raw[at : at + choice] = chance.randbytes(chance.randrange(3))
    try:
        list(read_statement(DAY, packed(bytes(raw)) if inside else bytes(raw)).lines)
    except StatementError as error:
        assert error.problem is StatementProblem.CORRUPT
