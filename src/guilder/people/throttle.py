"""Tries to prove who one is: counted, by person and by address, in a commit of their own before anything is looked at.

Some are free; after each further one all wait twice as long, a quarter of an hour at most.  Who comes while he should wait is refused,
with the right password too, and is not counted: nobody can make a wait longer by asking.  A try that succeeds is taken back, and what was
counted of the person is forgotten.  A name that nobody has is counted like any other.
"""

import hashlib
import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta

from guilder.core import clock
from guilder.core.errors import RateLimited
from guilder.platform.db import Contended, Database, Row, Tx
from guilder.platform.sql import load

Q = load(__package__)
PERSON_FREE, ADDRESS_FREE = 5, 50
LONGEST_S = 900
QUIET = timedelta(days=1)  # then it begins anew
TRIES = 3
NO_WAIT = clock.from_unix(0)  # clocks differ, and who took his time first may lock last: no wait is no instant of today

Counted = tuple[bytes, int]  # a key, and how many tries are free


def wait_s(n: int, free: int) -> int:
    """How long everybody waits after the n-th try."""
    return 0 if n < free else min(2 ** min(n - free, 16), LONGEST_S)


def of(what: str, who: str, address: str) -> tuple[Counted, Counted]:
    """What a try counts for: the person first, then the address that it comes from."""
    return (_key(f"{what}:{who}"), PERSON_FREE), (_key(f"address:{network(address)}"), ADDRESS_FREE)


def network(address: str) -> str:
    """What one caller has of addresses: one of IPv4, the half that a line is given of IPv6."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ip.ipv4_mapped or ipaddress.ip_network((int(ip) >> 64 << 64, 64)))
    return str(ip)


async def count(control: Database, keys: Sequence[Counted], now: datetime | None = None) -> None:
    """Count a try, for good.  Raises RateLimited while it has to wait."""
    at = now or clock.now()

    async def work(tx: Tx) -> None:
        free = dict(keys)
        counted, until = [], []
        rows = await _lock(tx, keys, at)
        if waiting := [r["wait_until"] for r in rows if r["wait_until"] > at]:
            seconds = int((max(waiting) - at).total_seconds()) + 1
            raise RateLimited(f"Too many tries. Try again in {seconds} seconds.", code="too_many_tries")
        for row in rows:
            n = 1 + (row["n"] if at - row["at"] < QUIET else 0)
            wait = wait_s(n, free[row["key"]])
            counted.append(n)
            until.append(at + timedelta(seconds=wait) if wait else NO_WAIT)
        await tx.run(Q.save_attempts, [r["key"] for r in rows], counted, until, at)

    for left in reversed(range(TRIES)):
        try:
            return await control.transact(work)
        except Contended:
            if not left:
                raise


async def take_back(tx: Tx, keys: Sequence[Counted], *, forget: bool) -> None:
    """It was no wrong try.  `forget`: what else was counted of the person goes, too."""
    at = clock.now()
    rows = await _lock(tx, keys, at)
    await tx.run(
        Q.save_attempts, [r["key"] for r in rows], [max(r["n"] - 1, 0) for r in rows], [NO_WAIT for _ in rows], at
    )
    if forget:
        await tx.run(Q.delete_attempt, keys[0][0])


async def forget_person(tx: Tx, email: str) -> None:
    """Let somebody try again at once."""
    await tx.run(Q.delete_attempt, of("sign in", email, "")[0][0])


async def _lock(tx: Tx, keys: Sequence[Counted], at: datetime) -> list[Row]:
    return await tx.rows(Q.lock_attempts, [k for k, _ in keys], at)


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
