"""Sign in by a real OpenID provider (panva's oidc-provider, unmodified): who is let in, and how often."""

import json
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from starlette.applications import Starlette

import crew
from guilder.app.environments import CONTROL, dsn
from guilder.core import ids
from guilder.people import passwords, sso_pages
from guilder.people.principal import digest
from guilder.people.providers import Link
from guilder.platform import db
from oidc_side import ACCOUNTS, Browser, Real, back, begin, new_key, real, register
from stack import Stack

pytestmark = pytest.mark.anyio
ALICE = "alice@work.test"
PASSWORD = "seven quiet otters"
PROOF = json.dumps({"password": PASSWORD})


@pytest.fixture(scope="module")
def provider(stack: Stack) -> Iterator[Real]:
    with real(stack, "work") as it:
        yield it


@pytest.fixture(scope="module")
async def known(anyio_backend: object, stack: Stack, provider: Real) -> Real:
    """The provider, and the installation knows it."""
    await register(stack, "work", provider.issuer)
    return provider


@pytest.fixture
async def control(stack: Stack) -> AsyncIterator[Any]:
    """The control database, as its owner; nobody whom the provider knows is known here."""
    async with db.connected(dsn(stack.it.settings(), CONTROL, "owner")) as connection:
        known = "(SELECT id FROM people.person WHERE email LIKE '%.test')"
        await connection.execute(f"DELETE FROM people.identity WHERE person_id IN {known}")
        await connection.execute(f"UPDATE people.person SET email = id || '@former' WHERE id IN {known}")
        await connection.execute("UPDATE people.invitation SET revoked_at = now() WHERE accepted_at IS NULL")
        yield connection


async def invite(control: Any, email: str = ALICE, role: str = "auditor", by: str = "operator") -> None:
    await control.execute(
        "INSERT INTO people.invitation (id, email, hash, role, at, given_by, expires_at) VALUES ($1, $2, $3, $4, 'platform', $5, "
        "now() + interval '1 day')",
        ids.new_id(), email, ids.new_id().bytes, role, by,
    )  # fmt: skip


async def counts(control: Any) -> list[int]:
    """How many people, identities and sessions there are, and invitations that were accepted."""
    there = ("person", "identity", "session", "invitation WHERE accepted_at IS NOT NULL")
    return [await control.fetchval(f"SELECT count(*) FROM people.{t}") for t in there]


async def test_first_by_invitation_then_by_identity(stack: Stack, known: Real, control: Any) -> None:
    await invite(control)
    people, identities, sessions, accepted = await counts(control)

    first = known.sign_in("alice")
    again = known.sign_in("alice")

    assert (first.status, again.status) == (200, 200), (first.body, again.body)
    assert first.json["user"] == again.json["user"]
    assert first.json["token"] != again.json["token"]
    assert await counts(control) == [people + 1, identities + 1, sessions + 2, accepted + 1]
    assert crew.call(stack.api, first.json["token"], "GET", "service_accounts")[0] == 200  # an auditor reads

    row = await control.fetchrow(
        "SELECT email, name, password FROM people.person WHERE id = $1", ids.read("usr", first.json["user"])
    )
    assert tuple(row) == (ALICE, "Alice", None)
    acts = await control.fetch("SELECT action FROM platform.trail WHERE actor = $1 ORDER BY id", first.json["user"])
    assert [r["action"] for r in acts] == [
        "user.made",
        "grant.given",
        "invitation.accepted",
        "identity.linked",
        "session.made",
        "session.made",
    ]
    told = await control.fetchval(
        "SELECT string_agg(t::text, ' ') FROM platform.trail t WHERE actor = $1", first.json["user"]
    )
    assert ALICE not in told and first.json["token"] not in told


async def test_a_stranger_is_not_let_in_and_leaves_nothing(known: Real, control: Any) -> None:
    before = await counts(control)

    answer = known.sign_in("alice")

    assert (answer.status, answer.code) == (403, "identity_refused")
    assert "invitation" in answer.json["error"]["message"]
    assert await counts(control) == before


async def test_an_account_is_not_taken_over_by_its_address_and_linked_by_its_owner(
    stack: Stack, known: Real, control: Any
) -> None:
    async with stack.world() as world:
        owner = await crew.somebody(world)
    await control.execute(
        "UPDATE people.person SET email = $2, password = $3 WHERE id = $1",
        owner.id,
        ALICE,
        await passwords.hash(PASSWORD),
    )
    await invite(control)
    before = await counts(control)

    assert known.sign_in("alice").code == "link_required"
    assert await counts(control) == before

    browser = Browser()
    bearer = f"Bearer {owner.token}"
    for said, status in ((None, 400), ('{"password": "not mine at all"}', 401)):
        alone = browser.get(f"{stack.api}/auth/oidc/work/link", method="POST", body=said, Authorization=bearer)
        assert alone.status == status, "a session alone links nothing"
    asked = browser.get(f"{stack.api}/auth/oidc/work/link", method="POST", body=PROOF, Authorization=bearer)
    assert asked.status == 200, asked.body
    linked = browser.get(known.away(browser, asked.json["url"], "alice"))
    assert (linked.status, linked.json) == (200, {"object": "identity", "provider": "work", "user": owner.shown})

    assert known.sign_in("alice").json["user"] == owner.shown


async def test_an_identity_is_of_one_person_and_a_link_needs_its_session(
    stack: Stack, known: Real, control: Any
) -> None:
    await invite(control)
    assert known.sign_in("alice").status == 200
    async with stack.world() as world:
        other = await crew.somebody(world)
    await control.execute(
        "UPDATE people.person SET password = $2 WHERE id = $1", other.id, await passwords.hash(PASSWORD)
    )

    def leave(browser: Browser) -> str:
        bearer = f"Bearer {other.token}"
        asked = browser.get(f"{stack.api}/auth/oidc/work/link", method="POST", body=PROOF, Authorization=bearer)
        return known.away(browser, asked.json["url"], "alice")

    browser = Browser()
    assert browser.get(leave(browser)).code == "identity_taken"

    there = leave(browser)
    await control.execute("UPDATE people.session SET revoked_at = now() WHERE person_id = $1", other.id)
    assert browser.get(there).status == 401

    nobody = Browser().get(f"{stack.api}/auth/oidc/work/link", method="POST")
    assert nobody.status == 401


async def test_a_state_is_good_once_and_only_in_its_browser(stack: Stack, known: Real, control: Any) -> None:
    await invite(control)
    browser = Browser()
    there = known.come_back(browser, "alice")

    assert Browser().get(there).code == "sign_in_over", "another browser, without the cookie"
    stranger = Browser()
    begin(stranger, stack.api, "work")
    assert stranger.get(there).code == "sign_in_over", "another browser, with a cookie of its own"

    assert browser.get(there).status == 200
    assert browser.get(there).code == "sign_in_over"
    browser.cookies.clear()
    assert browser.get(there).code == "sign_in_over"


async def test_a_sign_in_ends_after_ten_minutes(stack: Stack, known: Real, control: Any) -> None:
    await invite(control)
    browser = Browser()
    there = known.come_back(browser, "alice")
    await control.execute("UPDATE people.sign_in SET expires_at = now() - interval '1 second'")

    assert browser.get(there).code == "sign_in_over"
    begin(browser, stack.api, "work")
    assert await control.fetchval("SELECT count(*) FROM people.sign_in WHERE expires_at < now()") == 0


async def test_a_code_is_good_once_and_only_for_its_sign_in(stack: Stack, known: Real, control: Any) -> None:
    await invite(control)
    browser, thief = Browser(), Browser()
    there = known.come_back(browser, "alice")
    code = there.partition("code=")[2].partition("&")[0]
    _, mine = begin(thief, stack.api, "work")
    stolen = {"state": mine["state"], "code": code, "iss": known.issuer}

    refused = back(thief, stack.api, "work", **stolen)
    assert (refused.status, refused.code) == (403, "identity_refused"), (
        "PKCE: the code was asked for by another verifier"
    )

    browser = Browser()
    there = known.come_back(browser, "alice")
    assert browser.get(there).status == 200
    code = there.partition("code=")[2].partition("&")[0]
    _, mine = begin(thief, stack.api, "work")
    assert back(thief, stack.api, "work", state=mine["state"], code=code, iss=known.issuer).status == 403


async def test_twenty_callbacks_with_one_state_make_one_session(known: Real, control: Any) -> None:
    await invite(control)
    browser = Browser()
    there = known.come_back(browser, "alice")
    _, _, sessions, _ = await counts(control)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: Browser(dict(browser.cookies)).get(there), range(20)))

    assert sorted(a.status for a in answers) == [200] + [403] * 19
    assert (await counts(control))[2] == sessions + 1


async def test_two_first_sign_ins_at_once_make_one_person(known: Real, control: Any) -> None:
    await invite(control)
    people, identities, _, accepted = await counts(control)
    browsers = [Browser() for _ in range(4)]
    there = [known.come_back(b, "alice") for b in browsers]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda pair: pair[0].get(pair[1]), zip(browsers, there, strict=True)))

    assert [a.status for a in answers] == [200] * 4, [a.body for a in answers]
    assert len({a.json["user"] for a in answers}) == 1
    after = await counts(control)
    assert after[:2] == [people + 1, identities + 1] and after[3] == accepted + 1


async def test_an_address_that_is_not_verified_accepts_no_invitation(known: Real, control: Any) -> None:
    await invite(control, "bob@work.test")
    before = await counts(control)

    assert known.sign_in("bob").code == "identity_refused"
    assert await counts(control) == before


async def test_a_revoked_an_expired_and_an_accepted_invitation_let_nobody_in(known: Real, control: Any) -> None:
    for over in ("revoked_at = now()", "expires_at = now()", "accepted_at = now()"):
        await invite(control)
        await control.execute(f"UPDATE people.invitation SET {over} WHERE email = $1", ALICE)
        assert known.sign_in("alice").code == "identity_refused"


async def test_an_invitation_is_worth_what_its_giver_may_still_give(stack: Stack, known: Real, control: Any) -> None:
    async with stack.world() as world:
        giver = await crew.somebody(world)
        await invite(control, by=giver.shown)
        before = await counts(control)
        refused = known.sign_in("alice")
        assert refused.code == "identity_refused" and "may not give" in refused.json["error"]["message"]
        assert await counts(control) == before

        await crew.grant(world, giver, "operator")
        assert known.sign_in("alice").status == 200


async def test_only_listed_domains_and_only_who_is_signed_in(stack: Stack, control: Any) -> None:
    with real(stack, "narrow") as provider:
        await register(stack, "narrow", provider.issuer, domains=("work.test",))
        for email in (ALICE, "carol@elsewhere.test", "bob@work.test"):
            await invite(control, email)
        before = await counts(control)

        refused = provider.sign_in("carol")
        assert refused.code == "identity_refused" and "work.test" in refused.json["error"]["message"]
        assert provider.sign_in("bob").code == "identity_refused"
        assert await counts(control) == before
        assert provider.sign_in("alice").status == 200

    with real(stack, "linked") as provider:
        await register(stack, "linked", provider.issuer, link=Link.SIGNED_IN)
        await invite(control, "carol@elsewhere.test")
        assert provider.sign_in("carol").code == "identity_refused"


async def test_who_has_a_second_factor_is_asked_for_one(stack: Stack, known: Real, control: Any) -> None:
    await invite(control)
    user = ids.read("usr", known.sign_in("alice").json["user"])
    await control.execute("UPDATE people.person SET totp = 'sealed' WHERE id = $1", user)

    refused = known.sign_in("alice")
    assert (refused.status, refused.code) == (403, "second_factor_required")

    known.stop()
    known.amr = ["pwd", "otp", "mfa"]
    known.start()
    assert known.sign_in("alice").status == 200
    known.amr = ["pwd"]


async def test_whoever_is_disabled_is_not_let_in(known: Real, control: Any) -> None:
    await invite(control)
    user = ids.read("usr", known.sign_in("alice").json["user"])
    await control.execute("UPDATE people.person SET disabled_at = now() WHERE id = $1", user)

    refused = known.sign_in("alice")
    assert refused.status == 403 and "disabled" in refused.json["error"]["message"]


async def test_a_provider_that_says_no(stack: Stack, known: Real, control: Any) -> None:
    browser = Browser()
    refused = browser.get(known.come_back(browser, "nobody"))
    assert refused.code == "identity_refused" and "access_denied" in refused.json["error"]["message"]


async def test_a_provider_that_rolls_its_keys(stack: Stack, control: Any) -> None:
    with real(stack, "rolling") as provider:
        await register(stack, "rolling", provider.issuer)
        await invite(control)
        assert provider.sign_in("alice").status == 200
        provider.stop()
        provider.key = new_key()
        provider.start()
        answer = provider.sign_in("alice")
        assert answer.status == 200, answer.body


async def test_a_provider_that_is_down(stack: Stack, known: Real, control: Any) -> None:
    await invite(control)
    before = await counts(control)
    browser = Browser()
    there = known.come_back(browser, "alice")
    known.stop()

    down = browser.get(there)

    assert (down.status, down.code) == (503, "identity_provider_unavailable")
    assert "cannot be asked" in down.json["error"]["message"]
    assert await counts(control) == before
    known.start()
    assert browser.get(there).code == "sign_in_over", "what was begun is over: begin again"
    assert known.sign_in("alice").status == 200


async def test_what_travels_and_what_is_kept(stack: Stack, known: Real, control: Any) -> None:
    browser = Browser()
    answer = browser.get(f"{stack.api}/auth/oidc/work/start")
    url, cookie = answer.header("location"), answer.header("set-cookie")
    _, asked = begin(browser, stack.api, "work")

    assert url.startswith(f"{known.issuer}/auth?")
    assert asked["code_challenge_method"] == "S256" and asked["response_type"] == "code"
    assert {"HttpOnly", "Path=/", "SameSite=lax"} <= {part.strip() for part in cookie.split(";")}
    assert "Secure" not in cookie, "this installation is asked over http; over https it is __Host-guilder_sign_in"
    kept = await control.fetchrow("SELECT * FROM people.sign_in WHERE state = $1", digest(asked["state"]))
    assert asked["state"].encode() not in b"".join(v for v in kept.values() if isinstance(v, bytes))

    await invite(control)
    done = browser.get(known.come_back(browser, "alice"))
    for page in (answer, done, back(browser, stack.api, "work", state="x")):
        assert page.header("cache-control") == "no-store"
        assert page.header("referrer-policy") == "no-referrer"
    assert browser.cookies[stack.api.removeprefix("http://")] == {}
    assert ACCOUNTS["alice"]["email"] not in done.body.decode()


async def test_over_https_the_cookie_is_this_hosts_and_travels_by_https_only(stack: Stack, known: Real) -> None:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async with stack.world() as world:
        env = world.envs["test"]
        env.settings = msgspec.structs.replace(env.settings, public_api_url="https://pay.example.com")
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/auth/oidc/work/start",
            "query_string": b"",
            "headers": [],
            "root_path": "",
        }
        await Starlette(routes=sso_pages.routes(env))(scope, receive, send)

    headers = dict(said[0]["headers"])
    cookie = headers[b"set-cookie"].decode()
    assert cookie.startswith("__Host-guilder_sign_in=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= {
        part.strip() for part in cookie.split(";")
    } and "Domain" not in cookie
    assert b"redirect_uri=https%3A%2F%2Fpay.example.com%2Fauth%2Foidc%2Fwork%2Fcallback" in headers[b"location"]


async def test_wrong_ways_to_ask(stack: Stack, known: Real) -> None:
    at = f"{stack.api}/auth/oidc"
    assert Browser().get(f"{at}/nobody/start").status == 404
    assert Browser().get(f"{at}/work/start", method="HEAD").status == 405
    assert Browser().get(f"{at}/work/callback", method="HEAD").status == 405
    assert Browser().get(f"{at}/work/start", method="POST").status == 405
    assert Browser().get(f"{at}/work/callback?state=a&state=b").status == 400
    assert Browser().get(f"{at}/work/callback").code == "sign_in_over"
