"""Decisions through HTTP, by people with real roles: who may, who may not any more, and fifty at once."""

import asyncio
from typing import Any

import pytest

import crew
from crew import Somebody
from guilder.app.environments import World
from guilder.core import ids
from guilder.oversight import approvals, jobs_approvals
from guilder.platform import deciding
from stack import Shop, Stack

pytestmark = pytest.mark.anyio
JOURNALS = {"journals": [{"key": "k", "transfers": [{"debit": "x:a", "credit": "x:b", "asset": "point", "units": 7}]}]}


def post(shop: Shop, by: Somebody, path: str, body: dict[str, Any], **headers: str) -> tuple[int, Any]:
    return crew.call(shop.stack.api, by.token, "POST", path, body, account=shop.demo.merchant, **headers)


def get(shop: Shop, by: Somebody, path: str) -> Any:
    status, answer = crew.call(shop.stack.api, by.token, "GET", path, account=shop.demo.merchant)
    assert status == 200, answer
    return answer


def decide(shop: Shop, by: Somebody, asked: dict[str, Any], decision: str = "approve", **over: str) -> tuple[int, Any]:
    body = {"decision": decision, "hash": asked["hash"], **over}
    return post(shop, by, f"approvals/{asked['id']}/decide", body)


def refused(answer: tuple[int, Any]) -> tuple[int, str | None]:
    return answer[0], answer[1].get("error", {}).get("code")


async def a_shop(stack: Stack, *steps: dict[str, Any]) -> tuple[Shop, Somebody]:
    """A shop whose journals by hand need approval, and who posts them."""
    shop = await stack.merchant()
    shop.ledger()
    async with stack.world() as world:
        boss, maker = await crew.somebody(world, ("operator", "platform", None)), await finance(world, shop)
    made = crew.call(
        stack.api,
        boss.token,
        "POST",
        "approval_chains",
        {"kind": "journal", "account": shop.demo.merchant, "steps": list(steps)},
    )
    assert made[0] == 200, made
    return shop, maker


async def finance(world: World, shop: Shop) -> Somebody:
    return await crew.somebody(world, ("finance", "merchant", shop.book_id))


def ask(shop: Shop, maker: Somebody) -> dict[str, Any]:
    status, answer = post(shop, maker, "ledger/journals", JOURNALS)
    assert (status, answer["error"]["code"]) == (403, "approval_required"), answer
    return answer["error"]["approval"]


def balance(shop: Shop, by: Somebody) -> int:
    """What x:b got from x:a, beside the two points that it began with."""
    [account] = [a for a in get(shop, by, "ledger/accounts?limit=100")["data"] if a["code"] == "x:b"]
    return account["balance"] - 2


FINANCE = {"role": "finance", "at": "merchant"}


async def test_A1_who_asked_cannot_decide_and_neither_can_keys_and_strangers(stack: Stack) -> None:
    shop, maker = await a_shop(stack, FINANCE)
    asked = ask(shop, maker)
    async with stack.world() as world:
        stranger = await crew.somebody(world, ("finance", "merchant", (await stack.merchant()).book_id))
        staff = await crew.somebody(world, ("merchant_staff", "merchant", shop.book_id))
        risk = await crew.somebody(world, ("risk", "platform", None))

    assert refused(decide(shop, maker, asked)) == (403, "approval_own")
    assert refused(decide(shop, stranger, asked)) == (403, "insufficient_permissions")
    assert refused(decide(shop, staff, asked)) == (403, "insufficient_permissions")
    assert refused(decide(shop, risk, asked)) == (403, "insufficient_permissions")
    by_key = crew.call(
        stack.api, shop.key, "POST", f"approvals/{asked['id']}/decide", {"decision": "approve", "hash": asked["hash"]}
    )
    assert refused(by_key) == (403, "insufficient_permissions")
    assert (get(shop, maker, f"approvals/{asked['id']}")["state"], balance(shop, maker)) == ("open", 0)


async def test_A2_a_stale_hash_and_A3_an_expired_approval_are_refused(stack: Stack) -> None:
    shop, maker = await a_shop(stack, FINANCE)
    asked, old = ask(shop, maker), ask(shop, maker)
    async with stack.world() as world:
        anna = await finance(world, shop)
        async with crew.db.connected(crew.dsn(world.settings, "guilder_test", "owner")) as owner:
            await owner.execute(
                "UPDATE platform.approval SET expires_at = now() WHERE id = $1", ids.read("apr", old["id"])
            )

    assert refused(decide(shop, anna, asked, hash="0" * 64)) == (400, "approval_hash_stale")
    assert refused(decide(shop, anna, old)) == (400, "approval_expired")
    assert get(shop, maker, f"approvals/{old['id']}")["state"] == "expired"
    assert balance(shop, maker) == 0


async def test_A5_a_role_that_is_revoked_mid_way_takes_its_yes_with_it(stack: Stack) -> None:
    shop, maker = await a_shop(stack, {**FINANCE, "people": 2})
    asked = ask(shop, maker)
    async with stack.world() as world:
        anna, bo, chen = [await finance(world, shop) for _ in range(3)]
        assert decide(shop, anna, asked)[1]["state"] == "open"
        await crew.revoke(world, anna, "finance")

        assert decide(shop, bo, asked)[1]["state"] == "open"
        assert balance(shop, maker) == 0
        assert decide(shop, chen, asked)[1]["state"] == "executed"
    assert balance(shop, maker) == 7


async def test_A5_whose_own_role_is_revoked_is_refused_at_once(stack: Stack) -> None:
    """The API may know a role for a second longer; a decision does not."""
    shop, maker = await a_shop(stack, FINANCE)
    asked = ask(shop, maker)
    async with stack.world() as world:
        anna = await finance(world, shop)
        get(shop, anna, "approvals")
        await crew.revoke(world, anna, "finance")
        assert decide(shop, anna, asked)[0] == 403
    assert balance(shop, maker) == 0


async def test_A6_of_fifty_people_at_once_two_are_heard_and_it_is_done_once(stack: Stack) -> None:
    shop, maker = await a_shop(stack, {**FINANCE, "people": 2})
    asked = ask(shop, maker)
    async with stack.world() as world:
        crowd = [await finance(world, shop) for _ in range(50)]

    said = await asyncio.gather(*(asyncio.to_thread(decide, shop, one, asked) for one in crowd))

    states = [a["state"] for status, a in said if status == 200]
    assert sorted(states) == ["executed", "open"]
    assert {refused(s) for s in said if s[0] != 200} <= {(400, "approval_not_open"), (503, "overloaded")}
    assert balance(shop, maker) == 7
    assert len(get(shop, maker, f"approvals/{asked['id']}")["decisions"]) == 2


async def test_A6_the_same_decision_sent_twice_under_one_key_is_one_and_answered_alike(stack: Stack) -> None:
    shop, maker = await a_shop(stack, FINANCE)
    asked = ask(shop, maker)
    async with stack.world() as world:
        anna = await finance(world, shop)
    body = {"decision": "approve", "hash": asked["hash"]}
    path, key = f"approvals/{asked['id']}/decide", {"Idempotency-Key": ids.text(ids.new_id())}

    first, again = post(shop, anna, path, body, **key), post(shop, anna, path, body, **key)

    assert first == again and first[1]["state"] == "executed"
    assert balance(shop, maker) == 7


async def test_whoever_is_at_the_machine_is_no_person(stack: Stack) -> None:
    shop, maker = await a_shop(stack, {"role": "machine"}, FINANCE)
    other, other_maker = await a_shop(stack, {"role": "operator", "at": "platform"})
    asked, not_his = ask(shop, maker), ask(other, other_maker)
    async with stack.world() as world:
        rt, anna = world.envs["test"], await finance(world, shop)

        async def at_the_machine(of: Shop, a: dict[str, Any], yes: bool) -> str:
            id = ids.read("apr", a["id"])
            assert id is not None
            said = (approvals.OPERATOR, yes, bytes.fromhex(a["hash"]), "")
            return (await approvals.decide(rt, of.book_id, id, said, rt.db.transact)).state

        assert decide(shop, anna, asked)[0] == 403, "a person does not stand in for the machine"
        assert await at_the_machine(shop, asked, yes=True) == "open"
        with pytest.raises(deciding.NotDecided):
            await at_the_machine(shop, asked, yes=True)
        assert decide(shop, anna, asked)[1]["state"] == "executed"

        with pytest.raises(approvals.Forbidden):
            await at_the_machine(other, not_his, yes=True)
        assert await at_the_machine(other, not_his, yes=False) == "refused"
        assert await jobs_approvals.measure(rt) == 0


async def test_rules_are_the_platforms_and_a_merchants_own_add_to_them(stack: Stack) -> None:
    shop, maker = await a_shop(stack, {"role": "finance", "at": "platform"})
    async with stack.world() as world:
        owner = await crew.somebody(world, ("merchant_owner", "merchant", shop.book_id))
        second = await crew.somebody(world, ("merchant_owner", "merchant", shop.book_id))
        finance_of_all = await crew.somebody(world, ("finance", "platform", None))
    status, own = post(
        shop, owner, "approval_chains", {"kind": "journal", "steps": [{"permission": "approvals:write"}]}
    )
    assert (status, own["owner"], own["account"]) == (200, "merchant", shop.demo.merchant)
    [theirs] = [c for c in get(shop, owner, "approval_chains")["data"] if c["owner"] == "platform" and c["account"]]
    deleted = crew.call(stack.api, owner.token, "DELETE", f"approval_chains/{theirs['id']}", account=shop.demo.merchant)
    assert refused(deleted) == (404, "resource_missing")

    asked = ask(shop, maker)
    assert [(s["role"], s["permission"], s["at"]) for s in asked["steps"]] == [
        ("finance", None, "platform"), (None, "approvals:write", "merchant"),
    ]  # fmt: skip
    assert decide(shop, second, asked)[0] == 403
    assert decide(shop, finance_of_all, asked)[1]["state"] == "open"
    assert decide(shop, second, asked)[1]["state"] == "executed"

    key = crew.call(stack.api, shop.key, "POST", "approval_chains", {"kind": "journal", "steps": [FINANCE]})
    assert refused(key) == (403, "insufficient_permissions")
    gone = crew.call(stack.api, owner.token, "DELETE", f"approval_chains/{own['id']}", account=shop.demo.merchant)
    assert (gone[0], gone[1]["deleted"]) == (200, True)
