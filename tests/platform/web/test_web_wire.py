"""What comes over a real socket, however malformed: always the envelope with its Request-Id, never a 5xx."""

import base64
import json
import socket
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import pytest
from trial_shop import KEY, Running

from guilder.platform.web import VERSION

FORM, JSON = "application/x-www-form-urlencoded", "application/json"
INTENTS = "/v1/payment_intents"
GOOD = b"amount=100&currency=cny"


def ask(
    running: Running, method: str, path: str, body: bytes = b"", kind: str = FORM, **headers: str
) -> tuple[HTTPResponse, Any]:
    connection = HTTPConnection("127.0.0.1", running.port, timeout=10)
    given = {
        "Authorization": f"Bearer {KEY}",
        "Content-Type": kind,
        **{name.replace("_", "-"): v for name, v in headers.items()},
    }
    connection.request(method, path, body, given)
    answer = connection.getresponse()
    read = answer.read()
    connection.close()
    assert answer.headers["Request-Id"].startswith("req_")
    return answer, json.loads(read) if read else None


def raw(running: Running, *parts: bytes) -> tuple[int, dict[str, Any]]:
    """Send bytes as they are; the status and the envelope of whatever comes back until the server hangs up."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as sock:
        try:
            for part in parts:
                sock.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass
        said = b""
        try:
            while chunk := sock.recv(65536):
                said += chunk
        except ConnectionResetError:
            pass
    head, _, body = said.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]


BAD = [
    (b"amount=0&currency=cny", FORM, 400),
    (b"amount=-1&currency=cny", FORM, 400),
    (b"amount=9223372036854775808&currency=cny", FORM, 400),
    (b"amount=1.5&currency=cny", FORM, 400),
    (b"amount=1e2&currency=cny", FORM, 400),
    (b"amount=1&currency=zzz", FORM, 400),
    (b"amount=1&currency=cny&description=%00", FORM, 400),
    (b"amount=1&currency=cny&description=\xff", FORM, 400),
    (b"amount=1&amount=1&currency=cny", FORM, 400),
    (b"&" * 5000, FORM, 400),
    (b"[[]]=1", FORM, 400),
    (b"{", JSON, 400),
    (b"[" * 200_000, JSON, 400),
    (b'{"amount": "1"}', JSON, 400),
    (b'{"\\ud800": 1, "\\ud800": 2}', JSON, 400),
    (b"\xff\xfe", JSON, 400),
    (b'{"amount":1}', "text/plain", 415),
    (b"--x--", "multipart/form-data; boundary=x", 415),
    (b"x", "", 415),
    (b"a" * (256 * 1024 + 1), FORM, 413),
]


@pytest.mark.parametrize(("body", "kind", "status"), BAD, ids=[repr(b)[2:40] for b, _, _ in BAD])
def test_bad_bodies(running: Running, body: bytes, kind: str, status: int) -> None:
    answer, said = ask(running, "POST", INTENTS, body, kind)

    assert answer.status == status
    assert said["error"]["type"] == "invalid_request_error"
    assert said["error"]["message"]


def test_a_chunked_body_has_no_declared_length_and_the_same_bound(running: Running) -> None:
    head = f"POST {INTENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: {FORM}\r\n".encode()
    chunk = b"8000\r\n" + b"a" * 0x8000 + b"\r\n"

    status, error = raw(running, head + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 40)

    assert (status, error["code"]) == (413, "request_too_large")


def test_paths_and_methods(running: Running) -> None:
    unknown, said = ask(running, "GET", "/x")
    assert (unknown.status, said["error"]["message"]) == (404, "Unrecognized request URL (GET: /x).")
    for path in ("/v1/payment_intents/", "/v1", "/v1/", "/v1/nothing/at/all", "/v1/payment_intents/a%2Fb", "/v1/%00"):
        assert ask(running, "GET", path)[0].status == 404
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        answer, said = ask(running, method, INTENTS)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, POST")
        assert said["error"]["code"] == "method_not_allowed"
    assert ask(running, "POST", "/openapi.json")[0].status == 405
    assert ask(running, "GET", INTENTS + "/pi_nobody")[1]["error"]["code"] == "resource_missing"


def test_head_answers_as_get_does_without_the_body(running: Running) -> None:
    got, _ = ask(running, "GET", INTENTS + "?limit=1")
    head, said = ask(running, "HEAD", INTENTS + "?limit=1")

    assert said is None
    assert (head.status, head.headers["Content-Length"]) == (got.status, got.headers["Content-Length"])


def test_keys_come_as_bearer_or_basic(running: Running) -> None:
    basic = base64.b64encode(f"{KEY}:".encode()).decode()
    for good in (f"Bearer {KEY}", f"bearer {KEY}", f"Basic {basic}"):
        assert ask(running, "GET", INTENTS, Authorization=good)[0].status == 200
    for bad in ("", "Bearer", "Bearer nobody", "Basic !!!", "Basic /w==", "Basic Og==", "Digest x", f"Token {KEY}"):
        answer, said = ask(running, "GET", INTENTS, Authorization=bad)
        assert (answer.status, said["error"]["type"]) == (401, "invalid_request_error")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_headers_of_the_dialect(running: Running) -> None:
    answer, _ = ask(
        running,
        "POST",
        INTENTS,
        GOOD,
        Stripe_Version="2020-08-27",
        Idempotency_Key="k 1",
        traceparent=f"00-{'a' * 32}-{'b' * 16}-01",
    )
    assert (answer.status, answer.headers["Stripe-Version"], answer.headers["Idempotency-Key"]) == (200, VERSION, "k 1")
    assert running.shelf.last is not None
    assert running.shelf.last.traceparent == f"00-{'a' * 32}-{'b' * 16}-01"

    for name, value in (
        ("Stripe_Version", "latest"),
        ("Stripe_Account", "acct_1"),
        ("Idempotency_Key", ""),
        ("Idempotency_Key", "é"),
    ):
        assert ask(running, "POST", INTENTS, GOOD, **{name: value})[0].status == 400
    assert ask(running, "POST", INTENTS, GOOD, traceparent="junk")[0].status == 200
    assert running.shelf.last.traceparent is None
    assert ask(running, "GET", INTENTS, Idempotency_Key="")[0].status == 200


def test_parameters_stand_in_one_place(running: Running) -> None:
    _, said = ask(running, "POST", INTENTS + "?amount=1", GOOD)
    assert (said["error"]["code"], said["error"]["param"]) == ("parameter_unknown", "amount")
    _, said = ask(running, "GET", INTENTS + "?nothing=1")
    assert said["error"]["code"] == "parameter_unknown"


@pytest.mark.parametrize("form", ["one long", "many", "a chunk at a time"])
def test_a_huge_head_is_cut_off(running: Running, form: str) -> None:
    head = f"GET {INTENTS} HTTP/1.1\r\nHost: x\r\n".encode()
    parts = {
        "one long": [head + b"X: " + b"a" * 70_000 + b"\r\n\r\n"],
        "many": [head + b"X: a\r\n" * 20_000 + b"\r\n"],
        "a chunk at a time": [head + b"X: ", *[b"a" * 65536] * 200],
    }[form]

    status, error = raw(running, *parts)

    assert (status, error["type"]) == (431, "invalid_request_error")


def test_a_request_that_does_not_arrive_times_out(running: Running) -> None:
    head = f"POST {INTENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: {FORM}\r\nContent-Length: 50\r\n".encode()

    assert raw(running, head)[0] == 408
    assert raw(running, head + b"\r\namount=")[0] == 408


def test_what_is_no_http_is_answered_with_the_envelope(running: Running) -> None:
    for junk in (
        b"hello\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    ):
        assert raw(running, junk)[0] == 400


def test_one_connection_serves_many_requests(running: Running) -> None:
    connection = HTTPConnection("127.0.0.1", running.port, timeout=10)
    for _ in range(20):
        connection.request("POST", INTENTS, GOOD, {"Authorization": f"Bearer {KEY}", "Content-Type": FORM})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
    connection.close()
