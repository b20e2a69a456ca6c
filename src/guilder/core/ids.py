"""Ids: a UUIDv7 inside, a prefix and 26 lower-case characters outside.

    uuid = new_id()                     # made in Python, before any row exists
    show("pi", uuid)                    # 'pi_06b2xk6n5vq3x8r6e4m0c9t7wd'
    read("pi", "pi_06b2xk6n5...")       # the UUID again; None for anything else

The alphabet is Crockford's base32 in lower case: no i, l, o, u, so that a person can read an id aloud.
A UUIDv7 tells when it was made (RFC 9562, method 3: 48 bits of milliseconds, 12 bits of their fraction): ids sort by time, and
are no secrets.
"""

import os
import struct
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import chain, count
from uuid import UUID

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUE = {c: i for i, c in enumerate(ALPHABET)}
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]  # ten bits at a time
LENGTH = 26
BOOK_CODE_LENGTH = 6
_BOOK_BITS = 5 * BOOK_CODE_LENGTH
# The book of the platform itself: what it earns.  It sorts last, so whoever locks several books locks the one that all share last.
PLATFORM = UUID("ffffffff-ffff-8fff-bfff-ffffffffffff")


_BLOCK = struct.Struct("256Q")


def _block(_: int) -> tuple[int, ...]:
    """64 random bits at a time, from the system, in blocks: a call for each id would cost more than the rest of it."""
    return _BLOCK.unpack(os.urandom(_BLOCK.size))


def _random() -> Iterator[int]:
    """Random bits without end; no generator, which two threads may not ask at once."""
    return chain.from_iterable(map(_block, count()))


_tails = _random()
os.register_at_fork(after_in_child=lambda: globals().update(_tails=_random()))


def use(made: Callable[[bytes], UUID]) -> None:
    """Have ids made by `made` from their 16 bytes.  The database's driver has UUIDs of its own, which are UUIDs like any other, but are
    made, compared and sent in a fifth of the time."""
    global _made
    _made = made


def _made(bytes: bytes) -> UUID:
    return UUID(bytes=bytes)


def of_int(n: int) -> UUID:
    """The id of a number."""
    return _made(n.to_bytes(16, "big"))


def new_id() -> UUID:
    """A fresh UUIDv7."""
    ns = time.time_ns()
    ms, rest = divmod(ns, 1_000_000)
    fraction = rest * 4096 // 1_000_000
    tail = next(_tails) & 0x3FFF_FFFF_FFFF_FFFF
    return of_int((ms & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | fraction << 64 | 0x2 << 62 | tail)


@lru_cache(maxsize=8192)  # one payment's ids are shown again and again: in answers, events, keys, journals
def text(id: UUID) -> str:
    """The 26 characters of `id`, without a prefix."""
    n = id.int
    pairs = _PAIRS
    return "".join([pairs[(n >> s) & 1023] for s in range(120, -1, -10)])


def parse(value: str) -> UUID | None:
    """The UUID of 26 characters, or None."""
    if len(value) != LENGTH:
        return None
    n = 0
    for c in value:
        digit = _VALUE.get(c)
        if digit is None:
            return None
        n = n << 5 | digit
    return of_int(n) if n >> 128 == 0 else None


def show(prefix: str, id: UUID) -> str:
    """`id` as the API shows it."""
    return f"{prefix}_{text(id)}"


def read(prefix: str, value: str) -> UUID | None:
    """The UUID of what `show` wrote, or None."""
    head, _, tail = value.partition("_")
    return parse(tail) if head == prefix else None


def book_code(book: UUID) -> str:
    """Six characters that name a book inside the keys that we mint for channels: the last 30 bits of its id."""
    n = book.int & ((1 << _BOOK_BITS) - 1)
    return "".join(ALPHABET[(n >> s) & 31] for s in range(_BOOK_BITS - 5, -1, -5))


def mint_key(id: UUID, book: UUID) -> str:
    """The 32 characters by which a channel knows an attempt or refund: its id and its book's code (32 fit every channel)."""
    return text(id) + book_code(book)


def split_key(key: str) -> tuple[UUID, str] | None:
    """The id and the book's code of a minted key; None if it is none of ours."""
    id = parse(key[:LENGTH])
    code = key[LENGTH:]
    if id is None or len(code) != BOOK_CODE_LENGTH or any(c not in _VALUE for c in code):
        return None
    return id, code
