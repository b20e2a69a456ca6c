"""Take in: a file into the database, whole or not at all.

Lines go in by the thousand, as the file is read, so that memory does not grow with them; one transaction holds them all.
"""

import asyncio
import zlib
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from uuid import UUID

from guilder.channels.model import Statement, StatementError, StatementLine, StatementProblem, Totals
from guilder.channels.reading import pieces
from guilder.core import clock, ids
from guilder.merchants.channel_accounts import ChannelAccount
from guilder.platform import context
from guilder.platform.db import Row, Tx
from guilder.platform.environment import Env
from guilder.platform.sql import load
from guilder.reconciliation.model import Progress

Q = load(__package__)
CHUNK = 2000


@dataclass(frozen=True, slots=True)
class Taken:
    """The file that counts for its day.  `matched`: its lines have had their outcome already."""

    id: UUID
    matched: bool


async def take_in(rt: Env, account: ChannelAccount, statement: Statement, say: Progress) -> Taken:
    """Store a file and its lines; the same file again is the same one, another one is a new version (R3).

    Raises StatementError CORRUPT, and stores nothing, if the lines do not add up to the totals (R4).
    """
    packed = await asyncio.to_thread(_deflated, statement)

    async def work(tx: Tx) -> Taken:
        await tx.run(Q.take_turn, account.id)
        earlier = await tx.row(Q.find_statement, account.id, statement.day)
        if earlier is not None and earlier["sha256"] == statement.sha256:
            return Taken(earlier["id"], earlier["matched_at"] is not None)
        at = clock.now()
        if earlier is not None:
            await _archive(tx, account, earlier["id"], at)
        id = ids.new_id()
        await _insert(tx, account, statement, id, _next_version(earlier), packed, at)
        await _insert_lines(tx, account, statement, id, say)
        return Taken(id, False)

    return await rt.db.transact(work, lock_timeout_ms=60_000)


def _deflated(statement: Statement) -> bytes:
    """The file as it is kept, made without its lying in memory whole."""
    packing = zlib.compressobj(6)
    return b"".join([*(packing.compress(piece) for piece in pieces(statement.raw)), packing.flush()])


def _next_version(earlier: Row | None) -> int:
    return 1 if earlier is None else earlier["version"] + 1


async def _archive(tx: Tx, account: ChannelAccount, id: UUID, at: datetime) -> None:
    """A newer file takes its place: it is kept, and nothing that followed from it counts any more."""
    await tx.run(Q.archive_statement, account.book_id, id, at)
    await tx.run(Q.forget_matches, account.book_id, id)
    await tx.run(Q.supersede_breaks, [account.book_id, account.id], id, at)
    await tx.run(Q.reopen_breaks, id)


async def _insert(
    tx: Tx, account: ChannelAccount, statement: Statement, id: UUID, version: int, packed: bytes, at: datetime
) -> None:
    t = statement.totals
    await tx.run(
        Q.insert_statement, account.book_id, id, account.id, account.info.code, statement.day, version, statement.sha256, packed,
        statement.currency, statement.fee_exponent, t.payments, t.paid, t.refunds, t.refunded, t.fee, context.current().root_id, at,
    )  # fmt: skip


async def _insert_lines(tx: Tx, account: ChannelAccount, statement: Statement, id: UUID, say: Progress) -> None:
    code = ids.book_code(account.book_id)
    total = statement.totals.payments + statement.totals.refunds
    count = Totals(0, 0, 0, 0, 0)
    while chunk := list(islice(statement.lines, CHUNK)):
        count = _count(count, chunk)
        await tx.run(
            Q.insert_lines,
            account.book_id,
            id,
            [n.number for n in chunk],
            [n.kind.value for n in chunk],
            [_about(n.key, code) for n in chunk],
            [n.key for n in chunk],
            [n.payment_key for n in chunk],
            [n.channel_ref for n in chunk],
            [n.amount.units for n in chunk],
            [n.amount.asset for n in chunk],
            [n.fee for n in chunk],
            [n.at for n in chunk],
            [n.status for n in chunk],
        )
        say("lines", count.payments + count.refunds, total)
    if count != statement.totals:
        raise StatementError(StatementProblem.CORRUPT, f"the file's totals are {statement.totals}, its lines {count}")


def _count(so_far: Totals, lines: list[StatementLine]) -> Totals:
    payments = [n.amount.units for n in lines if n.kind.value == "payment"]
    refunds = [n.amount.units for n in lines if n.kind.value == "refund"]
    return Totals(
        so_far.payments + len(payments),
        so_far.paid + sum(payments),
        so_far.refunds + len(refunds),
        so_far.refunded + sum(refunds),
        so_far.fee + sum(n.fee for n in lines),
    )


def _about(key: str, code: str) -> UUID | None:
    """The attempt or refund that a key of this book names."""
    named = ids.split_key(key)
    return named[0] if named is not None and named[1] == code else None
