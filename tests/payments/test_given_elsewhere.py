"""A refund that its channel refused and somebody gave the payer by another road: done once others agreed, and whose it is stands in the book."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from guilder.app import domains
from guilder.channels.model import State
from guilder.core import ids
from guilder.core.errors import Invalid, WrongState
from guilder.payments import given_elsewhere, record
from guilder.payments import refund as refunding
from guilder.payments.model import Intent, Refund
from guilder.platform import approval, case, context, outbox
from guilder.platform.db import Database
from guilder.platform.sql import Query
from payments.scenes import said
from payments.test_aside import Shop, approved

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio
OUTSIDE = Query(
    "outside", "SELECT coalesce(sum(balance), 0)::bigint FROM ledger.balance WHERE book_id = $1 AND code = 'outside'"
)
SAID = Query("said", "SELECT type FROM platform.event WHERE object_id = $1 ORDER BY object_version")
PAID: dict[str, Any] = {"paid_by": "platform", "reference": "bank transfer 20260901-77"}


@pytest.fixture
async def shop(db: Database) -> AsyncIterator[Shop]:
    outbox.register(())
    case.register(domains.CASE_RESOLVERS)
    approval.register(domains.APPROVALS)
    with context.use(context.mint(actor="usr_me")):
        made = Shop(db)
        yield made
        await made.sound()


async def failed(shop: Shop, units: int = 400) -> tuple[Intent, Refund]:
    """A payment of 1000, and a refund of it that its channel has refused."""
    intent, _ = await shop.desk.pay(1000)
    [begun] = await shop.desk.run(refunding.begin_many, shop.desk.wish_refund(intent.id, units))
    await hear(shop, begun.refund, State.FAILED)
    return intent, begun.refund


async def hear(shop: Shop, refund: Refund, state: State) -> None:
    await shop.desk.run(record.record_refund_many, shop.desk.heard_of_refund(refund, said(refund, state)))


async def mark(shop: Shop, refund: Refund, **paid: str) -> None:
    row = await shop.end("mark_refunded_elsewhere", "refund_failed", **PAID | paid)
    assert row["state"] == "waiting"
    command = await approved(shop, ids.show("re", refund.id))
    assert command.steps[0].at == "platform", "somebody of the platform, always"
    await shop.db.transact(lambda tx: given_elsewhere.mark(tx, command))


async def look(shop: Shop, refund: Refund) -> Refund:
    [found] = [r for r in await shop.desk.refunds() if r.id == refund.id]
    return found


async def test_what_the_platform_gave_is_owed_to_it_and_the_channel_owes_what_it_owed(shop: Shop) -> None:
    _, refund = await failed(shop)
    before, outside = await shop.money(), await shop.db.value(OUTSIDE, ids.PLATFORM)
    assert before == {"receivable": -1000, "payable": 994}
    await mark(shop, refund)

    now = await look(shop, refund)
    assert (now.state, now.elsewhere, now.problem, now.ask_at) == ("succeeded", "platform", None, None)
    assert now.done_at is not None
    assert await shop.money() == {"receivable": -1000, "payable": 594}
    clearing = Query(
        "c", "SELECT sum(balance)::bigint FROM ledger.balance WHERE book_id = $1 AND code LIKE 'clearing:%'"
    )
    owed = await shop.db.value(clearing, shop.desk.book)
    assert (owed, await shop.db.value(OUTSIDE, ids.PLATFORM) - outside) == (400 + 6, 400), "and its fee"
    assert [r["type"] for r in await shop.db.rows(SAID, refund.id)] == [
        "refund.created", "refund.failed", "refund.updated",
    ]  # fmt: skip
    charge = await shop.db.row(
        Query("ch", "SELECT id, refunded FROM payments.charge WHERE book_id = $1"), shop.desk.book
    )
    assert charge is not None and charge["refunded"] == 400
    assert (await shop.db.rows(SAID, charge["id"]))[-1]["type"] == "charge.refunded"
    assert await shop.cases() == []
    why = Query(
        "why", "SELECT resolver, why, approval_id IS NOT NULL AS agreed FROM platform.case_decision WHERE book_id = $1"
    )
    [decision] = await shop.db.rows(why, shop.desk.book)
    assert tuple(decision) == ("mark_refunded_elsewhere", "seen there (bank transfer 20260901-77)", True)


async def test_what_the_merchant_gave_is_his_and_what_we_owe_him_stays(shop: Shop) -> None:
    _, refund = await failed(shop)
    await mark(shop, refund, paid_by="merchant")

    assert ((await look(shop, refund)).elsewhere, await shop.money()) == (
        "merchant",
        {"receivable": -1000, "payable": 994},
    )
    rules = Query("r", "SELECT key FROM ledger.key WHERE book_id = $1 AND key LIKE 'refund%' ORDER BY key")
    shown = ids.text(refund.id)
    assert [r["key"] for r in await shop.db.rows(rules, shop.desk.book)] == [
        f"refund:{shown}", f"refund_elsewhere:{shown}",
    ]  # fmt: skip


async def test_it_wants_to_know_who_paid_and_what_shows_it(shop: Shop) -> None:
    await failed(shop)
    for missing in ({"reference": " "}, {"paid_by": ""}, {"paid_by": "nobody"}, {"units": 400}):
        with pytest.raises(Invalid):
            await shop.end("mark_refunded_elsewhere", "refund_failed", **PAID | missing)
    with pytest.raises(Invalid, match="leave `reference`"):
        await shop.end("dismiss", "refund_failed", **PAID)
    assert [(c["kind"], c["state"]) for c in await shop.cases()] == [("refund_failed", "open")]


async def test_given_back_otherwise_meanwhile_it_is_not_given_twice(shop: Shop) -> None:
    intent, refund = await failed(shop, 700)
    await shop.end("mark_refunded_elsewhere", "refund_failed", **PAID)
    [again] = await shop.desk.run(refunding.begin_many, shop.desk.wish_refund(intent.id, 700))
    await hear(shop, again.refund, State.SUCCEEDED)
    command = await approved(shop, ids.show("re", refund.id))
    with pytest.raises(WrongState, match="refunded otherwise"):
        await shop.db.transact(lambda tx: given_elsewhere.mark(tx, command))
    assert ((await look(shop, refund)).state, (await shop.money())["payable"]) == ("failed", 294)


async def test_at_the_channel_it_has_failed_and_stays_so(shop: Shop) -> None:
    _, refund = await failed(shop)
    await mark(shop, refund)
    with pytest.raises(WrongState, match="has not failed"):
        command = await approved(shop, ids.show("re", refund.id))
        await shop.db.transact(lambda tx: given_elsewhere.mark(tx, command))
    line = Query("l", "SELECT state, done_at FROM payments.refund_line WHERE book_id = $1")
    [seen] = await shop.db.rows(line, shop.desk.book)
    assert tuple(seen) == ("failed", None), "its statements list nothing, and that breaks nothing"
    await hear(shop, refund, State.FAILED)
    assert await shop.cases() == []
    await hear(shop, refund, State.SUCCEEDED)
    assert [(c["kind"], c["moved"]) for c in await shop.cases()] == [("refund_end_changed", True)], (
        "the payer has it twice"
    )
    assert (await shop.money())["payable"] == 594
