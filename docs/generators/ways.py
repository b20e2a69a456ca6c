"""docs/reference/ways.md: every way of every channel, as each declares it; and the test values, between the marks of docs/guide/testing.md."""

from collections.abc import Iterable

from guilder.app.trigger import RECIPES
from guilder.channels.info import Info, Operation, Way
from guilder.channels.registry import CHANNELS
from guilder.simulators.dials import DIALS, NUMBERS, OPERATIONS
from guilder.simulators.stripe.cards import CARDS
from guilder.simulators.stripe.cards import NUMBERS as CARD_NUMBERS


def page() -> str:
    """The page."""
    lines = [
        "# Ways to pay", "",
        "What each channel declares of itself; the core asks for nothing else. `payment_method_options[<type>][client]` chooses the way, the first of "
        "a type is taken without one. *needs*: options without which it cannot be asked; *takes*: options that it passes on. `GET /v1/channels` "
        "says the same of what a merchant's enabled contracts can do, with the names that payers know, in English and Chinese, for a page or a "
        "console of your own.", "",
    ]  # fmt: skip
    for kind in CHANNELS.values():
        info = kind.info
        lines += [
            f"## {info.title}",
            "",
            *_facts(info),
            "",
            "| type | client | way | shows | needs | takes | can | open for |",
        ]
        lines += ["|---|---|---|---|---|---|---|---|", *(_row(info, way) for way in info.ways), ""]
        lines += ["| field of the contract | secret | what it is |", "|---|---|---|"]
        for f in kind.fields:
            choices = f" ({', '.join(f'`{c}`' for c in f.choices)})" if f.choices else ""
            lines.append(
                f"| `{f.name}`{'' if f.required else ' (optional)'} | {'yes' if f.secret else ''} | {f.hint}{choices} |"
            )
        lines.append("")
    return "\n".join(lines).rstrip()


def _facts(info: Info) -> list[str]:
    currencies = (
        ", ".join(sorted(info.currencies)) if len(info.currencies) <= 8 else f"{len(info.currencies)} currencies"
    )
    facts = [
        f"`{info.code}`: {currencies}; statements: {', '.join(info.statements)}; its days begin at {info.day_cut:%H:%M} {info.zone}."
    ]
    if info.payee:
        named = ", ".join(f"`{p}`" for p in info.payee)
        facts.append(f"A payout names its payee by {named} (`?`: may be left out).")
    return [" ".join(facts)]


def _row(info: Info, way: Way) -> str:
    can = [o.value for o in Operation if info.can(o, way.name) and o is not Operation.PAYOUT]
    longest = way.max_expiry_s or info.max_expiry_s
    cells = [
        f"`{way.type}`",
        f"`{way.client}`",
        f"`{way.name}`",
        way.shows,
        _code(way.needs),
        _code(way.takes),
        ", ".join(can),
    ]
    return f"| {' | '.join([*cells, _span(longest)])} |"


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _span(seconds: int) -> str:
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"


def test_values() -> str:
    """The tables of docs/guide/testing.md."""
    numbers = {token: number for number, token in CARD_NUMBERS.items()}
    lines = ["| dial | strikes | magic amount | what happens |", "|---|---|---|---|"]
    for number, name in NUMBERS.items():
        spec = DIALS[name]
        magic = f"`{77_770_000 + OPERATIONS.index(spec.op) * 1000 + number}`" if spec.op in OPERATIONS[:4] else ""
        lines.append(f"| `{name}` | {spec.op} | {magic} | {spec.effect} |")
    lines += ["", "### Cards of the simulated Stripe", "", "| token | number | what happens |", "|---|---|---|"]
    for token, card in CARDS.items():
        does = card.decline_code or (
            "asks the payer's bank first" if card.asks else "paid, then disputed" if card.disputes else "paid"
        )
        lines.append(
            f"| `{token}` | {numbers.get(token, '')} | {does if not card.decline_code else f'declined: `{does}`'} |"
        )
    return "\n".join(
        [*lines, "", "### Events that can be triggered", "", ", ".join(f"`{name}`" for name in RECIPES) + "."]
    )
