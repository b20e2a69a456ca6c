"""D6: what is looked at and not locked is written only if it is as it was; whoever loses runs again with locks, and nothing is lost."""

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

import pytest

from guilder.channels.model import State
from guilder.core import ids
from guilder.core.check import Impossible
from guilder.core.errors import InFlight, WrongState
from guilder.payments import confirm, create, life, record, store
from guilder.payments.life import Scene
from guilder.payments.model import Changes
from guilder.payments.states import AttemptState, IntentStatus
from guilder.platform import outbox
from guilder.platform.batch import Lane
from guilder.platform.db import Contended, Database, Tx
from guilder.platform.environment import Env
from guilder.platform.sql import Query
from payments.promises import broken
from payments.scenes import Desk, said

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio
TAKE_KEY = Query("take", "UPDATE platform.answer SET runner = $2 WHERE book_id = $1 AND key = $3")
STATE = Query("state", "SELECT state FROM platform.answer WHERE book_id = $1 AND key = $2")


@pytest.fixture
def desk(env: Env) -> Desk:
    outbox.register(())
    return Desk(env)


async def hopefully(db: Database, work: Callable[[Tx], Any]) -> Any:
    return await db.transact(work, hopeful=True)


async def test_what_changed_between_look_and_write_is_not_written(desk: Desk, db: Database) -> None:
    intent, attempt = await desk.confirmed()

    async def late(tx: Tx) -> None:
        intents, attempts, seen = await store.look_of_attempts(tx, [attempt.key])
        between = desk.run(record.record_many, desk.heard(attempt, said(attempt, State.SUCCEEDED)))
        await asyncio.create_task(between, context=contextvars.Context())
        changes = Changes(seen=seen, by=desk.by())
        scene = Scene(changes, desk.face, attempt.created_at, "reply")
        life.hear_payment(
            scene, intents[intent.key], attempts[attempt.key], said(attempt, State.PENDING), desk.contract
        )
        await store.save(tx, changes)

    with pytest.raises(Contended):
        await hopefully(db, late)

    assert (await desk.look(intent)).status is IntentStatus.SUCCEEDED
    assert [a.state for a in await desk.attempts(intent.id)] == [AttemptState.SUCCEEDED]
    assert await broken(db, desk.book) == []


async def test_a_look_that_nobody_disturbs_is_one_statement_and_no_lock(desk: Desk, db: Database) -> None:
    intent = desk.intent()
    await desk.run(create.create_many, desk.new(intent))
    opened: list[bool] = []

    async def begin(tx: Tx) -> Any:
        result = await confirm.begin_many(tx, [desk.begin(intent.id, "k")])
        opened.append(tx.opened)
        return result

    [begun] = await hopefully(db, begin)

    async def answer(tx: Tx) -> Any:
        heard = desk.heard(begun.attempt, said(begun.attempt, State.PENDING), "reply", key=desk.key("k"))
        result = await record.record_many(tx, [heard])
        opened.append(tx.opened)
        return result

    [recorded] = await hopefully(db, answer)

    assert opened == [False, False]
    assert recorded.reply.status == 200
    assert await db.value(STATE, desk.book, "k") == "done"
    assert (await desk.look(intent)).status is IntentStatus.REQUIRES_ACTION
    assert await broken(db, desk.book) == []


async def test_a_key_that_was_taken_over_is_not_answered(desk: Desk, db: Database) -> None:
    intent = desk.intent()
    [begun] = await desk.run(confirm.begin_many, desk.begin(intent.id, "k", new=intent))
    await db.transact(lambda tx: tx.run(TAKE_KEY, desk.book, ids.new_id(), "k"))
    heard = desk.heard(begun.attempt, said(begun.attempt, State.PENDING), "reply", key=desk.key("k"))

    with pytest.raises(Contended):
        await hopefully(db, lambda tx: record.record_many(tx, [heard]))
    assert await db.value(STATE, desk.book, "k") == "running"
    assert (await desk.look(intent)).status is IntentStatus.PROCESSING

    lane: Lane[record.Heard, record.Recorded] = Lane(db, "record", record.record_many)
    told = await lane.submit(heard, desk.book)  # locked the second time: noted, and the key left to its new runner
    assert (told.found, told.reply) == (True, None)
    assert await db.value(STATE, desk.book, "k") == "running"
    assert (await desk.look(intent)).status is IntentStatus.REQUIRES_ACTION


async def test_no_money_moves_without_a_lock(desk: Desk, db: Database) -> None:
    _, attempt = await desk.confirmed()

    async def work(tx: Tx) -> None:
        intents, attempts, seen = await store.look_of_attempts(tx, [attempt.key])
        changes = Changes(seen=seen, by=desk.by())
        scene = Scene(changes, desk.face, attempt.created_at, "reply")
        [intent], [found] = intents.values(), attempts.values()
        life.hear_payment(scene, intent, found, said(found, State.SUCCEEDED), desk.contract)
        await store.save(tx, changes)

    with pytest.raises(Impossible, match="lock"):
        await hopefully(db, work)
    assert await broken(db, desk.book) == []


async def test_reply_callback_and_cancel_at_once(desk: Desk, db: Database) -> None:
    """Replies look, callbacks lock: whoever comes second sees what the first did."""
    waiting: Lane[Any, Any] = Lane(db, "waiting", record.record_many)
    paid: Lane[Any, Any] = Lane(db, "paid", record.record_many)
    for _ in range(5):
        made = [await desk.confirmed() for _ in range(12)]
        asked = []
        for n, (_, attempt) in enumerate(made):
            asked.append(waiting.submit(desk.heard(attempt, said(attempt, State.PENDING), "reply"), desk.book))
            if n % 3:
                asked.append(paid.submit(desk.heard(attempt, said(attempt, State.SUCCEEDED)), desk.book))
        told = await asyncio.gather(*asked)
        assert all(t.found and t.case is None for t in told)
        for n, (intent, _) in enumerate(made):
            expected = IntentStatus.SUCCEEDED if n % 3 else IntentStatus.REQUIRES_ACTION
            assert (await desk.look(intent)).status is expected
    assert await broken(db, desk.book) == []


async def test_two_confirms_of_one_payment_at_once_begin_one_try(desk: Desk, db: Database) -> None:
    lanes: list[Lane[Any, Any]] = [Lane(db, f"begin {n}", confirm.begin_many) for n in range(4)]
    for _ in range(10):
        intent = desk.intent()
        await desk.run(create.create_many, desk.new(intent))

        told = await asyncio.gather(
            *(lane.submit(desk.begin(intent.id, f"{ids.new_id()}"), desk.book) for lane in lanes),
            return_exceptions=True,
        )

        begun = [t for t in told if isinstance(t, confirm.Begun)]
        assert len(begun) == 1, told
        assert all(isinstance(t, confirm.Begun | confirm.Reply | InFlight | WrongState) for t in told)
        assert len(await desk.attempts(intent.id)) == 1
    assert await broken(db, desk.book) == []


WAITING = Query(
    "waiting", "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


async def test_who_waits_for_a_row_that_then_changes_writes_nothing(desk: Desk, db: Database) -> None:
    """The statement has begun, and found the old version; what it finds when the wait is over is another."""
    intent, attempt = await desk.confirmed()
    held, go = asyncio.Event(), asyncio.Event()

    async def pays(tx: Tx) -> None:
        await record.record_many(tx, [desk.heard(attempt, said(attempt, State.SUCCEEDED))])
        held.set()
        await go.wait()

    paying = asyncio.create_task(db.transact(pays))
    await held.wait()
    heard = desk.heard(attempt, said(attempt, State.PENDING), "reply")
    noting = asyncio.create_task(hopefully(db, lambda tx: record.record_many(tx, [heard])))
    while not await db.value(WAITING):
        await asyncio.sleep(0.005)
    go.set()
    await paying
    with pytest.raises(Contended):
        await noting

    assert (await desk.look(intent)).status is IntentStatus.SUCCEEDED
    assert await broken(db, desk.book) == []
