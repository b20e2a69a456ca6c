"""The courier: claims deliveries that are due, sends them, and has what came of it written.

    claim (commit) -> sign and send, many at once -> settle (commit, many together)

Nothing is locked while a merchant is asked.  A claim pushes the delivery's `run_at` ahead by the lease: should this process die, the
delivery is due again then, with the same event id (N2).  A claim's number fences its result (N5).

Isolation (N6): an endpoint has a bounded number of tries under way, a failing one only a single one; all failing endpoints together
have connections of their own, so that however many hang, the healthy ones' are free.
"""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from urllib.parse import quote
from uuid import UUID

from guilder.core import clock, ids
from guilder.notify import sign
from guilder.notify.model import Delivery, Tried, about
from guilder.notify.present import event_json
from guilder.notify.schedule import Policy
from guilder.notify.send import Sender
from guilder.notify.settle import settle_many
from guilder.platform import guard, persons
from guilder.platform.batch import Lane, Limits
from guilder.platform.crypto import Keyring, Tampered
from guilder.platform.db import DatabaseError, Row
from guilder.platform.environment import Env
from guilder.platform.failpoints import reach
from guilder.platform.guard import LookUp
from guilder.platform.persons import Said
from guilder.platform.sql import load

Q = load(__package__)
log = logging.getLogger("guilder.notify")
POLICY = Policy()
AGENT = "Guilder/1.0 (webhooks)"
Now = Callable[[], datetime]


async def pump(
    env: Env, wake: asyncio.Event, *, policy: Policy = POLICY, now: Now = clock.now, look_up: LookUp = guard.look_up
) -> None:
    """Deliver for ever; `wake` is to be set at each NOTIFY of WAKE.  One per worker process and environment."""
    async with Sender(loopback=env.name == "test", timeout_s=policy.timeout_s, look_up=look_up) as sender:
        await Courier(env, wake, sender, policy, now).run()


class Courier:
    """The deliveries that this process has under way."""

    def __init__(self, env: Env, wake: asyncio.Event, sender: Sender, policy: Policy, now: Now) -> None:
        self._env = env
        self._wake = wake
        self._sender = sender
        self._policy = policy
        self._now = now
        self._secrets = Secrets(env.keyring)
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy: Counter[UUID] = Counter()  # tries under way, by endpoint
        self._failing = 0  # ... to endpoints that were failing
        self._settle: Lane[Tried, None] = Lane(
            env.db,
            "settle",
            lambda tx, tried: settle_many(tx, tried, policy=policy, livemode=env.livemode),
            limits=Limits(lanes=1, gather_ms=policy.gather_s * 1000),
            durable=False,  # a result that a power cut takes away is a delivery that is made again
        )

    async def run(self) -> None:
        """Claim and send until cancelled; then let what is under way end, for a moment."""
        try:
            while True:
                self._wake.clear()
                began = time.monotonic()
                if await self._round():  # a claim that is dear, because very many endpoints wait, is made less often
                    await asyncio.sleep(max(self._policy.pace_s, 2 * (time.monotonic() - began)))
                try:
                    async with asyncio.timeout(self._policy.idle_s):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=self._policy.grace_s)
            for task in self._tasks:
                task.cancel()
            await self._settle.idle()

    async def _round(self) -> int:
        """Start what is due and has room; how much that was."""
        try:
            rows = await self._claim()
            recalled = await persons.recall(self._env.db, rows)
        except DatabaseError as error:
            log.warning("deliveries cannot be claimed: %s", error)
            return 0
        except Exception:
            log.exception("deliveries cannot be claimed")
            return 0
        if rows:
            reach("ob.claimed")
        for row in rows:
            self._start(row, recalled)
        return len(rows)

    async def _claim(self) -> list[Row]:
        policy, now = self._policy, self._now()
        healthy = policy.connections - (self._busy.total() - self._failing)
        failing = policy.failing_connections - self._failing
        return await self._env.db.rows(
            Q.claim_deliveries, now, max(0, healthy), max(0, failing), policy.endpoint_room, policy.failing_room,
            list(self._busy), list(self._busy.values()), now + timedelta(seconds=policy.lease_s),
        )  # fmt: skip

    def _start(self, row: Row, recalled: Mapping[UUID, Said]) -> None:
        d = Delivery(
            row["book_id"], row["endpoint_id"], row["event_id"], row["tries"], row["fence"], row["url"], row["failing"], row["root_id"]
        )  # fmt: skip
        self._busy[d.endpoint_id] += 1
        self._failing += d.failing
        task = asyncio.create_task(self._carry(d, row, recalled))
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._done(task, d))

    def _done(self, task: "asyncio.Task[None]", d: Delivery) -> None:
        self._tasks.discard(task)
        full = self._busy[d.endpoint_id] >= (self._policy.failing_room if d.failing else self._policy.endpoint_room)
        full |= self._failing >= self._policy.failing_connections
        full |= self._busy.total() - self._failing >= self._policy.connections
        self._busy[d.endpoint_id] -= 1
        if not self._busy[d.endpoint_id]:
            del self._busy[d.endpoint_id]
        self._failing -= d.failing
        if full:  # there may be more where nothing had room
            self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("webhook %s: its try is lost", ids.show("evt", d.event_id), exc_info=error)

    async def _carry(self, d: Delivery, row: Row, recalled: Mapping[UUID, Said]) -> None:
        at = self._now()
        try:
            secrets = self._secrets.of(row)
        except Tampered as error:
            log.error("webhook endpoint %s: %s", ids.show("we", d.endpoint_id), error.message)
            return  # the lease ends, and it is tried again: with the right key, one hopes
        body = event_json(row, recalled, livemode=self._env.livemode, pending=row["siblings"]).encode()
        headers = sign.signed(secrets, ids.show("evt", d.event_id), clock.unix(at), body) | _constant(row)
        reply = await self._sender.send(d.url, headers, body)
        reach("ob.sent", d.event_id)
        self._settle.offer(Tried(d, self._now(), reply, random.random()), d.book_id)  # noqa: S311 - spread, not secrecy


def _constant(row: Row) -> dict[str, str]:
    """The headers that do not change from try to try."""
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Accept": "*/*",
        "User-Agent": AGENT,
        "traceparent": f"00-{row['root_id'].hex}-{row['event_id'].hex[16:]}-01",
    }
    if row["business_line"]:
        headers["Guilder-Business-Line"] = quote(
            row["business_line"], safe=""
        )  # the merchant's text: never a header of its own
    return headers


class Secrets:
    """Opened secrets, by endpoint; opening costs more than signing."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._open: dict[bytes, sign.Secret] = {}

    def of(self, row: Row) -> list[sign.Secret]:
        """The secrets to sign with, the new one first.  Raises Tampered."""
        sealed = (row["secret"], row["old_secret"])
        return [self._one(s, row["endpoint_id"]) for s in sealed if s is not None]

    def _one(self, sealed: bytes, endpoint_id: UUID) -> sign.Secret:
        secret = self._open.get(sealed)
        if secret is None:
            if len(self._open) > 10_000:
                self._open.clear()
            secret = self._open[sealed] = sign.read(self._keyring.open(sealed, about(endpoint_id)))
        return secret
