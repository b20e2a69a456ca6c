"""Pages of a list: which part was asked for, and how rows fetched one too many become a page.

    rows = await fetch(limit=query.limit + 1, ascending=query.ascending, ...)
    page = turn(query, rows)            # page.items newest first, page.has_more

Lists run newest first.  `after` walks towards older things, `before` towards newer ones (Stripe: starting_after and
ending_before); with both, the list lies between them and is walked from `after`.  A cursor is the id of the last (or first)
thing seen, so pages neither skip nor repeat while things arrive.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_LIMIT = 100
_LAST = 253_402_300_799  # 9999-12-31, where datetime ends: nothing is newer, so a bound beyond it is this one


@dataclass(frozen=True, slots=True)
class Between:
    """Bounds of an instant, in whole unix seconds; None: open."""

    gt: int | None = None
    gte: int | None = None
    lt: int | None = None
    lte: int | None = None

    @property
    def since(self) -> int | None:
        """The first second that is in; None: open."""
        bounds = [b for b in (self.gte, None if self.gt is None else min(self.gt + 1, _LAST)) if b is not None]
        return max(bounds, default=None)

    @property
    def until(self) -> int | None:
        """The first second that is out again; None: open."""
        bounds = [b for b in (self.lt, None if self.lte is None else min(self.lte + 1, _LAST)) if b is not None]
        return min(bounds, default=None)


@dataclass(frozen=True, slots=True)
class PageQuery:
    """One page of a list: `limit` things older than `after`, newer than `before`, made within `created`."""

    limit: int = 10
    after: str | None = None
    before: str | None = None
    created: Between = field(default_factory=Between)

    @property
    def ascending(self) -> bool:
        """Whether rows are fetched oldest first: only from `before`, towards newer things."""
        return self.before is not None and self.after is None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """The things of one page, newest first, and whether more follow in the direction that was walked."""

    items: Sequence[T]
    has_more: bool


def turn(query: PageQuery, rows: Sequence[T]) -> Page[T]:
    """Make a page of up to `limit + 1` rows, fetched in walking order (see `ascending`)."""
    items = list(rows[: query.limit])
    if query.ascending:
        items.reverse()
    return Page(items, has_more=len(rows) > query.limit)
