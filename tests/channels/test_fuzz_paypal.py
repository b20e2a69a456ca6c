"""Whatever PayPal, or somebody in its place, sends: typed outcomes and typed errors, never anything else."""

import contextlib
import csv
import io
import json
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paypal_side import (
    AUTHORIZATION,
    BATCH,
    CERTIFICATE_AT,
    MEMO,
    MERCHANT,
    ORDER,
    REFUND,
    adapter,
    batch,
    captured,
    complaint,
    held,
    order,
    paid,
    payout_item,
    refunded,
    token,
    trusting,
    webhook,
)
from scripted import KEY, NOW, create, query_refund, refund
from test_paypal_statement import WHOLE

from guilder.channels.model import (
    BadSignature,
    CapturePayment,
    ClosePayment,
    CreatePayout,
    FetchStatement,
    Inbound,
    NeedsTrust,
    Notice,
    Outcome,
    QueryPayment,
    QueryPayout,
    StatementError,
    SubmitEvidence,
    Unreadable,
)
from guilder.channels.paypal.notices import read_notice
from guilder.channels.paypal.settlement import read_report
from guilder.core.amount import cny
from guilder.core.exchange import HttpReply

QUICK = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
WORDS = st.sampled_from(
    [
        "COMPLETED",
        "APPROVED",
        "PENDING",
        "",
        "0",
        "-1",
        "9" * 30,
        "USD",
        "CNY",
        "12.50",
        KEY,
        ORDER,
        "\x00",
        "é",
        "../x",
    ]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
KNOWN = [order("APPROVED"), paid(), order("COMPLETED", authorizations=[held()]), captured(), refunded(), batch(), payout_item(), complaint(),
         {"name": "UNPROCESSABLE_ENTITY", "details": [{"issue": "INSTRUMENT_DECLINED", "link": [{"href": "/v1/payments/payouts/X"}]}]},
         {"transaction_details": [{"transaction_info": {"transaction_id": "X", "transaction_event_code": "T0006", "transaction_amount":
          {"currency_code": "CNY", "value": "1.00"}, "transaction_initiation_date": "2026-11-20T11:03:52+0000"}}], "page": 1, "total_items": 1,
          "total_pages": 1}]  # fmt: skip
ASKS = [
    create("checkout"),
    QueryPayment(KEY, "checkout", NOW, MEMO),
    CapturePayment(KEY, "checkout", NOW, cny(1), cny(2), f"O:{ORDER};A:{AUTHORIZATION}"),
    ClosePayment(KEY, "checkout", NOW, memo=MEMO),
    refund(),
    query_refund(),
    CreatePayout(KEY, cny(1), {"email": "a@b"}, "x", "", NOW),
    QueryPayout(KEY, cny(1), NOW, f"B:{BATCH}"),
    SubmitEvidence("PP-D-1", {"uncategorized_text": "x"}),
]


@st.composite
def spoiled(draw: st.DrawFn) -> Any:
    """Something that PayPal says, with one place in it changed."""
    root = json.loads(json.dumps(draw(st.sampled_from(KNOWN))))
    node = root
    for _ in range(draw(st.integers(0, 6))):
        keys = list(node) if isinstance(node, dict) else range(len(node))
        if not keys:
            break
        at = draw(st.sampled_from(list(keys)))
        if type(node[at]) in (dict, list) and node[at] and draw(st.booleans()):
            node = node[at]
            continue
        if isinstance(node, dict) and draw(st.booleans()):
            del node[at]
        else:
            node[at] = draw(VALUES)
        break
    return root


BODIES = (
    spoiled().map(lambda v: json.dumps(v).encode())
    | VALUES.map(lambda v: json.dumps(v).encode())
    | st.binary(max_size=64)
)
STATUSES = st.sampled_from([200, 200, 200, 201, 204, 400, 404, 409, 422, 500])
REPLIES = st.builds(lambda status, body: HttpReply(status, {}, body), STATUSES, BODIES)


def drive(exchange: Any, replies: list[HttpReply]) -> Any:
    """Carry it out; when the script ends, the last reply repeats."""
    script = [token(), *replies]
    try:
        next(exchange)
        for n in range(200):
            exchange.send(script[min(n, len(script) - 1)])
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it never comes to an end")


@pytest.mark.parametrize("ask", ASKS, ids=lambda a: type(a).__name__)
@QUICK
@given(replies=st.lists(REPLIES, min_size=1, max_size=4))
def test_an_ask_ends_in_an_outcome(ask, replies):
    if hasattr(ask, "payment_memo"):
        ask = replace(ask, payment_memo=MEMO)
    outcome = drive(adapter().ask(ask), replies)
    assert isinstance(outcome, Outcome) and (outcome.memo is None or len(outcome.memo) <= 500)


@QUICK
@given(
    memo=st.text(max_size=60) | st.sampled_from([f"R:{REFUND}", "O:..", "O:a/../b", "B:", "O:x;C:y;A:z"]), reply=REPLIES
)
def test_a_memo_is_never_trusted(memo, reply):
    for ask in (QueryPayment(KEY, "checkout", NOW, memo), QueryPayout(KEY, cny(1), NOW, memo)):
        assert isinstance(drive(adapter().ask(ask), [reply]), Outcome)


EVENTS = st.sampled_from(["CHECKOUT.ORDER.APPROVED", "PAYMENT.CAPTURE.COMPLETED", "PAYMENT.CAPTURE.REFUNDED", "PAYMENT.AUTHORIZATION.CREATED",
                          "PAYMENT.PAYOUTS-ITEM.SUCCEEDED", "PAYMENT.PAYOUTSBATCH.DENIED", "CUSTOMER.DISPUTE.CREATED", "X"])  # fmt: skip


@QUICK
@given(event=EVENTS, resource=spoiled() | VALUES)
def test_a_signed_webhook_is_a_notice_or_unreadable(event, resource):
    with contextlib.suppress(Unreadable):
        assert isinstance(
            read_notice(json.dumps({"id": "WH", "event_type": event, "resource": resource}).encode()), Notice
        )


@QUICK
@given(body=st.binary(max_size=64) | BODIES)
def test_any_bytes_are_a_notice_or_unreadable(body):
    with contextlib.suppress(Unreadable):
        assert isinstance(read_notice(body), Notice)


TRUSTING = trusting()
HEADERS = [
    "paypal-transmission-id",
    "paypal-transmission-time",
    "paypal-transmission-sig",
    "paypal-cert-url",
    "paypal-auth-algo",
]
ADDRESSES = (
    st.text(max_size=40)
    | st.just(CERTIFICATE_AT)
    | st.text(max_size=20).map(lambda end: f"https://api.paypal.com/v1/notifications/certs/{end}")
)


@QUICK
@given(
    changes=st.dictionaries(st.sampled_from(HEADERS), st.text(max_size=40) | ADDRESSES, min_size=1),
    body=st.binary(max_size=40),
)
def test_no_header_gets_anything_else_past(changes, body):
    whole = webhook("CHECKOUT.ORDER.APPROVED", order("APPROVED"))
    for inbound in (
        Inbound({**whole.headers, **changes}, whole.body),
        Inbound(whole.headers, whole.body + body + b" "),
    ):
        try:
            notice = TRUSTING.notice(inbound)
        except (BadSignature, NeedsTrust):
            continue
        assert {**whole.headers, **changes} == whole.headers and notice.outcome.key == KEY


@QUICK
@given(
    reply=REPLIES
    | st.binary(max_size=200).map(
        lambda b: HttpReply(200, {}, b"-----BEGIN CERTIFICATE-----\n" + b + b"\n-----END CERTIFICATE-----\n")
    )
)
def test_whatever_lies_where_a_certificate_should(reply):
    channel = adapter()
    with pytest.raises(NeedsTrust):
        channel.notice(webhook("CHECKOUT.ORDER.APPROVED", order("APPROVED")))
    exchange = channel.refresh_trust()
    next(exchange)
    with pytest.raises(StopIteration) as stop:
        exchange.send(reply)
    assert stop.value.value is False


@QUICK
@given(replies=st.lists(REPLIES, min_size=1, max_size=3))
def test_a_search_is_a_statement_or_an_error_of_statements(replies):
    try:
        statement = drive(adapter().statement(FetchStatement(date(2026, 11, 20))), replies)
        list(statement.lines)
    except StatementError:
        pass


ROWS = list(csv.reader(io.StringIO(WHOLE.decode("utf-8-sig"))))


@st.composite
def reports(draw: st.DrawFn) -> bytes:
    """The report with fields changed, rows dropped or doubled, and the whole cut."""
    rows = [list(row) for row in ROWS]
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(rows) - 1))
        if draw(st.booleans()) and rows[at]:
            rows[at][draw(st.integers(0, len(rows[at]) - 1))] = draw(WORDS | st.text(max_size=6))
        else:
            rows[at : at + 1] = [rows[at]] * draw(st.integers(0, 2))
            rows = rows or [[""]]
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    raw = out.getvalue().encode("utf-8", "replace")
    return raw[: draw(st.integers(0, len(raw)))] if draw(st.booleans()) else raw


@QUICK
@given(raw=reports() | st.binary(max_size=100))
def test_a_report_is_a_statement_or_an_error_of_statements(raw):
    try:
        statement = read_report(date(2026, 11, 20), raw, MERCHANT, "USD")
        count = sum(1 for _ in statement.lines)
        assert count >= statement.totals.payments + statement.totals.refunds
    except StatementError:
        pass
