"""Eight writers on three accounts, with holds, refusals and each other's keys: no deadlock, and the history replays (L5, L7)."""

import asyncio
import random
from collections import Counter
from datetime import timedelta
from uuid import UUID

import pytest
from entries import hold_id, of
from plain_book import Entry, Line, Model

from guilder.core import ids
from guilder.ledger import Posted, post, sweep
from guilder.platform.db import Database
from journals import AT
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio

ACCOUNTS = ("payable", "surplus", "own:a")
WRITERS, BATCHES = 8, 30
HISTORY = """
SELECT k.key, k.id FROM ledger.key k WHERE k.book_id = $1 ORDER BY k.id
"""


def line(rng: random.Random) -> Line:
    held = {"1": "payable", "2": "surplus", "3": "own:a"}
    id = rng.choice("123") + str(rng.randrange(12))
    account, other = held[id[0]], rng.choice([a for a in ACCOUNTS if a != held[id[0]]])
    match rng.randrange(6):
        case 0:
            return ("hold", account, rng.randint(1, 30), id, None)
        case 1:
            return ("capture", id, account, other, rng.randint(1, 20))
        case 2:
            return ("release", id, account, rng.randint(1, 20)) if rng.random() < 0.5 else ("rest", id, account)
        case _:
            return ("move", *rng.sample(ACCOUNTS, 2), rng.randint(1, 50))


async def test_eight_writers_on_three_accounts_leave_a_history_that_replays(db: Database, place: Place) -> None:
    book, rng = ids.new_id(), random.Random(3)
    every = [Entry(str(n), tuple(line(rng) for _ in range(rng.randint(1, 3)))) for n in range(WRITERS * BATCHES * 3)]
    answered: dict[str, list[str]] = {}

    async def write(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(BATCHES):
            said = [rng.choice(every) for _ in range(rng.randint(1, 9))]  # others say the same at the same time
            journals = [of(e, book) for e in said]

            async def work(tx, journals=journals) -> list[Posted]:
                return await post(tx, journals, now=AT + timedelta(hours=1))

            for entry, posted in zip(said, await db.transact(work, lock_timeout_ms=20_000), strict=True):
                answered.setdefault(entry.key, []).append(posted.was or posted.code)

    await asyncio.gather(*(write(seed) for seed in range(WRITERS)))

    # Every key was decided once; whoever said it again heard the same.
    model, by_key, firsts = Model(), {e.key: e for e in every}, Counter[str]()
    for row in await place.fetch(HISTORY, book):
        code = model.one(by_key[row["key"]], 1)
        heard = answered[row["key"]]
        again = "exists" if code == "created" else code
        assert heard.count(code) >= 1, f"{row['key']}: replayed {code}, answered {heard}"
        assert sorted(heard) == sorted([code, *[again] * (len(heard) - 1)]), (
            f"{row['key']}: replayed {code}, answered {heard}"
        )
        firsts[code] += 1
    assert firsts.keys() >= {
        "created",
        "insufficient_funds",
        "hold_not_found",
        "exceeds_hold",
        "hold_ended",
        "hold_exists",
    }
    assert await stored(place, book) == (
        {n: (model.balances.get(n, 0), model.held.get(n, 0)) for n in ACCOUNTS},
        {hold_id(n, book): h[1] for n, h in model.holds.items()},
    )
    assert await db.transact(sweep) == []


async def stored(place: Place, book: UUID) -> tuple[dict[str, tuple[int, int]], dict[UUID, int]]:
    accounts = await place.fetch("SELECT code, balance, held FROM ledger.account WHERE book_id = $1", book)
    holds = await place.fetch("SELECT id, remaining FROM ledger.hold WHERE book_id = $1", book)
    return {r["code"]: (r["balance"], r["held"]) for r in accounts}, {r["id"]: r["remaining"] for r in holds}
