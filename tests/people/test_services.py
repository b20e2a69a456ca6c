"""Service accounts: what acts by itself may do what it was given, by keys that are shown once; nobody makes a key that may do more than he."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import crew
from command import guilder
from guilder.app.environments import CONTROL, dsn
from guilder.core import ids
from guilder.people.principal import digest, read_authority
from guilder.platform import db
from stack import Stack, eventually

pytestmark = pytest.mark.anyio
AUDITOR = {"name": "Nightly export", "role": "auditor"}


@pytest.fixture
async def operator(stack: Stack) -> str:
    async with stack.world() as world:
        return (await crew.somebody(world, ("operator", "platform", None))).token


@pytest.fixture
async def control(stack: Stack) -> AsyncIterator[Any]:
    async with db.connected(dsn(stack.it.settings(), CONTROL)) as connection:
        yield connection


def post(stack: Stack, token: str, path: str, body: dict[str, Any] | None = None, **headers: str) -> Any:
    """Do it; the answer."""
    status, answer = crew.call(stack.api, token, "POST", path, body or {}, **headers)
    assert status == 200, answer
    return answer


def refused(stack: Stack, token: str, path: str, body: dict[str, Any] | None = None, **options: Any) -> tuple[int, str]:
    status, answer = crew.call(stack.api, token, "POST", path, body or {}, **options)
    return status, answer["error"].get("param") or answer["error"].get("code")


def account_with_key(stack: Stack, token: str) -> tuple[str, dict[str, Any]]:
    """A new auditor, and a key of it."""
    made = post(stack, token, "service_accounts", AUDITOR)
    return made["id"], post(stack, token, f"service_accounts/{made['id']}/keys")


def works(stack: Stack, key: str) -> bool:
    return crew.call(stack.api, key, "GET", "service_accounts")[0] == 200


async def test_a_key_does_what_its_account_was_given_and_is_shown_once(
    stack: Stack, operator: str, control: Any
) -> None:
    shop = await stack.merchant()
    account, key = account_with_key(stack, operator)

    assert key["secret"].startswith("sv_") and key["id"].startswith("svk_") and key["secret"].endswith(key["last4"])
    for path in ("service_accounts", "events", "ledger/accounts"):
        assert (
            crew.call(
                stack.api,
                key["secret"],
                "GET",
                path,
                account=None if path == "service_accounts" else shop.demo.merchant,
            )[0]
            == 200
        )
    assert refused(stack, key["secret"], "service_accounts", AUDITOR)[0] == 403

    _, listed = crew.call(stack.api, operator, "GET", f"service_accounts/{account}/keys")
    assert [(k["id"], k["secret"]) for k in listed["data"]] == [(key["id"], None)]
    stored = await control.fetchval(
        "SELECT row(k.*)::text FROM people.service_key k WHERE hash = $1", digest(key["secret"])
    )
    assert key["secret"] not in stored
    _, one = crew.call(stack.api, operator, "GET", f"service_accounts/{account}")
    assert one["grants"] == [{"role": "auditor", "at": "platform", "account": None}]
    acts = await control.fetch(
        "SELECT action, after::text FROM platform.trail WHERE subject = ANY($1)", [account, key["id"]]
    )
    assert {r["action"] for r in acts} == {"service.made", "service_key.made"}
    assert not any(key["secret"] in (r["after"] or "") for r in acts)


async def test_at_a_merchant_it_reaches_that_merchant(stack: Stack, control: Any) -> None:
    mine, other = await stack.merchant("Mine"), await stack.merchant("Other")
    async with stack.world() as world:
        maker = await crew.somebody(world, ("operator", "platform", None), ("read_only", "platform", None))
    wish = {"name": "Reader", "role": "read_only", "at": "merchant", "account": mine.demo.merchant}
    made = post(stack, maker.token, "service_accounts", wish)
    key = post(stack, maker.token, f"service_accounts/{made['id']}/keys")["secret"]

    assert crew.call(stack.api, key, "GET", "payment_intents", account=mine.demo.merchant)[0] == 200
    assert crew.call(stack.api, key, "GET", "payment_intents", account=other.demo.merchant)[0] == 403
    assert crew.call(stack.api, key, "GET", "payment_intents")[0] == 403


async def test_nobody_gives_or_takes_what_he_may_not_himself(stack: Stack, operator: str, control: Any) -> None:
    assert refused(stack, operator, "service_accounts", {"name": "Money", "role": "finance"}) == (
        403,
        "insufficient_permissions",
    )

    account, _ = account_with_key(stack, operator)
    await control.execute(
        "INSERT INTO people.grant (id, service_id, role, at, given_by) VALUES ($1, $2, 'finance', 'platform', 'test')",
        ids.new_id(), ids.read("svc", account),
    )  # fmt: skip
    assert refused(stack, operator, f"service_accounts/{account}/keys") == (403, "insufficient_permissions")
    _, keys = crew.call(stack.api, operator, "GET", f"service_accounts/{account}/keys")
    assert refused(stack, operator, f"service_accounts/{account}/keys/{keys['data'][0]['id']}/roll")[0] == 403
    post(stack, operator, f"service_accounts/{account}", {"disabled": True})
    assert refused(stack, operator, f"service_accounts/{account}", {"disabled": False})[0] == 403


async def test_nobody_gives_himself_through_a_key_what_he_has_not(stack: Stack) -> None:
    """An operator runs the platform and moves no money: neither a grant by his service account nor a role that grows changes that."""
    async with stack.world() as world:
        me = await crew.somebody(world, ("operator", "platform", None))
    made = post(stack, me.token, "service_accounts", {"name": "Hand", "role": "operator", "at": "platform"})
    key = post(stack, me.token, f"service_accounts/{made['id']}/keys")["secret"]
    wish = {"to": me.shown, "role": "finance", "at": "platform"}
    assert refused(stack, key, "grants", wish) == (403, "insufficient_permissions")
    invitation = {"email": "hand@guilder.test", "role": "finance", "at": "platform"}
    assert refused(stack, key, "invitations", invitation) == (403, "insufficient_permissions")

    name = f"grows_{ids.text(ids.new_id())[-8:]}"
    post(stack, me.token, "roles", {"name": name, "permissions": ["people:read"]})
    small = post(stack, me.token, "service_accounts", {"name": "Small", "role": name, "at": "platform"})
    post(stack, me.token, f"service_accounts/{small['id']}/keys")
    more = {"permissions": ["people:read", "refunds:write"]}
    assert refused(stack, me.token, f"roles/{name}", more) == (403, "insufficient_permissions")
    assert post(stack, me.token, f"roles/{name}", {"permissions": ["people:read", "keys:read"]})["permissions"]


async def test_no_key_decides_on_approvals(stack: Stack, operator: str) -> None:
    made = post(stack, operator, "service_accounts", {"name": "Deputy", "role": "operator"})
    async with stack.world() as world:
        authority = await read_authority(world.control, ids.read("svc", made["id"]))
    assert "approvals:read" in authority.over(ids.PLATFORM)
    assert "approvals:decide" not in authority.over(ids.PLATFORM)


async def test_rolled_both_work_until_the_overlap_is_over(stack: Stack, operator: str) -> None:
    account, old = account_with_key(stack, operator)
    new = post(stack, operator, f"service_accounts/{account}/keys/{old['id']}/roll", {"expires_in": 60})
    assert works(stack, old["secret"]) and works(stack, new["secret"])
    assert refused(stack, operator, f"service_accounts/{account}/keys/{old['id']}/roll") == (400, "service_key_over")

    newest = post(stack, operator, f"service_accounts/{account}/keys/{new['id']}/roll", {"expires_in": 0})
    await eventually(lambda: not works(stack, new["secret"]), within_s=1.5)
    assert works(stack, newest["secret"]) and works(stack, old["secret"])


async def test_a_rolled_key_never_works_longer_than_it_would_have(stack: Stack, operator: str) -> None:
    made = post(stack, operator, "service_accounts", AUDITOR)["id"]
    short = post(stack, operator, f"service_accounts/{made}/keys", {"expires_in": 30})
    post(stack, operator, f"service_accounts/{made}/keys/{short['id']}/roll", {"expires_in": 86_400})
    _, keys = crew.call(stack.api, operator, "GET", f"service_accounts/{made}/keys")
    assert {k["id"]: k["expires_at"] for k in keys["data"]}[short["id"]] == short["expires_at"]


async def test_rolled_by_many_at_once_there_is_one_successor(stack: Stack, operator: str) -> None:
    account, key = account_with_key(stack, operator)
    path = f"service_accounts/{account}/keys/{key['id']}/roll"
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: crew.call(stack.api, operator, "POST", path, {})[0], range(10)))
    assert sorted(answers) == [200] + [400] * 9


async def test_revoked_or_disabled_it_ends_within_a_second(stack: Stack, operator: str) -> None:
    account, key = account_with_key(stack, operator)
    other = post(stack, operator, f"service_accounts/{account}/keys")
    revoke = f"service_accounts/{account}/keys/{key['id']}/revoke"
    first = post(stack, operator, revoke)
    await eventually(lambda: not works(stack, key["secret"]), within_s=1.5)
    assert post(stack, operator, revoke)["revoked_at"] == first["revoked_at"]

    assert works(stack, other["secret"])
    post(stack, operator, f"service_accounts/{account}", {"disabled": True, "name": "Former"})
    await eventually(lambda: not works(stack, other["secret"]), within_s=1.5)
    assert refused(stack, operator, f"service_accounts/{account}/keys") == (400, "service_account_disabled")
    assert post(stack, operator, f"service_accounts/{account}", {"disabled": False})["name"] == "Former"
    await eventually(lambda: works(stack, other["secret"]), within_s=1.5)


async def test_they_are_the_platforms_and_no_merchants(stack: Stack, operator: str) -> None:
    shop = await stack.merchant()
    async with stack.world() as world:
        owner = await crew.somebody(world, ("merchant_owner", "merchant", shop.book_id))

    assert refused(stack, shop.key, "service_accounts", AUDITOR)[0] == 403
    assert crew.call(stack.api, shop.key, "GET", "service_accounts")[0] == 403
    assert refused(stack, owner.token, "service_accounts", AUDITOR)[0] == 403
    assert refused(stack, owner.token, "service_accounts", AUDITOR, account=shop.demo.merchant)[0] == 403
    assert refused(stack, operator, "service_accounts", AUDITOR, account=shop.demo.merchant)[0] == 403


async def test_what_cannot_be_is_refused_by_name(stack: Stack, operator: str) -> None:
    somewhere = ids.show("acct", ids.new_id())
    for body, param in (
        ({"at": "store"}, "at"), ({"at": "merchant"}, "account"), ({"role": "No Role"}, "role"),
        ({"at": "everywhere"}, "at"), ({"name": ""}, "name"), ({"colour": "red"}, "colour"),
    ):  # fmt: skip
        assert refused(stack, operator, "service_accounts", {**AUDITOR, **body}) == (400, param)
    for body, param in (({"role": "nobody"}, "role"), ({"at": "merchant", "account": somewhere}, "account")):
        assert refused(stack, operator, "service_accounts", {**AUDITOR, **body}) == (404, param)
    nobody = ids.show("svc", ids.new_id())
    assert refused(stack, operator, f"service_accounts/{nobody}/keys")[0] == 404
    account, _ = account_with_key(stack, operator)
    _, other = account_with_key(stack, operator)
    assert refused(stack, operator, f"service_accounts/{account}/keys/{other['id']}/revoke")[0] == 404
    answer = refused(stack, operator, f"service_accounts/{account}/keys", **{"Idempotency-Key": "1"})
    assert answer == (400, "Idempotency-Key")


async def test_one_idempotency_key_makes_one_account(stack: Stack, operator: str) -> None:
    key = {"Idempotency-Key": ids.text(ids.new_id())}
    first, again = (post(stack, operator, "service_accounts", AUDITOR, **key) for _ in range(2))
    assert first == again
    _, newest = crew.call(stack.api, operator, "GET", "service_accounts?limit=2")
    assert [s["id"] for s in newest["data"]].count(first["id"]) == 1 and newest["data"][0]["id"] == first["id"]


async def test_lists_turn_their_pages(stack: Stack, operator: str) -> None:
    made = [account_with_key(stack, operator)[0] for _ in range(3)]
    _, first = crew.call(stack.api, operator, "GET", "service_accounts?limit=2")
    assert [s["id"] for s in first["data"]] == made[:0:-1] and first["has_more"]
    _, rest = crew.call(stack.api, operator, "GET", f"service_accounts?limit=1&starting_after={made[1]}")
    assert [s["id"] for s in rest["data"]] == made[:1]


async def test_the_operator_of_the_machine_does_it_by_command(stack: Stack, control: Any) -> None:
    account = guilder(stack, "services", "make", "Settlement", "--role", "finance").stdout.strip()
    assert account.startswith("svc_")
    made = guilder(stack, "services", "key", account, "--days", "30").stdout
    key_id, secret = made.split()[:2]
    assert works_as_finance(stack, secret)
    assert secret not in guilder(stack, "services", "keys", account).stdout
    assert "finance at platform" in guilder(stack, "services", "list").stdout
    rolled = guilder(stack, "services", "roll", account, key_id, "--overlap-s", "0").stdout.split()[1]
    assert guilder(stack, "services", "revoke", account, key_id).returncode == 0
    await eventually(lambda: not works_as_finance(stack, secret), within_s=1.5)
    assert guilder(stack, "services", "disable", account).returncode == 0
    await eventually(lambda: not works_as_finance(stack, rolled), within_s=1.5)
    assert guilder(stack, "services", "enable", account).returncode == 0
    assert guilder(stack, "services", "make", "X", "--role", "nobody").returncode == 1
    actors = await control.fetch("SELECT DISTINCT actor FROM platform.trail WHERE subject = $1", account)
    assert [r["actor"] for r in actors] == ["operator"]


def works_as_finance(stack: Stack, key: str) -> bool:
    return crew.call(stack.api, key, "GET", "ledger/accounts")[0] == 200
