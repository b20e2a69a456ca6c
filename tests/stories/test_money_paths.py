"""Money paths that were suspected once, each as a story over HTTP; every one of them found something, and now holds."""

import asyncio
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
import stripe

from guilder.channels.conclude import NOT_SENT
from guilder.channels.model import Outcome, Problem, State
from guilder.core import ids
from guilder.payments import asking, store
from guilder.payments import cancel as cancelling
from guilder.payments.model import Attempt, Intent
from guilder.payments.present import Face
from guilder.platform import context
from guilder.platform.environment import Env
from guilder.platform.idempotency import Asked, Key
from stack import Stack, eventually

pytestmark = pytest.mark.anyio
WX = {
    "currency": "cny",
    "payment_method_types": ["wechat_pay", "alipay"],
    "confirm": True,
    "payment_method_data": {"type": "wechat_pay"},
}


async def _attempts(env: Env, book: UUID, shown: str) -> tuple[Intent, list[Attempt]]:
    intent_id = ids.read("pi", shown)
    assert intent_id is not None

    async def work(tx: Any) -> Any:
        locked = await store.lock(tx, [(book, intent_id)])
        return locked, await store.attempts(tx, locked)

    locked, attempts = await env.db.transact(work)
    return locked[book, intent_id], sorted(attempts.values(), key=lambda a: a.id)


async def test_amount_may_not_change_while_an_older_try_can_still_be_paid(stack: Stack) -> None:
    """Pay 1.00 for a payment of 2000.00: an update between a declined second try and the close of the first."""
    shop = await stack.merchant()
    v1 = shop.client().v1
    wechat = shop.demo.simulated["wechatpay"]
    # the close of the first try is not answered for a while
    stack.simulator(
        "/sim/dials",
        {
            "account": wechat,
            "dials": {"close:silence_before": {"probability": 1.0}, "query:silence_before": {"probability": 1.0}},
        },
    )
    pi = v1.payment_intents.create(
        {
            "amount": 100,
            "currency": "cny",
            "payment_method_types": ["wechat_pay", "alipay"],
            "confirm": True,
            "payment_method_data": {"type": "wechat_pay"},
        }
    )
    code = pi.next_action
    assert pi.status == "requires_action"
    stack.simulator(
        "/sim/dials", {"account": shop.demo.simulated["alipay"], "dials": {"decline": {"probability": 1.0}}}
    )
    # the payer changes to alipay, which declines
    pi = v1.payment_intents.confirm(
        pi.id, {"payment_method_data": {"type": "alipay"}, "payment_method_options": {"alipay": {"client": "qr"}}}
    )
    stack.pay(pi.next_action, "decline")

    async def ended():
        return v1.payment_intents.retrieve(pi.id).status == "requires_payment_method"

    try:
        await eventually(ended, within_s=8)
    except AssertionError:
        async with stack.world() as world:  # whatever ends it: tell it as the channel would
            env = world.envs["test"]
            _intent, tries = await _attempts(env, shop.book_id, pi.id)
            account = await asking.the_account(env, tries[-1])
            by = context.mint(book_id=shop.book_id, actor="test", env="test")
            await asking.record(
                env, tries[-1], account, Outcome(State.FAILED, problem=Problem("x", "declined")), "query", by
            )
            for lane in env._lanes.values():
                await lane.idle()
    assert v1.payment_intents.retrieve(pi.id).status == "requires_payment_method"
    refused = False
    try:
        v1.payment_intents.update(pi.id, {"amount": 200000})
    except stripe.InvalidRequestError:
        refused = True
    stack.pay(code)  # the old code, 1.00
    if refused:
        return
    pi = await eventually(lambda: (i := v1.payment_intents.retrieve(pi.id)).status == "succeeded" and i)
    charge = v1.charges.retrieve(pi.latest_charge)
    assert pi.amount_received == charge.amount, f"told the shop {pi.amount_received}, collected {charge.amount}"


async def test_a_refund_that_was_sent_is_not_answered_by_nothing_was_done(stack: Stack) -> None:
    """Phase 3 cannot commit (the row is locked for 6 s): the caller hears 503 'nothing was done' of money that went back."""
    shop = await stack.merchant()
    client = shop.client(max_network_retries=0)
    v1 = client.v1
    pi = v1.payment_intents.create(
        {
            "amount": 1000,
            "currency": "cny",
            "payment_method_types": ["wechat_pay"],
            "confirm": True,
            "payment_method_data": {"type": "wechat_pay"},
        }
    )
    stack.pay(pi.next_action)
    await eventually(lambda: v1.payment_intents.retrieve(pi.id).status == "succeeded")
    stack.simulator("/sim/dials", {"account": shop.demo.simulated["wechatpay"], "dials": {"refund:delay": {"next": 1}}})
    async with stack.world() as world:
        env = world.envs["test"]
        async with env.db._connection() as c:  # an operator's psql, a backup, a stuck transaction
            task = asyncio.create_task(
                asyncio.to_thread(lambda: _try(lambda: v1.refunds.create({"payment_intent": pi.id, "amount": 400})))
            )
            await asyncio.sleep(1.0)
            await c.execute("BEGIN")
            await c.fetch("SELECT 1 FROM payments.intent WHERE id = $1 FOR UPDATE", ids.read("pi", pi.id))
            answer = await task
            await c.execute("ROLLBACK")
    # what a shop does that believes 'nothing was done': it asks anew, as a new request
    if isinstance(answer, stripe.StripeError) and answer.http_status == 503:
        await asyncio.to_thread(lambda: _try(lambda: v1.refunds.create({"payment_intent": pi.id, "amount": 400})))
    book = stack.simulator(f"/sim/book?account={shop.demo.simulated['wechatpay']}")["trades"]
    back = sum(r["amount"] for t in book for r in t["refunds"])
    assert not (isinstance(answer, stripe.StripeError) and answer.http_status == 503), (
        f"503 {answer.user_message!r}; the channel gave back {back}"
    )


def _try(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except stripe.StripeError as error:
        return error


async def test_not_sent_does_not_end_a_try_that_another_process_has_sent(stack: Stack) -> None:
    """P3: a slow process hears NotSent after the sweep has made the order under the same key."""
    shop = await stack.merchant()
    v1 = shop.client().v1
    pi = v1.payment_intents.create(
        {
            "amount": 300,
            "currency": "cny",
            "payment_method_types": ["wechat_pay"],
            "confirm": True,
            "payment_method_data": {"type": "wechat_pay"},
        }
    )
    assert pi.status == "requires_action"
    async with stack.world() as world:
        env = world.envs["test"]
        _, [attempt] = await _attempts(env, shop.book_id, pi.id)
        account = await asking.the_account(env, attempt)
        by = context.mint(book_id=shop.book_id, actor="test", env="test")
        await asking.record(env, attempt, account, Outcome(State.FAILED, problem=NOT_SENT), "reply", by)
        _, [attempt] = await _attempts(env, shop.book_id, pi.id)
        now = v1.payment_intents.retrieve(pi.id)
        assert attempt.state.value == "pending", (
            f"the code is live at the channel, the try is {attempt.state}: {now.last_payment_error and now.last_payment_error.message}"
        )


async def test_cancel_after_a_crash_is_answered_by_what_it_did(stack: Stack) -> None:
    """The same key again, after the process that ran it died: the payment was canceled by this very request."""
    shop = await stack.merchant()
    v1 = shop.client().v1
    pi = v1.payment_intents.create(
        {
            "amount": 300,
            "currency": "cny",
            "payment_method_types": ["wechat_pay"],
            "confirm": True,
            "payment_method_data": {"type": "wechat_pay"},
        }
    )
    async with stack.world() as world:
        env = world.envs["test"]
        by = context.mint(book_id=shop.book_id, actor="test", env="test")
        key = Key(shop.book_id, "cancel-1", b"f", "req_x")
        wish = cancelling.Cancel(shop.book_id, ids.read("pi", pi.id), "abandoned", by, Face(env))
        begun = await env.lane(cancelling.BEGIN_CANCEL).submit(Asked(key, wish), shop.book_id)  # … and it dies here
        assert isinstance(begun, cancelling.Closing)
        async with env.db._connection() as c:
            await c.execute("UPDATE payments.attempt SET ask_at = now() WHERE intent_id = $1", ids.read("pi", pi.id))
        await eventually(lambda: v1.payment_intents.retrieve(pi.id).status == "canceled", within_s=20)
        async with env.db._connection() as c:
            await c.execute("UPDATE platform.answer SET lease_until = now() - interval '1 s' WHERE key = 'cancel-1'")
        reply = await cancelling.cancel(env, key, wish)
        assert reply.status == 200


async def test_canceled_means_that_nothing_is_open_at_a_channel(stack: Stack) -> None:
    """Two tries are open; the newer one closes, the close of the older is silent: the payment must wait for it."""
    shop = await stack.merchant()
    v1 = shop.client().v1
    pi = v1.payment_intents.create(
        {
            "amount": 100,
            "currency": "cny",
            "payment_method_types": ["wechat_pay", "alipay"],
            "confirm": True,
            "payment_method_data": {"type": "wechat_pay"},
        }
    )
    stack.simulator(
        "/sim/dials",
        {
            "account": shop.demo.simulated["wechatpay"],
            "dials": {"close:silence_before": {"probability": 1.0}, "query:silence_before": {"probability": 1.0}},
        },
    )
    pi = v1.payment_intents.confirm(pi.id, {"payment_method_data": {"type": "alipay"}})
    assert pi.status == "requires_action"
    pi = v1.payment_intents.cancel(pi.id)
    async with stack.world() as world:
        env = world.envs["test"]
        _, tries = await _attempts(env, shop.book_id, pi.id)
        states = [a.state.value for a in tries]
    assert not (pi.status == "canceled" and states[0] in ("pending", "unknown")), (
        f"canceled, and the tries are {states}"
    )


async def test_a_late_success_is_accepted_only_for_the_amount_that_the_payment_has(stack: Stack) -> None:
    shop = await stack.merchant(late_success="accept")
    v1 = shop.client().v1
    pi = v1.payment_intents.create({**WX, "amount": 100})
    code = pi.next_action
    async with stack.world() as world:
        env = world.envs["test"]
        _, [attempt] = await _attempts(env, shop.book_id, pi.id)
        account = await asking.the_account(env, attempt)
        by = context.mint(book_id=shop.book_id, actor="test", env="test")
        await asking.record(env, attempt, account, Outcome(State.CLOSED), "close", by)
    v1.payment_intents.update(pi.id, {"amount": 200000})
    stack.pay(code)

    async def over():
        i = v1.payment_intents.retrieve(pi.id, {"expand": ["latest_charge"]})
        return i if i.status == "succeeded" else None

    try:
        pi = await eventually(over, within_s=10)
    except AssertionError:
        return  # it went back: good
    assert pi.amount_received == pi.latest_charge.amount, (
        f"received {pi.amount_received}, collected {pi.latest_charge.amount}"
    )


async def test_a_payer_who_has_paid_another_amount_is_not_asked_to_scan(stack: Stack) -> None:
    """P5 credits nothing; but the payment goes on to show its code, and nothing ever ends it: not even cancel."""
    shop = await stack.merchant()
    v1 = shop.client().v1
    stack.simulator(
        "/sim/dials", {"account": shop.demo.simulated["wechatpay"], "dials": {"wrong_amount": {"probability": 1.0}}}
    )
    pi = v1.payment_intents.create({**WX, "amount": 100})
    stack.pay(pi.next_action)
    async with stack.world() as world:

        async def cased():
            async with world.envs["test"].db._connection() as c:
                return await c.fetchval(
                    "SELECT count(*) FROM platform.case WHERE book_id = $1 AND kind = 'amount_mismatch'", shop.book_id
                )

        await eventually(cased, within_s=20)
    now = v1.payment_intents.retrieve(pi.id)
    _try(lambda: v1.payment_intents.cancel(pi.id))
    assert now.status != "requires_action", "the payer has paid, and the page says: scan"


async def test_a_hanging_channel_does_not_keep_the_other_one_waiting(stack: Stack) -> None:
    """70 WeChat tries whose queries hang; then an Alipay payment whose callback is lost: asked after 5 s if WeChat is well."""
    shop = await stack.merchant()
    v1 = shop.client().v1
    stack.simulator(
        "/sim/dials",
        {"account": shop.demo.simulated["wechatpay"], "dials": {"query:hang_before": {"probability": 1.0}}},
    )

    def one(_):
        return shop.client().v1.payment_intents.create({**WX, "amount": 100})

    for _n in range(0, 140, 14):
        await asyncio.gather(*(asyncio.to_thread(one, i) for i in range(14)))
    stack.simulator(
        "/sim/dials", {"account": shop.demo.simulated["alipay"], "dials": {"callback_lost": {"probability": 1.0}}}
    )
    pi = v1.payment_intents.create(
        {
            "amount": 100,
            "currency": "cny",
            "payment_method_types": ["alipay"],
            "confirm": True,
            "payment_method_data": {"type": "alipay"},
        }
    )
    stack.pay(pi.next_action)
    begun = time.monotonic()
    await eventually(lambda: v1.payment_intents.retrieve(pi.id).status == "succeeded", within_s=120, every_s=0.3)
    took = time.monotonic() - begun
    assert took < 12
