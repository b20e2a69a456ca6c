"""`guilder storage` shows what grows and changes how long it is kept, within its limits."""

import json
import os
import subprocess
import sys

import pytest

from stack import Stack

pytestmark = pytest.mark.anyio


def guilder(stack: Stack, *words: str) -> subprocess.CompletedProcess[str]:
    ours = {k: v for k, v in os.environ.items() if not k.startswith("GUILDER_")} | stack.it.environ
    return subprocess.run(
        [sys.executable, "-m", "guilder.app.cli", "storage", *words], env=ours, capture_output=True, text=True, check=False, timeout=60
    )  # fmt: skip


async def test_an_operator_reads_what_grows_and_keeps_it_longer_never_too_short(stack: Stack) -> None:
    shop = await stack.merchant("Storage")
    shop.client().v1.customers.create({"email": "a@example.com"})

    shown = guilder(stack)
    assert shown.returncode == 0, shown.stderr
    assert "platform.event" in shown.stdout and "for ever" in shown.stdout
    assert guilder(stack, "keep", "platform.event", "800").stdout == "platform.event is kept 800 days.\n"
    tables = {t["table"]: t for t in json.loads(guilder(stack, "--json").stdout)}
    assert (tables["platform.event"]["keep_days"], tables["ledger.journal"]["keep_days"]) == (800, None)
    assert any(p["used"] and p["bytes"] for p in tables["platform.event"]["partitions"])

    for table, days, why in (
        ("platform.event", "30", "90 days at least"), ("ledger.journal", "4000", "for ever"), ("platform.event", "soon", "no number"),
    ):  # fmt: skip
        refused = guilder(stack, "keep", table, days)
        assert refused.returncode == 1 and why in refused.stderr, refused.stderr
