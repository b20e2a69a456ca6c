"""The ledger against a model: a batch answers and leaves what its journals do one at a time, in order.

The model is a dictionary of balances and one of keys, twenty lines; it shares no code with `posting`.
"""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guilder.core import ids
from guilder.core.amount import INT64
from guilder.ledger import Code, Transfer, post, sweep
from guilder.platform.db import Tx
from journals import account, journal
from place import Place

pytest_plugins = ["database"]

FLOORS = {"surplus": 0}
NAMES = ("receivable:a", "payable", "surplus", "own:a")
BATCHES = 400

transfer = st.tuples(
    st.permutations(NAMES).map(lambda p: p[:2]), st.one_of(st.integers(1, 40), st.just(INT64), st.just(INT64 - 20))
).map(lambda t: (t[0][0], t[0][1], t[1]))
entry = st.tuples(st.sampled_from("abcdefgh"), st.lists(transfer, min_size=1, max_size=3))
batches = st.lists(st.lists(entry, min_size=1, max_size=8), min_size=1, max_size=3)


@dataclass
class Model:
    """A book as a child would keep it."""

    balances: dict[str, int] = field(default_factory=lambda: dict.fromkeys(NAMES, 0))
    keys: dict[str, object] = field(default_factory=dict)

    def post(self, key: str, transfers: list[tuple[str, str, int]]) -> Code:
        if key in self.keys:
            return Code.EXISTS if self.keys[key] == transfers else Code.EXISTS_WITH_OTHER_TRANSFERS
        after = dict(self.balances)
        for debit, credit, units in transfers:
            after[debit] -= units
            after[credit] += units
        if any(abs(units) > INT64 for units in after.values()):
            return Code.BALANCE_OVERFLOW
        if any(after[n] < self.balances[n] and after[n] < floor for n, floor in FLOORS.items()):
            return Code.INSUFFICIENT_FUNDS
        self.balances, self.keys[key] = after, transfers
        return Code.CREATED


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


def test_a_batch_equals_its_journals_one_at_a_time(
    connection: asyncpg.Connection, loop: asyncio.AbstractEventLoop
) -> None:
    tried = 0

    async def run(said: list[list[tuple[str, list[tuple[str, str, int]]]]]) -> None:
        nonlocal tried
        model, book = Model(), ids.new_id()
        async with connection.transaction():
            tx = Tx(connection)
            for batch in said:
                tried += 1
                journals = [
                    journal(key, *(Transfer(account(d), account(c), u) for d, c, u in lines), book=book)
                    for key, lines in batch
                ]
                assert [p.code for p in await post(tx, journals)] == [model.post(*e) for e in batch]
            await tx.flush()
            rows = await connection.fetch("SELECT code, balance FROM ledger.account WHERE book_id = $1", book)
            assert {r["code"]: r["balance"] for r in rows} == {n: model.balances[n] for n in (r["code"] for r in rows)}
            assert all(model.balances[n] == 0 for n in NAMES if n not in {r["code"] for r in rows})
            assert await connection.fetchval("SELECT count(*) FROM ledger.journal WHERE book_id = $1", book) == len(
                model.keys
            )

    @settings(
        max_examples=BATCHES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
    )
    @given(batches)
    def check(said: list[list[tuple[str, list[tuple[str, str, int]]]]]) -> None:
        asyncio.run_coroutine_threadsafe(run(said), loop).result(30)

    check()

    assert tried >= 300
    assert asyncio.run_coroutine_threadsafe(sweep(Tx(connection)), loop).result(30) == []
