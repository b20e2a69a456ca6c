"""Row by row: the yardstick.  16 connections, each transfer a transaction of its own, on plain tables in the same server.

A transaction locks both accounts in the order of their ids, checks the floor, writes the transfer, updates both balances, commits.
The load comes twice: through the driver that Guilder itself uses, from one process, as our batches do; and from PostgreSQL's own pgbench
(C, prepared statements), which spends a fraction of what the server does, and shows what the server could do for anybody.
"""

import asyncio
import os
import random
import re
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncpg

from guilder.platform import cluster
from guilder.platform.db import connected
from stand.bare import NAME, Bare
from stand.posters import FUNDS, OTHERS, Played

CONNECTIONS = 16
TABLES = """
DROP SCHEMA IF EXISTS row_by_row CASCADE;
CREATE SCHEMA row_by_row;
CREATE TABLE row_by_row.account (
    id bigint PRIMARY KEY, balance bigint NOT NULL, floor bigint NOT NULL, CHECK (balance >= floor)
) WITH (fillfactor = 50);
CREATE TABLE row_by_row.transfer (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, debit_id bigint NOT NULL, credit_id bigint NOT NULL, units bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
"""
FILL = "INSERT INTO row_by_row.account SELECT n, {funds}, 0 FROM generate_series(1, {accounts}) AS n; ANALYZE row_by_row.account;"
ENDS = {  # account 1 is the hot one
    True: """
\\set other random(2, {others} + 1)
\\set way random(0, 1)
\\set debit case when :way = 0 then 1 else :other end
\\set credit case when :way = 0 then :other else 1 end
""",
    False: """
\\set debit random(1, {accounts})
\\set credit 1 + (:debit - 1 + random(1, {accounts} - 1)) % {accounts}
""",
}
TRANSFER = """
\\set units random(1, 1000)
BEGIN;
SELECT bool_and(id <> :debit OR balance - :units >= floor) AS enough FROM (
    SELECT id, balance, floor FROM row_by_row.account WHERE id IN (:debit, :credit) ORDER BY id FOR UPDATE) AS locked \\gset
\\if :enough
INSERT INTO row_by_row.transfer (debit_id, credit_id, units) VALUES (:debit, :credit, :units);
UPDATE row_by_row.account SET balance = balance - :units WHERE id = :debit;
UPDATE row_by_row.account SET balance = balance + :units WHERE id = :credit;
\\endif
COMMIT;
"""
LOCK = "SELECT id, balance, floor FROM row_by_row.account WHERE id IN ($1, $2) ORDER BY id FOR UPDATE"
INSERT = "INSERT INTO row_by_row.transfer (debit_id, credit_id, units) VALUES ($1, $2, $3)"
UPDATE = "UPDATE row_by_row.account SET balance = balance + $2 WHERE id = $1"
UNBALANCED = """
SELECT count(*) FROM row_by_row.account a
  JOIN (SELECT id, sum(units) AS units FROM (SELECT credit_id AS id, units FROM row_by_row.transfer
                                             UNION ALL SELECT debit_id, -units FROM row_by_row.transfer) AS ends GROUP BY id) AS m USING (id)
 WHERE a.balance <> {funds} + m.units
"""


class Rows:
    """The tables, and who works on them."""

    def __init__(self, it: Bare, accounts: int) -> None:
        self._it = it
        self._accounts = accounts
        self.done = 0

    @classmethod
    async def made(cls, it: Bare, accounts: int) -> "Rows":
        """Tables of its own, with accounts that have funds."""
        async with connected(it.server.dsn(NAME, "owner")) as connection:
            await connection.execute(TABLES + FILL.format(accounts=accounts, funds=FUNDS))
        return cls(it, accounts)

    async def play(self, hot: bool, seconds: float) -> Played:
        """For so long, through our own driver."""
        rng, total = random.Random(self.done), Played()

        async def caller(connection: Any) -> None:
            while (at := time.perf_counter()) < begun + seconds:
                debit, credit = self._ends(rng, hot)
                done = await _transfer(connection, debit, credit, rng.randint(1, 1000))
                total.booked += done
                total.ms.append((time.perf_counter() - at) * 1000)

        async with asyncpg.create_pool(
            **self._it.server.dsn(NAME, "owner"), min_size=CONNECTIONS, max_size=CONNECTIONS
        ) as pool:
            connections = [await pool.acquire() for _ in range(CONNECTIONS)]
            cpu, begun = time.process_time(), time.perf_counter()
            await asyncio.gather(*map(caller, connections))
            total.seconds, total.cpu_s = time.perf_counter() - begun, time.process_time() - cpu
            for connection in connections:
                await pool.release(connection)
        total.batches = total.booked
        self.done += total.booked
        return total

    def _ends(self, rng: random.Random, hot: bool) -> tuple[int, int]:
        """Account 1 is the hot one."""
        if hot:
            other = rng.randint(2, OTHERS + 1)
            return (1, other) if rng.random() < 0.5 else (other, 1)
        debit = rng.randint(1, self._accounts)
        return debit, 1 + (debit - 1 + rng.randint(1, self._accounts - 1)) % self._accounts

    async def play_pgbench(self, hot: bool, seconds: float) -> Played:
        """For so long, whole seconds, from pgbench.  RuntimeError if it fails."""
        played = await asyncio.to_thread(self._pgbench, hot, max(1, round(seconds)))
        self.done += played.booked
        return played

    def _pgbench(self, hot: bool, seconds: int) -> Played:
        with tempfile.TemporaryDirectory(prefix="guilder-bench-rows-") as folder:
            script = Path(folder) / "transfer.sql"
            script.write_text(ENDS[hot].format(others=OTHERS, accounts=self._accounts) + TRANSFER)
            dsn = self._it.server.dsn(NAME, "owner")
            argv = [
                cluster.programs() / "pgbench", "-n", "-M", "prepared", "-c", CONNECTIONS, "-j", 2, "-T", seconds, "-f", script,
                "-l", f"--log-prefix={folder}/log", "-h", dsn["host"], "-p", dsn["port"], "-U", dsn["user"], dsn["database"],
            ]  # fmt: skip
            environ = {"PATH": os.defpath, "PGPASSWORD": dsn["password"]}
            cpu = _children_s()
            ran = subprocess.run(list(map(str, argv)), env=environ, capture_output=True, text=True, check=False)
            cpu = _children_s() - cpu
            if ran.returncode or "number of failed transactions: 0 " not in ran.stdout:
                raise RuntimeError(f"pgbench: {ran.stdout}{ran.stderr[-500:]}")
            done = int(_said(r"actually processed: (\d+)", ran.stdout))
            rate = float(_said(r"tps = ([\d.]+)", ran.stdout))
            lines = [line for log in Path(folder).glob("log.*") for line in log.read_text().splitlines()]
        return Played(done, done / rate, cpu, done, [int(line.split()[2]) / 1000 for line in lines])

    async def faults(self) -> tuple[int, int]:
        """Transfers that are missing or too many, and accounts that are not the sum of theirs."""
        there = int(await self._it.ask("SELECT count(*) FROM row_by_row.transfer"))
        return there - self.done, int(await self._it.ask(UNBALANCED.format(funds=FUNDS)))


async def _transfer(connection: Any, debit: int, credit: int, units: int) -> int:
    """One transfer in a transaction of its own; 0 if there are not the funds."""
    async with connection.transaction():
        enough = all(
            r["id"] != debit or r["balance"] - units >= r["floor"] for r in await connection.fetch(LOCK, debit, credit)
        )
        if enough:
            await connection.execute(INSERT, debit, credit, units)
            await connection.execute(UPDATE, debit, -units)
            await connection.execute(UPDATE, credit, units)
    return int(enough)


def _said(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"pgbench said {text}")
    return found[1]


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
