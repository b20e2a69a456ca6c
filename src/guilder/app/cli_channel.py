"""The command line of channels as kinds: `guilder channel list | show | check`."""

import contextlib
import sys
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Column, Table

from guilder.channels.registry import CHANNELS, Kind
from guilder.core.errors import Invalid

app = typer.Typer(no_args_is_help=True, help="What channels can do: list, show, check.")
out = Console(highlight=False)
_PYTEST = "The suite runs by pytest, which is not there: pip install 'guilder[conformance]'."


def kind_of(code: str) -> Kind[Any]:
    """The channel of this code.  Raises Invalid with those that there are."""
    if code not in CHANNELS:
        raise Invalid(f"There is no channel {code!r}; there are {', '.join(CHANNELS)}.")
    return CHANNELS[code]


@app.command("list")
def list_() -> None:
    """Show every channel: ours, and those of packages that are installed beside."""
    table = Table(Column("channel", no_wrap=True), "title", "ways", "currencies", "operations", "comes from")
    for code, kind in CHANNELS.items():
        info = kind.info
        ways = ", ".join(way.name for way in info.ways)
        currencies = ", ".join(sorted(info.currencies)) if len(info.currencies) < 6 else f"{len(info.currencies)}"
        package = kind.config.__module__.partition(".")[0]
        table.add_row(code, info.title, ways, currencies, ", ".join(sorted(info.operations)), package)
    out.print(table)


@app.command()
def show(
    code: str,
    as_json: Annotated[bool, typer.Option("--json", help="The form of its credentials, for programs.")] = False,
) -> None:
    """Show what a channel can do, and the form of its credentials."""
    kind = kind_of(code)
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(kind.form())).decode() + "\n")
        return
    ways = Table(
        "way", "type", "client", "shows", "needs", "takes", title=f"{kind.info.title} ({code})", title_justify="left"
    )
    for way in kind.info.ways:
        ways.add_row(way.name, way.type, way.client, way.shows, ", ".join(way.needs), ", ".join(way.takes))
    out.print(ways)
    out.print(f"Operations: {', '.join(sorted(kind.info.operations)) or 'none'}. Days in {kind.info.zone}.")
    if kind.info.payee:
        out.print(f"A payout names its payee by: {', '.join(kind.info.payee)} (? may be left out).")
    for name, words in kind.info.extra.items():
        out.print(f"{name}: {words}.")
    form = Table("field", "secret", "what it is")
    for f in kind.fields:
        form.add_row(f.name, "yes" if f.secret else "", f.hint + (f" ({' | '.join(f.choices)})" if f.choices else ""))
    out.print(form)


@app.command()
def check(
    code: Annotated[str | None, typer.Argument(help="One channel; default: all.")] = None,
    simulator: Annotated[
        str,
        typer.Option(help="What plays the channel's other side, if not our simulators: it speaks their control API."),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Results for programs.")] = False,
) -> None:
    """Run the conformance suite.  Ends with 1 if a channel does not hold."""
    try:
        from guilder.conformance import run as running
    except ModuleNotFoundError as error:
        raise Invalid(_PYTEST) from error
    from guilder.conformance.cases import suite_of

    codes = [code] if code else list(CHANNELS)
    failed = False
    told: list[dict[str, Any]] = []
    with running.simulators() if not simulator else contextlib.nullcontext(simulator) as address:
        for each in codes:
            kind, suite = kind_of(each), suite_of(each)
            if suite is None:
                raise Invalid(
                    f"{each} does not say how it is held: its package needs an entry point of the group guilder.conformance."
                )
            results, said = running.run(suite, address, lambda r: sys.stderr.write("." if r.passed else "F"))
            sys.stderr.write("\n")
            if not results:
                raise Invalid(f"The suite did not run:\n{said}")
            failed |= not all(r.passed for r in results)
            told += _results(kind, suite, results) if as_json else []
            if not as_json:
                _print(kind, suite, results)
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(told)).decode() + "\n")
    raise typer.Exit(1 if failed else 0)


def _results(kind: Kind[Any], suite: Any, results: list[Any]) -> list[dict[str, Any]]:
    from guilder.conformance.table import of_case, tabulate

    found = []
    for case in suite.cases:
        own = of_case(case, suite.cases, results)
        cells = tabulate(kind.info, case, own)
        rows = [{"operation": row, "behaviour": how, "verdict": v, "tests": n} for (row, how), (v, n) in cells.items()]
        failures = [{"test": r.test, "why": r.why} for r in own if not r.passed]
        found.append(
            {"channel": kind.info.code, "way": case.way, "case": str(case), "results": rows, "failures": failures}
        )
    return found


def _print(kind: Kind[Any], suite: Any, results: list[Any]) -> None:
    from guilder.conformance.table import FAULT, NORMAL, ROWS, Verdict, of_case, tabulate

    colours = {Verdict.HOLDS: "green", Verdict.FAILS: "bold red", Verdict.UNDECLARED: "dim", Verdict.UNTRIED: "yellow"}
    for case in suite.cases:
        cells = tabulate(kind.info, case, of_case(case, suite.cases, results))
        table = Table("operation", NORMAL, FAULT, title=f"{kind.info.title}: {case}", title_justify="left")
        for row in ROWS:
            shown = [cells[row, how] for how in (NORMAL, FAULT)]
            table.add_row(row, *(f"[{colours[v]}]{v}[/]{f' ({n})' if n else ''}" for v, n in shown))
        out.print(table)
    for result in results:
        if not result.passed:
            out.print(f"[bold red]{result.test}[/]")
            out.print(result.why, markup=False)
