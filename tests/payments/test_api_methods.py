"""Payment methods through the official stripe SDK."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import stripe

from guilder.payments.params import OTHER_TYPES
from guilder.payments.ways import TYPES

pytest_plugins = ["merchants.stand"]


def plain(thing: Any) -> dict[str, Any]:
    return json.loads(str(thing))


def refused(call: Any) -> tuple[int, str | None, str | None]:
    with pytest.raises(stripe.StripeError) as caught:
        call()
    return caught.value.http_status, caught.value.code, getattr(caught.value, "param", None)


@pytest.mark.parametrize("type", ["wechat_pay", "alipay"])
def test_create_and_retrieve(shop: stripe.StripeClient, type: Any) -> None:
    billing = {"name": "张三", "email": "san@example.com", "address": {"city": "上海"}}

    made = plain(
        shop.v1.payment_methods.create({"type": type, type: {}, "billing_details": billing, "metadata": {"a": "b"}})  # type: ignore[typeddict-item]
    )

    assert (made["type"], made[type], made["customer"], made["metadata"]) == (type, {}, None, {"a": "b"})
    others = {"OBJECT_NAME", "card_present", *TYPES, *OTHER_TYPES}
    assert made.keys() == set(stripe.PaymentMethod.__annotations__) - others | {type}
    assert (made["billing_details"]["address"]["city"], made["billing_details"]["tax_id"]) == ("上海", None)
    assert plain(shop.v1.payment_methods.retrieve(made["id"])) == made


CARD = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2030, "cvc": "123"}
BAD = [
    ({"type": "card", "card": CARD}, "card_data_refused", "card"),
    ({"card": CARD}, "card_data_refused", "card"),
    ({"type": "klarna"}, "parameter_invalid", "type"),
    ({"type": "alipay", "customer": "cus_1"}, "parameter_unsupported", "customer"),
    ({"type": "pix", "pix": {"x": 1}}, "parameter_unsupported", "pix"),
    ({}, "parameter_missing", "type"),
]


@pytest.mark.parametrize(("given", "code", "param"), BAD, ids=[f"{b[2]}-{n}" for n, b in enumerate(BAD)])
def test_what_is_not_honoured_is_refused(shop: stripe.StripeClient, given: Any, code: str, param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        shop.v1.payment_methods.create(given)

    assert (caught.value.code, caught.value.param) == (code, param)
    assert "4242" not in str(caught.value.http_body)
    assert shop.v1.payment_methods.list().data == []


def test_every_parameter_is_honoured_or_refused_by_name(shop: stripe.StripeClient) -> None:
    options = set(stripe.RequestOptions.__annotations__) | {"expand"}
    id, customer = "pm_" + "0" * 26, "cus_" + "0" * 26
    for call, typed in (
        (shop.v1.payment_methods.create, stripe.params.PaymentMethodCreateParams),
        (lambda p: shop.v1.payment_methods.attach(id, p), stripe.params.PaymentMethodAttachParams),
        (shop.v1.payment_methods.list, stripe.params.PaymentMethodListParams),
        (
            lambda p: shop.v1.customers.payment_methods.list(customer, p),
            stripe.params.CustomerPaymentMethodListParams,
        ),
    ):
        for name in set(typed.__annotations__) - options:
            with pytest.raises(stripe.InvalidRequestError) as caught:
                call({name: {"x": {"y": "z"}}})
            assert caught.value.code != "parameter_unknown" or caught.value.param != name, name


def test_attach_and_detach(shop: stripe.StripeClient, told: Any) -> None:
    id, customer = shop.v1.payment_methods.create({"type": "alipay"}).id, shop.v1.customers.create().id

    attached = shop.v1.payment_methods.attach(id, {"customer": customer})
    assert plain(shop.v1.payment_methods.attach(id, {"customer": customer})) == plain(attached)
    assert attached.customer == customer
    assert [m.id for m in shop.v1.customers.payment_methods.list(customer).data] == [id]
    assert shop.v1.payment_methods.detach(id).customer is None
    assert shop.v1.customers.payment_methods.list(customer).data == []

    _, (attach, no), (detach, previous) = told()
    assert (attach, no) == ("payment_method.attached", None)
    assert (detach, plain(previous)) == ("payment_method.detached", {"customer": customer})


def test_what_cannot_be_attached_or_detached(shop: stripe.StripeClient) -> None:
    id, customer = shop.v1.payment_methods.create({"type": "alipay"}).id, shop.v1.customers.create().id
    nobody = "cus_" + "0" * 26

    assert refused(lambda: shop.v1.payment_methods.detach(id)) == (
        400, "payment_method_unexpected_state", "payment_method",
    )  # fmt: skip
    assert refused(lambda: shop.v1.payment_methods.attach(id, {"customer": nobody})) == (
        404, "resource_missing", "customer",
    )  # fmt: skip
    shop.v1.payment_methods.attach(id, {"customer": customer})
    other = shop.v1.customers.create().id
    assert refused(lambda: shop.v1.payment_methods.attach(id, {"customer": other})) == (
        400, "payment_method_unexpected_state", "payment_method",
    )  # fmt: skip
    assert refused(lambda: shop.v1.customers.payment_methods.list(nobody))[:2] == (404, "resource_missing")


def test_C2_deleting_a_customer_detaches(shop: stripe.StripeClient, told: Any) -> None:
    customer = shop.v1.customers.create().id
    methods = [shop.v1.payment_methods.create({"type": t}).id for t in ("alipay", "wechat_pay")]
    for id in methods:
        shop.v1.payment_methods.attach(id, {"customer": customer})

    shop.v1.customers.delete(customer)

    assert [shop.v1.payment_methods.retrieve(id).customer for id in methods] == [None, None]
    assert [t for t, _ in told()][-3:] == ["payment_method.detached"] * 2 + ["customer.deleted"]
    assert refused(lambda: shop.v1.payment_methods.attach(methods[0], {"customer": customer}))[0] == 404


def test_C3_nothing_is_left_on_a_customer_that_is_deleted_meanwhile(shop: stripe.StripeClient) -> None:
    for _ in range(5):
        customer = shop.v1.customers.create().id
        methods = [shop.v1.payment_methods.create({"type": "alipay"}).id for _ in range(6)]

        def attach(id: str, customer: str = customer) -> None:
            try:
                shop.v1.payment_methods.attach(id, {"customer": customer})
            except stripe.InvalidRequestError as error:
                assert error.code == "resource_missing"

        with ThreadPoolExecutor(8) as many:
            asked = [many.submit(attach, id) for id in methods[:3]]
            gone = many.submit(shop.v1.customers.delete, customer)
            asked += [many.submit(attach, id) for id in methods[3:]]
            for call in [*asked, gone]:
                call.result()

        assert [shop.v1.payment_methods.retrieve(id).customer for id in methods] == [None] * 6


def test_lists(shop: stripe.StripeClient) -> None:
    customer = shop.v1.customers.create().id
    made = [shop.v1.payment_methods.create({"type": t}).id for t in ("alipay", "wechat_pay", "alipay")]
    for id in made[:2]:
        shop.v1.payment_methods.attach(id, {"customer": customer})

    assert [m.id for m in shop.v1.payment_methods.list({"limit": 1}).auto_paging_iter()] == made[::-1]
    assert [m.id for m in shop.v1.payment_methods.list({"customer": customer}).data] == [made[1], made[0]]
    assert [m.id for m in shop.v1.payment_methods.list({"customer": customer, "type": "alipay"}).data] == [made[0]]
    nested = shop.v1.customers.payment_methods.list(customer, {"limit": 1, "type": "wechat_pay"})
    assert ([m.id for m in nested.data], nested.url) == ([made[1]], f"/v1/customers/{customer}/payment_methods")


def test_expand(shop: stripe.StripeClient, merchant: Any) -> None:
    customer = shop.v1.customers.create({"name": "张三"}).id
    id = shop.v1.payment_methods.create({"type": "alipay"}).id

    attached = shop.v1.payment_methods.attach(id, {"customer": customer, "expand": ["customer"]})
    assert isinstance(attached.customer, stripe.Customer) and attached.customer.name == "张三"
    listed = shop.v1.payment_methods.list({"expand": ["data.customer"]}).data[0]
    assert isinstance(listed.customer, stripe.Customer)

    teller = merchant.client("rk", "payments:read")
    assert teller.v1.payment_methods.retrieve(id, {"expand": ["customer"]}).customer == customer


def test_M4_anothers_methods_are_not_there(shop: stripe.StripeClient, new_merchant: Any) -> None:
    other = new_merchant().client()
    id, customer = shop.v1.payment_methods.create({"type": "alipay"}).id, shop.v1.customers.create().id
    own, theirs = other.v1.payment_methods.create({"type": "alipay"}).id, other.v1.customers.create().id

    missing = (404, "resource_missing", "payment_method")
    assert refused(lambda: other.v1.payment_methods.retrieve(id)) == missing
    assert refused(lambda: other.v1.payment_methods.attach(id, {"customer": theirs})) == missing
    assert refused(lambda: other.v1.payment_methods.detach(id)) == missing
    assert refused(lambda: other.v1.payment_methods.attach(own, {"customer": customer})) == (
        404, "resource_missing", "customer",
    )  # fmt: skip
    assert refused(lambda: other.v1.payment_methods.list({"customer": customer}))[0] == 404
    assert [m.id for m in other.v1.payment_methods.list().data] == [own]
