"""The readable reference page: rendered once, at start, from the OpenAPI document."""

from typing import Any

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def page(document: dict[str, Any]) -> str:
    """The HTML of `document`."""
    return ""
