"""WeChat Pay's trade bill: a real one, and everything that may be wrong with one."""

import gzip
import hashlib
import random
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import converse
from wechat_side import adapter, error, reply, signed_by_merchant

from golden import BESIDE, lacking
from guilder.channels.model import (
    FetchStatement,
    LineKind,
    StatementError,
    StatementLine,
    StatementProblem,
    Totals,
)
from guilder.channels.wechatpay.statement import read_statement
from guilder.core.amount import cny
from guilder.core.exchange import HttpReply, NotSent, Silence

DAY = date(2021, 1, 28)
GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "wechat_tradebill_all_2021-01-28.csv"
GOLDEN_SHA1 = "dcd7ceb3d382a1181798368bb15d8437de46c00f"

NAMES = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,"
    "代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
)
SUMMARY = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
PAID = (
    "`2021-01-28 17:07:11,`wx81,`1601959334,`0,`,`4200001,`order-1,`oUser,`NATIVE,`SUCCESS,`OTHERS,`CNY,`12.00,`0.50,"
    "`0,`0,`0.00,`0.00,`,`,`咖啡, 两杯,`,`0.07200,`0.60%,`12.50,`0.00,`"
)
BACK = (
    "`2021-01-28 23:59:59,`wx81,`1601959334,`0,`,`4200001,`order-1,`oUser,`NATIVE,`REFUND,`OTHERS,`CNY,`0.00,`0.00,"
    "`5030001,`refund-1,`4.80,`0.20,`ORIGINAL,`PROCESSING,`咖啡, 两杯,`,`-0.02880,`0.60%,`0.00,`5.00,`"
)
SUMS = "`2,`12.00,`4.80,`0.20,`0.04320,`12.50,`5.00"


def bill(*lines: str) -> bytes:
    return ("\ufeff" + "\r\n".join(lines) + "\r\n").encode()


def sha1(raw: bytes) -> str:
    return hashlib.sha1(raw).hexdigest()


GOOD = bill(NAMES, PAID, BACK, SUMMARY, SUMS)


@pytest.mark.skipif(lacking(GOLDEN), reason=BESIDE)
def test_a_real_bill_is_read_hash_and_totals_included():
    packed = gzip.compress(GOLDEN.read_bytes())
    statement = read_statement(DAY, packed, GOLDEN_SHA1)
    assert statement.totals == Totals(payments=3, paid=3, refunds=0, refunded=0, fee=0)
    lines = list(statement.lines)
    assert [line.key for line in lines] == ["S20210128170702357723", "S20210128153505214586", "S20210128165824499930"]
    assert lines[0].channel_ref == "4200000925202101284997714292"
    assert lines[0].at == datetime(2021, 1, 28, 9, 7, 11, tzinfo=UTC)
    with pytest.raises(StatementError):
        read_statement(DAY, GOLDEN.read_bytes().replace(b"\r\n", b"\n"), GOLDEN_SHA1)
    with pytest.raises(StatementError):
        read_statement(DAY, GOLDEN.read_bytes()[3:], GOLDEN_SHA1)


@pytest.mark.parametrize("packed", [GOOD, gzip.compress(GOOD)], ids=["plain", "gzip"])
def test_payments_and_refunds(packed):
    statement = read_statement(DAY, packed, sha1(GOOD).upper())
    assert (statement.currency, statement.fee_exponent, bytes(statement.raw)) == ("CNY", 5, GOOD)
    assert statement.sha256 == hashlib.sha256(GOOD).hexdigest()
    assert statement.totals == Totals(payments=1, paid=1250, refunds=1, refunded=500, fee=4320)
    assert list(statement.lines) == [
        StatementLine(
            number=1,
            kind=LineKind.PAYMENT,
            key="order-1",
            payment_key="order-1",
            channel_ref="4200001",
            amount=cny(1250),
            fee=7200,
            at=datetime(2021, 1, 28, 9, 7, 11, tzinfo=UTC),
            status="SUCCESS",
            description="咖啡, 两杯",
        ),
        StatementLine(
            number=2,
            kind=LineKind.REFUND,
            key="refund-1",
            payment_key="order-1",
            channel_ref="5030001",
            amount=cny(500),
            fee=-2880,
            at=datetime(2021, 1, 28, 15, 59, 59, tzinfo=UTC),
            status="PROCESSING",
            description="咖啡, 两杯",
        ),
    ]


def test_columns_are_found_by_name_old_ones_too():
    old_names = "商户订单号,交易时间,微信订单号,交易状态,货币种类,总金额,企业红包金额,微信退款单号,商户退款单号,退款金额,企业红包退款金额,退款状态,商品名称,手续费"
    row = "`order-1,`2016-01-28 17:07:11,`1001,`SUCCESS,`CNY,`0.01,`0.00,`0,`0,`0.00,`0.00,`,`茶,`0.00006"
    raw = bill(
        old_names,
        row,
        "总交易单数,总交易额,总退款金额,总企业红包退款金额,手续费总金额",
        "`1,`0.01,`0.00,`0.00,`0.00006",
    )
    statement = read_statement(DAY, raw, sha1(raw))
    assert statement.totals == Totals(1, 1, 0, 0, 6)
    assert [(line.key, line.channel_ref, line.fee) for line in statement.lines] == [("order-1", "1001", 6)]


def test_a_day_whose_rows_are_all_taken_out():
    raw = bill(NAMES, SUMMARY, "`0,`0.00,`0.00,`0.00,`0.00000,`0.00,`0.00")
    assert read_statement(DAY, raw, sha1(raw)).totals == Totals(0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        bill(""),
        bill(NAMES),
        bill(NAMES, PAID, BACK),
        bill(NAMES, PAID, BACK, SUMMARY),
        bill(PAID, BACK, SUMMARY, SUMS),
        bill(NAMES, PAID, SUMMARY, SUMS),  # a row too few
        bill(NAMES, PAID, PAID, BACK, SUMMARY, SUMS),  # a row too many
        bill(NAMES, PAID, BACK, SUMMARY, SUMS, SUMS),
        bill(NAMES, PAID, BACK, SUMMARY, SUMS.replace("`2,", "`3,")),
        bill(NAMES, PAID, BACK, SUMMARY, SUMS.replace("12.50", "12.51")),
        bill(NAMES, PAID, BACK, SUMMARY, SUMS.replace("`12.00", "`12.01")),
        bill(NAMES, PAID, BACK, SUMMARY, SUMS.replace("4.80", "4.81")),
        bill(NAMES, PAID, BACK, SUMMARY, SUMS.replace("0.20", "0.21")),
        bill(NAMES, PAID, BACK, SUMMARY, SUMS.replace("0.04320", "0.04321")),
        bill(NAMES, PAID, BACK, "总交易单数", "`2"),
        bill(NAMES, PAID.replace("12.50", "12,50"), BACK, SUMMARY, SUMS),
        bill(NAMES, PAID.replace("SUCCESS", "NEWS"), BACK, SUMMARY, SUMS),
        bill(NAMES, PAID.replace("`CNY", "`USD"), BACK, SUMMARY, SUMS),
        bill(NAMES.replace("手续费", "佣金"), PAID, BACK, SUMMARY, SUMS),
        bill(NAMES, PAID + ",`more", BACK, SUMMARY, SUMS),
    ],
    ids=lambda raw: "",
)
def test_a_bill_that_contradicts_itself_is_corrupt(raw):
    with pytest.raises(StatementError) as caught:
        read_statement(DAY, raw, sha1(raw))
    assert caught.value.problem is StatementProblem.CORRUPT


@pytest.mark.parametrize("damage", ["2021-01-28 25:07:11", "yesterday", ""])
def test_a_row_without_a_time_is_corrupt_when_it_is_read(damage):
    raw = bill(NAMES, PAID.replace("2021-01-28 17:07:11", damage), BACK, SUMMARY, SUMS)
    with pytest.raises(StatementError, match="row 1"):
        list(read_statement(DAY, raw, sha1(raw)).lines)


@pytest.mark.parametrize(
    "packed", [gzip.compress(GOOD)[:-20], gzip.compress(GOOD) + b"x", b"\x1f\x8b\x08nonsense", GOOD[:-1], GOOD + b" "]
)
def test_a_file_that_came_damaged_is_corrupt(packed):
    with pytest.raises(StatementError) as caught:
        read_statement(DAY, packed, sha1(GOOD))
    assert caught.value.problem is StatementProblem.CORRUPT


ADDRESS = {
    "hash_type": "SHA1",
    "hash_value": sha1(GOOD),
    "download_url": "https://api.mch.weixin.qq.com/v3/billdownload/file?token=abc%2Fdef",
}


def test_the_address_comes_signed_and_the_file_by_a_signed_call():
    file = HttpReply(200, {}, gzip.compress(GOOD))
    statement, [first, second] = converse(adapter().statement(FetchStatement(DAY)), reply(200, ADDRESS), file)
    assert statement.totals.payments == 1
    assert first.url.endswith("/v3/bill/tradebill?bill_date=2021-01-28&bill_type=ALL&tar_type=GZIP")
    assert second.url == ADDRESS["download_url"] and second.max_bytes > 1 << 20
    assert signed_by_merchant(first) and signed_by_merchant(second)


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ([error(400, "NO_STATEMENT_EXIST")], StatementProblem.EMPTY_DAY),
        ([error(400, "STATEMENT_CREATING")], StatementProblem.NOT_READY),
        ([error(400, "PARAM_ERROR")], StatementProblem.UNKNOWN),
        ([error(500, "SYSTEM_ERROR")], StatementProblem.UNKNOWN),
        ([error(400, "NO_STATEMENT_EXIST", signer="stranger")], StatementProblem.UNKNOWN),
        ([reply(200, {"download_url": "x"})], StatementProblem.UNKNOWN),
        ([NotSent()], StatementProblem.UNKNOWN),
        ([Silence()], StatementProblem.UNKNOWN),
        ([reply(200, ADDRESS), Silence()], StatementProblem.UNKNOWN),
        ([reply(200, ADDRESS), HttpReply(400, {}, b"{}")], StatementProblem.UNKNOWN),
        ([reply(200, ADDRESS), HttpReply(200, {}, GOOD[:-9])], StatementProblem.CORRUPT),
        ([reply(200, ADDRESS | {"hash_type": "MD5"}), HttpReply(200, {}, GOOD)], StatementProblem.CORRUPT),
    ],
)
def test_why_there_is_no_statement(answers, problem):
    with pytest.raises(StatementError) as caught:
        converse(adapter().statement(FetchStatement(DAY)), *answers)
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
        list(read_statement(DAY, bytes(raw), sha1(raw)).lines)
    except StatementError as error:
        assert error.problem is StatementProblem.CORRUPT
