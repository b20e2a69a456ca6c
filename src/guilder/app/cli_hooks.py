"""The command line for plug-ins: which are installed, and at which points they are asked."""

from rich.console import Console
from rich.table import Table

from guilder.payments import hook_steps, hooks

out = Console(highlight=False)


def list_hooks() -> None:
    """List the plug-ins that are installed, in the order in which they are asked."""
    found = hook_steps.installed()
    hooks.register(found)
    if not found:
        out.print(f"No plug-in is installed. A package brings one by an entry point of the group {hooks.GROUP}.")
        return
    table = Table("plug-in", "point", "must agree", "has an undo", "may take")
    for p in found:
        asked = (
            []
            if p.before_routing is None
            else [("before_routing", p.before_routing.must, False, p.before_routing.timeout_s)]
        )
        asked += [(point.value, s.must, s.undo is not None, s.timeout_s) for point, s in p.steps()]
        for n, (point, must, undo, timeout_s) in enumerate(asked):
            in_line = point in ("before_routing", "before_asking")
            table.add_row(
                p.name if n == 0 else "",
                point,
                "yes" if must else "",
                "yes" if undo else "",
                f"{timeout_s:g} s" if in_line else "",
            )
    out.print(table)
