"""Webhooks reach merchants' servers: signed, once and again, in spite of each other.  WO numbers: reference/reliability.md 3.3."""

import asyncio
import base64
import json
import os
from dataclasses import replace
from datetime import timedelta

import pytest
import standardwebhooks
import stripe
from aiohttp import web

from guilder.core import clock, ids
from guilder.notify import Policy, jobs, sign
from guilder.notify import courier as courier_module
from guilder.notify.model import about
from guilder.platform import case, db, outbox
from guilder.platform.db import Tx
from guilder.platform.environment import Env
from guilder.platform.outbox import Event

from .conftest import QUICK, Book, Watch, courier, fine

pytestmark = pytest.mark.anyio


def answering(*statuses: int, **headers: str):
    """Answer with each status in turn, then with the last one for ever."""
    left = list(statuses)

    async def respond(_: web.Request) -> web.Response:
        return web.Response(status=left.pop(0) if len(left) > 1 else left[0], headers=headers, text="why")

    return respond


async def hanging(_: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


# ------------------------------------------------------------------------------------------------ what is sent


async def test_N3_WO10_both_schemes_verify(env: Env, book: Book, open_shop):
    shop = await open_shop()
    _, secret = await book.endpoint(shop.url)
    [id] = await book.happens("payment_intent.succeeded", request_id="req_1", idempotency_key='k"1')

    async with courier(env):
        await shop.hears(1)

    [body], [request] = shop.bodies, shop.heard
    event = stripe.Webhook.construct_event(body, request.headers["Stripe-Signature"], secret)
    standardwebhooks.Webhook(secret).verify(body, dict(request.headers))
    assert (event.id, event.type, event.data.object.amount) == (id, "payment_intent.succeeded", 0)
    assert json.loads(body) == {
        "id": id, "object": "event", "api_version": stripe.api_version, "created": event.created,
        "data": {"object": {"id": "pi_0", "object": "payment_intent", "amount": 0}},
        "livemode": False, "pending_webhooks": 1, "request": {"id": "req_1", "idempotency_key": 'k"1'},
        "type": "payment_intent.succeeded", "object_version": 1,
    }  # fmt: skip
    assert request.headers["webhook-id"] == id
    assert request.headers["Content-Type"] == "application/json; charset=utf-8"
    assert request.headers["traceparent"].startswith("00-")


async def test_N3_WO05_a_rolled_secret_signs_beside_the_new_one_until_its_time(env: Env, book: Book, open_shop):
    shop, watch = await open_shop(), Watch()
    e, new = await book.endpoint(shop.url)
    old = sign.mint()
    sealed = env.keyring.seal(old.encode(), about(e.id))
    async with db.connected(env.db._dsn) as connection:
        await connection.execute(
            "UPDATE notify.endpoint SET old_secret = $1, old_until = $2", sealed, clock.now() + timedelta(hours=1)
        )

    async with courier(env, now=watch) as wake:
        await book.happens("charge.succeeded")
        await book.becomes(("delivered", 1, [200]))
        watch.forward(hours=2)
        await book.happens("charge.failed")
        wake.set()
        await shop.hears(2)

    [during, after], [body, later] = shop.heard, shop.bodies
    for secret in (new, old):
        stripe.Webhook.construct_event(body, during.headers["Stripe-Signature"], secret)
        standardwebhooks.Webhook(secret).verify(body, dict(during.headers))
    stripe.Webhook.construct_event(later, after.headers["Stripe-Signature"], new)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(later, after.headers["Stripe-Signature"], old)


async def test_WO08_a_merchants_text_is_data_wherever_it_stands(env: Env, book: Book, open_shop):
    shop = await open_shop()
    await book.endpoint(shop.url)
    evil = 'a\r\nX-Evil: 1\r\n\r\n"},"livemode":true,'
    await book.happens("charge.succeeded", business_line=evil, idempotency_key=evil, request_id=evil)

    async with courier(env):
        await shop.hears(1)

    [request], [body] = shop.heard, shop.bodies
    assert "X-Evil" not in request.headers
    assert request.headers["Guilder-Business-Line"].startswith("a%0D%0AX-Evil")
    event = json.loads(body)
    assert (event["livemode"], event["request"]["idempotency_key"]) == (False, evil)


async def test_an_update_tells_what_changed(env: Env, book: Book, open_shop):
    shop = await open_shop()
    await book.endpoint(shop.url)
    await book.happens("customer.updated", previous='{"name":"old"}')

    async with courier(env):
        await shop.hears(1)

    assert json.loads(shop.bodies[0])["data"]["previous_attributes"] == {"name": "old"}


# ------------------------------------------------------------------------------------------------ who gets what


async def test_N1_each_endpoint_gets_what_it_wants_once(env: Env, book: Book, open_shop):
    everything, refunds, off, other = [await open_shop() for _ in range(4)]
    await book.endpoint(everything.url)
    await book.endpoint(refunds.url, ["refund.created", "refund.updated"])
    await book.endpoint(off.url, status="disabled")
    await Book(env).endpoint(other.url)
    sent = await book.happens("charge.succeeded", "refund.created")

    async with courier(env):
        await everything.hears(2)
        await book.becomes(*[("delivered", 1, [200])] * 3)
    assert sorted(everything.ids) == sorted(sent)
    assert refunds.ids == [sent[1]]
    assert json.loads(refunds.bodies[0])["pending_webhooks"] == 2
    assert (off.ids, other.ids) == ([], [])


async def test_WO11_nothing_is_sent_before_its_commit_and_versions_tell_the_order(env: Env, book: Book, open_shop):
    shop = await open_shop()
    await book.endpoint(shop.url)
    object_id, written, commit = ids.new_id(), asyncio.Event(), asyncio.Event()

    async def write(tx: Tx) -> None:
        outbox.emit(tx, [Event(book.id, "charge.succeeded", object_id, 1, "{}", clock.now(), object_id)])
        written.set()
        await commit.wait()

    async with courier(env):
        writing = asyncio.create_task(env.db.transact(write))
        await written.wait()
        await asyncio.sleep(0.3)
        assert shop.bodies == []
        commit.set()
        await writing
        await book.happens(*["charge.updated"] * 9, object_id=object_id, first_version=2)
        await shop.hears(10)

    assert sorted(json.loads(b)["object_version"] for b in shop.bodies) == list(range(1, 11))


# ------------------------------------------------------------------------------------------------ trying again


async def test_WO01_failing_for_hours_then_well(env: Env, book: Book, open_shop):
    shop, watch = await open_shop(answering(500, 502, 503, 404, 200)), Watch()
    await book.endpoint(shop.url)
    [id] = await book.happens("charge.succeeded")

    async with courier(env, replace(Policy(), grace_s=0.0, gather_s=0.0), now=watch) as wake:
        for n, wait_s in enumerate((6, 331, 1981, 7921), 1):
            await shop.hears(n)
            await book.becomes(("pending", n, [500, 502, 503, 404][:n]))
            wake.set()
            watch.forward(seconds=wait_s)
            wake.set()
        await book.becomes(("delivered", 5, [500, 502, 503, 404, 200]))

    assert shop.ids == [id] * 5
    assert len(set(shop.bodies)) == 1
    stamps = [int(r.headers["webhook-timestamp"]) for r in shop.heard]
    assert stamps[-1] - stamps[0] >= 6 + 331 + 1981 + 7921
    assert len({r.headers["Stripe-Signature"] for r in shop.heard}) == 5


async def test_it_waits_as_the_schedule_says(env: Env, book: Book, open_shop):
    shop, watch = await open_shop(answering(500)), Watch()
    await book.endpoint(shop.url)
    await book.happens("charge.succeeded")

    async with courier(env, replace(Policy(), gather_s=0.0, grace_s=0.0), now=watch) as wake:
        await book.becomes(("pending", 1, [500]))
        watch.forward(seconds=4)
        wake.set()
        await asyncio.sleep(0.3)
        assert len(shop.bodies) == 1
        watch.forward(seconds=2)
        wake.set()
        await book.becomes(("pending", 2, [500, 500]))


async def test_WO02_an_answer_that_comes_too_late_is_none(env: Env, book: Book, open_shop):
    async def slow_first(_: web.Request) -> web.Response:
        if len(shop.bodies) == 1:
            await asyncio.sleep(5)
        return await fine(_)

    shop = await open_shop(slow_first)
    await book.endpoint(shop.url)
    await book.happens("charge.succeeded")

    async with courier(env, replace(QUICK, timeout_s=0.3)):
        await book.becomes(("delivered", 2, [None, 200]))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_N8_WO03_a_redirect_is_a_failure(env: Env, book: Book, open_shop, status: int):
    elsewhere = await open_shop()
    shop = await open_shop(answering(status, Location=elsewhere.url))
    await book.endpoint(shop.url)
    await book.happens("charge.succeeded")

    async with courier(env, replace(QUICK, schedule_s=(3600.0,))):
        await book.becomes(("pending", 1, [status]))
    assert elsewhere.bodies == []


async def test_WO03_retry_after_is_honoured(env: Env, book: Book, open_shop):
    shop, watch = await open_shop(answering(429, 200, **{"Retry-After": "900"})), Watch()
    await book.endpoint(shop.url)
    await book.happens("charge.succeeded")

    async with courier(env, QUICK, now=watch) as wake:
        await book.becomes(("pending", 1, [429]))
        watch.forward(seconds=880)
        wake.set()
        await asyncio.sleep(0.3)
        assert len(shop.bodies) == 1
        watch.forward(seconds=30)
        wake.set()
        await book.becomes(("delivered", 2, [429, 200]))


async def test_a_delivery_is_given_up_after_its_last_try_and_counted(env: Env, book: Book, open_shop):
    shop = await open_shop(answering(500))
    await book.endpoint(shop.url)
    await book.happens("charge.succeeded")

    async with courier(env, replace(QUICK, schedule_s=(0.0, 0.0))):
        await book.becomes(("dead", 3, [500, 500, 500]))


async def test_N2_who_dies_in_the_middle_sends_again(env: Env, book: Book, open_shop):
    shop, watch = await open_shop(hanging), Watch()
    await book.endpoint(shop.url)
    [id] = await book.happens("charge.succeeded")

    async with courier(env, QUICK, now=watch):
        await shop.hears(1)
    assert await book.page() == [("pending", 1, None)]  # the merchant has it, and nobody here knows
    shop.respond = fine
    async with courier(env, QUICK, now=watch) as wake:
        await asyncio.sleep(0.3)
        assert len(shop.bodies) == 1
        watch.forward(seconds=QUICK.lease_s + 1)
        wake.set()
        await book.becomes(("delivered", 2, [200]))

    assert shop.ids == [id, id]
    assert shop.bodies[0] == shop.bodies[1]


async def test_N5_a_claim_that_was_overtaken_settles_nothing(env: Env, book: Book, open_shop):
    async def first_hangs(request: web.Request) -> web.Response:
        if len(shop.bodies) == 1:
            await let_go.wait()
            return web.Response(status=500)
        return await fine(request)

    let_go = asyncio.Event()
    shop, watch = await open_shop(first_hangs), Watch()
    await book.endpoint(shop.url)
    await book.happens("charge.succeeded")

    policy = replace(QUICK, timeout_s=30.0)
    async with courier(env, policy, now=watch) as first:
        await shop.hears(1)
        watch.forward(seconds=policy.lease_s + 1)
        first.clear()
        async with courier(env, policy, now=watch) as wake:
            wake.set()
            await book.becomes(("delivered", 2, [200]))
            let_go.set()
            await book.becomes(("delivered", 2, [500, 200]))


async def test_a_connection_that_the_shop_closed_meanwhile_costs_nothing(env: Env, book: Book, open_shop):
    async def close_after(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "2"})  # and no word of closing
        await response.prepare(request)
        await response.write(b"ok")
        assert request.transport is not None
        asyncio.get_running_loop().call_later(0.02, request.transport.abort)
        return response

    shop = await open_shop(close_after)
    await book.endpoint(shop.url)

    async with courier(env, replace(QUICK, schedule_s=())):
        for n in range(1, 4):
            await book.happens("charge.succeeded")
            await book.becomes(*[("delivered", 1, [200])] * n)
            await asyncio.sleep(0.05)


async def test_a_response_is_cut_and_harmless(env: Env, book: Book, open_shop):
    async def huge(_: web.Request) -> web.Response:
        return web.Response(status=500, body=b"\0\xff<script>" + b"x" * 5_000_000)

    shop = await open_shop(huge)
    await book.endpoint(shop.url)
    await book.happens("charge.succeeded")

    async with courier(env, replace(QUICK, schedule_s=())):
        await book.becomes(("dead", 1, [500]))
    async with db.connected(env.db._dsn) as connection:
        kept = await connection.fetchval("SELECT response FROM notify.delivery_try")
    assert kept.startswith("�<script>x")
    assert len(kept) == 499


# ------------------------------------------------------------------------------------------------ isolation


async def test_N6_WO04_an_endpoint_that_hangs_delays_no_other(env: Env, book: Book, open_shop):
    dead, good = await open_shop(hanging), await open_shop()
    policy = replace(Policy(), endpoint_room=4, grace_s=0.0)
    await book.endpoint(dead.url, ["charge.failed"])
    for _ in range(20):
        await book.endpoint(good.url, ["charge.succeeded"], book_id=ids.new_id())
    one = Book(env)
    await one.endpoint(good.url)

    async with courier(env, policy):
        await book.happens(*["charge.failed"] * 300)
        await dead.hears(4)
        waits = []
        for n in range(1, 31):
            began = asyncio.get_running_loop().time()
            await one.happens("charge.succeeded")
            await good.hears(n)
            waits.append(good.times[-1] - began)

    assert len(dead.bodies) == 4  # its room, and no more
    assert sorted(waits)[-2] < 0.5


async def test_N6_however_many_hang_the_healthy_have_connections_of_their_own(env: Env, book: Book, open_shop):
    dead, good = await open_shop(hanging), await open_shop()
    policy = replace(QUICK, connections=6, failing_connections=3, timeout_s=30.0)
    for _ in range(10):
        await book.endpoint(dead.url, ["charge.failed"], failing_since=clock.now())
    await book.endpoint(good.url, ["charge.succeeded"])

    async with courier(env, policy):
        await book.happens("charge.failed", "charge.failed")
        await dead.hears(3)
        for n in range(1, 11):
            await book.happens("charge.succeeded")
            await good.hears(n, within_s=3)
    assert len(dead.bodies) == 3


async def test_a_failing_endpoint_is_tried_one_at_a_time_until_it_is_well(env: Env, book: Book, open_shop):
    under_way = most = 0

    async def count(_: web.Request) -> web.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way) if not well else most
        await asyncio.sleep(0.02)
        under_way -= 1
        return web.Response(status=200 if well else 500)

    well = False
    shop = await open_shop(count)
    await book.endpoint(shop.url, failing_since=clock.now())

    async with courier(env, replace(QUICK, schedule_s=(0.5,) * 20)):
        await book.happens(*["charge.succeeded"] * 8)
        await shop.hears(8)
        well = True
        async with asyncio.timeout(10):
            while any(state != "delivered" for state, _, _ in await book.page()):
                await asyncio.sleep(0.05)
    assert most == 1
    async with db.connected(env.db._dsn) as connection:
        assert await connection.fetchval("SELECT failing_since FROM notify.endpoint") is None


# ------------------------------------------------------------------------------------------------ giving up


async def test_N7_WO03_an_endpoint_that_says_gone_is_disabled_and_somebody_is_told(env: Env, book: Book, open_shop):
    shop, other = await open_shop(answering(410)), await open_shop()
    gone, _ = await book.endpoint(shop.url, ["charge.succeeded"])
    await book.endpoint(other.url, ["webhook_endpoint.disabled"])
    await book.happens("charge.succeeded")

    async with courier(env):
        await shop.hears(1)
        async with asyncio.timeout(10):
            while not other.bodies:
                await asyncio.sleep(0.02)

    told = json.loads(other.bodies[0])
    assert (told["type"], told["object_version"]) == ("webhook_endpoint.disabled", 1)
    endpoint = told["data"]["object"]
    assert (endpoint["id"], endpoint["status"], endpoint["disabled_reason"]) == (
        ids.show("we", gone.id),
        "disabled",
        "gone",
    )
    assert "secret" not in endpoint
    [opened] = await env.db.rows(case.Q.list_cases, book.id, 10)
    assert (opened["kind"], opened["subject"]) == ("webhook_endpoint_disabled", ids.show("we", gone.id))


async def test_N7_days_of_nothing_but_failures_disable_an_endpoint(env: Env, book: Book, open_shop):
    shop, watch = await open_shop(answering(500)), Watch()
    await book.endpoint(shop.url)
    await book.happens("charge.succeeded", "charge.failed")

    async with courier(env, replace(Policy(), gather_s=0.0, grace_s=0.0), now=watch) as wake:
        await book.becomes(("pending", 1, [500]), ("pending", 1, [500]))
        watch.forward(days=2, hours=23)
        wake.set()
        await book.becomes(("pending", 2, [500, 500]), ("pending", 2, [500, 500]))
        async with db.connected(env.db._dsn) as connection:
            assert await connection.fetchval("SELECT status FROM notify.endpoint") == "enabled"
        watch.forward(hours=2)
        wake.set()
        async with asyncio.timeout(10):
            while {state for state, _, _ in await book.page()} != {"dead"}:
                await asyncio.sleep(0.02)

    async with db.connected(env.db._dsn) as connection:
        row = await connection.fetchrow("SELECT status, reason FROM notify.endpoint")
    assert tuple(row) == ("disabled", "failing")
    assert len(await env.db.rows(case.Q.list_cases, book.id, 10)) == 1


# ------------------------------------------------------------------------------------------------ beside it


async def test_a_secret_that_does_not_open_loses_nothing(env: Env, book: Book, open_shop):
    shop = await open_shop()
    await book.endpoint(shop.url, secret=b"\x01" + os.urandom(100))
    await book.happens("charge.succeeded")

    async with courier(env):
        await asyncio.sleep(0.3)
    assert shop.bodies == []
    assert await book.page() == [("pending", 1, None)]


async def test_the_log_is_never_changed_and_forgotten_in_time(env: Env, book: Book, open_shop):
    shop = await open_shop()
    await book.endpoint(shop.url)
    await book.happens("charge.succeeded", "charge.failed")
    async with courier(env):
        await book.becomes(*[("delivered", 1, [200])] * 2)

    assert await jobs.forget(env) == 0
    async with db.connected(env.db._dsn) as connection:
        with pytest.raises(Exception, match="permission denied"):
            await connection.execute("UPDATE notify.delivery_try SET status = 500")
        await connection.execute("UPDATE notify.delivery SET created_at = created_at - interval '31 days'")
    assert await jobs.forget(env) == 2
    assert await book.page() == []
    assert await jobs.measure(env) == 0


def test_a_secret_shows_itself_nowhere():
    text = sign.mint()
    assert len(base64.b64decode(text.removeprefix("whsec_"))) == 32
    assert text[6:] not in repr(sign.read(text.encode()))
    assert courier_module.POLICY.timeout_s < courier_module.POLICY.lease_s
