"""Create: pay somebody out of what the merchant has with us, once per key.

    1. transaction   claim the key, hold the amount (O1), note the payout          (unknown)
    2. network       ask the channel under the payout's own key
    3. transaction   record: paid, on its way, or refused (and the hold is given back, once)

Above a limit others have to agree first (platform/approval.py): phase 1 then notes what is asked for, holds nothing and refuses.  When they have,
`pay_out` is phase 1 in their commit, and the sweep does the rest.
"""

import base64
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from guilder import ledger
from guilder.core import clock, ids
from guilder.core.check import must
from guilder.core.errors import GuilderError, InFlight, Invalid, Rejected
from guilder.ledger import Code
from guilder.payments.asking import carry_through, replied
from guilder.payouts import ask, events, life, store
from guilder.payouts.model import BookKey, Changes, Payout
from guilder.payouts.record import record
from guilder.payouts.scene import Scene
from guilder.payouts.states import OPEN_PAYOUT, PayoutState
from guilder.platform import approval, idempotency, trail
from guilder.platform.approval import SEALED, Approval, Command, Rules
from guilder.platform.context import Context
from guilder.platform.db import Tx
from guilder.platform.environment import Env, LaneSpec
from guilder.platform.failpoints import reach
from guilder.platform.idempotency import Asked, Claims, Fresh, Key, Reply, Resume
from guilder.platform.once import refusal
from guilder.platform.trail import Act

ASK_LEASE_S = 20
KIND = "payout"  # of what waits for approval


class Short(Invalid):
    """Not so much is available."""

    code = "balance_insufficient"


@dataclass(frozen=True, slots=True)
class Wish:
    """A payout as asked for; nothing of it is written yet."""

    payout: Payout
    by: Context
    livemode: bool


@dataclass(frozen=True, slots=True)
class Begun:
    """Phase 1 is committed.  `again`: somebody may have asked before."""

    payout: Payout
    again: bool = False


async def begin_many(tx: Tx, asked: list[Asked[Wish]]) -> Sequence[Begun | Reply | GuilderError]:
    """Phase 1 for a batch.  What is held is held in their order, each journal seeing those before it."""
    found = await idempotency.begin_many(tx, [a.key for a in asked])
    resumed = [(a.key.book_id, f.subject) for a, f in zip(asked, found, strict=True) if isinstance(f, Resume)]
    payouts = await store.lock(tx, resumed)
    rules = await approval.rules(tx, KIND, [a.item.payout.book_id for a in asked])
    fold = _Fold(payouts, rules)
    results: list[Begun | Reply | GuilderError] = []
    for a, f in zip(asked, found, strict=True):
        if isinstance(f, Fresh):
            results.append(fold.begin(a))
        elif isinstance(f, Resume):
            results.append(fold.resume(a, f.subject))
        else:
            results.append(f)
    await fold.hold(tx, asked, results)
    fold.claims.store(tx)
    for wanted, by in fold.wanted:
        approval.open_one(tx, wanted, by)
    await store.save(tx, fold.changes)
    trail.note_many(tx, fold.acts)
    await tx.flush()
    reach("payout.claimed", next((id for _, id in fold.changes.new_payouts), None))
    return results


class _Fold:
    """The wishes of one batch."""

    def __init__(self, payouts: dict[BookKey, Payout], rules: Rules) -> None:
        self.payouts, self.rules = payouts, rules
        self.changes, self.claims, self.at = Changes(), Claims(), clock.now()
        self.wanted: list[tuple[Approval, Context]] = []
        self.acts: list[Act] = []

    def begin(self, asked: Asked[Wish]) -> Begun | Reply | GuilderError:
        key, p = asked.key, copy(asked.item.payout)  # a batch that runs again must not find what its first run changed
        twin = self.claims.twin(key)
        if twin is not None:
            return twin
        need = self.rules.need(p.book_id, {p.currency: p.amount})
        if need is not None:
            shown = ids.show("po", p.id)
            wanted = approval.ask(p.book_id, KIND, shown, f"Pay out {p.money}: {p.description or 'no description'}.", _command(p), need,
                                  asked.item.by, asset=p.currency, units=p.amount)  # fmt: skip
            self.wanted.append((wanted, asked.item.by))
            reply = refusal(approval.required(wanted, livemode=asked.item.livemode))
            self.claims.answer(key, reply)
            return reply
        return Begun(p)

    async def hold(self, tx: Tx, asked: list[Asked[Wish]], results: list[Begun | Reply | GuilderError]) -> None:
        """Hold what each wish wants; whoever wants more than there is hears so."""
        new = [(n, r.payout) for n, r in enumerate(results) if isinstance(r, Begun) and not r.again]
        posted = await ledger.post(tx, [life.held(p) for _, p in new])
        for (n, p), answer in zip(new, posted, strict=True):
            key, wish = asked[n].key, asked[n].item
            if answer.booked:
                add(self.changes, self.acts, Wish(p, wish.by, wish.livemode), self.at)
                self.claims.claim(key, p.id)
                continue
            results[n] = reply = refusal(_short(p, answer.code))
            self.claims.answer(key, reply)

    def resume(self, asked: Asked[Wish], subject: UUID) -> Begun | Reply | GuilderError:
        payout = self.payouts.get((asked.key.book_id, subject))
        if payout is None:
            return InFlight()
        payout.ask_at = self.at + timedelta(seconds=ASK_LEASE_S) if payout.state in OPEN_PAYOUT else None
        self.changes.payouts[payout.key] = payout
        return Begun(payout, again=True)


def add(changes: Changes, acts: list[Act], wish: Wish, at: datetime) -> None:
    """Note a new payout whose amount is held."""
    p = wish.payout
    changes.by = wish.by
    scene = Scene(changes, wish.livemode, at, "api")
    p.ask_at = at + timedelta(seconds=ASK_LEASE_S)
    changes.new_payouts[p.key] = p
    life.born(scene, p)
    events.say(scene, "payout.created", p)
    said = {"amount": p.amount, "currency": p.currency, "by": ids.show("ca", p.channel_account_id)}
    acts.append(Act("payout.created", ids.show("po", p.id), p.book_id, after=said, by=wish.by))


def _short(p: Payout, code: Code) -> GuilderError:
    if code is Code.INSUFFICIENT_FUNDS:
        return Short(
            f"Insufficient funds: {p.money} is more than what is available. GET /v1/balance says how much is.",
            param="amount",
        )
    return Rejected(f"The book refuses to hold {p.money} ({code.value}).")


def _command(p: Payout) -> dict[str, Any]:
    must(p.payee is not None, "a new payout knows its payee")
    return {
        "payout": ids.show("po", p.id), "amount": p.amount, "currency": p.currency, "channel_account": ids.show("ca", p.channel_account_id),
        "channel": p.channel, "type": p.method_type, "funds": p.funds, "payee": SEALED + base64.b64encode(p.payee or b"").decode(),
        "shown": p.shown, "description": p.description, "statement_descriptor": p.statement_descriptor, "metadata": p.metadata,
        "attach": p.attach,
    }  # fmt: skip


async def pay_out(tx: Tx, command: Command) -> dict[str, Any]:
    """Begin the payout that all have agreed to; the sweep asks for it.  Raises Rejected if so much is not there any more."""
    do, at = command.do, clock.now()
    id, account = ids.read("po", do["payout"]), ids.read("ca", do["channel_account"])
    must(id is not None and account is not None, "a command names its payout")
    assert id is not None and account is not None
    p = Payout(
        command.book_id, id, 0, PayoutState.UNKNOWN, do["amount"], do["currency"], account, do["channel"], do["type"], do["funds"],
        base64.b64decode(do["payee"].removeprefix(SEALED)), do["shown"], do["description"], do["statement_descriptor"], do["metadata"],
        do["attach"], None, None, None, None, None, 0, None, command.by.root_id, command.by.business_line, at,
    )  # fmt: skip
    [answer] = await ledger.post(tx, [life.held(p)])
    if not answer.booked:
        raise _short(p, answer.code)
    changes, acts = Changes(), list[Act]()
    add(changes, acts, Wish(p, command.by, command.env.livemode), at)
    p.ask_at = at
    await store.save(tx, changes)
    trail.note_many(tx, acts)
    return {"payout": do["payout"]}


BEGIN_PAYOUT: LaneSpec[Asked[Wish], Begun | Reply] = LaneSpec("payouts.begin", begin_many)


async def create(rt: Env, key: Key, wish: Wish) -> Reply:
    """All three phases; carried through even if the caller hangs up."""
    begun = await rt.lane(BEGIN_PAYOUT).submit(Asked(key, wish), wish.payout.book_id)
    if isinstance(begun, Reply):
        return begun
    return await carry_through(_ask(rt, key, wish, begun))


async def _ask(rt: Env, key: Key, wish: Wish, begun: Begun) -> Reply:
    p = begun.payout
    account = await ask.the_account(rt, p)
    if begun.again:
        outcome, door = await ask.find_out(rt, p, account)
    else:
        reach("payout.before_channel", p.id)
        outcome, door = await ask.create(rt, p, account), "reply"
        reach("payout.after_channel", p.id)
    recorded = await record(rt, p.book_id, p.id, account, outcome, door, wish.by, key)
    return replied(recorded)


def sealed_payee(rt: Env, payout_id: UUID, payee: dict[str, str]) -> bytes:
    """(O4) Who is paid, as it is kept."""
    return rt.keyring.seal(msgspec.json.encode(payee), ask.sealed_about(payout_id))
