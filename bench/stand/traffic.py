"""Process: the source of traffic.

    python -m stand.traffic RECEIPTS     (a descriptor to read the shop's receipts from)

Standard input: a `Setting` as a line of JSON, then `Plan`s; each is answered with a `Played`.

A closed loop has so many callers, each of whom begins its next payment when the shop has the last one's webhook: it finds how
much goes through.  An open loop begins payments at the times of a Poisson process, whatever became of those before, and
measures from the time at which each was due: a server that stalls is charged for everybody who would have come meanwhile.
"""

import asyncio
import os
import random
import struct
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Literal
from uuid import uuid4

import msgspec
import uvloop

from stand.channel import Direct
from stand.line import Lines, request

RECEIPT = struct.Struct("<29sd")
TOKEN = "pm_sim_wechat_pay__autopay"
FORM = {
    "Content-Type": "application/x-www-form-urlencoded",
    "User-Agent": "bench",
    "Accept": "*/*",
}


class Setting(msgspec.Struct):
    """Where to go, and as whom; the shop's receipts come back by payment id."""

    api: str
    keys: list[str]  # of merchants, who take turns
    seed: int = 1
    channel: dict[str, str] | None = None  # a WeChat Pay contract of its own, for `calls = "channel"`
    simulators: str = ""
    callback: str = ""


class Plan(msgspec.Struct):
    """What to do.  `calls`: two = create, then confirm; one = create with confirm; create = create only; channel = ask the
    channel directly.  `callers` for a closed loop, else `rate` payments a second in an open one."""

    seconds: float
    calls: Literal["two", "one", "create", "channel"] = "two"
    callers: int = 0
    rate: float = 0
    warm_s: float = 0.0
    patience_s: float = 30.0  # after its end; what is not whole then is lost


class Played(msgspec.Struct):
    """What came of it.  Times in milliseconds, sorted; those of the warm-up are left out."""

    begun: int
    done: int
    units: int  # of money, in what is done
    rate: float  # done per second, after the warm-up
    whole_ms: list[float]  # from when it was due until the shop had the webhook
    moments: list[
        tuple[float, float]
    ]  # of each, warm-up included: when it was whole, in seconds from the beginning, and how long it took
    create_ms: list[float]
    confirm_ms: list[float]
    late_ms: list[float]  # how late this process began what was due
    failed: dict[str, int]
    lost: int


class _Id(msgspec.Struct):
    id: str


_read_id = msgspec.json.Decoder(_Id).decode


class _Refused(Exception):
    """The API said no."""


class Traffic:
    """The callers."""

    def __init__(self, setting: Setting) -> None:
        self._api = Lines(setting.api)
        host = setting.api.rpartition("://")[2]
        self._headers = [{"Host": host, "Authorization": f"Bearer {key}"} | FORM for key in setting.keys]
        self._rng = random.Random(setting.seed)
        self._came: dict[str, float] = {}  # receipts that nobody waits for yet
        self._awaited: dict[str, asyncio.Future[float]] = {}
        self._turn = 0
        self.direct = Direct(setting.simulators, setting.channel, setting.callback) if setting.channel else None
        self._begin()

    def _begin(self) -> None:
        self.begun = self.units = 0
        self.whole: list[tuple[float, float]] = []  # when it was whole, how long it took
        self.create: list[tuple[float, float]] = []
        self.confirm: list[tuple[float, float]] = []
        self.late: list[tuple[float, float]] = []
        self.failed: Counter[str] = Counter()

    def came(self, id: str, at: float) -> None:
        """The shop has a webhook."""
        waiting = self._awaited.pop(id, None)
        if waiting is None:
            self._came[id] = at
        elif not waiting.done():
            waiting.set_result(at)

    async def play(self, plan: Plan) -> Played:
        """Carry out a plan; wait until everything begun is whole."""
        self._begin()
        one = {"two": self._two, "one": self._one, "create": self._only_create, "channel": self._channel}[plan.calls]
        started = time.monotonic()
        loop = self._closed if plan.callers else self._open
        tasks = await loop(plan, one, started)
        lost = 0
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=plan.patience_s)
            lost = len(late)
            for task in late:
                task.cancel()
        return self._played(plan, started, lost)

    async def _closed(
        self, plan: Plan, one: Callable[[float], Awaitable[None]], started: float
    ) -> list[asyncio.Task[None]]:
        end = started + plan.seconds

        async def caller(number: int) -> None:
            await asyncio.sleep(number * min(1.0, plan.warm_s) / plan.callers)  # they do not come in step
            while time.monotonic() < end:
                await self._try(one, time.monotonic())

        return [asyncio.create_task(caller(n)) for n in range(plan.callers)]

    async def _open(
        self, plan: Plan, one: Callable[[float], Awaitable[None]], started: float
    ) -> list[asyncio.Task[None]]:
        due, tasks = started, []
        while (due := due + self._rng.expovariate(plan.rate)) < started + plan.seconds:
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            now = time.monotonic()
            self.late.append((now, now - due))
            tasks.append(asyncio.create_task(self._try(one, due)))
        return tasks

    async def _try(self, one: Callable[[float], Awaitable[None]], due: float) -> None:
        self.begun += 1
        try:
            await one(due)
        except (_Refused, OSError) as error:
            self.failed[str(error)[:300]] += 1
            await asyncio.sleep(0.05)

    # --- one payment ---

    async def _two(self, due: float) -> None:
        headers, units = self._next()
        id = await self._ask(self.create, headers, "/v1/payment_intents", _order(units))
        await self._ask(self.confirm, headers, f"/v1/payment_intents/{id}/confirm", f"payment_method={TOKEN}")
        await self._whole(id, due, units)

    async def _one(self, due: float) -> None:
        headers, units = self._next()
        body = f"{_order(units)}&confirm=true&payment_method={TOKEN}"
        id = await self._ask(self.confirm, headers, "/v1/payment_intents", body)
        await self._whole(id, due, units)

    async def _only_create(self, due: float) -> None:
        headers, units = self._next()
        await self._ask(self.create, headers, "/v1/payment_intents", _order(units))
        self._done(time.monotonic(), due, units)

    async def _channel(self, due: float) -> None:
        assert self.direct is not None
        units = self._rng.randrange(100, 100_000)
        took = await self.direct.create(units)
        now = time.monotonic()
        self.confirm.append((now, took))
        self._done(now, due, units)

    def _next(self) -> tuple[dict[str, str], int]:
        self._turn += 1
        return self._headers[self._turn % len(self._headers)], self._rng.randrange(100, 100_000)

    async def _ask(self, times: list[tuple[float, float]], headers: dict[str, str], path: str, body: str) -> str:
        asked = time.monotonic()
        call = request("POST", path, headers | {"Idempotency-Key": str(uuid4())}, body.encode())
        status, _, answer = await self._api.ask(call)
        now = time.monotonic()
        if status != 200:
            raise _Refused(f"{status} {answer[:250].decode(errors='replace')}")
        times.append((now, now - asked))
        return _read_id(answer).id

    async def _whole(self, id: str, due: float, units: int) -> None:
        at = self._came.pop(id, None)
        if at is None:
            waiting = self._awaited[id] = asyncio.get_running_loop().create_future()
            at = await waiting
        self._done(at, due, units)

    def _done(self, at: float, due: float, units: int) -> None:
        self.units += units
        self.whole.append((at, at - due))

    def _played(self, plan: Plan, started: float, lost: int) -> Played:
        begin, end = started + plan.warm_s, started + plan.seconds

        def ms(times: list[tuple[float, float]]) -> list[float]:
            return sorted(round(took * 1000, 3) for at, took in times if at >= begin)

        inside = sum(begin <= at < end for at, _ in self.whole)
        return Played(
            self.begun, len(self.whole), self.units, inside / (end - begin), ms(self.whole),
            [(at - started, round(took * 1000, 3)) for at, took in self.whole], ms(self.create),
            ms(self.confirm), ms(self.late), dict(self.failed.most_common(5)), lost,
        )  # fmt: skip


def _order(units: int) -> str:
    return f"amount={units}&currency=cny&payment_method_types[0]=wechat_pay&description=Order&metadata[order]={units}"


class _Receipts(asyncio.Protocol):
    """Reads what the shop writes."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        whole = len(data) - len(data) % RECEIPT.size
        for id, at in RECEIPT.iter_unpack(data[:whole]):
            self._traffic.came(id.decode(), at)
        self._rest = data[whole:]


async def serve(receipts: int) -> None:
    """Until standard input ends."""
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    traffic = Traffic(msgspec.json.decode(await commands.readline(), type=Setting))
    await loop.connect_read_pipe(lambda: _Receipts(traffic), os.fdopen(receipts, "rb", 0))
    while line := await commands.readline():
        played = await traffic.play(msgspec.json.decode(line, type=Plan))
        sys.stdout.write(msgspec.json.encode(played).decode() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
