"""The OpenAPI 3.1 document, made of the same declarations that the server reads and writes by.

What msgspec's schemas do not say is added here: `expand` with the paths that lead somewhere, ids that may be whole things in
an answer, texts without NUL, the names in forms and queries (`brackets.py`), and every status that the layer can answer.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from guilder.core.ids import ALPHABET, LENGTH
from guilder.platform.web.answer import ErrorEnvelope
from guilder.platform.web.brackets import flatten
from guilder.platform.web.call import VERSION
from guilder.platform.web.expand import MAX_LEVELS, Expander, hops
from guilder.platform.web.params import Params
from guilder.platform.web.route import Route

Schema = dict[str, Any]
REF = "#/components/schemas/"

STATUSES = {
    400: "A parameter is missing or wrong, or the thing is not in a state for this.",
    401: "No valid API key was sent, or what was to prove who you are is wrong.",
    402: "The payer's way of paying was declined.",
    403: "The key may not do this.",
    404: "No such thing.",
    408: "The request body did not arrive in time.",
    409: "The first request with this idempotency key is still running, or another change is; try again.",
    413: "The request body is larger than this call takes: 256 kB, of attachments more.",
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
            "parameters": {"Idempotency-Key": _IDEMPOTENCY_KEY},
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


_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Makes the call safe to repeat: with one key it is done once, and every repetition gets the same answer.",
    "schema": {"type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},
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
                **components.links(r),
            },
            **{str(s): {"$ref": f"#/components/responses/{s}"} for s in STATUSES if _occurs(s, r)},
        },
    }
    if r.scope is None:
        operation["security"] = []
    else:
        operation["x-scope"] = r.scope
    if r.method == "POST":
        # Not among `parameters`: no schema can say that one key goes with one body, and tools that make keys up repeat them.
        operation["x-headers"] = [{"$ref": "#/components/parameters/Idempotency-Key"}]
        operation["requestBody"] = _body(r, expand, components)
    return operation


def _occurs(status: int, r: Route) -> bool:
    if status in _POST_ONLY:
        return r.method == "POST"
    if status == 401 and r.scope is None:
        return r.method == "POST"  # signing in
    return status not in _KEYED or r.scope is not None


def _query(params: Schema, expand: Schema | None, components: "_Components") -> list[Schema]:
    """One parameter for each name on the wire; lists are repeated as `name[]`."""
    flat = flatten(components.whole(params, expand))
    return [
        {
            "name": name,
            "in": "query",
            "required": name in flat.required,
            "style": "form",
            "explode": True,
            "schema": schema,
        }
        for name, schema in flat.properties.items()
    ]


def _body(r: Route, expand: Schema | None, components: "_Components") -> Schema:
    whole = components.whole(components.params(r.body or Params), expand)
    name = "".join(part.capitalize() for part in r.operation_id.split("_"))
    components.schemas[name + "Params"] = {**whole, "title": name + "Params"}
    components.schemas[name + "Form"] = {**flatten(whole).schema(), "title": name + "Form"}
    return {
        "required": bool(whole["required"]),
        "content": {
            "application/x-www-form-urlencoded": {"schema": {"$ref": f"{REF}{name}Form"}},
            "application/json": {"schema": {"$ref": f"{REF}{name}Params"}},
        },
    }


class _Components:
    """The schemas of all answers and parameters, each under its name."""

    def __init__(self, routes: Sequence[Route], expander: Expander) -> None:
        self._expander = expander
        self._routes = routes
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
        self._nested = read_schemas
        self.schemas: dict[str, Schema] = answer_schemas

    def answer(self, kind: Any) -> Schema:
        """A reference to the schema of an answer."""
        return self._answers[id(kind)]

    def params(self, kind: Any) -> Schema:
        """The schema of parameters, as an object."""
        return self._params[id(kind)]

    def whole(self, params: Schema, expand: Schema | None) -> Schema:
        """Parameters with nothing left to look up, and `expand` among them if the answer has anything to expand."""
        properties = {name: _inline(schema, self._nested) for name, schema in params["properties"].items()}
        if expand:
            properties["expand"] = expand
        return {
            "type": "object",
            "properties": properties,
            "required": params.get("required", []),
            "additionalProperties": False,
        }

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

    def links(self, r: Route) -> Schema:
        """From what makes a thing to what can be done with it, by the thing's prefix.  Not to DELETE: the dialect still shows
        what was deleted, which tools that follow links take for a mistake."""
        made = [x.prefix for x in self._expander.resources if x.shape is r.answer]
        if r.method != "POST" or r.prefixes or not made:
            return {}
        found = {}
        for other in self._routes:
            if other.method != "DELETE" and list(other.prefixes.values()) == made:
                (name,) = other.prefixes
                found[other.operation_id] = {
                    "operationId": other.operation_id,
                    "parameters": {name: "$response.body#/id"},
                }
        return {"links": found} if found else {}

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


def _inline(node: Any, schemas: dict[str, Schema]) -> Any:
    """A copy of `node` with its references replaced by what they name."""
    if isinstance(node, dict):
        if (ref := node.get("$ref")) is not None:
            return _inline(schemas[ref.removeprefix(REF)], schemas)
        return {name: _inline(part, schemas) for name, part in node.items()}
    return [_inline(part, schemas) for part in node] if isinstance(node, list) else node


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
