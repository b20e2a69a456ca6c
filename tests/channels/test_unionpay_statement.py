"""UnionPay's files of a day: what is in them, and everything that may be wrong with them.

The rows have the columns of a file that the gateway really gave (its blanks, its zeros without a side), with other numbers.
"""

import io
import random
import tracemalloc
import zipfile
import zlib
from base64 import b64encode
from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import KEY, REFUND_KEY, converse
from unionpay_side import MER_ID, QUERY_ID, REFUND_ID, adapter, asked, reply

from guilder.channels.model import FetchStatement, LineKind, StatementError, StatementLine, StatementProblem, Totals
from guilder.channels.unionpay.statement import read_statement
from guilder.core.amount import cny
from guilder.core.exchange import NotSent, Silence

DAY = date(2026, 11, 21)
WIDTHS = "3,11,11,6,10,19,12,4,2,21,2,32,2,6,10,13,13,4,15,2,2,6,2,4,32,1,21,15,1,15,32,13,13,8,32,13,13,12,2,1,32,98"
ERROR_WIDTHS = "3,11,11,6,10,19,12,4,2,2,6,10,4,12,13,13,15,15,1,12,2,135"
NO_MONEY = " 000000000000"
PAID = {
    1: "S22", 2: "48022901", 3: "00040000", 4: "001234", 5: "1121120102", 6: "621626*********0018", 7: "000000001250", 8: "4900", 9: "07",
    10: QUERY_ID, 11: "05", 12: KEY, 13: "01", 16: "D000000000008", 17: "C000000001242", 18: "0201", 20: "01", 22: "000201", 28: MER_ID,
    30: "0" * 15, 32: NO_MONEY, 33: "C000000001242", 34: "01080209", 35: "两杯咖啡", 36: NO_MONEY, 37: NO_MONEY, 38: " 00000000000",
    40: "7",
}  # fmt: skip
BACK = {
    **PAID, 1: "S56", 4: "005678", 5: "1121120600", 7: "000000000500", 10: REFUND_ID, 12: REFUND_KEY, 16: "C000000000003",
    17: "D000000000497", 20: "04", 27: QUERY_ID, 33: "D000000000497", 35: KEY, 41: KEY,
}  # fmt: skip
ERROR = {
    1: "E74",
    2: "48022901",
    4: "009999",
    5: "1121090000",
    7: "000000000300",
    15: "D000000000000",
    16: "D000000000300",
}


def record(columns: dict[int, str], widths: str = WIDTHS, end: bytes = b"\r\n") -> bytes:
    cells = [columns.get(n, "").encode("gbk").ljust(int(width)) for n, width in enumerate(widths.split(","), 1)]
    return b" ".join(cells) + end


def packed(*rows: bytes, errors: bytes = b"", more: dict[str, bytes] | None = None) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        files = {f"INN26112188ZM_{MER_ID}": b"".join(rows), f"INN26112188ZME_{MER_ID}": errors}
        for name, content in {**files, f"INN26112188TOTAL_{MER_ID}": b"1\r\n", **(more or {})}.items():
            archive.writestr(name, content)
    return out.getvalue()


GOOD = (record(PAID), record(BACK))


def test_a_record_is_as_long_as_a_real_one():
    assert len(record(PAID, end=b"")) == 607
    assert record(PAID)[:66] == b"S22 48022901    00040000    001234 1121120102 621626*********0018 "


def test_payments_refunds_and_errors():
    file = packed(*GOOD, errors=record(ERROR, ERROR_WIDTHS))
    statement = read_statement(DAY, file)
    assert (statement.currency, statement.fee_exponent, statement.raw) == ("CNY", 2, file)
    assert statement.totals == Totals(payments=1, paid=1250, refunds=1, refunded=500, fee=5)
    assert list(statement.lines) == [
        StatementLine(
            number=1,
            kind=LineKind.PAYMENT,
            key=KEY,
            payment_key=KEY,
            channel_ref=QUERY_ID,
            amount=cny(1250),
            fee=8,
            at=datetime(2026, 11, 21, 4, 1, 2, tzinfo=UTC),
            status="S22",
            description="两杯咖啡",
        ),
        StatementLine(
            number=2,
            kind=LineKind.REFUND,
            key=REFUND_KEY,
            payment_key=KEY,
            channel_ref=REFUND_ID,
            amount=cny(500),
            fee=-3,
            at=datetime(2026, 11, 21, 4, 6, tzinfo=UTC),
            status="S56",
            description=KEY,
        ),
        StatementLine(
            number=3,
            kind=LineKind.OTHER,
            key="",
            payment_key="",
            channel_ref="0099991121090000",
            amount=cny(300),
            fee=0,
            at=datetime(2026, 11, 21, 1, tzinfo=UTC),
            status="ZME E74",
        ),
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({20: "31"}, (LineKind.REFUND, KEY)),  # a void
        ({41: ""}, (LineKind.REFUND, KEY)),  # as our refund says it itself
        ({41: "", 35: "冷了"}, (LineKind.REFUND, "")),
        ({41: "", 35: ""}, (LineKind.REFUND, "")),
        ({20: "02"}, (LineKind.OTHER, REFUND_KEY)),  # no payment of ours
        ({20: ""}, (LineKind.OTHER, REFUND_KEY)),
    ],
)
def test_whose_money_a_row_gives_back(changes, expected):
    [line] = read_statement(DAY, packed(record({**BACK, **changes}))).lines
    assert (line.kind, line.payment_key) == expected


def test_columns_are_counted_in_bytes_and_a_letter_may_be_cut_in_two():
    half = record({**PAID, 35: "X" + "长" * 15}).replace("长 ".encode("gbk"), "长".encode("gbk") + b"\xb3", 1)
    [line] = read_statement(DAY, packed(half)).lines
    assert (line.description, line.amount) == ("X" + "长" * 15, cny(1250))


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b" \r\n", b"\r\n\r\n"])
def test_line_ends_and_the_width_of_the_rest_do_not_matter(end):
    rows = [record(PAID, end=end), record(PAID, WIDTHS.rpartition(",")[0], end=end)]
    assert read_statement(DAY, packed(*rows)).totals.payments == 2
    assert read_statement(DAY, packed(b"".join(rows).rstrip(b"\r\n"))).totals.payments == 2


@pytest.mark.parametrize(
    ("day", "time", "expected"),
    [
        (date(2026, 1, 1), "1231230000", datetime(2025, 12, 31, 15, tzinfo=UTC)),  # the day begins in the old year
        (date(2026, 1, 1), "0101000000", datetime(2025, 12, 31, 16, tzinfo=UTC)),
        (date(2025, 12, 31), "0101000001", datetime(2025, 12, 31, 16, 0, 1, tzinfo=UTC)),
        (date(2028, 3, 1), "0229235959", datetime(2028, 2, 29, 15, 59, 59, tzinfo=UTC)),
        (date(2026, 6, 30), "0630120000", datetime(2026, 6, 30, 4, tzinfo=UTC)),
    ],
)
def test_the_year_is_the_nearest(day, time, expected):
    [line] = read_statement(day, packed(record({**PAID, 5: time}))).lines
    assert line.at == expected


def test_a_discount_changes_what_is_settled():
    row = record({**PAID, 17: "C000000001142", 36: "C000000000100"})
    assert read_statement(DAY, packed(row)).totals.paid == 1250


@pytest.mark.parametrize(
    "rows",
    [
        [record({**PAID, 17: "C000000001243"})],  # does not add up
        [record({**PAID, 17: "D000000001242"})],
        [record({**PAID, 16: "X000000000008"})],
        [record({**PAID, 16: " 000000000008"})],
        [record({**PAID, 16: ""})],
        [record({**PAID, 7: "00000000125"})],
        [record({**PAID, 7: "0000000012.5"})],
        [record({**PAID, 5: "1121250000"})],
        [record({**PAID, 5: "1321120102"})],
        [record({**PAID, 5: "0230120102"})],
        [record({**PAID, 5: "0229120102"})],
        [record({**PAID, 12: ""})],
        [record({**PAID, 12: "订单一"})],
        [record(PAID)[:400]],
        [record(PAID).replace(b"621626*********0018", b"621626****0018")],  # shifted
        [record({**PAID, 2: "一二三四五"}).replace("一".encode("gbk"), "一".encode())],  # UTF-8 is longer
        [*GOOD, b"TOTAL 2\r\n"],
    ],
    ids=lambda rows: "",
)
def test_rows_that_cannot_be_read_are_corrupt(rows):
    with pytest.raises(StatementError) as caught:
        read_statement(DAY, packed(*rows))
    assert caught.value.problem is StatementProblem.CORRUPT


FLIPPED = bytearray(packed(*GOOD))
FLIPPED[len(FLIPPED) // 4] ^= 0xFF


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"<html>",
        packed(*GOOD)[:-30],
        packed(*GOOD)[: len(packed(*GOOD)) // 2],
        bytes(FLIPPED),
        packed(*GOOD, more={f"INN26112088ZM_{MER_ID}": b""}),  # which of the two?
        packed(*GOOD, errors=b"x" * 50),
        packed(*GOOD).replace(b"88ZM", b"88ZX"),
    ],
    ids=lambda file: "",
)
def test_a_file_that_came_damaged_is_corrupt(file):
    if file and b"ZX" in file:
        file = file.replace(b"88ZME", b"88ZXE")
    with pytest.raises(StatementError) as caught:
        read_statement(DAY, file)
    assert caught.value.problem is StatementProblem.CORRUPT


# --- how it comes


def content(file: bytes) -> str:
    return b64encode(zlib.compress(file)).decode()


def test_the_file_comes_inside_a_signed_reply():
    answer = reply(txnType="76", fileName=f"{MER_ID}_20261121.zip", fileContent=content(packed(*GOOD)))
    statement, [call] = converse(adapter().statement(FetchStatement(DAY)), answer)
    assert statement.totals == Totals(1, 1250, 1, 500, 5)
    assert call.url == "https://filedownload.95516.com/"
    fields = asked(call)
    assert {n: fields[n] for n in ("txnType", "txnSubType", "bizType", "fileType", "settleDate", "txnTime")} == {
        "txnType": "76",
        "txnSubType": "01",
        "bizType": "000000",
        "fileType": "00",
        "settleDate": "1121",
        "txnTime": "20261121120000",
    }


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (reply("98"), StatementProblem.EMPTY_DAY),
        (reply("99"), StatementProblem.UNKNOWN),
        (reply("11"), StatementProblem.UNKNOWN),
        (reply("98", signer="stranger"), StatementProblem.UNKNOWN),
        (NotSent(), StatementProblem.UNKNOWN),
        (Silence(), StatementProblem.UNKNOWN),
        (reply("00"), StatementProblem.CORRUPT),
        (reply("00", fileContent="=" * 8), StatementProblem.CORRUPT),
        (reply("00", fileContent=b64encode(packed(*GOOD)).decode()), StatementProblem.CORRUPT),  # not deflated
        (reply("00", fileContent=content(packed(*GOOD))[:-40]), StatementProblem.CORRUPT),
        (reply("00", fileContent=content(b"no zip")), StatementProblem.CORRUPT),
    ],
)
def test_why_there_is_no_statement(answer, problem):
    with pytest.raises(StatementError) as caught:
        converse(adapter().statement(FetchStatement(DAY)), answer)
    assert caught.value.problem is problem


def test_a_long_file_is_read_as_a_stream():
    rows = b"".join(record({**PAID, 12: f"{n:032d}", 10: f"{n:021d}"}) for n in range(20_000))
    file = packed(rows)
    tracemalloc.start()
    try:
        statement = read_statement(DAY, file)
        assert sum(1 for _ in statement.lines) == statement.totals.payments == 20_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(rows) > 12_000_000 and peak < 4_000_000


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_damage_anywhere_is_corrupt_or_harmless(seed, inside):
    chance = random.Random(seed)
    raw = bytearray(b"".join(GOOD) if inside else packed(*GOOD))
    for _ in range(chance.randrange(1, 4)):
        at, choice = chance.randrange(len(raw)), chance.randrange(3)
        raw[at : at + choice] = chance.randbytes(chance.randrange(3))
    try:
        list(read_statement(DAY, packed(bytes(raw)) if inside else bytes(raw)).lines)
    except StatementError as error:
        assert error.problem is StatementProblem.CORRUPT
