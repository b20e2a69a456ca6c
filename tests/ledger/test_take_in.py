"""Journals from a CSV file: read whole or not at all, tried without a trace, taken in twice with one effect."""

import pytest

from book import book as page_of
from book import page, shown
from guilder.core import ids
from guilder.core.errors import Invalid
from guilder.ledger.take_in import read, take_in, try_out
from guilder.platform import context
from guilder.platform.db import Database

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio

FILE = """key,debit,credit,asset,units,effective_at,group,description
opening,receivable:a,payable,CNY,120000,2026-10-31T23:59:59+08:00,,Opening balance
opening,receivable:a,surplus,CNY,500,,,
points,receivable:a,payable,POINT,7,,,
over,surplus,payable,CNY,501,,,
""".splitlines(keepends=True)


async def test_a_file_is_tried_and_taken_in_and_taken_in_again(db: Database) -> None:
    book = ids.new_id()
    with context.use(context.mint()):
        journals = read(book, FILE)

    tried = await try_out(db, journals)
    assert [p.code for p in tried] == ["created", "created", "insufficient_funds"]
    assert await shown(db, book) == {}, "a trial leaves nothing, refused keys neither"
    assert [p.code for p in await take_in(db, journals)] == ["created", "created", "insufficient_funds"]
    again = await take_in(db, journals)
    assert [(p.code, p.was) for p in again] == [
        ("exists", None),
        ("exists", None),
        ("already_refused", "insufficient_funds"),
    ]

    assert await page_of(db, book) == page("""
        csv:opening
          receivable -> payable   1200.00 CNY
          receivable -> surplus   5.00 CNY
        csv:points
          receivable -> payable   7 POINT
    """)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("k,a,b,CNY,1.5", "Line 2: '1.5' is no whole number"),
        ("k,a,b,CNY,-1", "Line 2: '-1' is no whole number"),
        ("k,a,b,XYZ,1", "Line 2: 'XYZ' is no asset"),
        ("k,a,,CNY,1", "Line 2: a transfer has a debit and a credit"),
        (",a,b,CNY,1", "Line 2 has no key"),
        ("k,a,b,CNY,1,yesterday", "Line 2: 'yesterday' is no time"),
        ("k,a,b,CNY,1,2026-10-31T00:00:00", "Line 2: .* says no zone"),
        ("k,a,b,CNY,1\nl,a,b,CNY,1\nk,a,b,CNY,1", "The key 'k' stands in two places"),
    ],
)
def test_what_cannot_be_read_is_told_by_its_line(line: str, message: str) -> None:
    with context.use(context.mint()), pytest.raises(Invalid, match=message):
        read(ids.new_id(), f"key,debit,credit,asset,units,effective_at\n{line}\n".splitlines(keepends=True))


@pytest.mark.parametrize(
    ("head", "message"), [("key,debit", "names no credit"), ("key,debit,credit,asset,units,note", "names note")]
)
def test_other_columns_are_told(head: str, message: str) -> None:
    with context.use(context.mint()), pytest.raises(Invalid, match=message):
        read(ids.new_id(), [head + "\n"])
