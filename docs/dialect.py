"""The two tables of the dialect: which calls behave, and what becomes of every parameter and field that the pinned SDK types.

    calls_page(rows, behaviours)     from what the conversations in tests/sdk and tests/sdk_node reported
    parameters_page(calls, seen)     the SDK's types on one side, our declarations and the answers seen on the other

Both are written by `GUILDER_UPDATE_DOCS=1 pytest tests/sdk/test_sdk_calls.py` and compared by the same test otherwise.  `holes` are
what no table may have: a parameter that we neither take nor refuse by name, a field the SDK promises and we leave out.
"""

import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import msgspec
import stripe
from msgspec import inspect as mi

from guilder.platform.web import Route

MADE = (
    "\n\n---\n\n*Made by the conversations: `GUILDER_UPDATE_DOCS=1 pytest tests/sdk/test_sdk_calls.py`; change the code, "
    "not this page.*\n"
)
NOTES = {"capture_method": "`manual` where the way can hold money; refused by those that collect at once"}
KEPT = frozenset(
    {
        "address", "billing_details", "cancellation_reason", "client_reference_id", "customer_email", "description", "email",
        "images", "integration_identifier", "metadata", "name", "origin_context", "phone", "preferred_locales", "reason",
        "receipt_email", "shipping", "statement_descriptor", "statement_descriptor_suffix", "unit_label",
    }
)  # fmt: skip
SHOWN = frozenset({"line_items", "payment_intent_data"})  # what is under these is shown to the payer, or acted on
# What the SDK promises and we leave null, and why.
BROKEN = {
    "payment_intent.next_action.wechat_pay_display_qr_code.image_data_url": "drawing a code takes longer than the whole rest of "
    "a confirmation; `image_url_svg` and `image_url_png` draw it when somebody looks, and `data` is what it says.",
    "charge.payment_method_details.card.exp_month": "the channel keeps the card; what it tells of it is not kept here.",
    "charge.payment_method_details.card.exp_year": "as the month.",
    "payout.source_type": "a balance here is one, whatever it was collected by.",
}
OPTIONS = frozenset(stripe.RequestOptions.__annotations__)
NO_OPTION = frozenset({"content_type", "headers"})


@dataclass(frozen=True)
class Said:
    """What becomes of one parameter."""

    name: str  # in brackets, as on the wire
    fate: str  # 'honoured', 'stored and echoed', 'refused', 'hole', 'ours'
    note: str = ""


@dataclass
class Seen:
    """The answers of the conversations: for each kind of thing its fields, and whether one ever had a value."""

    fields: dict[str, dict[str, bool]] = field(default_factory=dict)

    def look(self, thing: Any) -> None:
        """Take in an answer, and every thing inside it."""
        if isinstance(thing, list):
            for part in thing:
                self.look(part)
        elif isinstance(thing, dict):
            if isinstance(thing.get("object"), str) and not thing.get("deleted"):
                self._fields(thing["object"], thing)
            for part in thing.values():
                self.look(part)

    def _fields(self, at: str, thing: dict[str, Any]) -> None:
        known = self.fields.setdefault(at, {})
        for name, value in thing.items():
            known[name] = known.get(name, False) or value is not None
            if isinstance(value, dict) and not isinstance(value.get("object"), str):
                self._fields(f"{at}.{name}", value)


# ------------------------------------------------------------------------------------------------ calls


def calls_page(calls: Sequence[tuple[str, str, str, str, str, str]], behaviours: Sequence[tuple[str, str, str]]) -> str:
    """(route, call in Python, its result, call in Node, its result, what it shows) and (behaviour, Python, Node) as a page."""
    node = "23.1.0"
    lines = [
        "# The dialect: calls that behave",
        "",
        f"The official SDKs, unmodified: `stripe` {stripe.VERSION} for Python and `stripe` {node} for Node, each pointed at a running "
        "installation. Every row is a conversation that is held anew by each test run, in both languages.",
        "",
        "| call | Python | | Node | | what the conversation shows |",
        "|---|---|---|---|---|---|",
        *(f"| `{r}` | `{p}` | {_tick(pr)} | `{n}` | {_tick(nr)} | {shows} |" for r, p, pr, n, nr, shows in calls),
        "",
        "| behaviour | Python | Node |",
        "|---|---|---|",
        *(f"| {name} | {_tick(python)} | {_tick(node)} |" for name, python, node in behaviours),
    ]
    return "\n".join(lines) + MADE


def _tick(result: str) -> str:
    return "✓" if result == "ok" else "✗"


# ------------------------------------------------------------------------------------------------ parameters


def method(name: str) -> Any:
    """The SDK's method of a call: `payment_intents.create`."""
    found: Any = stripe.StripeClient("sk_test_none").v1
    for part in name.split("."):
        found = getattr(found, part)
    return found


def params_of(name: str) -> type | None:
    """The SDK's type of a call's parameters."""
    annotation = re.search(r"\w+Params", str(method(name).__annotations__.get("params", "")))
    if annotation is None:
        return None
    home = stripe.params.checkout if name.startswith("checkout.") else stripe.params
    return getattr(home, annotation[0])


def parameters(name: str, route: Route) -> Iterator[Said]:
    """What becomes of each parameter of a call, in the SDK's order; then what we take beside."""
    sdk = params_of(name)
    kind = route.body or route.query
    if sdk is not None:
        yield from _walk(sdk, kind, "", OPTIONS | NO_OPTION)


def _walk(sdk: type, ours: Any, at: str, without: frozenset[str] = frozenset()) -> Iterator[Said]:
    refused: Mapping[str, Any] = getattr(ours, "REFUSED", {})
    taken = {f.encode_name: f for f in msgspec.structs.fields(ours)} if ours else {}
    typed = {n: a for n, a in sdk.__annotations__.items() if n not in without}
    for name, annotation in typed.items():
        shown = f"{at}[{name}]" if at else name
        if name == "expand" and not at:
            yield Said(shown, "honoured", "where the answer has something to expand")
        elif name in refused:
            why = refused[name]
            yield Said(shown, "refused", why if isinstance(why, str) else f"{why[1]} (`{why[0]}`)")
        elif name in taken:
            kind, listed = _struct(taken[name].type)
            below = _nested(sdk, annotation) if kind else None
            yield Said(shown, _fate(shown), NOTES.get(name) or _values(annotation, taken[name].type))
            if kind and below:
                yield from _walk(below, kind, shown + ("[]" if listed else ""))
        else:
            yield Said(shown, "hole")
    yield from (Said(f"{at}[{n}]" if at else n, "ours") for n in taken if n not in typed)


def _fate(shown: str) -> str:
    parts = re.findall(r"\w+", shown)
    kept = bool(KEPT & set(parts)) and parts[0] not in SHOWN
    return "stored and echoed" if kept else "honoured"


def _nested(sdk: type, annotation: Any) -> type | None:
    """The TypedDict of the SDK inside an annotation."""
    module = sys.modules[sdk.__module__]
    for word in re.findall(r"\w*Params\w+", str(annotation)):
        if isinstance(found := getattr(module, word, None), type):
            return found
    return None


def _struct(annotation: Any) -> tuple[type | None, bool]:
    """The Params inside our annotation, and whether it is one of a list."""

    def find(t: mi.Type, listed: bool) -> tuple[type | None, bool]:
        match t:
            case mi.Metadata():
                return find(t.type, listed)
            case mi.UnionType():
                return next((f for o in t.types if (f := find(o, listed))[0]), (None, False))
            case mi.ListType():
                return find(t.item_type, True)
            case mi.StructType():
                return t.cls, listed
        return None, False

    return find(mi.type_info(annotation), False)


def _texts(t: mi.Type) -> tuple[str, ...]:
    match t:
        case mi.Metadata():
            return _texts(t.type)
        case mi.UnionType():
            return tuple(x for o in t.types for x in _texts(o))
        case mi.ListType():
            return _texts(t.item_type)
        case mi.LiteralType():
            return tuple(str(v) for v in t.values)
    return ()


def _values(theirs: Any, annotation: Any) -> str:
    """Which of the SDK's values we take, if not all of them."""
    ours = _texts(mi.type_info(annotation))
    others = set(re.findall(r"'([a-z0-9_.-]+)'", str(theirs))) - set(ours)
    return "one of " + ", ".join(f"`{v}`" for v in ours) if ours and others else ""


# ------------------------------------------------------------------------------------------------ fields


def resources() -> dict[str, type]:
    """The SDK's types of the things that these calls answer with."""
    things = (stripe.PaymentIntent, stripe.Charge, stripe.Refund, stripe.Customer, stripe.PaymentMethod, stripe.checkout.Session,
              stripe.LineItem, stripe.Event, stripe.WebhookEndpoint, stripe.Payout, stripe.Dispute)  # fmt: skip
    return {thing.OBJECT_NAME: thing for thing in things}


def fields(at: str, typed: type, seen: Seen) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """For a thing, and each hash inside it: its fields by what becomes of them."""
    known = seen.fields.get(at, {})
    fates: dict[str, list[str]] = {"filled": [], "always null": [], "left out": [], "hole": [], "ours": []}
    below: list[tuple[str, type]] = []
    for name, annotation in typed.__annotations__.items():
        if name == "OBJECT_NAME":
            continue
        if known.get(name):
            fates["filled"].append(name)
            if (inner := _inner(annotation)) and f"{at}.{name}" in seen.fields:
                below.append((f"{at}.{name}", inner))
        elif (
            f"{at}.{name}" in BROKEN
            or "None" in str(annotation)
            or "NotRequired" in str(annotation)
            or "Optional" in str(annotation)
        ):
            fates["always null" if name in known else "left out"].append(name)
        else:
            fates["hole"].append(name)
    fates["ours"] = [n for n in known if n not in typed.__annotations__ and n != "deleted"]
    yield at, fates
    for place, inner in below:
        yield from fields(place, inner, seen)


def _inner(annotation: Any) -> type | None:
    """A hash of the SDK's that is part of a thing, and no thing of its own."""
    for option in (annotation, *get_args(annotation)):
        if inspect.isclass(option) and issubclass(option, stripe.StripeObject) and not hasattr(option, "OBJECT_NAME"):
            return option if option.__annotations__ else None
    return None


# ------------------------------------------------------------------------------------------------ the page


def holes(calls: Mapping[str, Route], seen: Seen) -> list[str]:
    """What may not be: parameters taken and refused by nobody, fields that the SDK promises and no answer has."""
    params = [f"{name}: {s.name}" for name, route in calls.items() for s in parameters(name, route) if s.fate == "hole"]
    missing = [
        f"{at}.{name}"
        for kind, typed in resources().items()
        for at, fates in fields(kind, typed, seen)
        for name in fates["hole"]
    ]
    return params + missing


def parameters_page(calls: Mapping[str, Route], seen: Seen) -> str:
    """The page of parameters and fields."""
    lines = [
        "# The dialect: parameters and fields",
        "",
        f"Everything that `stripe` {stripe.VERSION} types for the calls that Guilder has. A parameter is honoured, stored and "
        "echoed, or refused by name with the reason (400, `parameter_unsupported`, `param`); none is ignored. A field is filled "
        "(seen with a value in the conversations), always null, or left out where the SDK's own type says that it may be.",
        "",
        "## Parameters",
    ]
    for name, route in calls.items():
        lines += ["", f"### `{name}`", "", f"`{route.method} {route.path}`", "", *_table(list(parameters(name, route)))]
    lines += ["", "## Fields"]
    for kind, typed in resources().items():
        lines += [
            "",
            f"### `{kind}`",
            "",
            "| hash | filled | always null | left out | Guilder's own |",
            "|---|---|---|---|---|",
        ]
        for at, fates in fields(kind, typed, seen):
            cells = (_names(fates[fate]) for fate in ("filled", "always null", "left out", "ours"))
            lines.append(f"| `{at}` | {' | '.join(cells)} |")
    lines += [
        "",
        "Null although the SDK's type promises a value:",
        "",
        *(f"* `{at}`: {why}" for at, why in BROKEN.items()),
    ]
    return "\n".join(lines) + MADE


def _table(said: Sequence[Said]) -> Iterator[str]:
    """One row for what is taken; those refused for one reason share a row."""
    if not said:
        yield "It takes no parameters."
        return
    yield "| parameter | | |"
    yield "|---|---|---|"
    refused: dict[str, list[str]] = {}
    for s in said:
        if s.fate == "refused":
            refused.setdefault(s.note, []).append(s.name)
        else:
            yield f"| `{s.name}` | {'Guilder’s own' if s.fate == 'ours' else s.fate} | {s.note} |"
    for why, names in refused.items():
        yield f"| {_names(names)} | refused | {why} |"


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{n}`" for n in names)
