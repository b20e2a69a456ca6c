"""The front through HTTP: a confirm answers before its channel does, the payer's page goes on by itself, and nobody is asked twice."""

import asyncio
import contextlib
import os
import signal
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from oracle import channel_book

from guilder.core import ids
from guilder.payments import asking, front, store
from guilder.platform import breaker
from guilder.platform.sql import Query
from stack import Shop, Stack, eventually, running

pytestmark = pytest.mark.anyio
ATTEMPT = Query(
    "attempt", "SELECT * FROM payments.attempt WHERE book_id = $1 AND intent_id = $2 ORDER BY id DESC LIMIT 1"
)
INTENT = Query("intent", "SELECT * FROM payments.intent WHERE book_id = $1 AND id = $2")


def ask(shop: Shop, when: str, dial: str = "", **more: Any) -> Any:
    """A payment whose channel is asked by the front."""
    return shop.client().v1.payment_intents.create({
        "amount": 1250, "currency": "cny", "payment_method_types": ["wechat_pay", "alipay"], "confirm": True,
        "payment_method": f"pm_sim_wechat_pay{dial}", "payment_method_options": {"wechat_pay": {"front": when}},
    } | more)  # fmt: skip


def trades(shop: Shop) -> dict[str, Any]:
    """What the channel has."""
    return channel_book(shop.stack.it.state, set(shop.demo.simulated.values())).trades


def look(shop: Shop, id: str) -> Any:
    return shop.client().v1.payment_intents.retrieve(id)


def code_of(intent: Any) -> str:
    found: str = intent.next_action.wechat_pay_display_qr_code.data
    return found


async def test_W3_a_confirm_answers_before_a_slow_channel_does(stack: Stack) -> None:
    shop = await stack.merchant("Slow")
    ask(shop, "async")  # keys, connections
    began = time.monotonic()
    made = ask(shop, "async", "__delay=3")
    took = time.monotonic() - began

    assert made.status == "requires_action" and took < 1.0
    assert code_of(made) == made.next_action.wechat_pay_display_qr_code.hosted_instructions_url
    fresh = await eventually(lambda: (i := look(shop, made.id)) and code_of(i).startswith("weixin") and i)
    stack.pay(fresh.next_action)
    await eventually(lambda: look(shop, made.id).status == "succeeded")
    assert list(trades(shop)) and len(trades(shop)) == 2


async def test_the_page_asks_when_it_is_opened_and_shows_the_code_when_there_is_one(stack: Stack) -> None:
    shop = await stack.merchant("Opened")
    made = ask(shop, "open")
    await asyncio.sleep(1.5)
    assert trades(shop) == {}, "nobody came yet"

    def page() -> str:
        with urllib.request.urlopen(code_of(made), timeout=10) as answer:
            return answer.read().decode()

    first = page()
    assert 'data-stage="asking"' in first or 'data-stage="scan"' in first
    await eventually(lambda: 'data-stage="scan"' in page())
    assert len(trades(shop)) == 1
    stack.pay(look(shop, made.id).next_action)
    await eventually(lambda: 'data-stage="paid"' in page())


async def test_W2_what_nobody_opened_is_closed_without_a_word_to_the_channel(stack: Stack) -> None:
    shop = await stack.merchant("Nobody")
    v1 = shop.client().v1
    canceled = v1.payment_intents.cancel(ask(shop, "open").id)
    assert canceled.status == "canceled"

    changed = ask(shop, "open")
    again = v1.payment_intents.confirm(
        changed.id, {"payment_method": "pm_sim_alipay", "return_url": "https://shop.example/"}
    )
    assert again.next_action.type == "alipay_handle_redirect"
    async with stack.world() as world:
        env = world.envs["test"]
        states = Query("states", "SELECT state FROM payments.attempt WHERE book_id = $1 AND channel = 'wechatpay'")

        async def closed() -> bool:
            return {r["state"] for r in await env.db.rows(states, shop.book_id)} == {"closed"}

        await eventually(closed)
    assert all(t["channel"] == "alipay" for t in trades(shop).values())


async def test_W1_of_who_asks_and_who_closes_one_is_first(stack: Stack) -> None:
    shop = await stack.merchant("Race")
    made = [ask(shop, "open") for _ in range(12)]
    async with stack.world() as world:
        env = world.envs["test"]

        async def row(query: Query, id: str) -> Any:
            return await env.db.row(query, shop.book_id, ids.read("pi", id))

        async def close(id: str) -> str:
            attempt, intent = store.attempt_of(await row(ATTEMPT, id)), store.intent_of(await row(INTENT, id))
            account = await asking.the_account(env, attempt)
            return str((await asking.close(env, intent, attempt, account)).state)

        async def both(id: str) -> list[Any]:
            attempt = await row(ATTEMPT, id)
            return await asyncio.gather(
                front.open_now(env, shop.book_id, attempt["id"]),
                close(id),
                front.open_now(env, shop.book_id, attempt["id"]),
            )

        await asyncio.gather(*(both(i.id) for i in made))
        rows = [await row(ATTEMPT, i.id) for i in made]
    asked = {ids.mint_key(r["id"], r["book_id"]) for r in rows if not r["unasked"]}
    assert set(trades(shop)) <= asked, "no channel heard of what was closed by our own word"


@pytest.mark.slow
@pytest.mark.parametrize("place", ["front.claimed", "front.asked"])
async def test_W1_a_front_that_dies_is_followed_under_the_same_key(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "failpoints"
    folder.mkdir()
    with running(tmp_path / "state", GUILDER_FAILPOINTS=str(folder)) as stack:
        shop = await stack.merchant("Dies")
        (folder / place).write_text("kill")
        made = ask(shop, "async")
        await eventually((folder / f"{place}.fired").exists)
        assert len(trades(shop)) == (place == "front.asked")
        await eventually(lambda: code_of(look(shop, made.id)).startswith("weixin"), within_s=90)
        assert len(trades(shop)) == 1
        stack.pay(look(shop, made.id).next_action)
        await eventually(lambda: look(shop, made.id).status == "succeeded")


async def test_a_payer_who_was_scanned_is_not_left_to_the_front(stack: Stack) -> None:
    shop = await stack.merchant("Refused")
    with pytest.raises(Exception, match="front"):
        ask(shop, "later")


async def test_W3_more_than_an_account_is_asked_at_once_wait_their_turn_and_none_is_refused(stack: Stack) -> None:
    shop = await stack.merchant("Narrow")
    account = ids.read("ca", shop.demo.accounts["wechatpay"])
    assert account is not None
    async with stack.world() as world:
        env = world.envs["test"]
        await env.db.transact(lambda tx: breaker.set_guard(tx, shop.book_id, account, {"fronted": 1}))
    await asyncio.sleep(1.5)  # every process has seen it
    made = [ask(shop, "async", "__delay=1").id for _ in range(6)]

    await eventually(lambda: all(code_of(look(shop, id)).startswith("weixin") for id in made), within_s=60)
    assert len(trades(shop)) == 6, "each was asked for once"
    states = Query("states", "SELECT DISTINCT state FROM payments.attempt WHERE book_id = $1")
    async with stack.world() as world:
        assert [r["state"] for r in await world.envs["test"].db.rows(states, shop.book_id)] == ["pending"]


def processes(stack: Stack, *words: str) -> list[int]:
    """Those of this installation whose command line ends so."""
    ended = "".join(f"{word}\0" for word in words).encode()
    state = f"GUILDER_STATE={stack.it.state.absolute()}\0".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "cmdline").read_bytes().endswith(ended) and state in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


async def test_W3_a_process_of_its_own_asks_while_the_worker_stands_still_and_is_followed_when_it_dies(
    tmp_path: Path,
) -> None:
    with running(tmp_path / "state", GUILDER_FRONTS="1") as stack:
        shop = await stack.merchant()
        [worker], [fronting] = processes(stack, "guilder.app.worker"), processes(stack, "guilder.app.worker", "front")
        os.kill(worker, signal.SIGSTOP)
        try:
            made = ask(shop, "async")
            await eventually(lambda: code_of(look(shop, made.id)).startswith("weixin"))
            os.kill(fronting, signal.SIGKILL)
            again = ask(shop, "async")
            await eventually(lambda: code_of(look(shop, again.id)).startswith("weixin"), within_s=30)
        finally:
            os.kill(worker, signal.SIGCONT)
        assert processes(stack, "guilder.app.worker", "front") != [fronting]
        assert len(trades(shop)) == 2
