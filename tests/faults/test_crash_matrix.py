"""The crash matrix: at each failpoint, `kill -9` of the process and of PostgreSQL, under load, judged by the simulators' file.

One installation, fsync on.  Payers keep more than a hundred payments in flight; a cell arms its failpoint, waits until it fires, looks at
the state at death of the very payment that was there, and lets the payers go on.  At the end the load stops, everything settles, and
G1 to G11 are judged against the channel's own book.
"""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from load import Load
from oracle import channel_book, judge, replay, settled

from guilder.core import ids
from guilder.platform import failpoints
from guilder.platform.db import DatabaseError
from guilder.platform.sql import Query
from stack import Stack, running

pytestmark = [pytest.mark.anyio, pytest.mark.alone, pytest.mark.timeout(2400)]
PAYERS = 160
IN_FLIGHT = 100
PROGRESS = 20

# A callback may tell what a query, an answer or another callback has told before; of a way that answers at once (a card) and of whatever
# needs no payer, it may be faster than the answer itself.
HEARD: set[str | None] = {"unknown", "pending", "authorised", "succeeded", "surplus", "closed", "failed", "paid"}
ANSWERS_AT_ONCE = "stripe"

# What must be true of the attempt (refund, payout) the moment its process died there: its states in our database, and whether the channel has it.
AT_DEATH: dict[str, tuple[set[str | None], set[bool]]] = {
    "pay.idem_claimed": ({None}, {False}),
    "pay.row_committed": ({"unknown"}, {False}),
    "pay.before_channel": ({"unknown"}, {False}),
    "pay.after_channel": ({"unknown"}, {True}),
    "pay.before_settle_tx": ({"unknown"}, {True}),
    "pay.in_tx_before_post": ({"unknown"}, {True}),
    "pay.in_tx_after_post": ({"unknown"}, {True}),
    "pay.before_commit": ({"unknown"}, {True}),
    "front.claimed": ({"unknown"}, {False}),
    "front.asked": ({"unknown"}, {True}),
    "refund.idem_claimed": ({None}, {False}),
    "refund.row_committed": ({"unknown"}, {False}),
    "refund.before_channel": ({"unknown"}, {False}),
    "refund.after_channel": (HEARD, {True}),
    "refund.in_tx_before_post": (HEARD, {True}),
    "refund.in_tx_after_post": (HEARD, {True}),
    "refund.before_commit": (HEARD, {True}),
    "payout.claimed": ({None}, {False}),
    "payout.before_channel": ({"unknown"}, {False}),
    "payout.after_channel": (HEARD, {True}),
    "payout.in_tx": (HEARD, {True}),
    "payout.before_commit": (HEARD, {True}),
    "cap.before_channel": ({"authorised"}, {True}),
    "cap.after_channel": ({"authorised", "succeeded"}, {True}),
    "ntf.verified": (HEARD, {True}),
    "ntf.in_tx": (HEARD, {True}),
    "ntf.before_commit": (HEARD, {True}),
}
STATE = Query(
    "state",
    "SELECT coalesce((SELECT state FROM payments.attempt WHERE id = $1), (SELECT state FROM payments.refund WHERE id = $1),"
    "                (SELECT state FROM payouts.payout WHERE id = $1)) AS state,"
    "       (SELECT channel FROM payments.attempt WHERE id = $1) AS channel",
)


class Matrix:
    """The cells of one installation."""

    def __init__(self, stack: Stack, folder: Path, load: Load, db: Any) -> None:
        self.stack, self.folder, self.load, self.db = stack, folder, load, db
        self.covered: list[str] = []

    async def cell(self, name: str, victim: str) -> None:
        """Arm, wait for the death, look, and let it go on."""
        deadline = time.monotonic() + 150
        progress = len(self.load.told) + PROGRESS  # the payers get on between two deaths
        while self.load.in_flight < IN_FLIGHT or len(self.load.told) < progress:
            self.load.check()
            assert time.monotonic() < deadline, f"only {self.load.in_flight} payments in flight"
            await asyncio.sleep(0.01)
        fired = self.folder / f"{name}.fired"
        fired.unlink(missing_ok=True)
        server = await self._postmaster()
        action = f"kill {server}" if victim == "PostgreSQL" else "kill"
        new = self.folder / f"{name}.new"
        new.write_text(action)
        new.rename(self.folder / name)
        while not fired.exists() or len(fired.read_text().splitlines()) < 2:
            self.load.check()
            assert time.monotonic() < deadline, f"{name} was not reached"
            await asyncio.sleep(0.002)
        flying = self.load.in_flight
        pid, about, _ = fired.read_text().splitlines()[1].split()
        await self._dead(int(pid) if victim == "process" else server, deadline)
        if victim == "process" and about != "-":
            await self._look(name, UUID(about))
        self.covered.append(f"{name} x {victim}")
        print(f"  {name:24} {victim:10} pid {pid:>7}, {flying} in flight", flush=True)

    async def _postmaster(self) -> int:
        """The database server's process, once it is up again from the cell before."""
        home = Path(json.loads((self.stack.it.state / "cluster.json").read_text())["home"])
        while True:
            try:
                lines = (home / "data" / "postmaster.pid").read_text().splitlines()
                if lines[7].strip() == "ready" and _alive(int(lines[0])):
                    return int(lines[0])
            except (FileNotFoundError, IndexError):
                pass
            await asyncio.sleep(0.02)

    async def _dead(self, pid: int, deadline: float) -> None:
        while _alive(pid):
            assert time.monotonic() < deadline, f"process {pid} lives on"
            await asyncio.sleep(0.002)

    async def _row(self, about: UUID) -> Any:
        while True:
            try:
                return await self.db.row(STATE, about)
            except DatabaseError:  # PostgreSQL recovers from the cell before this one
                await asyncio.sleep(0.05)

    async def _look(self, name: str, about: UUID) -> None:
        """The state at death, in our database and at the channel."""
        if name not in AT_DEATH:
            return
        row = await self._row(about)
        key = ids.mint_key(about, self.load.shop.book_id)
        book = channel_book(self.stack.it.state, set(self.load.shop.demo.simulated.values()))
        states, there = AT_DEATH[name]
        if row["channel"] == ANSWERS_AT_ONCE and there == {True} and not name.startswith("cap."):
            states = HEARD
        assert row["state"] in states, f"{name}: {row['state']} at death"
        assert (key in book) in there, f"{name}: at the channel: {True not in there}"


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def _run(stack: Stack, folder: Path, cells: list[tuple[str, str]], seed: int) -> None:
    shop = await stack.merchant(channels=("wechatpay", "alipay", "stripe"))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http, stack.world() as world:
        load = Load(shop, PAYERS, seed, http, think_s=0.05, more=True)
        await load.start()
        try:
            matrix = Matrix(stack, folder, load, world.envs["test"].db)
            for name, victim in cells:
                await matrix.cell(name, victim)
            await load.stop()
            now = await settled(load, within_s=240)
            counted = judge(load, now)
            replayed = await replay(load)
        finally:
            await load.close()
        print(
            f"cells covered: {len(matrix.covered)} of {len(cells)}; asked again {dict(load.retries)}; replayed {replayed}"
        )
        print("compared:", counted)
        assert len(matrix.covered) == len(cells)


# Nobody is elsewhere here (one account of each channel, and all of them answer), and no refund is sent elsewhere by hand: those places
# are test_elsewhere_kills.py's and test_rescue_kills.py's.
PLACES = [name for name in failpoints.NAMES if not name.startswith(("pay.elsewhere", "rescue."))]
CELLS = [(name, victim) for name in PLACES for victim in ("process", "PostgreSQL")]


async def test_G1_to_G11_hold_after_a_kill_at_every_failpoint(tmp_path: Path) -> None:
    folder = tmp_path / "failpoints"
    folder.mkdir()
    chosen = os.environ.get("CELLS")
    cells = [c for c in CELLS if not chosen or c[0].startswith(tuple(chosen.split(",")))]
    with running(tmp_path / "state", GUILDER_FAILPOINTS=str(folder), GUILDER_API_WORKERS="2") as stack:
        try:
            await _run(stack, folder, cells, seed=int(os.environ.get("SEED", "1")))
        except BaseException:
            print(_errors(stack.it.state / "logs"))
            raise


def _errors(logs: Path) -> str:
    """The different errors that the processes logged, each with the end of its traceback."""
    found: dict[str, str] = {}
    for file in sorted(logs.glob("*.log")):
        for line in file.read_text(errors="replace").splitlines():
            if '"level":"error"' in line:
                entry = json.loads(line)
                end = entry.get("trace", "")[-1500:]
                found.setdefault(end[-200:] or entry["message"], f"{file.name} {entry['at']} {entry['message']}\n{end}")
    return "\n".join(found.values())
