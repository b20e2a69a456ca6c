"""The part of the conformance suite about money that is held first and captured later, for channels that can."""

from dataclasses import replace

import pytest

from guilder.channels.info import Operation
from guilder.channels.model import CapturePayment, CreatePayment, LineKind, Notice, Outcome, State, StatementError
from guilder.conformance.payers import close, query
from guilder.conformance.suite import SILENCES, World, refund
from guilder.core.amount import cny
from guilder.core.clock import now


def capture(ask: CreatePayment, fen: int) -> CapturePayment:
    return CapturePayment(ask.key, ask.way, now(), cny(fen), ask.amount)


class Holds:
    """For each case whose way can capture."""

    async def test_money_is_held_and_captured_in_part(self, world: World) -> None:
        if not world.can(Operation.CAPTURE):
            return
        ask = replace(world.create(), capture=False)
        held = await self.held(world, ask)
        assert (held.key, held.amount) == (ask.key, ask.amount)
        assert (await world.ask(query(ask))).state is State.AUTHORISED
        captured = await world.ask(capture(ask, 1000))
        assert (captured.state, captured.amount) == (State.SUCCEEDED, cny(1000))
        told = await world.next_notice()
        assert isinstance(told, Notice) and (told.outcome.state, told.outcome.amount) == (State.SUCCEEDED, cny(1000))
        assert (await world.ask(capture(ask, 1000))).state is State.SUCCEEDED, "once, however often it is asked"
        assert (await world.ask(query(ask))).amount == cny(1000)
        refused = await world.ask(refund(world.notify_url, ask, 1001))
        assert refused.state is State.FAILED, "only what was captured can be given back"
        await world.control(f"accounts/{world.account}/close-day", day=world.day.isoformat())
        [line] = (await world.statement()).lines
        assert (line.kind, line.key, line.amount) == (LineKind.PAYMENT, ask.key, cny(1000))

    async def test_money_is_held_and_let_go(self, world: World) -> None:
        if not world.can(Operation.CAPTURE):
            return
        ask = replace(world.create(), capture=False)
        await self.held(world, ask)
        assert (await world.ask(close(ask))).state is State.CLOSED
        late = await world.ask(capture(ask, 1250))
        assert late.state is State.CLOSED and late.problem
        await world.control(f"accounts/{world.account}/close-day", day=world.day.isoformat())
        with pytest.raises(StatementError):
            await world.statement()

    @pytest.mark.parametrize("dial", SILENCES)
    async def test_C2_C3_a_capture_without_a_believable_answer(self, world: World, dial: str) -> None:
        if not world.can(Operation.CAPTURE):
            return
        ask = replace(world.create(dials=f"capture:{dial}"), capture=False)
        await self.held(world, ask)
        assert (await world.ask(capture(ask, 1000))).state is State.UNKNOWN
        assert (await world.ask(capture(ask, 1000))).state is State.SUCCEEDED
        [trade] = await world.book()
        assert trade["captured"] == 1000

    @staticmethod
    async def held(world: World, ask: CreatePayment) -> Outcome:
        await world.scan(await world.ask(ask))
        notice = await world.next_notice()
        assert isinstance(notice, Notice) and notice.outcome.state is State.AUTHORISED
        return notice.outcome
