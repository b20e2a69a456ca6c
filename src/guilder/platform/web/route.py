"""Routes as data: what a call is, takes, needs and answers.  The server and the OpenAPI document are both made of these."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from guilder.core.check import must

Handler = Callable[..., Awaitable[Any]]
MAX_BODY = 256 * 1024  # bytes, unless a route says otherwise
_ID = re.compile(r"\{([a-z_]+)(?::([a-z]+))?\}")


@dataclass(frozen=True, slots=True)
class Route:
    """One operation.  `path` is as OpenAPI writes it; `prefixes` tells the prefix of each id in it, if it has one."""

    method: str
    path: str
    handler: Handler
    scope: str | None
    body: Any
    query: Any
    answer: Any
    summary: str
    description: str
    tag: str
    prefixes: dict[str, str | None]
    own: bool = False
    platform: bool = False
    max_body: int = MAX_BODY

    @property
    def operation_id(self) -> str:
        """The handler's name: unique among all routes (`build` checks it)."""
        return str(getattr(self.handler, "__name__", ""))


def route(
    method: str,
    path: str,
    *,
    scope: str | None,
    answer: Any,
    body: Any = None,
    query: Any = None,
    summary: str = "",
    tag: str = "",
    own: bool = False,
    platform: bool = False,
    max_body: int = MAX_BODY,
) -> Callable[[Handler], Route]:
    """Make a Route of `async def handler(call[, body | query]) -> answer | Answer`.

    `path` may tell an id's prefix: `/v1/payment_intents/{intent:pi}`.  `scope` is what the key must be allowed; None opens
    the call to everybody, without a key.  `own`: whoever is allowed to with what is his own may call it, and the handler sees to that
    (`call.only_own`).  `platform`: it concerns every account, so nobody calls it at one of them.  `answer` is a msgspec Struct or Listing[Struct]; the docstring is the description.
    """
    must(method in ("GET", "POST", "DELETE"), f"{method} is no method of the dialect")
    must((method == "POST") or body is None, "only POST has a body; the others take their parameters in the query")
    must((method != "POST") or query is None, "a POST takes its parameters in the body")

    def make(handler: Handler) -> Route:
        text = " ".join((handler.__doc__ or "").split())
        title = summary or text.partition(".")[0] or str(getattr(handler, "__name__", "")).replace("_", " ")
        prefixes = {name: prefix or None for name, prefix in _ID.findall(path)}
        bare = _ID.sub(r"{\1}", path)
        return Route(
            method,
            bare,
            handler,
            scope,
            body,
            query,
            answer,
            title,
            text,
            tag or _tag(bare),
            prefixes,
            own,
            platform,
            max_body,
        )

    return make


def _tag(path: str) -> str:
    """`/v1/payment_intents/{intent}` -> `Payment intents`."""
    first = path.strip("/").split("/")[1:2] or ["Other"]
    return first[0].replace("_", " ").capitalize()


class Table:
    """Finds the operations of a path in one walk, however many paths there are."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._root: dict[str, Any] = {}
        for r in routes:
            node = self._root
            for part in r.path.split("/")[1:]:
                node = node.setdefault("{}" if part.startswith("{") else part, {})
            names, methods = node.setdefault("", (tuple(r.prefixes), {}))
            must(names == tuple(r.prefixes), f"{r.path} names its ids differently than its neighbour")
            must(r.method not in methods, f"{r.method} {r.path} is declared twice")
            methods[r.method] = r

    def find(self, path: str) -> tuple[dict[str, Route], dict[str, str]] | None:
        """The routes of `path` by method, and its ids; None if there is no such path."""
        node = self._root
        ids: list[str] = []
        for part in path.split("/")[1:]:
            if (below := node.get(part)) is not None and part not in ("", "{}"):
                node = below
            elif (below := node.get("{}")) is not None and part:
                node = below
                ids.append(part)
            else:
                return None
        if (leaf := node.get("")) is None:
            return None
        names, methods = leaf
        return methods, dict(zip(names, ids, strict=True))
