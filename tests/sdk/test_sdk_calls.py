"""Every call of the dialect through the official SDKs of Python and Node, and the tables that say so.

GUILDER_UPDATE_DOCS=1 pytest tests/sdk/test_sdk_calls.py    # writes docs/reference/dialect_*.md anew
"""

import json
import os
import shutil
import subprocess
import traceback
from collections.abc import Callable

import pytest
from sdk_behaviours import BEHAVIOURS
from sdk_calls_out import CALLS
from sdk_tables import FOR_KEYS, ROOT, ROUTES, dialect, held
from sdk_talk import Talk

from guilder.cashier import api_terminals
from guilder.merchants import api_stores
from guilder.people import api as people
from guilder.trades import api as trades
from guilder.trades import api_timeline

NODE = ROOT / "tests" / "sdk_node"
# Ours beside Stripe's: no SDK has a call for them.
OWN = {
    "POST /v1/webhook_endpoints/{endpoint}/roll_secret", "POST /v1/webhook_endpoints/{endpoint}/redeliver",
    "GET /v1/webhook_endpoints/{endpoint}/deliveries", "POST /v1/ledger/accounts", "GET /v1/ledger/accounts",
    "GET /v1/ledger/accounts/{ledger_account}", "GET /v1/ledger/accounts/{ledger_account}/lines", "POST /v1/ledger/journals",
    "GET /v1/ledger/journals", "GET /v1/ledger/journals/{ledger_journal}",
    "GET /v1/trail_entries",
    "GET /v1/cases", "GET /v1/cases/{case}", "POST /v1/cases/{case}", "POST /v1/cases/{case}/comments",
    "POST /v1/cases/{case}/attachments", "GET /v1/cases/{case}/attachments/{attachment}", "POST /v1/cases/{case}/wait",
    "POST /v1/cases/{case}/resolve",
    "POST /v1/customers/{customer}/erase", "GET /v1/customers/{customer}/export",
    "GET /v1/channels",
    "GET /v1/payment_intents/{intent}/routing", "POST /v1/refunds/{refund}/rescue",
}  # fmt: skip
OWN |= {f"{r.method} {r.path}" for r in (*people.ROUTES, *trades.ROUTES, *api_timeline.ROUTES)}
OWN |= {f"{r.method} {r.path}" for r in (*api_stores.ROUTES, *api_terminals.ROUTES)}


def python_report(talk: Talk) -> dict[str, str]:
    """Hold every conversation: its name -> 'ok', or what went wrong."""
    report = {}
    conversations: dict[str, Callable[[Talk], None]] = {name: c for name, (_, c) in CALLS.items()} | BEHAVIOURS
    for name, conversation in conversations.items():
        try:
            conversation(talk)
        except Exception:
            report[name] = traceback.format_exc(limit=-3)
        else:
            report[name] = "ok"
    return report


def node_report(talk: Talk) -> dict[str, dict[str, str]]:
    """The same in Node: name -> {call, result}."""
    host, _, port = talk.shop.stack.api.removeprefix("http://").rpartition(":")
    task = {
        "host": host, "port": int(port), "key": talk.shop.key, "cashier": talk.shop.stack.cashier, "reader": talk.keys.reader,
        "publishable": talk.keys.publishable, "declined": talk.keys.declined,
    }  # fmt: skip
    node = shutil.which("node")
    if node is None or not (NODE / "node_modules").is_dir():
        if os.environ.get("CI"):
            pytest.fail("Node or tests/sdk_node/node_modules is missing; `npm ci` in tests/sdk_node makes the latter")
        pytest.skip("needs Node, and `npm ci` in tests/sdk_node")
    done = subprocess.run(
        [node, "conversations.mjs"],
        cwd=NODE,
        env={**os.environ, "GUILDER": json.dumps(task)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {row["name"]: row for row in json.loads(done.stdout)}


def test_no_route_is_without_a_conversation() -> None:
    assert {route for route, _ in CALLS.values()} == set(FOR_KEYS) - OWN


def test_every_call_behaves_in_python_and_node(talk: Talk) -> None:
    python, node = python_report(talk), node_report(talk)

    wrong = {f"python {n}": r for n, r in python.items() if r != "ok"}
    wrong |= {f"node {n}": r["result"] for n, r in node.items() if r["result"] != "ok"}
    assert not wrong, "\n\n".join(f"{name}\n{result}" for name, result in wrong.items())
    assert python.keys() == node.keys()

    calls = [
        (route, name, python[name], node[name]["call"], node[name]["result"], (shows.__doc__ or "").strip())
        for name, (route, shows) in CALLS.items()
    ]
    held("dialect_calls.md", dialect.calls_page(calls, [(b, python[b], node[b]["result"]) for b in BEHAVIOURS]))

    seen = dialect.Seen()
    for said in talk.http.said:
        if said.status == 200:
            seen.look(json.loads(said.body))
    routes = {name: ROUTES[route] for name, (route, _) in CALLS.items()}
    holes = dialect.holes(routes, seen)
    assert not holes, "\n".join(holes)
    held("dialect_parameters.md", dialect.parameters_page(routes, seen))
