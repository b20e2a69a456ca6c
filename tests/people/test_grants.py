"""Grants and roles: nobody gives what is not his to give.  The names of the rules are those of people/grants.py."""

from typing import Any

import pytest
from people_door import as_owner, at_once, code_of, trail, until

import crew
from guilder.core import ids
from guilder.people import grants
from guilder.people.grants import Giver, Place
from guilder.people.model import At
from guilder.platform import housekeeping
from stack import Shop, Stack

pytestmark = pytest.mark.anyio


async def somebody(door: Stack, *given: crew.Given) -> crew.Somebody:
    async with door.world() as world:
        return await crew.somebody(world, *given)


def give(
    door: Stack, by: crew.Somebody, to: str, role: str, account: str | None = None, key: str | None = None, **more: str
) -> tuple[int, Any]:
    """Give a role."""
    headers = {} if key is None else {"Idempotency-Key": key}
    return crew.call(door.api, by.token, "POST", "grants", {"to": to, "role": role, **more}, account=account, **headers)


async def test_a_grant_is_given_and_taken_back_within_a_second(door: Stack) -> None:
    shop = await door.merchant()
    boss, person = await somebody(door, ("operator", "platform", None)), await somebody(door)
    status, made = give(door, boss, person.shown, "merchant_staff", shop.demo.merchant)
    assert (status, made["at"], made["account"], made["given_by"]) == (200, "merchant", shop.demo.merchant, boss.shown)
    await until(door, person.token, 200, "payment_intents", account=shop.demo.merchant)
    assert give(door, boss, person.shown, "merchant_staff", shop.demo.merchant)[1]["id"] == made["id"]

    status, gone = crew.call(door.api, boss.token, "DELETE", f"grants/{made['id']}")
    assert (status, gone["deleted"]) == (200, True)
    await until(door, person.token, 403, "payment_intents", account=shop.demo.merchant)
    assert crew.call(door.api, boss.token, "DELETE", f"grants/{made['id']}")[0] == 404
    assert await trail(door, made["id"]) == [("grant.given", boss.shown), ("grant.taken", boss.shown)]


async def test_G1_nobody_changes_what_he_himself_may_do(door: Stack) -> None:
    boss = await somebody(door, ("operator", "platform", None))
    [own] = await as_owner(door, "SELECT id FROM people.grant WHERE person_id = $1", boss.id)
    assert code_of(give(door, boss, boss.shown, "finance")) == (403, "own_authority")
    taken = crew.call(door.api, boss.token, "DELETE", f"grants/{ids.show('gra', own['id'])}")
    assert code_of(taken) == (403, "own_authority")
    assert code_of(crew.call(door.api, boss.token, "POST", f"users/{boss.shown}/disable")) == (403, "own_authority")

    role = {"name": f"mine_{ids.text(ids.new_id())[-8:]}", "permissions": ["payments:read"]}
    crew.call(door.api, boss.token, "POST", "roles", role)
    async with door.world() as world:
        await crew.grant(world, boss, role["name"])
    more = {"permissions": ["payments:read", "refunds:write"]}
    assert code_of(crew.call(door.api, boss.token, "POST", f"roles/{role['name']}", more)) == (403, "own_authority")
    assert code_of(crew.call(door.api, boss.token, "DELETE", f"roles/{role['name']}")) == (403, "own_authority")


async def test_G2_who_manages_people_of_the_platform_gives_any_role_to_another_and_to_a_service_only_his_own(
    door: Stack,
) -> None:
    boss, other = await somebody(door, ("operator", "platform", None)), await somebody(door)
    assert [give(door, boss, other.shown, role)[0] for role in ("finance", "risk", "operator", "auditor")] == [200] * 4
    service = ids.new_id()
    await as_owner(door, "INSERT INTO people.service (id, name) VALUES ($1, 'Nightly')", service)
    assert code_of(give(door, boss, ids.show("svc", service), "finance"))[0] == 403, "he could read its key"
    assert give(door, boss, ids.show("svc", service), "operator")[0] == 200


async def test_G3_who_manages_people_of_one_merchant_gives_there_what_he_has_there(door: Stack) -> None:
    shop, another = await door.merchant(), await door.merchant()
    here = shop.demo.merchant
    owner, person = await somebody(door, ("merchant_owner", "merchant", shop.book_id)), await somebody(door)
    head = await somebody(door, ("merchant_owner", "merchant", shop.book_id), ("operator", "platform", None))

    assert give(door, owner, person.shown, "merchant_staff", here)[0] == 200
    assert give(door, owner, person.shown, "merchant_staff", here, at="own")[0] == 200
    refused = [
        give(door, owner, person.shown, "merchant_staff", here, at="platform"), give(door, owner, person.shown, "operator", here),
        give(door, owner, person.shown, "merchant_staff", another.demo.merchant), give(door, owner, person.shown, "merchant_staff"),
    ]  # fmt: skip
    assert [r[0] for r in refused] == [403] * 4
    foreign = await as_owner(door, "SELECT id FROM people.grant WHERE person_id = $1 AND at = 'platform'", head.id)
    shown = ids.show("gra", foreign[0]["id"])
    assert crew.call(door.api, owner.token, "DELETE", f"grants/{shown}", account=here)[0] == 404
    _, listed = crew.call(door.api, owner.token, "GET", "grants", account=here)
    assert {g["account"] for g in listed["data"]} == {here}
    _, seen = crew.call(door.api, owner.token, "GET", "users", account=here)
    assert {u["id"] for u in seen["data"]} == {owner.shown, person.shown, head.shown}
    for path in (f"users/{person.shown}/disable", "roles"):
        body = {"name": "of_a_merchant", "permissions": ["payments:read"]} if path == "roles" else None
        assert crew.call(door.api, owner.token, "POST", path, body, account=here)[0] == 403
    stranger = await somebody(door)
    assert crew.call(door.api, owner.token, "GET", f"users/{stranger.shown}", account=here)[0] == 404


async def test_G4_what_was_taken_a_moment_ago_gives_nothing(door: Stack) -> None:
    boss, person = await somebody(door, ("operator", "platform", None)), await somebody(door)
    async with door.world() as world:
        giver = Giver(boss.id, boss.shown)
        await crew.revoke(world, boss, "operator")
        with pytest.raises(grants.Forbidden):
            await world.control.transact(lambda tx: grants.give(tx, giver, person.id, "read_only", Place(At.PLATFORM)))


async def test_a_store_is_refused_by_name(door: Stack) -> None:
    shop = await door.merchant()
    boss, person = await somebody(door, ("operator", "platform", None)), await somebody(door)
    status, answer = give(door, boss, person.shown, "merchant_staff", shop.demo.merchant, at="store")
    assert (status, answer["error"]["param"]) == (400, "at") and "no stores" in answer["error"]["message"]


async def test_roles_of_ones_own_are_made_changed_and_deleted_and_built_in_ones_are_not(door: Stack) -> None:
    boss, person = await somebody(door, ("operator", "platform", None)), await somebody(door)
    name = f"clerk_{ids.text(ids.new_id())[-8:]}"
    body: dict[str, Any] = {"name": name, "permissions": ["refunds:read", "payments:read"], "description": "looks"}
    status, made = crew.call(door.api, boss.token, "POST", "roles", body)
    assert (status, made["permissions"], made["built_in"]) == (200, ["payments:read", "refunds:read"], False)
    assert crew.call(door.api, boss.token, "POST", "roles", body)[0] == 400
    assert crew.call(door.api, boss.token, "POST", "roles", {**body, "name": "x_y", "permissions": ["all"]})[0] == 400

    _, granted = give(door, boss, person.shown, name)
    await until(door, person.token, 200, "payment_intents")
    assert crew.call(door.api, boss.token, "DELETE", f"roles/{name}")[0] == 400, "somebody has it"
    crew.call(door.api, boss.token, "POST", f"roles/{name}", {"permissions": ["events:read"]})
    await until(door, person.token, 403, "payment_intents")
    crew.call(door.api, boss.token, "DELETE", f"grants/{granted['id']}")
    assert crew.call(door.api, boss.token, "DELETE", f"roles/{name}")[1]["deleted"] is True
    assert crew.call(door.api, boss.token, "GET", f"roles/{name}")[0] == 404

    assert crew.call(door.api, boss.token, "POST", "roles/auditor", {"permissions": ["refunds:write"]})[0] == 403
    assert crew.call(door.api, boss.token, "DELETE", "roles/auditor")[0] == 403
    assert [a for a, _ in await trail(door, name)] == ["role.made", "role.changed", "role.deleted"]


async def test_roles_are_paged_by_name(door: Stack) -> None:
    boss = await somebody(door, ("auditor", "platform", None))

    def page(query: str) -> list[str]:
        return [r["id"] for r in crew.call(door.api, boss.token, "GET", f"roles?{query}")[1]["data"]]

    every = page("limit=100")
    assert every == sorted(every) and "operator" in every
    assert page(f"limit=2&starting_after={every[1]}") == every[2:4]
    assert page(f"limit=2&ending_before={every[3]}") == every[1:3]


async def test_one_key_gives_once_in_the_control_database_and_is_the_persons_own(door: Stack) -> None:
    shop = await door.merchant()
    boss, other = [await somebody(door, ("operator", "platform", None)) for _ in "ab"]
    person = await somebody(door)
    first = give(door, boss, person.shown, "auditor", key="k1")
    again = give(door, boss, person.shown, "auditor", key="k1")
    assert first == again and first[0] == 200
    assert code_of(give(door, boss, person.shown, "risk", key="k1")) == (400, "idempotency_key_reused")
    assert code_of(give(door, boss, person.shown, "auditor", shop.demo.merchant, key="k1"))[0] == 400
    assert give(door, other, person.shown, "risk", key="k1")[1]["given_by"] == other.shown
    rows = await as_owner(door, "SELECT book_id FROM platform.answer WHERE key = 'k1'")
    assert {r["book_id"] for r in rows} >= {boss.id, other.id}


async def test_twenty_give_the_same_at_once_and_it_is_given_once(door: Stack) -> None:
    boss, person = await somebody(door, ("operator", "platform", None)), await somebody(door)
    answers = await at_once(20, lambda n: give(door, boss, person.shown, "auditor", key=f"same {n % 4}"))
    assert {a[0] for a in answers} <= {200, 503} and len({a[1]["id"] for a in answers if a[0] == 200}) == 1
    assert len(await as_owner(door, "SELECT 1 FROM people.grant WHERE person_id = $1", person.id)) == 1


async def test_answers_of_the_control_database_go_when_their_rule_says_so(door: Stack) -> None:
    boss, person = await somebody(door, ("operator", "platform", None)), await somebody(door)
    give(door, boss, person.shown, "auditor", key="old")
    give(door, boss, person.shown, "risk", key="new")
    await as_owner(
        door, "UPDATE platform.answer SET created_at = now() - interval '31 days' WHERE book_id = $1 AND key = 'old'", boss.id
    )  # fmt: skip
    async with door.world() as world:
        await housekeeping.forget(world.shared())
    rows = await as_owner(door, "SELECT key FROM platform.answer WHERE book_id = $1", boss.id)
    assert [r["key"] for r in rows] == ["new"]


async def test_everybody_sees_himself_and_his_own_grants_whatever_his_roles(door: Stack) -> None:
    shop: Shop = await door.merchant()
    person, other = await somebody(door, ("merchant_staff", "merchant", shop.book_id)), await somebody(door)
    assert crew.call(door.api, person.token, "GET", "users/me")[1]["id"] == person.shown
    assert crew.call(door.api, person.token, "POST", "users/me", {"name": "Heron"})[1]["name"] == "Heron"
    assert [g["role"] for g in crew.call(door.api, person.token, "GET", "grants")[1]["data"]] == ["merchant_staff"]
    assert crew.call(door.api, person.token, "GET", f"grants?user={other.shown}")[0] == 403
    for path in ("users", f"users/{other.shown}", "invitations", "roles"):
        assert crew.call(door.api, person.token, "GET", path)[0] == 403, path
    assert crew.call(door.api, person.token, "POST", f"users/{person.shown}", {"name": "x"})[0] == 403
