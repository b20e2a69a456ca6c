"""What every adapter that sends money to people passes against its simulator: one payout under one key, whatever happens on the way.

`Payee` says how a channel names who is paid; the simulator's list of payouts is the oracle.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from guilder.channels.model import CreatePayout, Notice, Outcome, QueryPayout, Retry, State, Subject
from guilder.conformance.suite import PATIENCE_S, SILENCES, World, just_now, new_key
from guilder.core.amount import cny
from guilder.core.clock import now


@dataclass(frozen=True)
class Payee:
    """Somebody who can be paid, and somebody who cannot."""

    there: tuple[tuple[str, str], ...]
    nobody: tuple[tuple[str, str], ...]
    told: bool = True  # whether the channel calls back when a payout has ended


def pay_out(
    world: World, payee: Payee, fen: int = 2500, *, dials: str = "", nobody: bool = False, key: str = ""
) -> CreatePayout:
    to = dict(payee.nobody if nobody else payee.there)
    return CreatePayout(
        key or new_key(), cny(fen), to, "九月佣金", world.notify_url, now(), f"sim:{dials}" if dials else None
    )


async def ended(world: World, ask: CreatePayout) -> Outcome:
    """Ask what became of a payout until it has ended."""
    query = QueryPayout(ask.key, ask.amount, ask.created_at)
    async with asyncio.timeout(PATIENCE_S):
        while (outcome := await world.ask(query)).state not in (State.SUCCEEDED, State.FAILED, State.CLOSED):
            await asyncio.sleep(0.05)
    return outcome


async def sent(world: World) -> list[dict[str, Any]]:
    """The simulator's own list of what it sent: the only oracle."""
    async with world.session.get(f"{world.simulator}/sim/payouts?account={world.account}") as answer:
        return (await answer.json())["payouts"]


class PayoutConformance:
    """Every test takes a `world` of its own and the `payee` of its channel."""

    async def test_a_payout_from_its_creation_to_its_end(self, world: World, payee: Payee) -> None:
        ask = pay_out(world, payee)
        first = await world.ask(ask)
        assert first.state in (State.SUCCEEDED, State.PENDING), first
        done = await ended(world, ask)
        assert (done.state, done.key, done.amount) == (State.SUCCEEDED, ask.key, ask.amount)
        assert done.channel_ref and just_now(done.at)
        if payee.told:
            told = await world.next_notice()
            assert isinstance(told, Notice) and told.subject is Subject.PAYOUT and told.event_id
            assert (told.outcome.state, told.outcome.key) == (State.SUCCEEDED, ask.key)
            assert told.outcome.amount in (ask.amount, None) and told.outcome.channel_ref == done.channel_ref
        [row] = await sent(world)
        assert (row["out_no"], row["amount"], row["state"]) == (ask.key, ask.amount.units, "SUCCESS")

    async def test_C6_the_same_ask_twice_is_one_payout(self, world: World, payee: Payee) -> None:
        ask = pay_out(world, payee)
        for _ in range(2):
            assert (await world.ask(ask)).state in (State.SUCCEEDED, State.PENDING)
        assert (await ended(world, ask)).state is State.SUCCEEDED
        assert [row["out_no"] for row in await sent(world)] == [ask.key]

    async def test_a_key_used_for_another_amount_sends_nothing_more(self, world: World, payee: Payee) -> None:
        ask = pay_out(world, payee)
        await world.ask(ask)
        again = await world.ask(pay_out(world, payee, 9900, key=ask.key))
        assert again.state in (State.SUCCEEDED, State.PENDING, State.UNKNOWN) and again.problem
        assert [row["amount"] for row in await sent(world)] == [2500]

    async def test_nobody_there_to_be_paid(self, world: World, payee: Payee) -> None:
        ask = pay_out(world, payee, nobody=True)
        refused = await world.ask(ask)
        if refused.state is State.PENDING:
            refused = await ended(world, ask)
        assert refused.state is State.FAILED and refused.problem and refused.problem.retry is Retry.NEW_KEY
        assert not [row for row in await sent(world) if row["state"] == "SUCCESS"]

    async def test_what_was_never_sent_is_not_found(self, world: World, payee: Payee) -> None:
        assert (await world.ask(QueryPayout(new_key(), cny(1), now()))).state is State.NOT_FOUND

    async def test_a_payout_that_takes_its_time(self, world: World, payee: Payee) -> None:
        ask = pay_out(world, payee, dials="payout_processing=0.3")
        assert (await world.ask(ask)).state is State.PENDING
        assert (await world.ask(QueryPayout(ask.key, ask.amount, ask.created_at))).state is State.PENDING
        assert (await ended(world, ask)).state is State.SUCCEEDED

    async def test_a_payout_that_is_accepted_and_fails(self, world: World, payee: Payee) -> None:
        ask = pay_out(world, payee, dials="payout_fail")
        assert (await world.ask(ask)).state in (State.PENDING, State.FAILED)
        failed = await ended(world, ask)
        assert failed.state is State.FAILED and failed.problem and failed.problem.retry is not Retry.SAME_KEY

    @pytest.mark.parametrize("dial", SILENCES)
    async def test_C2_C3_a_payout_without_a_believable_answer_is_sent_once(
        self, world: World, payee: Payee, dial: str
    ) -> None:
        ask = pay_out(world, payee, dials=f"payout:{dial}")
        assert (await world.ask(ask)).state is State.UNKNOWN
        assert (await world.ask(ask)).state in (State.SUCCEEDED, State.PENDING)
        assert (await ended(world, ask)).state is State.SUCCEEDED
        assert [row["out_no"] for row in await sent(world)] == [ask.key]

    @pytest.mark.parametrize("dial", SILENCES)
    async def test_C2_C3_a_query_without_a_believable_answer(self, world: World, payee: Payee, dial: str) -> None:
        ask = pay_out(world, payee, dials=f"payout_query:{dial}")
        await world.ask(ask)
        assert (await world.ask(QueryPayout(ask.key, ask.amount, ask.created_at))).state is State.UNKNOWN
        assert (await ended(world, ask)).state is State.SUCCEEDED
