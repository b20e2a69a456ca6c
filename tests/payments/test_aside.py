"""What lies aside: every way in which another sum than was asked for ends, once, and never twice."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from book import shown as balances
from changed import replace
from guilder.app import domains
from guilder.channels.info import Operation
from guilder.channels.model import Credit, Outcome, State
from guilder.core import clock, ids
from guilder.core.amount import Amount, cny
from guilder.core.errors import Invalid, Rejected, WrongState
from guilder.payments import aside, record, rescue
from guilder.payments import refund as refunding
from guilder.payments.aside import Ground
from guilder.payments.model import Attempt, Intent
from guilder.platform import approval, audit, case, casework, context, outbox
from guilder.platform.approval import Command
from guilder.platform.case import Verdict
from guilder.platform.casework import Reach
from guilder.platform.db import Database, Row, Tx
from guilder.platform.idempotency import Asked
from guilder.platform.sql import Query
from payments.scenes import INFO, Desk, an_env, said

pytest_plugins = ["database"]
pytestmark = pytest.mark.anyio
CASES = Query("cases", "SELECT * FROM platform.case WHERE book_id = $1 AND state <> 'resolved' ORDER BY id")
LYING = Query("lying", "SELECT * FROM payments.aside WHERE book_id = $1 ORDER BY id")


class Shop:
    """A desk, and a person who decides."""

    def __init__(self, db: Database, **contract: Any) -> None:
        self.desk = Desk(an_env(db), fee_bps=60)
        self.contract = replace(self.desk.contract, **contract)

    @property
    def db(self) -> Database:
        return self.desk.db

    async def came(self, units: int | None, due: int = 1000, ref: str = "42001", **over: Any) -> tuple[Intent, Attempt]:
        """A payment of `due` for which the channel says that another sum came."""
        intent, attempt = await self.desk.confirmed(due, **over)
        await self.hear(
            attempt, Outcome(State.SUCCEEDED, channel_ref=ref, amount=None if units is None else cny(units))
        )
        return intent, attempt

    async def hear(self, attempt: Attempt, outcome: Outcome) -> None:
        whole = replace(outcome, key=ids.mint_key(attempt.id, attempt.book_id))
        await self.desk.run(record.record_many, replace(self.desk.heard(attempt, whole), contract=self.contract))

    async def cases(self) -> list[Row]:
        return await self.db.rows(CASES, self.desk.book)

    async def end(self, resolver: str, kind: str = "amount_mismatch", **more: Any) -> Row:
        [row] = [c for c in await self.cases() if c["kind"] == kind]
        verdict = Verdict(resolver, "seen there", ground=Ground(self.contract, self.desk.face), **more)
        return await casework.resolve_now(self.db, Reach(), row["id"], verdict)

    async def ended_foreign(self, intent: Intent, attempt: Attempt) -> None:
        """The try that was paid in another currency has ended: nobody asks about it, and the payer may try again."""
        assert (await self.desk.look(intent)).status == "requires_payment_method"
        [mine] = await self.desk.attempts(intent.id)
        assert (mine.state, mine.ask_at, mine.paid_at) == ("closed", None, None)
        await self.hear(attempt, Outcome(State.SUCCEEDED, channel_ref="4", amount=Amount(140, "USD")))
        assert await self.cases() == [], "told again, it is what we have"

    async def lying(self) -> list[tuple[int, int, str]]:
        return [(r["units"], r["used"], r["state"]) for r in await self.db.rows(LYING, self.desk.book)]

    async def money(self) -> dict[str, int]:
        return {head: units for head, units in (await balances(self.db, self.desk.book)).items() if head != "clearing"}

    async def back(self, state: State = State.SUCCEEDED) -> None:
        """The channel says what became of every refund."""
        for r in await self.desk.refunds():
            await self.desk.run(record.record_refund_many, self.desk.heard_of_refund(r, said(r, state)))

    async def sound(self) -> None:
        """Nothing contradicts anything."""
        assert await audit.everything(self.db, domains.AUDITS, lambda _done, _total: None) == []


@pytest.fixture
async def shop(db: Database) -> AsyncIterator[Shop]:
    outbox.register(())
    case.register(domains.CASE_RESOLVERS)
    approval.register(domains.APPROVALS)
    with context.use(context.mint(actor="usr_me")):
        made = Shop(db)
        yield made
        await made.sound()


async def test_less_is_accepted_and_is_all_that_was_collected(shop: Shop) -> None:
    intent, attempt = await shop.came(900)
    await shop.end("accept_amount")

    paid = await shop.desk.look(intent)
    assert (paid.status, paid.amount, paid.received) == ("succeeded", 1000, 900)
    assert (await shop.lying(), await shop.cases()) == ([(900, 900, "used")], [])
    assert await shop.money() == {"receivable": -900, "payable": 895}, "its fee is of what came"
    await shop.hear(attempt, Outcome(State.SUCCEEDED, channel_ref="42001", amount=cny(900)))
    assert await shop.cases() == [], "told again, it is what we have"


async def test_more_is_accepted_and_the_rest_goes_back(shop: Shop) -> None:
    intent, _ = await shop.came(1300)
    await shop.end("accept_amount")

    assert (await shop.desk.look(intent)).received == 1000
    assert await shop.lying() == [(1300, 1000, "returning")]
    await shop.sound()
    await shop.back()
    assert await shop.lying() == [(1300, 1000, "returned")]
    assert await shop.money() == {"receivable": -1000, "payable": 994}


async def test_more_is_accepted_and_the_rest_lies_aside_until_somebody_says_whose_it_is(shop: Shop) -> None:
    await shop.came(1300)
    await shop.end("accept_amount_keep")
    assert (await shop.lying(), (await shop.money())["suspense"]) == ([(1300, 1000, "waits")], 300)
    await shop.sound()
    await shop.end("apply_suspense", "suspense")
    assert (await shop.lying(), await shop.money()) == (
        [(1300, 1000, "applied")],
        {"receivable": -1300, "payable": 1294},
    )


async def test_another_sum_goes_back_whole_and_the_payer_tries_again(shop: Shop) -> None:
    intent, attempt = await shop.came(900)
    await shop.end("refund_suspense")
    assert (await shop.desk.look(intent)).status == "requires_payment_method"
    [mine] = await shop.desk.attempts(intent.id)
    assert (mine.state, mine.came, await shop.lying()) == ("surplus", 900, [(900, 900, "used")])
    await shop.sound()
    await shop.back()
    assert await shop.money() == {}
    await shop.hear(attempt, Outcome(State.SUCCEEDED, channel_ref="42001", amount=cny(900)))
    assert await shop.cases() == []


async def test_what_lies_aside_is_used_and_not_booked_twice(shop: Shop) -> None:
    """Two cases of one sum: the gap that once was."""
    _, attempt = await shop.came(900)
    await shop.end("book_suspense")
    assert [c["kind"] for c in await shop.cases()] == ["suspense"]
    await shop.hear(attempt, Outcome(State.SUCCEEDED, channel_ref="42001", amount=cny(901)))
    with pytest.raises(aside.LiesAside):
        await shop.end("book_suspense")
    await shop.end("accept_amount")
    assert (await shop.money(), await shop.cases()) == ({"receivable": -900, "payable": 895}, []), (
        "both cases have ended"
    )


async def test_a_corrected_answer_credits_nothing_beside_what_lies_aside(shop: Shop) -> None:
    _, attempt = await shop.came(900)
    await shop.end("book_suspense")
    await shop.hear(attempt, Outcome(State.SUCCEEDED, channel_ref="42001", amount=cny(1000)))
    assert sorted(c["kind"] for c in await shop.cases()) == ["amount_mismatch", "suspense"]
    assert await shop.money() == {"receivable": -900, "suspense": 900}
    await shop.end("same_sum")


async def test_where_it_is_not_known_how_much_a_person_says_so_and_only_aside(shop: Shop) -> None:
    await shop.came(None)
    for resolver in ("accept_amount", "refund_suspense"):
        with pytest.raises(Invalid, match="ends by"):
            await shop.end(resolver, "amount_missing")
    await shop.end("book_suspense", "amount_missing", units=1000)
    await shop.end("accept_amount", "suspense")
    assert await shop.money() == {"receivable": -1000, "payable": 994}


async def test_another_currency_pays_for_nothing_and_is_put_aside(shop: Shop) -> None:
    intent, attempt = await shop.desk.confirmed(1000)
    await shop.hear(attempt, Outcome(State.SUCCEEDED, channel_ref="4", amount=Amount(140, "USD")))
    with pytest.raises(Invalid, match="ends by"):
        await shop.end("accept_amount", "currency_mismatch")
    await shop.end("book_suspense", "currency_mismatch")
    with pytest.raises(WrongState, match="does not pay for it"):
        await shop.end("accept_amount", "suspense")
    await shop.end("refund_suspense", "suspense")
    await shop.ended_foreign(intent, attempt)
    await shop.back()
    assert await shop.lying() == [(140, 0, "returned")]
    _, again = await shop.desk.confirmed(1000)
    assert again.ask_at is not None, "and another payment is tried as ever"


async def test_another_currency_that_is_the_merchants_ends_its_try(shop: Shop) -> None:
    intent, attempt = await shop.desk.confirmed(1000)
    await shop.hear(attempt, Outcome(State.SUCCEEDED, channel_ref="4", amount=Amount(140, "USD")))
    await shop.end("apply_suspense", "currency_mismatch")
    await shop.ended_foreign(intent, attempt)
    assert await shop.lying() == [(140, 0, "applied")]


async def test_another_currency_that_is_written_off_ends_its_try(shop: Shop) -> None:
    intent, attempt = await shop.desk.confirmed(1000)
    await shop.hear(attempt, Outcome(State.SUCCEEDED, channel_ref="4", amount=Amount(140, "USD")))
    await shop.end("write_off", "currency_mismatch")
    [lies] = await shop.db.rows(LYING, shop.desk.book)
    command = await approved(shop, ids.show("as", lies["id"]))
    await shop.db.transact(lambda tx: aside.write_off(tx, command))
    await shop.ended_foreign(intent, attempt)
    assert await shop.lying() == [(140, 0, "written_off")]


async def test_another_currency_whose_refund_is_refused_waits_and_its_try_stays_ended(shop: Shop) -> None:
    intent, attempt = await shop.desk.confirmed(1000)
    await shop.hear(attempt, Outcome(State.SUCCEEDED, channel_ref="4", amount=Amount(140, "USD")))
    await shop.end("refund_suspense", "currency_mismatch")
    await shop.back(State.FAILED)
    assert ([c["kind"] for c in await shop.cases()], await shop.lying()) == (["suspense"], [(140, 0, "waits")])
    assert (await shop.desk.look(intent)).status == "requires_payment_method"
    await shop.end("apply_suspense", "suspense")
    await shop.ended_foreign(intent, attempt)


async def test_a_second_payment_goes_back_and_the_first_stays(shop: Shop) -> None:
    intent, attempt = await shop.desk.pay(1000)
    await shop.hear(attempt, Outcome(State.SUCCEEDED, channel_ref="another", amount=cny(1000)))
    with pytest.raises(Invalid, match="ends by"):
        await shop.end("accept_amount", "second_channel_ref")
    await shop.end("refund_suspense", "second_channel_ref")
    await shop.back(State.FAILED)
    assert [c["kind"] for c in await shop.cases()] == ["suspense"], "refused: it waits again"
    assert await shop.lying() == [(1000, 0, "waits")]
    await shop.end("refund_suspense", "suspense")
    [_, again] = await shop.desk.refunds(intent.id)
    await shop.desk.run(record.record_refund_many, shop.desk.heard_of_refund(again, said(again, State.SUCCEEDED)))
    assert await shop.money() == {"receivable": -1000, "payable": 994}


async def test_a_payment_that_was_paid_otherwise_takes_no_more(shop: Shop) -> None:
    intent, first = await shop.came(900)
    await shop.desk.run(record.record_many, shop.desk.heard(first, said(first, State.CLOSED)))
    [c] = await shop.cases()
    assert (await shop.desk.look(intent)).status == "requires_payment_method"
    await shop.end("accept_amount")
    assert ((await shop.desk.look(intent)).status, c["kind"]) == ("succeeded", "amount_mismatch"), "late, and accepted"
    assert await shop.money() == {"receivable": -900, "payable": 895}


async def test_too_much_and_too_late_only_goes_back(shop: Shop) -> None:
    _, attempt = await shop.came(1100)
    await shop.desk.run(record.record_many, shop.desk.heard(attempt, said(attempt, State.CLOSED)))
    with pytest.raises(WrongState, match="more came than was due"):
        await shop.end("accept_amount")
    await shop.end("refund_suspense")
    await shop.back()
    assert await shop.money() == {}


async def test_fifty_who_decide_at_once_decide_once(shop: Shop) -> None:
    await shop.came(900)
    [row] = await shop.cases()
    ways = ("accept_amount", "refund_suspense", "book_suspense", "apply_suspense", "accept_amount_keep")

    async def one(n: int) -> str:
        verdict = Verdict(ways[n % 5], "mine", ground=Ground(shop.contract, shop.desk.face))
        try:
            return str((await casework.resolve_now(shop.db, Reach(), row["id"], verdict))["state"])
        except Rejected as error:
            return str(error.code)

    answers = await asyncio.gather(*(one(n) for n in range(50)))
    assert answers.count("resolved") == 1, answers
    assert len(await shop.lying()) == 1


async def approved(shop: Shop, shown: str) -> Command:
    row = await shop.db.row(
        Query("apr", "SELECT * FROM platform.approval WHERE book_id = $1 AND subject = $2"), shop.desk.book, shown
    )
    assert row is not None
    a = approval.approval_of(row)
    do = approval._decode(a.command)
    return Command(a.book_id, a.id, do, context.current(), clock.now(), shop.desk.env, a.steps)


async def test_writing_off_takes_others_and_is_the_platforms_loss(shop: Shop) -> None:
    """The channel gave away one yuan that nobody asked it for."""
    intent, _ = await shop.desk.pay(1000)
    [begun] = await shop.desk.run(refunding.begin_many, shop.desk.wish_refund(intent.id, 400))
    wrong = said(begun.refund, State.SUCCEEDED, amount=cny(500))
    await shop.desk.run(record.record_refund_many, shop.desk.heard_of_refund(begun.refund, wrong))
    row = await shop.end("write_off")
    assert (row["state"], await shop.lying()) == ("waiting", [(500, 0, "waits")])
    assert (await shop.money())["suspense"] == -500
    [lies] = await shop.db.rows(LYING, shop.desk.book)
    command = await approved(shop, ids.show("as", lies["id"]))
    assert command.steps[0].at == "platform", "somebody of the platform, always"
    await shop.db.transact(lambda tx: aside.write_off(tx, command))
    assert (await shop.lying(), "suspense" in await shop.money()) == ([(500, 0, "written_off")], False)
    lost = await shop.db.value(
        Query("lost", "SELECT balance FROM ledger.balance WHERE book_id = $1 AND code = 'losses'"), ids.PLATFORM
    )
    assert lost == -500
    with pytest.raises(WrongState, match="written_off"):
        await shop.db.transact(lambda tx: aside.write_off(tx, command))
    assert await shop.cases() == []


# --- sums that come in parts ---------------------------------------------------------------------------------------------------------


BANK = replace(INFO, collects_in_parts=True)


def credit(*parts: tuple[str, int], state: State = State.PENDING) -> Outcome:
    return Outcome(state, credits=tuple(Credit(ref, cny(units)) for ref, units in parts))


@pytest.fixture
async def bank(shop: Shop) -> Shop:
    shop.contract = replace(shop.contract, info=BANK)
    return shop


async def test_parts_lie_aside_and_pay_when_they_reach_the_amount(bank: Shop) -> None:
    intent, attempt = await bank.desk.confirmed(1000)
    bank.desk.hopeful = True  # as lanes run: what leaves all open is only looked at
    await bank.hear(attempt, credit(("a", 400)))
    await bank.hear(attempt, Outcome(State.PENDING))
    await bank.hear(attempt, credit(("a", 400), ("b", 500)))
    assert (await bank.money(), await bank.cases()) == ({"receivable": -900, "suspense": 900}, [])
    await bank.sound()
    await bank.hear(attempt, credit(("b", 500), ("c", 100), state=State.SUCCEEDED))

    paid = await bank.desk.look(intent)
    assert (paid.status, paid.received) == ("succeeded", 1000)
    assert await bank.lying() == [(400, 400, "used"), (500, 500, "used"), (100, 100, "used")]
    assert await bank.money() == {"receivable": -1000, "payable": 994}
    await bank.hear(attempt, credit(("a", 400), ("b", 500), ("c", 100), state=State.SUCCEEDED))
    assert await bank.money() == {"receivable": -1000, "payable": 994}, "told again, each counts once"


async def test_a_number_that_lies_aside_is_booked_once_whatever_it_is_said_to_be_for(bank: Shop) -> None:
    _, first = await bank.desk.confirmed(1000)
    _, second = await bank.desk.confirmed(1000)
    await bank.hear(first, credit(("a", 400)))
    await bank.hear(second, credit(("a", 400)))
    await bank.hear(first, credit(("a", 500)))
    assert (await bank.lying(), await bank.money()) == ([(400, 0, "waits")], {"receivable": -400, "suspense": 400})
    assert [c["kind"] for c in await bank.cases()] == ["credit_changed", "credit_changed"]


async def test_one_sum_without_parts_is_a_part_like_any_other(bank: Shop) -> None:
    intent, attempt = await bank.desk.confirmed(1000)
    await bank.hear(attempt, Outcome(State.SUCCEEDED, channel_ref="a", amount=cny(1000)))
    assert (await bank.desk.look(intent)).status == "succeeded"


async def test_over_and_twice_goes_back_by_itself(bank: Shop) -> None:
    intent, attempt = await bank.desk.confirmed(1000)
    await bank.hear(attempt, credit(("a", 400), ("b", 700)))
    await bank.hear(attempt, credit(("c", 1000)))
    assert await bank.lying() == [(400, 400, "used"), (700, 600, "returning"), (1000, 0, "returning")]
    assert [r.amount for r in await bank.desk.refunds(intent.id)] == [100, 1000]
    await bank.back()
    assert await bank.money() == {"receivable": -1000, "payable": 994}


async def test_where_the_channel_sends_nothing_back_a_person_says_whose_it_is(bank: Shop) -> None:
    bank.contract = replace(bank.contract, info=replace(BANK, operations=frozenset({Operation.CLOSE})))
    _, attempt = await bank.desk.confirmed(1000)
    await bank.hear(attempt, credit(("a", 1100)))
    [c] = await bank.cases()
    assert (c["kind"], "sends nothing back" in c["summary"]) == ("suspense", True)
    with pytest.raises(WrongState, match="sends nothing back"):
        await bank.end("refund_suspense", "suspense")
    await bank.end("apply_suspense", "suspense")
    assert await bank.money() == {"receivable": -1100, "payable": 1094}


@pytest.mark.parametrize("end", ["accept_amount", "refund_suspense"])
async def test_short_at_the_end_is_a_case(bank: Shop, end: str) -> None:
    intent, attempt = await bank.desk.confirmed(1000)
    await bank.hear(attempt, credit(("a", 400)))
    await bank.hear(attempt, Outcome(State.CLOSED))
    [c] = await bank.cases()
    assert (c["kind"], c["summary"]) == ("suspense", "4.00 CNY of 10.00 CNY came before the time was over")
    await bank.end(end, "suspense")
    await bank.back()
    accepted = end == "accept_amount"
    assert (await bank.desk.look(intent)).status == ("succeeded" if accepted else "requires_payment_method")
    assert await bank.money() == ({"receivable": -400, "payable": 398} if accepted else {})


@pytest.mark.parametrize("rule", ["accept", "refund"])
async def test_late_pays_where_the_merchant_says_so_and_else_goes_back(bank: Shop, rule: str) -> None:
    intent, attempt = await bank.desk.confirmed(1000, late_success=rule)
    await bank.hear(attempt, Outcome(State.CLOSED))
    await bank.hear(attempt, credit(("a", 1000)))
    await bank.back()
    assert (await bank.desk.look(intent)).status == ("succeeded" if rule == "accept" else "requires_payment_method")
    assert await bank.money() == ({"receivable": -1000, "payable": 994} if rule == "accept" else {})


async def test_who_dies_while_a_refund_is_rescued_has_asked_or_not_and_the_sweep_learns_which(shop: Shop) -> None:
    """Phase 1 is committed and nothing else: the channel still says that it has failed, and then that it is done."""
    intent, _ = await shop.desk.pay(1000)
    [begun] = await shop.desk.run(refunding.begin_many, shop.desk.wish_refund(intent.id, 400))
    failed = said(begun.refund, State.FAILED, channel_ref="50001")
    await shop.desk.run(record.record_refund_many, shop.desk.heard_of_refund(begun.refund, failed))

    def again(tx: Tx) -> Any:
        return rescue._again(tx, shop.desk.face, shop.desk.book, begun.refund.id)

    for end, left in ((State.FAILED, 1000), (State.SUCCEEDED, 600)):
        await shop.db.transact(again)
        with pytest.raises(WrongState, match="Only a refund that has failed"):
            await shop.db.transact(again)
        await shop.sound()
        told = said(begun.refund, end, channel_ref="50001")
        await shop.desk.run(record.record_refund_many, shop.desk.heard_of_refund(begun.refund, told))
        assert (await shop.money())["receivable"] == -left
    assert await shop.cases() == [], "it has reached the payer after all"


async def test_a_refund_that_took_the_room_of_a_failed_one_leaves_nothing_to_rescue(shop: Shop) -> None:
    intent, _ = await shop.desk.pay(1000)
    [begun] = await shop.desk.run(refunding.begin_many, shop.desk.wish_refund(intent.id, 400))
    failed = said(begun.refund, State.FAILED, channel_ref="50001")
    await shop.desk.run(record.record_refund_many, shop.desk.heard_of_refund(begun.refund, failed))
    await shop.desk.run(refunding.begin_many, shop.desk.wish_refund(intent.id, 700))
    with pytest.raises(WrongState, match="refunded otherwise"):
        await shop.db.transact(lambda tx: rescue._again(tx, shop.desk.face, shop.desk.book, begun.refund.id))


async def test_a_failed_refund_of_a_trade_is_not_sent_elsewhere_for_its_sellers_have_the_money(shop: Shop) -> None:
    intent, _ = await shop.desk.pay(1000, origin="trade")
    wish = shop.desk.wish_refund(intent.id, 400)
    [begun] = await shop.desk.run(refunding.begin_many, Asked(wish.key, replace(wish.item, named=True)))
    failed = said(begun.refund, State.FAILED, channel_ref="50001")
    await shop.desk.run(record.record_refund_many, shop.desk.heard_of_refund(begun.refund, failed))
    with pytest.raises(WrongState, match="refund its items again"):
        await shop.db.transact(lambda tx: rescue._again(tx, shop.desk.face, shop.desk.book, begun.refund.id))


async def test_a_payout_that_was_paid_after_all_is_the_merchants_loss_once(shop: Shop) -> None:
    """It was refused, and its money given back to him; then the channel says paid."""
    await shop.desk.pay(1000)
    key = ids.mint_key(ids.new_id(), shop.desk.book)
    said_so = {
        "of": "refund", "channel_account": ids.show("ca", shop.desk.account), "asset": "CNY", "units": 300, "channel_ref": "7",
        "payout": "po_1",
    }  # fmt: skip
    late = case.Case(shop.desk.book, "payout_end_changed", key, "Paid after all.", said_so, moved=True)
    await case.open_one(shop.db, late)
    await shop.end("apply_suspense", "payout_end_changed")
    assert await shop.money() == {"receivable": -700, "payable": 694}
    assert await shop.lying() == [(300, 0, "applied")]
