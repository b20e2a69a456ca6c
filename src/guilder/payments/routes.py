"""Routes: which of the ways that fit a payment it takes: rules, health and limits between `ways.fitting` and the choice.

    router = await routes.router(rt, book_id)               # contracts and rules, cached
    choice = router.choose(intent, "wechat_pay", options)   # inside the transaction that notes the attempt: pure

Where there is nothing to choose (one account, no rules, nothing wrong with it) nothing is worked out, and nothing is kept.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from guilder.core import clock, ids
from guilder.merchants import channel_accounts
from guilder.merchants.channel_accounts import ChannelAccount
from guilder.payments import ways
from guilder.payments.model import Intent
from guilder.payments.ways import Way
from guilder.platform import telemetry
from guilder.platform.counters import Limit
from guilder.platform.environment import Env
from guilder.platform.health import UP, Health
from guilder.routing import rulesets
from guilder.routing.decide import NAMES_NOBODY, Ruleset, Scene, decide
from guilder.routing.model import Candidate, Skipped

_encode = msgspec.json.Encoder().encode
TELL_S = 60
_told: dict[str, float] = {}  # rules that could not be worked out, and when this process told somebody
Tried = Mapping[UUID, str]  # channel accounts that are out, and why
NOBODY: Tried = {}


class Choice(msgspec.Struct, frozen=True):
    """The way a payment takes, and why, as it is kept with the attempt.  `limits`: what has to have room first."""

    way: Way
    routed: str | None = None
    limits: tuple[Limit, ...] = ()
    faults: tuple[Skipped, ...] = ()  # rules that could not be worked out, and of which nobody was told a moment ago


@dataclass(frozen=True, slots=True)
class Payer:
    """What is known of whoever pays, where rules may ask."""

    user_agent: str = ""
    country: str = ""


@dataclass(frozen=True, slots=True)
class Router:
    """A merchant's contracts, and the rules among them."""

    health: Health
    accounts: Sequence[ChannelAccount]
    rulesets: Sequence[Ruleset]

    def choose(
        self, intent: Intent, type: str, options: Mapping[str, Any], *, payer: Payer = Payer(), tried: Tried = NOBODY,
    ) -> Choice:  # fmt: skip
        """The way that a payment of `type` takes now.  Raises Invalid if none fits, Unavailable if none of those that fit can be asked."""
        hold = intent.extra.get("capture_method") == "manual"
        fits = ways.fitting(type, self.accounts, intent.currency, options, intent.amount, hold=hold)
        standing = [self.health.standing(w.account.id) for w in fits]
        if len(fits) == 1 and not self.rulesets and not tried and standing[0].well:
            return Choice(fits[0])
        candidates = [
            Candidate(w.account.id, w.account.info.code, w.way, s) for w, s in zip(fits, standing, strict=True)
        ]
        scene = Scene(intent.id, clock.now(), self.health.may_probe, tried)
        facts = (
            facts_of(intent, type, options, payer)
            if self.rulesets
            else {"amount": intent.amount, "currency": intent.currency}
        )
        decision = decide(self.rulesets, facts, candidates, scene)
        routed = decision.routed
        telemetry.ROUTED.labels(
            "last_resort" if routed.last_resort else "rule" if routed.rule else "elsewhere" if tried else "oldest"
        ).inc()
        return Choice(fits[decision.index], _encode(routed).decode(), decision.limits, _faults(routed.skipped))


def _faults(skipped: Sequence[Skipped]) -> tuple[Skipped, ...]:
    """(O1) What a person is to be told of: each rule once a minute, for every payment may meet it."""
    found = []
    for skip in skipped:
        if skip.why == NAMES_NOBODY:
            continue
        telemetry.RULES_SKIPPED.labels(skip.rule).inc()
        if time.monotonic() - _told.get(skip.rule, -TELL_S) >= TELL_S:
            _told[skip.rule] = time.monotonic()
            found.append(skip)
    return tuple(found)


async def router(rt: Env, book_id: UUID) -> Router:
    """What a payment of a merchant is routed by."""
    return Router(rt.health, await channel_accounts.of_merchant(rt, book_id), await rulesets.live(rt, book_id))


def facts_of(intent: Intent, type: str, options: Mapping[str, Any], payer: Payer) -> dict[str, Any]:
    """What rules may ask about (routing.engine.FACTS), but for the time."""
    said: Mapping[str, str] = options.get(type) or {}
    shipping = ((intent.extra.get("shipping") or {}).get("address") or {}).get("country")
    return {
        "amount": intent.amount,
        "currency": intent.currency,
        "method": type,
        "client": said.get("client") or "",
        "merchant": ids.show("acct", intent.book_id),
        "business_line": intent.business_line,
        "store": said.get("store_id") or "",
        "terminal": said.get("terminal_id") or "",
        "customer": ids.show("cus", intent.customer_id) if intent.customer_id is not None else "",
        "origin": intent.origin,
        "user_agent": payer.user_agent,
        "country": payer.country or shipping or "",
        "issuer": said.get("issuer") or "",
        "metadata": intent.metadata,
        "hooks": intent.extra.get("hooks", {}),
    }


def replayed(
    router: Router, intent: Intent, type: str, options: Mapping[str, Any], at: datetime
) -> tuple[Sequence[Way], int, Any]:
    """Where a past payment would have gone had every channel been well: the ways that fit, which of them, and why."""
    hold = intent.extra.get("capture_method") == "manual"
    fits = ways.fitting(type, router.accounts, intent.currency, options, intent.amount, hold=hold, asked=False)
    candidates = [Candidate(w.account.id, w.account.info.code, w.way, UP) for w in fits]
    decision = decide(router.rulesets, facts_of(intent, type, options, Payer()), candidates, Scene(intent.id, at))
    return fits, decision.index, decision.routed
