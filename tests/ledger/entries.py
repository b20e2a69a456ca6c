"""Random journals for the model, and the same in the ledger's own words."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid5

from hypothesis import strategies as st
from plain_book import KNOWN, Entry, Line

from guilder.core.amount import INT64
from guilder.ledger import Account, Journal, Transfer, capture, expire, hold, release
from journals import AT, account, journal

WILD_NAMES = (*KNOWN, "surplus USD", "nobody")
HOLDS = {"h1": "payable", "h2": "own:a", "h3": "surplus", "h4": "receivable:a"}  # where sane journals hold
few = st.integers(1, 40)
holds = st.sampled_from(sorted(HOLDS))

sane = st.one_of(
    st.tuples(st.permutations(KNOWN), few).map(lambda t: ("move", *t[0][:2], t[1])),
    st.tuples(st.permutations(KNOWN), few).map(lambda t: ("move", *t[0][:2], t[1])),
    st.tuples(holds, few, st.sampled_from((None, 1, 2))).map(lambda t: ("hold", HOLDS[t[0]], t[1], t[0], t[2])),
    st.tuples(holds, few).map(lambda t: ("capture", t[0], HOLDS[t[0]], "payable" if t[0] != "h1" else "own:a", t[1])),
    st.tuples(holds, few).map(lambda t: ("release", t[0], HOLDS[t[0]], t[1])),
    holds.map(lambda h: ("rest", h, HOLDS[h])),
    holds.map(lambda h: ("expire", h, HOLDS[h])),
)
accounts, units = st.sampled_from(WILD_NAMES), st.sampled_from((0, -1, 7, INT64, INT64 - 20))
wild = st.one_of(
    st.tuples(accounts, accounts, units).map(lambda t: ("move", *t)),
    st.just(("move", "receivable:a", "payable", INT64)),
    st.tuples(accounts, few, holds, st.none()).map(lambda t: ("hold", *t)),
    st.tuples(holds, accounts, accounts, few).map(lambda t: ("capture", *t)),
    st.tuples(holds, accounts, units).map(lambda t: ("release", *t)),
)
some_lines = st.lists(sane, min_size=1, max_size=3)
lines = st.integers(0, 7).flatmap(lambda n: st.lists(wild, min_size=1, max_size=2) if n == 0 else some_lines).map(tuple)
fresh = st.builds(Entry, st.integers(0, 10_000).map(str), lines, st.sampled_from((None,) * 6 + ("g", "h")))


@st.composite
def batch(draw: st.DrawFn, past: list[Entry]) -> tuple[int, list[Entry]]:
    """An hour, and journals: most of them new, some said before, as they were or with another amount."""
    said = []
    for _ in range(draw(st.integers(1, 9))):
        entry = draw(fresh)
        if past and draw(st.integers(0, 5)) == 0:
            entry = replace(draw(st.sampled_from(past)), group=entry.group)
            kind, *rest = entry.lines[0]
            if kind == "move" and draw(st.booleans()):
                entry = replace(entry, lines=((kind, *rest[:2], rest[2] % 40 + 1), *entry.lines[1:]))
        past.append(entry)
        said.append(entry)
    return draw(st.integers(0, 2)), said


@st.composite
def batches(draw: st.DrawFn) -> list[tuple[int, list[Entry]]]:
    """The life of a book."""
    past: list[Entry] = []
    return [draw(batch(past)) for _ in range(draw(st.integers(1, 5)))]


def of(entry: Entry, book: UUID) -> Journal:
    """`entry` as the ledger takes it."""
    made = journal(entry.key, *(_transfer(line, book) for line in entry.lines), book=book)
    return Journal(**{f: getattr(made, f) for f in made.__struct_fields__} | {"group": entry.group})


def hold_id(name: str, book: UUID) -> UUID:
    return uuid5(book, name)


def _account(name: str) -> Account:
    return account(name.removesuffix(" USD"), "USD" if name.endswith(" USD") else "CNY")


def _transfer(line: Line, book: UUID) -> Transfer:
    kind, *rest = line
    if kind == "move":
        return Transfer(_account(rest[0]), _account(rest[1]), rest[2])
    if kind == "hold":
        until = None if rest[3] is None else AT + timedelta(hours=rest[3])
        return hold(_account(rest[0]), rest[1], hold_id(rest[2], book), until)
    id, account = hold_id(rest[0], book), _account(rest[1])
    if kind == "capture":
        return capture(id, account, _account(rest[2]), rest[3])
    return expire(id, account) if kind == "expire" else release(id, account, rest[2] if kind == "release" else None)
