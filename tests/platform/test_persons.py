"""Persons in events: taken out, encrypted, put back; gone with the key, for ever; and free of charge where there is nothing."""

import json
from uuid import UUID

import msgspec
import pytest

from guilder.core import clock, ids
from guilder.platform import outbox, persons
from guilder.platform.crypto import Tampered
from guilder.platform.db import Conflict, Contended, Database, Tx
from guilder.platform.outbox import Event
from guilder.platform.persons import Said
from guilder.platform.sql import Query
from place import CountingTx, Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio

EVENT = Query("event", "SELECT * FROM platform.event WHERE id = $1")
BLANKS = {"name": None, "metadata": {}}


class Tea(msgspec.Struct):
    """An object with personal fields."""

    id: str
    name: str | None = None
    metadata: dict[str, str] = {}
    cups: int = 1


def event(person: UUID, tea: Tea, previous: dict[str, object] | None = None) -> Event:
    private = persons.take_out(person, tea, BLANKS, previous)
    return Event(
        ids.PLATFORM, "tea.served", person, 1, msgspec.json.encode(tea).decode(), clock.now(), ids.new_id(), private=private,
        previous=None if previous is None else json.dumps(previous),
    )  # fmt: skip


async def said(db: Database, *events: Event) -> list[UUID]:
    return await db.transact(lambda tx: outbox.say(tx, events))


async def told(db: Database, id: UUID) -> tuple[dict[str, object], dict[str, object] | None]:
    """An event's data and previous, as merchants see them."""
    [row] = await db.rows(EVENT, id)
    said = (await persons.recall(db, [row])).get(id, Said())
    data, previous = persons.put_back(row["data"], row["previous"], said)
    return json.loads(data), json.loads(previous) if previous else None


async def test_E1_what_was_taken_out_comes_back_and_lies_nowhere_readable(db: Database) -> None:
    lin = ids.new_id()
    [id] = await said(db, event(lin, Tea("tea_1", "Lin", {"mug": "Lin's"}, 2), {"name": "Zhao", "cups": 1}))

    [row] = await db.rows(EVENT, id)
    assert json.loads(row["data"]) == {"id": "tea_1", "name": None, "metadata": {}, "cups": 2}
    assert json.loads(row["previous"]) == {"name": None, "cups": 1}
    assert not any(word in row["personal"] for word in (b"Lin", b"Zhao", b"mug"))
    assert await told(db, id) == (
        {"id": "tea_1", "name": "Lin", "metadata": {"mug": "Lin's"}, "cups": 2}, {"name": "Zhao", "cups": 1},
    )  # fmt: skip


async def test_E1_it_is_bound_to_its_event(db: Database, place: Place) -> None:
    lin = ids.new_id()
    one, two = await said(db, event(lin, Tea("tea_1", "Lin")), event(lin, Tea("tea_2", "Lin's other name")))
    [first], [second] = await db.rows(EVENT, one), await db.rows(EVENT, two)
    with pytest.raises(Tampered):
        await persons.recall(db, [{**dict(first), "personal": second["personal"]}])


async def test_E2_an_erased_key_is_never_used_again(db: Database) -> None:
    lin, zhao = ids.new_id(), ids.new_id()
    before, other = await said(db, event(lin, Tea("tea_1", "Lin")), event(zhao, Tea("tea_2", "Zhao")))
    first = await db.transact(lambda tx: persons.erase(tx, ids.PLATFORM, lin))
    [after] = await said(db, event(lin, Tea("tea_1", "Lin")))
    again = await db.transact(lambda tx: persons.erase(tx, ids.PLATFORM, lin))

    assert (first, again) == (True, False)
    assert [(await told(db, id))[0]["name"] for id in (before, after, other)] == [None, None, "Zhao"]
    [row] = await db.rows(EVENT, after)
    assert (row["person_id"], row["personal"]) == (None, None)


async def test_E2_who_was_erased_before_anything_was_said_has_no_key_either(db: Database) -> None:
    lin = ids.new_id()
    assert await db.transact(lambda tx: persons.erase(tx, ids.PLATFORM, lin))
    [id] = await said(db, event(lin, Tea("tea_1", "Lin")))
    assert (await told(db, id))[0]["name"] is None


async def test_E3_who_writes_holds_the_key_until_he_commits(db: Database) -> None:
    lin = ids.new_id()
    await said(db, event(lin, Tea("tea_1", "Lin")))
    who = (ids.PLATFORM, lin)

    async def write(tx: Tx) -> None:
        assert (await persons.hold(tx, [who]))[who] is not None
        with pytest.raises(Contended):
            await _elsewhere(db, lin)

    await db.transact(write)
    assert await _elsewhere(db, lin)


async def _elsewhere(db: Database, person: UUID) -> bool:
    """Erase in another task, which has a transaction of its own."""
    import asyncio
    import contextvars

    work = db.transact(lambda tx: persons.erase(tx, ids.PLATFORM, person), lock_timeout_ms=100)
    return await asyncio.get_running_loop().create_task(work, context=contextvars.Context())


async def test_E3_two_first_words_make_one_key(db: Database) -> None:
    """Both find none and make one: the second hears Conflict, runs again and finds the first's."""
    who = (ids.PLATFORM, ids.new_id())
    made: list[bytes | None] = []

    async def slow(tx: Tx) -> None:
        made.append((await persons.hold(tx, [who]))[who])
        if len(made) == 1:
            await said_elsewhere(db, who[1])

    with pytest.raises(Conflict):
        await db.transact(slow)
    await db.transact(slow)
    assert made[0] != made[1]


async def said_elsewhere(db: Database, person: UUID) -> None:
    import asyncio
    import contextvars

    await asyncio.get_running_loop().create_task(
        said(db, event(person, Tea("tea_1", "Lin"))), context=contextvars.Context()
    )


async def test_E4_what_has_nothing_personal_costs_no_statement(tx: CountingTx, db: Database) -> None:
    await outbox.say(tx, [event(ids.new_id(), Tea("tea_1")), event(ids.new_id(), Tea("tea_2"))])
    assert tx.statements == 0  # all of it waits for the commit
    assert await persons.recall(db, [{"personal": None}]) == {}


async def test_E4_of_somebody_new_nothing_is_looked_up(tx: CountingTx, db: Database) -> None:
    tx.keyring, who = db.keyring, (ids.PLATFORM, ids.new_id())
    keys = await persons.hold(tx, [who], new={who})
    assert (len(keys[who] or b""), tx.statements) == (32, 0)


def test_answers_are_blanked_however_deep() -> None:
    tea = {"object": "tea", "name": "Lin", "metadata": {}, "id": "tea_1"}
    answer = {"object": "tray", "name": "stays", "teas": [tea, {"object": "tea"}], "error": {"tea": dict(tea)}}
    assert persons.blanked(answer, {"tea": BLANKS})
    assert answer["teas"][0] == answer["error"]["tea"] == {**tea, "name": None}
    assert answer["name"] == "stays"
    assert not persons.blanked(answer, {"tea": BLANKS})
