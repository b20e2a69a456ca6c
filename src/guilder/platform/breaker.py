"""The breaker of each channel account: one row that all processes share, moved by what they see together.

    closed -- too many calls without an answer --> open -- after a while --> half_open -- enough answers --> closed
                                                    ^                           |
                                                    +------- one without -------+

What an open breaker keeps away is new payments that could go elsewhere; queries, closes and refunds go through, for money needs them.
Every process proposes moves, and the row's version lets one through.  `paused` is the operator's switch: it holds in every process within a
second, and nobody but an operator lets it go.

`follow` is run by every process: twice a second it reads the rows, and once a second it writes down what it saw itself and reads what the
others saw, in one statement; a process that saw nothing writes nothing.  No payment waits for any of it.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec

from guilder.core import clock, ids
from guilder.core.errors import GuilderError, Invalid
from guilder.platform import case, casework, context, telemetry, trail
from guilder.platform.case import Case, Verdict
from guilder.platform.casework import Reach
from guilder.platform.db import CommitUnknown, Database, DatabaseError, Row, Tx
from guilder.platform.health import Guard, Health, Mood, Sums
from guilder.platform.idempotency import RUNNER
from guilder.platform.sql import load

Q = load(__package__)
log = logging.getLogger("guilder.breaker")
LOOK_S = 0.4
EXCHANGE_S = 1.0
DOWN = "channel_down"  # the case that is open while a breaker is
_LEVEL = {Mood.CLOSED: 0, Mood.HALF_OPEN: 1, Mood.OPEN: 2}


@dataclass(frozen=True, slots=True)
class Move:
    """What a breaker is to become, and why."""

    became: Mood
    opens: int
    why: str
    after_s: float = 0.0  # open: it is probed then


def judge(mood: Mood, until: float, opens: int, guard: Guard, seen: Sums, now: float) -> Move | None:
    """The move that follows from what was seen since the last one, if any."""
    match mood:
        case Mood.CLOSED:
            if seen.calls >= guard.least and seen.bad * 100 >= guard.bad_percent * seen.calls:
                return _open(guard, opens, f"{seen.bad} of {seen.calls} payments asked for had no answer in time")
        case Mood.OPEN:
            if now >= until:
                return Move(Mood.HALF_OPEN, opens, "it has been left alone for a while, and is probed")
        case Mood.HALF_OPEN:
            if seen.bad:
                return _open(guard, opens, "a probe had no answer in time")
            if seen.calls >= guard.probes:
                return Move(Mood.CLOSED, 0, f"{seen.calls} probes were answered")
    return None


def _open(guard: Guard, opens: int, why: str) -> Move:
    return Move(Mood.OPEN, opens + 1, why, min(guard.open_s * 2 ** min(opens, 10), guard.longest_s))


async def follow(db: Database, health: Health) -> None:
    """Share what this process sees, for ever.  What goes wrong with that stops no payment."""
    exchanged = 0.0
    while True:
        try:
            await look(db, health)
            if time.monotonic() - exchanged >= EXCHANGE_S:
                exchanged = time.monotonic()
                await exchange(db, health)
        except (DatabaseError, CommitUnknown) as error:
            log.warning("the health of channels cannot be shared: %s", error)
        except Exception:
            log.exception("the health of channels cannot be shared")
        await asyncio.sleep(LOOK_S)


async def look(db: Database, health: Health) -> None:
    """Bring the state that all processes share."""
    for row in await db.rows(Q.read_breakers):
        mood, until = Mood(row["state"]), row["until"]
        health.set(
            row["book_id"], row["version"], mood, paused=row["paused"], until=until.timestamp() if until else 0.0, opens=row["opens"],
            guard=msgspec.json.decode(row["guard"], type=Guard),
        )  # fmt: skip
        level = 3 if row["paused"] else _LEVEL[mood]
        telemetry.BREAKER.labels(db.name, ids.show("ca", row["book_id"])).set(level)


async def exchange(db: Database, health: Health) -> None:
    """Write down what this process saw, bring what the others saw, and move what has to move."""
    own = health.own()
    if own:
        rows = [(a, op, v, s.good, s.refused, s.bad, s.ms) for a, op, v, s in own]
        columns = [list(c) for c in zip(*rows, strict=True)]

        async def share(tx: Tx) -> list[Row]:
            return await tx.written(Q.exchange_seen, *columns, RUNNER)

        seen = await db.transact(share, durable=False)
        health.hear(
            (r["book_id"], r["runner"], r["op"], r["version"], Sums(r["good"], r["refused"], r["bad"], r["ms"])) for r in seen
        )  # fmt: skip
    else:
        health.hear(())  # what they saw a while ago is not what is
    for account_id in health.known():
        version, mood, until, opens, guard = health.shared(account_id)
        total = health.total(account_id, "create")
        move = judge(mood, until, opens, guard, total, clock.now().timestamp())
        if move is not None:
            await _move(db, health, account_id, version, mood, move, total)


async def _move(
    db: Database, health: Health, account_id: UUID, version: int, was: Mood, move: Move, seen: Sums
) -> None:
    """Move a breaker, unless somebody else was faster."""
    until = clock.now() + timedelta(seconds=move.after_s) if move.became is Mood.OPEN else None
    shown = ids.show("ca", account_id)

    async def work(tx: Tx) -> bool:
        if await tx.value(Q.move_breaker, account_id, version, move.became, until, move.opens, move.why) is None:
            return False
        tx.write(Q.insert_breaker_move, account_id, ids.new_id(), was, move.became, move.why)
        if move.became is Mood.OPEN:
            summary = f"Channel account {shown} does not answer: new payments go elsewhere where they can. {move.why}."
            evidence = {"good": seen.good, "refused": seen.refused, "bad": seen.bad, "ms": seen.ms, "opens": move.opens}
            case.open_many(tx, [Case(account_id, DOWN, shown, summary, evidence, due_days=1)])
        return True

    with context.use(context.mint(actor="machine:breaker", env=db.name)):
        if not await db.transact(work):
            return
        telemetry.BREAKER_MOVES.labels(move.became.value).inc()
        log.warning("channel account %s: %s -> %s: %s", shown, was.value, move.became.value, move.why)
        await look(db, health)
        if move.became is Mood.CLOSED:
            await _settle(db, account_id)


async def _settle(db: Database, account_id: UUID) -> None:
    """The channel answers again: its case needs nobody any more."""
    id = await db.value(Q.find_case_of_breaker, account_id, DOWN)
    if id is None:
        return
    try:
        await casework.resolve_now(db, Reach(account_id), id, Verdict("dismiss", "The channel answers again."))
    except GuilderError as error:
        log.warning("the case of %s is left to a person: %s", ids.show("ca", account_id), error)


async def switch(tx: Tx, book_id: UUID, account_id: UUID, *, paused: bool, why: str) -> bool:
    """Have an account asked for no new payments, or for some again.  Whether that is news."""
    shown = ids.show("ca", account_id)
    if await tx.value(Q.switch_breaker, account_id, paused) is None:
        return False
    now, then = ("paused", "resumed") if paused else ("resumed", "paused")
    await tx.run(Q.insert_breaker_move, account_id, ids.new_id(), then, now, why)
    trail.note(
        tx, f"channel_account.{now}", shown, book_id=book_id, before={"paused": not paused}, after={"paused": paused}, why=why
    )  # fmt: skip
    return True


async def set_guard(tx: Tx, book_id: UUID, account_id: UUID, guard: dict[str, Any]) -> Guard:
    """What an account may take from now on.  Raises Invalid."""
    try:
        read = msgspec.convert(guard, Guard)
    except msgspec.ValidationError as error:
        raise Invalid(f"This is no guard of a channel account: {error}.", param="guard") from error
    await tx.run(Q.set_guard, account_id, msgspec.json.encode(guard).decode())
    trail.note(tx, "channel_account.guarded", ids.show("ca", account_id), book_id=book_id, after=guard)
    return read


async def standing(db: Database, account_ids: Sequence[UUID]) -> dict[UUID, Row]:
    """The rows of these accounts, as far as there are any, each with its sums of the last seconds."""
    return {r["book_id"]: r for r in await db.rows(Q.show_breakers, list(account_ids))}


async def one(tx: Tx, account_id: UUID) -> Row:
    """The same for one account."""
    row = await tx.row(Q.show_breakers, [account_id])
    assert row is not None
    return row


async def moves(db: Database, account_id: UUID, limit: int = 50) -> list[Row]:
    """The last moves of an account, newest first."""
    return await db.rows(Q.breaker_moves, account_id, limit)
