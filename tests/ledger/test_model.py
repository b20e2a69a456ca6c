"""The ledger against a model (plain_book.py): a batch answers and leaves what its journals do one at a time, in order (L7)."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import asyncpg
import pytest
from entries import batches, hold_id, of
from hypothesis import HealthCheck, given, settings
from plain_book import Entry, Model

from guilder.core import ids
from guilder.ledger import Code, post, sweep
from guilder.platform.db import Tx
from journals import AT
from place import Place

pytest_plugins = ["database"]

EXAMPLES, BATCHES = 1000, 2000


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop beside pytest's, for hypothesis calls plain functions."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def connection(place: Place, loop: asyncio.AbstractEventLoop) -> Iterator[asyncpg.Connection]:
    connection = asyncio.run_coroutine_threadsafe(asyncpg.connect(**place.dsn()), loop).result(10)
    yield connection
    asyncio.run_coroutine_threadsafe(connection.close(), loop).result(10)


def test_L7_a_batch_equals_its_journals_one_at_a_time(
    connection: asyncpg.Connection, loop: asyncio.AbstractEventLoop
) -> None:
    tried, answers = 0, Counter[str]()

    async def run(said: list[tuple[int, list[Entry]]]) -> None:
        nonlocal tried
        model, book = Model(), ids.new_id()
        async with connection.transaction():
            tx = Tx(connection)
            for now, batch in said:
                tried += 1
                posted = await post(tx, [of(e, book) for e in batch], now=AT + timedelta(hours=now))
                assert [p.code for p in posted] == model.post(batch, now)
                answers.update(p.code.value for p in posted)
            await tx.flush()
            await compare(connection, model, book)

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
    )
    @given(batches())
    def check(said: list[tuple[int, list[Entry]]]) -> None:
        asyncio.run_coroutine_threadsafe(run(said), loop).result(30)

    check()

    print(f"{tried} batches, {answers.total()} journals: {dict(answers.most_common())}")
    assert tried >= BATCHES
    elsewhere = {
        "period_closed",
        "dated_ahead",
        "account_closed",
        "account_not_empty",
        "nothing_changes",
        "nothing_moves",
    }
    assert {c.value for c in Code} - answers.keys() == elsewhere, "these have tests of their own"
    assert asyncio.run_coroutine_threadsafe(sweep(Tx(connection)), loop).result(60) == []


async def compare(connection: asyncpg.Connection, model: Model, book: object) -> None:
    """The stored book is the model's."""
    rows = await connection.fetch("SELECT code, asset, balance, held FROM ledger.account WHERE book_id = $1", book)
    names = {r["code"] + (" USD" if r["asset"] == "USD" else ""): r for r in rows}
    for name in names.keys() | model.balances.keys() | model.held.keys():
        row = names.get(name)
        stored = (row["balance"], row["held"]) if row else (0, 0)
        assert stored == (model.balances.get(name, 0), model.held.get(name, 0)), name
    holds = await connection.fetch("SELECT id, remaining FROM ledger.hold WHERE book_id = $1", book)
    assert {r["id"]: r["remaining"] for r in holds} == {hold_id(n, book): h[1] for n, h in model.holds.items()}
    keys = await connection.fetch(
        "SELECT key, coalesce(refused, 'created') AS code FROM ledger.key WHERE book_id = $1", book
    )
    assert {r["key"]: r["code"] for r in keys} == {key: was for key, (was, _) in model.keys.items()}
