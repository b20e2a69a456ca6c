"""Fees: what the platform keeps of a charge, to the unit, fixed when it is made; and what it costs who has none."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from book import book as page_of
from book import page, shown
from guilder.channels.model import State
from guilder.core import ids
from guilder.core.amount import INT64
from guilder.ledger import sweep
from guilder.ledger.orders import post_due
from guilder.payments import fees, record, refund
from guilder.platform.db import Database
from guilder.platform.environment import Env
from guilder.platform.sql import Query
from payments.scenes import Desk, said

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio

CHARGE = Query("charge", "SELECT amount, fee, refunded FROM payments.charge WHERE book_id = $1")
ORDERED = Query("ordered", "SELECT count(*) FROM ledger.order WHERE from_book = $1")


@pytest.fixture
async def desk(env: Env) -> AsyncIterator[Desk]:
    yield Desk(env, fee_bps=60)


@given(st.integers(1, INT64), st.integers(0, fees.WHOLE))
def test_a_fee_is_the_nearest_unit_and_never_more_than_the_amount(amount: int, bps: int) -> None:
    fee = fees.of(amount, bps)

    assert 0 <= fee <= amount
    assert -fees.WHOLE / 2 <= amount * bps - fee * fees.WHOLE < fees.WHOLE / 2


@pytest.mark.parametrize(
    ("amount", "bps", "fee"),
    [
        (1250, 60, 8),
        (1249, 60, 7),
        (83, 60, 0),
        (84, 60, 1),
        (1, 5000, 1),
        (1, 4999, 0),
        (1, 10_000, 1),
        (10**12, 0, 0),
    ],
)
def test_half_a_unit_is_rounded_up(amount: int, bps: int, fee: int) -> None:
    assert fees.of(amount, bps) == fee


async def test_the_merchant_gets_the_net_at_once_the_platform_its_fee_soon_and_a_refund_keeps_it(
    desk: Desk, db: Database
) -> None:
    intent, _ = await desk.pay(1250)

    assert await page_of(db, desk.book) == page(f"""
        charge:{ids.text((await desk.attempts())[0].id)}
          receivable -> payable   12.50 CNY
          payable -> clearing   0.08 CNY
    """)
    before = await shown(db, ids.PLATFORM)
    assert await post_due(db) == 1
    after = await shown(db, ids.PLATFORM)
    assert after["fees"] - before.get("fees", 0) == 8 == before.get("clearing", 0) - after["clearing"]

    await desk.run(refund.begin_many, desk.wish_refund(intent.id))
    [back] = await desk.refunds()
    await desk.run(record.record_refund_many, desk.heard_of_refund(back, said(back, State.SUCCEEDED)))
    assert await shown(db, desk.book) == {"payable": -8, "clearing": 8}
    assert tuple(await db.row(CHARGE, desk.book) or ()) == (1250, 8, 1250)
    assert await shown(db, ids.PLATFORM) == after
    assert await db.transact(sweep) == []


@pytest.mark.parametrize("funds", ["platform", "merchant"])
async def test_money_that_comes_late_and_is_accepted_pays_its_fee_once(env: Env, db: Database, funds: str) -> None:
    desk = Desk(env, fee_bps=100, funds=funds)
    _, attempt = await desk.confirmed(500, late_success="accept")
    for state in (State.CLOSED, State.SUCCEEDED, State.SUCCEEDED):
        await desk.run(record.record_many, desk.heard(attempt, said(attempt, state)))

    theirs = {"payable": 495} if funds == "platform" else {"own": 500, "payable": -5}
    assert await shown(db, desk.book) == {"receivable": -500, "clearing": 5, **theirs}
    assert await db.value(ORDERED, desk.book) == 1


@pytest.mark.parametrize(("bps", "amount"), [(0, 1250), (60, 83)], ids=["no fee", "less than half a unit"])
async def test_where_there_is_no_fee_nothing_is_ordered(env: Env, db: Database, bps: int, amount: int) -> None:
    desk = Desk(env, fee_bps=bps)

    await desk.pay(amount)

    assert await shown(db, desk.book) == {"receivable": -amount, "payable": amount}
    assert await db.value(ORDERED, desk.book) == 0
