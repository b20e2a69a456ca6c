"""Bad input over HTTP: whatever comes, the answer is the envelope with a typed error, never a 5xx, and nothing is made."""

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from http_wire import FORM, Got, Wire
from stack import Shop, Stack

JSON = "application/json"
GOOD = "amount=100&currency=cny"
INTENTS = "/v1/payment_intents"


@pytest.fixture(scope="module")
async def shop(anyio_backend: object, stack: Stack) -> Shop:
    return await stack.merchant("Bad input")


@pytest.fixture
def wire(shop: Shop) -> Iterator[Wire]:
    """A door; at the end of each test nothing has been made through it."""
    door = Wire(shop.stack.api, shop.key)
    before = made(door)
    yield door
    assert made(door) == before, "bad input has made something"
    door.close()


def made(wire: Wire) -> list[Any]:
    """Everything that the merchant has."""
    kinds = ("payment_intents", "customers", "payment_methods", "checkout/sessions", "webhook_endpoints", "events")
    return [wire("GET", f"/v1/{kind}?limit=100").json["data"] for kind in kinds]


def refused(got: Got, *statuses: int, param: str | None = None) -> None:
    assert got.status in statuses, got
    error = got.error
    assert error["type"] == "invalid_request_error", error
    if param is not None:
        assert error.get("param") == param, error


AMOUNTS = ["0", "-1", "-0", str(2**63), str(2**63 - 1), str(2**64), "9" * 400, "1.5", "1.0", "1e2", "1E2", "0x10", "1_000", "+1", " 1", "1 ",
           "１２", "٣", "NaN", "Infinity", "true", "null", "", "一百", "1,000", "100000000000"]  # fmt: skip


@pytest.mark.parametrize("amount", AMOUNTS)
def test_an_amount_is_a_positive_integer_within_bounds(wire: Wire, amount: str) -> None:
    refused(wire("POST", INTENTS, f"amount={quote(amount)}&currency=cny"), 400, param="amount")


JSON_AMOUNTS = [
    "0",
    "-1",
    str(2**63),
    str(2**200),
    "1.5",
    "1e-1",
    '"100"',
    '"1"',
    "true",
    "null",
    "[]",
    "[100]",
    "{}",
    "1e400",
    "100000000000",
]


@pytest.mark.parametrize("amount", JSON_AMOUNTS)
def test_an_amount_in_json_is_a_number(wire: Wire, amount: str) -> None:
    refused(wire("POST", INTENTS, f'{{"amount": {amount}, "currency": "cny"}}', type=JSON), 400)


FORMS: dict[str, bytes | str] = {
    "unknown currency": "amount=100&currency=xyz",
    "no currency": "amount=100",
    "currency of two": "amount=100&currency[]=cny&currency[]=usd",
    "upper case": "amount=100&currency=CNY",
    "unknown parameter": GOOD + "&tea=green",
    "unknown inside": GOOD + "&automatic_payment_methods[enabled]=true&automatic_payment_methods[tea]=1",
    "given twice": "amount=100&amount=200&currency=cny",
    "value and object": GOOD + "&metadata=x&metadata[a]=1",
    "object for text": GOOD + "&description[a]=x",
    "text for object": GOOD + "&shipping=x",
    "text for boolean": GOOD + "&confirm=yes",
    "unknown type": GOOD + "&payment_method_types[]=card",
    "element twice": GOOD + "&payment_method_types[0]=alipay&payment_method_types[0]=wechat_pay",
    "list of holes": GOOD + "&payment_method_types[x]=alipay",
    "empty": "",
    "no names": "&&==&=x",
    "open bracket": GOOD + "&metadata[a=1",
    "closed bracket": GOOD + "&metadata]a[=1",
    "deep": GOOD + "&metadata" + "[a]" * 50 + "=1",
    "very deep": GOOD + "&metadata" + "[a]" * 20_000 + "=1",
    "many": "&".join(f"metadata[k{i}]=v" for i in range(2000)),
    "bad percent": GOOD + "&description=%zz",
    "half percent": GOOD + "&description=%e4%b8",
    "bad utf-8": GOOD.encode() + b"&description=\xff\xfe",
    "surrogate": GOOD + "&description=%ed%a0%80",
    "overlong": GOOD + "&description=%c0%80",
    "nul": GOOD + "&description=a%00b",
    "raw nul": GOOD.encode() + b"&description=a\x00b",
    "nul in a name": GOOD + "&metadata[a%00b]=x",
    "long text": GOOD + "&description=" + "x" * 1001,
    "long name": GOOD + "&" + "n" * 10_000 + "=1",
    "foreign customer": GOOD + "&customer=cus_" + "0" * 26,
    "customer of another kind": GOOD + "&customer=pi_" + "0" * 26,
    "unknown method": GOOD + "&payment_method=pm_unknown",
    "card number": GOOD + "&payment_method_data[type]=card&payment_method_data[card][number]=4242424242424242",
    "confirm with nothing": GOOD + "&confirm=true",
    "script as url": GOOD + "&confirm=true&payment_method=pm_alipay&return_url=javascript:alert(1)",
    "expand nothing": GOOD + "&expand[]=tea",
    "expand too deep": GOOD + "&expand[]=latest_charge.payment_intent.latest_charge.payment_intent.customer",
}


@pytest.mark.parametrize("name", FORMS)
def test_a_bad_form(wire: Wire, name: str) -> None:
    got = wire("POST", INTENTS, FORMS[name])
    refused(got, 400, 404)
    assert b"4242" not in got.body
    assert len(got.body) < 2000, "an error repeats little of what was wrong"


DOCUMENTS: dict[str, bytes | str] = {
    "nothing there": " ",
    "not json": "amount=100",
    "cut off": '{"amount": 100',
    "two": '{"amount": 100} {"currency": "cny"}',
    "comma": '{"amount": 100, "currency": "cny",}',
    "comment": '{"amount": 100, /* tea */ "currency": "cny"}',
    "list": "[]",
    "text": '"x"',
    "null": "null",
    "twice": '{"amount": 100, "amount": 1, "currency": "cny"}',
    "twice inside": '{"amount": 100, "currency": "cny", "metadata": {"a": "1", "a": "2"}}',
    "nan": '{"amount": NaN, "currency": "cny"}',
    "nul": '{"amount": 100, "currency": "cny", "description": "a\\u0000b"}',
    "lone surrogate": '{"amount": 100, "currency": "cny", "description": "\\ud800"}',
    "bad utf-8": b'{"amount": 100, "currency": "cny", "description": "\xff"}',
    "byte order mark": b'\xef\xbb\xbf{"amount": 100, "currency": "cny"}',
    "utf-16": '{"amount": 100, "currency": "cny"}'.encode("utf-16"),
    "deep": '{"metadata": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "deep objects": '{"a":' * 20_000 + "1" + "}" * 20_000,
    "numbers in metadata": '{"amount": 100, "currency": "cny", "metadata": {"a": 1}}',
    "null in metadata": '{"amount": 100, "currency": "cny", "metadata": {"a": null}}',
    "text for list": '{"amount": 100, "currency": "cny", "payment_method_types": "alipay"}',
    "endless number": '{"amount": ' + "9" * 5000 + ', "currency": "cny"}',
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_bad_document(wire: Wire, name: str) -> None:
    refused(wire("POST", INTENTS, DOCUMENTS[name], type=JSON), 400)


@pytest.mark.parametrize(
    "type", ["text/plain", "application/xml", "multipart/form-data; boundary=x", "", "application/json+x", "*/*"]
)
def test_another_content_type(wire: Wire, type: str) -> None:
    refused(wire("POST", INTENTS, GOOD, type=type), 415)


def test_parameters_of_a_post_belong_in_its_body(wire: Wire) -> None:
    refused(wire("POST", f"{INTENTS}?{GOOD}"), 400, param="amount")


PLACES = [
    ("GET", "/v1/nothing", 404), ("POST", "/v1/nothing", 404), ("GET", "/v1/", 404), ("GET", "/v1", 404), ("GET", "/", 404),
    ("GET", "/v1/payment_intents/", 404), ("GET", "/v1//payment_intents", 404), ("GET", "/v1/payment_intents/a/b/c", 404),
    ("GET", "/v1/%2e%2e/health", 404), ("GET", "/v2/core/events", 404), ("DELETE", "/v1/payment_intents", 405),
    ("PUT", "/v1/customers", 405), ("PATCH", "/v1/customers/cus_1", 405), ("OPTIONS", "/v1/customers", 405),
    ("TRACE", "/v1/customers", 405), ("GET", "/v1/payment_intents/pi_x", 404), ("GET", "/v1/customers/%00", 404),
    ("GET", "/v1/customers/%ff%fe", 404), ("GET", "/v1/customers/" + "x" * 5000, 404), ("GET", "/v1/events/..%2f..%2fetc", 404),
    ("POST", "/v1/refunds/re_x", 404), ("DELETE", "/v1/webhook_endpoints/we_'--", 404), ("GET", "/v1/checkout/sessions/cs_test_x", 404),
    ("POST", "/v1/payment_intents/pi_x/cancel", 404), ("POST", "/v1/payment_methods/pm_card_visa/attach", 400),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "status"), PLACES)
def test_an_unknown_place_or_method(wire: Wire, method: str, path: str, status: int) -> None:
    got = wire(method, path)
    refused(got, status)
    assert (status == 405) == ("allow" in got.headers)


@pytest.mark.parametrize("form", [FORM, JSON])
def test_a_huge_body_is_refused(wire: Wire, form: str) -> None:
    """It is refused by its announced length, so the sender may still be sending; whoever listens hears 413."""
    announced = raw(
        wire, f"POST {INTENTS} HTTP/1.1\r\nContent-Type: {form}\r\nContent-Length: {2**31}\r\n\r\n".encode()
    )
    assert announced[0] == 413 and announced[1]["error"]["code"] == "request_too_large"
    chunks = b"".join(b"8000\r\n" + b"x" * 0x8000 + b"\r\n" for _ in range(10)) + b"0\r\n\r\n"
    head = f"POST {INTENTS} HTTP/1.1\r\nContent-Type: {form}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert raw(wire, head + chunks)[0] == 413
    just = wire("POST", INTENTS, GOOD + "&description=" + "x" * (256 * 1024 - 40))
    refused(just, 400, param="description")


HEADS: dict[str, bytes] = {
    "one huge header": b"GET /v1/customers HTTP/1.1\r\nX-Tea: " + b"x" * 100_000 + b"\r\n\r\n",
    "many headers": b"GET /v1/customers HTTP/1.1\r\n"
    + b"".join(b"X-%d: %s\r\n" % (i, b"x" * 100) for i in range(1000))
    + b"\r\n",
    "huge path": b"GET /v1/customers?limit=" + b"1" * 100_000 + b" HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("name", HEADS)
def test_huge_headers_are_refused(wire: Wire, name: str) -> None:
    status, body = raw(wire, HEADS[name])
    assert status == 431 and body["error"]["type"] == "invalid_request_error"


REQUESTS: dict[str, bytes] = {
    "no http": b"hello\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "two lengths": b"POST /v1/customers HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
    "length and chunks": b"POST /v1/customers HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "negative length": b"POST /v1/customers HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "length of words": b"POST /v1/customers HTTP/1.1\r\nContent-Length: many\r\n\r\n",
    "bad chunk": b"POST /v1/customers HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "header without name": b"GET /v1/customers HTTP/1.1\r\n: x\r\n\r\n",
    "nul in a header": b"GET /v1/customers HTTP/1.1\r\nX-Tea: a\x00b\r\n\r\n",
}


@pytest.mark.parametrize("name", REQUESTS)
def test_what_is_no_http_is_answered_400(wire: Wire, name: str) -> None:
    status, body = raw(wire, REQUESTS[name], key=False)
    assert status == 400 and body["error"]["type"] == "invalid_request_error"


def test_headers_of_the_dialect_are_read_strictly(wire: Wire) -> None:
    refused(wire("POST", INTENTS, GOOD, Stripe_Version="tomorrow"), 400)
    refused(wire("POST", INTENTS, GOOD, Stripe_Account="acct_1"), 400, param="Stripe-Account")
    for key in ("", "x" * 256, "a\tb"):
        refused(wire("POST", INTENTS, GOOD, Idempotency_Key=key), 400, param="Idempotency-Key")
    assert wire("GET", "/v1/customers", traceparent="00-nonsense").status == 200


@pytest.mark.slow
def test_a_body_that_never_comes_ends_in_time(wire: Wire) -> None:
    """A request may take 30 seconds to arrive; then the connection is free again, and the sender knows why."""
    begun = time.monotonic()
    head = f"POST {INTENTS} HTTP/1.1\r\nContent-Type: {FORM}\r\nContent-Length: 100\r\n\r\namount=".encode()
    status, body = raw(wire, head, timeout_s=60)
    assert status == 408 and body["error"]["type"] == "invalid_request_error"
    assert 25 < time.monotonic() - begun < 45


WRITES: list[tuple[str, str, Callable[[int], str]]] = [
    ("POST", "/v1/customers", lambda i: f"email={i}"),
    ("POST", "/v1/payment_methods", lambda i: f"type={i}"),
    ("POST", "/v1/refunds", lambda i: f"amount={i - 1}&payment_intent=pi_{'0' * 26}"),
    ("POST", "/v1/checkout/sessions", lambda i: f"mode=payment&line_items[0][quantity]={i - 1}"),
    ("POST", "/v1/webhook_endpoints", lambda i: f"url=ftp://{i}&enabled_events[]=*"),
]


@pytest.mark.parametrize(("method", "path", "body"), WRITES, ids=[w[1] for w in WRITES])
def test_every_other_write_refuses_too(wire: Wire, method: str, path: str, body: Callable[[int], str]) -> None:
    for wrong in (body(0), body(1), "", "x", "a[b]=%ff", "metadata[a]=" + "x" * 501, "limit=1"):
        if (path, wrong) != ("/v1/customers", ""):  # a customer needs nothing
            refused(wire(method, path, wrong), 400, 404)
        refused(wire(method, path, "{" + wrong, type=JSON), 400)


def raw(wire: Wire, request: bytes, *, key: bool = True, timeout_s: float = 20) -> tuple[int, Any]:
    """Send bytes as they are, and read one answer: its status and envelope."""
    at = urlsplit(wire.at.geturl())
    if key:
        line, _, rest = request.partition(b"\r\n")
        request = line + f"\r\nHost: x\r\nAuthorization: Bearer {wire.key}\r\n".encode() + rest
    with socket.create_connection((at.hostname, at.port), timeout=timeout_s) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has answered, and listens no more
            connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer or len(answer.partition(b"\r\n\r\n")[2]) < length(answer):
            part = connection.recv(65536)
            assert part, f"the connection ended with {answer!r}"
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"request-id: req_" in head.lower()
    return int(head.split(b" ")[1]), json.loads(body[: length(answer)])


def length(answer: bytes) -> int:
    """The announced length of an answer's body."""
    head = answer.partition(b"\r\n\r\n")[0].lower()
    return int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
