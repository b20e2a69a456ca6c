"""The bare server: PostgreSQL as `up` starts it, the schema, one process that posts, and the gauges on it.

async with bare.opened(state) as it:
    measured = await it.measure(course, seconds=5)
"""

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guilder.app import domains
from guilder.platform import embedded, schema
from guilder.platform.db import Database, connected
from guilder.platform.embedded import Server
from stand.gauges import Cast, percentile
from stand.posters import Played

NAME = "guilder_bench"
SETTINGS = ("server_version", "fsync", "synchronous_commit", "shared_buffers", "wal_level")


@dataclass
class Course:
    """Something to be measured, in turns with others, and what came of it so far."""

    way: str
    on: str
    journals: str
    play: Callable[[float], Awaitable[Played]]
    weight: float = 1.0  # of its turns
    total: Played = field(default_factory=Played)
    wal_bytes: int = 0
    postgres_s: float = 0.0

    @property
    def tps(self) -> float:
        """Transfers booked a second; what was refused is not counted."""
        return self.total.booked / self.total.seconds if self.total.seconds else 0.0

    @property
    def cpu_us(self) -> float:
        """Of caller and PostgreSQL together, a transfer."""
        return self.each(self.total.cpu_s + self.postgres_s) * 1e6

    def each(self, whole: float) -> float:
        """Whatever it is, a transfer."""
        return whole / max(1, self.total.booked)

    def ms(self, percent: float) -> float:
        """A percentile of its times."""
        return percentile(sorted(self.total.ms), percent)

    def figures(self) -> dict[str, Any]:
        """For programs."""
        return {
            "way": self.way, "on": self.on, "journals": self.journals, "tps": round(self.tps, 1), "p50_ms": round(self.ms(50), 2),
            "p99_ms": round(self.ms(99), 2), "wal_bytes": round(self.each(self.wal_bytes)),
            "caller_cpu_us": round(self.each(self.total.cpu_s) * 1e6, 1),
            "postgres_cpu_us": round(self.each(self.postgres_s) * 1e6, 1), "booked": self.total.booked,
            "caller_cores": round(self.total.cpu_s / self.total.seconds, 2) if self.total.seconds else 0.0,
        }  # fmt: skip


@dataclass
class Bare:
    """A server with nothing on it but us."""

    server: Server
    db: Database
    settings: dict[str, str]
    cast: Cast
    _watch: Any  # a connection of the superuser

    async def ask(self, query: str, *args: object) -> Any:
        """The first value of a query, asked by the superuser."""
        return await self._watch.fetchval(query, *args)

    async def row(self, query: str, *args: object) -> Any:
        """The first row."""
        return await self._watch.fetchrow(query, *args)

    async def run(self, script: str) -> None:
        """Statements of the superuser."""
        await self._watch.execute(script)

    async def measure(self, course: Course, seconds: float) -> None:
        """Give a course its turn.  It begins with a checkpoint, so that everybody writes the same images of whole pages."""
        await self.run("CHECKPOINT")
        wal, cpu = await self._wal(), self.cast.cpu_s()["postgresql"]
        played = await course.play(seconds * course.weight)
        course.wal_bytes += await self._wal() - wal
        course.postgres_s += self.cast.cpu_s()["postgresql"] - cpu
        total = course.total
        total.booked += played.booked
        total.seconds += played.seconds
        total.cpu_s += played.cpu_s
        total.batches += played.batches
        total.ms += played.ms

    async def _wal(self) -> int:
        return int(await self.ask("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint"))

    async def bytes(self) -> int:
        """Of the database, on disk."""
        return int(await self.ask("SELECT pg_database_size(current_database())"))


@asynccontextmanager
async def opened(state: Path | None) -> AsyncIterator[Bare]:
    """The server, for the length of a block.  With `state` its data is kept there; else it is a temporary one."""
    async with AsyncExitStack() as after:
        folder = state or Path(after.enter_context(tempfile.TemporaryDirectory(prefix="guilder-bench-")))
        server = embedded.start(folder, databases=(NAME,), say=lambda _: None)
        after.callback(server.stop if state else lambda: embedded.destroy(folder))
        await schema.apply(server.dsn(NAME, "owner"), schema.script(domains.SCHEMAS))
        db = await Database(NAME, server.dsn(NAME, "app")).open()
        after.push_async_callback(db.close)
        watch = await after.enter_async_context(connected(server.dsn(NAME, "postgres")))
        settings = {name: await watch.fetchval(f"SHOW {name}") for name in SETTINGS}
        yield Bare(server, db, settings, Cast({}, server.pid), watch)
