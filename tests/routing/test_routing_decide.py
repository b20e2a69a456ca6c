"""Which candidate is chosen, and why no other: pure, so every promise is a line."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from guilder.core import ids
from guilder.core.errors import Invalid
from guilder.platform.health import Mood, Standing
from guilder.routing.decide import Decision, Ruleset, Scene, Unavailable, compiled, decide
from guilder.routing.model import Candidate
from guilder.routing.rulesets import read

A, B, C = (ids.new_id() for _ in range(3))
SHOWN = {id: ids.show("ca", id) for id in (A, B, C)}
SUNDAY_NOON = datetime(2026, 11, 22, 4, tzinfo=UTC)  # in Shanghai
FACT: dict[str, Any] = {
    "amount": 5000, "currency": "CNY", "method": "wechat_pay", "client": "web", "merchant": "acct_1", "business_line": "", "store": "",
    "terminal": "", "customer": "", "origin": "api", "user_agent": "", "country": "", "issuer": "", "metadata": {},
}  # fmt: skip


def rules(*rules: dict[str, Any], **more: Any) -> Ruleset:
    named = [{"name": f"rule {n}", **r} for n, r in enumerate(rules)]
    return compiled(ids.new_id(), 3, read({"rules": named, **more}))


def candidates(**standing: Standing) -> list[Candidate]:
    ways = {"a": (A, "wechatpay"), "b": (B, "wechatpay"), "c": (C, "stripe")}
    return [Candidate(id, channel, "native", standing.get(n, Standing())) for n, (id, channel) in ways.items()]


def choose(*rulesets: Ruleset, over: dict[str, Any] | None = None, seed: UUID | None = None, tried: Any = None, probe: bool = True, **standing: Standing) -> Decision:  # fmt: skip
    scene = Scene(seed or ids.new_id(), SUNDAY_NOON, lambda _: probe, tried or {})
    return decide(rulesets, {**FACT, **(over or {})}, candidates(**standing), scene)


def passed(decision: Decision) -> dict[str, str]:
    return {p.account: p.why for p in decision.routed.passed}


def test_without_rules_the_oldest_is_asked() -> None:
    found = choose()

    assert (found.index, found.routed.rule) == (0, None)
    assert passed(found) == {SHOWN[B]: "ranked_lower", SHOWN[C]: "ranked_lower"}


def test_the_first_rule_that_is_true_decides() -> None:
    ruleset = rules({"when": "amount > 9000", "then": [{"to": SHOWN[B]}]}, {"then": [{"to": "stripe"}]})

    assert choose(ruleset).index == 2
    found = choose(ruleset, over={"amount": 9001})
    assert (found.index, found.routed.rule, found.routed.number) == (1, "rule 0", 3)


def test_hours_and_days_are_those_of_the_rulesets_zone() -> None:
    night = {"when": "weekday == 7 && hour == 12", "then": [{"to": SHOWN[B]}]}

    assert choose(rules(night)).index == 1
    assert choose(rules(night, zone="UTC")).index == 0


def test_a_merchants_own_rules_come_before_the_platforms() -> None:
    own, platforms = rules({"when": "amount > 9000", "then": [{"to": SHOWN[B]}]}), rules({"then": [{"to": SHOWN[C]}]})

    assert choose(own, platforms).index == 2
    assert choose(own, platforms, over={"amount": 9001}).index == 1


def test_O1_a_rule_that_cannot_be_worked_out_is_passed_over_and_said() -> None:
    found = choose(rules({"when": "metadata.x == '1'", "then": [{"to": SHOWN[B]}]}, {"then": [{"to": SHOWN[C]}]}))

    assert found.index == 2
    [skipped] = found.routed.skipped
    assert (skipped.rule, "Key not found" in skipped.why) == ("rule 0", True)


def test_a_rule_that_names_nobody_here_is_passed_over() -> None:
    found = choose(rules({"then": [{"to": "paypal"}]}, {"then": [{"to": SHOWN[B]}]}))

    assert (found.index, [s.why for s in found.routed.skipped]) == (1, ["names_nobody"])


def test_O2_a_draw_is_in_proportion_and_the_same_for_the_same_payment() -> None:
    ruleset = rules({"strategy": "weighted", "then": [{"to": SHOWN[A], "weight": 1}, {"to": SHOWN[B], "weight": 3}]})
    seeds = [ids.new_id() for _ in range(4000)]

    drawn = [choose(ruleset, seed=s).index for s in seeds]

    assert drawn == [choose(ruleset, seed=s).index for s in seeds]
    assert 0.72 < Counter(drawn)[1] / len(drawn) < 0.78
    assert set(drawn) == {0, 1}, "the third is not in the draw"


def test_weight_0_is_drawn_only_if_nothing_else_is_left() -> None:
    ruleset = rules({"strategy": "weighted", "then": [{"to": SHOWN[A], "weight": 0}, {"to": SHOWN[B]}]})

    assert {choose(ruleset).index for _ in range(50)} == {1}
    assert choose(ruleset, b=Standing(paused=True)).index == 0


def test_priorities_come_before_weights() -> None:
    then = [{"to": SHOWN[A], "weight": 1000, "priority": 1}, {"to": SHOWN[B], "weight": 1}]

    assert {choose(rules({"strategy": "weighted", "then": then})).index for _ in range(50)} == {1}


def test_the_cheapest_by_amount_account_and_way() -> None:
    fees = [
        {"of": "wechatpay", "fee_bps": 60},
        {"of": "stripe", "fee_bps": 20, "fixed": 30},
        {"of": SHOWN[B], "fee_bps": 55, "way": "native"},
    ]
    ruleset = rules({"strategy": "cheapest", "then": [{"to": "wechatpay"}, {"to": "stripe"}]}, fees=fees)

    small, large = choose(ruleset, over={"amount": 2000}), choose(ruleset, over={"amount": 100_000})

    assert (small.index, small.routed.fee) == (1, 11)  # against 12 and 34
    assert (large.index, large.routed.fee) == (2, 230)
    assert [ruleset.fee(c, 1000) for c in candidates()] == [6, 6, 32]


def test_the_best_by_recent_success_with_one_in_twenty_taken_for_noise() -> None:
    ruleset = rules({"strategy": "best_success", "then": [{"to": SHOWN[A]}, {"to": SHOWN[B]}]})

    assert choose(ruleset, a=Standing(success=0.80), b=Standing(success=0.95)).index == 1
    assert choose(ruleset, a=Standing(success=0.96), b=Standing(success=0.97)).index == 0


def test_O3_every_candidate_that_is_not_chosen_has_its_reason() -> None:
    ruleset = rules({"only": True, "then": [{"to": SHOWN[A]}, {"to": SHOWN[B]}]})

    assert passed(choose(ruleset, a=Standing(paused=True))) == {SHOWN[A]: "paused", SHOWN[C]: "not_named"}
    assert passed(choose(ruleset, a=Standing(full=True)))[SHOWN[A]] == "over_limit"
    assert passed(choose(ruleset, a=Standing(Mood.OPEN)))[SHOWN[A]] == "not_answering"
    assert passed(choose(ruleset, tried={A: "not_sent"}))[SHOWN[A]] == "not_sent"
    with pytest.raises(Unavailable):
        choose(ruleset, tried={A: "not_sent", B: "not_sent"})


def test_what_a_rule_does_not_name_follows_behind() -> None:
    ruleset = rules({"then": [{"to": SHOWN[C]}]})

    assert choose(ruleset, c=Standing(Mood.OPEN)).index == 0
    assert choose(ruleset, c=Standing(Mood.OPEN), a=Standing(paused=True)).index == 1


def test_O4_what_does_not_answer_is_asked_where_nothing_else_is_left_and_what_is_paused_never() -> None:
    down, paused = Standing(Mood.OPEN), Standing(paused=True)

    last = choose(a=paused, b=down, c=down)
    assert (last.index, last.routed.last_resort) == (1, True)
    with pytest.raises(Unavailable):
        choose(a=paused, b=paused, c=paused)
    with pytest.raises(Unavailable):
        choose(a=paused, b=Standing(full=True), c=paused)


def test_one_that_is_probed_gets_a_payment_now_and_then() -> None:
    half = Standing(Mood.HALF_OPEN)

    assert choose(a=half, probe=True).index == 0
    assert choose(a=half, probe=False).index == 1


def test_limits_are_those_of_the_chosen_account() -> None:
    limits = [{"of": "wechatpay", "amount_per_day": 100_000}, {"of": SHOWN[B], "count_per_minute": 5}, {"of": "stripe", "amount_per_day": 9, "currency": "usd"}]  # fmt: skip

    assert [m.key for m in choose(rules(limits=limits)).limits] == ["amount:CNY"]
    assert [(m.key, m.window_s, m.most) for m in choose(rules({"then": [{"to": SHOWN[B]}]}, limits=limits)).limits] == [
        ("amount:CNY", 86_400, 100_000),
        ("count", 60, 5),
    ]
    assert choose(rules({"then": [{"to": "stripe"}]}, limits=limits)).limits == ()


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no such fact": ({"rules": [{"name": "x", "when": "nope == 1", "then": [{"to": "alipay"}]}]}, "Rule 'x'"),
    "two of a name": ({"rules": [{"name": "x", "then": [{"to": "alipay"}]}] * 2}, "two rules 'x'"),
    "no such zone": ({"zone": "Mars/Base"}, "no time zone"),
    "nobody": ({"rules": [{"name": "x", "then": []}]}, "$.rules[0].then"),
    "no place": ({"rules": [{"name": "x", "then": [{"to": "Ca_1"}]}]}, "$.rules[0].then[0].to"),
    "unknown word": ({"ruels": []}, "ruels"),
    "no strategy": ({"rules": [{"name": "x", "then": [{"to": "alipay"}], "strategy": "luck"}]}, "luck"),
}


@pytest.mark.parametrize(("content", "why"), BAD.values(), ids=list(BAD))
def test_what_are_no_rules_is_refused_by_name(content: dict[str, Any], why: str) -> None:
    with pytest.raises(Invalid) as caught:
        compiled(ids.new_id(), 0, read(content))
    assert why in caught.value.message


def test_O1_of_a_version_that_was_live_a_rule_that_is_none_any_more_fails_no_payment() -> None:
    content = read({"rules": [{"name": "gone", "when": "fact_of_old == 1", "then": [{"to": "stripe"}]}, {"name": "rest", "then": [{"to": SHOWN[B]}]}]})  # fmt: skip
    found = choose(compiled(ids.new_id(), 1, content, was_live=True))

    assert (found.index, [s.rule for s in found.routed.skipped]) == (1, ["gone"])
