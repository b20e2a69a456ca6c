"""A correct client, many of them: payers and their shop, who retry with the same key and remember what they were told.

Each payer loops: confirm a payment, pay it (or walk away), give back a part of some, cancel others; where the shop does `more`, it also
holds money on cards and collects it, and pays some of what it has to others.  Whatever the server does, a payer only believes answers;
silence and 5xx are asked again under the same idempotency key.
"""

import asyncio
import hashlib
import hmac
import json
import random
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from stack import Shop

PATIENCE_S = 240
PAYEES = {"wechat_pay": {"openid": "oAutoUpF8uMuAJO_M2pxb1Q9zNjWeS6o"}, "alipay": {"account": "2088101117955611"}}


@dataclass
class Told:
    """What a caller was answered under a key."""

    path: str
    params: dict[str, Any]
    status: int
    body: bytes


@dataclass
class Load:
    """The payers of one shop, and its webhook receiver."""

    shop: Shop
    payers: int
    seed: int
    http: aiohttp.ClientSession
    think_s: float = 0.3
    told: dict[str, Told] = field(default_factory=dict)  # by idempotency key
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    deliveries: int = 0
    in_flight: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    intents: list[str] = field(default_factory=list)
    dials: tuple[str, ...] = ()
    more: bool = False  # cards and payouts, too: the shop has an account at Stripe
    _favoured: list[str] = field(default_factory=list)
    _secret: bytes = b""
    _running: bool = True
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Open the shop and let the payers in."""
        app = web.Application()
        app.router.add_post("/hook", self._hear)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        status, body = await self.call(
            "endpoint", "/v1/webhook_endpoints", url=f"http://127.0.0.1:{port}/hook", **{"enabled_events[0]": "*"}
        )
        assert status == 200, body
        self._secret = json.loads(body)["secret"].encode()
        self._tasks = [asyncio.create_task(self._payer(i)) for i in range(self.payers)]

    def check(self) -> None:
        """Fail with the first payer who failed."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise error

    async def stop(self) -> None:
        """Let no payer begin again, and wait until each has its answers."""
        self._running = False
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Send whoever is left home, and close the shop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    async def _hear(self, request: web.Request) -> web.Response:
        body = await request.read()
        t, _, rest = request.headers["Stripe-Signature"].partition(",")
        expected = hmac.new(self._secret, t.removeprefix("t=").encode() + b"." + body, hashlib.sha256).hexdigest()
        if expected not in rest:
            return web.Response(status=400)
        event = json.loads(body)
        self.deliveries += 1
        self.events[event["id"]] = event
        return web.Response()

    async def call(self, key: str, path: str, **params: Any) -> tuple[int, bytes]:
        """POST until there is an answer that ends it: 2xx or a 4xx other than 409."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                status, body = await self._once(key, path, params)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                status, body = 0, repr(error).encode()
            if 200 <= status < 300 or (400 <= status < 500 and status != 409):
                self.told[key] = Told(path, params, status, body)
                return status, body
            self.retries[str(status or "no answer")] += 1
            assert time.monotonic() < deadline, (
                f"{path} under {key} got no answer within {PATIENCE_S} s: {status} {body[:300]!r}"
            )
            await asyncio.sleep(random.uniform(0.1, 0.4))

    async def _once(self, key: str, path: str, params: dict[str, Any]) -> tuple[int, bytes]:
        headers = {
            "Authorization": f"Bearer {self.shop.key}",
            "Idempotency-Key": key,
            "Content-Type": "application/x-www-form-urlencoded",
        }
        timeout = aiohttp.ClientTimeout(total=40)
        async with self.http.post(
            self.shop.stack.api + path, data=urlencode(params), headers=headers, timeout=timeout
        ) as answer:
            return answer.status, await answer.read()

    async def get(self, path: str) -> dict[str, Any]:
        """GET, again while the server is away."""
        while True:
            try:
                async with self.http.get(
                    self.shop.stack.api + path, headers={"Authorization": f"Bearer {self.shop.key}"}
                ) as answer:
                    if answer.status < 500:
                        return json.loads(await answer.read())
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            await asyncio.sleep(0.2)

    async def pay(self, code: str, action: str = "pay") -> None:
        """What the payer's phone does; a closed order is no error here."""
        async with self.http.post(
            self.shop.stack.simulators + "/sim/pay", json={"code": code, "action": action}
        ) as answer:
            await answer.read()

    async def _payer(self, number: int) -> None:
        rng = random.Random(self.seed * 1000 + number)
        turn = 0
        await asyncio.sleep(rng.random() * self.think_s)
        while self._running:
            turn += 1
            self.in_flight += 1  # a payment, from its first request until it is paid, refunded, or left
            try:
                await self._buy(f"{self.seed}-{number}-{turn}", rng)
            finally:
                self.in_flight -= 1
            await asyncio.sleep(rng.random() * 2 * self.think_s)

    async def _buy(self, name: str, rng: random.Random) -> None:
        luck = rng.random() if self.more else 1.0
        if luck < 0.1:
            await self._hold_and_collect(name, rng)
        elif luck < 0.2:
            await self._pay_out(name, rng)
        else:
            await self._pay_and_refund(name, rng)

    async def _hold_and_collect(self, name: str, rng: random.Random) -> None:
        status, body = await self.call(
            f"confirm-{name}", "/v1/payment_intents", amount=rng.randrange(100, 100_000), currency="cny", confirm="true",
            payment_method="pm_sim_card", capture_method="manual", **{"payment_method_types[0]": "card"},
            **{"payment_method_options[card][client]": "token", "payment_method_options[card][token]": "pm_card_visa"},
        )  # fmt: skip
        if status != 200:
            return
        intent = json.loads(body)
        self.intents.append(intent["id"])
        if await self._is(intent["id"], "requires_capture"):
            await self.call(f"capture-{name}", f"/v1/payment_intents/{intent['id']}/capture")

    async def _pay_out(self, name: str, rng: random.Random) -> None:
        way = rng.choice(tuple(PAYEES))
        to = {f"destination_data[payee][{field}]": value for field, value in PAYEES[way].items()}
        await self.call(
            f"payout-{name}", "/v1/payouts", amount=rng.randrange(100, 200), currency="cny", **{"destination_data[type]": way}, **to
        )  # fmt: skip

    async def _pay_and_refund(self, name: str, rng: random.Random) -> None:
        way = rng.choice(("wechat_pay", "alipay"))
        dial = self._dial(rng)
        status, body = await self.call(
            f"confirm-{name}", "/v1/payment_intents", amount=rng.randrange(100, 100_000), currency="cny", confirm="true",
            payment_method=f"pm_sim_{way}{dial}",
            **{"payment_method_types[0]": way, "payment_method_options[alipay][client]": "qr"},
            **({f"payment_method_options[{way}][front]": "async"} if rng.random() < 0.1 else {}),
        )  # fmt: skip
        intent = json.loads(body)
        if status != 200:
            return
        self.intents.append(intent["id"])
        intent = await self._with_code(intent)
        if intent["status"] == "requires_action":
            luck = rng.random()
            if luck < 0.1 or "close-" in dial:
                await self.call(f"cancel-{name}", f"/v1/payment_intents/{intent['id']}/cancel")
                return
            step = intent["next_action"]
            await self.pay(step[step["type"]]["data"], "decline" if luck < 0.15 else "pay")
        if (rng.random() < 0.35 or "refund" in dial or "reordered" in dial) and await self._is(
            intent["id"], "succeeded"
        ):
            for part in range(rng.choice((1, 2))):
                await self.call(
                    f"refund-{part}-{name}",
                    "/v1/refunds",
                    payment_intent=intent["id"],
                    amount=max(1, intent["amount"] // 2),
                )

    def _dial(self, rng: random.Random) -> str:
        """What goes wrong with the next payment: one in two of them, when dials are played at all."""
        wanted = [d for d in self.dials if not self._favoured or any(k in d for k in self._favoured)]
        return "__" + rng.choice(wanted).replace(",", "__") if wanted and rng.random() < 0.6 else ""

    def favour(self, kinds: Iterable[str]) -> None:
        """Play those dials that have not struck often enough."""
        self._favoured = list(kinds)

    async def _with_code(self, intent: dict[str, Any]) -> dict[str, Any]:
        for _ in range(200):
            step = intent["next_action"] or {"type": ""}
            at_front = step.get(step["type"], {}).get("data", "").startswith(self.shop.stack.cashier)
            if intent["status"] != "processing" and not at_front:
                break
            await asyncio.sleep(0.2)
            intent = await self.get(f"/v1/payment_intents/{intent['id']}")
        return intent

    async def _is(self, id: str, status: str) -> bool:
        for _ in range(100):
            found = (await self.get(f"/v1/payment_intents/{id}"))["status"]
            if found == status:
                return True
            if found not in ("requires_action", "processing"):
                return False
            await asyncio.sleep(0.1)
        return False
