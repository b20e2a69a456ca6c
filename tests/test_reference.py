"""The reference is what the code says; links in the documentation lead somewhere."""

import asyncio
import re
from pathlib import Path

import generate
import pytest
from generators import catalogue

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_the_generated_reference_is_current(tmp_path: Path) -> None:
    with catalogue.databases(tmp_path / "state") as s:
        made = generate.pages(asyncio.run(catalogue.read(s)))

    old = [f.relative_to(ROOT).as_posix() for f, text in made.items() if not f.exists() or f.read_text("utf-8") != text]
    assert old == [], "run ./run docs and commit what it writes"
    stray = {f for f in (ROOT / "docs" / "reference").glob("schema_*.md") if f not in made}
    assert stray == set(), "pages of schemas that are no more"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"(?:\]\(|src=\")([^)#\s\"]+)", page.read_text("utf-8"))
    local = [t for t in targets if "://" not in t and not t.startswith("mailto:")]
    assert [t for t in local if not (page.parent / t).exists()] == []
