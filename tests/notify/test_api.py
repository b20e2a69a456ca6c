"""Webhook endpoints and events through HTTP, with the official SDK."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import aiohttp
import pytest
import standardwebhooks
import stripe
import uvicorn

from guilder.core import ids
from guilder.core.errors import Unauthenticated
from guilder.notify import ROUTES
from guilder.platform import db
from guilder.platform.environment import Env
from guilder.platform.web import api_key
from guilder.platform.web.app import build

from .conftest import QUICK, Book, courier

pytestmark = pytest.mark.anyio
T = TypeVar("T")
SCOPES = frozenset({"webhooks:read", "webhooks:write", "events:read"})


@dataclass(frozen=True)
class Principal:
    env: Env
    book_id: UUID
    scopes: frozenset[str] = SCOPES
    names_account: bool = False
    at_platform: bool = False


@dataclass
class Api:
    """The server, and the SDK of the merchant of `book`."""

    url: str
    principals: dict[str, Principal]
    key: str

    async def __call__(self, work: Callable[[stripe.StripeClient], T], key: str | None = None) -> T:
        client = stripe.StripeClient(key or self.key, base_addresses={"api": self.url}, max_network_retries=0)
        return await asyncio.to_thread(work, client)

    async def post(
        self, path: str, form: Mapping[str, Any] | None = None, **headers: str
    ) -> tuple[int, dict[str, Any], bytes]:
        headers = {"Authorization": f"Bearer {self.key}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.url + path, data=form or {}, headers=headers) as answer,
        ):
            body = await answer.read()
            return answer.status, json.loads(body), body

    async def get(self, path: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.key}"}
        async with aiohttp.ClientSession() as session, session.get(self.url + path, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()


@pytest.fixture
async def api(env: Env, book: Book) -> AsyncIterator[Api]:
    principals = {"sk_test_a": Principal(env, book.id), "sk_test_b": Principal(env, ids.new_id())}

    async def authenticate(headers: Mapping[str, str]) -> Principal:
        try:
            return principals[api_key(headers)]
        except KeyError:
            raise Unauthenticated from None

    server = uvicorn.Server(
        uvicorn.Config(build(ROUTES, authenticate=authenticate, resources=[]), log_level="warning", lifespan="off")
    )
    listener = socket.create_server(("127.0.0.1", 0))
    task = asyncio.create_task(server.serve([listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    yield Api(f"http://127.0.0.1:{listener.getsockname()[1]}", principals, "sk_test_a")
    server.should_exit = True
    await task
    listener.close()


HOOK: dict[str, Any] = {
    "url": "https://203-0-113-1.invalid/hook",
    "enabled_events": ["charge.succeeded", "refund.created"],
}


async def test_an_endpoints_life_through_the_sdk(api: Api):
    made = await api(
        lambda c: c.v1.webhook_endpoints.create({**HOOK, "description": "shop", "metadata": {"a": "1", "b": "2"}})
    )
    assert isinstance(made, stripe.WebhookEndpoint)
    assert made.secret is not None
    assert made.secret.startswith("whsec_")
    assert (made.status, made.livemode, made.api_version) == ("enabled", False, stripe.api_version)

    seen = await api(lambda c: c.v1.webhook_endpoints.retrieve(made.id))
    assert "secret" not in seen
    assert seen.to_dict() == {k: v for k, v in made.to_dict().items() if k != "secret"}

    changed = await api(
        lambda c: c.v1.webhook_endpoints.update(
            made.id, {"enabled_events": ["*"], "description": "", "metadata": {"a": "", "c": "3"}, "disabled": True}
        )
    )
    assert (changed.enabled_events, changed.description, changed.status) == (["*"], None, "disabled")
    assert changed.metadata.to_dict() == {"b": "2", "c": "3"}
    assert changed["disabled_reason"] == "merchant"

    back = await api(lambda c: c.v1.webhook_endpoints.update(made.id, {"disabled": False}))
    assert (back.status, back["disabled_reason"]) == ("enabled", None)

    gone = await api(lambda c: c.v1.webhook_endpoints.delete(made.id))
    assert (gone.id, gone.deleted) == (made.id, True)
    with pytest.raises(stripe.InvalidRequestError) as missing:
        await api(lambda c: c.v1.webhook_endpoints.retrieve(made.id))
    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")
    assert (await api(lambda c: c.v1.webhook_endpoints.list())).data == []


async def test_lists_page_in_both_directions(api: Api):
    made = [(await api(lambda c: c.v1.webhook_endpoints.create(HOOK))).id for _ in range(5)]

    assert (
        await api(lambda c: [e.id for e in c.v1.webhook_endpoints.list({"limit": 2}).auto_paging_iter()]) == made[::-1]
    )
    newer = await api(lambda c: c.v1.webhook_endpoints.list({"limit": 2, "ending_before": made[0]}))
    assert ([e.id for e in newer], newer.has_more) == ([made[2], made[1]], True)


async def test_what_is_wrong_is_refused_by_name(api: Api):
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({"url": "https://10.0.0.1/"}, "url_invalid", "url"),
        ({"url": "http://user@127.0.0.1/"}, "url_invalid", "url"),
        ({"url": "ftp://x"}, "url_invalid", "url"),
        ({"enabled_events": ["Charge Succeeded"]}, "parameter_invalid", "enabled_events[0]"),
        ({"enabled_events": ["charge.*"]}, "parameter_invalid", "enabled_events[0]"),
        ({"connect": True}, "parameter_unsupported", "connect"),
        ({"api_version": "2020-01-01"}, "parameter_invalid", "api_version"),
        ({"colour": "red"}, "parameter_unknown", "colour"),
    ]
    for more, code, param in wrong:
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await api(lambda c, more=more: c.v1.webhook_endpoints.create({**HOOK, **more}))  # pyrefly: ignore
        assert (refused.value.code, refused.value.param) == (code, param), more


async def test_at_most_sixteen(api: Api):
    tried = await asyncio.gather(
        *(api(lambda c: c.v1.webhook_endpoints.create(HOOK)) for _ in range(20)), return_exceptions=True
    )
    assert sum(isinstance(t, stripe.WebhookEndpoint) for t in tried) == 16
    assert {t.code for t in tried if isinstance(t, stripe.InvalidRequestError)} == {"webhook_endpoints_limit"}


async def test_N9_one_key_makes_one_endpoint_and_tells_its_secret_again(api: Api, env: Env):
    form = {"url": HOOK["url"], "enabled_events[]": "*"}
    answers = await asyncio.gather(*(api.post("/v1/webhook_endpoints", form, Idempotency_Key="k1") for _ in range(10)))
    assert {status for status, _, _ in answers} == {200}
    assert len({body for _, _, body in answers}) == 1
    secret = answers[0][1]["secret"]
    assert secret.startswith("whsec_")

    status, error, _ = await api.post("/v1/webhook_endpoints", {**form, "description": "x"}, Idempotency_Key="k1")
    assert (status, error["error"]["type"]) == (400, "idempotency_error")
    async with db.connected(env.db._dsn) as connection:
        stored = bytes(await connection.fetchval("SELECT body FROM platform.answer WHERE key = 'k1'"))
        assert await connection.fetchval("SELECT count(*) FROM notify.endpoint") == 1
        await connection.execute("DELETE FROM platform.answer")
    assert secret.encode() not in stored
    assert b"whsec_" not in stored


async def test_nobody_reaches_anothers(api: Api, book: Book):
    e, _ = await book.endpoint("https://shop.example.com/")
    [event] = await book.happens("charge.succeeded")
    id = ids.show("we", e.id)
    others: list[Callable[[stripe.StripeClient], Any]] = [
        lambda c: c.v1.webhook_endpoints.retrieve(id),
        lambda c: c.v1.webhook_endpoints.update(id, {"disabled": True}),
        lambda c: c.v1.webhook_endpoints.delete(id),
        lambda c: c.v1.events.retrieve(event),
        lambda c: c.raw_request("get", f"/v1/webhook_endpoints/{id}/deliveries"),
        lambda c: c.raw_request("post", f"/v1/webhook_endpoints/{id}/redeliver", event=event),
        lambda c: c.raw_request("post", f"/v1/webhook_endpoints/{id}/roll_secret"),
    ]
    for call in others:
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await api(call, "sk_test_b")
        assert refused.value.http_status == 404
    assert (await api(lambda c: c.v1.events.list(), "sk_test_b")).data == []
    assert (await api(lambda c: c.v1.webhook_endpoints.list(), "sk_test_b")).data == []
    assert (await api(lambda c: c.v1.webhook_endpoints.retrieve(id))).status == "enabled"


async def test_WO05_a_secret_is_rolled_through_the_api(api: Api, book: Book, open_shop):
    shop = await open_shop()
    made = await api(lambda c: c.v1.webhook_endpoints.create({"url": shop.url, "enabled_events": ["*"]}))
    path = f"/v1/webhook_endpoints/{made.id}/roll_secret"
    _, rolled, first = await api.post(path, {"expires_in": 3600}, Idempotency_Key="roll")
    _, _, again = await api.post(path, {"expires_in": 3600}, Idempotency_Key="roll")
    assert first == again
    assert made.secret is not None
    assert rolled["secret"] not in (made.secret, None)

    async with courier(book.env):
        await book.happens("charge.succeeded")
        await shop.hears(1)
        await api.post(path, {"expires_in": 0})
        await book.happens("charge.succeeded")
        await shop.hears(2)

    for secret in (made.secret, rolled["secret"]):
        stripe.Webhook.construct_event(shop.bodies[0], shop.heard[0].headers["Stripe-Signature"], secret)
        standardwebhooks.Webhook(secret).verify(shop.bodies[0], dict(shop.heard[0].headers))
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(shop.bodies[1], shop.heard[1].headers["Stripe-Signature"], secret)


async def test_WO09_what_was_missed_is_delivered_again(api: Api, book: Book, open_shop):
    async def down(_: Any) -> aiohttp.web.Response:
        return aiohttp.web.Response(status=503, text="we are down")

    shop = await open_shop(down)
    made = await api(lambda c: c.v1.webhook_endpoints.create({"url": shop.url, "enabled_events": ["charge.succeeded"]}))
    path = f"/v1/webhook_endpoints/{made.id}"
    policy = type(QUICK)(schedule_s=(0.0,), timeout_s=2.0, grace_s=0.0, idle_s=0.25)
    async with courier(book.env, policy):
        lost = await book.happens("charge.succeeded", "charge.succeeded", "charge.failed")
        await book.becomes(*[("dead", 2, [503, 503])] * 2)
        log = await api.get(f"{path}/deliveries?status=dead")
        assert [d["event"] for d in log["data"]] == [lost[1], lost[0]]
        assert [t["response"] for t in log["data"][0]["tries"]] == ["we are down"] * 2

        async def well(_: Any) -> aiohttp.web.Response:
            return aiohttp.web.Response()

        shop.respond = well
        heard = len(shop.bodies)
        _, queued, _ = await api.post(f"{path}/redeliver", {"created[gte]": 0})
        assert (queued["queued"], queued["has_more"]) == (2, False)
        await book.becomes(*[("delivered", 1, [503, 503, 200])] * 2)
        _, queued, _ = await api.post(f"{path}/redeliver", {"created[gte]": 0})
        assert queued["queued"] == 0
        _, queued, _ = await api.post(f"{path}/redeliver", {"event": lost[0]})
        assert queued["queued"] == 1
        await shop.hears(heard + 3)
    assert sorted(shop.ids[heard:]) == sorted([lost[0], *lost[:2]])

    for form, param in (({}, "event"), ({"event": lost[0], "created[gte]": 1}, "event"), ({"event": "evt_x"}, "event")):
        status, refused, _ = await api.post(f"{path}/redeliver", form)
        assert (status, refused["error"]["param"]) == (400, param)
    status, refused, _ = await api.post(f"{path}/redeliver", {"event": ids.show("evt", ids.new_id())})
    assert (status, refused["error"]["code"]) == (404, "resource_missing")
    await api(lambda c: c.v1.webhook_endpoints.update(made.id, {"disabled": True}))
    status, refused, _ = await api.post(f"{path}/redeliver", {"event": lost[0]})
    assert (status, refused["error"]["code"]) == (400, "webhook_endpoint_disabled")


async def test_the_delivery_log_pages(api: Api, book: Book, open_shop):
    e, _ = await book.endpoint((await open_shop()).url)
    sent = await book.happens(*["charge.succeeded"] * 5)
    async with courier(book.env):
        await book.becomes(*[("delivered", 1, [200])] * 5)
    path = f"/v1/webhook_endpoints/{ids.show('we', e.id)}/deliveries"

    first = await api.get(f"{path}?limit=3")
    rest = await api.get(f"{path}?limit=3&starting_after={first['data'][-1]['id']}")
    assert [d["event"] for d in first["data"] + rest["data"]] == sent[::-1]
    assert (first["has_more"], rest["has_more"], rest["url"]) == (True, False, path)
    [only] = (await api.get(f"{path}?event={sent[0]}"))["data"]
    assert (only["status"], only["next_try_at"], only["tries"][0]["status"]) == ("delivered", None, 200)


async def test_events_are_found_by_type_time_and_fate(api: Api, book: Book, open_shop):
    await book.endpoint((await open_shop()).url, ["charge.succeeded"])
    sent = await book.happens(
        "payment_intent.created", "payment_intent.succeeded", "charge.succeeded", "paymentXintent.created"
    )

    async def listed(**filters: Any) -> list[str]:
        return await api(lambda c: [e.id for e in c.v1.events.list(filters).auto_paging_iter()])  # pyrefly: ignore

    assert await listed(limit=1) == sent[::-1]
    assert await listed(type="charge.succeeded") == [sent[2]]
    assert await listed(type="payment_intent.*") == [sent[1], sent[0]]
    assert await listed(types=["charge.succeeded", "payment_intent.created"]) == [sent[2], sent[0]]
    assert await listed(delivery_success=False) == [sent[2]]
    assert await listed(created={"gt": 4_000_000_000}) == []
    assert len(await listed(created={"gte": 1})) == 4
    with pytest.raises(stripe.InvalidRequestError):
        await listed(type="a.b", types=["a.b"])
    with pytest.raises(stripe.InvalidRequestError):
        await listed(starting_after="evt_nonsense")

    event = await api(lambda c: c.v1.events.retrieve(sent[2]))
    assert (event.pending_webhooks, event.data.object["object"]) == (1, "payment_intent")
    async with courier(book.env):
        await book.becomes(("delivered", 1, [200]))
    assert (await api(lambda c: c.v1.events.retrieve(sent[2]))).pending_webhooks == 0
    assert await listed(delivery_success=False) == []


async def test_scopes_are_asked_for(api: Api, env: Env, book: Book):
    api.principals["rk_test_none"] = Principal(env, book.id, frozenset())
    for call in (
        lambda c: c.v1.webhook_endpoints.list(),
        lambda c: c.v1.events.list(),
        lambda c: c.v1.webhook_endpoints.create(HOOK),
    ):
        with pytest.raises(stripe.PermissionError):
            await api(call, "rk_test_none")
