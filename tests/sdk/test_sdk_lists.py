"""Lists: every one pages in both directions, within bounds of time, and never skips or repeats."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import stripe
from sdk_talk import TEA

from http_wire import Wire
from stack import Shop

BASKET: Any = {
    "mode": "payment",
    "success_url": "https://shop.example/done",
    "line_items": [{"price_data": {"currency": "cny", "unit_amount": 5, "product_data": {"name": "x"}}}],
}
Make = Callable[[Any], str]


def charged(v1: Any) -> str:
    made = v1.payment_intents.create({**TEA, "payment_method": "pm_sim_wechat_pay__autopay", "confirm": True})
    deadline = time.monotonic() + 30
    while (charge := v1.payment_intents.retrieve(made.id).latest_charge) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return charge


LISTS: dict[str, Make] = {
    "payment_intents": lambda v1: v1.payment_intents.create(TEA).id,
    "charges": charged,
    "refunds": lambda v1: v1.refunds.create({"charge": v1.charges.list({"limit": 1}).data[0].id, "amount": 1}).id,
    "customers": lambda v1: v1.customers.create({}).id,
    "payment_methods": lambda v1: v1.payment_methods.create({"type": "alipay"}).id,
    "checkout.sessions": lambda v1: v1.checkout.sessions.create(BASKET).id,
    "webhook_endpoints": lambda v1: (
        v1.webhook_endpoints.create({"url": "http://127.0.0.1:9/", "enabled_events": ["refund.failed"]}).id
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_pages_in_both_directions(shop: Shop, name: str) -> None:
    v1 = shop.client().v1
    listed: Any = v1
    for part in name.split("."):
        listed = getattr(listed, part)
    first = LISTS[name](v1)
    made = [first, *(LISTS[name](v1) for _ in range(6))]

    forth = [t.id for t in listed.list({"limit": 3}).auto_paging_iter()]
    back = [t.id for t in listed.list({"limit": 2, "ending_before": first}).auto_paging_iter()]
    assert forth[:7] == made[::-1] and len(set(forth)) == len(forth)
    assert back == made[1:]
    middle = listed.list({"starting_after": made[5], "ending_before": made[1]})
    assert ([t.id for t in middle.data], middle.has_more) == (made[4:1:-1], False)
    assert [t.id for t in listed.list({"starting_after": made[3], "limit": 1}).data] == [made[2]]


def test_events_page_too(shop: Shop) -> None:
    v1 = shop.client().v1
    for _ in range(5):
        v1.customers.create({})
    every = [e.id for e in v1.events.list({"type": "customer.created", "limit": 100}).data]
    paged = [e.id for e in v1.events.list({"type": "customer.created", "limit": 2}).auto_paging_iter()]
    back = v1.events.list({"type": "customer.created", "limit": 2, "ending_before": every[-1]}).auto_paging_iter()
    assert paged == every and len(every) >= 5
    assert [e.id for e in back] == every[-2::-1]
    between: Any = {"type": "customer.created", "starting_after": every[0], "ending_before": every[4], "limit": 2}
    assert [e.id for e in v1.events.list(between).data] == every[1:3]


def test_created_bounds_a_list(shop: Shop) -> None:
    v1 = shop.client().v1
    made = v1.customers.create({})
    assert made.created is not None
    at, ids = made.created, lambda **bounds: {c.id for c in v1.customers.list({"created": bounds, "limit": 100}).data}
    assert made.id in ids(gte=at) & ids(lte=at) & ids(gt=at - 1) & ids(lt=at + 1)
    assert made.id not in ids(gt=at) | ids(lt=at)
    assert made.id in {c.id for c in v1.customers.list({"created": at}).data}


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"), ("limit=101", "limit"), ("limit=-1", "limit"), ("limit=ten", "limit"), ("limit=1e1", "limit"),
        ("created[gte]=x", "created[gte]"), ("created[gt]=-1", "created[gt]"), ("created[ge]=1", "created[ge]"),
        ("starting_after=nobody", "starting_after"), ("ending_before=cus_1", "ending_before"), ("page=2", "page"),
        ("expand[]=customer", "expand"), ("limit=1&limit=2", "limit"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["payment_intents", "charges", "refunds", "customers", "payment_methods", "checkout/sessions",
                                  "webhook_endpoints", "events"])  # fmt: skip
def test_a_wrong_bound_is_named(shop: Shop, path: str, query: str, param: str) -> None:
    wire = Wire(shop.stack.api, shop.key)
    got = wire("GET", f"/v1/{path}?{query}")
    wire.close()
    assert got.status in (400, 404) and got.error["param"] == param


def test_a_list_says_where_it_is(client: stripe.StripeClient) -> None:
    page = client.v1.checkout.sessions.list({"limit": 1})
    assert (page.object, page.url) == ("list", "/v1/checkout/sessions")
