"""Whoever dies on the way, and whoever comes at the same time: one statement, one outcome."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from guilder.platform import embedded
from guilder.reconciliation.reconcile import settle
from reconciliation.bill import Row, bill, text
from reconciliation.merchant import DAY, Merchant, at, found, told

pytestmark = pytest.mark.anyio
COUNTS = """
SELECT (SELECT count(*) FROM reconciliation.statement WHERE book_id = $1), (SELECT count(*) FROM reconciliation.line WHERE book_id = $1),
       (SELECT count(*) FROM reconciliation.match WHERE book_id = $1), (SELECT count(*) FROM reconciliation.break WHERE book_id = $1)"""
LEFT = {  # where it dies -> what is there then: statements, lines, matches, breaks
    ("lines", 4000): (0, 0, 0, 0),
    ("match", 0): (1, 6000, 0, 0),
    ("match", 1): (1, 6000, 5999, 1),  # the stranger's break lies in the account's own book
}


@pytest.mark.parametrize("where", LEFT, ids=lambda w: f"{w[0]} {w[1]}")
async def test_R3_who_is_killed_is_followed_by_one_who_ends_the_same(
    wechat: Merchant, database: embedded.Server, tmp_path: Path, where: tuple[str, int]
):
    pairs = [wechat.attempt(100 + n) for n in range(6000)]
    await wechat.save(pairs)
    rows = [Row(wechat.key(a), a.amount, at("12:00")) for _, a in pairs[1:]] + [Row("STRANGER", 5, at("12:00"))]
    file = tmp_path / "bill.csv"
    file.write_bytes(text(rows))
    orders = {
        "dsn": database.dsn("guilder_test", "app"), "control": database.dsn("guilder_control", "app"),
        "account": str(wechat.account.id), "file": str(file), "day": str(DAY),
        "step": where[0], "done": where[1],
    }  # fmt: skip

    died = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "reconciliation.dying"], input=json.dumps(orders).encode(),
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}, timeout=60,
    )  # fmt: skip

    assert died.returncode == -signal.SIGKILL
    async with wechat.env.db._connection() as connection:
        assert tuple(await connection.fetchrow(COUNTS, wechat.book)) == LEFT[where]
    report = await settle(wechat.env, wechat.account, bill(rows, DAY))
    assert (report.version, report.matched.payments) == (1, 5999)
    assert found(report) == told(("missing_channel", pairs[0][1]), ("missing_local", "STRANGER"))


async def test_ten_runs_at_once_are_one(wechat: Merchant):
    paid, gone = await wechat.pays(100), await wechat.has(200)
    await wechat.closes()

    reports = await asyncio.gather(*(wechat.reconciles() for _ in range(10)))

    assert all(r == reports[0] for r in reports)
    assert (reports[0].version, reports[0].matched.paid) == (1, paid.amount)
    assert found(reports[0]) == told(("missing_channel", gone))
