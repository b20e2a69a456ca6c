"""The command line: `guilder up | demo | doctor | keys | reconcile | ledger | reset`."""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from guilder.core.errors import GuilderError
from guilder.platform import settings
from guilder.platform.cluster import EmbeddedError
from guilder.platform.runtime import RuntimeFailure
from guilder.platform.settings import Settings

if TYPE_CHECKING:
    from guilder.app.provision import Demo

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
out = Console(highlight=False)


def _settings() -> Settings:
    return settings.load()


@app.command()
def up() -> None:
    """Start everything in the foreground; Ctrl-C ends it."""
    from guilder.app import up as starting

    s = _settings()
    with starting.held(s) as state:
        sockets = starting.Sockets.open(s)
        s = msgspec.structs.replace(s, **sockets.ports())

        async def ready(demo: "Demo | None") -> None:
            starting.note_addresses(s, state, demo)
            _welcome(s, demo)

        try:
            asyncio.run(starting.up(s, sockets, say=_say, ready=ready))
        finally:
            (state / "up.json").unlink(missing_ok=True)


def _say(line: str) -> None:
    sys.stderr.write(f"  · {line}\n")


def _welcome(s: Settings, demo: "Demo | None") -> None:
    table = Table(show_header=False, box=None, padding=(0, 2))
    for _ in range(3):
        table.add_column(no_wrap=True, overflow="fold")
    table.add_row("API", f"{s.api_url}/v1", "reference at /reference")
    table.add_row("Cashier", s.cashier_url, "where payers pay")
    if demo is not None:
        table.add_row("Simulators", s.simulator_url, "WeChat Pay and Alipay; no money moves")
        table.add_row("Metrics", f"http://{s.host}:{s.metrics_port}/metrics", "")
        table.add_row("Merchant", demo.merchant, "Demo Shop")
        table.add_row("Test key", demo.secret_key, "")
    out.print("\n[bold]Guilder is up.[/bold]  Ctrl-C ends it; `make demo` shows a payment from end to end.\n")
    Console(highlight=False, width=120, soft_wrap=True).print(table)
    out.print()


@app.command()
def demo(
    keep: Annotated[bool, typer.Option(envvar="KEEP", help="Keep the data of the demonstration.")] = False,
) -> None:
    """Run one story through the official SDK, from payment to reconciliation."""
    from guilder.app.demo import run

    raise typer.Exit(asyncio.run(run(keep=keep)))


@app.command()
def doctor() -> None:
    """Say what is wrong with this installation."""
    from guilder.app.doctor import examine

    raise typer.Exit(asyncio.run(examine(_settings(), out)))


@app.command()
def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do it: everything in the state folder is lost.")] = False,
) -> None:
    """Remove the embedded database and everything else in the state folder."""
    import shutil

    from guilder.app import up as starting
    from guilder.platform import embedded

    s = _settings()
    state = s.state_path.absolute()
    if not yes:
        out.print(f"This removes all data of {state}. Say `guilder reset --yes` to do it.")
        raise typer.Exit(2)
    with starting.held(s):
        embedded.destroy(state)
        for name in ("demo.json", "encryption.key"):
            (state / name).unlink(missing_ok=True)
        for name in ("simulators", "logs", "metrics"):
            shutil.rmtree(state / name, ignore_errors=True)
    out.print(f"{state} is empty.")


def main() -> int:
    """Entry point.  Expected failures are one sentence on standard error, without a traceback."""
    try:
        app(standalone_mode=False)
    except typer.Exit as end:
        return end.exit_code
    except (GuilderError, EmbeddedError, RuntimeFailure) as error:
        sys.stderr.write(f"guilder: {getattr(error, 'message', None) or error}\n")
        return 1
    except (KeyboardInterrupt, typer.Abort):
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
