"""Behaviours of the dialect that no single call shows, spoken by the official Python SDK; `sdk_node/conversations.mjs` has the same."""

import time
from collections.abc import Callable
from typing import Any

import stripe
from sdk_talk import TEA, Talk, fails, wait

BEHAVIOURS: dict[str, Callable[[Talk], None]] = {}


def behaviour(name: str) -> Callable[[Callable[[Talk], None]], Callable[[Talk], None]]:
    """Enter a conversation under its name."""

    def enter(conversation: Callable[[Talk], None]) -> Callable[[Talk], None]:
        BEHAVIOURS[name] = conversation
        return conversation

    return enter


@behaviour("errors by class")
def _(t: Talk) -> None:
    pay, wrong = t.client.v1.payment_intents, stripe.InvalidRequestError

    def create(**params: Any) -> stripe.PaymentIntent:
        return pay.create({**TEA, **params})

    fails(wrong, lambda: create(amount=0), param="amount", http_status=400, code="parameter_invalid_integer")
    fails(wrong, lambda: create(application_fee_amount=1), param="application_fee_amount", code="parameter_unsupported")
    fails(wrong, lambda: create(tea="green"), param="tea", code="parameter_unknown")
    fails(wrong, lambda: create(capture_method="manual"), param="capture_method")
    fails(wrong, lambda: pay.retrieve("pi_" + "0" * 26), http_status=404, code="resource_missing")
    fails(stripe.AuthenticationError, t.with_key("sk_test_wrong").v1.customers.list, http_status=401)
    fails(
        stripe.PermissionError,
        lambda: t.with_key(t.keys.reader).v1.payment_intents.create(TEA),
        http_status=403,
    )
    key = f"errors-{time.time_ns()}"
    pay.create(TEA, {"idempotency_key": key})
    other = {**TEA, "amount": 2}
    fails(stripe.IdempotencyError, lambda: pay.create(other, {"idempotency_key": key}), http_status=400)
    declined = {**TEA, "confirm": True, "payment_method": "pm_wechat_pay"}
    error = fails(
        stripe.CardError,
        lambda: t.with_key(t.keys.declined).v1.payment_intents.create(declined),
        http_status=402,
        code="payment_method_provider_decline",
    )
    assert error.error is not None and error.error.payment_intent is not None
    assert (error.error.decline_code, error.error.payment_intent.status) == (
        "processing_error",
        "requires_payment_method",
    )
    left = t.with_key(t.keys.declined).v1.payment_intents.retrieve(error.error.payment_intent.id)
    assert left.last_payment_error is not None and left.last_payment_error.decline_code == "processing_error"


@behaviour("auto-pagination in both directions")
def _(t: Talk) -> None:
    customer = t.client.v1.customers.create({}).id
    made = [t.client.v1.payment_intents.create({**TEA, "customer": customer}).id for _ in range(7)]
    forth = t.client.v1.payment_intents.list({"customer": customer, "limit": 3})
    back = t.client.v1.payment_intents.list({"customer": customer, "limit": 3, "ending_before": made[0]})
    assert [i.id for i in forth.auto_paging_iter()] == made[::-1]
    assert [i.id for i in back.auto_paging_iter()] == made[1:]


@behaviour("idempotent replay, byte for byte")
def _(t: Talk) -> None:
    options = {"idempotency_key": f"replay-{time.time_ns()}"}
    params = {**TEA, "confirm": True, "payment_method": "pm_wechat_pay"}
    one = t.client.v1.payment_intents.create(params, options)
    two = t.client.v1.payment_intents.create(params, options)
    assert one.last_response is not None and two.last_response is not None
    assert two.last_response.body == one.last_response.body
    assert "Idempotent-Replayed" not in one.last_response.headers
    assert two.last_response.headers["Idempotent-Replayed"] == "true"
    assert two.last_response.request_id != one.last_response.request_id


@behaviour("webhook verification")
def _(t: Talk) -> None:
    made = t.client.v1.webhook_endpoints.create({"url": t.hooks.url, "enabled_events": ["charge.succeeded"]})
    assert made.secret is not None
    charge = t.paid().latest_charge
    assert isinstance(charge, stripe.Charge)
    heard = wait(lambda: next((h for h in t.hooks.heard if charge.id.encode() in h.body), None))
    signature = heard.headers["Stripe-Signature"]
    event = stripe.Webhook.construct_event(heard.body, signature, made.secret)
    assert (event.type, event.data.object["id"]) == ("charge.succeeded", charge.id)
    forged = heard.body.replace(b"1250", b"9250")
    for body, secret, tolerance in ((forged, made.secret, 300), (heard.body, "whsec_other", 300)):
        try:
            stripe.Webhook.construct_event(body, signature, secret, tolerance)
        except stripe.SignatureVerificationError:
            continue
        raise AssertionError("a forgery was believed")
    t.client.v1.webhook_endpoints.delete(made.id)


@behaviour("keys: secret, restricted, publishable")
def _(t: Talk) -> None:
    made = t.client.v1.payment_intents.create(TEA)
    assert t.with_key(t.keys.reader).v1.payment_intents.retrieve(made.id).id == made.id
    browser = t.with_key(t.keys.publishable)
    assert made.client_secret is not None
    found = browser.v1.payment_intents.retrieve(made.id, {"client_secret": made.client_secret})
    assert found.id == made.id
    fails(stripe.PermissionError, lambda: browser.v1.payment_intents.retrieve(made.id))
    fails(stripe.PermissionError, browser.v1.customers.list)
    forged = {"client_secret": made.client_secret[:-1] + ("a" if made.client_secret[-1] != "a" else "b")}
    fails(
        stripe.InvalidRequestError, lambda: browser.v1.payment_intents.retrieve(made.id, forged), param="client_secret"
    )


@behaviour("expand, four levels deep and in lists")
def _(t: Talk) -> None:
    customer = t.client.v1.customers.create({"name": "Han"}).id
    paid = t.paid(customer=customer)
    page = t.client.v1.payment_intents.list({"customer": customer, "expand": ["data.latest_charge.customer"]})
    charge = page.data[0].latest_charge
    assert isinstance(charge, stripe.Charge) and isinstance(charge.customer, stripe.Customer)
    assert charge.customer.name == "Han"
    deep = {"expand": ["latest_charge.payment_intent.latest_charge.customer"]}
    found: Any = t.client.v1.payment_intents.retrieve(paid.id, deep)
    assert found.latest_charge.payment_intent.latest_charge.customer.name == "Han"
    fails(
        stripe.InvalidRequestError,
        lambda: t.client.v1.payment_intents.list({"expand": ["data.amount"]}),
        param="expand",
    )
