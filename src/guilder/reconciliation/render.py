"""The report as a person reads it in a terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from guilder.core import ids
from guilder.core.amount import EXPONENT, major
from guilder.reconciliation.model import Break, BreakState, Report, Sums

SHOWN = 50
STYLE = {BreakState.OPEN: "bold red", BreakState.CARRIED: "yellow", BreakState.RESOLVED: "green"}


def render(report: Report) -> RenderableType:
    """Two tables: totals that add up, and the breaks."""
    parts: list[RenderableType] = [_totals(report)]
    if report.breaks:
        parts.append(_breaks(report))
    count = sum(
        max(t.channel.payments, t.ours.payments) + max(t.channel.refunds, t.ours.refunds) for t in report.tallies
    )
    if count > SHOWN:
        parts.append(Text(f"… and {count - SHOWN} more.", style="dim"))
    wanted = "1 break wants a person." if report.open == 1 else f"{report.open} breaks want a person."
    word = wanted if report.open else "No break is open."
    parts.append(Text(word, style="bold red" if report.open else "bold green"))
    return Group(*parts)


def _totals(report: Report) -> Table:
    fee = major(report.fee, report.fee_exponent)
    title = f"{report.channel_code}  {report.account}  {report.day}  version {report.version}"
    table = Table(title=title, caption=f"fee {fee} {report.currency}, not judged yet", title_justify="left")
    table.add_column("")
    for head in ("payments", f"paid {report.currency}", "refunds", f"refunded {report.currency}", "net"):
        table.add_column(head, justify="right")

    def row(label: str, sums: Sums, style: str = "") -> None:
        units = (_money(n, report.currency) for n in (sums.paid, sums.refunded, sums.net))
        paid, refunded, net = units
        table.add_row(label, f"{sums.payments:,}", paid, f"{sums.refunds:,}", refunded, net, style=style)

    for label, total, side in (("channel", report.channel, "channel"), ("ours", report.ours, "ours")):
        row(label, total, "bold")
        row("  matched", report.matched)
        for tally in report.tallies:
            sums: Sums = getattr(tally, side)
            if sums != Sums():
                row(f"  {tally.reason.value}", sums, "red" if tally.open else "")
        table.add_section()
    return table


def _breaks(report: Report) -> Table:
    table = Table(title="breaks", title_justify="left")
    for head in ("", "reason", "of", "at", "channel has", "we have", "difference", "state"):
        table.add_column(head, justify="right" if head in ("channel has", "we have", "difference") else "left")
    for b in report.breaks[:SHOWN]:
        difference = "" if b.difference is None else _money(b.difference, report.currency)
        state = f"{b.state.value}: {b.resolution}" if b.resolution else b.state.value
        table.add_row(
            str(b.number), b.reason.value, _name(b), f"{b.at:%Y-%m-%d %H:%M:%S} UTC",
            _side(b.channel_amount, b.channel_currency, ""), _side(b.our_amount, b.our_currency, b.our_state or ""),
            difference, state, style=STYLE.get(b.state, ""),
        )  # fmt: skip
    return table


def _name(b: Break) -> str:
    if b.about is None:
        return f"{b.kind} {b.key}"
    return ids.show("at" if b.kind == "payment" else "re", b.about)


def _side(units: int | None, currency: str | None, otherwise: str) -> str:
    return otherwise or "-" if units is None or currency is None else f"{_money(units, currency)} {currency}"


def _money(units: int, currency: str) -> str:
    return major(units, EXPONENT[currency])
