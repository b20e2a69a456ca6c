"""Races over HTTP against two API processes, fifty callers and more each: what everybody's checks let through, ours do not.

The named scenarios of the field: two refunds of 60 on 100 (Hyperswitch #13182), confirm against callback (Medusa #13301), two paid
attempts on one order (ruoyi-vue-pro #1152).
"""

import asyncio
import json
from collections import Counter
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from guilder import ledger
from guilder.ledger.posting import balances
from stack import Shop, Stack, eventually

pytestmark = pytest.mark.anyio
CALLERS = 50


class Caller:
    """Plain HTTP with one connection per caller, so that the kernel spreads them over the API processes."""

    def __init__(self, shop: Shop, http: aiohttp.ClientSession) -> None:
        self.shop, self.http = shop, http

    async def post(self, path: str, key: str | None = None, **params: Any) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self.shop.key}", "Content-Type": "application/x-www-form-urlencoded"}
        if key:
            headers["Idempotency-Key"] = key
        async with self.http.post(self.shop.stack.api + path, data=urlencode(params), headers=headers) as answer:
            return answer.status, json.loads(await answer.text())

    async def get(self, path: str) -> dict[str, Any]:
        async with self.http.get(
            self.shop.stack.api + path, headers={"Authorization": f"Bearer {self.shop.key}"}
        ) as answer:
            return json.loads(await answer.text())


@pytest.fixture
async def caller(racing: Stack):
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as http:
        yield Caller(await racing.merchant(), http)


async def paid_payment(caller: Caller, amount: int = 100) -> str:
    _, intent = await caller.post(
        "/v1/payment_intents", amount=amount, currency="cny", confirm="true",
        **{"payment_method_types[0]": "wechat_pay", "payment_method_data[type]": "wechat_pay"},
    )  # fmt: skip
    await asyncio.to_thread(caller.shop.stack.pay, intent["next_action"])

    async def succeeded() -> bool:
        return (await caller.get(f"/v1/payment_intents/{intent['id']}"))["status"] == "succeeded"

    await eventually(succeeded, within_s=30)
    return intent["id"]


def trades(caller: Caller, channel: str) -> list[dict[str, Any]]:
    """The channel's own book of the caller's account."""
    return caller.shop.stack.simulator(f"/sim/book?account={caller.shop.demo.simulated[channel]}")["trades"]


async def books(caller: Caller) -> tuple[list[Any], dict[str, int]]:
    """What the sweeps find, and the balances of the caller's book."""
    async with caller.shop.stack.world() as world:

        async def look(tx: Any) -> Any:
            shown = Counter()
            for row in await balances(tx, caller.shop.book_id):
                shown[row["code"].partition(":")[0]] += row["shown"]
            return await ledger.sweep(tx), dict(shown)

        return await world.envs["test"].db.transact(look)


async def test_P4_fifty_refunds_of_60_on_100_and_one_succeeds(caller: Caller) -> None:
    intent = await paid_payment(caller)

    answers = await asyncio.gather(
        *(caller.post("/v1/refunds", f"refund-{i}", payment_intent=intent, amount=60) for i in range(CALLERS))
    )

    told = Counter((status, body.get("error", {}).get("code")) for status, body in answers)
    assert told == {(200, None): 1, (400, "amount_too_large"): CALLERS - 1}
    listed = await caller.get(f"/v1/refunds?payment_intent={intent}&limit=100")
    assert [r["amount"] for r in listed["data"]] == [60]
    orders = trades(caller, "wechatpay")
    assert sum(r["amount"] for o in orders for r in o["refunds"]) == 60, "the channel's own book agrees"
    assert (await books(caller))[0] == []


async def test_L5_one_idempotency_key_and_one_effect(caller: Caller) -> None:
    answers = await asyncio.gather(
        *(
            caller.post(
                "/v1/payment_intents", "same", amount=500, currency="cny", **{"payment_method_types[0]": "alipay"}
            )
            for _ in range(CALLERS)
        )
    )

    assert {status for status, _ in answers} == {200}
    assert len({json.dumps(body, sort_keys=True) for _, body in answers}) == 1
    assert len((await caller.get("/v1/payment_intents?limit=100"))["data"]) == 1

    answers = await asyncio.gather(
        *(
            caller.post(
                "/v1/payment_intents",
                "confirmed",
                amount=700,
                currency="cny",
                confirm="true",
                **{"payment_method_types[0]": "wechat_pay", "payment_method_data[type]": "wechat_pay"},
            )
            for _ in range(CALLERS)
        )
    )
    told = Counter(status for status, _ in answers)
    assert told[200] >= 1 and set(told) <= {200, 409}, (
        "one asks the channel; the others hear its answer or that it runs"
    )
    assert len({body["id"] for status, body in answers if status == 200}) == 1
    assert len((await caller.get("/v1/payment_intents?limit=100"))["data"]) == 2


async def test_P2_one_callback_told_fifty_times_at_once(caller: Caller) -> None:
    _, intent = await caller.post(
        "/v1/payment_intents",
        amount=900,
        currency="cny",
        confirm="true",
        payment_method=f"pm_sim_wechat_pay__callback_duplicate*{CALLERS}",
        **{"payment_method_types[0]": "wechat_pay"},
    )
    await asyncio.to_thread(caller.shop.stack.pay, intent["next_action"])

    def all_answered() -> Any:
        [trade] = trades(caller, "wechatpay")
        tries = [a for c in trade["callbacks"] for a in c["attempts"]]
        return len(tries) == CALLERS and Counter(a["status"] for a in tries)

    answers = await eventually(all_answered, within_s=30)
    assert set(answers) <= {0, 204}, (
        "each was stored before it was acknowledged, and the channel is patient for a while only"
    )
    assert answers[204]
    broken, shown = await books(caller)
    assert (broken, shown) == ([], {"receivable": 900, "payable": 900})
    events = await caller.get("/v1/events?type=payment_intent.succeeded&limit=100")
    assert len(events["data"]) == 1


async def test_P3_confirm_against_cancel_ends_in_one_state(caller: Caller) -> None:
    made = await asyncio.gather(
        *(
            caller.post(
                "/v1/payment_intents", amount=1000 + i, currency="cny", **{"payment_method_types[0]": "wechat_pay"}
            )
            for i in range(CALLERS // 2)
        )
    )
    ids = [body["id"] for _, body in made]

    await asyncio.gather(
        *(
            call
            for id in ids
            for call in (
                caller.post(
                    f"/v1/payment_intents/{id}/confirm", f"confirm-{id}", **{"payment_method_data[type]": "wechat_pay"}
                ),
                caller.post(f"/v1/payment_intents/{id}/cancel", f"cancel-{id}"),
            )
        )
    )

    async def all_canceled() -> bool:
        found = await asyncio.gather(*(caller.get(f"/v1/payment_intents/{id}") for id in ids))
        return {f["status"] for f in found} == {"canceled"}

    await eventually(all_canceled, within_s=60)
    assert {t["state"] for t in trades(caller, "wechatpay")} <= {"closed"}, "nothing stays payable at the channel"


async def test_P2_two_channels_paying_one_intent_and_one_goes_back(caller: Caller) -> None:
    stack = caller.shop.stack
    both = {"payment_method_types[0]": "wechat_pay", "payment_method_types[1]": "alipay"}
    made = await asyncio.gather(
        *(caller.post("/v1/payment_intents", amount=2000 + i, currency="cny", **both) for i in range(CALLERS // 2))
    )
    ids = [body["id"] for _, body in made]
    first = await asyncio.gather(
        *(
            caller.post(f"/v1/payment_intents/{id}/confirm", payment_method="pm_sim_wechat_pay__close-silence_before")
            for id in ids
        )
    )
    second = await asyncio.gather(
        *(
            caller.post(
                f"/v1/payment_intents/{id}/confirm",
                payment_method="pm_alipay",
                **{"payment_method_options[alipay][client]": "qr"},
            )
            for id in ids
        )
    )
    assert {s for s, _ in first + second} == {200}

    await asyncio.gather(
        *(
            asyncio.to_thread(stack.simulator, "/sim/pay", {"channel": channel, "code": code, "action": "pay"})
            for (_, a), (_, b) in zip(first, second, strict=True)
            for channel, code in (
                ("wechatpay", a["next_action"]["wechat_pay_display_qr_code"]["data"]),
                ("alipay", b["next_action"]["alipay_display_qr_code"]["data"]),
            )
        ),
        return_exceptions=True,  # one may have been closed at its channel before it was paid
    )

    async def settled() -> bool:
        broken, shown = await books(caller)
        assert broken == []
        return shown.get("payable") == sum(2000 + i for i in range(len(ids))) and shown.get("surplus", 0) == 0

    await eventually(settled, within_s=90, every_s=0.5)
    paid = [t for channel in ("wechatpay", "alipay") for t in trades(caller, channel) if t["state"] == "paid"]
    collected = sum(t["amount"] - sum(r["amount"] for r in t["refunds"]) for t in paid)
    assert collected == sum(2000 + i for i in range(len(ids))), "each is paid for once at the channels, too"
