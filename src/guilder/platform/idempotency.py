"""One key, one effect, one answer.

A caller's `Idempotency-Key` names a request within a book.  The first request with it runs; later ones with the same parameters
get the first one's answer, byte for byte; other parameters are refused (KeyReused).

Two forms.

    one phase     once_many(tx, asked, do)    the effect and its answer are stored in one commit
    three phases  begin_many, Claims,         the key is claimed with a lease before a channel is asked; while it runs, others hear
                  finish_many                 InFlight (409); when its runner is dead, or the lease is over, a successor takes the key and its subject over

    I1  An answer is stored in the commit that made the effect.
    I2  What is stored is never changed by a replay.
    I3  Only the runner that holds a key answers for it (fencing): one that slept past its lease finds it taken.
    I4  A validation failure never reaches this module: it does not use the key up.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec

from guilder.core import ids
from guilder.core.errors import GuilderError, InFlight, KeyReused, Rejected
from guilder.platform.db import CommitUnknown, Conflict, Database, DatabaseError, Tx
from guilder.platform.persons import Blanks, blanked
from guilder.platform.sql import load

Q = load(__package__)
log = logging.getLogger("guilder.idempotency")
I = TypeVar("I")  # noqa: E741 - item
LEASE_S = 30
BEAT_S = 1.0
DEAD_S = 5.0  # without a beat for so long, a process is dead
RUNNER = ids.new_id()  # this process, as the holder of keys


class Key(msgspec.Struct, frozen=True):
    """Whose key, which, and for what request.  `key` None: the caller gave none, and nothing is stored."""

    book_id: UUID
    key: str | None
    fingerprint: bytes
    request_id: str


class Reply(msgspec.Struct, frozen=True):
    """An answer as it goes over the wire."""

    status: int
    body: bytes
    replayed: bool = False


class Asked(msgspec.Struct, Generic[I], frozen=True):
    """An item under a key."""

    key: Key
    item: I


@dataclass(frozen=True, slots=True)
class Resume:
    """A dead runner's request is ours now: carry on with its subject."""

    subject: UUID


@dataclass(frozen=True, slots=True)
class Fresh:
    """Nobody ran this yet: the key is ours."""


_Row = tuple[Key, str, UUID | None, int | None, bytes | None]
Found = Reply | Resume | Fresh | GuilderError
Do = Callable[[Tx, list[I]], Awaitable[Sequence[Reply | GuilderError]]]
Render = Callable[[GuilderError], Reply]


async def once_many(tx: Tx, asked: Sequence[Asked[I]], do: Do[I], refuse: Render) -> list[Reply | GuilderError]:
    """Run the items whose keys are new, replay the others.  `refuse` renders a refusal so that it can be replayed, too."""
    found = await look_many(tx, [a.key for a in asked])
    answers: list[Reply | GuilderError | None] = [f if isinstance(f, Reply | GuilderError) else None for f in found]
    first: dict[tuple[UUID, str], int] = {}
    twins: dict[int, int] = {}
    fresh: list[int] = []
    for i, (a, answer) in enumerate(zip(asked, answers, strict=True)):
        if answer is not None:
            continue
        if a.key.key is not None:
            earlier = first.setdefault((a.key.book_id, a.key.key), i)
            if earlier != i:
                twins[i] = earlier
                continue
        fresh.append(i)
    if fresh:
        done = await do(tx, [asked[i].item for i in fresh])
        for i, result in zip(fresh, done, strict=True):
            answers[i] = refuse(result) if isinstance(result, Rejected) else result
        store_answers(tx, [(asked[i].key, a) for i in fresh if isinstance(a := answers[i], Reply)])
    for i, earlier in twins.items():
        same = asked[i].key.fingerprint == asked[earlier].key.fingerprint
        answers[i] = _replayed(answers[earlier]) if same else KeyReused()
    return [a for a in answers if a is not None]


async def look_many(tx: Tx, keys: Sequence[Key]) -> list[Found]:
    """What is known of each key: its answer, that it runs elsewhere, that it may be taken over, or nothing.

    A hopeful transaction takes every key for new: whoever runs it writes it down, and that is a Conflict if it is not."""
    named = [k for k in keys if k.key is not None]
    if not named or tx.hopeful:
        return [Fresh() for _ in keys]
    rows = await tx.rows(Q.find_answers, [k.book_id for k in named], [k.key for k in named], DEAD_S)
    there = {(r["book_id"], r["key"]): r for r in rows}
    found: list[Found] = []
    for key in keys:
        row = there.get((key.book_id, key.key or ""))
        if row is None:
            found.append(Fresh())
        elif row["fingerprint"] != key.fingerprint:
            found.append(KeyReused())
        elif row["state"] == "done":
            found.append(Reply(row["status"], row["body"], replayed=True))
        elif row["lease_over"]:
            found.append(Resume(row["subject"]))
        else:
            found.append(InFlight())
    return found


async def begin_many(tx: Tx, keys: Sequence[Key]) -> list[Found]:
    """The same for requests that run in three phases: what may be taken over is, and Resume says that it is ours, to the first of a key."""
    found = await look_many(tx, keys)
    taken = await take_over(tx, [k for k, f in zip(keys, found, strict=True) if isinstance(f, Resume)])
    for n, (key, f) in enumerate(zip(keys, found, strict=True)):
        if isinstance(f, Resume):
            named = key.book_id, key.key or ""
            if named not in taken:
                found[n] = InFlight()
            taken.discard(named)
    return found


@dataclass(slots=True)
class Claims:
    """Keys that a batch of begins claims; stored together at its end."""

    rows: list[_Row] = field(default_factory=list)
    _first: dict[tuple[UUID, str], bytes] = field(default_factory=dict)

    def twin(self, key: Key) -> GuilderError | None:
        """What a fresh request hears if one before it in the batch has its key: InFlight, or KeyReused if that one was another."""
        if key.key is None:
            return None
        named = key.book_id, key.key
        if named in self._first:
            return InFlight() if self._first[named] == key.fingerprint else KeyReused()
        self._first[named] = key.fingerprint
        return None

    def claim(self, key: Key, subject: UUID) -> None:
        """Note that `subject` runs under `key`."""
        self.rows.append((key, "running", subject, None, None))

    def answer(self, key: Key, reply: Reply) -> None:
        """Note the answer of a key that never ran: its begin was refused."""
        self.rows.append((key, "done", None, reply.status, reply.body))

    def store(self, tx: Tx) -> None:
        """Have them written.  If another process was faster the transaction ends in Conflict, and the batch runs again."""
        _insert(tx, self.rows)


async def take_over(tx: Tx, keys: Sequence[Key]) -> set[tuple[UUID, str]]:
    """Take keys whose lease is over; those that came back are ours."""
    if not keys:
        return set()
    rows = await tx.rows(Q.take_over_answers, [k.book_id for k in keys], [k.key for k in keys], LEASE_S, RUNNER, DEAD_S)
    return {(r["book_id"], r["key"]) for r in rows}


async def carry_over(tx: Tx, moved: Sequence[tuple[Key, UUID]]) -> set[tuple[UUID, str]]:
    """Have keys that this process runs go on with another subject; those that it still holds (I3)."""
    named = sorted(((k.book_id, k.key, subject) for k, subject in moved if k.key is not None))
    if not named:
        return set()
    columns = [list(c) for c in zip(*named, strict=True)]
    rows = await tx.rows(Q.carry_over_answers, *columns, RUNNER)
    return {(r["book_id"], r["key"]) for r in rows}


async def beat(db: Database) -> None:
    """Say for ever that this process lives.  One that cannot say it loses its keys, and fencing (I3) keeps that harmless."""
    while True:
        try:
            await db.transact(lambda tx: tx.run(Q.beat, RUNNER), durable=False)
        except (DatabaseError, CommitUnknown) as error:
            log.warning("this process cannot say that it lives: %s", error)
        except Exception:
            log.exception("this process cannot say that it lives")
        await asyncio.sleep(BEAT_S)


async def finish_many(tx: Tx, answers: Sequence[tuple[Key, Reply]]) -> set[tuple[UUID, str]]:
    """Store the answers of keys that this process runs (I3), with all that waits to be written, and say which: one that was taken
    over keeps its new runner."""
    if not any(key.key is not None for key, _ in answers):
        return set()
    finished = await tx.written(Q.finish_answers, *_finished(answers))
    return {(r["book_id"], r["key"]) for r in finished}


def finish_own(tx: Tx, answers: Sequence[tuple[Key, Reply]]) -> None:
    """The same for a transaction that has locked nothing: a key that was taken over makes it Contended, and the next run says which."""
    if any(key.key is not None for key, _ in answers):
        tx.write(Q.finish_own_answers, *_finished(answers))


def _finished(answers: Sequence[tuple[Key, Reply]]) -> tuple[object, ...]:
    """In key order."""
    named = sorted((a for a in answers if a[0].key is not None), key=lambda a: (a[0].book_id, a[0].key or ""))
    return (
        [k.book_id for k, _ in named], [k.key for k, _ in named], [r.status for _, r in named], [r.body for _, r in named], RUNNER,
    )  # fmt: skip


async def release(tx: Tx, keys: Sequence[Key]) -> None:
    """Give keys back unanswered: nothing was done, the caller may try again."""
    await tx.run(Q.release_answers, [k.book_id for k in keys], [k.key for k in keys], RUNNER)


def store_answers(tx: Tx, answers: Sequence[tuple[Key, Reply]]) -> None:
    """Have the answers of new keys written."""
    _insert(tx, [(k, "done", None, r.status, r.body) for k, r in answers])


def _insert(tx: Tx, rows: Sequence[_Row]) -> None:
    rows = [r for r in rows if r[0].key is not None]
    if not rows:
        return
    keys = [r[0] for r in rows]
    if len({(k.book_id, k.key) for k in keys}) != len(keys):
        raise Conflict("one key twice among the claims of a batch")
    tx.write(
        Q.insert_answers,
        [k.book_id for k in keys],
        [k.key for k in keys],
        [k.fingerprint for k in keys],
        [r[1] for r in rows],
        [r[2] for r in rows],
        [r[3] for r in rows],
        [r[4] for r in rows],
        [k.request_id for k in keys],
        LEASE_S,
        RUNNER,
    )


async def answers_about(tx: Tx, book_id: UUID, shown: Sequence[str]) -> list[tuple[str, Any]]:
    """The answers that are kept in which one of these ids stands, by their keys."""
    rows = await tx.rows(Q.find_answers_about, book_id, list(shown))
    return [(r["key"], msgspec.json.decode(r["body"])) for r in rows]


async def blank_answers(tx: Tx, book_id: UUID, shown: Sequence[str], personal: Mapping[str, Blanks]) -> int:
    """Blank what is personal in them; how many had anything.  The keys stay used: a request that is repeated does nothing again."""
    found = [(key, body) for key, body in await answers_about(tx, book_id, shown) if blanked(body, personal)]
    for key, body in found:
        await tx.run(Q.replace_answer_body, book_id, key, msgspec.json.encode(body))
    return len(found)


def _replayed(answer: Reply | GuilderError | None) -> Reply | GuilderError | None:
    return Reply(answer.status, answer.body, replayed=True) if isinstance(answer, Reply) else answer
