"""Batches that follow from a seed and a number: whoever has both knows what was posted, whoever died meanwhile."""

import random
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple
from uuid import NAMESPACE_OID, UUID, uuid5

from plain_book import KNOWN, Entry, Line

BOOKS = [uuid5(NAMESPACE_OID, f"book {n}") for n in range(5)]
HOLDS = {"1": "payable", "2": "own:a", "3": "surplus", "4": "receivable:a"}  # where a hold lies, by its first character
OLD = 12  # of so many batches before its own a batch says keys again
SHARED = "*"  # ends the keys that other batches may say as well: they may even come first


class Said(NamedTuple):
    """A journal of a batch."""

    book: UUID
    entry: Entry


def alone(key: str) -> bool:
    """Whether one batch alone says this key."""
    return not key.endswith(SHARED)


def number(key: str) -> int:
    """The batch that a key was made for."""
    return int(key.partition(".")[0])


@lru_cache(maxsize=256)
def batch(seed: int, n: int) -> tuple[Said, ...]:
    """1 to 200 journals of batch `n` in up to three books, and between them some that others say, as they are or changed."""
    rng, said = random.Random(f"{seed} {n} again"), []
    for own in _own(seed, n):
        said.append(own)
        if own.entry.group is None and rng.random() < 0.1:
            others = [s for s in _own(seed, max(0, n - rng.randint(1, OLD))) if not alone(s.entry.key)]
            said += [_changed(rng, s) for s in rng.sample(others, min(1, len(others)))]
    return tuple(said)


@lru_cache(maxsize=256)
def _own(seed: int, n: int) -> tuple[Said, ...]:
    rng, said = random.Random(f"{seed} {n}"), []
    books = rng.sample(BOOKS, rng.choice((1, 1, 2, 3)))
    size = rng.choice((1, rng.randint(2, 20), rng.randint(20, 190)))
    while len(said) < size:
        together = rng.randint(2, 4) if rng.random() < 0.1 else 1
        group = f"group {len(said)}" if together > 1 else None
        for _ in range(together):
            shared = SHARED if group is None and len(said) % 4 == 3 else ""
            lines = tuple(_line(rng, n) for _ in range(rng.choice((1, 1, 1, 2, 3))))
            said.append(Said(rng.choice(books), Entry(f"{n}.{len(said)}{shared}", lines, group)))
    return tuple(said)


def _line(rng: random.Random, n: int) -> Line:
    """One of everything.  Holds are made in their time, and taken in parts in theirs and the next."""
    what = rng.choices(("move", "hold", "capture", "release", "rest", "expire", "wild"), (50, 18, 20, 5, 3, 2, 2))[0]
    time = n // 16 - (what != "hold" and rng.randrange(2))
    hold = f"{rng.choice('1234')} {time} {rng.randrange(5)}"
    account = HOLDS[hold[0]]
    match what:
        case "move":
            return ("move", *rng.sample(KNOWN, 2), rng.randint(1, 50))
        case "hold":
            return ("hold", account, rng.randint(10, 90), hold, rng.choice((None, None, None, 2, 1)))
        case "capture":
            return ("capture", hold, account, rng.choice([a for a in KNOWN if a != account]), rng.randint(1, 25))
        case "release":
            return ("release", hold, account, rng.randint(1, 25))
        case "wild":
            return ("move", rng.choice(KNOWN), rng.choice((*KNOWN, "nobody")), rng.choice((0, 7)))
        case _:
            return (what, hold, account)


def _changed(rng: random.Random, said: Said) -> Said:
    """Another amount, another end, or the same."""
    kind, *rest = said.entry.lines[0]
    luck = rng.randrange(4)
    if kind != "move" or luck > 1:
        return said
    line = (kind, rest[1], rest[0], rest[2]) if luck else (kind, *rest[:2], rest[2] + 1)
    return said._replace(entry=replace(said.entry, lines=(line, *said.entry.lines[1:])))
