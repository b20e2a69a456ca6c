"""What UnionPay signs, and how its replies are taken apart.

Signed:   all parameters but `signature`, none empty, sorted by name, `k=v` joined by `&`, not url-encoded; of that text SHA-256 in
          lower-case hex; and of those 64 letters SHA256withRSA, which hashes them a second time.
Replies:  `k=v&k=v`, not url-encoded: a value may hold `=` and `+`, and inside `{...}` or `[...]` also `&`.
Callbacks are ordinary forms.
"""

import re
from collections.abc import Mapping
from hashlib import sha256

from guilder.channels.reading import each_once

Value = bytes | memoryview  # a reply may hold a file of a hundred megabytes: its values are looked at, not copied

_MARK = re.compile(rb"[&{\[]")
_CLOSING = {b"{": b"}", b"[": b"]"}


def signed_text(params: Mapping[str, Value]) -> bytes:
    """The 64 letters over which RSA signs."""
    text = sha256()
    joint = b""
    for name in sorted(params):
        if name != "signature" and len(params[name]):
            text.update(joint + name.encode() + b"=")
            text.update(params[name])
            joint = b"&"
    return text.hexdigest().encode()


def read_reply(body: bytes) -> dict[str, Value]:
    """The parameters of a reply.  ValueError if it is none."""
    view, at = memoryview(body), 0
    found: list[tuple[str, Value]] = []
    while at <= len(body):
        equals = body.index(b"=", at)
        end = _end(body, equals + 1)
        name = body[at:equals].decode("ascii")
        if not name.isalnum():
            raise ValueError(f"{name[:40]!r} is no name")
        found.append((name, view[equals + 1 : end]))
        at = end + 1
    return each_once(found)


def _end(body: bytes, at: int) -> int:
    """Where the value that begins at `at` ends.  Brackets do not nest."""
    while mark := _MARK.search(body, at):
        if mark[0] == b"&":
            return mark.start()
        at = body.index(_CLOSING[mark[0]], mark.end()) + 1
    return len(body)
