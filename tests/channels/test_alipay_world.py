"""Alipay's adapter against its simulator, where Alipay is like no other channel: the wallet's OAuth, scanned codes, certificates that
are renewed, and the account bill."""

from collections.abc import AsyncIterator
from urllib.parse import parse_qsl, urlsplit

import pytest

from guilder.channels.model import (
    CreatePayment,
    FetchStatement,
    IdentifyPayer,
    LineKind,
    Notice,
    Sdk,
    State,
    StatementError,
    StatementKind,
    StatementProblem,
)
from guilder.conformance.payouts import Payee, pay_out
from guilder.conformance.suite import Case, World, new_key, open_world, query, refund
from guilder.core.amount import cny
from guilder.core.clock import beijing_day, now

pytestmark = pytest.mark.anyio
SOMEBODY = Payee((("account", "2088101117955611"),), ())


@pytest.fixture(params=["key", "certificate"])
async def world(request: pytest.FixtureRequest, simulator: str) -> AsyncIterator[World]:
    async with open_world(Case("alipay", "precreate", request.param), simulator) as world:
        yield world


def by(world: World, way: str, **given: str) -> CreatePayment:
    ask = world.create()
    return CreatePayment(ask.key, way, ask.amount, ask.description, ask.expires_at, ask.notify_url, given=given)


async def code_of(world: World, user: str = "") -> str:
    """What the wallet sends back to a page that asks who holds it."""
    at = world.channel.identify_url("http://127.0.0.1:9/back?a=1", "s 1")  # type: ignore[attr-defined]
    cookie = {"Cookie": f"alipay_user={user}"} if user else {}
    async with world.session.get(at, allow_redirects=False, headers=cookie) as answer:
        assert answer.status == 303
        back = answer.headers["Location"]
    said = dict(parse_qsl(urlsplit(back).query))
    assert back.startswith("http://127.0.0.1:9/back?") and (said["a"], said["state"]) == ("1", "s 1")
    return said["auth_code"]


async def test_who_holds_the_wallet_and_pays_in_it(world: World):
    code = await code_of(world, "2088102146225135")
    who = await world.ask(IdentifyPayer(code))
    assert (who.state, who.payer) == (State.SUCCEEDED, "2088102146225135")
    assert (await world.ask(IdentifyPayer(code))).state is State.FAILED, "a code is good once"
    assert (await world.ask(IdentifyPayer("nonsense"))).state is State.FAILED

    ask = by(world, "jsapi", buyer_id=who.payer or "")
    made = await world.ask(ask)
    assert isinstance(made.next, Sdk)
    number = made.next.params["trade_no"]
    form = {"trade_no": number, "action": "pay"}
    async with world.session.get(f"{world.simulator}/alipay/wallet?trade_no={number}") as sheet:
        assert sheet.status == 200 and "12.50" in await sheet.text()
    async with world.session.post(
        f"{world.simulator}/alipay/wallet", data=form, headers={"Cookie": "alipay_user=2088102146225135"}
    ) as sheet:
        assert 'data-result="9000"' in await sheet.text()
    paid = await world.ask(query(ask))
    assert (paid.state, paid.payer, paid.channel_ref) == (State.SUCCEEDED, "2088102146225135", number)


async def test_a_code_of_one_app_tells_another_nothing(world: World, simulator: str):
    async with open_world(world.case, simulator) as other:
        assert (await world.ask(IdentifyPayer(await code_of(other)))).state is State.FAILED


@pytest.mark.parametrize(
    ("code", "state", "word"),
    [
        ("281234567890120099", State.SUCCEEDED, None),
        ("301234567890120003", State.PENDING, None),
        ("251234567890120004", State.FAILED, "ACQ.BUYER_BALANCE_NOT_ENOUGH"),
        ("281234567890120000", State.FAILED, "ACQ.PAYMENT_AUTH_CODE_INVALID"),
        ("131234567890120099", State.FAILED, "ACQ.PAYMENT_AUTH_CODE_INVALID"),  # WeChat Pay's
    ],
)
async def test_a_scanned_code(world: World, code: str, state: State, word: str | None):
    ask = by(world, "barcode", auth_code=code)
    outcome = await world.ask(ask)
    assert (outcome.state, outcome.problem and outcome.problem.channel_code) == (state, word)
    again = await world.ask(ask)
    assert again.state is state, "asked twice, it is the same payment"
    found = await world.ask(query(ask))
    if state is State.SUCCEEDED:
        assert (
            outcome.amount == found.amount == again.amount == ask.amount
            and outcome.payer == found.payer == f"2088{code[2:14]}"
        )
        told = await world.next_notice()
        assert isinstance(told, Notice) and told.outcome.key == ask.key
    assert found.state is (state if state is not State.FAILED else State.NOT_FOUND)


async def test_a_certificate_that_is_renewed_on_the_way(simulator: str):
    async with open_world(Case("alipay", "precreate", "certificate"), simulator) as world:
        ask, _ = await world.paid()
        async with world.session.post(f"{simulator}/sim/alipay/{world.account}/renew") as answer:
            assert len((await answer.json())["alipay_cert_sn"]) == 32
        assert (await world.ask(query(ask))).state is State.SUCCEEDED
        await world.paid()  # its callback is signed with the new one


async def test_the_account_bill(world: World):
    day, funds = beijing_day(now()), FetchStatement(beijing_day(now()), StatementKind.FUNDS)
    with pytest.raises(StatementError) as caught:
        await world.run(world.channel.statement(funds))
    assert caught.value.problem is StatementProblem.EMPTY_DAY
    asks = [(await world.paid(fen))[0] for fen in (100_000, 250)]
    back = refund(world.notify_url, asks[0], 400)
    await world.ask(back)
    sent = pay_out(world, SOMEBODY, 3000)
    assert (await world.ask(sent)).state is State.SUCCEEDED
    await world.control(f"accounts/{world.account}/close-day", day=day.isoformat())

    statement = await world.run(world.channel.statement(funds))
    lines = list(statement.lines)
    assert (statement.opening, statement.closing) == (cny(0), cny(100_000 + 250 - 600 - 2 - 400 - 3000))
    assert sum(line.amount.units for line in lines) == 100_000 + 250 - 602 - 400 - 3000
    told = {(line.kind, line.key, line.amount.units) for line in lines}
    assert told == {
        (LineKind.PAYMENT, asks[0].key, 100_000),
        (LineKind.FEE, asks[0].key, -600),
        (LineKind.PAYMENT, asks[1].key, 250),
        (LineKind.FEE, asks[1].key, -2),
        (LineKind.REFUND, asks[0].key, -400),
        (LineKind.PAYOUT, sent.key, -3000),
    }
    for corrupt in ("hash", "totals", "truncate"):
        await world.control(f"accounts/{world.account}/close-day", day=day.isoformat(), corrupt=corrupt)
        with pytest.raises(StatementError) as caught:
            await world.run(world.channel.statement(funds))
        assert caught.value.problem is StatementProblem.CORRUPT


async def test_a_partner_without_its_grant_is_refused(simulator: str):
    async with open_world(Case("alipay", "precreate", options={"partner": "1"}), simulator) as world:
        config = {**world.config, "app_auth_token": "revoked"}
        world.channel = type(world.channel)(type(world.channel.config)(**config))  # type: ignore[attr-defined,call-arg]
        refused = await world.ask(by(world, "precreate"))
        assert refused.state is State.FAILED and refused.problem and "app-auth-token" in refused.problem.channel_code
        assert new_key() and await world.book() == []
