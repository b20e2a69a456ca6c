"""After a run every book must agree: the callers', Guilder's payments and ledger, its webhooks, the shop's, the channel's.

A fast wrong answer is no figure: a run whose books differ fails.
"""

import asyncio
import sqlite3
import time
from dataclasses import dataclass

from guilder import ledger
from guilder.app import environments
from stand.scene import Stage, connected, sum_of

PATIENCE_S = 20.0  # for what is written a moment later: results of deliveries, acknowledged callbacks


@dataclass(frozen=True)
class Check:
    """Something that must be equal."""

    what: str
    expected: object
    found: object

    @property
    def holds(self) -> bool:
        return self.expected == self.found


def all_of(stage: Stage) -> list[Check]:
    """Every check.  Payments that were only created are not whole and must be untouched."""
    acts = [a for a in stage.acts if a.plan.calls in ("one", "two")]
    created = sum_of([a for a in stage.acts if a.plan.calls == "create"])[0]
    done, units = sum_of(acts)
    faults = sum(a.played.lost + sum(a.played.failed.values()) for a in stage.acts)
    stage.shop.tell({})
    heard = stage.shop.hear(dict[str, int])
    return [
        Check("calls refused or payments lost", 0, faults),
        Check("webhooks at the shop: verified, one per payment", {"once": done}, heard),
        *asyncio.run(_in_the_books(stage, done, units, created)),
        Check("the channel's own book: paid, fen", (done, units), _at_the_channel(stage)),
    ]


def after_refusals(stage: Stage) -> list[Check]:
    """Where callers were turned away: the channel's own book says what was paid, and every other must say the same."""
    paid, units = _at_the_channel(stage)
    done, lost = sum_of(stage.acts)[0], sum(a.played.lost for a in stage.acts)
    stage.shop.tell({})
    heard = stage.shop.hear(dict[str, int])
    return [
        Check("payments that were let in and lost", 0, lost),
        Check("payments that callers saw whole, and the channel has not", 0, max(0, done - paid)),
        Check("webhooks at the shop: verified, one per payment", {"once": paid}, heard),
        *asyncio.run(_in_the_books(stage, paid, units, None)),
    ]


_COUNTS = {
    "intents": "SELECT count(*) FROM payments.intent WHERE book_id = ANY($1) AND status = 'succeeded'",
    "only created": "SELECT count(*) FROM payments.intent WHERE book_id = ANY($1) AND status <> 'succeeded'",
    "charges": "SELECT count(DISTINCT intent_id) FROM payments.charge WHERE book_id = ANY($1)",
    "journals": "SELECT count(DISTINCT about) FROM ledger.journal WHERE book_id = ANY($1) AND rule = 'charge'",
    "all journals": "SELECT count(*) FROM ledger.journal WHERE book_id = ANY($1)",
    "units": "SELECT coalesce(sum(units), 0)::bigint FROM ledger.transfer WHERE book_id = ANY($1)",
    "cases": "SELECT count(*) FROM platform.case",
}
_DELIVERIES = "SELECT state, count(*) FROM notify.delivery WHERE book_id = ANY($1) GROUP BY state"


async def _in_the_books(stage: Stage, done: int, units: int, created: int | None) -> list[Check]:
    """`created`: how many were only created; None if nobody can know."""
    async with environments.open_world(stage.it.settings()) as world:
        broken = await world.envs["test"].db.transact(ledger.sweep)
    async with connected(stage.it) as connection:
        found = {
            name: await connection.fetchval(query, stage.books) for name, query in _COUNTS.items() if "$1" in query
        }
        cases = await connection.fetchval(_COUNTS["cases"])
        deadline = time.monotonic() + PATIENCE_S
        while True:
            deliveries = dict(await connection.fetch(_DELIVERIES, stage.books))
            if set(deliveries) <= {"delivered"} or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.1)
    created = found["only created"] if created is None else created
    return [
        Check("payments succeeded; only created", (done, created), (found["intents"], found["only created"])),
        Check("charges; journals of charges; all journals", (done,) * 3, (found["charges"], found["journals"], found["all journals"])),
        Check("units in the ledger", units, found["units"]),
        Check("the ledger's sweeps L1 to L10: what they find", [], broken),
        Check("webhook deliveries", {"delivered": done} if done else {}, deliveries),
        Check("cases for a person", 0, cases),
    ]  # fmt: skip


def _at_the_channel(stage: Stage) -> tuple[int, int]:
    accounts = [m.simulated["wechatpay"] for m in stage.merchants]
    file = stage.it.state / "simulators" / "book.sqlite3"
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as book:
        marks = ",".join("?" * len(accounts))
        query = f"SELECT count(*), coalesce(sum(amount), 0) FROM trade WHERE state = 'paid' AND account IN ({marks})"
        count, units = book.execute(query, accounts).fetchone()
    return int(count), int(units)
