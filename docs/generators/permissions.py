"""docs/reference/permissions.md: which call wants which permission, and which roles have it.  tests/people/test_matrix.py tries every cell."""

import re
from importlib.resources import files

from guilder.app import domains
from guilder.merchants.keys import SCOPES
from guilder.people.model import PERMISSIONS
from guilder.platform.web import Route

_ROLE = re.compile(r"\('(\w+)', true, '([^']*)', ARRAY\[([^\]]*)\]\)")


def roles() -> dict[str, tuple[str, frozenset[str]]]:
    """The built-in roles, as the schema makes them: what each is for, and its permissions."""
    sql = files("guilder.people").joinpath("schema.sql").read_text("utf-8")
    return {name: (about, frozenset(re.findall(r"'([^']+)'", held))) for name, about, held in _ROLE.findall(sql)}


def page() -> str:
    """The page."""
    known = roles()
    lines = [
        "# Permissions", "",
        "A call names one permission. A key has it if it is one of its scopes; a person or service account, if a role of theirs has it where "
        "the call goes: at the platform, or at the merchant that `Stripe-Account` names. *own*: it may be called, too, by whoever has it for "
        "what is his own. *platform*: it concerns every account, and is called without `Stripe-Account`. *keys*: a merchant's keys can have it.",
        "", "| role | is for |", "|---|---|", *(f"| `{name}` | {about} |" for name, (about, _) in known.items()), "",
        "## Who has what", "", *_table(["permission", "keys"], known, [(p, [f"`{p}`", "●" if p in SCOPES else ""]) for p in PERMISSIONS]), "",
        "## Which call wants what", "",
        *_table(["call", "permission", ""], known, [(r.scope, [f"`{r.method} {r.path}`", *_of(r)]) for r in _sorted()]),
    ]  # fmt: skip
    return "\n".join(lines)


def _sorted() -> list[Route]:
    return sorted(domains.ROUTES, key=lambda r: (r.path.split("/")[2], r.path, r.method))


def _of(route: Route) -> list[str]:
    said = ", ".join(word for word, is_so in (("own", route.own), ("platform", route.platform)) if is_so)
    return [f"`{route.scope}`" if route.scope else "none: open to everybody", said]


def _table(
    head: list[str], known: dict[str, tuple[str, frozenset[str]]], rows: list[tuple[str | None, list[str]]]
) -> list[str]:
    """A table with a column for each role."""
    columns = [*head, *(name.replace("_", " ") for name in known)]
    return [
        f"| {' | '.join(columns)} |",
        "|" + "---|" * len(columns),
        *(
            f"| {' | '.join([*cells, *('●' if p is None or p in held else '' for _, held in known.values())])} |"
            for p, cells in rows
        ),
    ]
