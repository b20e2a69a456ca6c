"""Invitations: once, by whom they are for, and only for what whoever sent them may still give."""

import asyncio
from typing import Any

import pytest
from people_door import PASSWORD, Person, address, as_owner, at_once, code_of, invited, joined, trail, until, with_app

import crew
from guilder.core import ids
from guilder.people import invite, throttle
from guilder.people.model import At
from stack import Stack

pytestmark = pytest.mark.anyio


def accept(door: Stack, token: str, password: str = PASSWORD) -> tuple[int, Any]:
    return crew.call(door.api, "", "POST", "invitations/accept", {"token": token, "password": password})


async def boss_of(door: Stack, role: str = "operator", at: str = "platform", merchant: Any = None) -> crew.Somebody:
    async with door.world() as world:
        return await crew.somebody(world, (role, at, merchant))


async def test_an_invitation_is_shown_once_and_gives_its_role_when_it_is_accepted(door: Stack) -> None:
    shop, boss, email = await door.merchant(), await boss_of(door), address()
    wanted = {"email": email.upper(), "role": "merchant_owner", "account": shop.demo.merchant}
    status, made = crew.call(door.api, boss.token, "POST", "invitations", wanted)
    assert (status, made["status"], made["at"], made["email"]) == (200, "open", "merchant", email)
    assert made["expires_at"] - made["created"] == 7 * 86_400

    assert "token" not in crew.call(door.api, boss.token, "GET", f"invitations/{made['id']}")[1]
    assert all("token" not in i for i in crew.call(door.api, boss.token, "GET", "invitations")[1]["data"])
    kept = await as_owner(door, "SELECT hash FROM people.invitation WHERE id = $1", ids.read("inv", made["id"]))
    assert made["token"].encode() not in kept[0]["hash"]

    status, user = accept(door, made["token"])
    assert (status, user["email"]) == (200, email)
    person = Person(door, ids.read("usr", user["id"]), email)
    token = person.signs_in()
    assert crew.call(door.api, token, "GET", "payment_intents", account=shop.demo.merchant)[0] == 200
    assert crew.call(door.api, token, "GET", "payment_intents")[0] == 403
    assert crew.call(door.api, boss.token, "GET", f"invitations/{made['id']}")[1]["status"] == "accepted"
    assert code_of(accept(door, made["token"])) == (400, "invitation_refused")
    assert await trail(door, made["id"]) == [("invitation.made", boss.shown), ("invitation.accepted", person.shown)]


async def test_fifty_accept_one_invitation_at_once_and_one_has_joined(door: Stack) -> None:
    email = address()
    token = await invited(door, email)
    answers = await at_once(50, lambda _: accept(door, token))
    told = [code_of(a) for a in answers]
    assert told.count((200, None)) == 1
    assert told.count((400, "invitation_refused")) == 49
    rows = await as_owner(
        door, "SELECT count(*) AS n FROM people.person p JOIN people.grant g ON g.person_id = p.id WHERE p.email = $1", email
    )  # fmt: skip
    assert rows[0]["n"] == 1

    await invited(door, email)
    [open_] = await as_owner(door, "SELECT id FROM people.invitation WHERE email = $1 AND accepted_at IS NULL", email)
    async with door.world() as world:
        won = await asyncio.gather(
            *(world.control.transact(lambda tx: tx.row(invite.Q.accept_invitation, open_["id"])) for _ in range(50))
        )
    assert sum(row is not None for row in won) == 1, (
        "nor is it the queue of those who hash a password that makes it once"
    )


async def test_one_that_is_over_or_revoked_is_refused_in_the_same_words(door: Stack) -> None:
    boss = await boss_of(door)
    over, revoked = (
        crew.call(door.api, boss.token, "POST", "invitations", {"email": address(), "role": "read_only"})[1] for _ in "ab"
    )  # fmt: skip
    id = ids.read("inv", over["id"])
    await as_owner(door, "UPDATE people.invitation SET expires_at = now() - interval '1 second' WHERE id = $1", id)
    assert crew.call(door.api, boss.token, "POST", f"invitations/{revoked['id']}/revoke")[1]["status"] == "revoked"
    assert crew.call(door.api, boss.token, "POST", f"invitations/{revoked['id']}/revoke")[0] == 404
    assert crew.call(door.api, boss.token, "GET", f"invitations/{over['id']}")[1]["status"] == "expired"

    answers = [accept(door, token) for token in (over["token"], revoked["token"], "it_" + "x" * 32)]
    assert {code_of(a) for a in answers} == {(400, "invitation_refused")}
    assert len({a[1]["error"]["message"] for a in answers}) == 1


async def test_who_is_here_already_proves_it_and_keeps_the_password(door: Stack) -> None:
    person = await joined(door, "read_only")
    token = await invited(door, person.email, "auditor")
    assert code_of(accept(door, token, "the password of a thief")) == (401, "sign_in_refused")
    status, user = accept(door, token)
    assert (status, user["id"]) == (200, person.shown)
    mine = person.signs_in()
    assert {g["role"] for g in crew.call(door.api, mine, "GET", f"grants?user={person.shown}")[1]["data"]} == {
        "read_only",
        "auditor",
    }


async def test_two_invitations_of_one_address_are_accepted_at_once_and_are_one_person(door: Stack) -> None:
    email = address()
    tokens = [await invited(door, email, role) for role in ("read_only", "auditor")]
    answers = await at_once(2, lambda n: accept(door, tokens[n]))
    assert [a[0] for a in answers] == [200, 200] and len({a[1]["id"] for a in answers}) == 1
    roles = "SELECT g.role FROM people.grant g JOIN people.person p ON p.id = g.person_id WHERE p.email = $1 ORDER BY 1"
    assert [r["role"] for r in await as_owner(door, roles, email)] == ["auditor", "read_only"]


async def test_accepting_with_a_password_alone_forgets_no_code_that_was_guessed(door: Stack) -> None:
    person = await joined(door)
    await with_app(door, person)
    guessed = [code_of(person.tries(code="no code")) for _ in range(3)]
    assert guessed == [(401, "code_refused")] * 3
    assert accept(door, await invited(door, person.email, "auditor"))[0] == 200
    key = throttle.of("sign in", person.email, "")[0][0]
    assert [r["n"] for r in await as_owner(door, "SELECT n FROM people.attempt WHERE key = $1", key)] == [3]


async def test_who_was_disabled_does_not_come_back_by_an_invitation(door: Stack) -> None:
    person = await joined(door)
    await as_owner(door, "UPDATE people.person SET disabled_at = now() WHERE id = $1", person.id)
    assert accept(door, await invited(door, person.email))[0] == 401


async def test_a_weak_password_leaves_the_invitation_open(door: Stack) -> None:
    token = await invited(door, address())
    assert code_of(accept(door, token, "short")) == (400, "password_refused")
    assert accept(door, token)[0] == 200


async def test_who_may_not_give_it_any_more_has_invited_nobody(door: Stack) -> None:
    shop = await door.merchant()
    owner = await boss_of(door, "merchant_owner", "merchant", shop.book_id)
    asked = {"email": address(), "role": "merchant_staff"}
    _, made = crew.call(door.api, owner.token, "POST", "invitations", asked, account=shop.demo.merchant)
    async with door.world() as world:
        await crew.revoke(world, owner, "merchant_owner")
    assert code_of(accept(door, made["token"])) == (400, "invitation_refused")
    assert await as_owner(door, "SELECT 1 FROM people.person WHERE email = $1", asked["email"]) == []

    boss, other = await boss_of(door), await boss_of(door)
    _, made = crew.call(door.api, boss.token, "POST", "invitations", {"email": address(), "role": "read_only"})
    crew.call(door.api, other.token, "POST", f"users/{boss.shown}/disable")
    assert crew.call(door.api, other.token, "GET", f"invitations/{made['id']}")[1]["status"] == "revoked"
    assert accept(door, made["token"])[0] == 400


async def test_invitations_obey_the_rules_of_grants(door: Stack) -> None:
    shop, another = await door.merchant(), await door.merchant()
    boss, owner = await boss_of(door), await boss_of(door, "merchant_owner", "merchant", shop.book_id)

    def ask(who: crew.Somebody, acting_at: str | None = None, **more: str) -> tuple[int, str | None]:
        body = {"email": address(), "role": "merchant_staff", **more}
        return code_of(crew.call(door.api, who.token, "POST", "invitations", body, account=acting_at))

    here = shop.demo.merchant
    assert ask(boss, email=boss.email, role="finance") == (403, "own_authority")
    assert ask(boss, at="store", account=here)[0] == 400
    assert ask(owner, here) == (200, None)
    assert ask(owner, here, role="auditor") == (200, None), "he may do all that at his merchant"
    for refused in ({"role": "operator"}, {"at": "platform"}, {"account": another.demo.merchant}):
        assert ask(owner, here, **refused)[0] == 403, refused
    assert ask(owner)[0] == 403, "nor at the platform's own"
    assert ask(boss, role="no_such_role")[0] == 404
    assert ask(boss, account=ids.show("acct", ids.new_id()), role="merchant_staff")[0] in (403, 404)


async def test_an_account_sees_only_its_own_invitations(door: Stack) -> None:
    shop, another = await door.merchant(), await door.merchant()
    owner = await boss_of(door, "merchant_owner", "merchant", shop.book_id)
    await invited(door, address(), "merchant_staff", At.MERCHANT, another.book_id)
    await invited(door, address(), "merchant_staff", At.MERCHANT, shop.book_id)
    [theirs] = await as_owner(door, "SELECT id FROM people.invitation WHERE merchant_id = $1", another.book_id)
    shown = ids.show("inv", theirs["id"])

    here = shop.demo.merchant
    _, listed = crew.call(door.api, owner.token, "GET", "invitations", account=here)
    assert [i["account"] for i in listed["data"]] == [here]
    assert crew.call(door.api, owner.token, "GET", f"invitations/{shown}", account=here)[0] == 404
    assert crew.call(door.api, owner.token, "POST", f"invitations/{shown}/revoke", account=here)[0] == 404


async def test_a_key_of_a_merchant_manages_nobody(door: Stack) -> None:
    shop = await door.merchant()
    asked = {"email": address(), "role": "read_only"}
    assert crew.call(door.api, shop.key, "POST", "invitations", asked)[0] == 403
    for path in ("users", "users/me", "sessions", "invitations", "roles", "grants"):
        assert crew.call(door.api, shop.key, "GET", path)[0] == 403, path
    await until(door, shop.key, 200, "events")
