"""Replay: where past payments would have gone by other rules, before anybody goes by them.

Nothing is asked, and nothing is written.  Channels are taken for well and limits for empty: what is compared is what the rules say.
"""

from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

from guilder.core import ids
from guilder.core.errors import GuilderError
from guilder.merchants import channel_accounts, onboard
from guilder.payments import routes, store, ways
from guilder.payments.model import Intent
from guilder.platform.db import Row
from guilder.platform.environment import Env
from guilder.platform.sql import load
from guilder.routing import rulesets
from guilder.routing.decide import NAMES_NOBODY, Ruleset
from guilder.routing.model import Candidate

Q = load(__package__)
PAGE, MOST = 2000, 200_000  # payments


@dataclass(frozen=True, slots=True)
class Past:
    """A payment, and where its first try went."""

    intent: Intent
    account_id: UUID
    channel: str
    way: str


@dataclass(slots=True)
class Flow:
    """What goes to one account."""

    payments: int = 0
    amounts: Counter[str] = field(default_factory=Counter)  # by currency


@dataclass(slots=True)
class Outlook:
    """Past payments, as they went and as they would have gone."""

    payments: int = 0
    elsewhere: int = 0  # would have gone to another account
    nowhere: int = 0  # no account of today takes them
    before: dict[UUID, Flow] = field(default_factory=dict)
    after: dict[UUID, Flow] = field(default_factory=dict)
    fees_before: int = 0  # of payments whose fee the rules know both ways
    fees_after: int = 0
    rules: dict[str, int] = field(default_factory=dict)  # payments by the rule that chose
    skipped: Counter[str] = field(default_factory=Counter)  # rules that could not be worked out
    whole: bool = True  # False: there were more payments than are looked at

    @property
    def never(self) -> list[str]:
        """Rules that chose for no payment."""
        return [name for name, n in self.rules.items() if not n]


async def replay(rt: Env, book_id: UUID, ruleset: Ruleset, days: int) -> Outlook:
    """The payments of the last days, of one merchant, or of all where the rules are the platform's."""
    found = Outlook(rules={rule.name: 0 for rule, _ in ruleset.rules})
    books = [book_id] if book_id != ids.PLATFORM else [r["id"] for r in await onboard.everybody(rt.control)]
    platforms = await rulesets.live(rt, ids.PLATFORM)
    for book in books:
        own = [r for r in await rulesets.live(rt, book) if r not in platforms]
        mine = (*own, ruleset) if book_id == ids.PLATFORM else (ruleset, *platforms)
        router = routes.Router(rt.health, await channel_accounts.of_merchant(rt, book), mine)
        await _one(rt, book, router, ruleset, days, found)
    return found


async def _one(rt: Env, book_id: UUID, router: routes.Router, ruleset: Ruleset, days: int, found: Outlook) -> None:
    after, seen = None, set[UUID]()
    while True:
        rows = await rt.db.rows(Q.past_payments, book_id, days, after, PAGE)
        for row in rows:
            intent = store.intent_of(row)
            after = row["asked_id"]
            if intent.id in seen:
                continue
            if found.payments >= MOST:
                found.whole = False
                return
            seen.add(intent.id)
            intent.created_at = row["asked_at"]
            _add(found, router, ruleset, Past(intent, row["asked_account"], row["asked_channel"], row["asked_way"]))
        if len(rows) < PAGE:
            return


def _add(found: Outlook, router: routes.Router, ruleset: Ruleset, past: Past) -> None:
    """Count one payment."""
    intent, type = past.intent, ways.TYPE.get((past.channel, past.way), "")
    found.payments += 1
    _count(found.before, past.account_id, intent)
    options = ways.together(intent.extra.get("payment_method_options", {}), {})
    try:
        fits, index, routed = routes.replayed(router, intent, type, options, intent.created_at)
    except GuilderError:
        found.nowhere += 1
        return
    way = fits[index]
    _count(found.after, way.account.id, intent)
    found.elsewhere += way.account.id != past.account_id
    if routed.ruleset == ids.show("rs", ruleset.id) and routed.rule is not None:
        found.rules[routed.rule] += 1
    found.skipped.update(s.rule for s in routed.skipped if s.why != NAMES_NOBODY)
    fees = [
        ruleset.fee(Candidate(id, channel, way_name), intent.amount)
        for id, channel, way_name in (
            (past.account_id, past.channel, past.way),
            (way.account.id, way.account.info.code, way.way),
        )
    ]
    if fees[0] is not None and fees[1] is not None:
        found.fees_before += fees[0]
        found.fees_after += fees[1]


def _count(flows: dict[UUID, Flow], account_id: UUID, intent: Intent) -> None:
    flow = flows.setdefault(account_id, Flow())
    flow.payments += 1
    flow.amounts[intent.currency] += intent.amount


async def tries(rt: Env, book_id: UUID, intent_id: UUID) -> list[Row]:
    """The tries of a payment, each with what chose its account."""
    return await rt.db.rows(Q.tries_of_payment, book_id, intent_id)
