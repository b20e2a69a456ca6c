"""Customers through the official stripe SDK."""

import asyncio
import json
import urllib.request
from typing import Any

import pytest
import stripe

from guilder.merchants import keys
from guilder.platform import db

pytest_plugins = ["merchants.stand"]

ADDRESS = {
    "city": "上海",
    "country": "CN",
    "line1": "南京东路 1 号",
    "line2": None,
    "postal_code": "200001",
    "state": None,
}
WHOLE: dict[str, Any] = {
    "name": "张三",
    "email": "san@example.com",
    "phone": "+8613800138000",
    "description": "常客",
    "address": {k: v for k, v in ADDRESS.items() if v},
    "shipping": {"name": "李四", "phone": "1", "address": {"city": "北京"}},
    "preferred_locales": ["zh-CN", "en"],
    "metadata": {"tier": "gold", "since": "2024"},
}


def plain(thing: Any) -> dict[str, Any]:
    return json.loads(str(thing))


def refused(call: Any) -> tuple[int, str | None, str | None]:
    with pytest.raises(stripe.StripeError) as caught:
        call()
    return caught.value.http_status, caught.value.code, getattr(caught.value, "param", None)


def test_what_is_given_is_echoed(shop: stripe.StripeClient) -> None:
    made = plain(shop.v1.customers.create(WHOLE))

    assert made["address"] == ADDRESS
    assert made["shipping"]["address"]["city"] == "北京"
    assert (made["shipping"]["name"], made["shipping"]["carrier"]) == ("李四", None)
    same = ("name", "email", "phone", "description", "preferred_locales", "metadata")
    assert {name: made[name] for name in same} == {name: WHOLE[name] for name in same}
    assert plain(shop.v1.customers.retrieve(made["id"])) == made


def test_every_field_that_the_sdk_types_is_there(shop: stripe.StripeClient) -> None:
    shown = plain(shop.v1.customers.create())

    assert set(stripe.Customer.__annotations__) - {"OBJECT_NAME", "deleted"} == set(shown)
    assert (shown["livemode"], shown["balance"], shown["delinquent"], shown["email"]) == (False, 0, False, None)


def test_every_parameter_is_honoured_or_refused_by_name(shop: stripe.StripeClient) -> None:
    options = set(stripe.RequestOptions.__annotations__) | {"expand"}
    for call, typed in (
        (shop.v1.customers.create, stripe.params.CustomerCreateParams),
        (lambda p: shop.v1.customers.update("cus_" + "0" * 26, p), stripe.params.CustomerUpdateParams),
        (shop.v1.customers.list, stripe.params.CustomerListParams),
    ):
        for name in set(typed.__annotations__) - options:
            with pytest.raises(stripe.InvalidRequestError) as caught:
                call({name: {"x": {"y": "z"}}})
            assert caught.value.code != "parameter_unknown" or caught.value.param != name, name


def test_an_update_changes_what_is_given(shop: stripe.StripeClient) -> None:
    id = shop.v1.customers.create(WHOLE).id

    now = plain(
        shop.v1.customers.update(
            id, {"name": "", "phone": "2", "address": "", "metadata": {"tier": "", "new": "1"}, "description": "熟客"}
        )
    )

    assert (now["name"], now["phone"], now["address"], now["description"]) == (None, "2", None, "熟客")
    assert (now["metadata"], now["email"], now["shipping"]["name"]) == (
        {"since": "2024", "new": "1"}, "san@example.com", "李四",
    )  # fmt: skip
    assert plain(shop.v1.customers.retrieve(id)) == now


def test_C1_every_change_is_said_once(shop: stripe.StripeClient, told: Any) -> None:
    id = shop.v1.customers.create({"name": "a", "metadata": {"k": "1"}}, {"idempotency_key": "one"}).id
    assert shop.v1.customers.create({"name": "a", "metadata": {"k": "1"}}, {"idempotency_key": "one"}).id == id
    shop.v1.customers.update(id, {"name": "b", "metadata": {"k": "2", "l": "3"}})
    shop.v1.customers.update(id, {"name": "b"})
    shop.v1.customers.delete(id)

    (created, no), (updated, previous), (deleted, _) = told()
    assert (created, no) == ("customer.created", None)
    assert (updated, plain(previous)) == ("customer.updated", {"name": "a", "metadata": {"k": "1", "l": None}})
    assert deleted == "customer.deleted"
    [last] = shop.v1.events.list({"type": "customer.deleted"}).data
    assert (last.data.object["id"], last.data.object["name"]) == (id, "b")


def test_versions_have_no_gaps(shop: stripe.StripeClient, merchant: Any, server: Any) -> None:
    id = shop.v1.customers.create().id
    for name in ("a", "a", "b", "c"):
        shop.v1.customers.update(id, {"name": name})
    shop.v1.customers.delete(id)

    assert asyncio.run(_versions(server, merchant.id)) == [1, 2, 3, 4, 5]


async def _versions(server: Any, book: Any) -> list[int]:
    async with db.connected(server.dsn("guilder_test", "owner")) as connection:
        rows = await connection.fetch("SELECT object_version FROM platform.event WHERE book_id = $1 ORDER BY id", book)
    return [r["object_version"] for r in rows]


def test_C2_of_a_deleted_customer_nothing_is_left(shop: stripe.StripeClient, server: Any) -> None:
    id = shop.v1.customers.create(WHOLE).id

    gone = {"id": id, "object": "customer", "deleted": True}
    assert plain(shop.v1.customers.delete(id)) == gone
    assert plain(shop.v1.customers.retrieve(id)) == gone
    assert shop.v1.customers.list().data == []
    missing = (404, "resource_missing", "id")
    assert refused(lambda: shop.v1.customers.delete(id)) == missing
    assert refused(lambda: shop.v1.customers.update(id, {"name": "x"})) == missing
    assert "san@example.com" not in asyncio.run(_rows(server))


async def _rows(server: Any) -> str:
    async with db.connected(server.dsn("guilder_test", "owner")) as connection:
        return str(await connection.fetch("SELECT * FROM merchants.customer WHERE deleted_at IS NOT NULL"))


def test_a_list_is_filtered_and_paged(shop: stripe.StripeClient) -> None:
    made = [shop.v1.customers.create({"email": f"{n % 2}@example.com"}) for n in range(5)]
    newest_first = [c.id for c in reversed(made)]

    assert [c.id for c in shop.v1.customers.list({"limit": 2}).auto_paging_iter()] == newest_first
    back = shop.v1.customers.list({"limit": 2, "ending_before": newest_first[3]})
    assert ([c.id for c in back.data], back.has_more) == (newest_first[1:3], True)
    assert [c.id for c in shop.v1.customers.list({"email": "1@example.com"}).data] == newest_first[1::2]
    assert shop.v1.customers.list({"created": {"gt": made[-1].created}}).data == []
    assert len(shop.v1.customers.list({"created": {"gte": made[0].created, "lte": 253402300799}}).data) == 5
    assert refused(lambda: shop.v1.customers.list({"starting_after": "cus_1"})) == (
        404, "resource_missing", "starting_after",
    )  # fmt: skip


BAD = [
    ({"email": "no address"}, "email_invalid", "email"),
    ({"source": "tok_visa"}, "card_data_refused", "source"),
    ({"email": "4242", "card": {"number": "4242424242424242"}}, "card_data_refused", "card"),
    ({"payment_method": "pm_alipay"}, "parameter_unsupported", "payment_method"),
    ({"balance": 100}, "parameter_unsupported", "balance"),
    ({"shipping": {"name": "x"}}, "parameter_missing", "shipping[address]"),
    ({"adress": {}, "nmae": "x"}, "parameter_unknown", "nmae"),
]


@pytest.mark.parametrize(("given", "code", "param"), BAD, ids=[b[2] for b in BAD])
def test_what_is_not_honoured_is_refused(shop: stripe.StripeClient, given: Any, code: str, param: str) -> None:
    assert refused(lambda: shop.v1.customers.create(given)) == (400, code, param)
    assert shop.v1.customers.list().data == []


def test_card_numbers_are_not_repeated(shop: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        shop.v1.customers.create({"card": {"number": "4242424242424242"}})  # type: ignore[typeddict-unknown-key]
    assert "4242" not in str(caught.value.http_body)


def test_M4_anothers_customers_are_not_there(shop: stripe.StripeClient, new_merchant: Any) -> None:
    id, other = shop.v1.customers.create(WHOLE).id, new_merchant().client()

    missing = (404, "resource_missing", "id")
    assert refused(lambda: other.v1.customers.retrieve(id)) == missing
    assert refused(lambda: other.v1.customers.update(id, {"name": "x"})) == missing
    assert refused(lambda: other.v1.customers.delete(id)) == missing
    assert other.v1.customers.list().data == []
    assert shop.v1.customers.retrieve(id).name == "张三"


def test_keys_need_their_scopes(shop: stripe.StripeClient, merchant: Any) -> None:
    id = shop.v1.customers.create().id
    reader, payer = merchant.client("rk", "customers:read"), merchant.client("pk")

    assert reader.v1.customers.retrieve(id).id == id
    for forbidden in (
        reader.v1.customers.create,
        lambda: reader.v1.customers.delete(id),
        payer.v1.customers.list,
    ):
        assert refused(forbidden)[0] == 403


def test_delete_is_replayed_under_its_key(shop: stripe.StripeClient, merchant: Any) -> None:
    id = shop.v1.customers.create().id
    made = merchant.stand.run(merchant.stand.control.transact(lambda tx: _key(tx, merchant)))

    def delete() -> tuple[bytes, str | None]:
        request = urllib.request.Request(  # the SDK sends no key with DELETE; other clients do
            f"{merchant.stand.url}/v1/customers/{id}", method="DELETE",
            headers={"Authorization": f"Bearer {made}", "Idempotency-Key": "del"},
        )  # fmt: skip
        with urllib.request.urlopen(request) as answer:
            return answer.read(), answer.headers["Idempotent-Replayed"]

    (first, fresh), (again, replayed) = delete(), delete()
    assert (first, fresh, replayed) == (again, None, "true")


async def _key(tx: Any, merchant: Any) -> str:
    return (await keys.make(tx, merchant.id, "test", "sk")).secret
