"""Trades in memory: what is dealt out adds up, whatever comes in whatever order, and comes twice."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from guilder.core import ids
from guilder.trades import life
from guilder.trades.life import Scene
from guilder.trades.model import NO_ITEM, Changes, Item, Part, Trade, Whole
from guilder.trades.share import deal, draw
from guilder.trades.states import TradeStatus

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
MALL, TEA = UUID(int=1 << 64), UUID(int=2 << 64)
units = st.integers(0, 10**12)


@given(st.lists(units, min_size=1, max_size=100), st.data())
def test_T3_what_is_dealt_out_adds_up_and_nobody_gets_more_than_he_wants(wanted: list[int], data: Any) -> None:
    whole = data.draw(st.integers(0, sum(wanted)))

    given_out = deal(whole, wanted)

    assert sum(given_out) == whole
    assert all(0 <= g <= w for g, w in zip(given_out, wanted, strict=True))
    total = sum(wanted) or 1
    assert all(abs(g * total - whole * w) < total for g, w in zip(given_out, wanted, strict=True)), (
        "in proportion, to the unit"
    )


@given(st.lists(units, min_size=1, max_size=20), st.data())
def test_what_is_drawn_comes_from_the_first_that_have_any(wells: list[int], data: Any) -> None:
    whole = data.draw(st.integers(0, sum(wells)))

    taken = draw(whole, wells)

    assert sum(taken) == whole
    touched = [n for n, t in enumerate(taken) if t]
    assert all(taken[n] == wells[n] for n in range(max(touched, default=0)))


class Trading(RuleBasedStateMachine):
    """One trade of a mall's, of which payments succeed and end, and refunds are made, done and failed, in any order and twice."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = Changes()
        amounts = [(MALL, 700), (TEA, 1), (TEA, 1299)]
        id = ids.new_id()
        self.whole = Whole(
            Trade(MALL, id, 0, "purchase", TradeStatus.OPEN, None, None, 2000, "CNY", None, 0, 0, 0, 0, None, None, None, {}, id, "", NOW),
            [Item(MALL, ids.new_id(), id, n, seller, None, "tea", 1, a, a) for n, (seller, a) in enumerate(amounts)],
        )  # fmt: skip
        self.refunds: list[UUID] = []

    @property
    def scene(self) -> Scene:
        return Scene(self.changes, NOW, False)

    @rule(share=st.integers(1, 2000))
    def ask(self, share: int) -> None:
        trade = self.whole.trade
        if trade.rest:
            units = min(share, trade.rest)
            part = Part(MALL, ids.new_id(), trade.id, "balance", units, "open", 0, 0, NOW)
            trade.reserved += units
            self.whole.parts.append(part)

    @precondition(lambda self: self.whole.parts)
    @rule(n=st.integers(0, 99))
    def succeed(self, n: int) -> None:
        part = self.whole.parts[n % len(self.whole.parts)]
        life.paid(self.scene, self.whole, part, part.amount)

    @precondition(lambda self: self.whole.parts)
    @rule(n=st.integers(0, 99))
    def end(self, n: int) -> None:
        life.ended(self.scene, self.whole, self.whole.parts[n % len(self.whole.parts)])

    @rule(n=st.integers(0, 2), share=st.integers(1, 2000))
    def give_back(self, n: int, share: int) -> None:
        item = self.whole.items[n]
        left = item.paid - item.refunded
        if left:
            units = min(share, left)
            [taken] = life.reserve(self.scene, self.whole, [(item, units)], [(ids.new_id(), units)])
            self.refunds.append(ids.new_id())
            life.give_back(self.scene, self.whole, self.refunds[-1], [(item.id, taken[0])])

    @precondition(lambda self: self.refunds)
    @rule(n=st.integers(0, 99), fails=st.booleans())
    def settle(self, n: int, fails: bool) -> None:
        (life.refund_failed if fails else life.refunded)(self.scene, self.whole, self.refunds[n % len(self.refunds)])

    @invariant()
    def every_unit_is_somewhere(self) -> None:
        trade, items = self.whole.trade, self.whole.items
        assert (
            trade.paid
            == sum(i.paid for i in items)
            == sum(p.received - p.excess for p in self.whole.parts)
            <= trade.amount
        )
        assert trade.reserved == sum(p.amount for p in self.whole.parts if p.state == "open")
        assert (trade.refunded, trade.returned) == (sum(i.refunded for i in items), sum(i.returned for i in items))
        assert all(i.held + i.released + i.returned == i.paid <= i.amount for i in items), "T3"
        assert all(0 <= i.returned <= i.refunded <= i.paid and i.held >= 0 and i.released >= 0 for i in items), "T4"

    @invariant()
    def journals_move_what_was_dealt_out(self) -> None:
        def moved(debit: str, credit: str, book: UUID) -> int:
            lines = [t for j in self.changes.journals if j.book_id == book for t in j.transfers]
            return sum(
                t.units
                for t in lines
                if t.debit.code.startswith(debit) and t.credit is not None and t.credit.code.startswith(credit)
            )

        theirs = [i for i in self.whole.items if i.seller_id == TEA]
        out, back = moved("pledged", "clearing", MALL), moved("payable", "clearing", TEA)
        assert out - back == sum(i.released for i in theirs), "T5"
        ordered = {o.key: (o.book_id, o.units) for j in self.changes.journals if (o := j.order) is not None}
        assert sum(n for book, n in ordered.values() if book == TEA) == out
        assert sum(n for book, n in ordered.values() if book == MALL) == back
        held = sum(i.held for i in self.whole.items)
        excess = sum(p.excess for p in self.whole.parts)
        pledged = sum(p.received for p in self.whole.parts) - out - moved("pledged", "payable", MALL)
        assert pledged == held + excess, "what is set aside is held, or waits to go back"


TestTrading = Trading.TestCase


def test_a_pre_authorisation_is_paid_by_what_was_captured() -> None:
    machine = Trading()
    whole, trade = machine.whole, machine.whole.trade
    trade.type, trade.reserved = "pre_authorisation", 2000
    part = Part(MALL, ids.new_id(), trade.id, "whole", 2000, "open", 0, 0, NOW)
    whole.parts.append(part)

    life.paid(machine.scene, whole, part, 1000)

    assert (trade.status, trade.paid, trade.reserved) == (TradeStatus.PAID, 1000, 0)
    assert [i.released for i in whole.items] == [350, 1, 649], "in proportion, and the first of equal fractions first"
    assert [e.type for e in machine.changes.events] == ["trade.paid"]


def test_what_is_held_waits_for_a_refund_on_its_way_and_goes_to_its_seller_if_that_fails() -> None:
    machine = Trading()
    whole, trade = machine.whole, machine.whole.trade
    trade.type, trade.reserved = "escrow", 2000
    part = Part(MALL, ids.new_id(), trade.id, "whole", 2000, "open", 0, 0, NOW)
    whole.parts.append(part)
    life.paid(machine.scene, whole, part, 2000)
    tea, refund = whole.items[2], ids.new_id()
    life.reserve(machine.scene, whole, [(tea, 1000)], [(part.intent_id, 2000)])
    life.give_back(machine.scene, whole, refund, [(tea.id, 1000)])

    trade.released_at = NOW
    life.release(machine.scene, whole, whole.items)
    assert (tea.held, tea.released) == (1000, 299)
    life.refund_failed(machine.scene, whole, refund)

    assert (tea.held, tea.released, tea.refunded) == (0, 1299, 0)


def test_what_was_too_much_and_is_refused_by_the_channel_is_a_case() -> None:
    machine = Trading()
    whole, refund = machine.whole, ids.new_id()
    life.give_back(machine.scene, whole, refund, [(NO_ITEM, 5)])

    life.refund_failed(machine.scene, whole, refund)

    assert [c.kind for c in machine.changes.cases] == ["trade_excess_refused"]
