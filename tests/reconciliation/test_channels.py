"""A day at each channel, over the wire: payments by the adapter, a phone that pays, and the channel's own file."""

import pytest

from guilder.channels.model import StatementError, StatementProblem
from guilder.core import clock
from guilder.reconciliation import Sums
from reconciliation.merchant import Merchant, found, told

pytestmark = pytest.mark.anyio


async def test_a_day_that_adds_up(merchant: Merchant):
    for amount in (100, 250, 999):
        paid = await merchant.pays(amount)
    await merchant.gives_back(paid, 99)
    await merchant.closes()

    report = await merchant.reconciles()

    assert report.channel == report.ours == report.matched == Sums(3, 1349, 1, 99)
    assert (report.open, report.breaks) == (0, ())


async def test_what_was_removed_changed_and_added_is_found_and_nothing_else(merchant: Merchant):
    gone, changed, *_ = [await merchant.pays(1000 + n) for n in range(6)]
    closed = await merchant.closes(remove=[merchant.key(gone)], change={merchant.key(changed): -1}, add=2)

    report = await merchant.reconciles()

    strangers = [("missing_local", key) for key in closed["added"]]
    assert found(report) == told(("missing_channel", gone), ("amount", changed), *strangers)
    assert report.matched.payments == 4
    assert sorted(b.difference or 0 for b in report.breaks) == [-1000, -1, 1234, 1234]
    assert await merchant.value(
        "SELECT count(*) FROM reconciliation.break WHERE book_id = $1 AND reason = 'missing_local'", merchant.account.id
    ) == 2  # fmt: skip


async def test_R4_what_cannot_be_believed_leaves_a_case_and_nothing_else(merchant: Merchant):
    await merchant.pays(100)
    for corrupt in ("hash", "totals", "truncate"):
        await merchant.closes(corrupt=corrupt)
        with pytest.raises(StatementError) as refused:
            await merchant.reconciles()
        assert refused.value.problem is StatementProblem.CORRUPT

    lines = "SELECT count(*) FROM reconciliation.statement s WHERE s.channel_account_id = $1"
    assert await merchant.value(lines, merchant.account.id) == 0
    seen = "SELECT seen FROM platform.case WHERE book_id = $1 AND kind = 'statement_corrupt'"
    assert await merchant.value(seen, merchant.account.id) == 3
    await merchant.closes()
    assert (await merchant.reconciles()).matched.payments == 1


async def test_a_day_that_is_not_ready_is_come_back_for(merchant: Merchant):
    merchant.time(clock.now())

    with pytest.raises(StatementError) as refused:
        await merchant.reconciles(clock.beijing_day(clock.now()))

    assert refused.value.problem is StatementProblem.NOT_READY


async def test_a_day_without_trade_is_a_statement_without_lines(merchant: Merchant):
    await merchant.closes()

    report = await merchant.reconciles()

    assert report.channel == report.ours == report.matched == Sums()


@pytest.mark.parametrize("late", ["first", "second"])
async def test_two_files_of_one_day(merchant: Merchant, late: str):
    paid = await merchant.pays(100)
    await merchant.closes(remove=1)
    first = await merchant.reconciles()
    await merchant.closes(remove=0 if late == "second" else 1)

    second = await merchant.reconciles()

    assert found(first) == told(("missing_channel", paid))
    if late == "first":
        assert second.version == 1 and second == first
    else:
        assert (second.version, second.open, second.matched.payments) == (2, 0, 1)
