"""Rows and back; one statement a table, whatever the size of the batch; what the tables themselves refuse."""

import asyncio
from dataclasses import asdict, fields
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from changed import replace
from guilder.app import domains
from guilder.channels.model import State
from guilder.core import clock, ids
from guilder.payments import confirm, create, record, refund, store
from guilder.payments.model import Attempt, Changes, Charge, Intent, Method, Refund
from guilder.payments.states import AttemptState, IntentStatus, RefundState
from guilder.platform.db import Conflict, Database, Tx
from guilder.platform.environment import Env
from payments.promises import broken
from payments.scenes import Desk, said
from place import CountingTx, Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio


@pytest.fixture
def desk(env: Env) -> Desk:
    return Desk(env)


async def test_what_is_saved_is_read_again(desk: Desk, db: Database) -> None:
    intent, attempt = await desk.confirmed(
        types=["wechat_pay", "alipay"], metadata={"茶": "绿", "q": '"'}, extra={"shipping": {"name": "A"}}, description="x" * 1000,
        cancel_reason="abandoned", expires_at=clock.now() + timedelta(hours=1), last_error={"code": "c"}, business_line="tea",
    )  # fmt: skip
    await desk.run(record.record_many, desk.heard(attempt, said(attempt, State.SUCCEEDED)))
    [begun] = await desk.run(refund.begin_many, desk.wish_refund(intent.id, 60))

    async def look(tx: Tx) -> tuple[Any, ...]:
        locked = await store.lock(tx, [intent.key])
        return (
            locked,
            await store.attempts(tx, locked),
            await store.charges(tx, locked),
            await store.refunds(tx, locked),
        )

    intents, attempts, charges, refunds = await db.transact(look)
    found = intents[intent.key]
    assert (found.status, found.types, found.metadata, found.extra) == (
        IntentStatus.SUCCEEDED, ["wechat_pay", "alipay"], intent.metadata, intent.extra,
    )  # fmt: skip
    assert attempts[attempt.key].state is AttemptState.SUCCEEDED
    assert (charges[intent.key].id, charges[intent.key].refunded) == (found.charge_id, 60)
    assert asdict(refunds[begun.refund.key]) == asdict(begun.refund) and begun.refund.state is RefundState.UNKNOWN


async def test_a_batch_that_changes_everything_saves_it_unchanged(desk: Desk, db: Database) -> None:
    """Read, save, read: nothing was lost on the way."""
    intent, _ = await desk.pay()
    await desk.run(refund.begin_many, desk.wish_refund(intent.id, 60))

    async def load(tx: Tx) -> Changes:
        intents = await store.lock(tx, [intent.key])
        charges = await store.charges(tx, intents)
        return Changes(
            intents=intents, attempts=await store.attempts(tx, intents), refunds=await store.refunds(tx, intents),
            charges={c.key: c for c in charges.values()},
        )  # fmt: skip

    async def save(tx: Tx) -> Changes:
        await store.save(tx, changes := await load(tx))
        return changes

    saved, read = await db.transact(save), await db.transact(load)
    for kind in ("intents", "attempts", "charges", "refunds"):
        assert [asdict(x) for x in getattr(saved, kind).values()] == [asdict(x) for x in getattr(read, kind).values()]


@pytest.mark.parametrize(("size", "fee_bps"), [(1, 0), (1, 60), (5, 0), (60, 60)])
async def test_statements_do_not_grow_with_the_batch(place: Place, desk: Desk, size: int, fee_bps: int) -> None:
    """The whole of a payment and its refund, set by set, with all that Guilder registers; its fee costs none."""
    refund.register(domains.REFUND_BARS)
    counts, desk = [], replace(desk, fee_bps=fee_bps)

    async def run(tx: CountingTx, work: Any, *items: Any) -> list[Any]:
        tx.statements = 0
        results = list(await work(tx, list(items)))
        await tx.flush()
        counts.append(tx.statements)
        return results

    intents = [desk.intent() for _ in range(size)]
    async with place.tx() as tx:
        await run(tx, create.create_many, *(desk.new(i, ids.text(i.id)) for i in intents))
        begun = await run(tx, confirm.begin_many, *(desk.begin(i.id, f"b {ids.text(i.id)}") for i in intents))
        await run(tx, record.record_many, *(desk.heard(b.attempt, said(b.attempt, State.SUCCEEDED)) for b in begun))
        refunds = await run(
            tx, refund.begin_many, *(desk.wish_refund(i.id, 60, f"r {ids.text(i.id)}") for i in intents)
        )
        await run(
            tx,
            record.record_refund_many,
            *(desk.heard_of_refund(r.refund, said(r.refund, State.SUCCEEDED)) for r in refunds),
        )

    assert dict(zip(("create", "begin", "record", "refund", "record refund"), counts, strict=True)) == {
        "create": 2, "begin": 3, "record": 5, "refund": 8, "record refund": 5,
    }  # fmt: skip  # two of the refund's ask whether others have to agree to it, and whether a dispute holds it


@pytest.mark.parametrize("size", [1, 60])
async def test_E4_who_pays_costs_a_statement_or_two_where_something_is_known_of_him(
    place: Place, desk: Desk, db: Database, size: int
) -> None:
    """Of somebody new nothing is looked up; then the keys of a whole batch are one statement (and what waited before it another).  Without anything personal: none, as above."""
    counts = []

    async def run(tx: CountingTx, work: Any, *items: Any) -> list[Any]:
        tx.statements = 0
        results = list(await work(tx, list(items)))
        await tx.flush()
        counts.append(tx.statements)
        return results

    intents = [replace(desk.intent(), extra={"receipt_email": "lin@mail.example"}) for _ in range(size)]
    async with place.tx() as tx:
        tx.keyring = db.keyring
        await run(tx, create.create_many, *(desk.new(i, ids.text(i.id)) for i in intents))
        begun = await run(tx, confirm.begin_many, *(desk.begin(i.id, f"b {ids.text(i.id)}") for i in intents))
        await run(tx, record.record_many, *(desk.heard(b.attempt, said(b.attempt, State.SUCCEEDED)) for b in begun))

    assert dict(zip(("create", "begin", "record"), counts, strict=True)) == {"create": 2, "begin": 5, "record": 6}


@pytest.mark.parametrize("kind", [Method, Intent, Attempt, Charge, Refund])
async def test_a_struct_has_the_columns_of_its_table_in_their_order(place: Place, kind: type) -> None:
    rows = await place.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'payments' AND table_name = $1"
        " ORDER BY ordinal_position",
        kind.__name__.lower(),
    )
    assert [r["column_name"] for r in rows] == [f.name for f in fields(kind)]


async def test_P2_the_table_refuses_a_second_charge(desk: Desk, db: Database) -> None:
    intent, _ = await desk.pay()
    charge = (await db.transact(lambda tx: store.charges(tx, [intent.key])))[intent.key]
    second = replace(charge, id=ids.new_id())

    with pytest.raises(Conflict):
        await db.transact(lambda tx: store.save(tx, Changes(new_charges={second.key: second})))


async def test_P4_the_table_refuses_more_than_was_captured(desk: Desk, db: Database) -> None:
    intent, _ = await desk.pay()
    charge = (await db.transact(lambda tx: store.charges(tx, [intent.key])))[intent.key]
    for units in (101, -1):
        charge.refunded = units
        with pytest.raises(asyncpg.CheckViolationError, match="refunds fit the charge"):
            await db.transact(lambda tx: store.save(tx, Changes(charges={charge.key: charge})))


async def test_G8_history_is_written_once(desk: Desk, place: Place) -> None:
    await desk.pay()
    async with place.connect("app") as app:
        for statement in ("UPDATE payments.history SET became = 'x'", "DELETE FROM payments.history"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.execute(statement)


async def test_a_method_is_made_in_the_commit_of_its_payment(desk: Desk, db: Database) -> None:
    method = Method(desk.book, ids.new_id(), "wechat_pay", "sim:x", None, {"name": "茶"}, {"a": "b"}, 1, clock.now())
    intent = desk.intent()
    await desk.run(confirm.begin_many, desk.begin(intent.id, new=intent, new_method=method, method_id=method.id))

    [row] = await db.rows(store.Q.find_methods, desk.book, [method.id])
    assert asdict(store.method_of(row)) == asdict(method)


async def test_P4_two_refunds_of_60_on_100_from_many_connections(desk: Desk, db: Database) -> None:
    intent, _ = await desk.pay(100)

    answers = await asyncio.gather(*(desk.run(refund.begin_many, desk.wish_refund(intent.id, 60)) for _ in range(20)))

    assert sum(isinstance(a, refund.Begun) for [a] in answers) == 1
    assert await broken(db, desk.book) == []


async def test_NT04_one_callback_from_many_connections_counts_once(desk: Desk, db: Database) -> None:
    intent, attempt = await desk.confirmed()
    heard = [desk.heard(attempt, said(attempt, State.SUCCEEDED)) for _ in range(20)]

    await asyncio.gather(*(desk.run(record.record_many, h) for h in heard))

    assert (await desk.look(intent)).status is IntentStatus.SUCCEEDED
    assert await broken(db, desk.book) == []


async def test_what_is_of_nobody_is_found_to_be_nobodys_and_harms_no_neighbour(desk: Desk, db: Database) -> None:
    _, attempt = await desk.confirmed()
    stranger = replace(attempt, id=ids.new_id())
    heard = [desk.heard(a, said(a, State.SUCCEEDED)) for a in (stranger, attempt)]

    answers = await desk.run(record.record_many, *heard)

    assert [(a.found, a.state) for a in answers] == [(False, None), (True, "succeeded")]


async def test_another_books_payment_cannot_be_named(desk: Desk, env: Env) -> None:
    intent, attempt = await desk.pay()
    thief = Desk(env, account=desk.account)

    [refused] = await thief.run(refund.begin_many, thief.wish_refund(intent.id))
    [heard] = await thief.run(record.record_many, thief.heard(attempt, said(attempt, State.SUCCEEDED)))

    assert (refused.status, heard.found) == (404, False)
