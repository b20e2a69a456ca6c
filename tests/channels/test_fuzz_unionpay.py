"""Whatever UnionPay's side sends, an adapter answers with an outcome or a typed error, never with another."""

from contextlib import suppress
from urllib.parse import urlencode

from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import KEY, NOW, close, converse, create, query
from unionpay_side import adapter, body, callback, form, signed

from guilder.channels.model import BadSignature, Inbound, Notice, Outcome, State, StatementError, Unreadable
from guilder.channels.unionpay.sign import read_reply
from guilder.channels.unionpay.statement import read_statement
from guilder.core.exchange import HttpReply

QUICK = settings(max_examples=100, deadline=None)
ADAPTER = adapter()
NAMES = st.sampled_from(
    sorted({*callback(), "origRespCode", "qrCode", "tn", "signPubKeyCert", "signature", "origQryId", "x"})
)
VALUES = st.text(max_size=24) | st.sampled_from(
    ["00", "05", "34", "12", "", "20261121120000", KEY, "1250", "[", "}", "\r\n"]
)
FIELDS = st.dictionaries(NAMES, VALUES, max_size=6)


@QUICK
@given(st.binary(max_size=200) | st.dictionaries(NAMES, VALUES).map(body))
def test_a_reply_is_read_or_refused(data):
    try:
        fields = read_reply(data)
    except ValueError:
        return
    assert body({n: bytes(v).decode("latin-1") for n, v in fields.items()}).decode() == data.decode("latin-1")


@QUICK
@given(st.binary(max_size=200), st.integers(100, 599))
def test_an_unsigned_answer_is_unknown(data, status):
    for ask in (create("qr", created_at=NOW), query("barcode"), close("page"), close("barcode", cancel=True)):
        outcome, _ = converse(ADAPTER.ask(ask), HttpReply(status, {}, data))
        assert outcome.state is State.UNKNOWN


@QUICK
@given(FIELDS, st.sampled_from(["page", "qr", "barcode", "app"]))
def test_a_signed_answer_of_any_form_is_an_outcome(fields, way):
    said = {**callback(), "origRespCode": "00", **fields}
    answer = HttpReply(
        200, {}, body(signed({n: v for n, v in said.items() if n not in ("signPubKeyCert", "signature")}))
    )
    outcome, _ = converse(ADAPTER.ask(query(way)), answer)
    assert isinstance(outcome, Outcome)


@QUICK
@given(FIELDS | st.binary(max_size=200))
def test_a_callback_is_a_notice_or_a_typed_refusal(fields):
    if isinstance(fields, bytes):
        inbound = Inbound({}, fields)
    else:
        said = {n: v for n, v in {**callback(), **fields}.items() if n not in ("signPubKeyCert", "signature")}
        inbound = form(signed(said)) if "x" in fields else Inbound({}, urlencode({**signed(said), **fields}).encode())
    with suppress(BadSignature, Unreadable):
        assert isinstance(ADAPTER.notice(inbound), Notice)


@QUICK
@given(st.binary(max_size=300))
def test_bytes_are_a_statement_or_none(data):
    with suppress(StatementError):
        read_statement(NOW.date(), data)
