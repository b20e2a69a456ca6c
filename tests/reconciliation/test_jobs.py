"""The daily job, as the worker runs it."""

from datetime import timedelta

import pytest

from guilder.core import clock
from guilder.platform import jobs
from guilder.reconciliation.jobs import KINDS, LOOPS, put_due
from reconciliation.merchant import DAY, Merchant

pytestmark = pytest.mark.anyio


async def job(merchant: Merchant, day: object) -> tuple[bool, bool, str | None]:
    """Whether it is done, whether it waits for later, and why."""
    row = "SELECT (done_at IS NOT NULL, run_at > now() + interval '14 minutes', last_error) FROM platform.job WHERE key = $1"
    done, later, error = await merchant.value(row, f"{merchant.account.id}:{day}")
    return done, later, error


async def put(merchant: Merchant, day: object) -> None:
    at = clock.now() - timedelta(seconds=1)
    await merchant.env.db.transact(lambda tx: jobs.put(tx, "reconcile", f"{merchant.account.id}:{day}", at))


async def run_all(merchant: Merchant) -> None:
    while await jobs.run_due(merchant.env, merchant.env.db, KINDS):
        pass


async def test_a_day_is_reconciled_by_its_job(wechat: Merchant):
    await wechat.pays(100)
    await wechat.closes()
    await put(wechat, DAY)

    await run_all(wechat)

    assert await job(wechat, DAY) == (True, False, None)
    assert await wechat.value("SELECT count(*) FROM reconciliation.match WHERE book_id = $1", wechat.book) == 1


async def test_a_file_that_is_not_ready_is_come_back_for_in_a_quarter_of_an_hour(wechat: Merchant):
    wechat.time(clock.now())
    today = clock.beijing_day(clock.now())
    await put(wechat, today)

    await run_all(wechat)

    done, later, why = await job(wechat, today)
    assert (done, later) == (False, True)
    assert why


async def test_a_file_that_cannot_be_believed_is_asked_for_again(wechat: Merchant):
    await wechat.pays(100)
    await wechat.closes(corrupt="hash")
    await put(wechat, DAY)

    await run_all(wechat)

    done, _, why = await job(wechat, DAY)
    assert not done
    assert why is not None and "hash" in why


async def test_each_day_of_each_account_is_asked_for_once(merchant: Merchant):
    now = clock.now() + timedelta(days=3)

    await put_due(merchant.env, now)
    await put_due(merchant.env, now)

    asked = "SELECT count(*) FROM platform.job WHERE kind = 'reconcile' AND key LIKE $1 || ':%'"
    assert await merchant.value(asked, str(merchant.account.id)) in (2, 3)  # before ten in the morning, or after
    assert [loop.run for loop in LOOPS] == [put_due]
