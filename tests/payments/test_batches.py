"""B1: a batch equals its items one at a time, in order; and a batch that runs again equals one that ran once."""

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from changed import replace
from guilder.cashier import create as sessions
from guilder.cashier.model import Session, Status
from guilder.channels.model import State
from guilder.core import clock, ids
from guilder.core.amount import cny
from guilder.core.errors import GuilderError
from guilder.payments import cancel, confirm, create, record, refund
from guilder.platform import outbox
from guilder.platform.crypto import Keyring
from guilder.platform.db import Database, Tx
from guilder.platform.idempotency import Asked, Reply
from payments.dump import dump
from payments.promises import broken
from payments.scenes import Desk, an_env, said
from place import Place

pytest_plugins = ["database"]

EXAMPLES = 60


class Loop:
    """An event loop beside pytest's: hypothesis calls plain functions."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.end()


@pytest.fixture(scope="module")
def pool(place: Place, loop: Loop) -> Iterator[Database]:
    outbox.register(())
    pool = loop.run(Database("test", place.dsn(), size=3, keyring=Keyring(bytes(32))).open())
    yield pool
    loop.run(pool.close())


# --- one batch against one at a time -----------------------------------------------------------------------------------------

INTENTS = 3
which = st.integers(0, INTENTS - 1)
nth = st.sampled_from([0, 0, 1, 2])  # mostly the first try
outcomes = st.sampled_from(
    ["succeeded", "failed", "closed", "pending", "unknown", "not_found", "wrong amount", "other account"]
)
doors = st.sampled_from(["reply", "callback", "query"])
rounds = st.one_of(
    st.tuples(st.just("begin"), st.lists(st.tuples(which), min_size=1, max_size=4)),
    st.tuples(st.just("hear"), st.lists(st.tuples(which, nth, outcomes, doors), min_size=4, max_size=7)),
    st.tuples(st.just("hear"), st.lists(st.tuples(which, nth, outcomes, doors), min_size=4, max_size=7)),
    st.tuples(
        st.just("refund"), st.lists(st.tuples(which, st.sampled_from([None, 30, 60, 100])), min_size=1, max_size=4)
    ),
    st.tuples(st.just("hear refund"), st.lists(st.tuples(which, nth, outcomes, doors), min_size=1, max_size=4)),
    st.tuples(st.just("cancel"), st.lists(st.tuples(which), min_size=1, max_size=3)),
    st.tuples(st.just("expire"), st.lists(st.tuples(which), min_size=1, max_size=3)),
)
stories = st.lists(rounds, min_size=6, max_size=10).map(
    lambda story: [("begin", [(n,) for n in range(INTENTS)]), *story]
)


def the_outcome(about: Any, word: str, desk: Desk) -> tuple[Any, Any]:
    """What a channel says by this word, and whose contract it comes by."""
    if word == "wrong amount":
        return said(about, State.SUCCEEDED, amount=cny(about.amount + 1)), desk.contract
    if word == "other account":
        return said(about, State.SUCCEEDED), replace(desk.contract, account_id=ids.new_id())
    return said(about, State(word)), desk.contract


class Story:
    """A desk that lives through rounds of wishes; a wish names things by their order."""

    def __init__(self, desk: Desk, intents: list[UUID]) -> None:
        self.desk, self.intents, self.answers = desk, intents, list[Any]()

    async def begin(self, late_success: tuple[str, ...]) -> None:
        made = [
            self.desk.intent(100, id=id, late_success=rule) for id, rule in zip(self.intents, late_success, strict=True)
        ]
        await self.desk.run(create.create_many, *(self.desk.new(i) for i in made))

    async def live(self, kind: str, wishes: list[tuple[Any, ...]], batch: bool) -> None:
        work, items = await self._items(kind, wishes)
        if batch and items:
            results = await self.desk.run(work, *items)
        else:
            results = [r for item in items for r in await self.desk.run(work, item)]
        self.answers += [await self._shown(r) for r in results]

    async def _items(self, kind: str, wishes: list[tuple[Any, ...]]) -> tuple[Callable[..., Awaitable[Any]], list[Any]]:
        d = self.desk
        match kind:
            case "begin":
                return confirm.begin_many, [d.begin(self.intents[w[0]]) for w in wishes]
            case "refund":
                return refund.begin_many, [d.wish_refund(self.intents[w[0]], w[1]) for w in wishes]
            case "cancel":
                return cancel.begin_many, [d.cancel(self.intents[w[0]]) for w in wishes]
            case "expire":
                return cancel.expire_many, [d.expire(self.intents[w[0]]) for w in wishes]
        found = {id: await (d.attempts if kind == "hear" else d.refunds)(id) for id in self.intents}
        items = []
        for i, n, word, door in wishes:
            things = found[self.intents[i]]
            if n < len(things):
                outcome, contract = the_outcome(things[n], word, d)
                heard = (
                    d.heard(things[n], outcome, door) if kind == "hear" else d.heard_of_refund(things[n], outcome, door)
                )
                items.append(replace(heard, contract=contract))
        return record.record_many if kind == "hear" else record.record_refund_many, items

    async def _shown(self, result: Any) -> Any:
        match result:
            case Reply():
                return "reply", result.status
            case GuilderError():
                return type(result).__name__
            case cancel.Closing():
                return "closing", len(result.attempts)
            case record.Recorded():
                return "recorded", result.found, result.state, result.case and result.case.kind
        return type(result).__name__


def test_B1_a_batch_equals_its_items_one_at_a_time(pool: Database, loop: Loop) -> None:
    """And one that looks where it may equals those that lock whatever they read."""
    env, met = an_env(pool), Counter[Any]()

    async def compare(story: list[tuple[str, list[tuple[Any, ...]]]], rules: tuple[str, ...]) -> None:
        intents = [ids.new_id() for _ in range(INTENTS)]
        together, apart = Story(Desk(env, hopeful=True), intents), Story(Desk(env), intents)
        for one in (together, apart):
            await one.begin(rules)
        for kind, wishes in story:
            await together.live(kind, wishes, batch=True)
            await apart.live(kind, wishes, batch=False)
        assert together.answers == apart.answers
        ours, theirs = await dump(pool, together.desk.book), await dump(pool, apart.desk.book)
        for part in ours:
            assert ours[part] == theirs[part], part
        assert await broken(pool, together.desk.book) == []
        met.update(a["state"] for a in ours["attempt"])
        met.update(f"refund {r['state']}" for r in ours["refund"])

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
    )
    @given(stories, st.tuples(*[st.sampled_from(["refund", "accept"])] * INTENTS))
    def check(story: list[tuple[str, list[tuple[Any, ...]]]], rules: tuple[str, ...]) -> None:
        loop.run(compare(story, rules))

    check()

    assert {"unknown", "pending", "succeeded", "failed", "closed"} <= met.keys(), "the stories go everywhere"


# --- a batch that runs again -----------------------------------------------------------------------------------------------------


async def intent_of(d: Desk, id: UUID) -> UUID:
    await d.run(create.create_many, d.new(d.intent(id=id)))
    return id


async def a_create(d: Desk) -> tuple[Any, list[Any]]:
    return create.create_many, [d.new(d.intent(), "k1"), d.new(d.intent(), "k2")]


async def a_begin(d: Desk) -> tuple[Any, list[Any]]:
    id = await intent_of(d, ids.new_id())
    return confirm.begin_many, [d.begin(id, "k1", changed={"receipt_email": "a@b.c"}), d.begin(id, "k2")]


async def a_begin_of_something_new(d: Desk) -> tuple[Any, list[Any]]:
    new = d.intent()
    return confirm.begin_many, [d.begin(new.id, "k1", new=new)]


async def a_success(d: Desk) -> tuple[Any, list[Any]]:
    _, attempt = await d.confirmed()
    return record.record_many, [d.heard(attempt, said(attempt, s), "reply") for s in (State.PENDING, State.SUCCEEDED)]


async def a_surplus(d: Desk) -> tuple[Any, list[Any]]:
    _, attempt = await d.confirmed()
    await d.run(record.record_many, d.heard(attempt, said(attempt, State.CLOSED)))
    return record.record_many, [d.heard(attempt, said(attempt, State.SUCCEEDED))] * 2


async def a_case(d: Desk) -> tuple[Any, list[Any]]:
    _, attempt = await d.confirmed()
    return record.record_many, [d.heard(attempt, said(attempt, State.SUCCEEDED, amount=cny(1)))]


async def a_refund(d: Desk) -> tuple[Any, list[Any]]:
    intent, _ = await d.pay()
    return refund.begin_many, [d.wish_refund(intent.id, 60, "k1"), d.wish_refund(intent.id, 60, "k2")]


async def a_refund_that_succeeds(d: Desk) -> tuple[Any, list[Any]]:
    intent, _ = await d.pay()
    [begun] = await d.run(refund.begin_many, d.wish_refund(intent.id, 60))
    return record.record_refund_many, [d.heard_of_refund(begun.refund, said(begun.refund, State.SUCCEEDED))]


async def a_refund_that_fails(d: Desk) -> tuple[Any, list[Any]]:
    intent, _ = await d.pay()
    [begun] = await d.run(refund.begin_many, d.wish_refund(intent.id, 60))
    return record.record_refund_many, [d.heard_of_refund(begun.refund, said(begun.refund, State.FAILED))]


async def a_cancel(d: Desk) -> tuple[Any, list[Any]]:
    return cancel.begin_many, [d.cancel(await intent_of(d, ids.new_id()), "k1")]


async def a_cancel_of_something_open(d: Desk) -> tuple[Any, list[Any]]:
    intent, _ = await d.confirmed()
    return cancel.begin_many, [d.cancel(intent.id, "k1")]


async def an_expiry(d: Desk) -> tuple[Any, list[Any]]:
    open_, _ = await d.confirmed()
    return cancel.expire_many, [d.expire(await intent_of(d, ids.new_id())), d.expire(open_.id)]


async def a_session(d: Desk) -> tuple[Any, list[Any]]:
    intent = d.intent()
    session = Session(
        d.book, ids.new_id(), 0, Status.OPEN, intent.id, 100, "CNY", None, None, None, {}, "https://shop.example/", None, "auto",
        "pay", ["wechat_pay"], [], {}, clock.now(), intent.root_id, "tea", clock.now(),
    )  # fmt: skip
    return sessions.create_many, [Asked(d.key("k1"), sessions.NewSession(session, intent, d.by(), d.face))]


class RolledBack(Exception):
    """As a Conflict at the end of a batch does it."""


@pytest.mark.parametrize(
    "prepare",
    [a_create, a_begin, a_begin_of_something_new, a_success, a_surplus, a_case, a_refund, a_refund_that_succeeds, a_refund_that_fails,
     a_cancel, a_cancel_of_something_open, an_expiry, a_session],
)  # fmt: skip
def test_a_batch_that_runs_again_equals_one_that_ran_once(
    pool: Database, loop: Loop, prepare: Callable[[Desk], Awaitable[tuple[Any, list[Any]]]]
) -> None:
    async def compare() -> None:
        env = an_env(pool)
        twice, once = Desk(env), Desk(env)

        work, items = await prepare(twice)

        async def fails(tx: Tx) -> None:
            await work(tx, list(items))
            raise RolledBack

        for _ in range(2):
            with pytest.raises(RolledBack):
                await pool.transact(fails)
        await twice.run(work, *items)
        work, items = await prepare(once)
        await once.run(work, *items)

        assert await dump(pool, twice.book) == await dump(pool, once.book)
        assert await broken(pool, twice.book) == []

    loop.run(compare())
