"""The tables of the docs: docs/dialect.py, which is no part of a package, and the pages that it makes."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from guilder.app import domains
from guilder.merchants import keys

ROOT = Path(__file__).parents[2]
ROUTES = {f"{r.method} {r.path}": r for r in domains.ROUTES}
CLOSED = {name: r for name, r in ROUTES.items() if r.scope is not None}
FOR_KEYS = {name: r for name, r in ROUTES.items() if r.scope in keys.SCOPES}  # the rest is for whoever has signed in


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("dialect", ROOT / "docs" / "dialect.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules["dialect"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


dialect = _load()


def held(page: str, made: str) -> None:
    """Compare a page with what is committed; with GUILDER_UPDATE_DOCS write it."""
    file = ROOT / "docs" / "reference" / page
    if os.environ.get("GUILDER_UPDATE_DOCS"):
        file.write_text(made, "utf-8")
    assert file.read_text("utf-8") == made, f"{page} is out of date: GUILDER_UPDATE_DOCS=1 pytest tests/sdk"
