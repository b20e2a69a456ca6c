"""Bodies and queries as they come: bytes to a tree of texts, before anything is known about their types.

    read_form(b"amount=100&metadata[2024]=x&expand[]=a&expand[]=b")
    # {'amount': '100', 'metadata': {'2024': 'x'}, 'expand': {'': Repeated(['a', 'b'])}}

The tree keeps what was said and decides nothing: whether `{'0': ...}` is a list or a map is known only by the declared type
(`params.py`).  Strict where laxness loses money: UTF-8, percent-encoding, a value or an object but not both, no NUL, no
duplicate JSON keys, and bounds on everything.  starlette's `request.form()` is not used: it had no limits for url-encoded
bodies (CVE-2026-54283), and knows no brackets.
"""

import json
import re
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes

from guilder.core.errors import Invalid

MAX_FIELDS = 1000
MAX_DEPTH = 8  # Stripe's own parameters nest four levels deep
MAX_ECHO = 40  # characters of a wrong value that an error repeats
MAX_NAME = 200  # and of a name

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Repeated(list[str]):
    """Values that were given under one and the same name: right for a list, a mistake anywhere else."""


def echo(value: object, most: int = MAX_ECHO) -> str:
    """`value` short enough to stand in an error."""
    text = str(value).encode("utf-8", "replace").decode()
    return text if len(text) <= most else text[:most] + "…"


def read_form(raw: bytes) -> dict[str, Any]:
    """The tree of an url-encoded body or query: str, dict or Repeated at each node.  Invalid if it is malformed."""
    if not raw:
        return {}
    if raw.count(b"&") >= MAX_FIELDS:
        raise Invalid(f"A request may have at most {MAX_FIELDS} parameters.")
    root: dict[str, Any] = {}
    for pair in _text(raw).split("&"):
        if pair:
            name, _, value = pair.partition("=")
            _put(root, _unquote(name), _unquote(value))
    return root


def _put(root: dict[str, Any], name: str, value: str) -> None:
    """Hang one field into the tree."""
    if "[" not in name and "]" not in name:
        parts = [name]
    elif match := _NAME.fullmatch(name):
        parts = [match[1], *match[2][1:-1].split("][")]
    else:
        raise Invalid(f"Invalid parameter name: {echo(name, MAX_NAME)}", param=echo(name, MAX_NAME))
    if not parts[0]:
        raise Invalid("A parameter has no name.")
    if len(parts) > MAX_DEPTH:
        raise Invalid(
            f"Parameters may nest at most {MAX_DEPTH} levels deep: {echo(name, MAX_NAME)}", param=echo(name, MAX_NAME)
        )
    node = root
    for part in parts[:-1]:
        node = node.setdefault(part, {})
        if type(node) is not dict:
            _both(name)
    last = parts[-1]
    held = node.get(last)
    if held is None:
        node[last] = value
    elif type(held) is Repeated:
        held.append(value)
    elif type(held) is str:
        node[last] = Repeated((held, value))
    else:
        _both(name)


def _both(name: str) -> NoReturn:
    raise Invalid(
        f"Parameter {echo(name, MAX_NAME)} is given both as a value and as an object.", param=echo(name, MAX_NAME)
    )


def _text(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Invalid("The request is not valid UTF-8.") from None
    if "\0" in text:
        raise Invalid("The request contains a NUL character.")
    return text


def _unquote(part: str) -> str:
    if "+" in part:
        part = part.replace("+", " ")
    if "%" not in part:
        return part
    if _BAD_PERCENT.search(part):
        raise Invalid(f"The request is not correctly percent-encoded: {echo(part)}")
    return _text(unquote_to_bytes(part))


def read_json(raw: bytes) -> dict[str, Any]:
    """The tree of a JSON body, which must be an object.  Invalid for anything RFC 8259 leaves to taste: duplicate keys, NaN,
    lone surrogates, unbounded depth."""
    try:
        tree = json.loads(_text(raw), object_pairs_hook=_object, parse_constant=_no_constant)
        if b"\\u" in raw:
            _sound(tree)
    except (ValueError, RecursionError):
        raise Invalid("The request body is not valid JSON.") from None
    if type(tree) is not dict:
        raise Invalid("The request body must be a JSON object.")
    return tree


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Invalid(f"Parameter {echo(twice, MAX_NAME)} is given more than once.", param=echo(twice, MAX_NAME))
    return tree


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _sound(tree: Any) -> None:
    """Invalid if a text in the tree holds NUL or half a surrogate pair, which PostgreSQL could not store."""
    match tree:
        case str():
            if "\0" in tree:
                raise Invalid("The request contains a NUL character.")
            if _SURROGATE.search(tree):
                raise Invalid("The request is not valid UTF-8.")
        case dict():
            for name, part in tree.items():
                _sound(name)
                _sound(part)
        case list():
            for part in tree:
                _sound(part)
