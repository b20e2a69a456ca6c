"""The flight recorder: everything that happened to a payment, from everybody who knows something of it, in one order of time.

    TIMELINE = (Part("payments", find=find, gather=gather, readers=(Reader("states", "payments:read", moves), ...)), ...)

    told = await timeline.tell(env, "pi_…", books, scopes)         # None: nobody knows what that is

A domain contributes a `Part`; the composition root joins them.  No part knows another one.

    find      what an id of anybody's names: things, or other texts to look for (an event names its object, a case its subject)
    gather    what else belongs to the things of a story; asked again until nobody adds anything
    readers   what happened to them, each under the permission that it takes to see it

Everything is found by indexes and by ids, which tell when they were made; nothing is written for it that was not written before.

Cost.   One transaction that reads; some twenty statements of a few probes each, however much else there is.
"""

from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from guilder.core import ids
from guilder.platform.db import Row, Tx
from guilder.platform.environment import Env

MOST = 1000  # entries of one reader
DAY_MS = 86_400_000
_DEEP = 6  # how often a text may name another one
Tone = Literal["plain", "good", "bad", "wait"]


class Thing(msgspec.Struct, frozen=True):
    """Something that has an id of ours."""

    book_id: UUID
    prefix: str  # 'pi', 'at', 're'
    id: UUID

    @property
    def shown(self) -> str:
        return ids.show(self.prefix, self.id)


class Entry(msgspec.Struct, frozen=True):
    """Something that happened."""

    at: datetime
    kind: str  # 'state', 'message', 'journal'
    about: str  # 'at_…'
    says: str  # one line for a person
    tone: Tone = "plain"
    details: dict[str, Any] = {}
    source: str = ""  # the part that knows it


@dataclass(slots=True)
class Story:
    """What belongs together."""

    books: frozenset[UUID]  # whose things may be told of
    livemode: bool = False
    things: dict[UUID, Thing] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)  # under which others speak of them
    journals: set[tuple[UUID, str]] = field(default_factory=set)  # keys in books
    journal_ids: set[tuple[UUID, UUID]] = field(default_factory=set)
    roots: set[UUID] = field(default_factory=set)  # their chains of work
    asked: set[UUID] = field(default_factory=set)  # of the things those that were asked for

    def add(self, thing: Thing, *names: str, root: UUID | None = None) -> None:
        """It belongs to the story, if it lies in one of its books."""
        if thing.book_id in self.books:
            self.things[thing.id] = thing
            self.names.update((thing.shown, *names))
            if root is not None:
                self.roots.add(root)

    def of(self, *prefixes: str) -> list[Thing]:
        """Its things of these kinds."""
        return [t for t in self.things.values() if t.prefix in prefixes]

    def keys(self, *prefixes: str) -> tuple[list[UUID], list[UUID]]:
        """The same as two columns: books and ids."""
        found = self.of(*prefixes)
        return [t.book_id for t in found], [t.id for t in found]

    def scope(self) -> tuple[list[UUID], list[UUID], UUID]:
        """Books, ids, and an id before everything that can be about them, however clocks differ."""
        first = min((t.id.int >> 80 for t in self.things.values()), default=0)
        return list(self.books), list(self.things), UUID(int=max(0, first - DAY_MS) << 80)

    def who(self, id: UUID | None) -> str:
        """How an id of the story is shown."""
        if id is None:
            return ""
        return self.things[id].shown if id in self.things else ids.text(id)


Find = Callable[[Tx, str, Sequence[UUID]], Awaitable[Sequence[Thing | str]]]
Gather = Callable[[Tx, Story], Awaitable[None]]
Read = Callable[[Tx, Story], Awaitable[Sequence[Entry]]]


@dataclass(frozen=True, slots=True)
class Reader:
    """A source of entries: its name, and the permission that it takes."""

    name: str
    scope: str
    read: Read


@dataclass(frozen=True, slots=True)
class Part:
    """What one domain contributes."""

    name: str
    find: Find | None = None
    gather: Gather | None = None
    readers: tuple[Reader, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """A story with what happened.  `left_out`: sources that the caller may not read; `cut`: those of which only the first MOST entries
    are here."""

    story: Story
    entries: list[Entry]
    left_out: list[str]
    cut: list[str]


_parts: list[Part] = []


def register(parts: Sequence[Part]) -> None:
    """Who contributes, from above; called once, by the composition root."""
    _parts[:] = parts


def whole(read: str, prefixes: Iterable[str]) -> tuple[str, UUID] | None:
    """Prefix and id of a shown id with one of these prefixes."""
    head, _, tail = read.rpartition("_")
    id = ids.parse(tail) if head in set(prefixes) else None
    return None if id is None else (head, id)


def minted(text: str, books: Sequence[UUID]) -> tuple[UUID, list[UUID]] | None:
    """The id in a key that a channel knows, and the books that it can be of."""
    key = ids.split_key(text)
    return None if key is None else (key[0], [b for b in books if ids.book_code(b) == key[1]])


async def find(tx: Tx, said: str, books: Sequence[UUID]) -> list[Thing]:
    """The things that an id of anybody's names in these books."""
    things: dict[UUID, Thing] = {}
    asked: set[str] = set()
    texts = [said]
    for _ in range(_DEEP):
        new = [t for t in dict.fromkeys(texts) if t not in asked]
        asked.update(new)
        texts = []
        for text in new:
            for part in _parts:
                for found in await part.find(tx, text, books) if part.find is not None else ():
                    if isinstance(found, str):
                        texts.append(found)
                    else:
                        things[found.id] = found
        if not texts:
            break
    return list(things.values())


async def gather(tx: Tx, things: Sequence[Thing], books: Sequence[UUID], *, livemode: bool = False) -> Story:
    """The story that these things belong to."""
    story = Story(frozenset(books), livemode)
    for thing in things:
        story.add(thing)
        story.asked.add(thing.id)
    known = -1
    while known < len(story.things):  # what one part adds, another may know more of
        known = len(story.things)
        for part in _parts:
            if part.gather is not None:
                await part.gather(tx, story)
    return story


async def tell(rt: Env, said: str, books: Sequence[UUID], scopes: Container[str] | None = None) -> Told | None:
    """Everything that happened to what `said` names and to what belongs to it; None: nobody knows what that is.  `scopes` None: all."""

    async def work(tx: Tx) -> Told | None:
        story = await gather(tx, await find(tx, said.strip(), books), books, livemode=rt.livemode)
        return await read(tx, story, scopes) if story.things else None

    return await rt.db.transact(work, durable=False)


async def read(tx: Tx, story: Story, scopes: Container[str] | None = None) -> Told:
    """Everything that happened to what belongs to a story."""
    entries: list[Entry] = []
    left_out, cut = [], []
    for part in _parts:
        for reader in part.readers:
            if scopes is not None and reader.scope not in scopes:
                left_out.append(reader.name)
                continue
            found = await reader.read(tx, story)
            if len(found) > MOST:
                cut.append(reader.name)
            entries += [msgspec.structs.replace(e, source=part.name) for e in found[:MOST]]
    # Of one instant: requests first, then in the order of the parts, and as they were read.
    entries.sort(key=_place)
    return Told(story, entries, left_out, cut)


def move(r: Row, about: str, tones: Mapping[str, Tone]) -> Entry:
    """A row of a domain's history: from which state to which, and the door through which its reason came."""
    says = (f"{r['was']} → {r['became']}" if r["was"] else r["became"]) + f", by {r['door']}"
    said = {"was": r["was"], "became": r["became"], "door": r["door"]}
    return Entry(r["at"], "state", about, says, tones.get(r["became"], "plain"), said)


def _place(e: Entry) -> tuple[datetime, bool, bool, datetime]:
    """Journals know their time to the millisecond: within one they follow what they book."""
    return e.at.replace(microsecond=e.at.microsecond // 1000 * 1000), e.kind != "request", e.kind == "journal", e.at
