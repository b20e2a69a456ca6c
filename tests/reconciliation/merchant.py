"""A merchant: what its book holds, and what its channel does."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from guilder.channels.model import CreatePayment, CreateRefund, Outcome, QrCode, State
from guilder.core import clock, ids
from guilder.core.amount import Amount
from guilder.core.clock import BEIJING
from guilder.merchants import channel_accounts
from guilder.merchants.channel_accounts import ChannelAccount
from guilder.payments import asking, store
from guilder.payments.model import Attempt, Changes, Intent, Refund
from guilder.payments.states import AttemptState, IntentStatus, RefundState
from guilder.platform import context
from guilder.platform.environment import Env
from guilder.platform.wire import About
from guilder.reconciliation import Report, reconcile
from simulators.process import Simulators

DAY = clock.beijing_day(clock.now()) - timedelta(days=10)  # its files, and those of the next days, are final
WAYS = {"wechatpay": "native", "alipay": "precreate"}
A, R = AttemptState, RefundState
STATUS = {A.SUCCEEDED: IntentStatus.SUCCEEDED, A.SURPLUS: IntentStatus.CANCELED, A.UNKNOWN: IntentStatus.PROCESSING,
          A.PENDING: IntentStatus.PROCESSING}  # fmt: skip


def at(hhmm: str, day: date = DAY) -> datetime:
    """A Beijing time of the day."""
    return datetime.fromisoformat(f"{day} {hhmm}").replace(tzinfo=BEIJING).astimezone(UTC)


@dataclass
class Merchant:
    """One channel account, its book, and its side of the simulator."""

    env: Env
    simulators: Simulators
    account: ChannelAccount
    simulated: str

    @property
    def book(self) -> UUID:
        return self.account.book_id

    def attempt(
        self,
        amount: int = 100,
        state: AttemptState = A.SUCCEEDED,
        *,
        when: datetime | None = None,
        currency: str = "CNY",
    ) -> tuple[Intent, Attempt]:
        """A payment in memory, asked for three minutes before `when` (default: noon) and over in half an hour."""
        when = when or at("12:00")
        made, root, over = when - timedelta(minutes=3), ids.new_id(), when + timedelta(minutes=27)
        intent = Intent(
            self.book, ids.new_id(), 1, STATUS.get(state, IntentStatus.REQUIRES_PAYMENT_METHOD), amount, currency, None, None,
            self.account.info.code, [self.account.info.code], None, None, None, {}, {}, None, None, None, None, None, None, "refund",
            root, "", made,
        )  # fmt: skip
        paid = state in (A.SUCCEEDED, A.SURPLUS)
        is_open = state in (A.UNKNOWN, A.PENDING)
        attempt = Attempt(
            self.book, ids.new_id(), intent.id, self.account.id, self.account.info.code, WAYS[self.account.info.code], state, amount,
            currency, None, None, None, None, None, over + timedelta(days=3650) if is_open else None, 0, False, over,
            when if paid else None, root, "", made,
        )  # fmt: skip
        intent.attempt_id = attempt.id
        return intent, attempt

    def refund(
        self, of: Attempt, amount: int, state: RefundState = R.SUCCEEDED, *, asked: datetime | None = None,
        done: datetime | None = None,
    ) -> Refund:  # fmt: skip
        """A refund in memory, asked for at one, done a minute later."""
        asked = asked or at("13:00")
        done = done or asked + timedelta(minutes=1)
        return Refund(
            self.book, ids.new_id(), of.intent_id, of.id, ids.new_id(), self.account.id, 1, state, amount, of.currency, None, {}, None,
            None, None, 0, done if state is R.SUCCEEDED else None, of.root_id, "", asked,
        )  # fmt: skip

    async def save(self, payments: list[tuple[Intent, Attempt]], refunds: list[Refund] | None = None) -> None:
        """Write them down."""
        changes = Changes()
        changes.new_intents = {i.key: i for i, _ in payments}
        changes.new_attempts = {a.key: a for _, a in payments}
        changes.new_refunds = {r.key: r for r in refunds or []}
        await self.env.db.transact(lambda tx: store.save(tx, changes))

    async def has(self, amount: int = 100, state: AttemptState = A.SUCCEEDED, **more: Any) -> Attempt:
        """One payment that the book holds and the channel has never heard of."""
        intent, attempt = self.attempt(amount, state, **more)
        await self.save([(intent, attempt)])
        return attempt

    async def create(self, amount: int = 100, when: datetime | None = None) -> tuple[Attempt, str]:
        """Ask the channel to collect; the attempt, `unknown` in the book, and the code to scan."""
        when = when or at("12:00")
        self.time(when)
        intent, attempt = self.attempt(amount, A.UNKNOWN, when=when)
        await self.save([(intent, attempt)])
        ask = CreatePayment(
            self.key(attempt), attempt.way, attempt.money, "Tea", attempt.expires_at, asking.notify_url(self.env, self.account)
        )  # fmt: skip
        outcome = await self.ask(ask)
        assert isinstance(outcome.next, QrCode), outcome
        return attempt, outcome.next.data

    async def pays(self, amount: int = 100, when: datetime | None = None, *, heard: bool = True) -> Attempt:
        """A payment that the payer makes; unless `heard`, its news never reaches us."""
        attempt, code = await self.create(amount, when)
        await asyncio.to_thread(self.simulators.post, "/sim/pay", code=code, action="pay")
        if heard:
            outcome = await asking.query(self.env, attempt, self.account)
            assert outcome.state is State.SUCCEEDED
            await self.told(attempt, outcome)
        return attempt

    async def told(self, attempt: Attempt, outcome: Outcome) -> None:
        """The channel's word, into the room."""
        recorded = await asking.record(self.env, attempt, self.account, outcome, "query", context.current())
        assert recorded.found and recorded.case is None

    async def gives_back(self, of: Attempt, amount: int, when: datetime | None = None) -> Refund:
        """A refund that the channel makes and we know of."""
        when = when or at("13:00")
        self.time(when)
        refund = self.refund(of, amount, asked=when)
        ask = CreateRefund(
            self.key(refund), self.key(of), None, Amount(amount, "CNY"), of.money, None, asking.notify_url(self.env, self.account)
        )  # fmt: skip
        outcome = await self.ask(ask)
        assert outcome.state in (State.PENDING, State.SUCCEEDED), outcome
        await self.save([], [refund])
        return refund

    async def ask(self, ask: Any) -> Outcome:
        return await self.env.wire.carry_out(
            self.account.channel.ask(ask), About(self.book, self.account.id, self.account.info.code, "test")
        )

    def key(self, of: Attempt | Refund) -> str:
        return ids.mint_key(of.id, self.book)

    def time(self, when: datetime) -> None:
        """Set the channel's clock."""
        self.simulators.post("/sim/clock", now=when.astimezone(BEIJING).isoformat())

    async def closes(self, day: date = DAY, **changes: Any) -> dict[str, Any]:
        """The channel ends its day."""
        path = f"/sim/accounts/{self.simulated}/close-day"
        return await asyncio.to_thread(self.simulators.post, path, day=str(day), **changes)

    async def reconciles(self, day: date = DAY) -> Report:
        return await reconcile(self.env, self.account, day)

    async def state(self, of: Attempt) -> str:
        """What the book says of an attempt."""
        return await self.value("SELECT state FROM payments.attempt WHERE id = $1", of.id)

    async def value(self, sql: str, *args: object) -> Any:
        """The first value of a query."""
        async with self.env.db._connection() as connection:
            return await connection.fetchval(sql, *args)


async def open_merchant(env: Env, simulators: Simulators, channel: str) -> Merchant:
    """A new merchant with one account."""
    opened = await asyncio.to_thread(simulators.post, "/sim/accounts", channel=channel)
    id = await channel_accounts.add(env, ids.new_id(), channel, opened["config"], name=f"Tea House, {channel}")
    account = await channel_accounts.get(env, id)
    assert account is not None
    return Merchant(env, simulators, account, opened["id"])


def found(report: Report) -> set[tuple[str, str]]:
    """The breaks: reason, and whose."""
    return {(b.reason.value, ids.text(b.about) if b.about else str(b.key)) for b in report.breaks}


def told(*breaks: tuple[str, Attempt | Refund | str]) -> set[tuple[str, str]]:
    """The breaks that a test expects."""
    return {(reason, of if isinstance(of, str) else ids.text(of.id)) for reason, of in breaks}
