"""What can go wrong with a payment, a refund or a payout, at each channel that can do it: the cells of the matrix, and how one is struck.

Whatever is asked for carries one dial.  Nobody holds a phone: the simulated payer pays by himself (`autopay`), so that nothing but the
dial stands between the call and its end.
"""

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, cycle
from typing import Any

from load import Load

CHANNELS = ("wechatpay", "alipay", "unionpay", "stripe", "paypal")
FIRINGS = int(os.environ.get("FIRINGS", "50"))  # of each dial with each operation, at least
SPARE = 5  # a channel that was silent may have meant something else
AT_ONCE, HANGING = 24, 48
FUNDS = 50_000_000  # that each channel collects first: payouts come from what is there

_OPTIONS = "payment_method_options"
WAYS: dict[str, tuple[str, dict[str, str]]] = {
    "wechatpay": ("wechat_pay", {}),
    "alipay": ("alipay", {f"{_OPTIONS}[alipay][client]": "qr"}),
    "unionpay": ("unionpay", {f"{_OPTIONS}[unionpay][client]": "qr"}),
    "stripe": ("card", {f"{_OPTIONS}[card][client]": "token", f"{_OPTIONS}[card][token]": "pm_card_visa"}),
    "paypal": ("paypal", {}),
}
PAYEES = {
    "wechatpay": {"openid": "oAutoUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},  # one who confirms at once
    "alipay": {"account": "2088101117955611"},
    "stripe": {"destination": "ba_1"},
    "paypal": {"email": "payee@example.com"},
}
ANSWERS = (
    "delay=1", "silence_before", "silence_after", "hang_before", "hang_after", "error_before", "error_after", "garbage", "bad_signature",
)  # fmt: skip
CALLBACKS = ("callback_lost", "callback_duplicate", "callback_late=2", "callback_forged")
ALONE = "silence_after,callback_lost"  # nobody tells: only asking helps
CLOSES = ("wechatpay", "alipay")  # and may find out later that it was paid


@dataclass(frozen=True)
class Cell:
    """A dial, or several, with one operation, and the channels where it means something."""

    operation: str  # 'pay', 'refund', 'payout'
    dial: str  # as simulators spell it: 'callback_late=2', 'silence_after,callback_lost'
    channels: tuple[str, ...] = CHANNELS

    @property
    def name(self) -> str:
        """The first dial, without its seconds."""
        return self.dial.partition(",")[0].partition("=")[0]

    @property
    def asked(self) -> str:
        """The dials as what is asked for carries them."""
        op = {"pay": "close:" if self.name == "late_success" else ""}.get(self.operation, f"{self.operation}:")
        return ",".join(op + dial for dial in self.dial.split(","))

    @property
    def token(self) -> str:
        """The same in a test token."""
        return self.asked.replace(":", "-").replace(",", "__")

    @property
    def hangs(self) -> bool:
        return self.name.startswith("hang")

    @property
    def fires(self) -> list[str]:
        """What the simulators note when it strikes."""
        op = {"pay": "close" if self.name == "late_success" else "create"}.get(self.operation, self.operation)
        return [f"{op}:{dial.partition('=')[0]}" for dial in self.dial.split(",")]


CELLS: tuple[Cell, ...] = (
    *(Cell("pay", dial) for dial in (*ANSWERS, *CALLBACKS, ALONE, "paid_without_callback", "wrong_amount")),
    Cell("pay", "decline", ("wechatpay", "alipay", "stripe")),
    Cell("pay", "late_success", CLOSES),
    *(Cell("refund", dial) for dial in (*ANSWERS, "refund_processing=2")),
    *(Cell("refund", dial, ("wechatpay", "unionpay", "stripe", "paypal")) for dial in (*CALLBACKS, ALONE)),
    Cell("refund", "refund_fail", ("wechatpay", "unionpay", "stripe")),
    *(Cell("payout", dial, tuple(PAYEES)) for dial in (*ANSWERS, *CALLBACKS, "payout_processing=2", "payout_fail")),
    Cell("payout", ALONE, ("alipay", "stripe", "paypal")),  # in a remark of WeChat Pay's there is room for one
)


class Striker:
    """Strikes cells through the API, as a shop that repeats what was not answered."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self._n = count()
        self._few, self._many = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(HANGING)

    async def fund(self) -> None:
        """Collect what payouts are made of."""
        made = [await self._confirm(channel, "autopay", FUNDS) for channel in CHANNELS]
        for intent in made:
            await self._succeeds(intent["id"])

    async def strike(self, cells: Sequence[Cell]) -> None:
        """Each cell so often, its channels in turn."""
        strikes = [
            (cell, channel)
            for cell in cells
            for channel, _ in zip(cycle(cell.channels), range(FIRINGS + SPARE), strict=False)
        ]
        strikes.sort(key=lambda s: not s[0].hangs)  # the slowest first
        await asyncio.gather(*(self._one(cell, channel) for cell, channel in strikes))

    async def _one(self, cell: Cell, channel: str) -> None:
        async with self._many if cell.hangs else self._few:
            act = {"pay": self._pay, "refund": self._refund, "payout": self._pay_out}[cell.operation]
            await act(cell, channel)

    async def _pay(self, cell: Cell, channel: str) -> None:
        if cell.name != "late_success":
            made = await self._confirm(channel, f"autopay__{cell.token}")
            if cell.name == "decline":
                await self.load.call(f"cancel-{next(self._n)}", f"/v1/payment_intents/{made['id']}/cancel")
            return
        made = await self._confirm(channel, cell.token)
        step = made["next_action"]
        await self.load.pay(step[step["type"]]["data"], "walk")  # Alipay knows an order once it was looked at
        await self.load.call(f"cancel-{next(self._n)}", f"/v1/payment_intents/{made['id']}/cancel")

    async def _refund(self, cell: Cell, channel: str) -> None:
        made = await self._confirm(channel, f"autopay__{cell.token}")
        await self._succeeds(made["id"])
        await self._ask("/v1/refunds", payment_intent=made["id"], amount=made["amount"] // 2)

    async def _pay_out(self, cell: Cell, channel: str) -> None:
        to = {f"destination_data[payee][{name}]": value for name, value in PAYEES[channel].items()}
        await self._ask(
            "/v1/payouts", amount=100 + next(self._n) % 1000, currency="cny",
            **{"destination_data[type]": WAYS[channel][0], "destination_data[payee][sim]": cell.asked,
               "destination_data[channel_account]": self.load.shop.demo.accounts[channel]}, **to,
        )  # fmt: skip

    async def _confirm(self, channel: str, dials: str, amount: int = 0) -> Any:
        type, options = WAYS[channel]
        return await self._ask(
            "/v1/payment_intents", amount=amount or 1000 + next(self._n), currency="cny", confirm="true",
            payment_method=f"pm_sim_{type}__{dials}", return_url="https://shop.example/back",
            **{"payment_method_types[0]": type}, **options,
        )  # fmt: skip

    async def _ask(self, path: str, **params: Any) -> Any:
        status, body = await self.load.call(f"matrix-{next(self._n)}", path, **params)
        told = json.loads(body)
        if status == 402 and "decline" in params["payment_method"]:
            return told["error"]["payment_intent"]
        assert status == 200, (path, params, status, body)
        return told

    async def _succeeds(self, id: str) -> None:
        async with asyncio.timeout(240):
            while (found := await self.load.get(f"/v1/payment_intents/{id}"))["status"] != "succeeded":
                assert found["status"] in ("processing", "requires_action"), found
                await asyncio.sleep(0.5)
