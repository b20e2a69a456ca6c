"""WeChat Pay against its simulator, beyond what every channel does: payouts, funds, abnormal refunds, the bridge, who pays, partners."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from guilder.channels.model import (
    CreatePayout,
    IdentifyPayer,
    LineKind,
    Notice,
    Outcome,
    QueryPayout,
    QueryRefund,
    RescueRefund,
    Retry,
    Sdk,
    State,
    StatementKind,
    Subject,
)
from guilder.channels.registry import make
from guilder.conformance.payers import close, just_now, new_key, query, refund
from guilder.conformance.suite import PATIENCE_S, SILENCES, Case, World, open_world
from guilder.core.amount import cny
from guilder.core.clock import now

pytestmark = pytest.mark.anyio
OPENID = {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"}
PAYEE = OPENID | {"name": "张三"}


@pytest.fixture(params=["public_key", "certificate"])
async def world(request: pytest.FixtureRequest, simulator: str) -> AsyncIterator[World]:
    async with open_world(Case("wechatpay", "native", request.param), simulator) as world:
        yield world


def pay_out(world: World, fen: int = 1250, **payee: str) -> CreatePayout:
    return CreatePayout(new_key(), cny(fen), payee or PAYEE, "报销", world.notify_url, now())


async def ended(world: World, ask: CreatePayout) -> Outcome:
    async with asyncio.timeout(PATIENCE_S):
        while (outcome := await world.ask(QueryPayout(ask.key, ask.amount, ask.created_at))).state is State.PENDING:
            await asyncio.sleep(0.05)
    return outcome


async def press(world: World, shown: Any, action: str) -> str:
    """The payer's finger on WeChat's page; what the bridge then tells."""
    assert isinstance(shown, Sdk)
    apis = {"wechat_pay_jsapi": "getBrandWCPayRequest", "wechat_pay_mini_program": "getBrandWCPayRequest"}
    api = apis | {"wechat_pay_app": "appPay", "wechat_pay_transfer": "requestMerchantTransfer"}
    form = {"api": api[shown.kind], "params": json.dumps(dict(shown.params)), "action": action}
    async with world.session.post(f"{world.simulator}/wechat/invoke", data=form) as page:
        return (await page.text()).partition('data-result="')[2].partition('"')[0]


@pytest.mark.parametrize(("action", "state"), [("pay", State.SUCCEEDED), ("decline", State.FAILED)])
async def test_a_payout_is_confirmed_by_its_payee_and_told(world: World, action: str, state: State):
    ask = pay_out(world, 250_000)
    first = await world.ask(ask)
    assert first.state is State.PENDING and first.memo
    assert (await world.ask(ask)).next == first.next, "asked twice, it is one"
    waiting = await world.ask(QueryPayout(ask.key, ask.amount, ask.created_at, first.memo))
    assert (waiting.state, waiting.next) == (State.PENDING, first.next)
    await press(world, first.next, action)
    done, told = await ended(world, ask), await world.next_notice()
    assert isinstance(told, Notice) and told.subject is Subject.PAYOUT
    for outcome in (done, told.outcome):
        assert (outcome.state, outcome.key, outcome.amount, outcome.account_ref) == (
            state,
            ask.key,
            ask.amount,
            world.account,
        )
        assert outcome.channel_ref == first.channel_ref and just_now(outcome.at) is (state is State.SUCCEEDED)


async def test_payouts_that_are_refused_used_up_or_unknown(world: World):
    ask = pay_out(world, 250_000, **OPENID)
    refused = await world.ask(ask)
    assert refused.state is State.FAILED and refused.problem, "from 2,000 yuan on there must be a name"
    assert (await world.ask(QueryPayout(ask.key, ask.amount, ask.created_at))).state is State.NOT_FOUND
    made = pay_out(world)
    await world.ask(made)
    again = await world.ask(replace(made, amount=cny(99)))
    assert (again.state, again.amount) == (State.PENDING, cny(1250)) and again.problem
    await world.control("dials", account=world.account, dials={"payout:autopay": {}, "payout_fail": {"next": 1}})
    failing = pay_out(world)
    await world.ask(failing)
    failed = await ended(world, failing)
    assert failed.state is State.FAILED and failed.problem and failed.problem.retry is Retry.NEW_KEY


@pytest.mark.parametrize("dial", SILENCES)
async def test_C2_C3_a_payout_without_a_believable_answer_is_sent_once(world: World, dial: str):
    dials = {"payout:autopay": {}, **{f"{op}:{dial}": {"next": 1} for op in ("payout", "payout_query")}}
    await world.control("dials", account=world.account, dials=dials)
    ask = pay_out(world)
    assert (await world.ask(ask)).state is State.UNKNOWN
    assert (await world.ask(QueryPayout(ask.key, ask.amount, ask.created_at))).state is State.UNKNOWN
    assert (await world.ask(ask)).state in (State.PENDING, State.SUCCEEDED)
    assert (await ended(world, ask)).state is State.SUCCEEDED


async def test_funds_open_move_and_close(world: World):
    await world.control("dials", account=world.account, dials={"payout:autopay": {}})
    ask, _ = await world.paid(100_000)
    back, sent = refund(world.notify_url, ask, 40_000), pay_out(world, 7_000)
    await world.ask(back)
    await world.finished(back)
    await world.ask(sent)
    await ended(world, sent)
    await world.control(f"accounts/{world.account}/close-day", day=world.day.isoformat())
    statement = await world.statement(StatementKind.FUNDS)
    lines = list(statement.lines)
    assert statement.opening and statement.closing
    assert sum((line.amount for line in lines), statement.opening) == statement.closing
    moved = {(line.kind, line.key): line.amount.units for line in lines}
    assert moved == {
        (LineKind.PAYMENT, ask.key): 100_000,
        (LineKind.FEE, ask.key): -600,
        (LineKind.REFUND, back.key): -40_000,
        (LineKind.FEE, back.key): 240,
        (LineKind.PAYOUT, sent.key): -7_000,
    }
    assert statement.totals.paid - statement.totals.refunded == sum(moved.values())


@pytest.mark.parametrize("to", ["payer", "merchant"])
async def test_an_abnormal_refund_is_sent_elsewhere(world: World, to: str):
    ask, _ = await world.paid(dials="refund:refund_fail")
    back = refund(world.notify_url, ask, 500)
    await world.ask(back)
    failed = await world.finished(back)
    assert failed.state is State.FAILED and failed.channel_ref
    where = {"type": to, "bank": "ICBC_DEBIT", "account": "6222020200112233", "name": "张三"}
    sent = await world.ask(RescueRefund(back.key, failed.channel_ref, ask.key, where))
    assert sent.state is State.PENDING
    assert (await world.finished(back)).state is State.SUCCEEDED
    assert (await world.ask(QueryRefund(back.key, ask.key, back.amount))).amount == cny(500)


@pytest.mark.parametrize("way", ["jsapi", "mini", "app"])
@pytest.mark.parametrize("options", [{}, {"mode": "partner"}], ids=["direct", "partner"])
async def test_what_the_payers_side_is_handed_opens_wechats_page(simulator: str, way: str, options: dict[str, str]):
    async with open_world(Case("wechatpay", way, given=OPENID, options=options), simulator) as world:
        ask, created = await world.created()
        assert isinstance(created.next, Sdk)
        forged = replace(created.next, params={**created.next.params, "nonceStr": "x", "noncestr": "x"})
        assert await press(world, forged, "pay") == "fail"
        assert await press(world, created.next, "cancel") == "cancel"
        assert (await world.ask(query(ask))).state is State.PENDING
        assert await press(world, created.next, "pay") == "ok"
        told = await world.next_notice()
        assert isinstance(told, Notice) and told.outcome.state is State.SUCCEEDED
        assert told.outcome.payer == OPENID["openid"] or way == "app"


async def test_who_holds_the_phone_pays(world: World):
    url = world.channel.identify_url("http://127.0.0.1/counter?plate=7", "s1")  # type: ignore[attr-defined]
    async with world.session.get(url.partition("#")[0], allow_redirects=False) as sent_back:
        back = parse_qs(urlsplit(sent_back.headers["Location"]).query)
    assert (back["plate"], back["state"]) == (["7"], ["s1"])
    who = await world.ask(IdentifyPayer(back["code"][0]))
    assert who.state is State.SUCCEEDED and who.payer and who.payer.startswith("o")
    assert (await world.ask(IdentifyPayer(back["code"][0]))).state is State.FAILED, "a code is good once"


async def test_a_scanned_payer_pays_at_once_or_cannot(simulator: str):
    async def scanned(like: str) -> dict[str, str]:
        async with world.session.get(
            f"{simulator}/wechat/code?like={like}", headers={"Accept": "application/json"}
        ) as code:
            return await code.json()

    async with open_world(Case("wechatpay", "codepay", ahead_s=30), simulator) as world:
        ask = replace(world.create(), given=await scanned("pays"))
        paid = await world.ask(ask)
        assert (paid.state, paid.amount, paid.next) == (State.SUCCEEDED, ask.amount, None)
        assert (await world.ask(ask)).state is State.SUCCEEDED, "asked again with a code that is spent"
        assert (await world.ask(close(ask))).state is State.SUCCEEDED, "too late to close"
        assert (await world.ask(close(ask, cancel=True))).state is State.CLOSED
        assert (await world.ask(query(ask))).state is State.CLOSED
        spent = await world.ask(replace(world.create(), given=dict(ask.given)))
        assert spent.state is State.FAILED and spent.problem and spent.problem.retry is Retry.NEW_KEY
        for like in ("broke", "expired"):
            refused = await world.ask(replace(world.create(), given=await scanned(like)))
            assert refused.state is State.FAILED and refused.problem and refused.problem.retry is Retry.NEW_KEY
        await world.control(f"accounts/{world.account}/close-day", day=world.day.isoformat())
        lines = list((await world.statement()).lines)
        assert [(line.kind, line.key, line.status) for line in lines] == [
            (LineKind.PAYMENT, ask.key, "SUCCESS"),
            (LineKind.REFUND, ask.key, lines[1].status),
        ]


async def test_platform_certificates_rotate_while_payments_go_on(simulator: str):
    ahead = [0.0]
    async with open_world(Case("wechatpay", "native", "certificate"), simulator) as world:
        world.channel = make("wechatpay", world.config, lambda: now() + timedelta(seconds=ahead[0]))
        ask, created = await world.created()
        await world.control("wechat/rotate")
        assert (await world.ask(query(ask))).state is State.UNKNOWN, "the certificates were fetched a moment ago"
        ahead[0] = 61
        assert (await world.ask(query(ask))).state is State.PENDING, "an unknown certificate is fetched, once a minute"
        await world.scan(created)
        told = await world.next_notice()
        assert isinstance(told, Notice) and told.outcome.state is State.SUCCEEDED
        sealed = pay_out(world, 250_000)
        assert (await world.ask(sealed)).state is State.PENDING


@pytest.mark.parametrize(("before", "after"), [("certificate", "public_key"), ("public_key", "certificate")])
async def test_a_merchant_switches_while_payments_go_on(simulator: str, before: str, after: str):
    """First WeChat Pay signs in the other way, then we are told which to trust: in between both are taken."""
    async with open_world(Case("wechatpay", "native", before), simulator) as world:
        ask, created = await world.created()
        await world.control("wechat/trust", account=world.account, trust=after)
        assert (await world.ask(query(ask))).state is State.PENDING
        world.channel = make("wechatpay", world.config | {"trust": after})
        await world.scan(created)
        told = await world.next_notice()
        assert isinstance(told, Notice) and told.outcome.state is State.SUCCEEDED
        assert (await world.ask(refund(world.notify_url, ask, 500))).state is State.PENDING
