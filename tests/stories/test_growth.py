"""`guilder storage` shows what grows, changes how long it is kept, within its limits, and takes months of the book out and back."""

import json
import os
import subprocess
import sys

import asyncpg
import pytest

from guilder.app import environments
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


async def test_an_operator_takes_a_month_out_of_the_book_and_brings_it_back(stack: Stack) -> None:
    """One that is empty: everybody pays in the present.  What full ones leave is in tests/ledger/test_detaching.py."""
    settings = stack.it.settings()
    owner = await asyncpg.connect(**environments.dsn(settings, environments.database_of("test"), "owner"))
    for table in ("journal", "transfer", "note", "refusal", "standing"):
        await owner.execute(f"SELECT platform.add_partition('ledger.{table}', '2024-02-01')")

    out = guilder(stack, "detach", "2024-02")
    assert (out.returncode, "2024-02 is archived" in out.stdout) == (0, True), out.stderr
    assert await owner.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'archive'") == 5
    again = guilder(stack, "detach", "2024-02")
    assert again.returncode == 1 and "no partitions of 2024-02" in again.stderr
    wrong = guilder(stack, "attach", "2024-01")
    assert wrong.returncode == 1 and "2024-03-01 comes back first" in wrong.stderr
    assert guilder(stack, "attach", "2024-02").stdout == "2024-02 is in the book again.\n"
    assert await owner.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'archive'") == 0
    for table in ("journal", "transfer", "note", "refusal", "standing"):
        await owner.execute(f"DROP TABLE ledger.{table}_2024_02")
    await owner.close()
