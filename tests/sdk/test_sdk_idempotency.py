"""One key, one effect, one answer; as the SDKs meet it."""

import threading
import time
from typing import Any

import pytest
import stripe
from sdk_talk import TEA, Keys, Talk, fails

from http_wire import Wire
from stack import Shop, Stack

pytestmark = pytest.mark.anyio
JSON = "application/json"


@pytest.fixture
def wire(shop: Shop) -> Any:
    wire = Wire(shop.stack.api, shop.key)
    yield wire
    wire.close()


def key() -> str:
    return f"key-{time.time_ns()}"


REPLAYED = [
    ("/v1/payment_intents", "amount=1250&currency=cny&payment_method_types[]=wechat_pay", 200),
    ("/v1/payment_intents", "amount=1250&currency=cny&confirm=true&payment_method=pm_wechat_pay", 200),
    ("/v1/payment_intents", "amount=1250&currency=cny&customer={customer}&expand[]=customer", 200),
    ("/v1/customers", "name=Li&metadata[a]=1", 200),
    ("/v1/payment_methods", "type=alipay", 200),
    ("/v1/webhook_endpoints", "url=http://127.0.0.1:9/&enabled_events[]=refund.failed", 200),
    ("/v1/payment_intents/{canceled}/cancel", "", 400),
    ("/v1/payment_intents/{canceled}/confirm", "payment_method=pm_wechat_pay", 400),
    ("/v1/refunds", "payment_intent={canceled}", 400),
    ("/v1/customers/{nobody}", "name=Li", 404),
]


@pytest.mark.parametrize(("path", "body", "status"), REPLAYED)
def test_an_answer_is_replayed_byte_for_byte(shop: Shop, wire: Wire, path: str, body: str, status: int) -> None:
    v1 = shop.client().v1
    named = {
        "customer": v1.customers.create({"name": "Han"}).id,
        "canceled": v1.payment_intents.cancel(v1.payment_intents.create(TEA).id).id,
        "nobody": "cus_" + "0" * 26,
    }
    path, body, once = path.format(**named), body.format(**named), key()
    first = wire("POST", path, body, Idempotency_Key=once)
    if "customer=" in body:
        v1.customers.update(named["customer"], {"name": "Changed"})
    again = wire("POST", path, body, Idempotency_Key=once)

    assert first.status == status, first
    assert (again.status, again.body) == (first.status, first.body)
    assert ("idempotent-replayed" in first.headers, again.headers.get("idempotent-replayed")) == (False, "true")
    assert again.headers["idempotency-key"] == once
    assert again.headers["request-id"] != first.headers["request-id"]


def test_a_key_is_for_one_request(shop: Shop, wire: Wire) -> None:
    once, body = key(), "amount=1250&currency=cny"
    made = wire("POST", "/v1/payment_intents", body, Idempotency_Key=once).json["id"]
    others = [
        ("/v1/payment_intents", body + "&description=x"),
        ("/v1/payment_intents", body + "&expand[]=customer"),
        (f"/v1/payment_intents/{made}", "description=x"),
        ("/v1/customers", "name=Li"),
    ]
    for path, other in others:
        got = wire("POST", path, other, Idempotency_Key=once)
        assert (got.status, got.error["type"]) == (400, "idempotency_error"), (path, other)
    assert wire("POST", "/v1/payment_intents", "currency=cny&amount=1250", Idempotency_Key=once).json["id"] == made
    as_json = wire(
        "POST", "/v1/payment_intents", '{"currency": "cny", "amount": 1250}', type=JSON, Idempotency_Key=once
    )
    assert as_json.json["id"] == made, "a form and JSON that say the same are the same request"


def test_what_is_malformed_does_not_use_the_key_up(wire: Wire) -> None:
    once = key()
    for wrong in ("amount=x&currency=cny", "amount=1&currency=xxx", "amount=1", "amount=1&currency=cny&tea=1"):
        assert wire("POST", "/v1/payment_intents", wrong, Idempotency_Key=once).status == 400
    assert wire("POST", "/v1/payment_intents", "amount=1&currency=cny", Idempotency_Key=once).status == 200


async def test_keys_of_two_merchants_do_not_meet(stack: Stack, shop: Shop) -> None:
    once, other = key(), await stack.merchant("Other")
    mine = shop.client().v1.customers.create({"name": "a"}, {"idempotency_key": once})
    theirs = other.client().v1.customers.create({"name": "b"}, {"idempotency_key": once})
    assert (mine.name, theirs.name) == ("a", "b")


def test_a_decline_is_replayed_as_a_decline(keys: Keys, talk: Talk) -> None:
    declined, options = {**TEA, "confirm": True, "payment_method": "pm_wechat_pay"}, {"idempotency_key": key()}
    pay = talk.with_key(keys.declined).v1.payment_intents
    one = fails(stripe.CardError, lambda: pay.create(declined, options), http_status=402)
    two = fails(stripe.CardError, lambda: pay.create(declined, options), http_status=402)
    assert one.http_body == two.http_body
    assert len(pay.list().data) == 1


@pytest.mark.parametrize("wrong", ["", "x" * 256, "käse"])
def test_a_key_is_printable_and_not_too_long(wire: Wire, wrong: str) -> None:
    got = wire("POST", "/v1/customers", "name=Li", Idempotency_Key=wrong)
    assert (got.status, got.error["param"]) == (400, "Idempotency-Key")


def test_while_the_first_runs_the_second_hears_409(shop: Shop, wire: Wire) -> None:
    """The channel takes two seconds: meanwhile the key runs.  The SDK's own retries end with the one answer."""
    options: Any = {"idempotency_key": key()}
    slow: Any = {**TEA, "confirm": True, "payment_method": "pm_sim_wechat_pay__delay=2"}
    answers: list[stripe.PaymentIntent] = []
    first = threading.Thread(target=lambda: answers.append(shop.client().v1.payment_intents.create(slow, options)))
    first.start()
    deadline = time.monotonic() + 20
    while not shop.client().v1.payment_intents.list({"limit": 1}).data or (
        shop.client().v1.payment_intents.list({"limit": 1}).data[0].status != "processing"
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)

    error = fails(stripe.APIError, lambda: shop.client().v1.payment_intents.create(slow, options), http_status=409)
    body: Any = error.json_body
    assert body["error"]["code"] == "idempotency_key_in_use"
    assert error.headers is not None and error.headers["Stripe-Should-Retry"] == "true"
    patient = shop.client(max_network_retries=8).v1.payment_intents.create(slow, options)
    first.join()
    assert (patient.id, patient.status) == (answers[0].id, "requires_action")
    assert patient.last_response is not None and patient.last_response.headers["Idempotent-Replayed"] == "true"
