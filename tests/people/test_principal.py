"""A token holds no rights: what its bearer may do is looked up, at the merchant and in the environment that the call names."""

import asyncio

import pytest

import crew
from guilder.core import ids
from guilder.people.model import At, Authority, Grant
from stack import Shop, Stack, eventually

pytestmark = pytest.mark.anyio


def error(answer: tuple[int, dict[str, dict[str, str]]]) -> tuple[int, str | None]:
    return answer[0], answer[1]["error"].get("code")


async def test_a_person_sees_the_merchant_of_the_grant_and_no_other(stack: Stack) -> None:
    mine, other = await stack.merchant("Mine"), await stack.merchant("Other")
    mine.client().v1.payment_intents.create({"amount": 100, "currency": "cny"})
    async with stack.world() as world:
        staff = await crew.somebody(world, ("merchant_staff", "merchant", mine.book_id))

    status, seen = crew.call(stack.api, staff.token, "GET", "payment_intents", account=mine.demo.merchant)
    assert (status, [i["amount"] for i in seen["data"]]) == (200, [100])

    assert error(crew.call(stack.api, staff.token, "GET", "payment_intents", account=other.demo.merchant)) == (
        403,
        "insufficient_permissions",
    )
    assert error(crew.call(stack.api, staff.token, "GET", "payment_intents")) == (403, "insufficient_permissions")
    assert error(crew.call(stack.api, staff.token, "GET", "ledger/accounts", account=mine.demo.merchant))[0] == 403


async def test_a_role_of_the_platform_reaches_every_book_and_the_platforms_own(stack: Stack) -> None:
    shop = await stack.merchant()
    async with stack.world() as world:
        finance = await crew.somebody(world, ("finance", "platform", None))

    for account in (shop.demo.merchant, None):
        assert crew.call(stack.api, finance.token, "GET", "ledger/accounts", account=account)[0] == 200


async def test_a_change_holds_within_a_second(stack: Stack) -> None:
    shop = await stack.merchant()

    def asks() -> int:
        return crew.call(stack.api, person.token, "GET", "payment_intents", account=shop.demo.merchant)[0]

    async with stack.world() as world:
        person = await crew.somebody(world)
        assert asks() == 403
        await crew.grant(world, person, "read_only", "merchant", shop.book_id)
        await eventually(lambda: asks() == 200, within_s=1.5)
        await crew.revoke(world, person, "read_only")
        await eventually(lambda: asks() == 403, within_s=1.5)


async def test_what_is_no_token_no_account_and_no_environment_is_told_apart(stack: Stack) -> None:
    async with stack.world() as world:
        person = await crew.somebody(world, ("auditor", "platform", None))
    wrong_token = person.token[:-1] + ("a" if person.token[-1] != "a" else "b")

    assert error(crew.call(stack.api, wrong_token, "GET", "events"))[0] == 401
    assert error(crew.call(stack.api, person.token, "GET", "events", account="acct_nobody")) == (
        400,
        "parameter_invalid",
    )
    assert error(crew.call(stack.api, person.token, "GET", "events", account=ids.show("acct", ids.new_id())))[0] == 403
    assert crew.call(stack.api, person.token, "GET", "events", **{"Guilder-Environment": "nowhere"})[0] == 400
    assert crew.call(stack.api, person.token, "GET", "events", **{"Guilder-Environment": "test"})[0] == 200


async def test_a_key_still_names_no_account(stack: Stack) -> None:
    shop: Shop = await stack.merchant()
    answer = await asyncio.to_thread(crew.call, stack.api, shop.key, "GET", "events", account=shop.demo.merchant)
    assert error(answer) == (400, "parameter_unsupported")


def test_authority_adds_up_by_place() -> None:
    a, b = ids.new_id(), ids.new_id()
    held = Authority([
        Grant("read_only", At.MERCHANT, a, frozenset({"payments:read"})),
        Grant("staff", At.OWN, a, frozenset({"cases:write"})),
        Grant("own", At.OWN, None, frozenset({"cases:read"})),
        Grant("finance", At.PLATFORM, None, frozenset({"ledger:read"})),
        Grant("store", At.STORE, a, frozenset({"refunds:write"})),
    ])  # fmt: skip

    assert held.over(a) == {"payments:read", "ledger:read"}
    assert held.over(b) == held.over(ids.PLATFORM) == {"ledger:read"}
    assert (held.own(a), held.own(b)) == ({"cases:write", "cases:read"}, {"cases:read"})
