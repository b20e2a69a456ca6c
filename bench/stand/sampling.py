"""Where the time goes: statements as PostgreSQL counts them, Python functions as samples of CPU time show them.

The product is not touched: PostgreSQL gets pg_stat_statements at its start, the processes find `inside/sitecustomize.py`.
"""

import asyncio
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from guilder.app import domains, environments, installation
from guilder.platform import cluster, db, embedded, sql
from guilder.platform.embedded import Server
from stand import gauges
from stand.report import Table
from stand.scene import Act, Stage
from stand.traffic import Plan

PRELOAD = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track_planning": "on"}
STATEMENTS = """
SELECT query, calls, rows, total_exec_time + total_plan_time AS spent, total_plan_time
  FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
 WHERE d.datname = 'guilder_test' AND calls > 2
 ORDER BY total_exec_time + total_plan_time DESC
"""
SAMPLED = {"API": "api", "worker": "worker", "simulators": "simulators"}  # and how the processes' names begin
AUDITOR = "SELECT pid FROM pg_stat_activity WHERE application_name = 'guilder test reader'"
AUDITOR_FILE = "guilder/platform/audit.py"
AUDITED = "SELECT platform.at_of(id) >= $1 FROM platform.auditor WHERE name = 'fresh'"
PATIENCE_S = 120  # with an auditor that is behind
WIDTH = 90  # of what is shown of a statement or a function
# What PostgreSQL writes otherwise than we do where it names a statement, constants and lists of them; and what is left to tell it by.
CONSTANT = re.compile(r"'(?:[^']|'')*'|/\*.*?\*/|\$\d+|\b(?:true|false|null|interval)\b", re.IGNORECASE)
WORD = re.compile(r"[a-z_][\w.]*", re.IGNORECASE)


class Profile:
    """One profiled act."""

    def __init__(self, state: Path, folder: Path) -> None:
        self.state = state
        self.environ = {"PYTHONPATH": str(Path(__file__).parent / "inside"), "BENCH_SAMPLES": str(folder)}
        self._folder = folder
        self._act: Act | None = None
        self._statements: list[Any] = []
        self._audits: list[tuple[str, ...]] = []
        self._stacks: dict[str, Counter[tuple[str, ...]]] = {}

    def record(self, stage: Stage, plan: Plan) -> None:
        """Play a plan while everything is watched."""
        groups = {group: [n for n in stage.cast.names if n.startswith(begin)] for group, begin in SAMPLED.items()}
        names = [name for members in groups.values() for name in members]
        asyncio.run(_ask(self.state, "SELECT pg_stat_statements_reset()"))
        self._turn(stage, names)
        self._act = stage.play("profiled", plan)
        self._turn(stage, names)
        self._statements = asyncio.run(_ask(self.state, STATEMENTS))
        for group, members in groups.items():
            self._stacks[group] = sum((self._read(stage.cast.pid(name)) for name in members), Counter())

    def audited(self, stage: Stage, name: str, plan: Plan) -> tuple[Act, float]:
        """Play a plan; what share of the machine's CPU the auditor's connection took for it.

        The auditor is some seconds behind: what earlier acts left to it is waited for before, what this one leaves is counted in.
        """
        ours = {q.name.removeprefix("guilder.") for a in domains.AUDITS for q in (a.query, a.subjects) if q is not None}
        self._until_audited()
        asyncio.run(_ask(self.state, "SELECT pg_stat_statements_reset()"))
        begun, before = time.monotonic(), self._auditor_s()
        act = stage.play(name, plan)
        took_s, names = time.monotonic() - begun, _names()
        self._until_audited()
        after = self._auditor_s()
        if not after or set(before) - set(after):
            raise RuntimeError("the auditor's connection ended meanwhile: what it took is not known")
        took = sum(s - before.get(pid, 0.0) for pid, s in after.items()) / took_s / (os.cpu_count() or 1)
        shares: Counter[str] = Counter()
        calls: Counter[str] = Counter()
        for r in asyncio.run(_ask(self.state, STATEMENTS)):
            if (short := _short(names, r["query"])) in ours:
                shares[short] += r["spent"] / 1000 / took_s / (os.cpu_count() or 1)
                calls[short] += r["calls"]
        self._audits = [
            (n, str(calls[n]), f"{share * took_s * 1000 * (os.cpu_count() or 1) / calls[n]:.1f}", f"{share * 100:.3f}")
            for n, share in shares.most_common()
        ]
        self._audits.append(("all, elapsed (waits for a processor included)", "", "", f"{shares.total() * 100:.3f}"))
        self._audits.append(("all, CPU of their connection", "", "", f"{took * 100:.3f}"))
        return act, took

    def auditor_python(self, rate: float) -> float:
        """The same of the auditor's own code in the worker, at so many payments a second, by the samples of `record`."""
        assert self._act is not None
        stacks = self._stacks["worker"]
        seen = sum(n for stack, n in stacks.items() if any(f.startswith(AUDITOR_FILE) for f in stack))
        ms = sum(ms for name, ms in self._act.cpu_ms.items() if name.startswith(SAMPLED["worker"]))
        share = seen / max(1, stacks.total()) * ms * rate / 1000 / (os.cpu_count() or 1)
        self._audits.append(("all, CPU of their Python in the worker", "", "", f"{share * 100:.3f}"))
        return share

    def _auditor_s(self) -> dict[int, float]:
        return {row[0]: gauges.cpu_s(row[0]) for row in asyncio.run(_ask(self.state, AUDITOR))}

    def _until_audited(self) -> None:
        """Until the auditor has seen all there is by now.  RuntimeError if it never comes so far."""
        deadline, [row] = time.monotonic() + PATIENCE_S, asyncio.run(_ask(self.state, "SELECT now()"))
        while not asyncio.run(_ask(self.state, AUDITED, row[0]))[0][0]:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the auditor is behind by more than {PATIENCE_S} s")
            time.sleep(0.5)

    @staticmethod
    def _turn(stage: Stage, names: list[str]) -> None:
        for name in names:
            os.kill(stage.cast.pid(name), signal.SIGUSR2)

    def _read(self, pid: int) -> Counter[tuple[str, ...]]:
        file, deadline = self._folder / f"{pid}.stacks", time.monotonic() + 10
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        stacks: Counter[tuple[str, ...]] = Counter()
        for line in file.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            stacks[tuple(stack.split(";"))] += int(count)
        return stacks

    def tables(self) -> list[Table]:
        """What was seen, per payment."""
        assert self._act is not None
        tables = [
            Table(
                "The auditor's statements, in the open loop",
                ("statement", "calls", "ms a call", "% of the machine"),
                self._audits,
            ),
            self._of_statements(self._act),
        ]
        for group, begin in SAMPLED.items():
            cpu_ms = sum(ms for name, ms in self._act.cpu_ms.items() if name.startswith(begin))
            tables += _of_functions(group, self._stacks[group], cpu_ms)
        return tables

    def _of_statements(self, act: Act) -> Table:
        done, names = max(1, act.played.done), _names()

        def row(name: str, of: list[Any]) -> tuple[str, ...]:
            calls, rows, spent, planned = (
                sum(r[column] for r in of) for column in ("calls", "rows", "spent", "total_plan_time")
            )
            return (
                name, f"{calls / done:.2f}", f"{rows / max(1, calls):.1f}", f"{spent / max(1, calls):.2f}", f"{planned / done:.3f}",
                f"{spent / done:.3f}",
            )  # fmt: skip

        shown = [row(_short(names, r["query"]), [r]) for r in self._statements[:20]]
        head = ("statement", "calls a payment", "rows a call", "ms a call", "planning, ms a payment", "ms a payment")
        everything = row("all", self._statements)
        return Table("PostgreSQL: statements by time (elapsed, waits included)", head, [*shown, everything])


def _of_functions(group: str, stacks: Counter[tuple[str, ...]], cpu_ms: float) -> list[Table]:
    total = max(1, stacks.total())
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for stack, count in stacks.items():
        own[stack[-1]] += count
        for name in set(stack):
            within[name] += count

    def rows(counted: Counter[str], most: int) -> list[tuple[str, ...]]:
        return [
            (name[-WIDTH:], f"{100 * count / total:.1f}", f"{count / total * cpu_ms:.3f}")
            for name, count in counted.most_common(most)
        ]

    inner = Counter(
        {name: count for name, count in within.items() if name.startswith("guilder/") and count < 0.9 * total}
    )
    head = ("function", "% of CPU", "ms a payment")
    return [
        Table(f"{group}: {cpu_ms:.2f} ms a payment; functions by themselves and the C below them", head, rows(own, 25)),
        Table(f"{group}: functions of ours with all below them", head, rows(inner, 30)),
    ]


def _names() -> dict[str, str]:
    """The names of our queries, by their words."""
    queries = [query for package in domains.SCHEMAS for query in sql.load(package).all.values()]
    return {_words(query.text): query.name.removeprefix("guilder.") for query in queries}


def _flat(text: str) -> str:
    return " ".join(" ".join(line.partition("--")[0] for line in text.splitlines()).split()).rstrip(";")


def _words(text: str) -> str:
    return " ".join(WORD.findall(CONSTANT.sub(" ", _flat(text))))


def _short(names: dict[str, str], text: str) -> str:
    """The name of the query that this is, or its beginning."""
    return names.get(_words(text)) or _flat(text)[:WIDTH]


@contextmanager
def profiled(state: Path | None) -> Iterator[Profile]:
    """An installation's PostgreSQL, started with what counts statements; `scene.opened` finds it running and takes it."""
    with TemporaryDirectory(prefix="guilder-bench-") as made, TemporaryDirectory(prefix="guilder-samples-") as samples:
        folder = (state or Path(made)).absolute()
        databases = (environments.CONTROL, *map(environments.database_of, ("test", "live")))
        server = embedded.start(folder, settings=PRELOAD, databases=databases)
        asyncio.run(_ask(folder, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements", server=server))
        try:
            yield Profile(folder, Path(samples))
        finally:
            if state is None:
                installation.remove(folder)


async def _ask(state: Path, query: str, *args: object, server: Server | None = None) -> list[Any]:
    """As the superuser, who alone sees all statements."""
    server = server or Server(cluster.read(state), 0, cluster.passwords(state))
    async with db.connected(server.dsn("guilder_test", "postgres")) as connection:
        return list(await connection.fetch(query, *args))
