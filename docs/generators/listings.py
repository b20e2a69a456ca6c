"""Lists that the source itself holds: settings, metrics, failpoints, events, errors, and the tree."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from guilder.app import domains
from guilder.core.errors import GuilderError
from guilder.platform import failpoints
from guilder.platform.settings import PREFIX, Settings

SRC = Path(__file__).parents[2] / "src"
METRICS = {"Counter", "Gauge", "Histogram"}


def parsed() -> Iterator[tuple[Path, ast.Module]]:
    """Every module of Guilder, in order."""
    for file in sorted((SRC / "guilder").rglob("*.py")):
        yield file, ast.parse(file.read_text("utf-8"))


def settings_page() -> str:
    """docs/reference/settings.md."""
    source = (SRC / "guilder/platform/settings.py").read_text("utf-8")
    said = {m[1]: m[2] or "" for m in re.finditer(r"^    (\w+): [^#\n]+?(?:  # (.*))?$", source, re.MULTILINE)}
    lines = [
        "# Settings", "", "In `guilder.toml` in the state folder (or the file that `GUILDER_CONFIG` names), or as environment variables, which win. "
        "A name that nobody knows is an error.", "", "| guilder.toml | environment | default | |", "|---|---|---|---|",
    ]  # fmt: skip
    for f in msgspec.structs.fields(Settings):
        default = ",".join(f.default) if isinstance(f.default, tuple) else str(f.default)
        shown = f"`{default}`" if default else ""
        lines.append(f"| `{f.name}` | `{PREFIX}{f.name.upper()}` | {shown} | {said.get(f.name, '')} |")
    return "\n".join(lines)


def metrics_page() -> str:
    """docs/reference/metrics.md."""
    lines = [
        "# Metrics", "", "Prometheus, of all processes of one machine, at `/metrics` of the metrics port.", "",
        "| metric | kind | labels | |", "|---|---|---|---|",
    ]  # fmt: skip
    for call in _calls(METRICS):
        texts = [a.value for a in call.args if isinstance(a, ast.Constant)]
        labels = [e.value for a in call.args if isinstance(a, ast.List) for e in a.elts if isinstance(e, ast.Constant)]
        if len(texts) >= 2 and str(texts[0]).startswith("guilder_"):
            kind = call.func.id.lower() if isinstance(call.func, ast.Name) else ""
            lines.append(f"| `{texts[0]}` | {kind} | {', '.join(f'`{x}`' for x in labels)} | {texts[1]} |")
    return "\n".join([*lines[:6], *sorted(lines[6:])])


def _calls(names: set[str]) -> Iterator[ast.Call]:
    for _, module in parsed():
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                yield node


def failpoints_page() -> str:
    """docs/reference/failpoints.md."""
    lines = [
        "# Failpoints", "", "Named places where a test may end or hurt a process, in the environment `test` alone; how they are armed stands in "
        "`guilder/platform/failpoints.py`.", "", "| failpoint | a process that is ended here |", "|---|---|",
    ]  # fmt: skip
    return "\n".join([*lines, *(f"| `{name}` | {means} |" for name, means in failpoints.NAMES.items())])


def events_page() -> str:
    """docs/reference/events.md."""
    lines = [
        "# Events", "", "What merchants are told, as webhooks and under `/v1/events`. Each carries the object as it was then; `object_version` has no gaps "
        "per object, so a receiver can sort by it.", "", "| event | said when | `data.object` |", "|---|---|---|",
    ]  # fmt: skip
    for name in sorted(domains.EVENTS):
        lines.append(f"| `{name}` | {domains.EVENTS[name]} | `{name.rpartition('.')[0]}` |")
    return "\n".join(lines)


def errors_page() -> str:
    """docs/reference/errors.md."""
    lines = [
        "# Errors", "", "Every error that the API answers has Stripe's envelope: `error.type`, `error.code`, `error.message`, and `error.param` where one "
        "parameter is to blame. After `Busy` nothing was done: repeat the call with the same idempotency key. After `Unknown` it may have been done: the same key answers what became of it.",
        "", "| error | status | type | code | default message |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for kind, depth in _family(GuilderError):
        if kind.__module__ == "guilder.core.errors" and kind is not GuilderError:
            code = f"`{kind.code}`" if kind.code else ""
            told = _first(kind.__doc__)
            lines.append(
                f"| {'&nbsp;&nbsp;' * depth}{kind.__name__} | {kind.status} | `{kind.type}` | {code} | {told} |"
            )
    return "\n".join(lines)


def _family(kind: type[GuilderError], depth: int = -1) -> Iterator[tuple[type[GuilderError], int]]:
    yield kind, depth
    for child in sorted(kind.__subclasses__(), key=lambda k: (k.status, k.__name__)):
        yield from _family(child, depth + 1)


def tree() -> str:
    """The packages in layer order and their modules, each with the first sentence of its docstring."""
    order = [
        "app",
        "cashier",
        "notify",
        "reconciliation",
        "trades",
        "payments",
        "merchants",
        "channels",
        "ledger",
        "platform",
        "core",
    ]
    root = SRC / "guilder"
    there = {p.name for p in root.iterdir() if (p / "__init__.py").exists()}
    lines = ["```text", "src/guilder/"]
    for name in [*order, *sorted(there - set(order))]:
        if name in there:
            lines += _folder(root / name, 1)
    return "\n".join([*lines, "```"])


def _folder(folder: Path, depth: int) -> Iterator[str]:
    indent = "    " * depth
    yield f"{indent}{folder.name + '/':<{36 - len(indent)}}{_says(folder / '__init__.py')}"
    for file in sorted(folder.glob("*.py")):
        if file.name != "__init__.py":
            yield f"{indent}    {file.stem:<{32 - len(indent)}}{_says(file)}"
    for inner in sorted(folder.iterdir()):
        if (inner / "__init__.py").exists():
            yield from _folder(inner, depth + 1)


def _says(file: Path) -> str:
    return _first(ast.get_docstring(ast.parse(file.read_text("utf-8"))))


def _first(text: str | None) -> str:
    """The first sentence."""
    paragraph = " ".join((text or "").strip().split("\n\n")[0].split())
    return re.split(r"(?<=\.)\s", paragraph)[0].rstrip(".:")
