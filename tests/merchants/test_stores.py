"""Stores, tills and operators through the API, and payments that name them."""

import json
import urllib.error
from typing import Any

import pytest

from stack import Shop, Stack

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def shop(stack: Stack) -> Shop:
    return await stack.merchant("Tea House")


def refused(ask: Any) -> dict[str, Any]:
    """The error of a call that is refused."""
    with pytest.raises(urllib.error.HTTPError) as said:
        ask()

    found: dict[str, Any] = json.loads(said.value.read())["error"]
    return found


async def test_a_store_has_tills_and_whoever_stands_there(shop: Shop) -> None:
    store = shop.post(
        "stores", {"code": "0001", "name": "West Lake", "address": {"city": "Hangzhou"}, "metadata": {"zone": "east"}}
    )
    till = shop.post("terminals", {"store": store["id"], "code": "T1", "name": "Till 1"})
    clerk = shop.post("operators", {"code": "7", "name": "Li", "store": store["id"]})

    assert (store["object"], store["currency"], store["address"]) == ("store", "cny", {"city": "Hangzhou"})
    assert till["store"] == clerk["store"] == store["id"]
    assert till["counter_url"] != store["counter_url"] and f"{shop.stack.cashier}/q/test/" in till["counter_url"]
    assert shop.get("stores?code=0001")["data"] == [store]
    assert shop.get(f"terminals?store={store['id']}")["data"] == [till]
    assert shop.get(f"operators/{clerk['id']}") == clerk

    changed = shop.post(f"stores/{store['id']}", {"name": "East Lake", "metadata": {"zone": "", "floor": "2"}})
    assert (changed["name"], changed["metadata"], changed["code"]) == ("East Lake", {"floor": "2"}, "0001")
    assert changed["counter_url"] == store["counter_url"], "the plate that was printed stays good"


async def test_a_code_names_one_store_and_one_till_of_it(shop: Shop) -> None:
    one, other = (shop.post("stores", {"code": code, "name": code}) for code in ("A1", "A2"))
    shop.post("terminals", {"store": one["id"], "code": "1", "name": "1"})
    shop.post("terminals", {"store": other["id"], "code": "1", "name": "1"})
    for path, body in (
        ("stores", {"code": "A1", "name": "again"}),
        ("terminals", {"store": one["id"], "code": "1", "name": "again"}),
    ):
        error = refused(lambda path=path, body=body: shop.post(path, body))
        assert (error["code"], error["param"]) == ("resource_already_exists", "code")


async def test_a_payment_says_where_it_is_made(shop: Shop) -> None:
    store = shop.post("stores", {"code": "B1", "name": "B1"})
    till = shop.post("terminals", {"store": store["id"], "code": "1", "name": "1"})
    clerk = shop.post("operators", {"code": "B9", "name": "Wang"})
    made = shop.post(
        "payment_intents", {"amount": 100, "currency": "cny", "terminal": till["id"], "operator": clerk["id"]}
    )
    shop.post("payment_intents", {"amount": 100, "currency": "cny"})

    assert (made["store"], made["terminal"], made["operator"]) == (store["id"], till["id"], clerk["id"])
    assert [i["id"] for i in shop.get(f"payment_intents?store={store['id']}")["data"]] == [made["id"]]
    assert [i["id"] for i in shop.get(f"payment_intents?terminal={till['id']}")["data"]] == [made["id"]]


async def test_what_does_not_belong_together_or_is_closed_takes_no_payment(shop: Shop, stack: Stack) -> None:
    one, other = (shop.post("stores", {"code": code, "name": code}) for code in ("C1", "C2"))
    till = shop.post("terminals", {"store": one["id"], "code": "1", "name": "1"})
    clerk = shop.post("operators", {"code": "C9", "name": "Zhao", "store": other["id"]})
    money = {"amount": 100, "currency": "cny"}
    for place, param in (
        ({"terminal": till["id"], "store": other["id"]}, "store"),
        ({"terminal": till["id"], "operator": clerk["id"]}, "operator"),
        ({"operator": clerk["id"]}, "operator"),
    ):
        assert refused(lambda place=place: shop.post("payment_intents", money | place))["param"] == param
    shop.post(f"stores/{one['id']}", {"enabled": False})
    assert "not enabled" in refused(lambda: shop.post("payment_intents", money | {"terminal": till["id"]}))["message"]

    stranger = await stack.merchant("Somebody else")
    assert (
        refused(lambda: stranger.post("payment_intents", money | {"store": other["id"]}))["code"] == "resource_missing"
    )
    assert refused(lambda: stranger.get(f"stores/{other['id']}"))["code"] == "resource_missing"
