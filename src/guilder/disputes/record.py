"""Record: take note of what channels said of disputes, by a callback or in answer to our evidence."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from guilder.channels import model as channel
from guilder.channels.model import Notice
from guilder.core import clock, ids
from guilder.core.errors import GuilderError
from guilder.disputes import life, store, strays
from guilder.disputes.life import Collected
from guilder.disputes.model import Changes
from guilder.disputes.scene import Scene
from guilder.disputes.strays import Stray
from guilder.merchants import channel_accounts
from guilder.merchants.channel_accounts import ChannelAccount
from guilder.payments.record import ELSEWHERE, Recorded
from guilder.platform import context, telemetry
from guilder.platform.context import Context
from guilder.platform.db import Tx
from guilder.platform.environment import Env, LaneSpec
from guilder.platform.sql import load

Q = load(__package__)


class Heard(msgspec.Struct, frozen=True):
    """What a channel said of one dispute of a charge, and through which door."""

    of: Collected
    said: channel.Dispute
    door: str
    by: Context
    livemode: bool
    earlier: tuple[channel.Dispute, ...] = ()  # what it had said before that, oldest first
    stray: bool = False  # all of it was kept as a stray, which goes with this


async def record_many(tx: Tx, heard: list[Heard]) -> Sequence[Recorded | GuilderError]:
    """Apply each in order, each seeing what those before it did."""
    known = await store.lock(tx, [(h.of.channel_account_id, h.said.ref) for h in heard])
    changes, at = Changes(), clock.now()
    results: list[Recorded | GuilderError] = []
    for h in heard:
        changes.by = h.by
        ref, case = (h.of.channel_account_id, h.said.ref), None
        for said in (*h.earlier, h.said):
            dispute = changes.new_disputes.get(ref) or known.get(ref)
            case = life.hear(Scene(changes, h.livemode, at, h.door), dispute, h.of, said) or case
            telemetry.RECORDED.labels(h.door, f"dispute_{said.state.value}").inc()
        results.append(Recorded(True, h.said.state.value, case))
    await store.save(tx, changes)
    await tx.flush()
    gone = [(h.of.book_id, h.of.channel_account_id, h.said.ref, len(h.earlier) + 1) for h in heard if h.stray]
    await strays.found(tx, gone)
    return results


RECORD_DISPUTE: LaneSpec[Heard, Recorded] = LaneSpec("disputes.record", record_many)


async def record(rt: Env, of: Collected, said: channel.Dispute, door: str, by: Context) -> Recorded:
    """Into the room."""
    return await rt.lane(RECORD_DISPUTE).submit(Heard(of, said, door, by, rt.livemode), of.book_id)


async def record_stray(rt: Env, of: Collected, stray: Stray, by: Context) -> Recorded:
    """Into the room with all that was said of it; the stray goes in the same commit."""
    heard = Heard(of, stray.said[-1], "callback", by, rt.livemode, tuple(stray.said[:-1]), stray=True)
    return await rt.lane(RECORD_DISPUTE).submit(heard, of.book_id)


async def hear_notice(rt: Env, account: ChannelAccount, notice: Notice) -> Recorded:
    """A callback about a dispute.  It may overtake the answer that says paid, or name nothing of ours: then it is kept, and looked for again.
    What another account of the same application collected is for that one."""
    said, outcome = notice.outcome.dispute, notice.outcome
    if said is None:
        return Recorded(False)
    refs = strays.refs_of(notice)
    of = await collected(rt, account, outcome.key, refs)
    if of is None and await is_a_twins(rt, account, outcome.key, refs):
        return ELSEWHERE
    if of is not None:
        return await record(rt, of, said, "callback", context.current())
    await strays.keep(rt, account, notice, said)
    return Recorded(True, "stray")


async def is_a_twins(rt: Env, account: ChannelAccount, key: str | None, refs: Sequence[str]) -> bool:
    """Whether another account of the same application collected what a channel speaks of."""
    keyed = ids.split_key(key or "")
    twins = await channel_accounts.twins(rt, account, keyed[1] if keyed else ids.book_code(account.book_id))
    return any([await collected(rt, twin, key, refs) is not None for twin in twins])


def _named(account: ChannelAccount, key: str | None) -> UUID | None:
    named = ids.split_key(key or "")
    return named[0] if named and named[1] == ids.book_code(account.book_id) else None


async def collected(rt: Env, account: ChannelAccount, key: str | None, refs: Sequence[str] = ()) -> Collected | None:
    """The charge that a channel speaks of: by our key of the payment, or by one of the channel's numbers of it."""
    row = await rt.db.row(Q.find_collected, account.book_id, account.id, _named(account, key), list(refs))
    if row is None:
        return None
    return Collected(
        row["book_id"], row["id"], row["intent_id"], row["attempt_id"], account.id, account.info.code, account.funds, row["amount"],
        row["currency"], row["root_id"], row["business_line"],
    )  # fmt: skip
