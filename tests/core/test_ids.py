"""Ids: they sort by time, read back, and fit every channel."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.core import ids


@given(st.uuids())
def test_what_is_shown_reads_back(id: UUID) -> None:
    shown = ids.show("pi", id)
    assert ids.read("pi", shown) == id
    assert (ids.read("ch", shown), ids.parse(ids.text(id).upper()), len(ids.text(id))) in (
        (None, None, 26),
        (None, id, 26),
    )
    assert not set("ilou") & set(ids.text(id))


@given(st.uuids(), st.uuids())
def test_ids_sort_as_their_texts_do(a: UUID, b: UUID) -> None:
    assert (a.int < b.int) == (ids.text(a) < ids.text(b)) or a == b


@given(st.text(max_size=40))
def test_anything_else_is_none(text: str) -> None:
    read = ids.read("pi", text)
    assert read is None or ids.show("pi", read) == text


@pytest.mark.parametrize(
    "text",
    ["", "pi_", "pi", "pi_" + "8" + "0" * 25, "pi_" + "z" * 26, "pi_" + "0" * 27, "pi_" + "i" * 26, "pi__" + "0" * 26],
)
def test_what_is_too_long_too_large_or_misspelt_is_none(text: str) -> None:
    assert ids.read("pi", text) is None


def test_a_new_id_is_of_this_moment_and_of_version_7() -> None:
    before = time.time_ns() // 1_000_000
    id = ids.new_id()
    assert before <= id.int >> 80 <= time.time_ns() // 1_000_000
    assert (id.version, id.variant) == (7, uuid.RFC_4122)


def test_ids_made_one_after_the_other_sort_so_and_are_never_one() -> None:
    made = []
    for _ in range(200):
        made.append(ids.new_id())
        time.sleep(0.000_01)
    assert made == sorted(made)
    assert len({ids.new_id() for _ in range(50_000)}) == 50_000


@given(st.uuids(), st.uuids())
def test_a_minted_key_names_its_book_and_fits_every_channel(id: UUID, book: UUID) -> None:
    key = ids.mint_key(id, book)
    assert (len(key), key.isalnum(), key.isascii()) == (32, True, True)
    assert ids.split_key(key) == (id, ids.book_code(book))


@given(st.text(max_size=40))
def test_a_key_that_is_none_of_ours_is_none(text: str) -> None:
    found = ids.split_key(text)
    assert found is None or ids.text(found[0]) + found[1] == text


def test_threads_make_ids_at_once() -> None:
    with ThreadPoolExecutor(8) as threads:
        made = [id for part in threads.map(lambda _: [ids.new_id() for _ in range(5000)], range(16)) for id in part]
    assert len(set(made)) == 80_000
