"""An environment is a database: `test` against the simulators, `live` against real channels, and whatever an operator adds.

Everything that a use case with a stranger in it needs stands here (`rt` in signatures): the pool, the batch lanes, the wire, the keys.
One `Env` per environment and process; an `Env` never sees another's data.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from guilder.platform import wire
from guilder.platform.batch import Lane, Limits, Work
from guilder.platform.crypto import Keyring
from guilder.platform.db import Database, DatabaseError
from guilder.platform.health import Health
from guilder.platform.settings import Settings
from guilder.platform.sql import load
from guilder.platform.wire import Message, Wire

Q = load(__package__)
I = TypeVar("I")  # noqa: E741 - item
O = TypeVar("O")  # noqa: E741 - outcome
V = TypeVar("V")
log = logging.getLogger("guilder.environment")

POLL_S = 0.3
FRESH_S = (
    0.9  # what was loaded before the last look at the revision is used no longer than this: a key dies within a second
)


@dataclass(frozen=True, slots=True, eq=False)
class LaneSpec(Generic[I, O]):
    """A use case that runs in batches: its name and its work."""

    name: str
    work: Work[I, O]
    durable: bool = True
    spread: bool = False  # see batch.Limits


class Cache:
    """What rarely changes, kept until the control revision moves.

    While the control database cannot be looked at, nothing cached is used: a revoked key fails closed.  However many want the same thing
    at once, it is asked for once: a crowd that finds nothing kept must not be what keeps the database from answering.
    """

    def __init__(self, revision: Callable[[], Awaitable[int]]) -> None:
        self._look = revision
        self._values: dict[Hashable, Any] = {}
        self._revision = -1
        self._seen_at = float("-inf")
        self._looking: tuple[float, asyncio.Task[None]] | None = None  # since when
        self._loading: dict[Hashable, asyncio.Task[Any]] = {}  # all of this revision

    async def get(self, key: Hashable, load: Callable[[], Awaitable[V]]) -> V:
        """The value of `key`, loaded at most once per revision."""
        if time.monotonic() - self._seen_at > FRESH_S:
            await self.refresh()
        if key in self._values:
            return self._values[key]
        loading = self._loading.get(key)
        if loading is None:
            loading = self._loading[key] = asyncio.create_task(self._loaded(key, load))
            loading.add_done_callback(_heard)
        return await asyncio.shield(loading)

    async def _loaded(self, key: Hashable, load: Callable[[], Awaitable[V]]) -> V:
        revision, me = self._revision, asyncio.current_task()
        try:
            value = await load()
            if revision == self._revision:  # else a change came while we loaded: use it once, keep nothing
                if len(self._values) > 50_000:
                    self._values.clear()
                self._values[key] = value
            return value
        finally:
            if self._loading.get(key) is me:
                del self._loading[key]

    async def refresh(self) -> None:
        """Look at the revision, or wait for a look that begins from now on; forget everything if it moved.  Raises DatabaseError."""
        asked_at = time.monotonic()
        while True:
            if self._looking is None:
                at = time.monotonic()
                self._looking = at, asyncio.create_task(self._looked(at))
                self._looking[1].add_done_callback(_heard)
            began_at, looking = self._looking
            await asyncio.shield(looking)
            if began_at >= asked_at:
                return

    async def _looked(self, at: float) -> None:
        try:
            revision = await self._look()
            if revision != self._revision:
                self._values.clear()
                self._loading.clear()
                self._revision = revision
            self._seen_at = at
        finally:
            self._looking = None

    async def follow(self) -> None:
        """Look for ever."""
        while True:
            try:
                await self.refresh()
            except DatabaseError as error:
                log.warning("the control database cannot be looked at: %s", error)
            await asyncio.sleep(POLL_S)


def _heard(task: "asyncio.Task[Any]") -> None:
    """Whoever asked may have gone: that it failed is no news then."""
    if not task.cancelled():
        task.exception()


@dataclass(eq=False)
class Env:
    """One environment, in one process."""

    name: str
    settings: Settings
    db: Database
    control: Database
    keyring: Keyring
    cache: Cache
    reader: Database | None = None  # the same database, for what reads much: nobody waits for its connection
    health: Health = field(default_factory=Health)
    _lanes: dict[str, Lane[Any, Any]] = field(default_factory=dict)
    _wire: Wire | None = None

    @property
    def livemode(self) -> bool:
        return self.name == "live"

    def lane(self, spec: LaneSpec[I, O]) -> Lane[I, O]:
        """The batch lane of a use case."""
        lane = self._lanes.get(spec.name)
        if lane is None:
            s = self.settings
            limits = Limits(size=s.batch_size, lanes=s.batch_lanes, gather_ms=s.batch_gather_ms, spread=spec.spread)
            lane = self._lanes[spec.name] = Lane(self.db, spec.name, spec.work, limits=limits, durable=spec.durable)
        return lane

    @property
    def wire(self) -> Wire:
        """The way to the channels."""
        if self._wire is None:
            inside = self.settings.channel_inside
            self._wire = Wire(self.lane(JOURNAL), loopback=self.name == "test", inside=inside, health=self.health)
        return self._wire

    async def close(self) -> None:
        """Let the lanes end, then close connections."""
        for lane in self._lanes.values():
            await lane.idle()
        if self._wire is not None:
            await self._wire.close()
        if self.reader is not None:
            await self.reader.close()
        await self.db.close()


JOURNAL: LaneSpec[Message, None] = LaneSpec("wire", wire.write_messages, durable=False, spread=True)


async def open_env(
    name: str, settings: Settings, dsn: dict[str, Any], control: Database, keyring: Keyring, cache: Cache
) -> Env:
    """Connect an environment."""
    db = await Database(name, dsn, size=settings.pool_size, keyring=keyring).open()
    reader = await Database(f"{name} reader", dsn, size=1, least=0, patience_s=60, idle_s=300).open()
    return Env(name, settings, db, control, keyring, cache, reader)
