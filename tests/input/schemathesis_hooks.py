"""What schemathesis cannot know from the document: which things there are, and what a shop would sensibly say together.

Loaded by the command line tool (SCHEMATHESIS_HOOKS).  Only cases that fit the schema are touched, so that they reach the code behind
the parameters; cases that are wrong on purpose go out as they were made.  Every answer is noted, one line each, in TALLY.
"""

import itertools
import json
import os
import threading
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import schemathesis
from schemathesis.generation import GenerationMode

API, KEY, TALLY = os.environ["GUILDER_API"], os.environ["GUILDER_KEY"], Path(os.environ["GUILDER_TALLY"])
SEEDS = {kind: itertools.cycle(ids) for kind, ids in json.loads(os.environ["GUILDER_SEEDS"]).items()}
KEPT = frozenset(json.loads(os.environ["GUILDER_SEEDS"])["we"])
KINDS = {
    "intent": "pi", "payment_intent": "pi", "charge": "ch", "refund": "re", "customer": "cus", "payment_method": "pm",
    "session": "cs", "endpoint": "we", "event": "evt",
    "ledger_account": "la", "ledger_journal": "jl", "balance_transaction": "txn",
    "case": "case", "attachment": "cat",
}  # fmt: skip
LISTS = {
    "payment_intents": "pi", "charges": "ch", "refunds": "re", "customers": "cus", "payment_methods": "pm", "sessions": "cs",
    "webhook_endpoints": "we", "events": "evt", "deliveries": "evt", "line_items": "li", "accounts": "la", "journals": "jl", "lines": "line", "balance_transactions": "txn",
    "trail_entries": "tra",
    "cases": "case",
}  # fmt: skip
# Calls that use their thing up: each gets a new one.
FRESH: dict[str, tuple[str, str]] = {
    "confirm_payment_intent": ("intent", "payment_intents"), "cancel_payment_intent": ("intent", "payment_intents"),
    "update_payment_intent": ("intent", "payment_intents"), "delete_customer": ("customer", "customers"),
    "attach_payment_method": ("payment_method", "payment_methods"), "detach_payment_method": ("payment_method", "payment_methods"),
    "expire_checkout_session": ("session", "checkout/sessions"), "delete_webhook_endpoint": ("endpoint", "webhook_endpoints"),
}  # fmt: skip
HOOK = "http://127.0.0.1:9/"
BODIES: dict[str, dict[str, Any]] = {
    "payment_intents": {"amount": 100, "currency": "cny"},
    "customers": {},
    "payment_methods": {"type": "wechat_pay"},
    "webhook_endpoints": {"url": HOOK, "enabled_events": ["refund.failed"]},
    "checkout/sessions": {
        "mode": "payment",
        "success_url": "https://shop.example/",
        "line_items": [{"price_data": {"currency": "cny", "unit_amount": 5, "product_data": {"name": "x"}}}],
    },
}
_lock = threading.Lock()


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """A form cannot say "empty list": what was to be wrong with it would not be sent at all."""
    form = isinstance(case.body, dict) and case.media_type == "application/x-www-form-urlencoded"
    return not form or not any(value in ([], {}) for value in case.body.values())


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Give a case that fits the schema things that exist."""
    if not _fits(case):
        return
    operation = case.operation.definition.raw["operationId"]
    for name in case.path_parameters.keys() & KINDS.keys():  # others are people's: a key is refused
        case.path_parameters[name] = _one(KINDS[name])
    if operation == "create_webhook_endpoint":
        _forget_endpoints()
    if operation in FRESH:
        name, path = FRESH[operation]
        thing = _make(path)
        if operation == "detach_payment_method":
            _post(f"payment_methods/{thing}/attach", {"customer": _make("customers")})
        case.path_parameters[name] = thing
    if case.query:
        _sensible(operation, case.query, case.path)
    if isinstance(case.body, dict):
        _sensible(operation, case.body, case.path)


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Note what came of it."""
    operation = case.operation.definition.raw["operationId"]
    code = ""
    if response.status_code >= 400:
        code = json.loads(response.content).get("error", {}).get("code", "")
    with _lock, TALLY.open("a") as tally:
        tally.write(f"{'fits' if _fits(case) else 'wrong'} {response.status_code} {operation} {code}\n")


def _fits(case: Any) -> bool:
    return case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE


def _sensible(operation: str, params: dict[str, Any], path: str) -> None:
    """Replace what only a shop could know, and drop one of two things that exclude each other."""
    for name in list(params):
        bare = name.removesuffix("]").rpartition("[")[2]
        if bare == "currency":
            params[name] = "cny"
        elif bare == "client_secret":
            del params[name]
        elif bare in ("starting_after", "ending_before"):
            kind = LISTS.get(path.rpartition("/")[2])  # None: a list for people
            params[name] = next(SEEDS[kind]) if kind in SEEDS else "li_1"
        elif bare in KINDS and isinstance(params[name], str):
            params[name] = "pm_wechat_pay" if bare == "payment_method" else _one(KINDS[bare])
        elif bare in ("debit", "credit", "account"):
            params[name] = "x:b" if bare == "credit" else "x:a"
        elif bare == "source":
            params[name] = next(SEEDS["ch"])
        elif bare == "url":
            params[name] = HOOK
        elif bare == "capture_method":
            params[name] = "automatic"
        elif bare in ("expires_at", "until"):
            params[name] = int(time.time()) + 3600
        elif bare == "resolver":
            params[name] = "dismiss"
        elif bare == "data" and "attachments" in path:
            params[name] = "YQ=="
        elif isinstance(params[name], dict):
            _sensible("", params[name], path)
        elif isinstance(params[name], list):
            for part in params[name]:
                if isinstance(part, dict):
                    _sensible("", part, path)
    for keep, *others in EXCLUDE.get(operation, ()):
        if any(_named(params, keep)):
            for other in others:
                for name in _named(params, other):
                    del params[name]
    if operation == "create_payment_intent":
        for name in _named(params, "return_url"):
            del params[name]
        params["payment_method"] = "pm_wechat_pay"
    if operation == "create_refund":
        for name in _named(params, "charge"):
            del params[name]
        params["payment_intent"], params["amount"] = next(SEEDS["paid"]), 1
    if operation == "redeliver_webhooks" and not any(_named(params, "event")):
        params["event"] = next(SEEDS["evt"])


EXCLUDE = {
    "create_payment_intent": [
        (
            "amount",
            "payment_method_data",
            "payment_method_types",
            "allowed_payment_method_types",
            "payment_method_options",
        )
    ],
    "update_payment_intent": [
        ("payment_method", "payment_method_data"),
        ("allowed_payment_method_types", "payment_method_types"),
    ],
    "confirm_payment_intent": [("payment_method", "payment_method_data")],
    "create_checkout_session": [("customer", "customer_email")],
    "redeliver_webhooks": [("event", "created")],
    "list_events": [("type", "types"), ("types[]", "type")],
}


def _named(params: dict[str, Any], name: str) -> list[str]:
    """The parameters of that name, and those in it: `a`, `a[]`, `a[b][c]`."""
    return [p for p in params if p == name or p.startswith(name + "[")]


def _one(kind: str) -> str:
    """A thing of this kind; customers are deleted along the way, so it is a new one each time."""
    return _make("customers") if kind == "cus" else next(SEEDS[kind])


def _make(path: str) -> str:
    if path == "webhook_endpoints":
        _forget_endpoints()
    return _post(path, BODIES[path])["id"]


def _forget_endpoints() -> None:
    """A merchant has sixteen at most; those of the seeds stay."""
    with _lock:
        listed = _call("GET", "webhook_endpoints?limit=100")["data"]
        for extra in [e["id"] for e in listed if e["id"] not in KEPT][:-6]:
            _call("DELETE", f"webhook_endpoints/{extra}")


def _post(path: str, body: dict[str, Any]) -> Any:
    return _call("POST", path, json.dumps(body).encode())


def _call(method: str, path: str, body: bytes | None = None) -> Any:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    with urlopen(Request(f"{API}/v1/{path}", body, headers, method=method), timeout=30) as answer:
        return json.load(answer)
