"""Pages: walked either way, they neither skip nor repeat."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.core.page import Between, Page, PageQuery, turn


def fetch(query: PageQuery, there: list[int]) -> list[int]:
    """What a query brings: one more than was asked for, in walking order."""
    after, before = (int(x) if x else None for x in (query.after, query.before))
    found = [n for n in there if (after is None or n < after) and (before is None or n > before)]
    return sorted(found, reverse=not query.ascending)[: query.limit + 1]


@given(st.integers(0, 30), st.integers(1, 7))
def test_walking_to_the_end_sees_everything_once_newest_first(count: int, limit: int) -> None:
    there, seen, after = list(range(1, count + 1)), list[int](), None
    while True:
        query = PageQuery(limit, after=after)
        page = turn(query, fetch(query, there))
        seen += page.items
        if not page.has_more:
            break
        after = str(page.items[-1])
    assert seen == sorted(there, reverse=True)


@given(st.integers(0, 30), st.integers(1, 7))
def test_walking_back_sees_everything_once_too(count: int, limit: int) -> None:
    there, seen, before = list(range(1, count + 1)), list[int](), "0"
    while True:
        query = PageQuery(limit, before=before)
        page = turn(query, fetch(query, there))
        assert list(page.items) == sorted(page.items, reverse=True)
        seen = [*page.items, *seen]
        if not page.has_more:
            break
        before = str(page.items[0])
    assert seen == sorted(there, reverse=True)


def test_between_two_cursors_it_is_walked_from_after() -> None:
    query = PageQuery(2, after="9", before="4")
    assert turn(query, fetch(query, list(range(20)))) == Page([8, 7], has_more=True)


@pytest.mark.parametrize(
    ("bounds", "since", "until"),
    [({}, None, None), ({"gt": 5}, 6, None), ({"gte": 5}, 5, None), ({"gt": 5, "gte": 5}, 6, None), ({"lt": 5}, None, 5),
     ({"lte": 5}, None, 6), ({"lt": 5, "lte": 5}, None, 5), ({"gt": 0, "lte": 0}, 1, 1)],
)  # fmt: skip
def test_bounds_in_whole_seconds(bounds: dict[str, int], since: int | None, until: int | None) -> None:
    assert (Between(**bounds).since, Between(**bounds).until) == (since, until)
