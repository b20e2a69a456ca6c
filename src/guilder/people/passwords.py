"""Passwords: what may be one, and how it is kept (argon2id).

A hash takes some 50 ms of a core and 46 MB on purpose.  One thread of each process makes them, one after the other, and gives way to
everything else: whoever signs in waits for others who do, payments do not.
"""

import asyncio
import contextlib
import os
import threading
import unicodedata
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar
from weakref import WeakKeyDictionary

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from guilder.core.errors import Busy, Invalid
from guilder.platform.db import outside

T = TypeVar("T")
SHORTEST, LONGEST = 12, 128  # characters
DISTINCT = 5  # different ones among them, at least
MEMORY_KIB, ROUNDS = 46 * 1024, 2
NICENESS = 5  # of the thread
AT_ONCE, MOST_WAITING = 2, 64  # who prove who they are, in one process
# Of the long ones that people choose most: what a guesser tries first.
_COMMON = frozenset({
    "123456789012", "1234567890123", "12345678910", "1234567891011", "123456789101112", "012345678901", "111122223333", "121212121212",
    "112233445566", "123123123123", "123412341234", "qwertyuiop123", "qwertyuiopasdf", "qwertyuiop[]", "qwerty123456", "1q2w3e4r5t6y",
    "1qaz2wsx3edc", "1qaz2wsx3edc4rfv", "qazwsxedcrfv", "asdfghjkl123", "zxcvbnm12345", "abcdefghijkl", "abcdefg12345", "abcd12345678",
    "password1234", "password12345", "password123456", "passwordpassword", "mypassword123", "administrator", "administrator1",
    "iloveyou1234", "letmein12345", "welcome12345", "welcome123456", "changeme1234", "changemenow1", "correcthorsebatterystaple",
    "guilderguilder", "guilder12345", "guilder123456", "woaini1314520", "woaini520131", "5201314woaini", "a123456789012", "aa1234567890",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether a password was the right one, and what is to be stored instead if its hash was made another way."""

    right: bool
    anew: str | None = None


def check(password: str, email: str = "") -> None:
    """Raises Invalid for what may not be a password; the message does not repeat it."""
    plain = _plain(password)
    bare = "".join(c for c in plain.lower() if c.isalnum())
    why = None
    if not SHORTEST <= len(plain) <= LONGEST:
        why = f"It must have {SHORTEST} to {LONGEST} characters."
    elif len(set(plain)) < DISTINCT:
        why = f"It must have at least {DISTINCT} different characters."
    elif plain.lower() in _COMMON or bare in _COMMON:
        why = "It is among the first that a guesser tries."
    elif email and plain.lower() in {email, email.partition("@")[0]}:
        why = "It must not be the e-mail address."
    if why is not None:
        raise Invalid(
            f"This password is refused. {why} A sentence of some words does well.", code="password_refused", param="password"
        )  # fmt: skip


async def hash(password: str) -> str:
    """What is stored of a password."""
    return await _in_thread(lambda: _hasher().hash(_plain(password)))


async def prove(stored: str | None, password: str) -> Proof:
    """Whether `password` is the one of which `stored` is kept.  Where nothing is stored it is compared with nobody's: that takes as long."""
    if len(password) > 4 * LONGEST:  # no password has so many: what it costs must not be the caller's choice
        password = ""

    def work() -> Proof:
        against = stored or _nobodys()
        try:
            _hasher().verify(against, _plain(password))
        except (VerificationError, InvalidHashError):
            return Proof(False)
        stale = _hasher().check_needs_rehash(against)
        return Proof(stored is not None, _hasher().hash(_plain(password)) if stale and stored is not None else None)

    return await _in_thread(work)


@dataclass(slots=True)
class _Door:
    """Who proves who he is in one event loop."""

    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    there: int = 0


_doors: WeakKeyDictionary[asyncio.AbstractEventLoop, _Door] = WeakKeyDictionary()


@asynccontextmanager
async def turn() -> AsyncIterator[None]:
    """A place among the few who prove who they are at this moment: that many threads and connections they have, and no more.  Raises
    Busy."""
    door = _doors.setdefault(asyncio.get_running_loop(), _Door())
    if door.there >= MOST_WAITING:
        raise Busy("Too many people sign in at this moment; nothing was done. Try again in some seconds.")
    door.there += 1
    try:
        async with door.places:
            yield
    finally:
        door.there -= 1


async def _in_thread(work: Callable[[], T]) -> T:
    outside()
    return await asyncio.get_running_loop().run_in_executor(_thread(), work)


@cache
def _thread() -> ThreadPoolExecutor:
    def give_way() -> None:
        with contextlib.suppress(OSError):  # Linux knows the priority of a single thread
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)

    return ThreadPoolExecutor(1, "passwords", give_way)


@cache
def _hasher() -> PasswordHasher:
    return PasswordHasher(time_cost=ROUNDS, memory_cost=MEMORY_KIB, parallelism=1)


@cache
def _nobodys() -> str:
    return _hasher().hash(os.urandom(16).hex())


def _plain(password: str) -> str:
    """The same text however a keyboard composes it (NIST SP 800-63B)."""
    return unicodedata.normalize("NFKC", password)
