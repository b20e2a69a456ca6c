"""PayPal's statements: transaction search by pages, and the settlement report."""

import csv
import io
import time
import tracemalloc
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from paypal_side import MERCHANT, adapter, reply, token
from scripted import converse

from guilder.channels.model import FetchStatement, LineKind, StatementError, StatementKind, StatementProblem, Totals
from guilder.channels.paypal.settlement import read_report
from guilder.core.amount import Amount
from guilder.core.exchange import NotSent, Silence

DAY = date(2026, 11, 20)
TRADES, FUNDS = FetchStatement(DAY), FetchStatement(DAY, StatementKind.FUNDS)
AFTER = "2026-11-21T03:00:00Z"


def row(
    id: str = "3C679366HH908993F", code: str = "T0006", amount: str = "12.50", fee: str | None = "-0.75", **changes: Any
) -> dict[str, Any]:
    info = {
        "transaction_id": id,
        "transaction_event_code": code,
        "transaction_initiation_date": "2026-11-20T11:03:52+0000",
        "transaction_updated_date": "2026-11-20T11:03:52+0000",
        "transaction_amount": {"currency_code": "USD", "value": amount},
        "transaction_status": "S",
        "transaction_subject": "two coffees",
        "invoice_id": "k1",
        "custom_field": "k1",
        **changes,
    }
    return {"transaction_info": info | ({"fee_amount": {"currency_code": "USD", "value": fee}} if fee else {})}


def page(
    rows: list[dict[str, Any]], number: int = 1, pages: int = 1, total: int | None = None, refreshed: str = AFTER
) -> Any:
    return reply(200, {
        "transaction_details": rows, "account_number": MERCHANT, "page": number, "total_pages": pages,
        "total_items": len(rows) if total is None else total, "last_refreshed_datetime": refreshed,
    })  # fmt: skip


def fetch(*answers: Any, **changes: str) -> Any:
    return converse(adapter(currency="USD", **changes).statement(TRADES), token(), *answers)


def refused(*answers: Any) -> StatementProblem:
    with pytest.raises(StatementError) as caught:
        fetch(*answers)
    return caught.value.problem


def test_a_day_is_asked_for_by_instants_and_pages():
    first, second = [row(id=f"A{n}", invoice_id=f"k{n}") for n in range(500)], [row(id="B")]
    statement, calls = fetch(page(first, 1, 2, 501), page(second, 2, 2, 501))
    asked = [parse_qs(urlsplit(call.url).query) for call in calls[1:]]
    assert [a["page"] for a in asked] == [["1"], ["2"]]
    assert (asked[0]["start_date"], asked[0]["end_date"]) == (["2026-11-20T00:00:00Z"], ["2026-11-20T23:59:59Z"])
    assert asked[0]["transaction_currency"] == ["USD"]
    lines = list(statement.lines)
    assert [line.number for line in lines] == list(range(1, 502))
    assert statement.totals == Totals(501, 501 * 1250, 0, 0, 501 * 75) and statement.fee_exponent == 2


KINDS = [
    ("T0006", "1.00", LineKind.PAYMENT, 100),
    ("T0000", "1.00", LineKind.PAYMENT, 100),
    ("T0001", "-1.00", LineKind.PAYOUT, 100),
    ("T0000", "-1.00", LineKind.OTHER, -100),
    ("T1107", "-1.00", LineKind.REFUND, 100),
    ("T1107", "1.00", LineKind.OTHER, 100),
    ("T1201", "-1.00", LineKind.DISPUTE, -100),
    ("T1202", "1.00", LineKind.DISPUTE, 100),
    ("T1106", "-1.00", LineKind.DISPUTE, -100),
    ("T0114", "-1.00", LineKind.FEE, -100),
    ("T1108", "1.00", LineKind.FEE, 100),
    ("T0400", "-1.00", LineKind.OTHER, -100),
    ("T0200", "-1.00", LineKind.OTHER, -100),
    ("T9999", "1.00", LineKind.OTHER, 100),
]


@pytest.mark.parametrize(("code", "amount", "kind", "units"), KINDS)
def test_what_each_event_code_stands_for(code, amount, kind, units):
    statement, _ = fetch(page([row(code=code, amount=amount, fee=None)]))
    [line] = statement.lines
    assert (line.kind, line.amount, line.status, line.fee) == (kind, Amount(units, "USD"), code, 0)


def test_a_refund_names_its_payment_and_gives_a_fee_back():
    statement, _ = fetch(page([row(code="T1107", amount="-4.00", fee="0.24", invoice_id="r1")]))
    [line] = statement.lines
    assert (line.key, line.payment_key, line.fee, line.at) == (
        "r1",
        "k1",
        -24,
        datetime(2026, 11, 20, 11, 3, 52, tzinfo=UTC),
    )
    assert statement.totals == Totals(0, 0, 1, 400, -24)


def test_what_is_pending_or_was_denied_is_no_money():
    rows = [row(id=word, transaction_status=word) for word in ("S", "P", "D", "V")]
    statement, _ = fetch(page(rows))
    assert [line.channel_ref for line in statement.lines] == ["S", "V"]


def test_the_same_rows_have_the_same_hash_whenever_they_are_listed():
    one, _ = fetch(page([row()]))
    other, _ = fetch(page([row()], refreshed="2026-11-22T00:00:00Z"))
    assert one.sha256 == other.sha256 and one.raw != other.raw


def test_too_many_rows_are_asked_for_in_halves():
    large = reply(
        400,
        {"name": "RESULTSET_TOO_LARGE", "message": "Result set size is greater than the maximum limit.", "details": []},
    )
    statement, calls = fetch(large, page([row(id="A")]), large, page([row(id="B")]), page([]))
    stretches = [
        (q["start_date"][0][11:], q["end_date"][0][11:]) for q in (parse_qs(urlsplit(c.url).query) for c in calls[1:])
    ]
    assert stretches == [
        ("00:00:00Z", "23:59:59Z"),
        ("00:00:00Z", "11:59:59Z"),
        ("12:00:00Z", "23:59:59Z"),
        ("12:00:00Z", "17:59:59Z"),
        ("18:00:00Z", "23:59:59Z"),
    ]
    assert [line.channel_ref for line in statement.lines] == ["A", "B"]


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ([page([])], StatementProblem.EMPTY_DAY),
        ([page([row(transaction_status="P")])], StatementProblem.EMPTY_DAY),
        ([page([row()], refreshed="2026-11-20T22:00:00Z")], StatementProblem.NOT_READY),
        ([page([row()], total=2)], StatementProblem.CORRUPT),
        ([page([row()], number=2)], StatementProblem.CORRUPT),
        ([page([row()], pages=41, total=20_000)], StatementProblem.CORRUPT),
        ([page([row(amount="1O.00")])], StatementProblem.CORRUPT),
        ([page([row(amount="1.005")])], StatementProblem.CORRUPT),
        ([page([row(transaction_amount={"currency_code": "EUR", "value": "1.00"})])], StatementProblem.CORRUPT),
        ([page([row(transaction_initiation_date="")])], StatementProblem.CORRUPT),
        ([page([row()], refreshed="soon")], StatementProblem.CORRUPT),
        ([reply(200, {"transaction_details": 7})], StatementProblem.CORRUPT),
        ([reply(200, b'{"transaction_det')], StatementProblem.UNKNOWN),
        ([reply(500)], StatementProblem.UNKNOWN),
        ([reply(403, {"name": "NOT_AUTHORIZED"})], StatementProblem.UNKNOWN),
        ([NotSent("x")], StatementProblem.UNKNOWN),
        ([Silence("x")], StatementProblem.UNKNOWN),
    ],
)
def test_what_is_no_statement(answers, problem):
    assert refused(*answers) is problem


# --- the settlement report

COLUMNS = [
    "CH", "Transaction ID", "Invoice ID", "PayPal Reference ID", "PayPal Reference ID Type", "Transaction Event Code",
    "Transaction Initiation Date", "Transaction Completion Date", "Transaction Debit or Credit", "Gross Transaction Amount",
    "Gross Transaction Currency", "Fee Debit or Credit", "Fee Amount", "Fee Currency", "Custom Field", "Consumer ID", "Payment Tracking ID",
    "Store ID", "Bank Reference ID", "Credit Transactional Fee", "Credit Promotional Fee", "Credit Term",
]  # fmt: skip
HEAD = ['"RH",2026/11/21 02:44:19 -0700,"A","7NAVYZ2XTGP4E",009,', '"FH",01']
SECTION = '"SH",2026/11/20 00:00:00 -0700,2026/11/20 23:59:59 -0700,"7NAVYZ2XTGP4E",""'
NAMES = ",".join(f'"{name}"' for name in COLUMNS)


def body(id: str = "3C6", code: str = "T0006", direction: str = "CR", gross: str = "3000", currency: str = "USD", fee: str = '"DR",117', at: str = "2026/11/20 00:01:17 -0700", invoice: str = "k1") -> str:  # fmt: skip
    fee_currency = "" if fee == '"",' else currency
    return f'"SB","{id}","{invoice}","","","{code}",{at},{at},"{direction}",{gross},"{currency}",{fee},"{fee_currency}","k1","","","","",,,""'


def foot(rows: int, usd: str = "3000,0,0,117", more: str = "") -> list[str]:
    return [f'"SF","USD",{usd},"CR",0,"CR",2883,"CR",0,"CR",0,"CR",0,"CR",2883,{rows}', *filter(None, [more]), f'"SC",{rows}', f'"RC",{rows}', f'"FF",{rows}', ""]  # fmt: skip


def report(*lines: str) -> bytes:
    return "\r\n".join(lines).encode("utf-8-sig")


WHOLE = report(*HEAD, SECTION, NAMES, body(), *foot(1))


def read(raw: bytes, currency: str = "USD") -> Any:
    return read_report(DAY, raw, MERCHANT, currency)


def test_a_report_is_fetched_from_the_directory_that_mirrors_it():
    channel = adapter(currency="USD", reports_at="https://files.example/ppreports/", reports_token="t")
    statement, [call] = converse(channel.statement(FUNDS), reply(200, WHOLE))
    assert call.url == "https://files.example/ppreports/STL-20261120.01.009.CSV"
    assert call.headers["Authorization"] == "Bearer t", "and nothing of PayPal's"
    [line] = statement.lines
    assert (line.kind, line.key, line.amount, line.fee) == (LineKind.PAYMENT, "k1", Amount(3000, "USD"), 117)
    assert line.at == datetime(2026, 11, 20, 7, 1, 17, tzinfo=UTC)
    assert statement.totals == Totals(1, 3000, 0, 0, 117)


def test_a_report_in_two_parts_is_one():
    first = report(*HEAD, SECTION, NAMES, body(), '"FF",1', "")
    second = report(*HEAD, body(id="4D7", fee='"",'), *foot(2, "6000,0,0,117"))
    channel = adapter(currency="USD", reports_at="https://files.example/ppreports")
    statement, calls = converse(channel.statement(FUNDS), reply(200, first), reply(200, second))
    assert calls[1].url.endswith("STL-20261120.02.009.CSV") and [line.channel_ref for line in statement.lines] == [
        "3C6",
        "4D7",
    ]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (reply(404), StatementProblem.NOT_READY),
        (reply(500), StatementProblem.UNKNOWN),
        (Silence("x"), StatementProblem.UNKNOWN),
    ],
)
def test_a_report_that_is_not_there(answer, problem):
    channel = adapter(reports_at="https://files.example/ppreports")
    with pytest.raises(StatementError) as caught:
        converse(channel.statement(FUNDS), answer)
    assert caught.value.problem is problem


def test_without_a_directory_there_is_no_report():
    with pytest.raises(StatementError, match="reports_at"):
        converse(adapter().statement(FUNDS))


def test_of_several_currencies_one_is_handed_out_and_all_are_checked():
    yen = '"SF","JPY",110000,0,0,0,"CR",0,"CR",110000,"CR",0,"CR",0,"CR",0,"CR",110000,1'
    raw = report(
        *HEAD, SECTION, NAMES, body(), body("5E8", currency="JPY", gross="110000", fee='"",'), *foot(2, more=yen)
    )
    assert [line.channel_ref for line in read(raw).lines] == ["3C6"]
    [line] = read(raw, "JPY").lines
    assert line.amount == Amount(1100, "JPY"), "hundredths, even of yen"
    with pytest.raises(StatementError):
        read(raw.replace(b'"JPY",110000,0', b'"JPY",110100,0'))


def test_quotes_commas_and_line_ends_in_text():
    raw = report(*HEAD, SECTION, NAMES, body(invoice='a, ""b""\r\nc'), *foot(1))
    assert [line.key for line in read(raw).lines] == ['a, "b"\r\nc']


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"SC",1', b'"SC",2'),
        (b'"RC",1', b'"RC",0'),
        (b'"RC",1\r\n', b""),
        (b'"SC",1\r\n', b""),
        (b'"FF",1', b""),
        (b'"RH",', b'"XH",'),
        (b"3000,0,0,117", b"3001,0,0,117"),
        (b"3000,0,0,117", b"3000,0,117,0"),
        (b'"SF","USD"', b'"SF","EUR"'),
        (b'"CR",3000', b'"CX",3000'),
        (b'"CR",3000', b'"CR",-3000'),
        (b'"CR",3000', b'"CR",30.00'),
        (b'"USD","DR",117,"USD"', b'"USD","DR",117,"EUR"'),
        (b"2026/11/20 00:01:17 -0700,2026/11/20 00:01:17 -0700", b"2026/11/20 00:01:17,2026/11/20 00:01:17"),
        (b'"7NAVYZ2XTGP4E",""', b'"SOMEBODYELSE1",""'),
        (b"Gross Transaction Amount", b"Net Transaction Amount"),
        (b'"SB"', b'"S\xff"'),
        (b'"SB","3C6"', b'"SB","3C6'),
        (WHOLE, b""),
        (WHOLE, WHOLE[: len(WHOLE) * 2 // 3]),
    ],
)
def test_a_report_that_does_not_add_up_is_corrupt(old, new):
    assert old in WHOLE
    with pytest.raises(StatementError) as caught:
        list(read(WHOLE.replace(old, new, 1)).lines)
    assert caught.value.problem is StatementProblem.CORRUPT


def test_a_day_without_rows_is_empty():
    with pytest.raises(StatementError) as caught:
        read(report(*HEAD, SECTION, NAMES, *foot(0, "0,0,0,0")))
    assert caught.value.problem is StatementProblem.EMPTY_DAY


def test_a_large_report_is_never_held_as_objects(capsys):
    rows = 100_000
    raw = report(
        *HEAD,
        SECTION,
        NAMES,
        *(body(id=f"T{n:012d}") for n in range(rows)),
        *foot(rows, f"{3000 * rows},0,0,{117 * rows}"),
    )
    begun = time.perf_counter()
    count = sum(1 for _ in csv.reader(io.StringIO(raw.decode("utf-8-sig"))))
    bare = time.perf_counter() - begun
    begun = time.perf_counter()
    statement = read(raw)
    assert sum(1 for _ in statement.lines) == rows and count > rows
    took = time.perf_counter() - begun
    with capsys.disabled():
        print(f"\nPayPal STL: {rows / took:,.0f} lines/s checked and read; csv.reader alone {count / bare:,.0f}/s")
    few = report(
        *HEAD, SECTION, NAMES, *(body() for _ in range(20_000)), *foot(20_000, f"{3000 * 20_000},0,0,{117 * 20_000}")
    )
    tracemalloc.start()
    for _ in read(few).lines:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20, f"{peak} bytes beside the file's own"
