"""What is refused is refused by name over HTTP, for every parameter that the pinned SDK types; and the rules of metadata."""

import json
from typing import Any

import pytest
import stripe
from sdk_calls_out import CALLS
from sdk_tables import ROUTES, dialect
from sdk_talk import TEA, fails

from http_wire import Wire
from stack import Shop

SOME_ID = "0" * 26


def refused() -> list[tuple[str, str, str]]:
    """(method, path, parameter) of everything that the table calls refused."""
    found = []
    for name, (key, _) in CALLS.items():
        route = ROUTES[key]
        path = route.path
        for part, prefix in route.prefixes.items():
            path = path.replace(f"{{{part}}}", f"{prefix or 'cs_test'}_{SOME_ID}")
        found += [(route.method, path, s.name) for s in dialect.parameters(name, route) if s.fate == "refused"]
    return found


def test_every_refusal_names_its_parameter(shop: Shop) -> None:
    wire = Wire(shop.stack.api, shop.key)
    wrong = []
    for method, path, name in refused():
        sent = name.replace("[]", "[0]")
        got = wire(method, path, f"{sent}=1") if method == "POST" else wire(method, f"{path}?{sent}=1")
        if (got.status, got.error.get("param")) != (400, sent) or got.error["code"] == "parameter_unknown":
            wrong.append((method, path, name, got.status, got.body))
    wire.close()

    assert wrong == []
    assert len(refused()) > 300


@pytest.mark.parametrize("call", ["create", "confirm", "update"])
def test_manual_capture_is_refused(client: stripe.StripeClient, call: str) -> None:
    pay = client.v1.payment_intents
    made = pay.create(TEA)
    manual: Any = {"capture_method": "manual"}
    asked = {
        "create": lambda: pay.create({**TEA, **manual}),
        "confirm": lambda: pay.confirm(made.id, {**manual, "payment_method": "pm_wechat_pay"}),
        "update": lambda: pay.update(made.id, manual),
    }
    fails(stripe.InvalidRequestError, asked[call], param="capture_method", code="parameter_invalid")
    assert pay.retrieve(made.id).status == "requires_payment_method"


def test_a_redirect_cannot_be_forbidden_in_silence(client: stripe.StripeClient) -> None:
    never: Any = {
        "amount": 100,
        "currency": "cny",
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
    }
    fails(
        stripe.InvalidRequestError,
        lambda: client.v1.payment_intents.create(never),
        param="automatic_payment_methods[allow_redirects]",
    )


def test_ways_are_named_once(client: stripe.StripeClient) -> None:
    twice: Any = {**TEA, "allowed_payment_method_types": ["alipay"]}
    fails(stripe.InvalidRequestError, lambda: client.v1.payment_intents.create(twice), code="parameters_exclusive")


METADATA = [
    ({"k" * 40: "v" * 500}, None),
    ({f"k{i}": "v" for i in range(50)}, None),
    ({"k" * 41: "v"}, "metadata[" + "k" * 40 + "…]"),
    ({"k": "v" * 501}, "metadata[k]"),
    ({f"k{i}": "v" for i in range(51)}, "metadata"),
    ({"a[b]": "v"}, "metadata[a[b]]"),
]


@pytest.mark.parametrize(("metadata", "param"), METADATA, ids=["longest", "most", "key", "value", "many", "brackets"])
def test_metadata_has_bounds(shop: Shop, metadata: dict[str, str], param: str | None) -> None:
    wire = Wire(shop.stack.api, shop.key)
    got = wire("POST", "/v1/customers", json.dumps({"metadata": metadata}), type="application/json")
    wire.close()
    if param is None:
        assert (
            got.json["metadata"]
            == metadata
            == shop.client().v1.customers.create({"metadata": metadata}).metadata.to_dict()
        )
    else:
        assert (got.status, got.error["param"]) == (400, param)
        error = fails(stripe.InvalidRequestError, lambda: shop.client().v1.customers.create({"metadata": metadata}))
        assert str(error.param).startswith("metadata")


def test_metadata_of_an_update_merges_and_clears(client: stripe.StripeClient) -> None:
    made = client.v1.customers.create({"metadata": {"a": "1", "b": "2"}})
    assert client.v1.customers.update(made.id, {"metadata": {"a": "", "c": "3"}}).metadata.to_dict() == {
        "b": "2",
        "c": "3",
    }
    assert client.v1.customers.update(made.id, {"metadata": ""}).metadata.to_dict() == {}
    assert client.v1.customers.update(made.id, {"name": "Li"}).metadata.to_dict() == {}
