"""Idempotency: I1 to I3; leases, twins, fencing."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest

from changed import replace
from guilder.core import ids
from guilder.core.errors import Busy, GuilderError, InFlight, KeyReused, Rejected, WrongState
from guilder.platform import idempotency
from guilder.platform.db import Conflict, Database, Tx
from guilder.platform.idempotency import Asked, Claims, Fresh, Key, Reply, Resume
from guilder.platform.sql import Query
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio


def key(name: str | None = "k", book: UUID | None = None, asks: bytes = b"the same") -> Key:
    return Key(book or ids.new_id(), name, asks, "req_1")


def refuse(error: GuilderError) -> Reply:
    return Reply(error.status, str(error).encode())


class Counter:
    """Answers each item with how many it has served; refuses what asks for it."""

    def __init__(self) -> None:
        self.served: list[str] = []

    async def do(self, tx: Tx, items: list[str]) -> Sequence[Reply | GuilderError]:
        answers: list[Reply | GuilderError] = []
        for item in items:
            self.served.append(item)
            refusal = {"rejected": WrongState("no"), "busy": Busy("later")}.get(item)
            answers.append(refusal or Reply(200, f"{item} {len(self.served)}".encode()))
        return answers

    async def once(self, db: Database, *asked: tuple[Key, str]) -> list[Reply | GuilderError]:
        items = [Asked(k, item) for k, item in asked]
        return await db.transact(lambda tx: idempotency.once_many(tx, items, self.do, refuse))


@pytest.fixture
def counter() -> Counter:
    return Counter()


async def test_I1_one_key_runs_once_and_is_replayed_byte_for_byte(db: Database, counter: Counter) -> None:
    k = key()

    [first] = await counter.once(db, (k, "a"))
    [again] = await counter.once(db, (k, "a"))

    assert (first, again) == (Reply(200, b"a 1"), Reply(200, b"a 1", replayed=True))
    assert counter.served == ["a"]


async def test_I1_effect_and_answer_stand_or_fall_together(db: Database, counter: Counter) -> None:
    k = key()

    async def fails(tx: Tx) -> None:
        await idempotency.once_many(tx, [Asked(k, "a")], counter.do, refuse)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await db.transact(fails)

    assert await look(db, k) == [Fresh()]


async def test_I1_twins_in_one_batch_run_once(db: Database, counter: Counter) -> None:
    k, other = key(), key("other")

    answers = await counter.once(db, (k, "a"), (other, "b"), (k, "a"), (replace(k, fingerprint=b"another"), "c"))

    assert answers[:3] == [Reply(200, b"a 1"), Reply(200, b"b 2"), Reply(200, b"a 1", replayed=True)]
    assert isinstance(answers[3], KeyReused)
    assert counter.served == ["a", "b"]


async def test_I1_without_a_key_everything_runs(db: Database, counter: Counter) -> None:
    k = key(None)

    answers = await counter.once(db, (k, "a"), (k, "a"))

    assert answers == [Reply(200, b"a 1"), Reply(200, b"a 2")]


async def test_I2_a_refusal_is_replayed_and_a_busy_is_not_stored(db: Database, counter: Counter) -> None:
    no, later = key(), key()

    first = await counter.once(db, (no, "rejected"), (later, "busy"))
    again = await counter.once(db, (no, "rejected"), (later, "busy"))

    assert (first[0], again[0]) == (Reply(400, b"no"), Reply(400, b"no", replayed=True))
    assert isinstance(first[1], Busy)
    assert counter.served == ["rejected", "busy", "busy"]


async def test_I2_other_parameters_are_refused_and_change_nothing(db: Database, counter: Counter) -> None:
    k = key()
    await counter.once(db, (k, "a"))

    [reused] = await counter.once(db, (replace(k, fingerprint=b"another"), "b"))
    [again] = await counter.once(db, (k, "a"))

    assert isinstance(reused, KeyReused)
    assert again == Reply(200, b"a 1", replayed=True)


async def test_keys_of_two_books_are_two_keys(db: Database, counter: Counter) -> None:
    await counter.once(db, (key(), "a"))
    [other] = await counter.once(db, (key(), "a"))

    assert other == Reply(200, b"a 2")


async def test_two_transactions_with_one_key_run_it_once(db: Database, counter: Counter) -> None:
    k, ran, go = key(), asyncio.Event(), asyncio.Event()

    async def first(tx: Tx) -> object:
        answer = await idempotency.once_many(tx, [Asked(k, "a")], counter.do, refuse)
        await tx.flush()
        ran.set()
        await go.wait()
        return answer

    one = asyncio.create_task(db.transact(first))
    await ran.wait()
    two = asyncio.create_task(counter.once(db, (k, "a")))
    async with asyncio.timeout(10):
        while not await db.value(
            Query("waits", "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        ):
            await asyncio.sleep(0.002)
    go.set()

    assert await one == [Reply(200, b"a 1")]
    with pytest.raises(Conflict):
        await two
    assert await counter.once(db, (k, "a")) == [Reply(200, b"a 1", replayed=True)]


# --- three phases -------------------------------------------------------------------------------------------------------


async def look(db: Database, *keys: Key) -> list[object]:
    found = await db.transact(lambda tx: idempotency.look_many(tx, keys))
    return [type(f) if isinstance(f, GuilderError) else f for f in found]


async def claim(db: Database, k: Key, subject: UUID) -> None:
    claims = Claims()
    claims.claim(k, subject)
    await stored(db, claims)


async def dies(place: Place, k: Key, runner: UUID | None = None) -> None:
    """The lease of a key runs out; `runner`: as if another process had held it."""
    async with place.owner() as owner:
        await owner.execute(
            "UPDATE platform.answer SET lease_until = now() - interval '1 s', runner = coalesce($2, runner) WHERE book_id = $1",
            k.book_id, runner,
        )  # fmt: skip


async def finish(db: Database, k: Key, body: bytes) -> None:
    await db.transact(lambda tx: idempotency.finish_many(tx, [(k, Reply(200, body))]))


async def test_while_a_key_runs_others_hear_in_flight(db: Database) -> None:
    k = key()
    await claim(db, k, ids.new_id())

    assert await look(db, k, replace(k, fingerprint=b"another"), key(None)) == [InFlight, KeyReused, Fresh()]
    assert await db.transact(lambda tx: idempotency.take_over(tx, [k])) == set()


async def test_a_finished_key_is_replayed(db: Database) -> None:
    k = key()
    await claim(db, k, ids.new_id())
    await finish(db, k, b"done")

    assert await look(db, k) == [Reply(200, b"done", replayed=True)]


async def test_a_dead_runners_key_is_taken_over_with_its_subject(db: Database, place: Place) -> None:
    k, subject = key(), ids.new_id()
    await claim(db, k, subject)
    await dies(place, k, runner=ids.new_id())

    assert await look(db, k) == [Resume(subject)]
    assert await db.transact(lambda tx: idempotency.take_over(tx, [k])) == {(k.book_id, "k")}
    assert await look(db, k) == [InFlight], "it runs again, under a new lease"


async def test_what_a_batch_begins_is_taken_over_by_the_first_of_a_key(db: Database, place: Place) -> None:
    k, new, subject = key(), key("new"), ids.new_id()
    await claim(db, k, subject)
    await dies(place, k, runner=ids.new_id())

    found = await db.transact(lambda tx: idempotency.begin_many(tx, [k, new, k, replace(k, fingerprint=b"another")]))

    assert [type(f) if isinstance(f, GuilderError) else f for f in found] == [
        Resume(subject), Fresh(), InFlight, KeyReused,
    ]  # fmt: skip
    assert await look(db, k) == [InFlight], "it is ours"


def test_of_fresh_twins_in_a_batch_the_first_goes_on() -> None:
    k, claims = key(), Claims()
    others = (k, replace(k, fingerprint=b"another"), key("k"), replace(k, key=None), replace(k, key=None))

    assert claims.twin(k) is None
    assert [type(claims.twin(other)) for other in others] == [InFlight, KeyReused, *[type(None)] * 3]


async def test_only_one_of_many_successors_takes_a_key(db: Database, place: Place) -> None:
    k = key()
    await claim(db, k, ids.new_id())
    await dies(place, k)

    taken = await asyncio.gather(*(db.transact(lambda tx: idempotency.take_over(tx, [k])) for _ in range(8)))

    assert sorted(len(t) for t in taken) == [0] * 7 + [1]


async def test_I3_a_runner_that_slept_past_its_lease_answers_nothing(
    db: Database, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    k, old, new = key(), ids.new_id(), ids.new_id()
    monkeypatch.setattr(idempotency, "RUNNER", old)
    await claim(db, k, ids.new_id())
    await dies(place, k)
    monkeypatch.setattr(idempotency, "RUNNER", new)
    await db.transact(lambda tx: idempotency.take_over(tx, [k]))

    monkeypatch.setattr(idempotency, "RUNNER", old)
    await finish(db, k, b"the sleeper's")
    await db.transact(lambda tx: idempotency.release(tx, [k]))
    assert await look(db, k) == [InFlight]

    monkeypatch.setattr(idempotency, "RUNNER", new)
    await finish(db, k, b"the successor's")
    await finish(db, k, b"once more")
    assert await look(db, k) == [Reply(200, b"the successor's", replayed=True)]


async def test_a_key_given_back_is_fresh(db: Database) -> None:
    k = key()
    await claim(db, k, ids.new_id())
    await db.transact(lambda tx: idempotency.release(tx, [k]))

    assert await look(db, k) == [Fresh()]


async def test_a_finished_key_cannot_be_given_back(db: Database, counter: Counter) -> None:
    k = key()
    await counter.once(db, (k, "a"))
    await db.transact(lambda tx: idempotency.release(tx, [k]))

    assert await look(db, k) == [Reply(200, b"a 1", replayed=True)]


async def stored(db: Database, claims: Claims) -> None:
    async def work(tx: Tx) -> None:
        claims.store(tx)

    await db.transact(work)


async def test_one_key_twice_among_claims_is_a_conflict(db: Database) -> None:
    k, claims = key(), Claims()
    claims.claim(k, ids.new_id())
    claims.claim(k, ids.new_id())

    with pytest.raises(Conflict):
        await stored(db, claims)


async def test_a_refusal_of_something_that_never_ran_is_stored(db: Database) -> None:
    k = key()
    claims = Claims()
    claims.answer(k, Reply(404, b"none"))
    claims.answer(key(None), Reply(404, b"x"))
    await stored(db, claims)

    assert await look(db, k) == [Reply(404, b"none", replayed=True)]


def test_only_refusals_for_good_are_stored() -> None:
    assert not issubclass(Busy, Rejected) and not issubclass(InFlight, Rejected)
