"""`guilder reconcile`: a day of a channel, with progress and a report."""

from datetime import date

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from guilder.core import ids
from guilder.core.errors import Invalid
from guilder.merchants import channel_accounts
from guilder.platform.environment import Env
from guilder.reconciliation.model import Report
from guilder.reconciliation.reconcile import reconcile


async def run_cli(
    rt: Env, channel: str, day: date, account: str | None = None, *, console: Console | None = None
) -> list[Report]:
    """Reconcile `day` of every enabled account of `channel`, or of the one named 'ca_…'; progress goes to `console`.

    Raises Invalid if there is no such account, and StatementError if a channel has no file to read.
    """
    accounts = [
        a
        for a in await channel_accounts.all_enabled(rt)
        if a.info.code == channel and account in (None, ids.show("ca", a.id))
    ]
    if not accounts:
        raise Invalid(
            f"There is no enabled channel account {account or f'of {channel}'} in {rt.name}.", param="account"
        )
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    reports = []
    with Progress(*columns, console=console or Console(stderr=True), transient=True) as progress:
        for a in accounts:
            task = progress.add_task(a.name)

            def say(step: str, done: int, total: int, task: TaskID = task, name: str = a.name) -> None:
                progress.update(task, description=f"{name}: {step}", completed=done, total=max(total, 1))

            reports.append(await reconcile(rt, a, day, say))
    return reports
