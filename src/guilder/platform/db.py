"""The database: the one module that imports the driver.

    async def work(tx: Tx) -> Answer: ...
    answer = await db.transact(work)

Promises.

    D1  What `transact` returned is committed.  What it raised (other than CommitUnknown) left nothing behind.
    D2  A COMMIT whose answer was lost is resolved by its mark: every durable transaction writes a mark as its last act, and
        after a lost answer a new connection writes the same mark: that waits for the old transaction, and succeeds only if
        it was rolled back.  Nothing is re-run blindly.
    D3  Nothing outside the database is awaited inside a transaction: `outside()` refuses there, and whoever calls a channel
        or a merchant calls it first.
    D4  Session state is never set on pooled connections, only SET LOCAL.
    D5  What was handed to `Tx.write` is in the database before anything later is read, and before COMMIT; until then it waits for
        company, and what waits together goes as one statement, in one round trip.  A transaction that reads nothing is that one
        statement, mark and wake-ups included: no BEGIN, no COMMIT.
    D6  A hopeful transaction may look at rows before it begins instead of locking them.  What it then writes of them insists that they are
        as they were; if one is not, nothing is written, it is Contended, and runs again with locks.  Money moves this way in one place,
        ledger/ahead.py, where the book's head is what is insisted on, under its lock.

READ COMMITTED throughout: what depends on a lock is read in a later statement than the one that took it.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeVar

import asyncpg
from asyncpg.pgproto.pgproto import UUID
from asyncpg.protocol import protocol

from guilder.core import ids
from guilder.core.check import must
from guilder.core.errors import Busy, Unknown
from guilder.platform.crypto import Keyring
from guilder.platform.sql import Query, load, together

ids.use(UUID)
Q = load(__package__)
T = TypeVar("T")
log = logging.getLogger("guilder.db")

Row = asyncpg.Record

# The driver asks three abstract classes about every element of every array, an interpreted call each: a twentieth of a payment.  What we
# send are lists, of values and of rows (tuples), and these are told apart by their types.
for _asked, _kinds in {"IterableABC": (list, tuple), "SizedABC": (list, tuple), "MappingABC": dict}.items():
    setattr(protocol, _asked, _kinds)

LOCK_TIMEOUT_MS = 2000
ALONE_MS = 250  # the same for a statement that is a transaction by itself: who has to wait longer runs again, and says how long
# Hot statements find a batch's rows by key.  On tables that were empty when they were first planned PostgreSQL would rather read the whole
# table, and keep that plan while it grows: so their plans are pinned to the indexes.  `plan_freely` is for those that read everything.
_PLANS = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_material": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "lock_timeout": str(ALONE_MS),
}
DriverError = asyncpg.PostgresError  # what opening a database may raise: no such one, no such role, a wrong password

_inside: ContextVar[bool] = ContextVar("guilder_inside_transaction", default=False)
_GONE = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.CannotConnectNowError, OSError, TimeoutError,
         asyncpg.InternalClientError,  # a connection that died in the middle of an operation, and does not know it
         asyncpg.AdminShutdownError, asyncpg.CrashShutdownError, asyncpg.TooManyConnectionsError)  # fmt: skip


class DatabaseError(Busy):
    """The database cannot be reached, or is too busy; nothing was done. Try again with the same idempotency key."""

    code = "database_unavailable"

    def __init__(self, detail: str = "") -> None:
        super().__init__()
        self.detail = detail  # for our log; callers read the message

    def __str__(self) -> str:
        return self.detail or self.message


class Conflict(DatabaseError):
    """A unique key was taken by a concurrent transaction: run again, and it is seen."""


class Contended(DatabaseError):
    """A lock was not had in time, or a deadlock was broken: run again."""


class Lost(DatabaseError):
    """The connection went away before COMMIT was sent: nothing was committed."""


class CommitUnknown(Unknown):
    """It may or may not have been done: the database went away while it was written. Ask again with the same idempotency key."""


class Tx:
    """A transaction in progress.  Pass it down; never keep it.

    `hopeful`: this is the first run of its work.  What unique keys will find out need not be looked up before, nor locked what nobody else
    is likely to change (D6): a Conflict, and Contended, run the work again, and then it looks up and locks.
    `memory`: what this process remembers of the database, by whoever remembers it.  It may be wrong: what follows from it must insist.
    """

    __slots__ = ("_args", "_begin", "_connection", "_queries", "at_end", "hopeful", "keyring", "memory", "wakes")

    def __init__(
        self, connection: Any, begin: str = "", *, hopeful: bool = False, memory: dict[str, Any] | None = None
    ) -> None:
        self.memory: dict[str, Any] = {} if memory is None else memory
        self.at_end: list[Callable[[], None]] = []  # called when it is over, however it ended
        self._connection = connection
        self._begin = begin  # what opens it, until something was read
        self._queries: list[Query] = []  # writes that wait, and their parameters
        self._args: list[object] = []
        self.hopeful = hopeful
        self.wakes: set[str] = set()  # wake-ups to send with the commit, see outbox
        self.keyring: Keyring | None = None  # what the keys of persons are sealed with, see persons

    @property
    def opened(self) -> bool:
        """Whether the database knows of it already."""
        return not self._begin

    @property
    def writes(self) -> bool:
        """Whether writes wait."""
        return bool(self._queries)

    async def _open(self) -> Any:
        if self._begin:
            await self._connection.execute(self._begin)
            self._begin = ""
        return self._connection

    def write(self, query: Query, *args: object) -> None:
        """Have `query` run, for its effect, together with other writes (D5).  None of them sees what the others do: they may not touch
        the same row."""
        self._queries.append(query)
        self._args.extend(args)

    async def flush(self) -> None:
        """Run what waits."""
        if self._queries:
            await self._written()

    async def written(self, query: Query, *args: object) -> list[Row]:
        """Run `query`, itself a write, together with what waits; the rows that it returns."""
        self.write(query, *args)
        return await self._written()

    async def _written(self) -> list[Row]:
        connection = await self._open()
        text, args = together(tuple(self._queries)), self._args
        self._queries, self._args = [], []
        return await connection.fetch(text, *args)

    async def rows(self, query: Query, *args: object) -> list[Row]:
        """All rows of `query`."""
        await self.flush()
        return await (await self._open()).fetch(query.text, *args)

    async def look(self, query: Query, *args: object) -> list[Row]:
        """All rows of `query` as they are now, before the transaction begins.  What is then written of them insists that they are still so
        (`platform.insist`): if not, that is Contended, and the next run locks them first."""
        must(not self.opened and not self._queries, "what is looked at is not locked, and comes first")
        return await self._connection.fetch(query.text, *args)

    async def row(self, query: Query, *args: object) -> Row | None:
        """The first row of `query`, if any."""
        await self.flush()
        return await (await self._open()).fetchrow(query.text, *args)

    async def value(self, query: Query, *args: object) -> Any:
        """The first column of the first row of `query`."""
        await self.flush()
        return await (await self._open()).fetchval(query.text, *args)

    async def run(self, query: Query, *args: object) -> None:
        """Run `query` for its effect, now."""
        await self.flush()
        await (await self._open()).execute(query.text, *args)

    async def commit(self, mark: object, *, durable: bool) -> None:
        """End it, with its mark and wake-ups.  Everything in this is one message: it is done, or it is not."""
        if self.opened:
            marked = f"INSERT INTO platform.commit_mark (id) VALUES ('{mark}'); " if durable else ""  # noqa: S608 - a UUID of ours
            wake = "".join(f"NOTIFY {name}; " for name in sorted(self.wakes))
            await self._connection.execute(f"{marked}{wake}COMMIT")
        elif self._queries or self.wakes:
            if durable:
                self.write(Q.mark_commit, mark)
            self.write(_ending(frozenset(self.wakes), durable))
            await self._connection.fetch(together(tuple(self._queries)), *self._args)

    def __enter__(self) -> "Tx":
        return self

    def __exit__(self, *_: object) -> None:
        for told in self.at_end:
            told()

    async def roll_back(self) -> None:
        """Undo what the database knows of it."""
        if self.opened:
            try:
                await asyncio.shield(self._connection.execute("ROLLBACK"))
            except BaseException:
                _drop(self._connection)


async def _worked(tx: Tx, work: Callable[[Tx], Awaitable[T]]) -> T:
    """What `work` returned.  Of an open transaction everything is written then, and only COMMIT is to come."""
    try:
        result = await work(tx)
        if tx.opened:
            await tx.flush()
        return result
    except BaseException:
        await tx.roll_back()
        raise


@cache
def _ending(wakes: frozenset[str], durable: bool) -> Query:
    """What ends a transaction of one statement."""
    calls = [f"pg_notify('{name}', '')" for name in sorted(wakes)]
    if not durable:
        calls.append("set_config('synchronous_commit', 'off', true)")
    return Query("ending", f"SELECT {', '.join(calls) or '1'}")


async def plan_freely(tx: Tx) -> None:
    """Let this transaction's statements read whole tables: sweeps, reconciliation."""
    await tx.run(Q.plan_freely)


async def _keep(_connection: object) -> None:
    """Instead of the driver's reset: with D4 there is nothing to reset, and it would cost a round trip."""


def _drop(connection: Any) -> None:
    """End a connection that nobody may use again.  One that broke by itself has left the pool already, and says so."""
    with contextlib.suppress(asyncpg.InterfaceError):
        connection.terminate()


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """The driver's refusals as ours."""
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        raise Conflict(str(error)) from error
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError, asyncpg.SerializationError) as error:
        raise Contended(str(error)) from error


def _learning() -> type[asyncpg.Connection]:
    """A kind of connection that knows from its first moment what types the others of its pool have met.

    The driver asks each new connection about every row type that it has not met, and under our plans that takes PostgreSQL up to 30 ms a
    statement: all of it where a rush has just made another connection necessary.  It has no public way to tell it; it is pinned, and a test
    counts how often it asks.
    """
    known: dict[int, Row] = {}  # by their numbers, what a type is made of before it

    class Learning(asyncpg.Connection):
        __slots__ = ()

        def __init__(self, protocol: Any, *args: Any) -> None:
            super().__init__(protocol, *args)
            protocol.get_settings().register_data_types(list(known.values()))

        async def _introspect_types(self, typeoids: Any, timeout: Any) -> Any:  # noqa: ASYNC109 - the driver's signature
            types, statement = await super()._introspect_types(typeoids, timeout)
            known.update((t["oid"], t) for t in types)
            return types, statement

        def _drop_local_type_cache(self) -> None:
            known.clear()
            super()._drop_local_type_cache()

    return Learning


class Database:
    """A pool of connections to one database."""

    def __init__(
        self,
        name: str,
        dsn: dict[str, Any],
        *,
        size: int = 8,
        patience_s: float = 10.0,
        resolve_s: float = 30.0,
        keyring: Keyring | None = None,
        least: int = 1,
        idle_s: float = 20.0,
    ) -> None:
        self.name = name
        self.keyring = keyring
        self._dsn = dsn
        self._size = size
        self._least = least  # connections that it always has
        self._idle_s = idle_s  # after which others are given back: each is 9 MB of the server, and a rush takes many
        self._patience_s = patience_s  # for a connection, when all are taken
        self._resolve_s = resolve_s  # for a database that went away at COMMIT
        self._pool: Any = None
        self._memory: dict[str, Any] = {}

    async def open(self) -> "Database":
        """Connect.  Raises what the driver raises when the database cannot be reached."""
        self._pool = await asyncpg.create_pool(
            **self._dsn,
            min_size=self._least,
            max_size=self._size,
            reset=_keep,
            connection_class=_learning(),
            statement_cache_size=512,
            max_cached_statement_lifetime=0,
            max_inactive_connection_lifetime=self._idle_s,
            max_queries=1 << 40,
            server_settings={"application_name": f"guilder {self.name}", **_PLANS},
        )
        return self

    async def close(self) -> None:
        """Close the pool; what runs is waited for, five seconds at most."""
        if self._pool is None:
            return
        try:
            async with asyncio.timeout(5):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    async def rows(self, query: Query, *args: object) -> list[Row]:
        """Read outside a transaction."""
        async with self._connection() as connection:
            return await connection.fetch(query.text, *args)

    async def row(self, query: Query, *args: object) -> Row | None:
        """Read one row outside a transaction."""
        async with self._connection() as connection:
            return await connection.fetchrow(query.text, *args)

    async def value(self, query: Query, *args: object) -> Any:
        """Read one value outside a transaction."""
        async with self._connection() as connection:
            return await connection.fetchval(query.text, *args)

    async def transact(
        self,
        work: Callable[[Tx], Awaitable[T]],
        *,
        lock_timeout_ms: int = LOCK_TIMEOUT_MS,
        durable: bool = True,
        hopeful: bool = False,
    ) -> T:
        """Run `work` in one transaction and commit it (D1, D2).

        `durable=False` does not wait for the disk: for records whose loss in a power cut costs evidence, never money.  `hopeful`: see
        Tx.  Raises Conflict, Contended, Lost, CommitUnknown and whatever `work` raises.
        """
        must(not _inside.get(), "transactions do not nest")
        mark = ids.new_id()
        off = "" if durable else "; SET LOCAL synchronous_commit = off"
        begin = f"BEGIN; SET LOCAL lock_timeout = {lock_timeout_ms:d}{off}"
        async with self._connection() as connection:
            with Tx(connection, begin, hopeful=hopeful, memory=self._memory) as tx:
                tx.keyring = self.keyring
                token = _inside.set(True)
                try:
                    with _told():
                        result = await _worked(tx, work)
                except _GONE as error:
                    raise Lost(str(error)) from error
                finally:
                    _inside.reset(token)
                try:
                    with _told():
                        await tx.commit(mark, durable=durable)
                    return result
                except _GONE as error:
                    _drop(connection)
                    cause = error
                except BaseException as error:
                    refused = isinstance(error, DatabaseError | asyncpg.PostgresError) and not tx.opened
                    if not refused:  # called off in the middle: whoever takes this connection next must find it clean
                        _drop(connection)
                    raise
        if durable and await self._committed(mark):
            return result
        raise Lost(f"the connection went away at COMMIT, and the transaction was rolled back: {cause}")

    async def _committed(self, mark: object) -> bool:
        """Whether the transaction that wrote `mark` was committed; waits for a database that is restarting."""
        deadline = asyncio.get_running_loop().time() + self._resolve_s
        while True:
            try:
                async with self._connection() as connection:
                    return await connection.fetchval(Q.settle_commit_mark.text, mark) is None
            except (Lost, *_GONE) as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise CommitUnknown("the database went away at COMMIT and has not come back") from error
                await asyncio.sleep(0.1)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        must(self._pool is not None, "the database is open")
        try:
            connection = await self._pool.acquire(timeout=self._patience_s)
        except _GONE as error:
            raise Lost(f"no connection to {self.name}: {error or type(error).__name__}") from error
        try:
            yield connection
        except _GONE as error:
            _drop(connection)
            raise Lost(f"the connection to {self.name} went away: {error or type(error).__name__}") from error
        finally:
            with contextlib.suppress(
                asyncpg.InternalClientError, asyncpg.InterfaceError
            ):  # it broke, and the pool knows
                await self._pool.release(connection)  # which shields itself

    async def listen(self, channels: Sequence[str], heard: Callable[[str], None]) -> None:
        """Call `heard(channel)` at each NOTIFY until cancelled, reconnecting for ever.

        Only a wake-up: whoever listens also looks by himself now and then.
        """
        while True:
            try:
                connection = await asyncpg.connect(**self._dsn)
            except _GONE:
                await asyncio.sleep(0.5)
                continue
            closed = asyncio.Event()
            connection.add_termination_listener(lambda _c, done=closed: done.set())
            try:
                for channel in channels:
                    await connection.add_listener(channel, lambda _c, _p, name, _x: heard(name))
                    heard(channel)
                await closed.wait()
            except _GONE:
                log.warning("the listening connection was lost")
            finally:
                if not connection.is_closed():
                    connection.terminate()


@asynccontextmanager
async def connected(dsn: dict[str, Any]) -> AsyncIterator[Any]:
    """A plain connection, for the schema applier and tests."""
    connection = await asyncpg.connect(**dsn)
    try:
        yield connection
    finally:
        await connection.close()


def outside() -> None:
    """D3: crash if a transaction is open in this task."""
    must(not _inside.get(), "nothing outside the database is asked inside a transaction")
