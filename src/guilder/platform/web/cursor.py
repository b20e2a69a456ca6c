"""Where a page of a list begins and ends, as the list queries take it."""

from datetime import datetime
from uuid import UUID

from guilder.core import clock, ids
from guilder.core.errors import NotFound
from guilder.core.page import PageQuery

_LAST = 253_402_300_799  # 9999-12-31, where datetime ends


def cursor(page: PageQuery, prefix: str) -> tuple[UUID | None, UUID | None, datetime | None, datetime | None]:
    """(older than, newer than, made since, made before).  Raises NotFound for a cursor that is no id of ours."""
    return (
        _id(prefix, page.after, "starting_after"),
        _id(prefix, page.before, "ending_before"),
        _at(page.created.since),
        _at(page.created.until),
    )


def _id(prefix: str, shown: str | None, param: str) -> UUID | None:
    id = None if shown is None else ids.read(prefix, shown)
    if shown is not None and id is None:
        raise NotFound(f"No such object: '{shown}'", param=param)
    return id


def _at(seconds: int | None) -> datetime | None:
    return None if seconds is None else clock.from_unix(min(seconds, _LAST))
