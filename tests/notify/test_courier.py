"""Webhooks reach merchants' servers: signed, once and again, in spite of each other."""

import json

import pytest
import standardwebhooks
import stripe

from .conftest import Book, courier

pytestmark = pytest.mark.anyio


async def test_N3_both_schemes_verify(env, book: Book, open_shop):
    shop = await open_shop()
    _, secret = await book.endpoint(shop.url)
    [id] = await book.happens("payment_intent.succeeded", request_id="req_1", idempotency_key='k"1')

    async with courier(env):
        await shop.hears(1)

    [body], [request] = shop.bodies, shop.heard
    event = stripe.Webhook.construct_event(body, request.headers["Stripe-Signature"], secret)
    standardwebhooks.Webhook(secret).verify(body, dict(request.headers))
    assert (event.id, event.type, event.data.object.amount) == (id, "payment_intent.succeeded", 0)
    assert json.loads(body)["request"] == {"id": "req_1", "idempotency_key": 'k"1'}
