"""Hooks at their lanes: K1 to K3, whatever a plug-in says, fails to say, or takes too long for."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from guilder.channels.model import State
from guilder.core.check import Impossible
from guilder.payments import hook_steps, hooks, record
from guilder.payments.hooks import Payment, Plugin, Question, Refusal, Refused, Step
from guilder.payments.model import Attempt
from guilder.payments.states import AttemptState
from guilder.platform.db import Database
from guilder.platform.environment import Env
from guilder.platform.outbox import Heard
from guilder.platform.sql import Query
from payments.scenes import Desk, said
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio
ROWS = Query("rows", "SELECT point, state, due_at, failed FROM payments.step WHERE book_id = $1 ORDER BY point")
SHOWN = Payment("test", "acct_1", "pi_1", 100, "CNY", "wechat_pay", {})


class Stock:
    """A plug-in that remembers what it was told; `broken`: how often it still fails."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.broken = 0

    def step(self, name: str) -> Any:
        async def act(payment: Payment) -> None:
            if self.broken:
                self.broken -= 1
                raise OSError("nobody is there")
            self.told.append((name, payment.state))

        return act

    @property
    def plugin(self) -> Plugin:
        return Plugin(
            "stock", before_asking=Step(self.step("set aside"), self.step("put back")),
            after_answer=Step(self.step("answered"), self.step("forgotten")), on_success=Step(self.step("shipped")),
        )  # fmt: skip


@pytest.fixture
async def stock() -> AsyncIterator[Stock]:
    made = Stock()
    hooks.register([made.plugin])
    yield made
    hooks.register(())


@pytest.fixture
def desk(env: Env) -> Desk:
    return Desk(env)


async def swept(place: Place, desk: Desk) -> dict[str, str]:
    """What becomes of the steps that are there, as if their time had come, until nothing more happens."""
    for _ in range(3):
        async with place.owner() as owner:
            await owner.execute(
                "UPDATE payments.step SET due_at = now() WHERE due_at IS NOT NULL AND book_id = $1", desk.book
            )
        await hook_steps.sweep(desk.env)
    return {r["point"]: r["state"] for r in await desk.db.rows(ROWS, desk.book)}


async def ends(desk: Desk, attempt: Attempt, state: State) -> None:
    await desk.run(record.record_many, desk.heard(attempt, said(attempt, state)))


async def test_K1_a_step_is_undone_when_its_try_ends_without_money(place: Place, desk: Desk, stock: Stock) -> None:
    _, attempt = await desk.confirmed()
    assert await swept(place, desk) == {"after_answer": "waits", "before_asking": "begun", "on_success": "waits"}
    assert stock.told == [], "nothing is known yet"

    await ends(desk, attempt, State.PENDING)
    assert (await swept(place, desk))["after_answer"] == "done"
    await ends(desk, attempt, State.CLOSED)
    assert await swept(place, desk) == {"after_answer": "undone", "before_asking": "undone", "on_success": "skipped"}
    assert sorted(stock.told) == [("answered", "pending"), ("forgotten", "closed"), ("put back", "closed")]


async def test_K1_what_cannot_be_undone_is_tried_again_and_a_person_is_told(
    place: Place, desk: Desk, stock: Stock
) -> None:
    _, attempt = await desk.confirmed()
    await ends(desk, attempt, State.FAILED)
    stock.broken = 7
    for _ in range(3):
        await swept(place, desk)
    assert stock.told == [("put back", "failed")]
    case = Query("case", "SELECT kind, summary FROM platform.case WHERE book_id = $1")
    [told] = await desk.db.rows(case, desk.book)
    assert told["kind"] == "hook_failed" and "could not undo its step before_asking" in told["summary"]


async def test_K1_who_dies_while_it_undoes_is_followed(place: Place, desk: Desk, stock: Stock) -> None:
    """Claimed, and nothing written down: its lease ends, and the next one does it."""
    _, attempt = await desk.confirmed()
    await ends(desk, attempt, State.FAILED)
    async with place.owner() as owner:
        await owner.execute("UPDATE payments.step SET due_at = now() WHERE book_id = $1", desk.book)
    claimed = await desk.db.transact(lambda tx: tx.rows(hook_steps.Q.claim_steps, 9, 60))
    assert len(claimed) == 3 and await hook_steps.sweep(desk.env) == 0, "it has a lease"
    await swept(place, desk)
    assert stock.told == [("put back", "failed")]


async def test_K2_what_follows_a_success_is_done_once_paid(place: Place, desk: Desk, stock: Stock) -> None:
    stock.broken = 1
    await desk.pay()
    assert await swept(place, desk) == {"after_answer": "kept", "before_asking": "kept", "on_success": "kept"}
    assert sorted(stock.told) == [("answered", "succeeded"), ("shipped", "succeeded")], "and nothing is put back"


@pytest.mark.parametrize("rule", ["accept", "refund"])
async def test_K2_a_late_success_that_is_accepted_is_one(place: Place, desk: Desk, stock: Stock, rule: str) -> None:
    intent, attempt = await desk.confirmed(late_success=rule)
    await ends(desk, attempt, State.CLOSED)
    await swept(place, desk)
    await ends(desk, attempt, State.SUCCEEDED)

    def paid(tx: Any) -> Any:
        event = Heard(
            desk.book,
            intent.id,
            "payment_intent.succeeded",
            intent.id,
            "",
            intent.created_at,
            intent.root_id,
            "",
            None,
            None,
            None,
        )
        return hook_steps._hurry(tx, [event])

    await desk.db.transact(paid)
    assert (await swept(place, desk))["on_success"] == ("kept" if rule == "accept" else "skipped")
    assert [t for t in stock.told if t[0] == "shipped"] == ([("shipped", "surplus")] if rule == "accept" else [])


async def test_K1_a_plug_in_that_is_gone_is_missed(place: Place, desk: Desk, stock: Stock) -> None:
    _, attempt = await desk.confirmed()
    hooks.register(())
    await ends(desk, attempt, State.FAILED)
    await swept(place, desk)
    rows = await desk.db.rows(ROWS, desk.book)
    assert [(r["state"], r["due_at"] is None) for r in rows][1] == ("begun", False), "nobody has undone it"
    assert rows[1]["failed"] == 3


async def test_without_plug_ins_there_are_no_rows(desk: Desk, db: Database) -> None:
    await desk.pay()
    assert await db.rows(ROWS, desk.book) == []
    assert hook_steps.subscriptions() == ()


def test_each_state_of_a_step_has_an_end() -> None:
    """The table of `next_of`, for every state of a try."""
    for point in hooks.Point:
        for state in (
            ("begun",) if point == "before_asking" else ("waits", "done") if point == "after_answer" else ("waits",)
        ):
            ends = {hook_steps.next_of(point, state, a, paid=a is AttemptState.SUCCEEDED) for a in AttemptState}
            assert ends & {"do", "kept"} and ends & {"undo", "skipped"} and "wait" in ends, (point, state, ends)


async def answers(said: Any) -> Any:
    async def ask(_payment: Payment) -> Any:
        if said == "late":
            await asyncio.sleep(9)
        if said == "broken":
            raise ZeroDivisionError
        return said

    return ask


@pytest.mark.parametrize("must", [False, True])
@pytest.mark.parametrize("said", ["late", "broken"])
async def test_K3_without_an_answer_only_what_must_agree_keeps_a_channel_unasked(said: str, must: bool) -> None:
    act = await answers(said)
    try:
        hooks.register([Plugin("p", Question(act, must=must, timeout_s=0.05), Step(act, must=must, timeout_s=0.05))])
        outcome = await hooks.before_asking(SHOWN)
        assert (outcome is not None and outcome.declined) == must
        if must:
            with pytest.raises(Refused, match="did not answer"):
                await hooks.before_routing(SHOWN)
        else:
            assert await hooks.before_routing(SHOWN) == {}
    finally:
        hooks.register(())


async def test_a_refusal_names_who_refuses_and_asks_nobody_after() -> None:
    asked: list[str] = []

    async def never(_payment: Payment) -> None:
        asked.append("never")

    no = await answers(Refusal("Too many today.", "do_not_honor"))
    try:
        hooks.register([Plugin("risk", Question(no), Step(no)), Plugin("late", Question(never), Step(never))])
        outcome = await hooks.before_asking(SHOWN)
        assert outcome is not None and outcome.problem is not None
        assert (outcome.state, outcome.problem.message, outcome.problem.decline_code) == (
            State.FAILED, "risk: Too many today.", "do_not_honor",
        )  # fmt: skip
        with pytest.raises(Refused, match="risk refuses this payment: Too many today"):
            await hooks.before_routing(SHOWN)
        assert asked == []
    finally:
        hooks.register(())


async def test_facts_carry_their_plug_ins_name() -> None:
    try:
        hooks.register(
            [Plugin("a", Question(await answers({"x": "1"}))), Plugin("b", Question(await answers({"x": "2"})))]
        )
        assert await hooks.before_routing(SHOWN) == {"a.x": "1", "b.x": "2"}
    finally:
        hooks.register(())


def test_a_plug_in_that_cannot_be_is_refused() -> None:
    step = Step(Stock().step("x"))
    for wrong in (
        [Plugin("slow", before_asking=Step(step.do, timeout_s=60))],
        [Plugin("undone", on_success=Step(step.do, undo=Stock().step("y")))],
        [Plugin("twice"), Plugin("twice")],
    ):
        with pytest.raises(Impossible):
            hooks.register(wrong)
