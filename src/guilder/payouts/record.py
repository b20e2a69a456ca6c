"""Record: take note of what channels said of payouts.  One room with three doors: reply, callback, query."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from guilder.channels.model import Notice, Outcome
from guilder.core import clock, ids
from guilder.core.errors import GuilderError
from guilder.merchants import channel_accounts
from guilder.merchants.channel_accounts import ChannelAccount
from guilder.payments import asking
from guilder.payments.life import Contract
from guilder.payments.record import ELSEWHERE, Recorded
from guilder.payouts import life, present, store
from guilder.payouts.model import Changes
from guilder.payouts.scene import Scene
from guilder.platform import context, idempotency, telemetry
from guilder.platform.context import Context
from guilder.platform.db import Tx
from guilder.platform.environment import Env, LaneSpec
from guilder.platform.failpoints import reach
from guilder.platform.idempotency import Key, Reply
from guilder.platform.sql import load

Q = load(__package__)


class Heard(msgspec.Struct, frozen=True):
    """What a channel said of one payout, and through which door.  `key`: a caller waits for the answer."""

    book_id: UUID
    payout_id: UUID
    outcome: Outcome
    contract: Contract
    door: str
    by: Context
    livemode: bool
    key: Key | None = None


async def record_many(tx: Tx, heard: list[Heard]) -> Sequence[Recorded | GuilderError]:
    """Apply each answer in order, each seeing what those before it did; one lock, one save for the whole list."""
    payouts = await store.lock(tx, [(h.book_id, h.payout_id) for h in heard])
    changes, at = Changes(), clock.now()
    results: list[Recorded | GuilderError] = []
    replies: list[tuple[Key, Reply]] = []
    for h in heard:
        payout = payouts.get((h.book_id, h.payout_id))
        if payout is None:
            results.append(Recorded(False))
            continue
        changes.by = h.by
        found = life.hear(Scene(changes, h.livemode, at, h.door), payout, h.outcome, h.contract)
        telemetry.RECORDED.labels(h.door, f"payout_{payout.state.value}").inc()
        reply = None
        if h.key is not None:
            reply = Reply(200, msgspec.json.encode(present.payout(payout, livemode=h.livemode)))
            replies.append((h.key, reply))
        results.append(Recorded(True, payout.state.value, found, reply))
    reach("payout.in_tx", heard[0].payout_id)
    await store.save(tx, changes)
    finished = await idempotency.finish_many(tx, replies)
    await tx.flush()
    reach("payout.before_commit", heard[0].payout_id)
    return [
        msgspec.structs.replace(r, reply=None)
        if isinstance(r, Recorded) and h.key is not None and h.key.key and (h.book_id, h.key.key) not in finished
        else r
        for h, r in zip(heard, results, strict=True)
    ]


RECORD_PAYOUT: LaneSpec[Heard, Recorded] = LaneSpec("payouts.record", record_many)


async def record(
    rt: Env,
    book_id: UUID,
    payout_id: UUID,
    account: ChannelAccount,
    outcome: Outcome,
    door: str,
    by: Context,
    key: Key | None = None,
) -> Recorded:
    """Into the room."""
    heard = Heard(book_id, payout_id, outcome, asking.contract_of(account), door, by, rt.livemode, key)
    return await rt.lane(RECORD_PAYOUT).submit(heard, book_id)


async def hear_notice(rt: Env, account: ChannelAccount, notice: Notice) -> Recorded:
    """A callback about a payout; not found if it names none of ours.  One of another account of the same application is for that one."""
    named = ids.split_key(notice.outcome.key or "")
    twins = [] if named is None else await channel_accounts.twins(rt, account, named[1])
    if named is not None and twins:
        of = [t.id for t in twins], [t.book_id for t in twins]
        if await rt.db.value(Q.find_payout_of_accounts, *of, named[0]):
            return ELSEWHERE
    if named is None or named[1] != ids.book_code(account.book_id):
        return Recorded(False)
    return await record(rt, account.book_id, named[0], account, notice.outcome, "callback", context.current())
