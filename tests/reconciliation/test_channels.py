"""A day at each channel, over the wire: payments by the adapter, a phone that pays, and the channel's own file."""

import pytest

from book import shown as balances
from guilder.app import domains
from guilder.channels.model import LineKind, Statement, StatementError, StatementLine, StatementProblem, Totals
from guilder.core import clock
from guilder.core.amount import Amount
from guilder.core.errors import WrongState
from guilder.payments import audits as payments_audits
from guilder.platform import audit, case, casework, context
from guilder.platform.case import Verdict
from guilder.platform.casework import Reach, Wanted
from guilder.reconciliation import Sums
from guilder.reconciliation.reconcile import settle
from reconciliation.merchant import DAY, Merchant, at, found, told

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
    kinds = "SELECT string_agg(kind, ' ' ORDER BY kind) FROM platform.case WHERE book_id = $1"
    assert (
        await merchant.value(kinds, merchant.book)
        == "missing_at_channel statement_breaks unmatched_line unmatched_line"
    )
    assert sorted(b.difference or 0 for b in report.breaks) == [-1000, -1, 1234, 1234]
    assert await merchant.value(
        "SELECT count(*) FROM reconciliation.break WHERE book_id = $1 AND reason = 'missing_local'", merchant.account.id
    ) == 2  # fmt: skip


async def test_a_line_of_nobodys_is_a_case_and_its_money_is_put_aside_once_and_is_the_merchants(merchant: Merchant):
    case.register(domains.CASE_RESOLVERS)
    await merchant.closes(add=1)
    await merchant.reconciles()
    db, reach = merchant.env.db, Reach(merchant.book)

    async def ends(kind: str, resolver: str) -> str:
        [row] = await casework.page(db, reach, Wanted(kind=kind), 5)
        verdict = await casework.ready(merchant.env, reach, row["id"], Verdict(resolver, "seen there"))
        return (await casework.resolve_now(db, reach, row["id"], verdict))["state"]

    assert await ends("unmatched_line", "book_suspense") == "resolved"
    assert await balances(db, merchant.book) == {"receivable": -1234, "suspense": 1234}
    with pytest.raises(WrongState, match="no payment that we know"):
        await ends("suspense", "refund_suspense")
    assert await ends("suspense", "apply_suspense") == "resolved"
    assert await balances(db, merchant.book) == {"receivable": -1234, "payable": 1234}
    await merchant.closes(add=1)
    await merchant.reconciles()
    drifts = await audit.everything(db, payments_audits.AUDITS, lambda _done, _total: None)
    assert [d for d in drifts if d.subject.startswith("as_")] == []


BROKEN = (
    "SELECT string_agg(concat_ws(' ', reason, state, decided_by, resolution, (case_id IS NOT NULL)::text), '; ' ORDER BY reason, number) "
    "FROM reconciliation.break WHERE channel_account_id = $1 AND state <> 'superseded'"
)


async def answer(merchant: Merchant, kind: str, resolver: str) -> None:
    """Somebody ends the only case of this kind."""
    db, reach = merchant.env.db, Reach(merchant.book)
    [row] = await casework.page(db, reach, Wanted(kind=kind, state="open"), 5)
    with context.use(context.mint(actor="usr_lin", book_id=merchant.book, env="test")):
        verdict = await casework.ready(merchant.env, reach, row["id"], Verdict(resolver, "seen there"))
        await casework.resolve_now(db, reach, row["id"], verdict)


async def test_a_break_ends_with_its_case_in_one_commit_with_who_and_why(merchant: Merchant):
    case.register(domains.CASE_RESOLVERS, domains.CASE_ENDINGS)
    gone = await merchant.pays(1000)
    await merchant.closes(remove=[merchant.key(gone)], add=1)
    assert (await merchant.reconciles()).open == 2

    await answer(merchant, "unmatched_line", "book_suspense")
    ended = "missing_channel open false; missing_local resolved usr_lin book_suspense: seen there true"
    assert await merchant.value(BROKEN, merchant.account.id) == ended
    await answer(merchant, "missing_at_channel", "dismiss")
    both = "missing_channel resolved usr_lin dismiss: seen there true; missing_local resolved usr_lin book_suspense: seen there true"
    assert await merchant.value(BROKEN, merchant.account.id) == both
    assert (await merchant.reconciles()).open == 0


async def test_what_a_person_decided_of_a_line_stays_decided_in_the_next_version_of_the_file(merchant: Merchant):
    case.register(domains.CASE_RESOLVERS, domains.CASE_ENDINGS)
    lines = [
        StatementLine(n, LineKind.PAYMENT, f"theirs-{n}", "", f"4200-{n}", Amount(500, "CNY"), 0, at("12:00"), "paid") for n in (1, 2)
    ]  # fmt: skip
    first = Statement(DAY, "CNY", 2, Totals(1, 500, 0, 0, 0), b"one", "0" * 64, iter(lines[:1]))
    assert (await settle(merchant.env, merchant.account, first)).open == 1
    await answer(merchant, "unmatched_line", "book_suspense")

    second = Statement(DAY, "CNY", 2, Totals(2, 1000, 0, 0, 0), b"two", "1" * 64, iter(lines))
    report = await settle(merchant.env, merchant.account, second)

    assert (report.version, report.open) == (2, 1)
    assert await merchant.value(BROKEN, merchant.account.id) == (
        "missing_local resolved usr_lin book_suspense: seen there true; missing_local open false"
    )


async def test_lines_of_other_kinds_are_kept_and_break_nothing(merchant: Merchant):
    paid, noon = await merchant.has(500), at("12:00")
    kinds = list(LineKind)
    lines = [
        StatementLine(n, kind, merchant.key(paid) if kind is LineKind.PAYMENT else "", "", f"{kind}-{n}", Amount(500, "CNY"), 0, noon, "as it says")
        for n, kind in enumerate(kinds, 1)
        if kind is not LineKind.REFUND
    ]  # fmt: skip
    whole = Statement(DAY, "CNY", 2, Totals(1, 500, 0, 0, 0), b"a day", "0" * 64, iter(lines))

    report = await settle(merchant.env, merchant.account, whole)

    assert report.channel == report.matched == Sums(1, 500)
    assert (report.open, report.breaks) == (0, ())
    kept = "SELECT string_agg(kind, ' ' ORDER BY number) FROM reconciliation.line WHERE statement_id = $1"
    assert await merchant.value(kept, report.statement_id) == "payment payout dispute fee other"


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
