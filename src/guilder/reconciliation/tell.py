"""Tell: what a statement proves goes into the room, by the door "statement" (R6).

A payment that the channel lists and we do not hold as paid is told as paid: the payments book it, or give it back as a surplus, or
leave a case if it contradicts what was asked.  An attempt that nobody has told us about, whose time is over and which no final
statement lists, is asked for once more; if the channel has none, it is closed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, timedelta
from typing import TypeVar
from uuid import UUID

from guilder.channels.model import Outcome, QueryPayment, State
from guilder.core import clock, ids
from guilder.core.amount import Amount
from guilder.merchants.channel_accounts import ChannelAccount
from guilder.payments.asking import contract_of
from guilder.payments.present import Face
from guilder.payments.record import RECORD, Heard, Recorded
from guilder.payments.states import AttemptState
from guilder.platform import context
from guilder.platform.db import Row
from guilder.platform.environment import Env
from guilder.platform.sql import load
from guilder.platform.wire import About
from guilder.reconciliation.days import CUTOVER, bounds, day_of

Q = load(__package__)
T = TypeVar("T")
PAGE = 500
ASKED_AT_ONCE = 16
PAID = frozenset({AttemptState.SUCCEEDED.value, AttemptState.SURPLUS.value})


async def tell_paid(rt: Env, account: ChannelAccount, statement_id: UUID) -> int:
    """Tell the payments of those that the channel lists as paid; how many they took."""
    taken, after = 0, 0
    while rows := await rt.db.rows(Q.list_news, account.book_id, statement_id, after, PAGE):
        after = rows[-1]["number"]

        async def tell(row: Row) -> Recorded:
            outcome = Outcome(
                State.SUCCEEDED,
                key=row["key"],
                channel_ref=row["channel_ref"],
                amount=Amount(row["amount"], row["currency"]),
                at=row["at"],
            )
            return await _record(rt, account, row["about"], outcome, row["root_id"])

        said = await asyncio.gather(*(tell(r) for r in rows))
        news = [
            (r["number"], heard.state)
            for r, heard in zip(rows, said, strict=True)
            if heard.case is None and heard.state in PAID
        ]
        await rt.db.transact(
            lambda tx, news=news: tx.run(
                Q.resolve_told, account.book_id, statement_id, [n for n, _ in news], [s for _, s in news], clock.now()
            )
        )
        taken += len(news)
    return taken


async def end_unknowns(rt: Env, account: ChannelAccount, day: date) -> int:
    """End the unknown attempts whose time is over by the end of `day` and which the channel does not know; how many."""
    _, end = bounds(account.info, day)
    rows = await rt.db.rows(Q.list_unknown_attempts, account.book_id, account.id, min(end, clock.now()) - CUTOVER)
    if not rows:
        return 0
    first = min(day_of(account.info, r["created_at"]) for r in rows)
    final = {r["day"] for r in await rt.db.rows(Q.list_reconciled_days, account.id, first)}

    def listed_by_none(row: Row) -> bool:
        made, over = (day_of(account.info, t) for t in (row["created_at"], row["expires_at"] + CUTOVER))
        return all(made + timedelta(days=n) in final for n in range((over - made).days + 1))

    async def ask(row: Row) -> bool:
        query = QueryPayment(ids.mint_key(row["id"], account.book_id), row["way"], row["created_at"], row["memo"])
        about = About(account.book_id, account.id, account.info.code, "query", row["id"])
        outcome = await rt.wire.carry_out(account.channel.ask(query), about)
        gone = outcome.state is State.NOT_FOUND and not outcome.unasked
        told = Outcome(State.CLOSED) if gone else outcome
        await _record(rt, account, row["id"], told, row["root_id"], "statement" if gone else "query")
        return gone

    return sum(await _some_at_once([r for r in rows if listed_by_none(r)], ask))


async def _record(
    rt: Env, account: ChannelAccount, attempt_id: UUID, outcome: Outcome, root_id: UUID, door: str = "statement"
) -> Recorded:
    by = context.carry_on(root_id, book_id=account.book_id, actor=f"statement:{account.info.code}", env=rt.name)
    heard = Heard(account.book_id, attempt_id, outcome, contract_of(account), door, by, Face(rt))
    return await rt.lane(RECORD).submit(heard, account.book_id)


async def _some_at_once(rows: Sequence[Row], ask: Callable[[Row], Awaitable[T]]) -> list[T]:
    room = asyncio.Semaphore(ASKED_AT_ONCE)

    async def one(row: Row) -> T:
        async with room:
            return await ask(row)

    return list(await asyncio.gather(*(one(r) for r in rows)))
