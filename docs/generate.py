"""Make the reference from the code: `./run docs`.  tests/test_reference.py compares what it makes with what is committed.

Everything in docs/reference that says "made by" in its last line comes from here; the tree in docs/architecture.md too.
"""

import asyncio
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from generators import catalogue, listings, lives, permissions, ways
from generators.catalogue import Table

DOCS = Path(__file__).parent
VALUES = "<!-- values: made by ./run docs -->"
TREE = "<!-- tree: made by ./run docs -->"
END = "<!-- end -->"
MADE = "\n\n---\n\n*Made by `./run docs`; change the code, not this page.*\n"


def pages(tables: Iterable[Table]) -> dict[Path, str]:
    """Every generated file and its content."""
    made = {
        "states.md": lives.states_page(),
        "journals.md": lives.journals_page(),
        "events.md": listings.events_page(),
        "errors.md": listings.errors_page(),
        "settings.md": listings.settings_page(),
        "metrics.md": listings.metrics_page(),
        "failpoints.md": listings.failpoints_page(),
        "permissions.md": permissions.page(),
        "ways.md": ways.page(),
    }
    schemas: dict[str, list[Table]] = {}
    for table in tables:
        schemas.setdefault(table.schema, []).append(table)
    for schema, sql in catalogue.sources().items():
        made[f"schema_{schema}.md"] = catalogue.page(schema, schemas[schema], catalogue.words(sql))
    architecture, testing = DOCS / "architecture.md", DOCS / "guide" / "testing.md"
    return {DOCS / "reference" / name: text + MADE for name, text in made.items()} | {
        architecture: between(architecture.read_text("utf-8"), TREE, listings.tree()),
        testing: between(testing.read_text("utf-8"), VALUES, ways.test_values()),
    }


def between(text: str, begin: str, made: str) -> str:
    """`text` with `made` between its markers."""
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(END)
    return f"{before}{begin}\n{made}\n{END}{after}"


def main() -> None:
    """Write what has changed."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with catalogue.databases(Path(folder) / "state") as s:
            made = pages(asyncio.run(catalogue.read(s)))
    for file, text in made.items():
        if not file.exists() or file.read_text("utf-8") != text:
            file.write_text(text, "utf-8")
            sys.stdout.write(f"  · {file.relative_to(DOCS.parent)}\n")


if __name__ == "__main__":
    main()
