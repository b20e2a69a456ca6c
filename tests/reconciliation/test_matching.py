"""Every class of difference, planted at random among honest rows: all of them are found, and nothing else."""

from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

import pytest

from guilder.core import ids
from guilder.payments.model import Attempt, Intent, Refund
from guilder.reconciliation import Report, Sums
from guilder.reconciliation.reconcile import settle
from reconciliation.bill import Row, bill
from reconciliation.merchant import DAY, A, Merchant, R, at, found, told

pytestmark = pytest.mark.anyio
PLANTS = (
    "honest", "missing_local", "missing_channel", "amount", "currency", "status", "duplicate_channel", "pending_cutover",
)  # fmt: skip


@dataclass
class Day:
    """What is in the book, what is in the file, and what differs."""

    merchant: Merchant
    random: Random
    payments: list[tuple[Intent, Attempt]] = field(default_factory=list)
    refunds: list[Refund] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    expected: set[tuple[str, str]] = field(default_factory=set)
    planted: int = 0

    def plant(self, kind: str, plant: str) -> None:
        """One payment or refund, honest or not."""
        when = (
            at("23:57")
            if plant == "pending_cutover"
            else at("00:10") + timedelta(seconds=self.random.randrange(80_000))
        )
        amount = self.random.randrange(1, 100_000)
        if plant == "missing_local":
            return self._stranger(kind, amount)
        mine = self._payment(amount, when, plant) if kind == "payment" else self._refund(amount, when, plant)
        if plant in ("missing_channel", "pending_cutover"):
            return self._expect(plant, mine)
        row = self._row(mine, amount + (plant == "amount"), when)
        self.rows += [row, row] if plant == "duplicate_channel" else [row]
        if plant != "honest":
            self._expect(plant, mine)
        return None

    def _expect(self, plant: str, of: Attempt | Refund | str) -> None:
        self.expected |= told((plant, of))
        self.planted += 1

    def _stranger(self, kind: str, amount: int) -> None:
        """A line that we know nothing of: not our key, another book's, or one that never was."""
        key = self.random.choice(
            [
                f"SHOP{self.planted}",
                ids.mint_key(ids.new_id(), ids.new_id()),
                ids.mint_key(ids.new_id(), self.merchant.book),
            ]
        )
        self.rows.append(
            Row("P" + key if kind == "refund" else key, amount, at("12:00"), key if kind == "refund" else "")
        )
        named = ids.split_key(key)
        ours = named is not None and named[1] == ids.book_code(self.merchant.book)
        self._expect("missing_local", key[: ids.LENGTH] if ours else key)

    def _payment(self, amount: int, when: object, plant: str) -> Attempt:
        state = A.SUCCEEDED
        if plant == "status":
            state = self.random.choice([A.UNKNOWN, A.PENDING, A.CLOSED, A.FAILED])
        currency = "USD" if plant == "currency" else "CNY"
        pair = self.merchant.attempt(amount, state, when=when, currency=currency)
        self.payments.append(pair)
        return pair[1]

    def _refund(self, amount: int, when: object, plant: str) -> Refund:
        intent, paid = self.merchant.attempt(
            amount, when=at("12:00") - timedelta(days=1), currency="USD" if plant == "currency" else "CNY"
        )
        self.payments.append((intent, paid))
        states = [R.FAILED] if plant == "status" else [R.SUCCEEDED]
        if plant in ("honest", "amount", "duplicate_channel"):
            states += [R.PENDING, R.UNKNOWN]
        self.refunds.append(self.merchant.refund(paid, amount, self.random.choice(states), asked=when, done=when))
        return self.refunds[-1]

    def _row(self, of: Attempt | Refund, amount: int, when: object) -> Row:
        key = self.merchant.key(of)
        return Row(key, amount, when) if isinstance(of, Attempt) else Row("PAID" + key, amount, when, key)


async def planted(merchant: Merchant, seed: int, rows: int) -> tuple[Day, Report]:
    """A day of so many rows, about a third of them with a difference, and its report."""
    random = Random(seed)
    day = Day(merchant, random)
    for _ in range(rows):
        plant = random.choice(PLANTS) if random.random() < 0.4 else "honest"
        day.plant(random.choice(["payment", "payment", "refund"]), plant)
    random.shuffle(day.rows)
    await merchant.save(day.payments, day.refunds)
    return day, await settle(merchant.env, merchant.account, bill(day.rows, DAY))


@pytest.mark.parametrize("seed", range(4))
async def test_R2_R5_every_planted_difference_is_found_and_nothing_else(wechat: Merchant, seed: int):
    day, report = await planted(wechat, seed, 350)

    assert day.planted >= 100
    assert {reason for reason, _ in day.expected} == set(PLANTS) - {"honest"}
    assert found(report) == day.expected  # precision and recall are 1.0
    assert (
        sum(t.channel.payments + t.channel.refunds or t.ours.payments + t.ours.refunds for t in report.tallies)
        == day.planted
    )
    assert report.adds_up  # and the totals are the true ones:
    assert report.channel.paid == sum(r.amount for r in day.rows if not r.refund_key)
    assert report.channel.refunded == sum(r.amount for r in day.rows if r.refund_key)
    assert report.ours.payments == sum(
        a.state is A.SUCCEEDED and a.paid_at >= at("00:00") for _, a in day.payments if a.paid_at is not None
    )
    assert report.matched.payments == report.ours.payments - sum(t.ours.payments for t in report.tallies)


async def test_R3_the_same_file_again_changes_nothing(wechat: Merchant):
    day, report = await planted(wechat, 99, 120)

    again = await settle(wechat.env, wechat.account, bill(day.rows, DAY))

    assert again == report


async def test_R1_a_key_that_another_day_has_listed_is_a_duplicate(wechat: Merchant):
    paid = await wechat.has(100)
    row = Row(wechat.key(paid), 100, at("12:00"))
    await settle(wechat.env, wechat.account, bill([row], DAY))

    report = await settle(wechat.env, wechat.account, bill([row], DAY + timedelta(days=1)))

    assert found(report) == told(("duplicate_channel", paid))
    assert (report.matched, report.ours) == (Sums(), Sums())


async def test_R3_a_new_version_judges_anew_and_gives_back_what_the_old_one_had_settled(wechat: Merchant):
    late = await wechat.has(100, when=at("23:58"))
    await settle(wechat.env, wechat.account, bill([], DAY))
    tomorrow = DAY + timedelta(days=1)
    row = Row(wechat.key(late), 100, at("00:01", tomorrow))
    await settle(wechat.env, wechat.account, bill([row], tomorrow))

    report = await settle(wechat.env, wechat.account, bill([], tomorrow))

    assert report.version == 2
    assert found(report) == told(("missing_channel", late))
    kept = "SELECT count(*) FROM reconciliation.line WHERE book_id = $1"
    assert await wechat.value(kept, wechat.book) == 1  # the archived version keeps its lines


async def test_a_file_that_comes_late_resolves_what_was_missing(wechat: Merchant):
    paid = await wechat.has(100)
    first = await settle(wechat.env, wechat.account, bill([], DAY))
    row = Row(wechat.key(paid), 100, at("12:00"))

    await settle(wechat.env, wechat.account, bill([row], DAY + timedelta(days=2)))

    assert first.open == 1
    again = await settle(wechat.env, wechat.account, bill([], DAY))
    assert again.open == 0
    assert [b.resolution for b in again.breaks] == [f"matched on {DAY + timedelta(days=2)}"]


async def test_what_belongs_to_another_account_of_the_merchant_is_none_of_this_ones(wechat: Merchant):
    intent, paid = wechat.attempt(100)
    paid.channel_account_id = ids.new_id()
    await wechat.save([(intent, paid)])

    report = await settle(wechat.env, wechat.account, bill([Row(wechat.key(paid), 100, at("12:00"))], DAY))

    assert found(report) == told(("missing_local", paid))
