"""What a statement proves reaches the payments by the door "statement" (R6)."""

from datetime import timedelta

import pytest

from guilder.channels.model import Outcome, State
from guilder.core import clock
from guilder.reconciliation import BreakState
from guilder.reconciliation.reconcile import settle
from reconciliation.bill import Row, bill
from reconciliation.merchant import DAY, A, Merchant, at, found, told

pytestmark = pytest.mark.anyio
TOMORROW = DAY + timedelta(days=1)


async def test_a_payment_that_nobody_told_us_of_is_booked(merchant: Merchant):
    paid = await merchant.pays(700, heard=False)
    await merchant.closes()

    report = await merchant.reconciles()

    assert await merchant.state(paid) == "succeeded"
    [resolved] = report.breaks
    assert (resolved.reason.value, resolved.state, resolved.resolution) == ("status", BreakState.RESOLVED, "succeeded")
    assert (resolved.channel_amount, resolved.our_amount, resolved.our_state) == (700, None, "unknown")
    assert report.open == 0
    doors = "SELECT array_agg(door ORDER BY id) FROM payments.history WHERE about = $1"
    assert await merchant.value(doors, paid.id) == ["statement"]
    journals = "SELECT count(*) FROM ledger.journal WHERE book_id = $1"
    assert await merchant.value(journals, merchant.book) == 1
    assert await merchant.reconciles() == report


async def test_a_payment_that_we_held_as_closed_is_a_surplus(merchant: Merchant):
    paid = await merchant.pays(700, heard=False)
    await merchant.told(paid, Outcome(State.CLOSED))
    await merchant.closes()

    report = await merchant.reconciles()

    assert await merchant.state(paid) == "surplus"
    assert [b.resolution for b in report.breaks] == ["surplus"]
    waiting = "SELECT amount FROM payments.refund WHERE attempt_id = $1 AND charge_id IS NULL"
    assert await merchant.value(waiting, paid.id) == 700  # it goes back


async def test_a_line_that_contradicts_what_was_asked_stays_open_and_leaves_a_case(merchant: Merchant):
    paid = await merchant.pays(700, heard=False)
    await merchant.closes(change={merchant.key(paid): 5})

    report = await merchant.reconciles()

    assert await merchant.state(paid) == "unknown"
    assert (found(report), report.open) == (told(("status", paid)), 1)
    kinds = "SELECT array_agg(kind ORDER BY kind) FROM platform.case WHERE book_id = $1"
    assert await merchant.value(kinds, merchant.book) == ["amount_mismatch", "statement_breaks"]


async def test_R6_an_unknown_ends_when_its_final_files_are_without_it_and_the_channel_has_none(merchant: Merchant):
    lost = await merchant.has(700, A.UNKNOWN)
    waiting, _ = await merchant.create(300)  # the channel has it: it waits for its payer
    await merchant.closes()

    report = await merchant.reconciles()

    assert (await merchant.state(lost), report.breaks) == ("closed", ())
    assert await merchant.state(waiting) != "closed" or merchant.account.info.code == "alipay"
    doors = "SELECT array_agg(door) FROM payments.history WHERE about = $1"
    assert await merchant.value(doors, lost.id) == ["statement"]


async def test_R6_an_unknown_over_midnight_needs_both_days(wechat: Merchant):
    lost = await wechat.has(700, A.UNKNOWN, when=at("00:10", TOMORROW) - timedelta(minutes=20))
    await settle(wechat.env, wechat.account, bill([], TOMORROW - timedelta(days=1)))
    after_one = await wechat.state(lost)

    await settle(wechat.env, wechat.account, bill([], TOMORROW))

    assert (after_one, await wechat.state(lost)) == ("unknown", "closed")


async def test_R6_an_unknown_that_can_still_be_paid_is_left_alone(wechat: Merchant):
    now = clock.now()
    fresh = await wechat.has(700, A.UNKNOWN, when=now)

    await settle(wechat.env, wechat.account, bill([], clock.beijing_day(now)))

    assert await wechat.state(fresh) == "unknown"


async def test_many_are_told_at_once(wechat: Merchant):
    pairs = [wechat.attempt(100 + n, A.PENDING) for n in range(1200)]
    await wechat.save(pairs)

    report = await settle(
        wechat.env, wechat.account, bill([Row(wechat.key(a), a.amount, at("12:00")) for _, a in pairs], DAY)
    )

    assert report.open == 0
    states = "SELECT count(*) FROM payments.attempt WHERE book_id = $1 AND state = 'succeeded'"
    assert await wechat.value(states, wechat.book) == 1200
