"""Strays: what a channel said of a dispute whose payment is not found, or not yet.

A dispute may overtake the answer that says paid, or name something that is not ours.  What was said is kept as a row, one for each dispute
of a channel account, in the order in which it was heard; it is looked for again, at growing intervals, and goes in the commit that records
it.  After some minutes a person is asked, too, and again when the channel says more.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from guilder.channels.model import Dispute, Notice
from guilder.core import clock, ids
from guilder.merchants.channel_accounts import ChannelAccount
from guilder.platform import case, context
from guilder.platform.case import Case
from guilder.platform.db import Tx
from guilder.platform.environment import Env
from guilder.platform.sql import load

Q = load(__package__)
KIND = "unknown_dispute"
PATIENCE = timedelta(minutes=4)  # before a person is asked
FIRST_S, LONGEST_S, DAYS = 0.5, 6 * 3600, 30  # between two looks, doubled each time; for so long
AT_ONCE = 32


@dataclass(slots=True)
class Stray:
    """What was said of one dispute, oldest first, and how the channel names its payment."""

    book_id: UUID
    channel_account_id: UUID
    ref: str
    payment_key: str | None
    payment_refs: list[str]
    said: list[Dispute]
    shown: int  # how much of it a person was asked about
    root_id: UUID
    created_at: datetime
    business_line: str = ""


async def keep(rt: Env, account: ChannelAccount, notice: Notice, said: Dispute) -> None:
    """Keep it; told again, it is looked for again at once, and stays one row."""
    words = msgspec.json.encode([said]).decode()
    root = context.current().root_id
    key, refs = notice.outcome.key, refs_of(notice)
    await rt.db.transact(lambda tx: tx.run(Q.keep_stray, account.book_id, account.id, said.ref, key, refs, words, root))


def refs_of(notice: Notice) -> list[str]:
    """The channel's numbers of the payment that a notice is about."""
    return [ref for ref in (notice.payment_memo, notice.outcome.channel_ref) if ref]


async def claim(rt: Env, room: int) -> list[Stray]:
    """Up to `room` that are to be looked for; each comes again later, until it is found or a month has passed."""

    async def work(tx: Tx) -> list[Stray]:
        return [_stray_of(r) for r in await tx.rows(Q.claim_strays, room, FIRST_S, LONGEST_S, DAYS)]

    return await rt.db.transact(work)


def _stray_of(row: Any) -> Stray:
    said = msgspec.json.decode(row["said"], type=list[Dispute])
    return Stray(
        row["book_id"], row["channel_account_id"], row["ref"], row["payment_key"], list(row["payment_refs"]), said, row["shown"], row["root_id"],
        row["created_at"],
    )  # fmt: skip


async def ask_a_person(rt: Env, stray: Stray, channel: str) -> None:
    """Open its case, in the book of the channel account, once it has waited for long enough; again for what was said since."""
    if stray.shown >= len(stray.said) or clock.now() - stray.created_at < PATIENCE:
        return

    async def work(tx: Tx) -> None:
        await tx.run(Q.show_stray, stray.book_id, stray.channel_account_id, stray.ref, len(stray.said))
        case.open_many(tx, [_case(stray, channel)])

    await rt.db.transact(work)


def _case(stray: Stray, channel: str) -> Case:
    last = stray.said[-1]
    named = ", ".join(filter(None, (stray.payment_key, *stray.payment_refs))) or "no payment"
    evidence = {
        "channel_account": ids.show("ca", stray.channel_account_id), "channel_ref": stray.ref, "payment_key": stray.payment_key,
        "payment_refs": stray.payment_refs, "said": msgspec.to_builtins(stray.said), "heard_at": stray.created_at.isoformat(),
    }  # fmt: skip
    days = 3 if last.due_at is None else min(3, max(0, (last.due_at - clock.now()).days - 1))
    return Case(
        stray.channel_account_id, KIND, stray.ref, f"{channel} says {last.state.value} of a dispute about {last.amount}, and no charge of ours is "
        f"what it names ({named}). It is looked for further.", evidence, f"{last.state.value} {last.amount}", due_days=days,
    )  # fmt: skip


async def found(tx: Tx, recorded: list[tuple[UUID, UUID, str, int]]) -> None:
    """They are recorded (book, channel account, the channel's number, how much of what it said): gone, and their cases with them.

    One that was told more meanwhile stays, and is found again.
    """
    if recorded:
        await tx.run(
            Q.end_strays,
            *(list(c) for c in zip(*sorted(recorded, key=lambda r: (r[0].bytes, r[1].bytes, r[2])), strict=True)),
        )
        await case.close_many(tx, [(account, KIND, ref) for _, account, ref, _ in recorded], "found", "Its payment was found, and it is recorded.")  # fmt: skip
