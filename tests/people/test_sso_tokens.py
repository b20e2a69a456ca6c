"""What a provider's token may not be: each is made by hand, by a small provider of the test's own, and lets nobody in."""

import base64
import json
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, RSAKey

import crew
from command import guilder
from guilder.app.environments import CONTROL, dsn
from guilder.core import ids
from guilder.people import ask, providers
from guilder.people.openid import ProviderUnavailable
from guilder.people.providers import Directory, New
from guilder.platform import db
from oidc_side import (
    CLIENT,
    SECRET,
    Answer,
    Browser,
    Issuer,
    back,
    begin,
    by_hand,
    register,
    segment,
    signed_with_public_key,
    unsigned,
)
from stack import Stack

pytestmark = pytest.mark.anyio
STRANGER = RSAKey.generate_key(2048, {"kid": "rsa-1"})
UNKNOWN = RSAKey.generate_key(2048, {"kid": "unknown"})
with warnings.catch_warnings(action="ignore", category=SecurityWarning):
    WEAK = RSAKey.generate_key(1024, {"kid": "weak", "use": "sig"})
LONG = ECKey.generate_key("P-384", {"kid": "long", "use": "sig"})


@pytest.fixture(scope="module")
def hand() -> Iterator[Issuer]:
    with by_hand() as it:
        it.published = [*it.keys(), WEAK.as_dict(private=False), LONG.as_dict(private=False)]
        yield it


@pytest.fixture(scope="module")
async def known(anyio_backend: object, stack: Stack, hand: Issuer) -> Issuer:
    """The provider, known here, and somebody whom it may let in."""
    await register(stack, "hand", hand.issuer)
    async with stack.world() as world:
        somebody = await crew.somebody(world)
    async with db.connected(dsn(stack.it.settings(), CONTROL)) as control:
        await control.execute(
            "INSERT INTO people.identity (issuer, subject, person_id) VALUES ($1, $2, $3)",
            hand.issuer,
            hand.subject,
            somebody.id,
        )
    return hand


@pytest.fixture
async def sessions(stack: Stack) -> AsyncIterator[Any]:
    """How many sessions there are."""
    async with db.connected(dsn(stack.it.settings(), CONTROL)) as control:
        yield lambda: control.fetchval("SELECT count(*) FROM people.session")


def sign_in(stack: Stack, hand: Issuer, token: Any = None, **more: str) -> Answer:
    """A sign-in in which the provider answers the code with this token."""
    browser = Browser()
    _, asked = begin(browser, stack.api, "hand")
    hand.nonces["code"] = asked["nonce"]
    hand.token = token or (lambda it, claims: it.signed(claims))
    return back(browser, stack.api, "hand", state=asked["state"], code="code", **more)


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
async def test_a_right_token_lets_in(stack: Stack, known: Issuer, alg: str) -> None:
    answer = sign_in(stack, known, lambda it, claims: it.signed(claims, alg=alg))
    assert answer.status == 200, answer.body


def changed(**over: Any) -> Any:
    return lambda it, claims: it.signed({**claims, **over})


def without(*names: str) -> Any:
    return lambda it, claims: it.signed({k: v for k, v in claims.items() if k not in names})


def _weak(it: Issuer, claims: dict[str, Any]) -> str:
    with warnings.catch_warnings(action="ignore", category=SecurityWarning):
        return it.signed(claims, key=WEAK)


def _critical(it: Issuer, claims: dict[str, Any]) -> str:
    return f"{segment({'alg': 'RS256', 'kid': 'rsa-1', 'crit': ['x'], 'x': 1})}.{it.signed(claims).partition('.')[2]}"


def _with_kid(it: Issuer, claims: dict[str, Any], kid: str) -> str:
    alg = "RS256" if kid == "ec-1" else "ES256"
    return f"{segment({'alg': alg, 'kid': kid})}.{it.signed(claims).partition('.')[2]}"


def _altered(it: Issuer, claims: dict[str, Any]) -> str:
    head, _, signature = it.signed(claims).split(".")
    return f"{head}.{segment({**claims, 'sub': 'another'})}.{signature}"


WRONG = {
    "aud of another": changed(aud="another"),
    "aud of us and another": changed(aud=[CLIENT, "another"]),
    "aud of nobody": without("aud"),
    "azp of another": changed(azp="another"),
    "iss of another": changed(iss="http://127.0.0.1:9"),
    "iss with a slash": lambda it, claims: it.signed({**claims, "iss": it.issuer + "/"}),
    "no iss": without("iss"),
    "alg none": lambda _, claims: unsigned(claims),
    "alg none with a signature": lambda it, claims: unsigned(claims) + it.signed(claims).rpartition(".")[2],
    "HS256 with the public key": signed_with_public_key,
    "an algorithm that is none of the two": lambda it, claims: it.signed(claims, alg="RS512", key=it.key),
    "expired": lambda it, claims: it.signed({**claims, "exp": claims["iat"] - 61}),
    "no exp": without("exp"),
    "made long ago": lambda it, claims: it.signed({**claims, "iat": claims["iat"] - 601}),
    "made in the future": lambda it, claims: it.signed({**claims, "iat": claims["iat"] + 3600}),
    "not valid yet": lambda it, claims: it.signed({**claims, "nbf": claims["iat"] + 3600}),
    "nonce of another sign-in": changed(nonce="another"),
    "no nonce": without("nonce"),
    "no sub": without("sub"),
    "an empty sub": changed(sub=""),
    "a sub that no database takes": changed(sub="a\0b"),
    "an unknown kid": lambda it, claims: it.signed(claims, key=UNKNOWN),
    "a known kid and another's signature": lambda it, claims: it.signed(claims, key=STRANGER),
    "a key of its own in the header": lambda it, claims: it.signed(claims, key=STRANGER, jwk=STRANGER.as_dict(private=False)),
    "a place of its own for keys": lambda it, claims: it.signed(claims, jku="https://example.com/jwks"),
        "a critical extension": _critical,
    "changed after it was signed": _altered,
    "a key that is too short": _weak,
    "a curve that is not P-256": lambda it, claims: _with_kid(it, claims, "long"),
    "the kid of the other kind": lambda it, claims: _with_kid(it, claims, "ec-1"),
        "cut": lambda it, claims: it.signed(claims)[:-10],
    "no token": lambda it, claims: "no token",
    "nothing": lambda it, claims: "",
    "too large": lambda it, claims: it.signed({**claims, "more": "x" * 20_000}),
    "claims that are no object": lambda it, claims: it.signed([claims]),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_token_lets_nobody_in(stack: Stack, known: Issuer, sessions: Any, wrong: str) -> None:
    before = await sessions()
    answer = sign_in(stack, known, WRONG[wrong])

    assert (answer.status, answer.code) == (403, "identity_refused"), answer.body
    assert await sessions() == before


async def test_an_answer_of_another_issuer_is_refused_before_anybody_is_asked(stack: Stack, known: Issuer) -> None:
    known.asked.clear()
    assert sign_in(stack, known, iss="https://another.example").code == "identity_refused"
    assert "/token" not in known.asked


async def test_answers_that_are_no_answers(stack: Stack, known: Issuer, sessions: Any) -> None:
    before = await sessions()
    elsewhere = {"Location": f"{known.issuer}/elsewhere"}
    for status, headers, body, seen in (
        (500, {}, b"", 503), (302, elsewhere, b"", 503), (200, {}, b"<html>", 503), (200, {}, b"{}", 503), (200, {}, b"x" * 300_000, 503),
        (400, {}, b'{"error": "invalid_grant"}', 403), (401, {}, b'{"error": "invalid_client"}', 403),
    ):  # fmt: skip
        known.answers = {"/token": (status, headers, body)}
        known.asked.clear()
        answer = sign_in(stack, known)
        assert answer.status == seen, (status, answer.body)
        assert "/elsewhere" not in known.asked
    known.answers = {}
    assert await sessions() == before
    assert sign_in(stack, known).status == 200


async def test_userinfo_says_the_address_of_the_same_subject_only(stack: Stack) -> None:
    email = f"{ids.text(ids.new_id())}@guilder.test"
    with by_hand(subject="new") as it:
        it.configuration["userinfo_endpoint"] = f"{it.issuer}/userinfo"
        await register(stack, "hand-info", it.issuer)
        async with db.connected(dsn(stack.it.settings(), CONTROL)) as control:
            await control.execute(
                "INSERT INTO people.invitation (id, email, hash, role, at, given_by, expires_at) VALUES ($1, $2, $3, 'read_only', 'platform', "
                "'operator', now() + interval '1 day')",
                ids.new_id(), email, ids.new_id().bytes,
            )  # fmt: skip

        def enter(sub: str, verified: Any) -> Answer:
            info = {"sub": sub, "email": email, "email_verified": verified}
            it.answers["/userinfo"] = (200, {}, json.dumps(info).encode())
            browser = Browser()
            _, asked = begin(browser, stack.api, "hand-info")
            it.nonces["code"] = asked["nonce"]
            return back(browser, stack.api, "hand-info", state=asked["state"], code="code")

        assert [
            enter("another", True).status,
            enter("new", "true").status,
            enter("new", 1).status,
            enter("new", None).status,
        ] == [403] * 4
        assert enter("new", True).status == 200


# ------------------------------------------------------------------------------------------- what is kept of a provider


async def provider_of(stack: Stack, it: Issuer, name: str) -> providers.Provider:
    await register(stack, name, it.issuer)
    async with stack.world() as world:
        return await providers.get(world.envs["test"], name)


async def test_keys_are_kept_for_an_hour_and_a_missing_one_is_looked_for_once_a_minute(stack: Stack) -> None:
    now = 0.0
    with by_hand() as it:
        p = await provider_of(stack, it, "hand-keys")
        it.asked.clear()
        directory = Directory(lambda: now)

        for _ in range(3):
            await directory.keys(p)
        assert it.asked == ["/.well-known/openid-configuration", "/jwks"]

        for _ in range(5):
            await directory.keys(p, unknown=True)
        assert it.asked.count("/jwks") == 2
        now = 61.0
        await directory.keys(p, unknown=True)
        assert it.asked.count("/jwks") == 3
        now = 61.0 + 3600
        await directory.keys(p)
        assert (it.asked.count("/jwks"), it.asked.count("/.well-known/openid-configuration")) == (4, 2)


async def test_many_that_want_the_same_ask_once(stack: Stack) -> None:
    import asyncio

    with by_hand() as it:
        p = await provider_of(stack, it, "hand-many")
        it.asked.clear()
        directory = Directory()
        await asyncio.gather(*(directory.keys(p) for _ in range(20)))
        assert sorted(it.asked) == ["/.well-known/openid-configuration", "/jwks"]


INSIDE = "https://169.254.169.254/latest"


@pytest.mark.parametrize(
    "said",
    [
        {"issuer": "https://another.example"}, {"token_endpoint": INSIDE}, {"jwks_uri": "https://10.0.0.1/jwks"},
        {"userinfo_endpoint": "http://example.com/userinfo"}, {"authorization_endpoint": "javascript:alert(1)"}, {"token_endpoint": None},
    ],
    ids=str,
)  # fmt: skip
async def test_a_provider_that_points_elsewhere_or_inside_is_not_taken(stack: Stack, said: dict[str, Any]) -> None:
    with by_hand() as it:
        it.configuration = said
        with pytest.raises(ProviderUnavailable):
            await register(stack, "hand-elsewhere", it.issuer)


@pytest.mark.parametrize(
    "issuer", ["http://example.com", "https://10.1.2.3", "https://localhost.internal", "ftp://example.com", INSIDE]
)
async def test_an_issuer_is_asked_by_https_and_outside(stack: Stack, issuer: str) -> None:
    with pytest.raises(ProviderUnavailable):
        await register(stack, "hand-inside", issuer)


async def test_http_is_for_this_machine_alone() -> None:
    with pytest.raises(ProviderUnavailable):
        ask.check("http://example.com/token", loopback=True)
    assert ask.check("http://127.0.0.1:1/token", loopback=True).port == 1
    with pytest.raises(ProviderUnavailable):
        ask.check("http://127.0.0.1:1/token", loopback=False)


async def test_a_secret_is_kept_sealed_and_a_name_is_of_one(stack: Stack) -> None:
    with by_hand() as it:
        p = await provider_of(stack, it, "hand-sealed")
        assert SECRET.encode() not in p.sealed and base64.b64encode(SECRET.encode()) not in p.sealed
        assert SECRET not in repr(p) and SECRET not in repr(New("a", it.issuer, CLIENT, SECRET))
        with pytest.raises(Exception, match="already"):
            await register(stack, "hand-again", it.issuer)
        for bad in ("", "UPPER", "../x", "a" * 31):
            with pytest.raises(Exception, match="letters"):
                await register(stack, bad, it.issuer)


async def test_an_operator_adds_shows_and_removes_a_provider(stack: Stack) -> None:
    with by_hand() as it:
        add = ("people", "providers", "add", "typed", it.issuer, CLIENT, "-", "--domain", "Work.test")
        added = guilder(stack, *add, said=f"{SECRET}\n")
        assert added.returncode == 0 and "/auth/oidc/typed/callback" in added.stdout, added.stderr
        async with stack.world() as world:
            p = await providers.get(world.envs["test"], "typed")
            assert (providers.secret_of(world.envs["test"], p), p.domains) == (SECRET, ["work.test"])
        assert "already" in guilder(stack, *add, said=SECRET).stderr

        shown = guilder(stack, "people", "providers", "list").stdout
        assert "typed" in shown and SECRET not in shown
        begin(Browser(), stack.api, "typed")  # somebody is on the way, and will not arrive

        assert guilder(stack, "people", "providers", "remove", "typed").returncode == 0
        assert Browser().get(f"{stack.api}/auth/oidc/typed/start").status == 404
        assert "no provider" in guilder(stack, "people", "providers", "remove", "typed").stderr
        refused = guilder(stack, "people", "providers", "add", "typed", it.issuer + "/", CLIENT, "-", said=SECRET)
        assert refused.returncode == 1 and "letter by letter" in refused.stderr
