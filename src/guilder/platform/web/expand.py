"""Expand: ids in an answer become the things they name, on request.

    class PaymentIntent(msgspec.Struct):
        latest_charge: Annotated[str, expands("ch")] | None

    Resource("ch", Charge, load_many)           # load_many(call, ids) -> {id: Charge}

`expand[]=latest_charge.customer` goes down the declared fields; `data.latest_charge` does so in each row of a list.  Things
are loaded in batches, one call of `load_many` per level and prefix, however long the list is.  What `load_many` does not
return (deleted, or another merchant's) stays an id.  Four levels at most, as at Stripe; there `data` counts as one.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
from msgspec import Meta
from msgspec import inspect as mi

from guilder.core.check import must
from guilder.core.errors import Invalid
from guilder.platform.web.call import Call
from guilder.platform.web.form import MAX_NAME, echo

MAX_LEVELS = 4
Tree = dict[str, "Tree"]


def expands(*prefixes: str) -> Meta:
    """Mark an id in an answer: it may be expanded into the thing with one of these prefixes."""
    return Meta(extra={"expands": prefixes})


@dataclass(frozen=True, slots=True)
class Resource:
    """How things of one prefix are loaded for `expand`: `load_many(call, ids) -> {id: struct}`, only what the caller may see."""

    prefix: str
    shape: type[msgspec.Struct]
    load_many: Callable[[Call, Sequence[str]], Awaitable[Mapping[str, msgspec.Struct]]]


@dataclass(frozen=True, slots=True)
class Hop:
    """Where a field leads: to ids of these prefixes, or into structs that are part of the answer."""

    prefixes: tuple[str, ...] = ()
    within: tuple[type, ...] = ()


@cache
def hops(shape: Any) -> dict[str, Hop]:
    """The fields of an answer that a path can go through."""
    info = mi.type_info(shape)
    must(isinstance(info, mi.StructType), f"{shape} is no struct")
    found = {f.encode_name: _hop(f.type) for f in info.fields} if isinstance(info, mi.StructType) else {}
    return {name: hop for name, hop in found.items() if hop.prefixes or hop.within}


def _hop(t: mi.Type) -> Hop:
    match t:
        case mi.Metadata():
            marked = tuple((t.extra or {}).get("expands", ()))
            return Hop(prefixes=marked) if marked else _hop(t.type)
        case mi.UnionType():
            parts = [_hop(option) for option in t.types]
            return Hop(tuple(p for h in parts for p in h.prefixes), tuple(w for h in parts for w in h.within))
        case mi.ListType():
            return _hop(t.item_type)
        case mi.StructType():
            return Hop(within=(t.cls,))
    return Hop()


class Expander:
    """Plans paths against the declared answers and fills them in.  Knows every Resource."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        self.resources = tuple(resources)
        self._resources = {r.prefix: r for r in resources}
        must(len(self._resources) == len(resources), "two resources share a prefix")

    def known(self, prefix: str) -> Resource | None:
        """The resource of `prefix`, if there is one."""
        return self._resources.get(prefix)

    def step(self, shapes: Sequence[Any], name: str) -> tuple[bool, tuple[type, ...]] | None:
        """Whether `name` is an id to expand, and the structs behind it; None if no path goes there."""
        found = [hop for shape in shapes if (hop := hops(shape).get(name))]
        loaded = [r.shape for hop in found for p in hop.prefixes if (r := self._resources.get(p))]
        within = [shape for hop in found for shape in hop.within]
        return (bool(loaded), (*loaded, *within)) if loaded or within else None

    def plan(self, answer: Any, paths: Sequence[str]) -> Tree:
        """The tree of `paths`.  Invalid if one of them leads nowhere in `answer`."""
        tree: Tree = {}
        for path in paths:
            parts = path.split(".")
            if len(parts) > MAX_LEVELS:
                raise Invalid(
                    f"You cannot expand more than {MAX_LEVELS} levels of a property. Property: {echo(path, MAX_NAME)}",
                    param="expand",
                )
            shapes: tuple[Any, ...] = (answer,)
            expandable, node = False, tree
            for part in parts:
                step = self.step(shapes, part)
                if step is None:
                    raise Invalid(f"This property cannot be expanded ({echo(path, MAX_NAME)}).", param="expand")
                expandable, shapes = step
                node = node.setdefault(part, {})
            if not expandable:
                raise Invalid(f"This property cannot be expanded ({echo(path, MAX_NAME)}).", param="expand")
        return tree

    async def fill(self, call: Call, answer: dict[str, Any], tree: Tree) -> bool:
        """Replace in place what `tree` names and is still an id; whether anything was."""
        changed = False
        level: list[tuple[dict[str, Any], Tree]] = [(answer, tree)]
        while level:
            places = _places(level)
            wanted: dict[str, dict[str, None]] = {}
            for holder, at, _ in places:
                id = holder[at]
                wanted.setdefault(id.partition("_")[0], {})[id] = None
            loaded: dict[str, msgspec.Struct] = {}
            for prefix, ids in wanted.items():
                if resource := self._resources.get(prefix):
                    loaded.update(await resource.load_many(call, list(ids)))
            level = []
            for holder, at, below in places:
                if (thing := loaded.get(holder[at])) is not None:
                    holder[at] = plain = msgspec.to_builtins(thing)
                    changed = True
                    if below:
                        level.append((plain, below))
        return changed


def _places(level: list[tuple[dict[str, Any], Tree]]) -> list[tuple[Any, Any, Tree]]:
    """Where the ids of one level stand: (holder, key or index, what to expand in the thing itself)."""
    places: list[tuple[Any, Any, Tree]] = []
    waiting: list[tuple[Any, Any, Tree]] = [
        (holder, name, below) for holder, tree in level for name, below in tree.items()
    ]
    for holder, at, below in waiting:  # grows while it is walked
        value = holder[at] if isinstance(holder, list) else holder.get(at)
        if isinstance(value, str):
            places.append((holder, at, below))
        elif isinstance(value, dict):
            waiting.extend((value, name, under) for name, under in below.items())
        elif isinstance(value, list):
            waiting.extend((value, i, below) for i in range(len(value)))
    return places
