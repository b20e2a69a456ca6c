"""Health and the breaker: what one process counts, what all of them share, and what an operator says."""

import asyncio
import time
from dataclasses import dataclass
from uuid import UUID

import pytest

from guilder.app import domains
from guilder.core import ids
from guilder.core.errors import Invalid
from guilder.core.exchange import NotSent, Told
from guilder.platform import breaker, case
from guilder.platform import health as health_module
from guilder.platform.breaker import judge
from guilder.platform.db import Database
from guilder.platform.health import Guard, Health, Held, Mood, Sums
from guilder.platform.wire import About
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio

GUARD = Guard()


@dataclass
class Said(Told):
    """What an adapter made of an answer."""

    unanswered: bool = False
    declined: bool = False


GOOD, DECLINED, NOTHING = Said(), Said(declined=True), Said(unanswered=True)


def about(account: UUID, op: str = "create") -> About:
    return About(ids.new_id(), account, "wechatpay", op)


def saw(health: Health, account: UUID, *said: Said, op: str = "create") -> None:
    for one in said:
        with health.watching(about(account, op)) as watch:
            watch.heard(one)


# --- the table of moves


@pytest.mark.parametrize(
    ("mood", "until", "opens", "seen", "became"),
    [
        (Mood.CLOSED, 0, 0, Sums(good=6, bad=3), None),  # too few
        (Mood.CLOSED, 0, 0, Sums(good=8, bad=2), None),  # not bad enough
        (Mood.CLOSED, 0, 0, Sums(good=7, bad=3), Mood.OPEN),
        (Mood.CLOSED, 0, 0, Sums(good=7, refused=30, bad=3), None),  # who declines answers
        (Mood.OPEN, 101, 1, Sums(), None),
        (Mood.OPEN, 100, 1, Sums(), Mood.HALF_OPEN),
        (Mood.HALF_OPEN, 0, 1, Sums(good=4), None),
        (Mood.HALF_OPEN, 0, 1, Sums(good=3, refused=2), Mood.CLOSED),
        (Mood.HALF_OPEN, 0, 1, Sums(good=9, bad=1), Mood.OPEN),
    ],
)
def test_what_follows_from_what_was_seen(mood: Mood, until: float, opens: int, seen: Sums, became: Mood | None) -> None:
    move = judge(mood, until, opens, GUARD, seen, now=100)
    assert (move.became if move else None) == became


def test_it_is_left_alone_for_longer_each_time_and_never_for_very_long() -> None:
    waits = [judge(Mood.HALF_OPEN, 0, opens, GUARD, Sums(bad=1), 0) for opens in (0, 1, 2, 9)]
    assert [m.after_s for m in waits if m] == [5, 10, 15, 15]


# --- what one process counts


async def test_what_counts_as_good_refused_and_bad() -> None:
    health, account = Health(), ids.new_id()
    saw(health, account, GOOD, GOOD, DECLINED, NOTHING)
    with health.watching(about(account)) as watch:
        watch.silent = True  # and the adapter told nothing
    with health.watching(about(account)) as watch:
        watch.void = True  # we held it back ourselves
    with pytest.raises(ZeroDivisionError), health.watching(about(account)):
        raise ZeroDivisionError

    seen = health.total(account, "create")
    assert (seen.good, seen.refused, seen.bad) == (2, 1, 2)
    assert health.total(account, "query").calls == 0


async def test_a_call_that_is_out_for_long_counts_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    health, account, now = Health(), ids.new_id(), time.monotonic()
    with health.watching(about(account)) as watch:
        assert health.total(account, "create").bad == 0
        watch.begun = now - GUARD.slow_s - 0.1
        assert health.total(account, "create").bad == 1
        watch.heard(GOOD)
    assert health.total(account, "create").bad == 1, "and once, when it ends"


async def test_with_a_move_counting_begins_anew_and_what_began_before_says_nothing() -> None:
    health, account = Health(), ids.new_id()
    saw(health, account, NOTHING, NOTHING)
    with health.watching(about(account)) as before:
        health.set(account, 1, Mood.OPEN, paused=False, until=0, opens=1, guard=GUARD)
        before.heard(NOTHING)

    assert health.total(account, "create").calls == 0
    saw(health, account, GOOD)
    assert health.total(account, "create").good == 1


async def test_what_is_long_past_counts_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    health, account = Health(), ids.new_id()
    saw(health, account, NOTHING)
    then = time.monotonic() + health_module.WINDOW_S + 1
    monkeypatch.setattr(health_module.time, "monotonic", lambda: then)

    assert health.total(account, "create").calls == 0


async def test_so_many_payments_at_once_and_no_more() -> None:
    health, account = Health(), ids.new_id()
    health.set(account, 1, Mood.CLOSED, paused=False, until=0, opens=0, guard=Guard(concurrency=2))
    async with health.turn(about(account)), health.turn(about(account)):
        with pytest.raises(Held) as held:
            async with health.turn(about(account)):
                raise AssertionError
        assert isinstance(held.value, NotSent)
        async with health.turn(about(account, "refund")):
            pass  # money that moves already is not held back by that
    async with health.turn(about(account)):
        pass


async def test_so_many_payments_a_second_by_all_processes_together() -> None:
    health, account = Health(), ids.new_id()
    health.set(account, 1, Mood.CLOSED, paused=False, until=0, opens=0, guard=Guard(per_s=4))
    health.hear([(account, ids.new_id(), "create", 1, Sums(good=1))])  # there is another process: half is ours
    begun, let = time.monotonic(), 0
    while time.monotonic() - begun < 1.6:
        try:
            async with health.turn(about(account)):
                let += 1
        except Held:
            await asyncio.sleep(0.01)
    assert 3 <= let <= 6


async def test_how_long_an_answer_is_waited_for_is_data() -> None:
    health, account = Health(), ids.new_id()
    assert health.timeout_s(about(account), 10.0) == 10.0
    guard = Guard(timeouts={"create": 2.5})
    health.set(account, 1, Mood.CLOSED, paused=False, until=0, opens=0, guard=guard)
    assert (health.timeout_s(about(account), 10.0), health.timeout_s(about(account, "query"), 10.0)) == (2.5, 10.0)


async def test_the_others_wait_for_a_turn_and_not_all_at_once() -> None:
    health, account = Health(), ids.new_id()
    done: list[int] = []
    most = health_module.REST_AT_ONCE + health_module.REST_WAITING

    async def one(n: int) -> None:
        async with health.turn(about(account, "query")):
            await asyncio.sleep(0.01)
            done.append(n)

    results = await asyncio.gather(*(one(n) for n in range(most + 3)), return_exceptions=True)
    assert len(done) == most and sum(isinstance(r, Held) for r in results) == 3
    await one(0)


async def test_probes_are_some_moments_apart() -> None:
    health, account = Health(), ids.new_id()
    health.set(account, 1, Mood.HALF_OPEN, paused=False, until=0, opens=0, guard=Guard(probe_every_s=0.05))

    assert [health.may_probe(account), health.may_probe(account)] == [True, False]
    await asyncio.sleep(0.06)
    assert health.may_probe(account)


# --- what all processes share


async def test_one_of_many_processes_opens_it_and_all_of_them_know(db: Database, place: Place) -> None:
    case.register(domains.CASE_RESOLVERS)
    here, there, account = Health(), Health(), ids.new_id()
    saw(here, account, *[GOOD] * 6, *[NOTHING] * 4)

    await breaker.exchange(db, here)
    await breaker.look(db, there)

    assert here.standing(account).mood is Mood.OPEN
    assert there.standing(account).mood is Mood.OPEN
    [move] = await breaker.moves(db, account)
    assert (move["was"], move["became"]) == ("closed", "open")
    [opened] = await place.fetch("SELECT kind, state, subject FROM platform.case WHERE book_id = $1", account)
    assert opened == {"kind": "channel_down", "state": "open", "subject": ids.show("ca", account)}


async def test_each_sees_what_the_others_see(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    case.register(domains.CASE_RESOLVERS)
    account, processes = ids.new_id(), []
    for _ in range(3):  # none of them has seen enough by itself
        one = Health()
        monkeypatch.setattr(breaker, "RUNNER", ids.new_id())
        saw(one, account, GOOD, GOOD, NOTHING, NOTHING)
        await breaker.exchange(db, one)
        processes.append(one)

    assert processes[-1].standing(account).mood is Mood.OPEN
    assert len(await breaker.moves(db, account)) == 1


async def test_what_the_others_saw_a_while_ago_opens_nothing(db: Database) -> None:
    health, account = Health(), ids.new_id()
    health.set(account, 0, Mood.CLOSED, paused=False, until=0, opens=0, guard=GUARD)
    health.hear([(account, ids.new_id(), "create", 0, Sums(bad=50))])

    await breaker.exchange(db, health)  # it sees nothing itself, so it asks nobody

    assert health.standing(account).mood is Mood.CLOSED
    assert await breaker.moves(db, account) == []


async def test_a_move_is_made_once_however_many_propose_it(db: Database) -> None:
    case.register(domains.CASE_RESOLVERS)
    account = ids.new_id()
    crowd = [Health() for _ in range(6)]
    for health in crowd:
        saw(health, account, *[NOTHING] * 12)

    await asyncio.gather(*(breaker.exchange(db, h) for h in crowd))

    assert len(await breaker.moves(db, account)) == 1


async def test_it_is_probed_and_closes_and_its_case_is_resolved(db: Database, place: Place) -> None:
    case.register(domains.CASE_RESOLVERS)
    health, account = Health(), ids.new_id()
    await db.transact(lambda tx: breaker.set_guard(tx, account, account, {"open_s": 0.01, "longest_s": 0.01}))
    await breaker.look(db, health)
    saw(health, account, *[NOTHING] * 12)
    await breaker.exchange(db, health)
    await asyncio.sleep(0.02)

    await breaker.exchange(db, health)
    assert health.standing(account).mood is Mood.HALF_OPEN
    saw(health, account, *[GOOD] * 5)
    await breaker.exchange(db, health)

    assert health.standing(account).mood is Mood.CLOSED
    assert [m["became"] for m in await breaker.moves(db, account)] == ["closed", "half_open", "open"]
    [now] = await place.fetch("SELECT state FROM platform.case WHERE book_id = $1", account)
    assert now["state"] == "resolved"


async def test_the_operators_switch(db: Database, place: Place) -> None:
    health, account, book = Health(), ids.new_id(), ids.new_id()

    assert await db.transact(lambda tx: breaker.switch(tx, book, account, paused=True, why="maintenance"))
    assert not await db.transact(lambda tx: breaker.switch(tx, book, account, paused=True, why="again"))
    await breaker.look(db, health)
    assert health.standing(account).paused
    assert await db.transact(lambda tx: breaker.switch(tx, book, account, paused=False, why="done"))
    await breaker.look(db, health)

    assert not health.standing(account).paused
    assert [(m["became"], m["why"]) for m in await breaker.moves(db, account)] == [
        ("resumed", "done"),
        ("paused", "maintenance"),
    ]
    acts = await place.fetch("SELECT action FROM platform.trail WHERE book_id = $1 ORDER BY id", book)
    assert [a["action"] for a in acts] == ["channel_account.paused", "channel_account.resumed"]


async def test_resuming_what_never_was_paused_is_no_news(db: Database) -> None:
    account = ids.new_id()
    assert not await db.transact(lambda tx: breaker.switch(tx, account, account, paused=False, why=""))


async def test_a_guard_is_checked_before_it_guards(db: Database) -> None:
    account = ids.new_id()
    for wrong in ({"openn_s": 1}, {"open_s": "long"}):
        with pytest.raises(Invalid):
            await db.transact(lambda tx, wrong=wrong: breaker.set_guard(tx, account, account, wrong))


async def test_a_database_that_is_away_stops_nobody(db: Database) -> None:
    health = Health()
    gone = Database("gone", {"host": "127.0.0.1", "port": 1, "user": "x", "database": "x"}, size=1)
    task = asyncio.create_task(breaker.follow(gone, health))
    await asyncio.sleep(0.1)
    assert not task.done()
    task.cancel()
