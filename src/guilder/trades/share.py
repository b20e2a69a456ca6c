"""Deal money out: whole units, nothing lost, nobody over what is still wanted."""

from collections.abc import Sequence

from guilder.core.check import must


def deal(units: int, wanted: Sequence[int]) -> list[int]:
    """`units` in proportion to what each still wants, the left-over units to the largest fractions, the first of equals first.

    deal(100, [300, 700]) == [30, 70];  deal(1, [1, 1]) == [1, 0];  who wants all that is left gets exactly that.
    """
    total = sum(wanted)
    must(0 <= units <= total, "no more is dealt out than is wanted")
    if total == 0:
        return [0 for _ in wanted]
    given = [units * w // total for w in wanted]
    over = units - sum(given)
    by_fraction = sorted(range(len(wanted)), key=lambda n: (-(units * wanted[n] % total), n))
    for n in by_fraction[:over]:
        given[n] += 1
    return given


def draw(units: int, wells: Sequence[int]) -> list[int]:
    """`units` from the first that have any: what is taken of each."""
    taken = []
    for well in wells:
        take = min(units, well)
        taken.append(take)
        units -= take
    must(units == 0, "there is as much as is drawn")
    return taken
