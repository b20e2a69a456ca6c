"""Named queries: plain SQL in `queries.sql`, one `-- name:` line each.

    queries = load(__package__)    # src/guilder/ledger/queries.sql
    await tx.rows(queries.lock_accounts, books, ids)

A comment right under the name is the query's documentation.  tests/test_tidy.py PREPAREs every query on the real schema and
checks that every query is called.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_PARAMETER = re.compile(r"\$(\d+)")
_NAME = re.compile(r"^-- name: (\w+)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Query:
    name: str
    text: str


@cache
def walked(query: Query, upwards: bool) -> Query:
    """A list query that ends in `ORDER BY … DESC LIMIT …`, walked the other way if `upwards`: either way along the index."""
    if not upwards:
        return query
    head, _, tail = query.text.rpartition(" DESC")
    return Query(f"{query.name} upwards", f"{head} ASC{tail}")


@cache
def together(queries: tuple[Query, ...]) -> str:
    """Several writes as one statement, their parameters one after the other.  It returns what the last returns."""
    *others, last = queries
    begun, parts = 0, []
    for number, query in enumerate(others):
        parts.append(f"w{number} AS (\n{_shifted(query.text, begun)}\n)")
        begun += _parameters(query.text)
    ending = _shifted(last.text, begun)
    return f"WITH {', '.join(parts)}\n{ending}" if parts else ending


def _parameters(text: str) -> int:
    return max((int(n) for n in _PARAMETER.findall(text)), default=0)


def _shifted(text: str, by: int) -> str:
    return _PARAMETER.sub(lambda found: f"${int(found[1]) + by}", text) if by else text


class Queries:
    """The queries of one file, as attributes."""

    def __init__(self, package: str, source: str) -> None:
        parts = _NAME.split(source)
        self.package = package
        self.all: dict[str, Query] = {}
        for name, body in zip(parts[1::2], parts[2::2], strict=True):
            if name in self.all:
                raise ValueError(f"{package}/queries.sql names {name} twice")
            self.all[name] = Query(f"{package}.{name}", body.strip().rstrip(";"))

    def __getattr__(self, name: str) -> Query:
        try:
            return self.all[name]
        except KeyError:
            raise AttributeError(f"{self.package}/queries.sql has no query {name!r}") from None


@cache
def load(package: str) -> Queries:
    """The queries of `package`."""
    return Queries(package, files(package).joinpath("queries.sql").read_text("utf-8"))
