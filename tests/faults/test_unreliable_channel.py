"""Every fault that the simulators can play, many times, under load: and the books agree with the channels' own.

Each payment may carry a dial of its own, taken in turn, so that every kind strikes at least fifty times and at more than one payment in a
hundred.  Nothing is killed here; the channel is merely unreliable, in every way that channels are.
"""

import asyncio
import time
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
from load import Load
from oracle import judge, settled

from stack import Stack, running

pytestmark = [pytest.mark.anyio, pytest.mark.alone, pytest.mark.timeout(1200)]
FIRINGS = 50
PAYERS = 60

# As a test token spells them: an operation and its dial, where the dial strikes another one than the create.
DIALS = (
    "delay=1", "silence_before", "silence_after", "hang_before", "hang_after", "error_before", "error_after", "garbage", "bad_signature",
    "callback_lost", "callback_duplicate", "callback_late=3", "callback_forged", "wrong_amount", "paid_without_callback", "decline",
    "autopay", "refund-refund_fail", "refund-refund_processing=2", "refund-error_after", "refund-silence_before", "close-late_success",
    "callback_reordered=5", "query-garbage,callback_lost",
)  # fmt: skip


async def test_every_dial_strikes_fifty_times_and_no_money_is_lost(tmp_path: Path) -> None:
    with running(tmp_path / "state", GUILDER_API_WORKERS="2") as stack:
        shop = await stack.merchant()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            load = Load(shop, PAYERS, 7, http, think_s=0.02, dials=DIALS)
            await load.start()
            try:
                fired = await _until_all_fired(stack, load)
                await load.stop()
                now = await settled(load, within_s=240)
                counted = judge(load, now)
            finally:
                await load.close()
    payments = len(now.attempts)
    print("\nfirings:", ", ".join(f"{kind} {n} ({n / payments:.1%})" for kind, n in sorted(fired.items())))
    print("compared:", counted, "cases:", dict(Counter(c["kind"] for c in now.cases)))
    assert all(n >= payments / 100 for n in fired.values()), "each kind strikes at one payment in a hundred at least"


async def _until_all_fired(stack: Stack, load: Load) -> Counter[str]:
    kinds = {d.partition("=")[0].rpartition("-")[2] for text in DIALS for d in text.split(",")}
    deadline = time.monotonic() + 600
    while True:
        fired: Counter[str] = Counter()
        for account in load.shop.demo.simulated.values():
            for kind, n in stack.simulator(f"/sim/fired?account={account}")["fired"].items():
                fired[kind.rpartition(":")[2]] += n
        missing = {k: fired[k] for k in kinds if fired[k] < FIRINGS}
        if not missing:
            return Counter({k: fired[k] for k in kinds})
        assert time.monotonic() < deadline, f"not often enough: {missing}"
        load.favour(missing)
        await asyncio.sleep(1)
