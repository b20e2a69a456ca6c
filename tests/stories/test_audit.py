"""The auditor at work: the worker tells of what contradicts itself within a minute, and the command line at once."""

import os
import re
import subprocess
import sys
import time
import urllib.request

import pytest

from guilder.core import ids
from guilder.platform.sql import Query
from stack import Stack, eventually

pytestmark = pytest.mark.anyio

SET = Query("set", "UPDATE payments.charge SET refunded = $3 WHERE book_id = $1 AND id = $2")
CASES = Query("cases", "SELECT subject, state, evidence FROM platform.case WHERE book_id = $1 AND kind = 'drift'")


def audit(stack: Stack) -> subprocess.CompletedProcess[str]:
    """`guilder audit`, over everything."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("GUILDER_")} | stack.it.environ
    return subprocess.run(
        [sys.executable, "-m", "guilder.app.cli", "audit"], env=ours, capture_output=True, text=True, check=False, timeout=60
    )  # fmt: skip


def measured(stack: Stack, name: str) -> float:
    """A metric of the worker's."""
    with urllib.request.urlopen(stack.it.at.metrics + "/metrics", timeout=10) as answer:
        found = re.search(rf"^{re.escape(name)}\S* (\S+)$", answer.read().decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


async def test_a_forged_charge_is_told_within_a_minute(stack: Stack) -> None:
    shop = await stack.merchant()
    v1 = shop.client().v1
    pi = v1.payment_intents.create(
        {
            "amount": 1250,
            "currency": "cny",
            "payment_method_types": ["wechat_pay"],
            "confirm": True,
            "payment_method_data": {"type": "wechat_pay"},
        }
    )
    stack.pay(pi.next_action)
    paid = await eventually(lambda: (i := v1.payment_intents.retrieve(pi.id)).status == "succeeded" and i)
    charge = ids.read("ch", str(paid.latest_charge))
    async with stack.world() as world:
        db = world.envs["test"].db
        assert str(paid.latest_charge) not in audit(stack).stdout

        await db.transact(lambda tx: tx.run(SET, shop.book_id, charge, 50))
        v1.refunds.create({"payment_intent": pi.id, "amount": 100})  # what moves is looked at as a whole
        moved_at = time.monotonic()
        told = audit(stack)
        [case] = await eventually(lambda: db.rows(CASES, shop.book_id), within_s=60)
        took_s = time.monotonic() - moved_at
        await eventually(lambda: measured(stack, 'guilder_drift_open{env="test"}') >= 1)
        until = measured(stack, 'guilder_audited_until_seconds{env="test",kind="fresh"}')
        await db.transact(lambda tx: tx.run(SET, shop.book_id, charge, 100))

    assert (told.returncode, str(paid.latest_charge) in told.stdout) == (1, True), told.stdout + told.stderr
    assert case["subject"] == f"G6 a charge counts its refunds: {paid.latest_charge}"
    assert took_s < 60
    assert time.time() - until < 60
