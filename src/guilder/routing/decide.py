"""Decide: which of the candidates a payment is asked for at, and why at no other.  Pure."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import UNSET

from guilder.core import ids
from guilder.core.errors import Busy, Invalid
from guilder.platform.counters import Limit
from guilder.platform.health import Mood
from guilder.routing import engine
from guilder.routing.engine import CannotTell, Never, When
from guilder.routing.model import Candidate, Content, Passed, Routed, Rule, Skipped, Target

DAY_S, MINUTE_S = 86_400, 60
NAMES_NOBODY = "names_nobody"  # a rule that is true, of accounts that cannot take the payment


class Unavailable(Busy):
    """No channel account can take this payment now: each is paused, over its limit, or was tried. Nothing was done; try again with the same idempotency key."""

    code = "channel_unavailable"


@dataclass(frozen=True, slots=True, eq=False)
class Ruleset:
    """A version, compiled."""

    id: UUID
    number: int
    content: Content
    zone: ZoneInfo
    rules: tuple[tuple[Rule, When | Never], ...]

    def fee(self, candidate: Candidate, amount: int) -> int | None:
        """What a payment costs at a candidate, as far as this says."""
        fees = [f for f in self.content.fees if _names(f.of, candidate) and f.way in (candidate.way, UNSET)]
        best = max(fees, key=lambda f: (f.of.startswith("ca_"), isinstance(f.way, str)), default=None)
        return None if best is None else (amount * best.fee_bps + 5_000) // 10_000 + best.fixed

    def limits(self, candidate: Candidate, currency: str) -> tuple[Limit, ...]:
        """What the candidate takes at most, as counters know it."""
        found: list[Limit] = []
        for cap in self.content.limits:
            if not _names(cap.of, candidate):
                continue
            if isinstance(cap.amount_per_day, int) and cap.currency.upper() == currency:
                found.append(Limit(f"amount:{currency}", DAY_S, cap.amount_per_day))
            if isinstance(cap.count_per_minute, int):
                found.append(Limit("count", MINUTE_S, cap.count_per_minute))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Scene:
    """What a decision depends on beside rules and facts.  `tried`: accounts that are out, and why."""

    seed: UUID
    at: datetime
    may_probe: Callable[[UUID], bool] = lambda _: True
    tried: Mapping[UUID, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """The candidate that was chosen, by its place in the list, and why."""

    index: int
    routed: Routed
    limits: tuple[Limit, ...] = ()


def compiled(id: UUID, number: int, content: Content, *, was_live: bool = False) -> Ruleset:
    """A version, ready to decide.  Raises Invalid; of one that was checked and made live, a rule that is none any more is passed over
    payment by payment (O1)."""
    rules: list[tuple[Rule, When | Never]] = []
    for n, rule in enumerate(content.rules):
        if any(rule.name == other.name for other in content.rules[:n]):
            raise Invalid(f"There are two rules {rule.name!r}: names tell them apart.", param=f"rules[{n}][name]")
        try:
            rules.append((rule, engine.compile_rule(rule.when)))
        except Invalid as error:
            if was_live:
                rules.append((rule, Never(error.message)))
                continue
            raise Invalid(f"Rule {rule.name!r}: {error.message}", param=f"rules[{n}][when]") from error
    try:
        zone = ZoneInfo(content.zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise Invalid(f"There is no time zone {content.zone!r}.", param="zone") from error
    return Ruleset(id, number, content, zone, tuple(rules))


def decide(
    rulesets: Sequence[Ruleset], facts: Mapping[str, Any], candidates: Sequence[Candidate], scene: Scene
) -> Decision:
    """The candidate that the first true rule of the first ruleset that has one puts first, of those that can be asked now; without one,
    the first of the list.  Raises Unavailable if none can be asked."""
    skipped: list[Skipped] = []
    found = _rule(rulesets, facts, candidates, scene.at, skipped)
    if found is None:
        order, left = list(range(len(candidates))), []
    else:
        ruleset, rule = found
        order = _ordered(ruleset, rule, candidates, int(facts["amount"]), scene.seed)
        rest = [n for n in range(len(candidates)) if n not in order]
        order, left = (order, rest) if rule.only else (order + rest, [])
    out: dict[int, str] = {}
    chosen = next((n for n in order if not _out(candidates[n], scene, out, n)), None)
    last_resort = chosen is None
    if chosen is None:
        chosen = next((n for n in order if out[n] == "not_answering"), None)
    if chosen is None:
        raise Unavailable
    routed = Routed(
        _shown(candidates[chosen]),
        ids.show("rs", found[0].id) if found else None,
        found[0].number if found else None,
        found[1].name if found else None,
        found[1].strategy if found else None,
        tuple(
            Passed(_shown(c), "not_named" if n in left else out.get(n, "ranked_lower"), c.way)
            for n, c in enumerate(candidates)
            if n != chosen
        ),
        tuple(skipped),
        last_resort,
        next((fee for r in rulesets if (fee := r.fee(candidates[chosen], int(facts["amount"]))) is not None), None),
    )
    limits = tuple(m for r in rulesets for m in r.limits(candidates[chosen], facts["currency"]))
    return Decision(chosen, routed, limits)


def _out(candidate: Candidate, scene: Scene, out: dict[int, str], n: int) -> bool:
    """Whether a candidate cannot be asked now; why is noted."""
    standing, why = candidate.standing, scene.tried.get(candidate.account_id)
    if why is None and standing.paused:
        why = "paused"
    if why is None and standing.full:
        why = "over_limit"
    if why is None and (
        standing.mood is Mood.OPEN or (standing.mood is Mood.HALF_OPEN and not scene.may_probe(candidate.account_id))
    ):
        why = "not_answering"
    if why is not None:
        out[n] = why
    return why is not None


def _rule(
    rulesets: Sequence[Ruleset],
    facts: Mapping[str, Any],
    candidates: Sequence[Candidate],
    at: datetime,
    skipped: list[Skipped],
) -> tuple[Ruleset, Rule] | None:
    """(O1) The first rule that is true and names a candidate."""
    prepared: dict[str, Any] = {}
    for ruleset in rulesets:
        zone = ruleset.content.zone
        for rule, when in ruleset.rules:
            if zone not in prepared:
                prepared[zone] = engine.prepare({**facts, **_times(at.astimezone(ruleset.zone))})
            try:
                if not when.holds(prepared[zone]):
                    continue
            except CannotTell as error:
                skipped.append(Skipped(rule.name, str(error)))
                continue
            if any(_names(t.to, c) for t in rule.then for c in candidates):
                return ruleset, rule
            skipped.append(Skipped(rule.name, NAMES_NOBODY))
    return None


def _times(at: datetime) -> dict[str, Any]:
    return {"hour": at.hour, "minute": at.minute, "weekday": at.isoweekday(), "day": f"{at:%Y-%m-%d}"}


def _ordered(ruleset: Ruleset, rule: Rule, candidates: Sequence[Candidate], amount: int, seed: UUID) -> list[int]:
    """The candidates that a rule names, best first."""
    named: dict[int, tuple[int, Target]] = {}
    for place, target in enumerate(rule.then):
        for n, candidate in enumerate(candidates):
            if n not in named and _names(target.to, candidate):
                named[n] = (place, target)

    def key(n: int) -> tuple[Any, ...]:
        place, target = named[n]
        match rule.strategy:
            case "weighted":
                worth: float = _draw(seed, rule.name, candidates[n].account_id, target.weight)
            case "cheapest":
                fee = ruleset.fee(candidates[n], amount)
                worth = math.inf if fee is None else fee
            case "best_success":
                success = candidates[n].standing.success
                worth = -round(20 * (1.0 if success is None else success))  # one in twenty is noise
            case _:
                worth = 0
        return target.priority, worth, place, n

    return sorted(named, key=key)


def _draw(seed: UUID, rule: str, account_id: UUID, weight: int) -> float:
    """(O2) A draw that is the same whenever it is made: the least of these is first, in proportion to the weights."""
    if weight == 0:
        return math.inf
    drawn = hashlib.sha256(seed.bytes + account_id.bytes + rule.encode()).digest()
    return -math.log((int.from_bytes(drawn[:7]) + 1) / (1 << 56)) / weight


def _names(place: str, candidate: Candidate) -> bool:
    return place == candidate.channel or place == _shown(candidate)


def _shown(candidate: Candidate) -> str:
    return ids.show("ca", candidate.account_id)
