"""Journals through the HTTP API, a thousand in a call: an installation as `up` runs it, one merchant, one hot account of its own.

Every tenth journal is refused for lack of funds.  Answers are compared, and the hot account's balance in the end.
"""

import asyncio
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from guilder.app import installation
from stand.checks import Check
from stand.posters import OTHERS, Played

SIZE, CALLERS = 1000, 4
TOO_MUCH = 10**12
_ANSWERS = Counter(created=SIZE * 9 // 10, insufficient_funds=SIZE // 10)


class Bulk:
    """A merchant's server that posts through `POST /v1/ledger/journals`."""

    def __init__(self, api: str, key: str, session: aiohttp.ClientSession) -> None:
        self._url = f"{api}/v1/ledger"
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._session = session
        self._turn = 0
        self.wrong: Counter[str] = Counter()
        self.units = 0

    async def _ask(self, path: str, body: bytes) -> dict[str, Any]:
        async with self._session.post(self._url + path, data=body, headers=self._headers) as answer:
            if answer.status != 200:
                raise RuntimeError(f"{path}: {answer.status} {await answer.text()}")
            return msgspec.json.decode(await answer.read())

    async def open(self) -> None:
        """Accounts: one that has no floor, the hot one, and a hundred others."""
        for code, more in (("bank", {"unlimited": True}), ("hot", {}), *((f"other{n}", {}) for n in range(OTHERS))):
            await self._ask("/accounts", msgspec.json.encode({"code": f"x:{code}", "asset": "point", **more}))

    def _batch(self) -> tuple[bytes, int]:
        """A call's body, and the units that it brings to the hot account."""
        journals = []
        for n in range(SIZE):
            self._turn += 1
            debit, units = (f"x:other{n % OTHERS}", TOO_MUCH) if n % 10 == 0 else ("x:bank", 1 + n)
            line = {"debit": debit, "credit": "x:hot", "units": units, "asset": "point"}
            journals.append({"key": f"in:{self._turn:026d}", "transfers": [line]})
        return msgspec.json.encode({"journals": journals}), sum(1 + n for n in range(SIZE) if n % 10)

    async def play(self, seconds: float) -> Played:
        """CALLERS at a time, until so much time was spent in calls; bodies are made while the clock stands."""
        total = Played()
        while total.seconds < seconds:
            todo = [self._batch() for _ in range(CALLERS * 5)]
            begun = time.perf_counter()
            await asyncio.gather(*(self._caller(todo, total) for _ in range(CALLERS)))
            total.seconds += time.perf_counter() - begun
        return total

    async def _caller(self, todo: list[tuple[bytes, int]], total: Played) -> None:
        while todo:
            body, units = todo.pop()
            at = time.perf_counter()
            codes = Counter(a["code"] for a in (await self._ask("/journals", body))["answers"])
            total.ms.append((time.perf_counter() - at) * 1000)
            total.batches += 1
            total.booked += codes["created"]
            self.units += units
            if codes != _ANSWERS:
                self.wrong.update(codes)

    async def balance(self) -> int:
        """Of the hot account, as the API tells it."""
        async with self._session.get(f"{self._url}/accounts?limit=100", headers=self._headers) as answer:
            page = msgspec.json.decode(await answer.read())["data"]
            while not any(a["code"] == "x:hot" for a in page):
                last = page[-1]["id"]
                async with self._session.get(
                    f"{self._url}/accounts?limit=100&starting_after={last}", headers=self._headers
                ) as more:
                    page = msgspec.json.decode(await more.read())["data"]
            return int(next(a["balance"] for a in page if a["code"] == "x:hot"))


async def measured(quick: bool) -> tuple[Played, list[Check]]:
    """What such calls book, through an installation of its own that is removed again."""
    with (
        tempfile.TemporaryDirectory(prefix="guilder-bench-") as folder,
        installation.running(Path(folder) / "state") as it,
    ):
        if it.at.demo is None:
            raise RuntimeError("up made no merchant to try things with")
        async with aiohttp.ClientSession() as session:
            bulk = Bulk(it.at.api, it.at.demo.secret_key, session)
            await bulk.open()
            await bulk.play(0.2 if quick else 2)
            played = await bulk.play(1.5 if quick else 15)
            return played, [
                Check("HTTP: answers other than expected", {}, dict(bulk.wrong)),
                Check("HTTP: the hot account's balance", bulk.units, await bulk.balance()),
            ]
