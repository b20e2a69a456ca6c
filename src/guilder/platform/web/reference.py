"""The readable reference page: rendered once, at start, from the OpenAPI document.  It works without scripts and loads nothing."""

import base64
import hashlib
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

Schema = dict[str, Any]

_STYLE = (files("guilder.platform.web") / "pages" / "reference.css").read_text("utf-8")
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
MAX_CHOICES = 8  # of an enumeration, before the rest is left to the document


def page(document: Schema) -> str:
    """The HTML of `document`."""
    env = Environment(
        loader=PackageLoader("guilder.platform.web", "pages"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    groups: dict[str, list[Schema]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups[operation["tags"][0]].append(_operation(document, path, method.upper(), operation))
    things = {name: list(_rows(schema)) for name, schema in _things(document)}
    errors = {status: answer["description"] for status, answer in document["components"]["responses"].items()}
    template = env.get_template("reference.html")
    return template.render(style=_STYLE, info=document["info"], groups=groups, things=things, errors=errors)


def _operation(document: Schema, path: str, method: str, operation: Schema) -> Schema:
    schemas = document["components"]["schemas"]
    ids = [p for p in operation["parameters"] if p["in"] == "path"]
    query = {p["name"]: p["schema"] for p in operation["parameters"] if p["in"] == "query"}
    form: Schema = {"properties": query, "required": []}
    if body := operation.get("requestBody"):
        form = schemas[_name(body["content"]["application/x-www-form-urlencoded"]["schema"])]
    return {
        "id": operation["operationId"],
        "method": method,
        "path": path,
        "summary": operation["summary"],
        "text": operation["description"],
        "scope": operation.get("x-scope"),
        "ids": ids,
        "rows": list(_rows(form)),
        "answer": _name(operation["responses"]["200"]["content"]["application/json"]["schema"]),
        "errors": [status for status in operation["responses"] if status != "200"],
        "example": _example(method, path, form),
    }


def _things(document: Schema) -> Iterator[tuple[str, Schema]]:
    """The schemas of answers: everything but the parameters, which stand with their calls."""
    for name, schema in document["components"]["schemas"].items():
        if schema.get("additionalProperties") is not False and "properties" in schema:
            yield name, schema


def _name(ref: Schema) -> str:
    return str(ref.get("$ref", "")).rpartition("/")[2]


def _rows(schema: Schema) -> Iterator[Schema]:
    """One row for each name: what it is called, what it takes, whether it is needed, what it is for."""
    required = schema.get("required", [])
    for name, part in schema.get("properties", {}).items():
        kind, things = _kind(part)
        yield {
            "name": name,
            "kind": kind,
            "things": things,
            "needed": name in required,
            "text": part.get("description", ""),
            "default": part.get("default"),
        }
    for pattern, part in schema.get("patternProperties", {}).items():
        name = re.sub(r"\\(.)", r"\1", pattern.strip("^$")).partition("[")[0] + "[key]"
        yield {"name": name, "kind": _kind(part)[0], "things": [], "needed": False, "text": "", "default": None}


def _kind(schema: Schema) -> tuple[str, list[str]]:
    """What `schema` takes, in words, and the things that it may be."""
    if "$ref" in schema:
        return "", [_name(schema)]
    if options := schema.get("anyOf"):
        parts = [_kind(option) for option in options]
        words = dict.fromkeys(word for word, _ in parts if word)
        return " or ".join(words), [thing for _, things in parts for thing in things]
    if "const" in schema:
        return ("empty to unset" if schema["const"] == "" else str(schema["const"])), []
    if choices := schema.get("enum"):
        return _choices([str(c) for c in choices]), []
    if (pattern := schema.get("pattern", "")) and re.fullmatch(r"\^\([\w|]+\)\$", pattern):
        return _choices(pattern[2:-2].split("|")), []
    return _plain(schema)


def _plain(schema: Schema) -> tuple[str, list[str]]:
    match schema.get("type"):
        case "integer":
            low, high = schema.get("minimum"), schema.get("maximum")
            bounds = f" {low if low is not None else ''}…{high if high is not None else ''}"
            return "integer" + (bounds if low is not None or high is not None else ""), []
        case "string":
            return "text" + (f", at most {schema['maxLength']}" if "maxLength" in schema else ""), []
        case "array":
            kind, things = _kind(schema.get("items", {}))
            return f"list of {kind}" if kind else "list of", things
        case "object":
            return "map", []
    return str(schema.get("type", "anything")), []


def _choices(names: list[str]) -> str:
    shown = names if len(names) <= MAX_CHOICES else [*names[:MAX_CHOICES], "…"]
    return ("one of " if len(names) > 1 else "") + ", ".join(shown)


def _example(method: str, path: str, form: Schema) -> str:
    """A call with what it cannot do without."""
    words = [f"curl https://api.example.com{path}", "-u sk_test_...:"]
    if method == "DELETE":
        words.append("-X DELETE")
    needed = [name for name in form.get("required", []) if name in form["properties"]]
    words += [f'-d "{name}={_sample(form["properties"][name])}"' for name in needed]
    if method == "POST" and not needed:
        words.append("-X POST")
    return " \\\n  ".join(words)


def _sample(schema: Schema) -> str:
    if examples := schema.get("examples"):
        return str(examples[0])
    if "enum" in schema:
        return str(schema["enum"][0])
    return str(schema.get("minimum", "...")) if schema.get("type") == "integer" else "..."
