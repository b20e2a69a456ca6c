"""Events: said in the commit that makes them true, heard at least once by whoever subscribes.

    emit(tx, [Event(...)])                      # a use case, at the end of its batch
    await say(tx, [Event(...)])                 # one that may have something personal to say
    SUBSCRIPTIONS = [Subscription("notify", "*", handle_many)]

`emit` writes each event once, lets the witnesses add what they write to the same commit, and queues a row for each subscriber that
wants it.  A worker claims rows with SKIP LOCKED (never by
`id > last`: ids are not committed in order) and runs the subscriber's handler; the rows go in the handler's commit.  A handler
writes only its own tables and asks nobody outside; what must go out, it notes for a loop.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from uuid import UUID

import msgspec

from guilder.core import ids
from guilder.platform import context, persons
from guilder.platform.db import CommitUnknown, Contended, Database, DatabaseError, Lost, Row, Tx
from guilder.platform.persons import Keys, Private
from guilder.platform.sql import load

Q = load(__package__)
log = logging.getLogger("guilder.outbox")
WAKE = "guilder_outbox"
BATCH = 200
PACE_S = 0.01


class Event(msgspec.Struct, frozen=True):
    """Something that happened to one object.  `data` is the object as JSON, as merchants are to see it."""

    book_id: UUID
    type: str
    object_id: UUID
    object_version: int
    data: str
    at: datetime
    root_id: UUID
    business_line: str = ""
    previous: str | None = None
    request_id: str | None = None
    idempotency_key: str | None = None
    origin: str = ""  # what the payment came from, for subscribers; not stored
    private: Private | None = None  # what was taken out of `data` and `previous`


@dataclass(frozen=True, slots=True)
class Heard:
    """An event as a subscriber gets it."""

    book_id: UUID
    id: UUID
    type: str
    object_id: UUID
    data: str
    at: datetime
    root_id: UUID
    business_line: str
    previous: str | None
    request_id: str | None
    idempotency_key: str | None


Handler = Callable[[Tx, list[Heard]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who listens, later and in a worker, to which types ('payment_intent.*').  `origin`: only of payments that came from there."""

    name: str
    types: tuple[str, ...]
    handle: Handler
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Witness:
    """Who sees every event as it is said.  `see` hands writes to the transaction, and does nothing else."""

    name: str
    see: Callable[[Tx, Sequence[tuple[UUID, Event]]], None]


_subscriptions: list[Subscription] = []
_witnesses: list[Witness] = []


def register(subscriptions: Sequence[Subscription], witnesses: Sequence[Witness] = ()) -> None:
    """Make them known; called once, by the composition root."""
    _subscriptions[:], _witnesses[:] = subscriptions, witnesses
    _wanted_by.cache_clear()


@lru_cache(maxsize=256)
def _wanted_by(type: str, origin: str) -> tuple[str, ...]:
    wanting = (s for s in _subscriptions if s.origin in ("", origin))
    return tuple(s.name for s in wanting if any(fnmatchcase(type, t) for t in s.types))


async def say(tx: Tx, events: Sequence[Event]) -> list[UUID]:
    """Emit events of which some may have something personal: under the keys of whom they are about."""
    return emit(tx, events, await persons.hold(tx, [(e.book_id, e.private.person_id) for e in events if e.private]))


def emit(tx: Tx, events: Sequence[Event], keys: Keys | None = None) -> list[UUID]:
    """Have the events written, in order, and whoever waits for them woken when the transaction commits.

    `keys`: of whom they say something personal, as `persons.hold` gave them."""
    if not events:
        return []
    made = [ids.new_id() for _ in events]
    tx.write(
        Q.insert_events,
        [
            (e.book_id, id, e.type, e.object_id, e.object_version, e.data, e.previous, e.request_id, e.idempotency_key, e.root_id,
             e.business_line, e.at, *persons.sealed(e.book_id, e.private, id, keys or {}))
            for e, id in zip(events, made, strict=True)
        ],
    )  # fmt: skip
    wanted = [
        (name, e.book_id, id) for e, id in zip(events, made, strict=True) for name in _wanted_by(e.type, e.origin)
    ]
    for witness in _witnesses:
        witness.see(tx, list(zip(made, events, strict=True)))
    if wanted:
        names, books, event_ids = zip(*wanted, strict=True)
        tx.write(Q.insert_outbox, names, books, event_ids)
        tx.wakes.add(WAKE)
    return made


async def drain(db: Database, subscription: Subscription, limit: int = BATCH) -> int:
    """Hand one batch of events to a subscriber; how many there were.  A poisonous event is found by halving and postponed."""
    claimed: list[UUID] = []

    async def work(tx: Tx) -> None:
        rows = await tx.rows(Q.claim_outbox, subscription.name, limit)
        claimed[:] = [r["event_id"] for r in rows]
        if rows:
            with context.use(context.carry_on(rows[0]["root_id"], actor=f"outbox:{subscription.name}", env=db.name)):
                await subscription.handle(tx, [heard(r) for r in rows])
            tx.write(Q.delete_outbox, subscription.name, claimed)

    try:
        await db.transact(work)
    except (Contended, Lost, CommitUnknown):
        raise
    except Exception as error:
        if len(claimed) > 1:
            return await drain(db, subscription, len(claimed) // 2)
        if not claimed:
            raise
        log.error("subscriber %s cannot take event %s; it waits", subscription.name, claimed[0], exc_info=error)
        reason = repr(error)[:500]
        await db.transact(lambda tx: tx.run(Q.postpone_outbox, subscription.name, claimed[0], reason))
    return len(claimed)


def heard(row: Row) -> Heard:
    """An event row as subscribers see it."""
    return Heard(
        row["book_id"], row["event_id"] if "event_id" in row else row["id"], row["type"], row["object_id"], row["data"],
        row["created_at"], row["root_id"], row["business_line"], row["previous"], row["request_id"], row["idempotency_key"],
    )  # fmt: skip


async def pump(db: Database, subscription: Subscription, wake: asyncio.Event) -> None:
    """Drain for ever: at every wake-up, and every half second without one."""
    while True:
        try:
            while await drain(db, subscription) == BATCH:
                pass
        except (DatabaseError, CommitUnknown) as error:
            log.warning("outbox %s: %s", subscription.name, error)
            await asyncio.sleep(0.5)
        except Exception:
            log.exception("outbox %s failed", subscription.name)
            await asyncio.sleep(0.5)
        try:
            async with asyncio.timeout(0.5):
                await wake.wait()
        except TimeoutError:
            continue
        await asyncio.sleep(PACE_S)  # whoever wakes us is seldom alone
        wake.clear()
