"""What only Stripe has of what the conformance suite does not ask for: payouts to the own bank, disputes, both secrets while one is rolled."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from guilder.channels.model import (
    CreatePayout,
    DisputeState,
    LineKind,
    Notice,
    Outcome,
    QueryPayout,
    State,
    Subject,
    SubmitEvidence,
)
from guilder.channels.stripe import Stripe
from guilder.conformance.payers import new_key
from guilder.conformance.suite import Case, World, open_world, query, refund
from guilder.core.amount import cny
from guilder.core.clock import now
from simulators.process import Simulators

pytestmark = pytest.mark.anyio
TOKEN = Case("stripe", "token", refunds_at_once=True, given={"token": "pm_card_visa"})


@pytest.fixture(scope="module")
def simulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    started = Simulators(tmp_path_factory.mktemp("simulators")).start()
    yield started
    started.stop()


@pytest.fixture
async def world(simulators: Simulators) -> AsyncIterator[World]:
    async with open_world(TOKEN, simulators.url) as world:
        yield world


async def told(world: World, subject: Subject) -> Notice:
    """The next notice about this kind of thing."""
    while True:
        notice = await world.next_notice()
        assert isinstance(notice, Notice)
        if notice.subject is subject:
            return notice


def payout(**changes: str) -> CreatePayout:
    attach = changes.get("attach")
    return CreatePayout(new_key(), cny(1250), {"destination": "ba_1"}, "to the bank", "", now(), attach=attach)


async def test_a_payout_arrives_and_is_one_however_often_it_is_asked_for(world: World):
    ask = payout()
    first, again = [await world.ask(ask) for _ in range(2)]
    assert first.state is State.PENDING and again.memo == first.memo
    notice = await told(world, Subject.PAYOUT)
    asked = await world.ask(QueryPayout(ask.key, ask.amount, ask.created_at))
    for outcome in (notice.outcome, asked):
        assert (outcome.state, outcome.key, outcome.amount) == (State.SUCCEEDED, ask.key, ask.amount)
    assert asked.channel_ref == first.channel_ref


async def test_a_payout_that_fails_says_why(world: World):
    ask = payout(attach="sim:payout_fail")
    assert (await world.ask(ask)).state is State.PENDING
    notice = await told(world, Subject.PAYOUT)
    assert notice.outcome.state is State.FAILED and notice.outcome.problem
    assert notice.outcome.problem.channel_code == "account_closed"
    wrong = await world.ask(replace(payout(), payee={"destination": "acct_1"}))
    assert wrong.state is State.FAILED


@pytest.mark.parametrize(
    "dial", ["silence_before", "silence_after", "error_before", "error_after", "garbage", "bad_signature"]
)
async def test_C2_C3_a_payout_without_a_believable_answer(world: World, dial: str):
    ask = payout(attach=f"sim:payout:{dial}")
    assert (await world.ask(ask)).state is State.UNKNOWN
    assert (await world.ask(ask)).state in (State.PENDING, State.SUCCEEDED)
    await told(world, Subject.PAYOUT)
    assert world.heard.empty()


async def test_a_payout_whose_answer_was_lost_is_found_when_its_key_is_forgotten(world: World):
    """It was asked for a day ago, and its answer never came."""
    others = [payout() for _ in range(3)]
    lost = payout(attach="sim:payout:silence_after")
    for ask in (*others[:2], lost, others[2]):
        await world.ask(ask)
    long_ago = now() - timedelta(hours=23, minutes=2)

    async def looked(key: str) -> Outcome:
        return await world.run(world.channel.ask(QueryPayout(key, cny(1250), long_ago)))

    while (found := await looked(lost.key)).state is not State.SUCCEEDED:
        assert found.state in (State.PENDING, State.NOT_FOUND)
        await asyncio.sleep(0.05)
    assert (found.key, found.amount) == (lost.key, lost.amount) and found.memo
    assert await looked(new_key()) == Outcome(State.NOT_FOUND)


async def test_the_simulators_list_of_payouts_is_read_page_by_page_newest_first(world: World):
    for _ in range(5):
        await world.ask(payout())
    channel, seen, after = world.channel, list[str](), ""
    assert isinstance(channel, Stripe)

    async def page(query: str) -> Any:
        reply = await world.run(channel._call("GET", f"/v1/payouts?{query}"))
        return reply.status, json.loads(reply.body)

    while True:
        status, said = await page("limit=2" + (f"&starting_after={after}" if after else ""))
        assert status == 200 and len(said["data"]) <= 2
        seen += [one["id"] for one in said["data"]]
        if not said["has_more"]:
            break
        after = seen[-1]
    assert len(seen) == len(set(seen)) == 5
    made = {one["id"]: one["created"] for one in (await page("limit=100"))[1]["data"]}
    assert list(made) == seen and list(made.values()) == sorted(made.values(), reverse=True)
    newest = max(made.values())
    assert (await page(f"created[gt]={newest}"))[1]["data"] == []
    assert len((await page(f"created[gte]={min(made.values())}&created[lte]={newest}"))[1]["data"]) == 5
    assert (await page("limit=101"))[0] == 400 and (await page("starting_after=po_none"))[0] in (400, 404)


@pytest.mark.parametrize(
    ("evidence", "state", "back"),
    [("winning_evidence", DisputeState.WON, True), ("losing_evidence", DisputeState.LOST, False)],
)
async def test_a_dispute_is_answered_and_decided(world: World, evidence: str, state: DisputeState, back: bool):
    ask = replace(world.create(), given={"token": "pm_card_createDispute"})
    paid = await world.ask(ask)
    assert paid.state is State.SUCCEEDED
    opened = await told(world, Subject.DISPUTE)
    dispute = opened.outcome.dispute
    assert opened.payment_memo == paid.memo and dispute and dispute.taken
    assert (dispute.state, dispute.amount, dispute.reason) == (DisputeState.NEEDS_RESPONSE, ask.amount, "fraudulent")
    assert dispute.due_at and dispute.due_at > now() and dispute.fee == cny(1500)
    assert (await world.ask(refund(world.notify_url, ask, 100))).state is State.FAILED, "the money is with the bank"

    sent = await world.ask(SubmitEvidence(dispute.ref, {"uncategorized_text": evidence}))
    assert sent.dispute and sent.dispute.state is DisputeState.UNDER_REVIEW
    again = await world.ask(SubmitEvidence(dispute.ref, {"uncategorized_text": evidence}))
    assert again.state is State.SUCCEEDED, "the same evidence again is the same call"
    late = await world.ask(SubmitEvidence(dispute.ref, {"uncategorized_text": "more"}))
    assert late.state is State.FAILED
    states = set()
    while state not in states:
        heard = (await told(world, Subject.DISPUTE)).outcome.dispute
        assert heard
        states.add(heard.state)

    await world.control(f"accounts/{world.account}/close-day", day=world.day.isoformat())
    lines = list((await world.statement()).lines)
    moved = [line.amount for line in lines if line.kind is LineKind.DISPUTE]
    assert moved == [cny(-1250), *([cny(1250)] if back else [])]
    assert [line.payment_key for line in lines] == [ask.key] * len(lines)


async def test_a_dispute_is_given_in(world: World):
    ask = replace(world.create(), given={"token": "pm_card_createDispute"})
    await world.ask(ask)
    dispute = (await told(world, Subject.DISPUTE)).outcome.dispute
    assert dispute
    given_in = await world.ask(SubmitEvidence(dispute.ref, {}, accept=True))
    assert given_in.dispute and given_in.dispute.state is DisputeState.LOST
    assert (await world.ask(query(ask))).state is State.SUCCEEDED, "the payment was made all the same"


async def test_a_card_that_is_declined_is_the_end_of_the_key(world: World):
    ask = replace(world.create(), given={"token": "pm_card_chargeDeclinedInsufficientFunds"})
    for outcome in (
        await world.ask(ask),
        await world.ask(ask),
        await world.ask(query(ask)),
        (await told(world, Subject.PAYMENT)).outcome,
    ):
        assert outcome.state is State.FAILED and outcome.problem and outcome.key == ask.key
        assert outcome.problem.decline_code == "insufficient_funds"


async def test_a_form_that_is_declined_takes_another_card(simulators: Simulators):
    async with open_world(Case("stripe", "elements"), simulators.url) as world:
        ask, shown = await world.created()
        await world.scan(shown, "decline")
        async with asyncio.timeout(20):
            notice = await world.heard.get()  # and not `next_notice`, which asks about those who wait
        assert isinstance(notice, Notice) and notice.outcome.state is State.PENDING and notice.outcome.problem
        asked = await world.ask(query(ask))
        assert asked.state is State.PENDING and asked.next == shown.next
