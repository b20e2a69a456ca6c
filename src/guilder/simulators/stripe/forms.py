"""Bodies and queries as Stripe reads them: names with brackets, `metadata[a]=b`, `expand[]=x`, `columns[0]=y`."""

import re
from typing import Any
from urllib.parse import parse_qsl

from guilder.simulators.stripe.errors import Refused

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PART = re.compile(r"\[([^\[\]]*)\]")


def read(text: str) -> dict[str, Any]:
    """A tree of what the form says; lists are lists, everything else is text.  Raises Refused on brackets that do not match."""
    tree: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        match = _NAME.fullmatch(name)
        if match is None:
            raise Refused(400, "invalid_request_error", f"Invalid parameter name: {name}", param=name)
        _put(tree, [match[1], *_PART.findall(match[2])], value)
    return {name: _settled(value) for name, value in tree.items()}


def _put(tree: dict[str, Any], path: list[str], value: str) -> None:
    *way, last = path
    for step in way:
        inner = tree.setdefault(step or str(len(tree)), {})
        if not isinstance(inner, dict):
            raise Refused(400, "invalid_request_error", f"Invalid object: {path[0]}", param=path[0])
        tree = inner
    tree[last or str(len(tree))] = value


def _settled(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {name: _settled(one) for name, one in value.items()}
    if inner and all(name.isdigit() for name in inner):
        return [inner[name] for name in sorted(inner, key=int)]
    return inner


class Form:
    """The parameters of one call.  Each is taken by name; what nobody took is refused, as Stripe does."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self._left = dict(fields)
        self.expand = self.texts("expand")

    def text(self, name: str, default: str = "") -> str:
        value = self._left.pop(name, default)
        if not isinstance(value, str):
            raise Refused(400, "invalid_request_error", f"Invalid string: {name}", param=name)
        return value

    def texts(self, name: str) -> list[str]:
        value = self._left.pop(name, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise Refused(400, "invalid_request_error", "Invalid array", param=name)
        return value

    def table(self, name: str) -> dict[str, str]:
        value = self._left.pop(name, {})
        if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
            raise Refused(400, "invalid_request_error", f"Invalid hash: {name}", param=name)
        return value

    def inner(self, name: str) -> "Form":
        value = self._left.pop(name, {})
        if not isinstance(value, dict):
            raise Refused(400, "invalid_request_error", f"Invalid object: {name}", param=name)
        return Form(value)

    def number(self, name: str, default: int | None = None) -> int | None:
        value = self.text(name)
        if value == "":
            return default
        if not re.fullmatch(r"-?\d{1,15}", value, re.ASCII):
            raise Refused(400, "invalid_request_error", f"Invalid integer: {value}", "parameter_invalid_integer", name)
        return int(value)

    def flag(self, name: str) -> bool:
        return self.text(name, "false").lower() == "true"

    def needed(self, name: str) -> str:
        value = self.text(name)
        if not value:
            raise Refused(400, "invalid_request_error", f"Missing required param: {name}.", "parameter_missing", name)
        return value

    def put(self, name: str, value: Any) -> None:
        """Give back what was only looked at."""
        if value:
            self._left[name] = value

    def end(self, *ignored: str) -> None:
        """Whatever is left is unknown."""
        for name in self._left:
            if name not in ignored:
                raise Refused(
                    400, "invalid_request_error", f"Received unknown parameter: {name}", "parameter_unknown", name
                )
