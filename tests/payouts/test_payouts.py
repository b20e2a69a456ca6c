"""Payouts at their lanes: O1 to O3 for every word of a channel, through every door, in batches."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import anyio
import msgspec
import pytest

from guilder import ledger
from guilder.channels import registry
from guilder.channels.info import Info
from guilder.channels.model import Outcome, Problem, Retry, State
from guilder.core import clock, ids
from guilder.core.amount import cny
from guilder.ledger import Journal, Transfer, payable, receivable
from guilder.payments.life import Contract
from guilder.payouts import create, record, store
from guilder.payouts.model import Payout
from guilder.payouts.states import PAYOUT_NEXT, PayoutState
from guilder.platform import context, outbox
from guilder.platform.db import Conflict, Database, Tx
from guilder.platform.idempotency import Asked, Key, Reply
from guilder.platform.sql import Query
from payments.scenes import INFO

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio
S = PayoutState
GONE = Problem("PAYEE_NOT_EXIST", "There is no such account.", "account_closed", Retry.NEVER)
NOT_SENT = Problem("not_sent", "Refused.", retry=Retry.SAME_KEY)


@dataclass
class Desk:
    """One merchant, one channel account that owes him money."""

    db: Database
    book: UUID = field(default_factory=ids.new_id)
    account: UUID = field(default_factory=ids.new_id)
    info: Info = INFO

    @property
    def contract(self) -> Contract:
        return Contract(self.account, "1900000001", "wx1", "platform", self.info)

    def by(self) -> context.Context:
        return context.mint(request_id="req_1", book_id=self.book, env="test")

    async def earn(self, units: int) -> None:
        journal = Journal(
            self.book, f"charge:{ids.text(ids.new_id())}", "charge", (Transfer(receivable(self.account, "CNY"), payable("CNY"), units),),
            ids.new_id(), clock.now(), ids.new_id(),
        )  # fmt: skip
        [posted] = await self.db.transact(lambda tx: ledger.post(tx, [journal]))
        assert posted.booked

    def wish(self, units: int, key: str | None = None, fingerprint: bytes = b"f") -> Asked[create.Wish]:
        payout = Payout(
            self.book, ids.new_id(), 0, S.UNKNOWN, units, "CNY", self.account, "alipay", "alipay", "platform", b"sealed", {"account": "ab…yz"},
            "Rent", None, {"order": "1"}, None, None, None, None, None, None, 0, None, ids.new_id(), "", clock.now(),
        )  # fmt: skip
        return Asked(Key(self.book, key, fingerprint, "req_1"), create.Wish(payout, self.by(), False))

    async def begin(self, *wishes: Asked[create.Wish]) -> list[Any]:
        return list(await self.db.transact(lambda tx: create.begin_many(tx, list(wishes))))

    async def hear(self, *said: tuple[Payout, Outcome], door: str = "callback") -> list[Any]:
        heard = [record.Heard(self.book, p.id, o, self.contract, door, self.by(), False) for p, o in said]
        return list(await self.db.transact(lambda tx: record.record_many(tx, heard)))

    async def look(self, p: Payout) -> Payout:
        row = await self.db.row(
            Query("one", "SELECT * FROM payouts.payout WHERE book_id = $1 AND id = $2"), self.book, p.id
        )
        assert row is not None
        return store.payout_of(row)

    async def funds(self) -> tuple[int, int]:
        """What the merchant has, and how much of it is held."""
        row = await self.db.row(
            Query("funds", "SELECT balance, held FROM ledger.balance WHERE book_id = $1 AND code = 'payable'"),
            self.book,
        )
        return (0, 0) if row is None else (row["balance"], row["held"])


@pytest.fixture
async def desk(db: Database) -> Desk:
    outbox.register(())
    made = Desk(db)
    await made.earn(1000)
    return made


def said(p: Payout, state: State, **over: Any) -> Outcome:
    known = state not in (State.UNKNOWN, State.NOT_FOUND)
    plain = Outcome(
        state, ids.mint_key(p.id, p.book_id) if known else None, "po-1" if known else None, p.money if known else None,
        "1900000001" if known else None, problem=GONE if state is State.FAILED else None,
    )  # fmt: skip
    return replace(plain, **over)


async def test_O1_it_is_held_before_anybody_is_asked_and_never_more_than_there_is(desk: Desk):
    first, second, third = await desk.begin(desk.wish(600), desk.wish(500), desk.wish(400))

    assert isinstance(first, create.Begun) and isinstance(third, create.Begun)
    assert isinstance(second, Reply) and second.status == 400
    assert msgspec.json.decode(second.body)["error"]["code"] == "balance_insufficient"
    assert await desk.funds() == (1000, 1000)
    [fourth] = await desk.begin(desk.wish(1))
    assert isinstance(fourth, Reply) and fourth.status == 400


async def test_O1_a_balance_below_nothing_pays_nobody(desk: Desk):
    """Refunds may take a merchant below nothing; a payout never does."""
    other = Desk(desk.db)
    [refused] = await other.begin(other.wish(1))
    assert isinstance(refused, Reply) and refused.status == 400


@pytest.mark.parametrize("door", ["reply", "callback", "query"])
async def test_O3_paid_takes_what_is_held_once(desk: Desk, door: str):
    [begun] = await desk.begin(desk.wish(600))
    for _ in range(3):
        await desk.hear((begun.payout, said(begun.payout, State.SUCCEEDED)), door=door)

    now = await desk.look(begun.payout)
    assert (now.state, now.channel_ref, now.ask_at, now.version) == (S.PAID, "po-1", None, 2)
    assert await desk.funds() == (400, 0)


async def test_O3_refused_gives_it_back_once(desk: Desk):
    [begun] = await desk.begin(desk.wish(600))
    for _ in range(2):
        await desk.hear((begun.payout, said(begun.payout, State.FAILED)))

    now = await desk.look(begun.payout)
    assert (now.state, now.problem and now.problem["channel_code"]) == (S.FAILED, "PAYEE_NOT_EXIST")
    assert await desk.funds() == (1000, 0)


async def test_O3_what_comes_back_is_booked_back(desk: Desk):
    [begun] = await desk.begin(desk.wish(600))
    p = begun.payout
    await desk.hear((p, said(p, State.SUCCEEDED)), (p, said(p, State.FAILED)), (p, said(p, State.FAILED)))

    assert (await desk.look(p)).state is S.RETURNED
    assert await desk.funds() == (1000, 0)


@pytest.mark.parametrize(("door", "problem"), [("reply", GONE), ("query", NOT_SENT), ("callback", NOT_SENT)])
async def test_O2_the_refusal_of_a_repetition_takes_nothing_back(desk: Desk, door: str, problem: Problem):
    """Asked again while the callback says paid: that the second request was refused, or did not leave, is no word about the first."""
    [begun] = await desk.begin(desk.wish(600))
    p = begun.payout
    await desk.hear((p, said(p, State.SUCCEEDED)))
    await desk.hear((p, said(p, State.FAILED, problem=problem)), door=door)

    assert ((await desk.look(p)).state, await desk.funds()) == (S.PAID, (400, 0))


@pytest.mark.parametrize("state", [State.UNKNOWN, State.NOT_FOUND, State.PENDING])
async def test_O2_silence_ends_nothing(desk: Desk, state: State):
    [begun] = await desk.begin(desk.wish(600))
    await desk.hear((begun.payout, said(begun.payout, state)))

    now = await desk.look(begun.payout)
    assert now.state is (S.PENDING if state is State.PENDING else S.UNKNOWN) and now.ask_at is not None
    assert await desk.funds() == (1000, 600)


async def test_O2_a_request_that_did_not_leave_says_nothing_of_an_earlier_one(desk: Desk):
    [begun] = await desk.begin(desk.wish(600))
    await desk.hear((begun.payout, said(begun.payout, State.FAILED, problem=NOT_SENT)), door="reply")

    now = await desk.look(begun.payout)
    assert (now.state, await desk.funds()) == (S.UNKNOWN, (1000, 600)) and now.ask_at is not None


@pytest.mark.parametrize(
    ("over", "kind"),
    [
        ({"amount": cny(599)}, "amount_mismatch"),
        ({"key": "x" * 32}, "key_mismatch"),
        ({"account_ref": "1900000009"}, "account_mismatch"),
    ],
)
async def test_what_contradicts_us_moves_nothing_and_becomes_a_case(desk: Desk, over: dict[str, Any], kind: str):
    [begun] = await desk.begin(desk.wish(600))
    [recorded] = await desk.hear((begun.payout, said(begun.payout, State.SUCCEEDED, **over)))

    assert recorded.case is not None and (recorded.case.kind, recorded.case.moved) == (kind, True)
    assert (await desk.look(begun.payout)).state is S.UNKNOWN
    assert await desk.funds() == (1000, 600)


async def test_paid_after_it_was_refused_is_for_a_person(desk: Desk):
    [begun] = await desk.begin(desk.wish(600))
    p = begun.payout
    _, recorded = await desk.hear((p, said(p, State.FAILED)), (p, said(p, State.SUCCEEDED)))

    assert recorded.case is not None and recorded.case.kind == "payout_end_changed"
    assert await desk.funds() == (1000, 0)


async def test_one_key_is_one_payout(desk: Desk):
    [begun] = await desk.begin(desk.wish(600, "k"))
    again, other = desk.wish(600, "k"), desk.wish(600, "k", b"another")
    [in_flight] = await desk.begin(again)
    [reused] = await desk.begin(other)

    assert isinstance(begun, create.Begun)
    assert type(in_flight).__name__ == "InFlight" and type(reused).__name__ == "KeyReused"
    assert await desk.funds() == (1000, 600)


async def test_a_batch_that_runs_again_finds_nothing_of_its_first_run(desk: Desk):
    """Its transaction failed: what is created by the second is version 1 of it, and said once."""
    wish, runs = desk.wish(600, "k"), 0

    async def work(tx: Tx) -> None:
        nonlocal runs
        runs += 1
        await create.begin_many(tx, [wish])
        if runs == 1:
            raise Conflict("as if another had been faster")

    with pytest.raises(Conflict):
        await desk.db.transact(work)
    await desk.db.transact(work)
    said = Query("said", "SELECT object_version FROM platform.event WHERE book_id = $1 AND object_id = $2")
    rows = await desk.db.rows(said, desk.book, wish.item.payout.id)
    assert ([r["object_version"] for r in rows], (await desk.look(wish.item.payout)).version) == ([1], 1)


async def test_twenty_at_once_hold_no_more_than_there_is(desk: Desk):
    begun: list[Any] = []

    async def one() -> None:
        begun.extend(await desk.begin(desk.wish(100)))

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(one)

    assert sum(isinstance(b, create.Begun) for b in begun) == 10
    assert await desk.funds() == (1000, 1000)


def test_every_state_leads_somewhere_that_is_a_state():
    assert PAYOUT_NEXT.keys() == set(PayoutState)


@pytest.mark.parametrize("channel", ["stripe", "paypal", "alipay", "wechatpay"])
async def test_O1_an_unknown_payout_is_asked_about_within_seconds(desk: Desk, channel: str):
    desk.info = registry.CHANNELS[channel].info
    [begun] = await desk.begin(desk.wish(600))
    await desk.hear((begun.payout, said(begun.payout, State.UNKNOWN)), door="reply")

    p = await desk.look(begun.payout)
    assert p.state is S.UNKNOWN and p.ask_at is not None
    assert p.ask_at - p.created_at <= timedelta(seconds=10)
