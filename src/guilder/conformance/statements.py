"""A day's file of every adapter, against its simulator: complete, damaged, empty, not there yet."""

import pytest

from guilder.channels.model import LineKind, StatementError, StatementProblem, Totals
from guilder.conformance.payers import just_now, refund
from guilder.conformance.suite import World
from guilder.core.amount import cny


class Statements:
    """Every test takes a `world` of its own."""

    async def test_a_statement_has_every_row_and_its_totals(self, world: World) -> None:
        asks = [(await world.paid(fen))[0] for fen in (1000, 250, 99_999)]
        back = refund(world.notify_url, asks[0], 400)
        await world.ask(back)
        await world.finished(back)
        with pytest.raises(StatementError) as caught:
            await world.statement()
        assert caught.value.problem is world.case.before_the_file
        day = world.day.isoformat()
        await world.control(f"accounts/{world.account}/close-day", day=day)

        statement = await world.statement()
        assert statement.fee_exponent == world.case.fee_exponent
        lines = list(statement.lines)
        assert [line.number for line in lines] == [1, 2, 3, 4]
        paid = {line.key: line.amount for line in lines if line.kind is LineKind.PAYMENT}
        assert paid == {ask.key: ask.amount for ask in asks}
        [given_back] = [line for line in lines if line.kind is LineKind.REFUND]
        assert (given_back.key, given_back.payment_key, given_back.amount) == (back.key, asks[0].key, cny(400))
        assert all(just_now(line.at) for line in lines)
        assert all(line.description == "两杯咖啡" for line in lines if line.kind is LineKind.PAYMENT)
        refs = {trade["out_trade_no"]: trade["channel_ref"] for trade in await world.book()}
        assert all(refs[line.key] == line.channel_ref for line in lines if line.kind is LineKind.PAYMENT)
        fees = sum(line.fee for line in lines)
        assert statement.totals == Totals(3, 101_249, 1, 400, fees) and fees > 0
        assert all((line.fee >= 0) == (line.kind is LineKind.PAYMENT) or line.fee == 0 for line in lines)

    async def test_a_statement_with_rows_taken_out_changed_and_added_still_adds_up(self, world: World) -> None:
        asks = [(await world.paid(fen))[0] for fen in (1000, 250)]
        day = world.day.isoformat()
        await world.control(
            f"accounts/{world.account}/close-day", day=day, remove=[asks[0].key], change={asks[1].key: 7}, add=1
        )
        lines = list((await world.statement()).lines)
        assert {line.key: line.amount for line in lines if line.key == asks[1].key} == {asks[1].key: cny(257)}
        assert len(lines) == 2 and asks[0].key not in {line.key for line in lines}

    @pytest.mark.parametrize("corrupt", ["hash", "totals", "truncate"])
    async def test_a_corrupt_statement_is_none(self, world: World, corrupt: str) -> None:
        await world.paid()
        day = world.day.isoformat()
        await world.control(f"accounts/{world.account}/close-day", day=day, corrupt=corrupt)
        with pytest.raises(StatementError) as caught:
            await world.statement()
        assert caught.value.problem is StatementProblem.CORRUPT

    async def test_a_day_without_trade(self, world: World) -> None:
        await world.control(f"accounts/{world.account}/close-day", day=world.day.isoformat())
        with pytest.raises(StatementError) as caught:
            await world.statement()
        assert caught.value.problem is StatementProblem.EMPTY_DAY

    @pytest.mark.parametrize("dial", ["silence_before", "error_before", "garbage", "bad_signature"])
    async def test_a_statement_without_an_answer(self, world: World, dial: str) -> None:
        await world.paid()
        await world.control(f"accounts/{world.account}/close-day", day=world.day.isoformat())
        await world.control("dials", account=world.account, dials={f"bill:{dial}": {"next": 1}})
        with pytest.raises(StatementError) as caught:
            await world.statement()
        assert caught.value.problem is StatementProblem.UNKNOWN
        assert (await world.statement()).totals.payments == 1
