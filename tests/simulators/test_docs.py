"""The guide's table of dials is the code's."""

from pathlib import Path

from guilder.simulators.dials import DIALS
from guilder.simulators.stripe.cards import CARDS, NUMBERS, effect

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "simulators.md"


def test_the_table_of_dials_is_current() -> None:
    lines = GUIDE.read_text().partition("<!-- dials:")[2].partition("<!-- end -->")[0].strip().splitlines()[3:]
    told = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert told == [
        [f"{number:02d}", f"`{name}`", spec.op, f"{spec.seconds:g} s" if spec.seconds else "", spec.effect]
        for number, (name, spec) in enumerate(DIALS.items(), 1)
    ]


def test_the_table_of_stripes_cards_is_current() -> None:
    lines = GUIDE.read_text().partition("<!-- cards:")[2].partition("<!-- end -->")[0].strip().splitlines()[3:]
    told = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    typed = {name: number for number, name in NUMBERS.items()}
    assert told == [[f"`{name}`", typed.get(name, ""), effect(card)] for name, card in CARDS.items()]
