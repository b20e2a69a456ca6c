"""Stripe's itemised report: how it is fetched, what its rows amount to, and everything that may be wrong with one."""

import hashlib
from datetime import UTC, date, datetime
from typing import Any

import pytest
from scripted import converse
from stripe_side import adapter, error, fields, reply

from guilder.channels.model import FetchStatement, LineKind, StatementError, StatementKind, StatementProblem, Totals
from guilder.channels.stripe.statement import COLUMNS, read_statement
from guilder.core.amount import Amount, cny
from guilder.core.exchange import HttpReply, NotSent, Silence

DAY = date(2026, 11, 21)
HEAD = ",".join(COLUMNS)
PAID = 'txn_1,2026-11-21 00:00:01,cny,12.50,0.66,11.84,charge,ch_1,"两杯咖啡, ""大""",12.50,cny,ch_1,pi_1,pay-1,'
BACK = "txn_2,2026-11-21 23:59:59,cny,-5.00,0.00,-5.00,refund,re_1,REFUND FOR CHARGE,-5.00,cny,ch_1,pi_1,pay-1,back-1"
DISPUTE = "txn_3,2026-11-21 12:00:00,cny,-12.50,15.00,-27.50,dispute,du_1,Chargeback,-12.50,cny,ch_1,pi_1,pay-1,"
FEE = "txn_4,2026-11-21 12:00:00,cny,-1.00,0.00,-1.00,fee,fee_1,Radar,,,,,,"
WHOLE = "txn_5,2026-11-21 13:00:00,cny,100.00,3.20,96.80,charge,ch_2,Part,100.00,cny,ch_2,pi_2,pay-2,"
LET_GO = (
    "txn_6,2026-11-21 13:00:00,cny,-40.00,-1.16,-38.84,partial_capture_reversal,ch_2,Part,-40.00,cny,ch_2,pi_2,pay-2,"
)
STRANGER = "txn_7,2026-11-21 14:00:00,cny,9.00,0.56,8.44,charge,ch_3,,9.00,cny,ch_3,pi_3,,"
SEEN = "txn_8,2026-11-21 14:00:00,cny,72.00,2.39,69.61,charge,ch_4,,10.00,usd,ch_4,pi_4,pay-4,"


def file(*rows: str, head: str = HEAD, end: str = "\n") -> bytes:
    return end.join([head, *rows, ""]).encode()


def read(raw: bytes, currency: str = "CNY", size: int | None = None) -> Any:
    return read_statement(DAY, raw, len(raw) if size is None else size, currency)


def test_payments_and_refunds():
    raw = file(PAID, BACK)
    statement = read(raw)
    assert (statement.currency, statement.fee_exponent, statement.raw) == ("CNY", 2, raw)
    assert statement.sha256 == hashlib.sha256(raw).hexdigest()
    assert statement.totals == Totals(payments=1, paid=1250, refunds=1, refunded=500, fee=66)
    paid, back = statement.lines
    assert (paid.number, paid.kind, paid.key, paid.payment_key, paid.channel_ref) == (
        1,
        LineKind.PAYMENT,
        "pay-1",
        "pay-1",
        "pi_1",
    )
    assert (paid.amount, paid.fee, paid.description) == (cny(1250), 66, '两杯咖啡, "大"')
    assert paid.at == datetime(2026, 11, 21, 0, 0, 1, tzinfo=UTC)
    assert (back.kind, back.key, back.payment_key, back.channel_ref) == (LineKind.REFUND, "back-1", "pay-1", "re_1")
    assert (back.amount, back.fee, back.status) == (cny(500), 0, "refund")


@pytest.mark.parametrize("raw", [file(PAID, BACK, end="\r\n"), b"\xef\xbb\xbf" + file(PAID, BACK)], ids=["CRLF", "BOM"])
def test_other_line_ends_and_a_mark(raw):
    assert len(list(read(raw).lines)) == 2


def test_columns_are_found_by_name():
    names = list(reversed(COLUMNS))
    row = dict(zip(COLUMNS, FEE.split(","), strict=True))
    [line] = read(file(",".join([*(row[n] for n in names), "more"]), head=",".join([*names, "new_column"]))).lines
    assert (line.kind, line.key, line.amount, line.status) == (LineKind.FEE, "fee_1", cny(-100), "fee")


def test_what_is_neither_payment_nor_refund_keeps_its_sign():
    statement = read(file(DISPUTE, FEE, FEE.replace(",fee,", ",climate_order_purchase,")))
    assert [(line.kind, line.amount, line.fee) for line in statement.lines] == [
        (LineKind.DISPUTE, cny(-1250), 1500), (LineKind.FEE, cny(-100), 0), (LineKind.OTHER, cny(-100), 0),
    ]  # fmt: skip
    assert statement.totals == Totals(0, 0, 0, 0, 1500)


@pytest.mark.parametrize("rows", [(WHOLE, LET_GO), (LET_GO, WHOLE)], ids=["", "the other way round"])
def test_what_is_captured_in_part_is_one_line(rows):
    statement = read(file(*rows, PAID))
    lines = {line.key: line for line in statement.lines}
    assert (lines["pay-2"].amount, lines["pay-2"].fee) == (cny(6000), 204) and len(lines) == 2
    assert statement.totals == Totals(2, 7250, 0, 0, 270)


def test_what_was_let_go_of_another_days_payment_is_a_line_of_its_own():
    statement = read(file(LET_GO))
    [line] = statement.lines
    assert (line.kind, line.amount, line.fee, line.payment_key) == (LineKind.OTHER, cny(-4000), -116, "pay-2")
    assert statement.totals == Totals(0, 0, 0, 0, -116)


def test_what_is_not_ours_has_stripes_number_for_a_key():
    [line] = read(file(STRANGER)).lines
    assert (line.key, line.payment_key, line.channel_ref) == ("pi_3", "pi_3", "pi_3")


def test_what_the_payer_saw_in_his_currency():
    statement = read(file(SEEN))
    [line] = statement.lines
    assert (line.amount, line.fee, statement.totals.paid) == (Amount(1000, "USD"), 239, 7200)


def test_a_currency_without_decimals():
    row = "txn_1,2026-11-21 00:00:01,jpy,1250,36,1214,charge,ch_1,,1250,jpy,ch_1,pi_1,pay-1,"
    statement = read(file(row), "JPY")
    [line] = statement.lines
    assert (line.amount, line.fee, statement.fee_exponent) == (Amount(1250, "JPY"), 36, 0)
    assert read(file(row.replace("1250,36,1214", "1250.00,36.00,1214.00")), "JPY").totals.paid == 1250


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"\xff",
        file(PAID, head=HEAD.replace("net", "not")),
        file(PAID, head=HEAD + ",net"),
        file(PAID + ",more"),
        file(PAID[:40]),
        file(PAID.replace("11.84", "11.85")),
        file(PAID.replace("12.50", "12.505")),
        file(PAID.replace("12.50", "")),
        file(PAID.replace("12.50", "1e3")),
        file(PAID.replace("0.66", "٠.66")),
        file(PAID.replace("cny,12.50", "usd,12.50")),
        file(PAID.replace("2026-11-21 00:00:01", "2026-11-21")),
        file(PAID.replace("2026-11-21 00:00:01", "2026-13-21 00:00:01")),
        file(PAID.replace('"两杯', '两"杯"x')),
        file(PAID.replace("两杯", '"')),
        file(PAID)[:-30],
    ],
    ids=lambda raw: "",
)
def test_a_file_that_cannot_be_right(raw):
    with pytest.raises(StatementError) as caught:
        list(read(raw).lines)
    assert caught.value.problem is StatementProblem.CORRUPT


def test_a_file_that_is_cut_or_grown():
    raw = file(PAID, BACK)
    for size in (len(raw) - 1, len(raw) + 1):
        with pytest.raises(StatementError) as caught:
            read(raw, size=size)
        assert caught.value.problem is StatementProblem.CORRUPT


def test_a_day_without_rows():
    with pytest.raises(StatementError) as caught:
        read(file())
    assert caught.value.problem is StatementProblem.EMPTY_DAY


# --- the run


ASK = FetchStatement(DAY)
RAW = file(PAID, BACK)


def run(status: str = "succeeded", **changes: Any) -> HttpReply:
    result = {
        "id": "file_1",
        "object": "file",
        "size": len(RAW),
        "url": "https://evil.example/v1/files/file_1/contents",
    }
    fact = {
        "id": "frr_1",
        "object": "reporting.report_run",
        "status": status,
        "result": result if status == "succeeded" else None,
    }
    return reply({**fact, **changes})


CSV = HttpReply(200, {"content-type": "text/csv"}, RAW)


def test_a_run_is_asked_for_once_a_day_and_then_fetched():
    statement, calls = converse(adapter().statement(ASK), run("pending"), run(), CSV)
    assert statement.totals.payments == 1
    made, asked, fetched = calls
    assert (
        made.headers["Idempotency-Key"]
        == "acct_1QabcdefghijklmN-balance_change_from_activity.itemized.3-CNY-2026-11-21"
    )
    said = fields(made)
    assert (said["parameters[interval_start]"], said["parameters[interval_end]"]) == ("1795219200", "1795305600")
    assert said["parameters[columns][13]"] == "payment_metadata[guilder_key]" and said["parameters[currency]"] == "cny"
    assert asked.url == "https://api.stripe.com/v1/reporting/report_runs/frr_1"
    assert fetched.url == "https://files.stripe.com/v1/files/file_1/contents", (
        "never where an answer says: our key goes there"
    )
    assert fetched.headers["Authorization"] == "Bearer sk_test_51Qabc" and fetched.max_bytes > 1 << 28
    _, calls = converse(adapter(base_url="http://127.0.0.1:8002/").statement(ASK), run(), CSV)
    assert calls[-1].url == "http://127.0.0.1:8002/v1/files/file_1/contents"


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ([run("pending"), run("pending")], StatementProblem.NOT_READY),
        ([error(400, "invalid_request_error", param="parameters[interval_end]")], StatementProblem.NOT_READY),
        ([error(400, "invalid_request_error", param="parameters[columns]")], StatementProblem.UNKNOWN),
        ([error(401, "invalid_request_error")], StatementProblem.UNKNOWN),
        ([error(429, "invalid_request_error")], StatementProblem.UNKNOWN),
        ([run("failed", error="no")], StatementProblem.UNKNOWN),
        ([run("succeeded", result=None)], StatementProblem.UNKNOWN),
        ([reply({})], StatementProblem.UNKNOWN),
        ([NotSent()], StatementProblem.UNKNOWN),
        ([run("pending"), Silence()], StatementProblem.UNKNOWN),
        ([run(), Silence()], StatementProblem.UNKNOWN),
        ([run(), HttpReply(403, {}, b"")], StatementProblem.UNKNOWN),
        ([run(), HttpReply(200, {}, RAW[:-1])], StatementProblem.CORRUPT),
    ],
    ids=lambda x: "",
)
def test_when_there_is_nothing_to_read(answers, problem):
    with pytest.raises(StatementError) as caught:
        converse(adapter().statement(ASK), *answers)
    assert caught.value.problem is problem


def test_other_kinds_are_not_handed_out():
    with pytest.raises(StatementError):
        converse(adapter().statement(FetchStatement(DAY, StatementKind.FUNDS)))
