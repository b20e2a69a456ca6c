"""The expression engine: CEL, by Google's own library.  The one module that knows it.

    when = compile_rule('amount >= 100000 && weekday in [6, 7]')       # raises Invalid: a name that is not there, a type that does not fit
    when.holds(facts)                                                  # raises CannotTell

CEL has no loops that do not end, no I/O, no state: what is compiled is type-checked against FACTS and must be true or false, and what it may
iterate over while it runs is bounded by the library.  It is loaded with the first ruleset: a process that has none does not carry it.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from guilder.core.errors import Invalid

# What a rule may ask about.  Everything is always there: an absent text is ''.
FACTS: dict[str, str] = {
    "amount": "int",  # minor units
    "currency": "string",  # 'CNY'
    "method": "string",  # the type that the payer chose: 'wechat_pay'
    "client": "string",  # where the payer is: 'web', 'jsapi', 'app'; '' if nothing was said
    "merchant": "string",  # 'acct_…'
    "business_line": "string",
    "store": "string",
    "terminal": "string",
    "customer": "string",  # 'cus_…'
    "origin": "string",  # 'api', 'checkout'
    "hour": "int",  # 0 to 23, in the ruleset's zone
    "minute": "int",
    "weekday": "int",  # 1 is Monday
    "day": "string",  # '2026-11-11'
    "user_agent": "string",  # of the payer's browser, where it is known
    "country": "string",  # of the billing or shipping address
    "issuer": "string",
    "hooks": "map",  # what plug-ins said: hooks["stock.region"] == "north"
    "metadata": "map",  # "x" in metadata && metadata.x == "y"
}


class CannotTell(Exception):
    """A rule that could not be worked out for these facts."""


@cache
def _environment() -> Any:
    from cel_expr_python import cel

    kinds = {"int": cel.Type.INT, "string": cel.Type.STRING, "map": cel.Type.Map(cel.Type.STRING, cel.Type.STRING)}
    return cel.NewEnv(variables={name: kinds[kind] for name, kind in FACTS.items()})


class When:
    """A compiled condition."""

    __slots__ = ("_expression",)

    def __init__(self, expression: Any) -> None:
        self._expression = expression

    def holds(self, facts: Any) -> bool:
        """Whether it is true of what `prepare` made.  Raises CannotTell."""
        found = self._expression.eval(facts).value()
        if not isinstance(found, bool):
            raise CannotTell(str(found)[:200])
        return found


class Never:
    """A condition that was once compiled and is none any more, after an upgrade say: every payment hears so."""

    def __init__(self, why: str) -> None:
        self._why = why

    def holds(self, _facts: Any) -> bool:
        """Raises CannotTell."""
        raise CannotTell(self._why)


def compile_rule(text: str) -> When:
    """A condition, checked.  Raises Invalid; the message points into the text."""
    try:
        expression = _environment().compile(text)
    except (RuntimeError, ValueError) as error:
        raise Invalid(f"This is no condition: {error}", param="when") from error
    if expression.return_type().name() != "BOOL":
        raise Invalid(f"A condition is true or false; this is {expression.return_type().name()}: {text}", param="when")
    return When(expression)


def prepare(facts: Mapping[str, Any]) -> Any:
    """Facts as conditions take them: made once, for all rules of a payment."""
    return _environment().Activation(facts)
