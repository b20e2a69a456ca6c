"""Schemas of forms and queries, one property for each name on the wire.

    {"created": {"gte": int}, "types": [text], "metadata": {text: text}}
    ->  created[gte]: int    types[]: [text]    ^metadata\\[...\\]$: text

OpenAPI leaves `deepObject` undefined for nested objects and lists, so tools encode them as they like.  Flat names leave
nothing open.  Of a list of objects only the first element's names are listed; the next are `[1]`, `[2]` and so on.
"""

import re
from dataclasses import dataclass, field
from typing import Any

Schema = dict[str, Any]


@dataclass(slots=True)
class Flat:
    """The names of a form or query, and which of them need which."""

    properties: dict[str, Schema] = field(default_factory=dict)
    patterns: dict[str, Schema] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    dependent: dict[str, list[str]] = field(default_factory=dict)

    def schema(self) -> Schema:
        """As one JSON Schema object."""
        whole: Schema = {"type": "object", "properties": self.properties, "additionalProperties": False}
        if self.patterns:
            whole["patternProperties"] = self.patterns
        if self.required:
            whole["required"] = self.required
        if self.dependent:
            whole["dependentRequired"] = self.dependent
        return whole


def flatten(schema: Schema) -> Flat:
    """The flat names of an object's schema, in which no reference is left."""
    flat = Flat()
    for name, part in schema["properties"].items():
        _add(flat, part, name, name in schema.get("required", ()), [])
    return flat


def _add(flat: Flat, schema: Schema, at: str, needed: bool, context: list[str]) -> None:
    """Add what stands under `at`; `context` is what must be there if anything of it is."""
    shape = _shape(schema)
    match shape.get("type"):
        case "object" if "properties" in shape:
            if not needed:
                context = list(dict.fromkeys([*context, *_needs(shape, at)]))
            for name, part in shape["properties"].items():
                _add(flat, part, f"{at}[{name}]", needed and name in shape.get("required", ()), context)
        case "object":
            names = shape.get("propertyNames", {}).get("pattern", "^[^\\[\\]]+$").strip("^$")
            flat.patterns[f"^{re.escape(at)}\\[{names}\\]$"] = shape["additionalProperties"]
        case "array" if _shape(shape["items"]).get("type") == "object":
            _add(flat, shape["items"], f"{at}[0]", needed, context)
        case "array":
            # A form cannot say "empty list": it is the same as no list, wrong only where one is needed.
            bounds = {"minItems": max(1, shape.get("minItems", 1))} if needed else {}
            bare = {name: value for name, value in shape.items() if name != "minItems" or value > 1}
            _leaf(flat, {**bare, **bounds}, f"{at}[]", needed, context)
        case _:
            _leaf(flat, _unset_by_empty(schema), at, needed, context)


def _leaf(flat: Flat, schema: Schema, name: str, needed: bool, context: list[str]) -> None:
    flat.properties[name] = schema
    if needed:
        flat.required.append(name)
    elif others := [other for other in context if other != name]:
        flat.dependent[name] = others


def _needs(shape: Schema, at: str) -> list[str]:
    """The names that an object cannot do without."""
    found: list[str] = []
    for name in shape.get("required", ()):
        child, below = f"{at}[{name}]", _shape(shape["properties"][name])
        match below.get("type"):
            case "object":
                found += _needs(below, child)
            case "array" if _shape(below["items"]).get("type") == "object":
                found += _needs(_shape(below["items"]), f"{child}[0]")
            case "array":
                found.append(f"{child}[]")
            case _:
                found.append(child)
    return found


def _shape(schema: Schema) -> Schema:
    """The object or list among the options of `schema`, or itself."""
    options = schema.get("anyOf", ())
    return next((o for o in options if o.get("type") in ("object", "array")), schema)


def _unset_by_empty(schema: Schema) -> Schema:
    """A form has no null: an empty text unsets."""
    if "anyOf" not in schema:
        return schema
    return {**schema, "anyOf": [{"const": ""} if o.get("type") == "null" else o for o in schema["anyOf"]]}
