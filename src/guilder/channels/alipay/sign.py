"""What Alipay signs, and how the signed bytes are found again.

Calls:      all parameters but `sign`, none empty, sorted, `k=v` joined by `&`, not yet url-encoded; `sign_type` is among them.
Callbacks:  the same, without `sign_type`.
Replies:    the exact text of the object after "alipay_..._response": in {"alipay_..._response":{...},"sign":"..."}.
"""

import re
from collections.abc import Mapping
from json import JSONDecoder
from typing import Any

from guilder.channels.reading import each_once

_DECODER = JSONDecoder(object_pairs_hook=each_once)
_SPACE = re.compile(r"[ \t\r\n]*")


def signed_text(params: Mapping[str, str], without: frozenset[str] = frozenset({"sign"})) -> bytes:
    """The text over which parameters are signed."""
    return "&".join(f"{k}={params[k]}" for k in sorted(params) if params[k] and k not in without).encode()


def members(text: str) -> dict[str, tuple[Any, str]]:
    """The members of a JSON object: name -> value and the exact text of the value.  ValueError for anything else."""
    try:
        return _members(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _members(text: str) -> dict[str, tuple[Any, str]]:
    found: list[tuple[str, tuple[Any, str]]] = []
    at = _skip(text, _mark(text, "{", _skip(text, 0)))
    while text[at : at + 1] != "}":
        if found:
            at = _skip(text, _mark(text, ",", at))
        name, at = _DECODER.raw_decode(text, at)
        if not isinstance(name, str):
            raise ValueError("a member without a name")
        start = _skip(text, _mark(text, ":", _skip(text, at)))
        value, at = _DECODER.raw_decode(text, start)
        found.append((name, (value, text[start:at])))
        at = _skip(text, at)
    if _skip(text, at + 1) != len(text):
        raise ValueError("there is more after the object")
    return each_once(found)


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _mark(text: str, mark: str, at: int) -> int:
    """The place after `mark`, which must stand here."""
    if text[at : at + 1] != mark:
        raise ValueError(f"no {mark!r} at {at}")
    return at + 1
