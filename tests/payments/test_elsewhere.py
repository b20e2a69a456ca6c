"""Elsewhere: a payment whose channel certainly did nothing goes on at another account, under one key; while it is unknown, never."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from guilder.channels.model import CreatePayment, Outcome, State
from guilder.core import clock, ids
from guilder.core.errors import Unknown
from guilder.merchants.channel_accounts import ChannelAccount
from guilder.payments import confirm
from guilder.payments.confirm import Begin, GoOn
from guilder.payments.model import Attempt, Intent
from guilder.payments.routes import Choice, Router, Tried
from guilder.payments.states import AttemptState, IntentStatus
from guilder.platform.environment import Env
from guilder.platform.health import Guard, Mood
from guilder.platform.idempotency import Asked, Key, Reply
from guilder.routing import rulesets
from guilder.routing.decide import Ruleset, Unavailable, compiled
from guilder.routing.model import Routed
from payments.promises import broken
from payments.scenes import DECLINED, INFO, NOT_SENT, Desk
from place import Place

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio

NOTHING_DONE = Outcome(State.FAILED, problem=NOT_SENT)
SILENT = Outcome(State.UNKNOWN)
REFUSED = Outcome(State.FAILED, problem=DECLINED)


@dataclass
class Teller:
    """A channel that says what it is told to say, and notes what it was asked."""

    says: Outcome | Callable[[Any], Outcome] = SILENT
    asked: list[Any] = field(default_factory=list)
    info = INFO

    def ask(self, ask: Any) -> Generator[Any, Any, Outcome]:
        self.asked.append(ask)
        if isinstance(self.says, Outcome):
            return self.says
        return self.says(ask)
        yield


def shows_code(ask: CreatePayment) -> Outcome:
    from guilder.channels.model import QrCode

    return Outcome(State.PENDING, ask.key, None, ask.amount, "1900000001", "wx1", next=QrCode("weixin://wxpay/2"))


@dataclass
class Shop:
    """A merchant with several contracts of one kind."""

    env: Env
    desk: Desk
    tellers: list[Teller]
    accounts: list[ChannelAccount]
    rules: tuple[Ruleset, ...] = ()

    def wish(self, intent: Intent) -> Begin:
        router = Router(self.env.health, self.accounts, self.rules)

        def choose(i: Intent, tried: Tried) -> Choice:
            return router.choose(i, "wechat_pay", {}, tried=tried)

        expiry = clock.now() + timedelta(hours=1)
        return Begin(
            self.desk.book, intent.id, choose, "wechat_pay", None, self.desk.by(), self.desk.face, expiry, new=intent
        )

    def key(self, name: str = "") -> Key:
        return Key(self.desk.book, name or ids.text(ids.new_id()), b"f", "req_1")

    async def pay(self, amount: int = 100, key: Key | None = None) -> tuple[Reply, list[Attempt]]:
        intent = self.desk.intent(amount)
        reply = await confirm.confirm(self.env, key or self.key(), self.wish(intent))
        return reply, await self.desk.attempts(intent.id)

    def rule(self, *rules: dict[str, Any], **more: Any) -> None:
        named = [{"name": f"rule {n}", **r} for n, r in enumerate(rules)]
        self.rules = (compiled(ids.new_id(), 1, rulesets.read({"rules": named, **more})),)

    def shown(self, n: int) -> str:
        return ids.show("ca", self.accounts[n].id)


def shown(reply: Reply) -> Any:
    return msgspec.json.decode(reply.body)


def why(attempt: Attempt) -> Routed:
    assert attempt.routed is not None
    return msgspec.json.decode(attempt.routed, type=Routed)


@pytest.fixture
async def shop(env: Env) -> Shop:
    desk = Desk(env)
    tellers = [Teller() for _ in range(4)]
    accounts = [
        ChannelAccount(desk.book, ids.new_id(), str(n), "platform", t, "1900000001", "wx1")
        for n, t in enumerate(tellers)
    ]
    for account in accounts:

        async def load(account: ChannelAccount = account) -> ChannelAccount:
            return account

        await env.cache.get(("channel_account", "test", account.id), load)
    return Shop(env, desk, tellers, accounts)


async def test_what_was_not_sent_is_asked_for_at_the_next_account(shop: Shop) -> None:
    shop.tellers[0].says, shop.tellers[1].says = NOTHING_DONE, shows_code

    reply, [first, second] = await shop.pay()

    assert (reply.status, shown(reply)["status"]) == (200, "requires_action")
    assert (first.state, second.state) == (AttemptState.FAILED, AttemptState.PENDING)
    assert (first.channel_account_id, second.channel_account_id) == (shop.accounts[0].id, shop.accounts[1].id)
    assert first.ask_at is None and first.problem is not None and first.problem["channel_code"] == "not_sent"
    assert why(second).passed[0].why == "not_sent"
    assert len({a.key for t in shop.tellers for a in t.asked}) == 2, "each try has its own key at its channel"
    assert await broken(shop.env.db, shop.desk.book) == []


async def test_one_key_has_one_answer(shop: Shop) -> None:
    shop.tellers[0].says, shop.tellers[1].says = NOTHING_DONE, shows_code
    key, intent = shop.key(), shop.desk.intent()

    first = await confirm.confirm(shop.env, key, shop.wish(intent))
    again = await confirm.confirm(shop.env, key, shop.wish(intent))

    assert (again.body, again.replayed) == (first.body, True)
    assert len(await shop.desk.attempts(intent.id)) == 2


async def test_three_tries_and_no_more(shop: Shop) -> None:
    for teller in shop.tellers:
        teller.says = NOTHING_DONE

    reply, attempts = await shop.pay()

    assert reply.status == 402 and shown(reply)["error"]["code"] == "processing_error"
    assert [len(t.asked) for t in shop.tellers] == [1, 1, 1, 0]
    assert {a.state for a in attempts} == {AttemptState.FAILED}
    assert shown(reply)["error"]["payment_intent"]["status"] == "requires_payment_method"


@pytest.mark.parametrize("says", [SILENT, REFUSED], ids=["silent", "declined"])
async def test_P3_what_is_unknown_or_declined_goes_nowhere_else(shop: Shop, says: Outcome) -> None:
    shop.tellers[0].says = says

    _, attempts = await shop.pay()

    assert len(attempts) == 1
    assert [len(t.asked) for t in shop.tellers] == [1, 0, 0, 0]


async def test_without_another_account_it_fails_as_it_did(shop: Shop) -> None:
    shop.accounts = shop.accounts[:1]
    shop.tellers[0].says = NOTHING_DONE

    reply, [attempt] = await shop.pay()

    assert (reply.status, attempt.state) == (402, AttemptState.FAILED)


async def test_a_key_that_was_taken_over_goes_nowhere(shop: Shop, place: Place) -> None:
    intent, key = shop.desk.intent(), shop.key()
    [begun] = await shop.desk.run(confirm.begin_many, Asked(key, shop.wish(intent)))
    async with place.owner() as owner:
        await owner.execute("UPDATE platform.answer SET runner = $2 WHERE key = $1", key.key, ids.new_id())
    wish = msgspec.structs.replace(shop.wish(intent), new=None, tried={shop.accounts[0].id: "not_sent"})

    [result] = await shop.desk.run(confirm.go_on_many, Asked(key, GoOn(wish, begun.attempt.id, NOTHING_DONE)))

    assert isinstance(result, Unknown)
    [still] = await shop.desk.attempts(intent.id)
    assert still.state is AttemptState.UNKNOWN


@pytest.mark.parametrize(
    "meanwhile",
    ["UPDATE payments.intent SET cancel_wanted_at = now() WHERE id = $1", "UPDATE payments.attempt SET asked = 1 WHERE intent_id = $1",
     "UPDATE payments.intent SET expires_at = now() WHERE id = $1", "UPDATE payments.attempt SET state = 'pending' WHERE intent_id = $1"],
    ids=["to be cancelled", "asked about by a sweep", "expired", "told by a callback"],
)  # fmt: skip
async def test_what_changed_meanwhile_goes_nowhere_else(shop: Shop, place: Place, meanwhile: str) -> None:
    intent, key = shop.desk.intent(), shop.key()
    [begun] = await shop.desk.run(confirm.begin_many, Asked(key, shop.wish(intent)))
    async with place.owner() as owner:
        await owner.execute(meanwhile, intent.id)
    wish = msgspec.structs.replace(shop.wish(intent), new=None, tried={shop.accounts[0].id: "not_sent"})

    assert await shop.desk.run(confirm.go_on_many, Asked(key, GoOn(wish, begun.attempt.id, NOTHING_DONE))) == [None]
    assert len(await shop.desk.attempts(intent.id)) == 1


async def test_a_batch_goes_on_item_by_item(shop: Shop) -> None:
    intents, keys = [shop.desk.intent() for _ in range(5)], [shop.key() for _ in range(5)]
    begun = await shop.desk.run(
        confirm.begin_many, *(Asked(k, shop.wish(i)) for k, i in zip(keys, intents, strict=True))
    )
    out = {shop.accounts[0].id: "not_sent"}
    items = [
        Asked(k, GoOn(msgspec.structs.replace(shop.wish(i), new=None, tried=out), b.attempt.id, NOTHING_DONE))
        for k, i, b in zip(keys, intents, begun, strict=True)
    ]

    went = await shop.desk.run(confirm.go_on_many, *items)

    assert {r.account.id for r in went} == {shop.accounts[1].id}
    assert len({r.attempt.id for r in went}) == 5
    assert await shop.desk.run(confirm.go_on_many, *items) == [None] * 5, "said twice, it goes on once"


# --- what is chosen in the first place


async def test_what_does_not_answer_or_is_paused_is_not_asked(shop: Shop) -> None:
    a, b, c, _ = shop.accounts
    shop.tellers[2].says = shows_code
    shop.env.health.set(a.id, 1, Mood.OPEN, paused=False, until=0, opens=1, guard=Guard())
    shop.env.health.set(b.id, 1, Mood.CLOSED, paused=True, until=0, opens=0, guard=Guard())

    _, [attempt] = await shop.pay()

    assert attempt.channel_account_id == c.id
    assert {p.account: p.why for p in why(attempt).passed} == {
        shop.shown(0): "not_answering", shop.shown(1): "paused", shop.shown(3): "ranked_lower",
    }  # fmt: skip


async def test_where_everything_is_paused_nothing_is_done_and_the_key_stays_free(shop: Shop) -> None:
    for account in shop.accounts:
        shop.env.health.set(account.id, 1, Mood.CLOSED, paused=True, until=0, opens=0, guard=Guard())
    key, intent = shop.key(), shop.desk.intent()

    with pytest.raises(Unavailable):
        await confirm.confirm(shop.env, key, shop.wish(intent))
    assert await shop.desk.attempts(intent.id) == []
    shop.tellers[0].says = shows_code
    shop.env.health.set(shop.accounts[0].id, 2, Mood.CLOSED, paused=False, until=0, opens=0, guard=Guard())

    reply = await confirm.confirm(shop.env, key, shop.wish(intent))
    assert (reply.status, reply.replayed) == (200, False)


async def test_more_at_once_than_an_account_takes_goes_to_the_next(shop: Shop) -> None:
    shop.env.health.set(shop.accounts[0].id, 1, Mood.CLOSED, paused=False, until=0, opens=0, guard=Guard(concurrency=0))
    shop.tellers[1].says = shows_code

    class Speaks(Teller):
        def ask(self, ask: Any) -> Generator[Any, Any, Outcome]:
            from guilder.channels.conclude import conclude
            from guilder.core.exchange import HttpCall

            def says() -> Generator[Any, Any, Outcome]:
                yield HttpCall("POST", "http://127.0.0.1:9/", body=b"{}")
                raise AssertionError("nothing is sent")

            return conclude(ask, says())

    object.__setattr__(shop.accounts[0], "channel", Speaks())
    _, [first, second] = await shop.pay()

    assert (first.state, second.channel_account_id) == (AttemptState.FAILED, shop.accounts[1].id)
    assert shop.env.health.total(shop.accounts[0].id, "create").calls == 0, (
        "that it was held back says nothing of the channel"
    )


async def test_an_account_over_its_limit_is_passed_over_and_what_fails_gives_its_room_back(shop: Shop) -> None:
    shop.rule({"then": [{"to": shop.shown(0)}]}, limits=[{"of": shop.shown(0), "amount_per_day": 250}])
    for teller in shop.tellers:
        teller.says = shows_code

    went = [(await shop.pay(100))[1][0] for _ in range(3)]

    assert [a.channel_account_id for a in went] == [shop.accounts[n].id for n in (0, 0, 1)]
    assert [a.counted for a in went] == [True, True, False]
    assert why(went[2]).passed[0].why == "over_limit"

    shop.tellers[0].says = REFUSED
    shop.env.health.fill(shop.accounts[0].id, -1)
    _, [declined] = await shop.pay(50)
    assert (declined.channel_account_id, declined.state) == (shop.accounts[0].id, AttemptState.FAILED)
    shop.tellers[0].says = shows_code
    _, [again] = await shop.pay(50)
    assert again.channel_account_id == shop.accounts[0].id


async def test_more_than_fits_any_limit_is_said_and_nothing_is_done(shop: Shop) -> None:
    shop.accounts = shop.accounts[:1]
    shop.rule(limits=[{"of": "wechatpay", "amount_per_day": 50}])

    with pytest.raises(Unavailable):
        await shop.pay(100)


async def test_O1_a_rule_that_cannot_be_worked_out_fails_no_payment_and_wants_a_person(
    shop: Shop, place: Place
) -> None:
    shop.rule(
        {"when": "metadata.nothing == 'x'", "then": [{"to": shop.shown(1)}], "name": f"broken {ids.text(ids.new_id())}"}
    )
    shop.tellers[0].says = shows_code

    for _ in range(3):
        reply, _ = await shop.pay()
        assert reply.status == 200

    cases = await place.fetch("SELECT kind, seen FROM platform.case WHERE book_id = $1", shop.desk.book)
    assert cases == [{"kind": "routing_rule", "seen": 1}], "a person is told once a minute"


async def test_why_is_kept_with_each_attempt(shop: Shop) -> None:
    shop.rule(
        {"when": "amount >= 100", "then": [{"to": shop.shown(2)}], "name": "large"},
        fees=[{"of": "wechatpay", "fee_bps": 60}],
    )
    shop.tellers[2].says = shows_code

    _, [attempt] = await shop.pay(10_000)

    routed = why(attempt)
    assert (routed.rule, routed.number, routed.strategy, routed.fee) == ("large", 1, "first", 60)
    assert routed.ruleset == ids.show("rs", shop.rules[0].id)
    assert {p.why for p in routed.passed} == {"ranked_lower"} and len(routed.passed) == 3


async def test_where_there_is_nothing_to_choose_nothing_is_kept(shop: Shop) -> None:
    shop.accounts = shop.accounts[:1]
    shop.tellers[0].says = shows_code

    _, [attempt] = await shop.pay()

    assert attempt.routed is None
    assert (await shop.desk.look(attempt.intent_id)).status is IntentStatus.REQUIRES_ACTION
