"""A desk at which payments are made without a network: wishes go in as the lanes get them, outcomes as channels say them."""

import contextlib
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any, TypeVar
from uuid import UUID

from changed import replace
from guilder.channels.info import Info, Operation
from guilder.channels.info import Way as InfoWay
from guilder.channels.model import Outcome, Problem, QrCode, Retry, State
from guilder.core import clock, ids
from guilder.core.exchange import Exchange, HttpCall
from guilder.merchants.channel_accounts import ChannelAccount
from guilder.payments import cancel as cancelling
from guilder.payments import confirm, create, record, refund, store, ways
from guilder.payments.life import Contract
from guilder.payments.model import Attempt, Intent, Refund
from guilder.payments.present import Face
from guilder.payments.routes import NOBODY, Choice, Tried
from guilder.payments.states import IntentStatus
from guilder.payments.ways import Way
from guilder.platform import context
from guilder.platform.crypto import Keyring
from guilder.platform.db import Conflict, Contended, Database, Tx
from guilder.platform.environment import Cache, Env
from guilder.platform.idempotency import Asked, Key
from guilder.platform.settings import Settings
from guilder.platform.sql import Query

T = TypeVar("T")
INFO = Info(
    "wechatpay", "WeChat Pay", (InfoWay("native", "wechat_pay", "web", "qr"),), frozenset({"CNY"}),
    frozenset({Operation.CLOSE, Operation.REFUND}), min_expiry_s=60,
    max_expiry_s=7200, zone=UTC, day_cut=time(), statement_from=time(10), query_after_s=(5, 30, 60), refund_query_after_s=(5, 60),
)  # fmt: skip
DECLINED = Problem("NOTENOUGH", "Not enough money.", "insufficient_funds", Retry.NEW_KEY)
NOT_SENT = Problem("not_sent", "Refused.", retry=Retry.SAME_KEY)


@dataclass(frozen=True)
class Nobody:
    """A channel that nobody reaches: what it is asked is made, and goes nowhere."""

    info: Info = INFO

    def ask(self, ask: Any) -> Exchange[Outcome]:
        yield HttpCall("POST", "http://channel.invalid/", body=ask.key.encode())
        return Outcome(State.UNKNOWN)


def an_env(db: Any = None) -> Env:
    return Env("test", Settings(), db, db, Keyring(os.urandom(32)), Cache(_never))


async def _never() -> int:
    return 0


@dataclass
class Desk:
    """One book, one contract.  Ids of intents may be given, so that two desks can do the same."""

    env: Env
    book: UUID = field(default_factory=ids.new_id)
    account: UUID = field(default_factory=ids.new_id)
    funds: str = "platform"
    hopeful: bool = False  # batches run first as lanes run them first: what is not there yet is not looked for, some rows are not locked
    fee_bps: int = 0

    @property
    def db(self) -> Database:
        return self.env.db

    @property
    def face(self) -> Face:
        return Face(self.env)

    @property
    def way(self) -> Way:
        account = ChannelAccount(self.book, self.account, "WeChat", self.funds, Nobody(), "1900000001", "wx1")
        return Way(account, "native")

    @property
    def contract(self) -> Contract:
        return Contract(self.account, "1900000001", "wx1", self.funds, INFO, self.fee_bps)

    def intent(self, amount: int = 100, id: UUID | None = None, **over: Any) -> Intent:
        intent = Intent(
            self.book, id or ids.new_id(), 0, IntentStatus.REQUIRES_PAYMENT_METHOD, amount, "CNY", None, None, None,
            ["wechat_pay"], None, None, "Tea", {"order": "1"}, {}, None, None, None, None, None, None, "refund",
            ids.new_id(), "tea", clock.now(),
        )  # fmt: skip
        return replace(intent, **over)

    def by(self) -> context.Context:
        return context.mint(request_id="req_1", book_id=self.book, env="test")

    def key(self, name: str | None = None, fingerprint: bytes = b"f") -> Key:
        return Key(self.book, name, fingerprint, "req_1")

    # What the lanes get.

    def new(self, intent: Intent, key: str | None = None) -> Asked[create.NewIntent]:
        return Asked(self.key(key), create.NewIntent(intent, self.by(), self.face))

    def choose(self, intent: Intent, tried: Tried = NOBODY) -> Choice:
        return Choice(ways.choose("wechat_pay", [self.way.account], intent.currency, {}))

    def begin(
        self, intent: UUID, key: str | None = None, new: Intent | None = None, **over: Any
    ) -> Asked[confirm.Begin]:
        expiry = clock.now() + timedelta(hours=1)
        wish = confirm.Begin(self.book, intent, self.choose, "wechat_pay", None, self.by(), self.face, expiry, new=new)
        return Asked(self.key(key), replace(wish, **over))

    def wish_refund(self, intent: UUID, units: int | None = None, key: str | None = None) -> Asked[refund.Wish]:
        return Asked(self.key(key), refund.Wish(self.book, intent, units, None, {"why": "cold"}, self.by(), self.face))

    def cancel(self, intent: UUID, key: str | None = None) -> Asked[cancelling.Cancel]:
        return Asked(self.key(key), cancelling.Cancel(self.book, intent, "abandoned", self.by(), self.face))

    def expire(self, intent: UUID) -> cancelling.Expire:
        return cancelling.Expire(self.book, intent, self.by(), self.face)

    def heard(self, attempt: Attempt, outcome: Outcome, door: str = "callback", **over: Any) -> record.Heard:
        return replace(record.Heard(self.book, attempt.id, outcome, self.contract, door, self.by(), self.face), **over)

    def heard_of_refund(self, about: Refund, outcome: Outcome, door: str = "callback") -> record.HeardRefund:
        return record.HeardRefund(self.book, about.id, outcome, self.contract, door, self.by(), self.face)

    # What is there.

    async def run(self, work: Callable[[Tx, list[Any]], Awaitable[Sequence[Any]]], *items: Any) -> list[Any]:
        """One batch of a lane, committed."""
        if self.hopeful:
            with contextlib.suppress(Conflict, Contended):
                return list(await self.db.transact(lambda tx: work(tx, list(items)), hopeful=True))
        return list(await self.db.transact(lambda tx: work(tx, list(items))))

    async def pay(self, amount: int = 100, **over: Any) -> tuple[Intent, Attempt]:
        """A payment that has been paid."""
        intent, attempt = await self.confirmed(amount, **over)
        await self.run(record.record_many, self.heard(attempt, said(attempt, State.SUCCEEDED)))
        return intent, attempt

    async def confirmed(self, amount: int = 100, **over: Any) -> tuple[Intent, Attempt]:
        """A payment whose channel is being asked."""
        intent = self.intent(amount, **over)
        [begun] = await self.run(confirm.begin_many, self.begin(intent.id, new=intent))
        assert isinstance(begun, confirm.Begun), begun
        return intent, begun.attempt

    async def look(self, intent: Intent | UUID) -> Intent:
        id = intent if isinstance(intent, UUID) else intent.id
        row = await self.db.row(
            Query("find", "SELECT * FROM payments.intent WHERE book_id = $1 AND id = $2"), self.book, id
        )
        assert row is not None
        return store.intent_of(row)

    async def attempts(self, intent: UUID | None = None) -> list[Attempt]:
        rows = await self.db.rows(_of("attempt"), self.book, intent)
        return [store.attempt_of(r) for r in rows]

    async def refunds(self, intent: UUID | None = None) -> list[Refund]:
        rows = await self.db.rows(_of("refund"), self.book, intent)
        return [store.refund_of(r) for r in rows]


def _of(table: str) -> Query:
    return Query(
        f"{table}s of",
        f"SELECT * FROM payments.{table} WHERE book_id = $1 AND ($2::uuid IS NULL OR intent_id = $2) ORDER BY id",
    )


def said(about: Attempt | Refund, state: State, **over: Any) -> Outcome:
    """What a channel says, complete and true."""
    problem = DECLINED if state is State.FAILED else None
    code = QrCode("weixin://wxpay/1") if state is State.PENDING and isinstance(about, Attempt) else None
    known = state not in (State.UNKNOWN, State.NOT_FOUND)
    outcome = Outcome(
        state, ids.mint_key(about.id, about.book_id) if known else None,
        f"42000{about.id.hex[-8:]}" if state is State.SUCCEEDED else None, about.money if known else None,
        "1900000001" if known else None, "wx1" if known else None,
        datetime(2026, 9, 1, tzinfo=UTC) if state is State.SUCCEEDED else None, code, problem,
    )  # fmt: skip
    return replace(outcome, **over)
