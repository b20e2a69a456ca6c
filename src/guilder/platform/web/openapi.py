"""The OpenAPI 3.1 document, made of the same declarations that the server reads and writes by.

What msgspec's schemas do not say is added here: `expand` with the paths that lead somewhere, ids that may be whole things in
an answer, texts without NUL, brackets in forms and queries (deepObject), and every status that the layer can answer.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from guilder.core.ids import ALPHABET, LENGTH
from guilder.platform.web.answer import ErrorEnvelope
from guilder.platform.web.call import VERSION
from guilder.platform.web.expand import MAX_LEVELS, Expander, hops
from guilder.platform.web.params import Params
from guilder.platform.web.route import Route

Schema = dict[str, Any]
REF = "#/components/schemas/"

STATUSES = {
    400: "A parameter is missing or wrong, or the thing is not in a state for this.",
    401: "No valid API key was sent.",
    402: "The payer's way of paying was declined.",
    403: "The key may not do this.",
    404: "No such thing.",
    408: "The request body did not arrive in time.",
    409: "The first request with this idempotency key is still running, or another change is; try again.",
    413: "The request body is larger than 256 kB.",
    415: "The body is neither a form nor JSON.",
    429: "Too many requests; slow down.",
    431: "The request's headers are larger than 64 kB.",
    500: "Something failed on our side. Ask again with the same idempotency key.",
    503: "Too busy; nothing was done. Try again with the same idempotency key.",
}
_POST_ONLY = {402, 408, 409, 413, 415}
_KEYED = {401, 403}


def document(routes: Sequence[Route], expander: Expander, *, title: str, release: str, description: str) -> Schema:
    """The document of `routes`, as plain data."""
    components = _Components(routes, expander)
    paths: dict[str, Schema] = {}
    for r in routes:
        paths.setdefault(r.path, {})[r.method.lower()] = _operation(r, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": release, "description": description, "x-stripe-version": VERSION},
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"basic": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(r.tag for r in routes)],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.schemas.items())),
            "responses": {
                str(status): {
                    "description": text,
                    "headers": _HEADERS,
                    "content": {"application/json": {"schema": {"$ref": REF + "ErrorEnvelope"}}},
                }
                for status, text in STATUSES.items()
            },
            "headers": {
                "Request-Id": {
                    "description": "Names this request in our logs.",
                    "required": True,
                    "schema": {"type": "string"},
                }
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer sk_test_..."},
                "basic": {"type": "http", "scheme": "basic", "description": "The key as user name, no password."},
            },
        },
    }


_HEADERS = {"Request-Id": {"$ref": "#/components/headers/Request-Id"}}


def _operation(r: Route, components: "_Components") -> Schema:
    expand = components.expand(r)
    parameters: list[Schema] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {
                "type": "string",
                "pattern": f"^{prefix}_[{ALPHABET}]{{{LENGTH}}}$" if prefix else "^[^/\\x00]+$",
            },
        }
        for name, prefix in r.prefixes.items()
    ]
    if r.method != "POST":
        parameters += _query(components.params(r.query or Params), expand, components)
    operation: Schema = {
        "operationId": r.operation_id,
        "summary": r.summary,
        "description": r.description,
        "tags": [r.tag],
        "parameters": parameters,
        "responses": {
            "200": {
                "description": "Done.",
                "headers": _HEADERS,
                "content": {"application/json": {"schema": components.answer(r.answer)}},
            },
            **{str(s): {"$ref": f"#/components/responses/{s}"} for s in STATUSES if _occurs(s, r)},
        },
    }
    if r.scope is None:
        operation["security"] = []
    else:
        operation["x-scope"] = r.scope
    if r.method == "POST":
        operation["requestBody"] = _body(r, expand, components)
    return operation


def _occurs(status: int, r: Route) -> bool:
    if status in _POST_ONLY:
        return r.method == "POST"
    return status not in _KEYED or r.scope is not None


def _query(params: Schema, expand: Schema | None, components: "_Components") -> list[Schema]:
    """One parameter for each property; objects are spread into brackets, lists are repeated as `name[]`."""
    found = []
    for name, schema in params["properties"].items():
        required = name in params.get("required", ())
        shape = components.shape(schema)
        if shape.get("type") == "object":
            found.append(
                {
                    "name": name,
                    "in": "query",
                    "required": required,
                    "style": "deepObject",
                    "explode": True,
                    "schema": shape,
                }
            )
        elif shape.get("type") == "array":
            found.append(
                {
                    "name": f"{name}[]",
                    "in": "query",
                    "required": required,
                    "style": "form",
                    "explode": True,
                    "schema": shape,
                }
            )
        else:
            found.append({"name": name, "in": "query", "required": required, "schema": shape})
    if expand:
        found.append(
            {"name": "expand[]", "in": "query", "required": False, "style": "form", "explode": True, "schema": expand}
        )
    return found


def _body(r: Route, expand: Schema | None, components: "_Components") -> Schema:
    params = components.params(r.body or Params)
    properties = {**params["properties"], **({"expand": expand} if expand else {})}
    required = params.get("required", [])
    name = "".join(part.capitalize() for part in r.operation_id.split("_")) + "Params"
    components.schemas[name] = {
        "type": "object",
        "title": name,
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    nested = [n for n, schema in properties.items() if components.shape(schema).get("type") in ("object", "array")]
    return {
        "required": bool(required),
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {"$ref": REF + name},
                "encoding": {n: {"style": "deepObject", "explode": True} for n in nested},
            },
            "application/json": {"schema": {"$ref": REF + name}},
        },
    }


class _Components:
    """The schemas of all answers and parameters, each under its name."""

    def __init__(self, routes: Sequence[Route], expander: Expander) -> None:
        self._expander = expander
        answers = [r.answer for r in routes]
        things = [resource.shape for resource in expander.resources]
        kinds: list[Any] = [Params, *(kind for r in routes for kind in (r.body, r.query) if kind is not None)]
        answered, answer_schemas = _schemas([*answers, *things, ErrorEnvelope])
        read, read_schemas = _schemas(kinds)
        self._answers = dict(zip(map(id, answers), answered, strict=False))
        self._params = {
            id(kind): read_schemas[ref["$ref"].removeprefix(REF)] for kind, ref in zip(kinds, read, strict=True)
        }
        for schema in read_schemas.values():
            _forbid_nul(schema)
        for shape in _reachable([*answers, *things], expander):
            self._mark(shape, answer_schemas)
        nested = {name: s for name, s in read_schemas.items() if all(s is not own for own in self._params.values())}
        self.schemas: dict[str, Schema] = {**answer_schemas, **nested}

    def answer(self, kind: Any) -> Schema:
        """A reference to the schema of an answer."""
        return self._answers[id(kind)]

    def params(self, kind: Any) -> Schema:
        """The schema of parameters, as an object."""
        return self._params[id(kind)]

    def shape(self, schema: Schema) -> Schema:
        """What `schema` looks like in brackets: the object or list among its options, or itself."""
        if "$ref" in schema:
            return self.schemas.get(schema["$ref"].removeprefix(REF), schema)
        options = [self.shape(option) for option in schema.get("anyOf", ())]
        return next((o for o in options if o.get("type") in ("object", "array")), schema)

    def expand(self, r: Route) -> Schema | None:
        """The schema of `expand` for an answer; None where nothing can be expanded."""
        pattern = self._pattern((r.answer,), MAX_LEVELS)
        if pattern is None:
            return None
        return {
            "type": "array",
            "items": {"type": "string", "pattern": f"^{pattern}$"},
            "maxItems": 20,
            "description": "Fields of the answer to expand from ids into things.",
        }

    def _pattern(self, shapes: Sequence[Any], levels: int) -> str | None:
        if levels == 0:
            return None
        options = []
        for name in dict.fromkeys(name for shape in shapes for name in hops(shape)):
            if step := self._expander.step(shapes, name):
                expandable, behind = step
                below = self._pattern(behind, levels - 1)
                if expandable:
                    options.append(f"{name}(\\.{below})?" if below else name)
                elif below:
                    options.append(f"{name}\\.{below}")
        return f"({'|'.join(options)})" if options else None

    def _mark(self, shape: Any, schemas: dict[str, Schema]) -> None:
        """Let the expandable ids of `shape` be whole things as well."""
        schema = schemas.get(getattr(shape, "__name__", ""))
        for name, hop in hops(shape).items():
            behind = [r.shape.__name__ for p in hop.prefixes if (r := self._expander.known(p))]
            if schema is not None and behind:
                held = schema["properties"][name]
                options = [*held.pop("anyOf", [dict(held)]), *({"$ref": REF + thing} for thing in behind)]
                schema["properties"][name] = {"anyOf": options, "description": "Expandable.", "x-expandable": True}


def _schemas(kinds: Sequence[Any]) -> tuple[list[Schema], dict[str, Schema]]:
    """msgspec's schemas of `kinds`; a Listing[Charge] is called ChargeList."""
    refs, schemas = msgspec.json.schema_components(kinds, ref_template=REF + "{name}")
    named = {name: re.sub(r"^Listing_(\w+)_$", r"\1List", name) for name in schemas}

    def rename(node: Schema) -> None:
        if (ref := node.get("$ref")) is not None:
            node["$ref"] = REF + named[ref.removeprefix(REF)]

    for ref in refs:
        rename(ref)
    for name, schema in schemas.items():
        schema["title"] = named[name]
        _walk(schema, rename)
    return list(refs), {named[name]: schema for name, schema in schemas.items()}


def _walk(node: Any, visit: Callable[[Schema], None]) -> None:
    if isinstance(node, dict):
        visit(node)
        for part in list(node.values()):
            _walk(part, visit)
    elif isinstance(node, list):
        for part in node:
            _walk(part, visit)


def _forbid_nul(schema: Schema) -> None:
    """No text that is read may hold NUL; PostgreSQL could not store it."""

    def visit(node: Schema) -> None:
        if node.get("type") == "string" and "pattern" not in node and "enum" not in node:
            node["pattern"] = "^[^\\x00]*$"

    _walk(schema, visit)


def _reachable(start: Sequence[Any], expander: Expander) -> list[Any]:
    """Every struct that an expansion can come by."""
    seen: list[Any] = []
    waiting = list(start)
    while waiting:
        shape = waiting.pop()
        if shape not in seen:
            seen.append(shape)
            for name in hops(shape):
                if step := expander.step((shape,), name):
                    waiting.extend(step[1])
    return seen
