"""Every call of the dialect, spoken by the official Python SDK as a shop's server speaks it.

One function per call; its docstring is what the table in the docs says it shows.  `sdk_node/conversations.mjs` has the same in Node.
"""

from collections.abc import Callable

import stripe
from sdk_talk import AUTOPAY, CARRIER, TEA, Talk, fails, wait

CALLS: dict[str, tuple[str, Callable[[Talk], None]]] = {}  # the SDK's name -> (the route, the conversation)


def call(name: str, route: str) -> Callable[[Callable[[Talk], None]], Callable[[Talk], None]]:
    """Enter a conversation under the SDK's name of its call."""

    def enter(conversation: Callable[[Talk], None]) -> Callable[[Talk], None]:
        CALLS[name] = route, conversation
        return conversation

    return enter


# ------------------------------------------------------------------------------------------------ payment intents


@call("payment_intents.create", "POST /v1/payment_intents")
def _(t: Talk) -> None:
    """create; confirm at once; offer every way or some; keep description, metadata, shipping"""
    kept = {
        "description": "茶", "metadata": {"order": "6735"}, "receipt_email": "payer@example.com", "shipping": CARRIER,
        "statement_descriptor": "TEA", "statement_descriptor_suffix": "GREEN",
    }  # fmt: skip
    made = t.client.v1.payment_intents.create({**TEA, **kept})
    assert (made.status, made.amount, made.currency) == ("requires_payment_method", 1250, "cny")
    assert made.metadata.to_dict() == {"order": "6735"} and made.livemode is False
    assert made.shipping is not None and made.shipping.address is not None
    assert made.shipping.address.line1 == CARRIER["address"]["line1"]
    assert made.client_secret is not None and made.client_secret.startswith(made.id + "_secret_")

    asked = t.client.v1.payment_intents.create(
        {
            **TEA,
            "confirm": True,
            "payment_method_data": {"type": "wechat_pay"},
            "payment_method_options": {"wechat_pay": {"client": "web"}},
        }
    )
    assert asked.status == "requires_action" and asked.next_action is not None
    assert asked.next_action.wechat_pay_display_qr_code is not None
    assert asked.next_action.wechat_pay_display_qr_code.data.startswith("weixin://")

    offered = t.client.v1.payment_intents.create(
        {"amount": 100, "currency": "cny", "automatic_payment_methods": {"enabled": True}}
    )
    assert offered.payment_method_types == ["wechat_pay", "alipay", "card"]
    assert offered.automatic_payment_methods is not None and offered.automatic_payment_methods.enabled
    some = t.client.v1.payment_intents.create(
        {
            "amount": 100,
            "currency": "cny",
            "allowed_payment_method_types": ["alipay"],
            "capture_method": "automatic_async",
        }
    )
    assert some.payment_method_types == some.allowed_payment_method_types == ["alipay"]
    assert some.capture_method == "automatic_async"


@call("payment_intents.retrieve", "GET /v1/payment_intents/{intent}")
def _(t: Talk) -> None:
    """retrieve; with its client_secret; expand the charge and the customer"""
    customer = t.client.v1.customers.create({"name": "Han Meimei"})
    paid = t.paid(customer=customer.id)
    found = t.client.v1.payment_intents.retrieve(paid.id, {"expand": ["latest_charge", "customer", "payment_method"]})
    assert (found.amount_received, found.status) == (1250, "succeeded")
    assert isinstance(found.latest_charge, stripe.Charge) and found.latest_charge.amount == 1250
    assert isinstance(found.customer, stripe.Customer) and found.customer.name == "Han Meimei"
    assert isinstance(found.payment_method, stripe.PaymentMethod) and found.payment_method.type == "wechat_pay"
    assert found.client_secret is not None
    assert t.client.v1.payment_intents.retrieve(paid.id, {"client_secret": found.client_secret}).id == paid.id


@call("payment_intents.update", "POST /v1/payment_intents/{intent}")
def _(t: Talk) -> None:
    """change amount, ways and texts; an empty text clears; metadata merges"""
    made = t.client.v1.payment_intents.create({**TEA, "description": "x", "metadata": {"a": "1", "b": "2"}})
    now = t.client.v1.payment_intents.update(
        made.id, {"amount": 900, "payment_method": AUTOPAY, "description": "", "metadata": {"a": "", "c": "3"}}
    )
    assert (now.amount, now.description, now.status) == (900, None, "requires_confirmation")
    assert now.metadata.to_dict() == {"b": "2", "c": "3"}
    other = t.client.v1.payment_intents.update(made.id, {"allowed_payment_method_types": ["alipay", "wechat_pay"]})
    assert other.payment_method_types == ["alipay", "wechat_pay"]


@call("payment_intents.list", "GET /v1/payment_intents")
def _(t: Talk) -> None:
    """newest first; a page; by customer; rows expanded"""
    customer = t.client.v1.customers.create({}).id
    made = [t.client.v1.payment_intents.create({**TEA, "customer": customer}).id for _ in range(3)]
    page = t.client.v1.payment_intents.list({"customer": customer, "limit": 2, "expand": ["data.customer"]})
    assert ([i.id for i in page.data], page.has_more, page.url) == (made[:0:-1], True, "/v1/payment_intents")
    assert all(isinstance(i.customer, stripe.Customer) for i in page.data)
    assert [i.id for i in page.auto_paging_iter()] == made[::-1]


@call("payment_intents.confirm", "POST /v1/payment_intents/{intent}/confirm")
def _(t: Talk) -> None:
    """WeChat Pay's QR code, Alipay's redirect, Alipay's QR code; paid through the channel's callback"""
    made = t.client.v1.payment_intents.create({**TEA, "payment_method_types": ["wechat_pay", "alipay"]})
    asked = t.client.v1.payment_intents.confirm(
        made.id, {"payment_method_data": {"type": "alipay"}, "return_url": "https://shop.example/back"}
    )
    assert asked.next_action is not None and asked.next_action.type == "alipay_handle_redirect"
    assert asked.next_action.alipay_handle_redirect is not None
    assert asked.next_action.alipay_handle_redirect.return_url == "https://shop.example/back"
    again = t.client.v1.payment_intents.confirm(made.id, {"payment_method_data": {"type": "wechat_pay"}})
    assert again.next_action is not None and again.next_action.wechat_pay_display_qr_code is not None
    t.shop.stack.pay(again.next_action)
    assert t.has_status(made.id, "succeeded").amount_received == 1250

    code = t.client.v1.payment_intents.create({**TEA, "payment_method_types": ["alipay"]})
    asked = t.client.v1.payment_intents.confirm(
        code.id,
        {"payment_method": "pm_alipay", "payment_method_options": {"alipay": {"client": "qr"}}},
    )
    assert asked.next_action is not None and asked.next_action.type == "alipay_display_qr_code"


@call("payment_intents.cancel", "POST /v1/payment_intents/{intent}/cancel")
def _(t: Talk) -> None:
    """before and after a channel was asked: the order is closed there first"""
    made = t.client.v1.payment_intents.create(TEA)
    ended = t.client.v1.payment_intents.cancel(made.id, {"cancellation_reason": "abandoned"})
    assert (ended.status, ended.cancellation_reason) == ("canceled", "abandoned")
    assert ended.canceled_at is not None
    asked = t.client.v1.payment_intents.create({**TEA, "confirm": True, "payment_method": "pm_wechat_pay"})
    assert t.client.v1.payment_intents.cancel(asked.id).status == "canceled"


# ------------------------------------------------------------------------------------------------ charges, refunds


@call("charges.retrieve", "GET /v1/charges/{charge}")
def _(t: Talk) -> None:
    """what was collected, with the channel's number; expand its payment"""
    paid = t.paid(description="Tea", shipping=CARRIER, receipt_email="payer@example.com", statement_descriptor="TEA")
    assert isinstance(paid.latest_charge, stripe.Charge)
    charge = t.client.v1.charges.retrieve(paid.latest_charge.id, {"expand": ["payment_intent"]})
    assert (charge.amount, charge.amount_captured, charge.paid, charge.captured) == (1250, 1250, True, True)
    assert charge.payment_method_details is not None and charge.payment_method_details.wechat_pay is not None
    assert charge.payment_method_details.wechat_pay.transaction_id
    assert isinstance(charge.payment_intent, stripe.PaymentIntent) and charge.payment_intent.id == paid.id


@call("charges.list", "GET /v1/charges")
def _(t: Talk) -> None:
    """newest first; of a payment; of a customer"""
    customer = t.client.v1.customers.create({}).id
    paid = [t.paid(customer=customer) for _ in range(2)]
    of_customer = t.client.v1.charges.list({"customer": customer})
    assert [c.payment_intent for c in of_customer.data] == [p.id for p in reversed(paid)]
    [one] = t.client.v1.charges.list({"payment_intent": paid[0].id}).data
    assert one.payment_intent == paid[0].id and one.customer == customer


@call("refunds.create", "POST /v1/refunds")
def _(t: Talk) -> None:
    """in parts, by payment and by charge, never above what was captured; one that the channel refuses"""
    paid = t.paid()
    part = t.client.v1.refunds.create(
        {
            "payment_intent": paid.id,
            "amount": 250,
            "reason": "requested_by_customer",
            "metadata": {"n": "1"},
        }
    )
    assert (part.amount, part.reason, part.status in ("pending", "succeeded")) == (250, "requested_by_customer", True)
    assert isinstance(paid.latest_charge, stripe.Charge)
    rest = t.client.v1.refunds.create({"charge": paid.latest_charge.id})
    assert rest.amount == 1000
    error = fails(stripe.InvalidRequestError, lambda: t.client.v1.refunds.create({"payment_intent": paid.id}))
    assert error.code == "charge_already_refunded"
    wait(lambda: t.client.v1.refunds.retrieve(rest.id).status == "succeeded")
    stubborn = t.paid(payment_method=AUTOPAY + "__refund_fail")
    refused = t.client.v1.refunds.create({"payment_intent": stubborn.id})
    wait(lambda: t.client.v1.refunds.retrieve(refused.id).status == "failed")
    assert t.client.v1.refunds.retrieve(refused.id).failure_reason


@call("refunds.retrieve", "GET /v1/refunds/{refund}")
def _(t: Talk) -> None:
    """retrieve; expand charge and payment"""
    paid = t.paid()
    made = t.client.v1.refunds.create({"payment_intent": paid.id, "amount": 1})
    found = t.client.v1.refunds.retrieve(made.id, {"expand": ["charge", "payment_intent"]})
    assert isinstance(found.charge, stripe.Charge) and found.charge.amount_refunded == 1
    assert isinstance(found.payment_intent, stripe.PaymentIntent) and found.payment_intent.id == paid.id


@call("refunds.update", "POST /v1/refunds/{refund}")
def _(t: Talk) -> None:
    """metadata merges"""
    made = t.client.v1.refunds.create({"payment_intent": t.paid().id, "metadata": {"a": "1"}})
    now = t.client.v1.refunds.update(made.id, {"metadata": {"b": "2"}})
    assert now.metadata is not None and now.metadata.to_dict() == {"a": "1", "b": "2"}


@call("refunds.list", "GET /v1/refunds")
def _(t: Talk) -> None:
    """of a payment, of a charge"""
    paid = t.paid()
    made = [t.client.v1.refunds.create({"payment_intent": paid.id, "amount": n}).id for n in (1, 2)]
    assert [r.id for r in t.client.v1.refunds.list({"payment_intent": paid.id}).data] == made[::-1]
    assert isinstance(paid.latest_charge, stripe.Charge)
    assert [r.amount for r in t.client.v1.refunds.list({"charge": paid.latest_charge.id, "limit": 1}).data] == [2]


# ------------------------------------------------------------------------------------------------ customers

HAN = {
    "name": "韩梅梅", "email": "han@example.cn", "phone": "+86 10 0000", "description": "regular", "metadata": {"level": "gold"},
    "address": {"city": "北京", "country": "CN", "line1": "a", "line2": "b", "postal_code": "100000", "state": "BJ"},
    "shipping": {"name": "Han", "address": {"city": "北京"}, "phone": "+8610"}, "preferred_locales": ["zh-CN"],
}  # fmt: skip


@call("customers.create", "POST /v1/customers")
def _(t: Talk) -> None:
    """everything about a person is kept and echoed"""
    made = t.client.v1.customers.create(HAN)
    for name, value in HAN.items():
        shown = getattr(made, name)
        shown = shown.to_dict() if isinstance(shown, stripe.StripeObject) else shown
        held = {k: v for k, v in shown.items() if v is not None} if isinstance(shown, dict) else shown
        if name == "shipping":
            held["address"] = {k: v for k, v in held["address"].items() if v is not None}
        assert held == value, name


@call("customers.retrieve", "GET /v1/customers/{customer}")
def _(t: Talk) -> None:
    """retrieve; a deleted one says so"""
    made = t.client.v1.customers.create({"email": "li@example.cn"})
    assert t.client.v1.customers.retrieve(made.id).email == "li@example.cn"
    t.client.v1.customers.delete(made.id)
    assert t.client.v1.customers.retrieve(made.id).deleted is True


@call("customers.update", "POST /v1/customers/{customer}")
def _(t: Talk) -> None:
    """what is not given stays; an empty text clears; metadata merges"""
    made = t.client.v1.customers.create({"name": "Li", "email": "li@example.cn", "metadata": {"a": "1"}})
    now = t.client.v1.customers.update(made.id, {"name": "", "metadata": {"a": "", "b": "2"}})
    assert now.metadata is not None
    assert (now.name, now.email, now.metadata.to_dict()) == (None, "li@example.cn", {"b": "2"})


@call("customers.delete", "DELETE /v1/customers/{customer}")
def _(t: Talk) -> None:
    """gone for good; its payments stay"""
    made = t.client.v1.customers.create({"name": "Li"})
    intent = t.client.v1.payment_intents.create({**TEA, "customer": made.id})
    assert t.client.v1.customers.delete(made.id).deleted is True
    assert t.client.v1.payment_intents.retrieve(intent.id).customer == made.id


@call("customers.list", "GET /v1/customers")
def _(t: Talk) -> None:
    """newest first; by email; without the deleted"""
    made = [t.client.v1.customers.create({"email": "same@example.cn"}).id for _ in range(3)]
    t.client.v1.customers.delete(made[1])
    assert [c.id for c in t.client.v1.customers.list({"email": "same@example.cn"}).data] == [made[2], made[0]]


# ------------------------------------------------------------------------------------------------ payment methods

PAYER = {"name": "Han", "email": "han@example.cn", "phone": "+8610", "address": {"city": "北京"}}


@call("payment_methods.create", "POST /v1/payment_methods")
def _(t: Talk) -> None:
    """a way to pay, with who pays; a card's number is refused"""
    made = t.client.v1.payment_methods.create({"type": "alipay", "billing_details": PAYER, "metadata": {"a": "1"}})
    assert (made.type, made.billing_details.name, made.alipay is not None) == ("alipay", "Han", True)
    error = fails(
        stripe.InvalidRequestError,
        lambda: t.client.v1.payment_methods.create({"type": "card", "card": {"number": "4242424242424242"}}),
    )
    assert error.code == "card_data_refused" and "4242" not in str(error.http_body)


@call("payment_methods.retrieve", "GET /v1/payment_methods/{payment_method}")
def _(t: Talk) -> None:
    """retrieve; expand the customer"""
    made = t.client.v1.payment_methods.create({"type": "wechat_pay"})
    customer = t.client.v1.customers.create({"name": "Li"})
    t.client.v1.payment_methods.attach(made.id, {"customer": customer.id})
    found = t.client.v1.payment_methods.retrieve(made.id, {"expand": ["customer"]})
    assert isinstance(found.customer, stripe.Customer) and found.customer.name == "Li"


@call("payment_methods.attach", "POST /v1/payment_methods/{payment_method}/attach")
def _(t: Talk) -> None:
    """keep it under a customer, and pay by it"""
    customer = t.client.v1.customers.create({}).id
    made = t.client.v1.payment_methods.create({"type": "wechat_pay"})
    assert t.client.v1.payment_methods.attach(made.id, {"customer": customer}).customer == customer
    asked = t.client.v1.payment_intents.create(
        {**TEA, "customer": customer, "payment_method": made.id, "confirm": True}
    )
    assert (asked.status, asked.payment_method) == ("requires_action", made.id)


@call("payment_methods.detach", "POST /v1/payment_methods/{payment_method}/detach")
def _(t: Talk) -> None:
    """let go of it; twice is an error"""
    made = t.client.v1.payment_methods.create({"type": "wechat_pay"})
    t.client.v1.payment_methods.attach(made.id, {"customer": t.client.v1.customers.create({}).id})
    assert t.client.v1.payment_methods.detach(made.id).customer is None
    error = fails(stripe.InvalidRequestError, lambda: t.client.v1.payment_methods.detach(made.id))
    assert error.code == "payment_method_unexpected_state"


@call("payment_methods.list", "GET /v1/payment_methods")
def _(t: Talk) -> None:
    """of a customer, of a type"""
    customer = t.client.v1.customers.create({}).id
    made = [t.client.v1.payment_methods.create({"type": type}).id for type in ("alipay", "wechat_pay")]
    for id in made:
        t.client.v1.payment_methods.attach(id, {"customer": customer})
    assert [m.id for m in t.client.v1.payment_methods.list({"customer": customer}).data] == made[::-1]
    assert [m.id for m in t.client.v1.payment_methods.list({"customer": customer, "type": "alipay"}).data] == made[:1]


@call("customers.payment_methods.list", "GET /v1/customers/{customer}/payment_methods")
def _(t: Talk) -> None:
    """of this customer"""
    customer = t.client.v1.customers.create({}).id
    made = t.client.v1.payment_methods.create({"type": "alipay"}).id
    t.client.v1.payment_methods.attach(made, {"customer": customer})
    assert [m.id for m in t.client.v1.customers.payment_methods.list(customer, {"type": "alipay"}).data] == [made]


# ------------------------------------------------------------------------------------------------ checkout

BASKET = {
    "mode": "payment",
    "success_url": "https://shop.example/done?session={CHECKOUT_SESSION_ID}",
    "cancel_url": "https://shop.example/basket",
    "line_items": [
        {"quantity": 2, "price_data": {"currency": "cny", "unit_amount": 500, "product_data": {"name": "绿茶"}}},
        {"quantity": 1, "price_data": {"currency": "cny", "unit_amount": 250, "product_data": {"name": "Cup"}}},
    ],
}


@call("checkout.sessions.create", "POST /v1/checkout/sessions")
def _(t: Talk) -> None:
    """a basket becomes a hosted page"""
    made = t.client.v1.checkout.sessions.create(
        {**BASKET, "client_reference_id": "6735", "metadata": {"a": "1"}, "customer_email": "han@example.cn"}
    )
    assert (made.status, made.payment_status, made.mode) == ("open", "unpaid", "payment")
    assert (made.amount_total, made.currency) == (1250, "cny")
    assert made.url is not None and made.url.startswith(t.shop.stack.cashier)
    assert (made.client_reference_id, made.customer_email) == ("6735", "han@example.cn")


@call("checkout.sessions.retrieve", "GET /v1/checkout/sessions/{session}")
def _(t: Talk) -> None:
    """retrieve; its line items and its payment expanded"""
    made = t.client.v1.checkout.sessions.create(BASKET)
    found = t.client.v1.checkout.sessions.retrieve(made.id, {"expand": ["payment_intent", "line_items"]})
    assert found.line_items is not None
    assert [(i.quantity, i.amount_total) for i in found.line_items.data] == [(2, 1000), (1, 250)]
    assert found.payment_intent is None or isinstance(found.payment_intent, stripe.PaymentIntent)


@call("checkout.sessions.line_items.list", "GET /v1/checkout/sessions/{session}/line_items")
def _(t: Talk) -> None:
    """what is in the basket, a page at a time"""
    made = t.client.v1.checkout.sessions.create(BASKET)
    page = t.client.v1.checkout.sessions.line_items.list(made.id, {"limit": 1})
    assert [i.description for i in page.auto_paging_iter()] == ["绿茶", "Cup"]


@call("checkout.sessions.list", "GET /v1/checkout/sessions")
def _(t: Talk) -> None:
    """newest first; by status"""
    made = [t.client.v1.checkout.sessions.create(BASKET).id for _ in range(2)]
    t.client.v1.checkout.sessions.expire(made[0])
    assert [s.id for s in t.client.v1.checkout.sessions.list({"limit": 2}).data] == made[::-1]
    assert made[0] in [s.id for s in t.client.v1.checkout.sessions.list({"status": "expired"}).data]


@call("checkout.sessions.expire", "POST /v1/checkout/sessions/{session}/expire")
def _(t: Talk) -> None:
    """nobody can pay it any more"""
    made = t.client.v1.checkout.sessions.create(BASKET)
    ended = t.client.v1.checkout.sessions.expire(made.id)
    assert (ended.status, ended.url) == ("expired", None)


# ------------------------------------------------------------------------------------------------ events, webhooks


@call("events.retrieve", "GET /v1/events/{event}")
def _(t: Talk) -> None:
    """the object as it was then"""
    made = t.client.v1.payment_intents.create(
        {**TEA, "metadata": {"a": "1"}}, {"idempotency_key": "why-" + t.shop.key[-6:]}
    )
    [listed] = [e for e in t.client.v1.events.list({"limit": 20}).data if e.data.object["id"] == made.id]
    found = t.client.v1.events.retrieve(listed.id)
    assert (found.type, found.data.object["status"]) == ("payment_intent.created", "requires_payment_method")
    assert found.request is not None and found.request.idempotency_key == "why-" + t.shop.key[-6:]


@call("events.list", "GET /v1/events")
def _(t: Talk) -> None:
    """newest first; by type; with what changed"""
    t.client.v1.payment_intents.create(TEA)
    types = {e.type for e in t.client.v1.events.list({"type": "payment_intent.*", "limit": 100}).data}
    assert "payment_intent.created" in types and all(name.startswith("payment_intent.") for name in types)
    only = t.client.v1.events.list({"types": ["payment_intent.created"], "limit": 1})
    assert [e.type for e in only.data] == ["payment_intent.created"]
    t.client.v1.customers.update(t.client.v1.customers.create({"name": "Li"}).id, {"name": "Han"})
    [changed] = t.client.v1.events.list({"type": "customer.updated", "limit": 1}).data
    assert changed.data.previous_attributes is not None and changed.data.previous_attributes["name"] == "Li"


@call("webhook_endpoints.create", "POST /v1/webhook_endpoints")
def _(t: Talk) -> None:
    """its secret is shown once; a webhook comes, and the SDK verifies it"""
    made = t.client.v1.webhook_endpoints.create(
        {
            "url": t.hooks.url,
            "enabled_events": ["payment_intent.created"],
            "description": "shop",
            "metadata": {"a": "1"},
        }
    )
    assert made.secret is not None and made.secret.startswith("whsec_")
    intent = t.client.v1.payment_intents.create(TEA)
    heard = wait(lambda: next((h for h in t.hooks.heard if intent.id.encode() in h.body), None))
    event = t.client.construct_event(heard.body, heard.headers["Stripe-Signature"], made.secret)
    assert (event.type, event.data.object["id"]) == ("payment_intent.created", intent.id)
    t.client.v1.webhook_endpoints.delete(made.id)


@call("webhook_endpoints.retrieve", "GET /v1/webhook_endpoints/{endpoint}")
def _(t: Talk) -> None:
    """without the secret"""
    made = t.client.v1.webhook_endpoints.create({"url": t.hooks.url, "enabled_events": ["*"]})
    found = t.client.v1.webhook_endpoints.retrieve(made.id)
    assert (found.url, found.status, "secret" in found) == (t.hooks.url, "enabled", False)
    t.client.v1.webhook_endpoints.delete(made.id)


@call("webhook_endpoints.update", "POST /v1/webhook_endpoints/{endpoint}")
def _(t: Talk) -> None:
    """other events; switched off"""
    made = t.client.v1.webhook_endpoints.create({"url": t.hooks.url, "enabled_events": ["*"]})
    now = t.client.v1.webhook_endpoints.update(made.id, {"enabled_events": ["charge.refunded"], "disabled": True})
    assert (now.enabled_events, now.status) == (["charge.refunded"], "disabled")
    t.client.v1.webhook_endpoints.delete(made.id)


@call("webhook_endpoints.list", "GET /v1/webhook_endpoints")
def _(t: Talk) -> None:
    """newest first"""
    made = [t.client.v1.webhook_endpoints.create({"url": t.hooks.url, "enabled_events": ["*"]}).id for _ in range(2)]
    assert [e.id for e in t.client.v1.webhook_endpoints.list({"limit": 2}).data] == made[::-1]
    for id in made:
        t.client.v1.webhook_endpoints.delete(id)


@call("webhook_endpoints.delete", "DELETE /v1/webhook_endpoints/{endpoint}")
def _(t: Talk) -> None:
    """gone"""
    made = t.client.v1.webhook_endpoints.create({"url": t.hooks.url, "enabled_events": ["*"]})
    assert t.client.v1.webhook_endpoints.delete(made.id).deleted is True
    error = fails(stripe.InvalidRequestError, lambda: t.client.v1.webhook_endpoints.retrieve(made.id))
    assert (error.http_status, error.code) == (404, "resource_missing")
