"""Near midnight two clocks may name different days: what is not there yet waits for the file beyond the cut, and no longer."""

from datetime import timedelta

import pytest

from guilder.reconciliation import Report
from guilder.reconciliation.reconcile import settle
from reconciliation.bill import Row, bill
from reconciliation.merchant import DAY, Merchant, at, found, told

pytestmark = pytest.mark.anyio
TOMORROW = DAY + timedelta(days=1)
YESTERDAY = DAY - timedelta(days=1)


async def reconciled(merchant: Merchant, day: object, *rows: Row) -> Report:
    return await settle(merchant.env, merchant.account, bill(rows, day))


async def test_a_payment_before_midnight_waits_and_is_cleared_by_the_next_day(merchant: Merchant):
    """The channel's clock says 00:01; ours said 23:58."""
    paid = await merchant.pays(100, at("00:01", TOMORROW))
    await merchant.value("UPDATE payments.attempt SET paid_at = $2 WHERE id = $1 RETURNING 1", paid.id, at("23:58"))
    await merchant.closes(DAY)
    await merchant.closes(TOMORROW)

    first = await merchant.reconciles(DAY)
    second = await merchant.reconciles(TOMORROW)

    assert (found(first), first.open) == (told(("pending_cutover", paid)), 0)
    assert (first.carried.paid, first.ours.paid, first.channel.paid) == (100, 100, 0)
    assert (second.matched.paid, second.ours.paid, second.breaks) == (100, 100, ())
    [waited] = (await merchant.reconciles(DAY)).breaks
    assert (waited.state.value, waited.resolution) == ("resolved", f"matched on {TOMORROW}")


async def test_what_the_next_day_does_not_have_either_is_missing(wechat: Merchant):
    paid = await wechat.has(100, when=at("23:58"))

    first, second = await reconciled(wechat, DAY), await reconciled(wechat, TOMORROW)

    assert found(first) == told(("pending_cutover", paid))
    assert (found(second), second.open) == (told(("missing_channel", paid)), 1)


async def test_nothing_waits_for_a_file_that_is_there_already(wechat: Merchant):
    before, after = await wechat.has(100, when=at("00:02")), await wechat.has(200, when=at("23:58"))
    await reconciled(wechat, YESTERDAY)
    await reconciled(wechat, TOMORROW)

    report = await reconciled(wechat, DAY)

    assert found(report) == told(("missing_channel", before), ("missing_channel", after))


async def test_a_payment_after_midnight_waits_for_the_day_before(wechat: Merchant):
    paid = await wechat.has(100, when=at("00:02"))
    first = await reconciled(wechat, DAY)

    second = await reconciled(wechat, YESTERDAY, Row(wechat.key(paid), 100, at("23:59", YESTERDAY)))

    assert found(first) == told(("pending_cutover", paid))
    assert second.matched.paid == 100
    assert [b.state.value for b in (await reconciled(wechat, DAY)).breaks] == ["resolved"]


async def test_a_refund_is_listed_when_it_was_accepted_and_known_when_it_was_done(wechat: Merchant):
    """WeChat Pay: accepted at 23:50, done at 00:20; the first day's file has it."""
    paid = await wechat.pays(500)
    refund = await wechat.gives_back(paid, 200, at("23:50"))
    await wechat.value(
        "UPDATE payments.refund SET done_at = $2 WHERE id = $1 RETURNING 1", refund.id, at("00:20", TOMORROW)
    )
    await wechat.closes(DAY)
    await wechat.closes(TOMORROW)

    first, second = await wechat.reconciles(DAY), await wechat.reconciles(TOMORROW)

    assert (first.matched.refunded, second.matched.refunded) == (200, 0)
    assert (first.breaks, second.breaks) == ((), ())


async def test_a_refund_asked_for_before_midnight_and_accepted_after_waits(wechat: Merchant):
    intent, paid = wechat.attempt(500, when=at("12:00", YESTERDAY))
    refund = wechat.refund(paid, 200, asked=at("22:00"), done=at("09:00", TOMORROW))
    await wechat.save([(intent, paid)], [refund])

    first = await reconciled(wechat, DAY)
    row = Row(wechat.key(paid), 200, at("08:00", TOMORROW), wechat.key(refund))
    second = await reconciled(wechat, TOMORROW, row)

    assert found(first) == told(("pending_cutover", refund))
    assert (second.matched.refunded, second.breaks) == (200, ())
