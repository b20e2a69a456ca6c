"""Whatever Stripe's place sends, an adapter answers with an outcome or an error of its own: nothing else escapes."""

import json
from contextlib import suppress
from dataclasses import replace
from datetime import date
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import close, query
from scripted import refund as refunding
from stripe_side import adapter, dispute, event, inbound, intent, payout, refund, reply, signature
from test_stripe import CAPTURE, PAYOUT, TOKEN, known
from test_stripe_statement import BACK, DISPUTE, HEAD, LET_GO, PAID, SEEN, WHOLE

from guilder.channels.model import BadSignature, FetchStatement, Outcome, StatementError, Unreadable
from guilder.channels.stripe.statement import read_statement
from guilder.channels.stripe.ways import EVENTS
from guilder.core.exchange import HttpReply

CHANNEL = adapter()
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
THINGS = [intent(), intent("requires_action"), refund(), payout(), dispute()]
ASKS = [TOKEN, known(query("token")), known(close("token")), CAPTURE, known(refunding()), PAYOUT]


@st.composite
def bent(draw: st.DrawFn) -> dict[str, Any]:
    """One of Stripe's objects with some fields replaced by anything."""
    thing = dict(draw(st.sampled_from(THINGS)))
    for name in draw(st.lists(st.sampled_from(sorted(thing)), max_size=3)):
        thing[name] = draw(JSON)
    return thing


BODIES = (
    st.binary(max_size=200) | JSON.map(lambda v: json.dumps(v).encode()) | bent().map(lambda v: json.dumps(v).encode())
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ASKS), st.sampled_from([200, 400, 402, 404, 409, 500]), BODIES, st.booleans())
def test_replies(ask, status, body, repeated):
    headers = {"idempotent-replayed": "true"} if repeated else {}
    exchange, answer = CHANNEL.ask(ask), HttpReply(status, headers, body)
    next(exchange)
    try:
        for _ in range(4):
            exchange.send(answer)
    except StopIteration as stop:
        assert isinstance(stop.value, Outcome)
        return
    raise AssertionError("it asks without end")


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*EVENTS, "x"]), bent() | JSON, st.integers() | st.just(1795233600))
def test_events(type, thing, created):
    with suppress(Unreadable):
        CHANNEL.notice(inbound(event(type, thing, created=created)))


@settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=80) | st.binary(max_size=80).map(lambda b: f"t=1795233600,v1={b.hex()}"), st.binary(max_size=60)
)
def test_signatures(header, body):
    told = inbound(body, signature(body))
    with suppress(BadSignature, Unreadable):
        CHANNEL.notice(replace(told, headers={"stripe-signature": header}))
    with suppress(Unreadable):
        CHANNEL.notice(told)


ROWS = [PAID, BACK, DISPUTE, WHOLE, LET_GO, SEEN]
CELLS = st.sampled_from(
    ["", '"', "9" * 15, "-0.01", "1e9", "jpy", "cny", "charge", "partial_capture_reversal", "\x00", "\n", "ch_2"]
)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A report with rows doubled, cells replaced and bytes cut or changed."""
    rows = [row.split(",") for row in draw(st.lists(st.sampled_from(ROWS), max_size=12))]
    for row in rows:
        for place in draw(st.lists(st.integers(0, len(row) - 1), max_size=2)):
            row[place] = draw(CELLS | st.text(max_size=6))
    raw = "\n".join([HEAD, *(",".join(row) for row in rows), ""]).encode("utf-8", "surrogatepass")
    cut = draw(st.integers(0, len(raw)))
    return draw(st.sampled_from([raw, raw[:cut], raw[:cut] + draw(st.binary(max_size=4)) + raw[cut:]]))


@settings(max_examples=300, deadline=None)
@given(files() | st.binary(max_size=300), st.sampled_from(["CNY", "JPY", "KWD"]))
def test_reports(raw, currency):
    with suppress(StatementError):
        list(read_statement(date(2026, 11, 21), raw, len(raw), currency).lines)


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_runs(content):
    exchange = CHANNEL.statement(FetchStatement(date(2026, 11, 21)))
    next(exchange)
    with suppress(StatementError, StopIteration):
        for _ in range(4):
            exchange.send(reply(content))
