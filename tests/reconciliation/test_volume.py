"""A large day: 200,000 lines against as many records, in bounded memory."""

import gzip
import hashlib
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from guilder.channels.wechatpay.statement import read_statement
from guilder.core import ids
from guilder.platform import db, embedded
from guilder.reconciliation.reconcile import settle
from reconciliation.bill import Row, text
from reconciliation.merchant import DAY, Merchant, at, found, told

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
LINES = 200_000
MIB = 1 << 20
INTENTS = """
INSERT INTO payments.intent (book_id, id, version, status, amount, currency, types, extra, late_success, root_id, business_line, created_at)
SELECT $1, i, 1, 'succeeded', 100, 'CNY', '{}', '{}', 'refund', i, '', $3 FROM unnest($2::uuid[]) AS i"""
ATTEMPTS = """
INSERT INTO payments.attempt (book_id, id, intent_id, channel_account_id, channel, way, state, amount, currency, expires_at, paid_at,
                              root_id, business_line, created_at)
SELECT $1, i, i, $4, 'wechatpay', 'native', 'succeeded', 100, 'CNY', $3, $3, i, '', $3 FROM unnest($2::uuid[]) AS i"""


def peak(reset: bool = False) -> int:
    """The most memory that this process has had since the last reset, in bytes (Linux)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    [line] = [n for n in Path("/proc/self/status").read_text().splitlines() if n.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


async def fill(database: embedded.Server, merchant: Merchant, keys: list[Any]) -> None:
    async with db.connected(database.dsn("guilder_test", "owner")) as connection:
        for n in range(0, len(keys), 20_000):
            await connection.execute(INTENTS, merchant.book, keys[n : n + 20_000], at("12:00"))
            await connection.execute(ATTEMPTS, merchant.book, keys[n : n + 20_000], at("12:00"), merchant.account.id)


async def test_200_000_lines(wechat: Merchant, database: embedded.Server, capsys: pytest.CaptureFixture[str]):
    ours = [ids.new_id() for _ in range(LINES)]
    await fill(database, wechat, ours)
    listed = ours[1:]  # one is missing there
    noon = at("12:00")
    raw = text(
        Row(ids.mint_key(k, wechat.book), 100, noon + timedelta(seconds=n % 30_000)) for n, k in enumerate(listed)
    )
    sha1, packed = hashlib.sha1(raw).hexdigest(), gzip.compress(raw, 1)
    size = len(raw)
    del raw
    before = peak(reset=True)
    started = time.monotonic()

    statement = read_statement(DAY, packed, sha1)
    read = time.monotonic()
    moments: dict[tuple[str, int], float] = {}
    report = await settle(
        wechat.env, wechat.account, statement, lambda step, done, _: moments.update({(step, done): time.monotonic()})
    )

    ended = time.monotonic()
    grown = peak() - before
    with capsys.disabled():
        print(
            f"\n{LINES:,} lines, {size / MIB:.0f} MiB: read and checked in {read - started:.1f} s, taken in in "
            f"{moments['match', 0] - read:.1f} s, matched in {moments['match', 1] - moments['match', 0]:.1f} s, "
            f"reported in {ended - moments['match', 1]:.1f} s; memory grew by {grown / MIB:.0f} MiB; {os.cpu_count()} cores"
        )
    assert found(report) == told(("missing_channel", ids.text(ours[0])))
    assert report.matched.payments == LINES - 1
    assert grown < size * 2 + 100 * MIB  # the file, what is checked and packed of it, and a chunk of lines
