"""Conditions: checked when they are written, true or false or said to be neither when they are worked out, and never for long."""

import time
from typing import Any

import pytest

from guilder.core.errors import Invalid
from guilder.routing import engine
from guilder.routing.engine import FACTS, CannotTell, compile_rule, prepare

FACT: dict[str, Any] = {
    "amount": 4200, "currency": "CNY", "method": "wechat_pay", "client": "web", "merchant": "acct_1", "business_line": "tea",
    "store": "st_1", "terminal": "", "customer": "", "origin": "api", "hour": 14, "minute": 30, "weekday": 7, "day": "2026-11-22",
    "user_agent": "Mozilla/5.0 MicroMessenger/8", "country": "CN", "issuer": "", "metadata": {"vip": "yes"},
    "hooks": {"risk.level": "high"},
}  # fmt: skip

HOLDS = {
    "true": True,
    "amount >= 1000 && currency == 'CNY'": True,
    "weekday in [6, 7] && hour >= 9 && hour < 18": True,
    "metadata.vip == 'yes'": True,
    "'vip' in metadata && metadata.vip != 'yes'": False,
    "'nothing' in metadata && metadata.nothing == 'x'": False,
    "user_agent.contains('MicroMessenger')": True,
    "user_agent.matches('^Mozilla/[0-9]')": True,
    "store == 'st_2' || country in ['CN', 'HK']": True,
    "day == '2026-11-11'": False,
    "issuer == ''": True,
    "hooks['risk.level'] == 'high' && !('risk.other' in hooks)": True,
}


@pytest.mark.parametrize(("text", "holds"), HOLDS.items(), ids=list(HOLDS))
def test_what_holds(text: str, holds: bool) -> None:
    assert compile_rule(text).holds(prepare(FACT)) is holds


BAD = {
    "amout > 1": "undeclared reference to 'amout'",
    "amount >": "Syntax error",
    "amount + 'a' == 1": "no matching overload",
    "amount": "true or false",
    "amount > 1.5 + 'x'": "no matching overload",
    "open('/etc/passwd')": "undeclared reference to 'open'",
    "__import__('os')": "__import__",
}


@pytest.mark.parametrize(("text", "why"), BAD.items(), ids=list(BAD))
def test_what_is_no_condition_is_refused_when_it_is_written(text: str, why: str) -> None:
    with pytest.raises(Invalid) as caught:
        compile_rule(text)
    assert why in caught.value.message


UNTOLD = ("metadata.nothing == 'x'", "amount / (amount - 4200) == 1", "amount * 9223372036854775807 > 0")


@pytest.mark.parametrize("text", UNTOLD)
def test_O1_what_cannot_be_worked_out_says_so(text: str) -> None:
    with pytest.raises(CannotTell):
        compile_rule(text).holds(prepare(FACT))


def test_nothing_runs_for_long() -> None:
    many = "[" + ",".join(["1"] * 300) + "]"
    when = compile_rule(f"{many}.all(x, {many}.all(y, {many}.all(z, x + y + z > 0)))")
    begun = time.monotonic()

    with pytest.raises((CannotTell, RuntimeError)):
        when.holds(prepare(FACT))
    assert time.monotonic() - begun < 1


def test_every_fact_is_there_and_no_other() -> None:
    assert FACT.keys() == FACTS.keys()
    for name, kind in FACTS.items():
        same = {"int": f"{name} == 1", "string": f"{name} == ''", "map": f"'x' in {name}"}[kind]
        assert isinstance(compile_rule(same).holds(prepare(FACT)), bool)


def test_a_process_without_rules_does_not_carry_the_engine() -> None:
    import subprocess
    import sys

    text = "import sys, guilder.payments.routes; print('cel_expr_python' in ''.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False", engine.__doc__
