"""Amounts: whole units, exactly; nothing is rounded on the way in or out."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.core.amount import EXPONENT, INT64, Amount, cny, from_major, major
from guilder.core.check import Impossible, must, never

units = st.integers(-INT64, INT64)
assets = st.sampled_from(sorted(EXPONENT))


@given(st.integers(-(10**14), 10**14), assets)
def test_what_is_written_reads_back(n: int, asset: str) -> None:
    assert Amount.from_major(Amount(n, asset).major(), asset) == Amount(n, asset)
    assert Decimal(Amount(n, asset).major()) == Decimal(n).scaleb(-EXPONENT[asset])


@pytest.mark.parametrize(
    ("text", "units"),
    [("12.5", 1250), ("12.50", 1250), ("12.500", 1250), ("0.01", 1), ("-0.05", -5), ("7", 700), (" 7.00\n", 700)],
)
def test_yuan_are_read_in_fen(text: str, units: int) -> None:
    assert Amount.from_major(text, "CNY") == cny(units)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1.",
        ".5",
        "1,000.00",
        "1e3",
        "0.001",
        "1.005",
        "--1",
        "+1",
        "1 0",
        "NaN",
        "0x10",
        "1" * 16,
        "一",
        "1.2.3",
        "¥1",
    ],
)
def test_what_is_no_exact_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"amount|finer"):
        Amount.from_major(text, "CNY")


@given(st.text(max_size=12))
def test_reading_anything_raises_nothing_else(text: str) -> None:
    try:
        read = from_major(text, 2)
    except ValueError:
        return
    assert from_major(major(read, 2), 2) == read


@given(units, units)
def test_adding_is_exact_or_impossible(a: int, b: int) -> None:
    if abs(a + b) > INT64:
        with pytest.raises(Impossible):
            cny(a) + cny(b)
    else:
        assert (cny(a) + cny(b)).units == a + b
        assert (cny(a) + cny(b)) - cny(b) == cny(a)


@pytest.mark.parametrize("wrong", [1.0, True, "1", None, INT64 + 1, -INT64 - 1])
def test_an_amount_is_a_64_bit_integer(wrong: object) -> None:
    with pytest.raises(Impossible):
        Amount(wrong, "CNY")


def test_two_assets_do_not_add_up() -> None:
    for operation in (Amount.__add__, Amount.__sub__):
        with pytest.raises(Impossible):
            operation(cny(1), Amount(1, "USD"))


@pytest.mark.parametrize(
    ("n", "asset", "shown"),
    [(5, "CNY", "0.05 CNY"), (-105, "USD", "-1.05 USD"), (5, "JPY", "5 JPY"), (5, "KWD", "0.005 KWD")],
)
def test_it_is_shown_in_its_major_unit(n: int, asset: str, shown: str) -> None:
    assert str(Amount(n, asset)) == shown


def test_must_crashes_with_its_promise() -> None:
    must(True, "held")
    for broken in (lambda: must(0, "P1"), lambda: never("P1")):
        with pytest.raises(Impossible, match="P1"):
            broken()
