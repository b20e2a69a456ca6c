"""Checkout sessions as the official SDK meets them."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
import stripe
from stripe.checkout import Session

from cashier.conftest import MAKE, TEA
from guilder.cashier import CATALOGUE
from stack import Shop, Stack, eventually

pytestmark = pytest.mark.anyio
Make = Callable[..., Session]


def events_of(shop: Shop, session: Session) -> list[str]:
    """The types of what was said of a session, oldest first."""
    found = shop.client().v1.events.list({"limit": 100}).data
    return [e.type for e in reversed(found) if e.data.object["id"] == session.id]


async def test_K1_a_session_comes_with_its_payment(shop: Shop, make: Make) -> None:
    session = make(
        client_reference_id="order 6735",
        customer_email="a@example.com",
        metadata={"cart": "7"},
        payment_intent_data={"description": "Two bowls", "metadata": {"order": "6735"}, "statement_descriptor": "TEA"},
        submit_type="pay",
        locale="zh",
        custom_text={"submit": {"message": "当天发货"}},
        expand=["payment_intent", "line_items"],
    )
    intent: Any = session.payment_intent

    assert session.id.startswith("cs_test_") and len(session.id) == len("cs_test_") + 26
    assert (session.status, session.payment_status, session.mode) == ("open", "unpaid", "payment")
    assert (session.amount_total, session.amount_subtotal, session.currency) == (25800, 25800, "cny")
    assert session.success_url == f"https://shop.example/paid?session={session.id}"
    assert (session.client_reference_id, session.customer_email, session.metadata and session.metadata.to_dict()) == (
        "order 6735",
        "a@example.com",
        {"cart": "7"},
    )
    assert session.customer_details is not None and session.customer_details.email == "a@example.com"
    assert (session.locale, session.submit_type, session.ui_mode) == ("zh", "pay", "hosted_page")
    assert session.custom_text.submit is not None and session.custom_text.submit.message == "当天发货"
    assert set(session.payment_method_types) == {"wechat_pay", "alipay"}
    assert (intent.amount, intent.currency, intent.status) == (25800, "cny", "requires_payment_method")
    assert (intent.description, intent.metadata.to_dict(), intent.statement_descriptor) == (
        "Two bowls",
        {"order": "6735"},
        "TEA",
    )
    assert session.line_items is not None
    [line] = session.line_items.data
    assert (line.description, line.quantity, line.amount_total) == ("白瓷盖碗", 2, 25800)
    assert line.price is not None and line.price.unit_amount == 12900
    assert session.expires_at - session.created == pytest.approx(7200, abs=2)


async def test_what_is_bought_describes_the_payment_unless_something_else_does(shop: Shop, make: Make) -> None:
    cup = {"price_data": {"currency": "cny", "unit_amount": 0, "product_data": {"name": "Cup"}}}
    session = make(line_items=[TEA, cup], expand=["payment_intent"])
    intent: Any = session.payment_intent

    assert intent.description == "白瓷盖碗 +1"
    assert "line_items" not in session.to_dict()


async def test_a_session_is_retrieved_listed_and_found_by_what_it_belongs_to(shop: Shop, make: Make) -> None:
    sessions = shop.client().v1.checkout.sessions
    first, second = make(customer_email="list@example.com"), make(customer_email="list@example.com")

    again = sessions.retrieve(first.id, {"expand": ["line_items"]})
    assert again.id == first.id and again.url == first.url
    assert again.line_items is not None and len(again.line_items.data) == 1
    mine = {"customer_details": {"email": "list@example.com"}}
    assert [s.id for s in sessions.list(mine).auto_paging_iter()] == [second.id, first.id]
    assert [s.id for s in sessions.list({**mine, "limit": 1, "starting_after": second.id})] == [first.id]
    assert [s.id for s in sessions.list({**mine, "ending_before": first.id})] == [second.id]
    [found] = sessions.list({"payment_intent": str(first.payment_intent), "expand": ["data.line_items"]})
    assert found.id == first.id and found.line_items is not None
    assert [s.id for s in sessions.list({**mine, "status": "complete"})] == []


async def test_line_items_are_paged_in_their_order(shop: Shop, make: Make) -> None:
    lines = [
        {"price_data": {"currency": "cny", "unit_amount": 100 + i, "product_data": {"name": f"Item {i}"}}}
        for i in range(5)
    ]
    session = make(line_items=lines)
    line_items = shop.client().v1.checkout.sessions.line_items

    everything = [i.description for i in line_items.list(session.id, {"limit": 2}).auto_paging_iter()]
    assert everything == [f"Item {i}" for i in range(5)]
    last = line_items.list(session.id).data[4]
    before = line_items.list(session.id, {"limit": 2, "ending_before": last.id})
    assert [i.description for i in before] == ["Item 2", "Item 3"] and before.has_more


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"mode": "subscription"}, "mode", None),
        ({"line_items": [{"price": "price_1"}]}, "line_items[0][price]", "parameter_unsupported"),
        ({"line_items": []}, None, None),
        ({"success_url": "javascript:alert(1)"}, "success_url", "url_invalid"),
        ({"ui_mode": "embedded_page"}, "ui_mode", None),
        ({"expires_at": int(time.time()) + 60}, "expires_at", None),
        ({"expires_at": int(time.time()) + 90_000}, "expires_at", None),
        ({"discounts": [{"coupon": "x"}]}, "discounts", "parameter_unsupported"),
        ({"allow_promotion_codes": True}, "allow_promotion_codes", "parameter_unsupported"),
        ({"payment_intent_data": {"application_fee_amount": 1}}, "payment_intent_data[application_fee_amount]", "parameter_unsupported"),
        ({"payment_intent_data": {"capture_method": "manual"}}, "payment_intent_data[capture_method]", "parameter_invalid"),
        ({"payment_method_types": ["klarna"]}, "payment_method_types[0]", None),
        ({"currency": "usd"}, "line_items[0][price_data][currency]", None),
        ({"customer": "cus_" + "0" * 26}, "customer", "resource_missing"),
        ({"customer": "cus_" + "0" * 26, "customer_email": "a@example.com"}, "customer_email", None),
        ({"locale": "fr"}, "locale", None),
        ({"cart": "7"}, "cart", "parameter_unknown"),
    ],
)  # fmt: skip
async def test_what_is_not_honoured_is_refused_by_name(
    make: Make, change: dict[str, Any], param: str | None, code: str | None
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        make(**change)
    assert param is None or refused.value.param == param
    assert code is None or refused.value.code == code


async def test_line_items_that_come_to_nothing_or_too_much_are_refused(make: Make) -> None:
    for amount, quantity, code in ((0, 1, "amount_too_small"), (99_999_999_999, 2, "amount_too_large")):
        line = {
            "quantity": quantity,
            "price_data": {"currency": "cny", "unit_amount": amount, "product_data": {"name": "x"}},
        }
        with pytest.raises(stripe.InvalidRequestError) as refused:
            make(line_items=[line])
        assert refused.value.code == code


async def test_one_key_makes_one_session(shop: Shop) -> None:
    sessions = shop.client().v1.checkout.sessions
    made = [sessions.create(MAKE, {"idempotency_key": "cart 7"}) for _ in range(2)]
    assert made[0].id == made[1].id and made[0].payment_intent == made[1].payment_intent
    with pytest.raises(stripe.IdempotencyError):
        sessions.create(MAKE | {"locale": "en"}, {"idempotency_key": "cart 7"})


async def test_K3_a_paid_session_is_complete_and_says_so_once(stack: Stack, shop: Shop, make: Make) -> None:
    client, session = shop.client(), make()
    intent = client.v1.payment_intents.confirm(
        str(session.payment_intent), {"payment_method_data": {"type": "wechat_pay"}}
    )

    stack.pay(intent.next_action)
    paid = await eventually(lambda: (s := client.v1.checkout.sessions.retrieve(session.id)).status == "complete" and s)
    assert (paid.payment_status, paid.url) == ("paid", None)
    await eventually(lambda: events_of(shop, session))
    assert events_of(shop, session) == ["checkout.session.completed"]
    with pytest.raises(stripe.InvalidRequestError, match="status of complete"):
        client.v1.checkout.sessions.expire(session.id)


async def test_K3_an_expired_session_cannot_be_paid_and_says_so_once(shop: Shop, make: Make) -> None:
    client, session = shop.client(), make()
    client.v1.payment_intents.confirm(str(session.payment_intent), {"payment_method_data": {"type": "wechat_pay"}})

    expired = client.v1.checkout.sessions.expire(session.id, {}, {"idempotency_key": f"end {session.id}"})
    assert (expired.status, expired.payment_status, expired.url) == ("expired", "unpaid", None)
    again = client.v1.checkout.sessions.expire(session.id, {}, {"idempotency_key": f"end {session.id}"})
    assert again.status == "expired"
    with pytest.raises(stripe.InvalidRequestError, match="status of expired"):
        client.v1.checkout.sessions.expire(session.id)
    assert client.v1.payment_intents.retrieve(str(session.payment_intent)).status == "canceled"
    await eventually(lambda: events_of(shop, session))
    assert events_of(shop, session) == ["checkout.session.expired"]


async def test_K2_a_session_ends_with_its_payment(shop: Shop, make: Make) -> None:
    client, session = shop.client(), make()
    client.v1.payment_intents.cancel(str(session.payment_intent))
    assert client.v1.checkout.sessions.retrieve(session.id).status == "expired"
    assert session.id in [s.id for s in client.v1.checkout.sessions.list({"status": "expired"})]


async def test_K3_money_after_the_end_completes_the_session_where_the_merchant_accepts_it(stack: Stack) -> None:
    late = await stack.merchant("Late", late_success="accept")
    client = late.client()
    session = client.v1.checkout.sessions.create(MAKE)
    client.v1.payment_intents.confirm(
        str(session.payment_intent), {"payment_method": "pm_sim_wechat_pay__late_success"}
    )

    assert client.v1.checkout.sessions.expire(session.id).status == "expired"
    await eventually(lambda: client.v1.checkout.sessions.retrieve(session.id).status == "complete", within_s=30)
    await eventually(lambda: len(events_of(late, session)) == 2)
    assert events_of(late, session) == ["checkout.session.expired", "checkout.session.async_payment_succeeded"]


async def test_a_session_of_another_merchant_is_not_there(stack: Stack, make: Make) -> None:
    session, stranger = make(), (await stack.merchant("Stranger")).client()
    for ask in (
        lambda: stranger.v1.checkout.sessions.retrieve(session.id),
        lambda: stranger.v1.checkout.sessions.expire(session.id),
        lambda: stranger.v1.checkout.sessions.line_items.list(session.id),
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            ask()
        assert refused.value.code == "resource_missing"


async def test_many_sessions_made_at_once_are_each_their_own(shop: Shop) -> None:
    client = shop.client()
    made = await asyncio.gather(*(asyncio.to_thread(client.v1.checkout.sessions.create, MAKE) for _ in range(20)))
    assert len({s.id for s in made}) == len({s.payment_intent for s in made}) == 20


def test_every_event_says_what_it_means() -> None:
    assert all(type.startswith("checkout.session.") and text.endswith(".") for type, text in CATALOGUE.items())
