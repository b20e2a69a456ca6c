"""The OpenAPI document and the reference page, and schemathesis, which holds the server to its document."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from trial_shop import KEY, Running


@pytest.fixture(scope="module")
def document(running: Running) -> Any:
    with urlopen(running.url + "/openapi.json") as answer:
        return json.load(answer)


def test_forms_are_described_by_their_names_on_the_wire(document: Any) -> None:
    form = document["components"]["schemas"]["CreatePaymentIntentForm"]

    assert set(form["properties"]) >= {
        "amount",
        "line_items[0][price_data][currency]",
        "payment_method_types[]",
        "expand[]",
    }
    assert form["required"] == ["amount", "currency"]
    assert form["additionalProperties"] is False
    assert form["dependentRequired"]["line_items[0][quantity]"] == [
        "line_items[0][price_data][currency]",
        "line_items[0][price_data][unit_amount]",
    ]
    [metadata] = form["patternProperties"]
    assert re.search(metadata, "metadata[2024]")


def test_every_operation_tells_its_scope_errors_and_expansions(document: Any) -> None:
    create = document["paths"]["/v1/payment_intents"]["post"]
    fetch = document["paths"]["/v1/payment_intents/{intent}"]["get"]

    assert create["operationId"] == "create_payment_intent"
    assert create["x-scope"] == "payments:write"
    assert {"400", "401", "402", "403", "404", "409", "413", "415", "429", "500", "503"} <= set(create["responses"])
    assert {name: p["in"] for p in fetch["parameters"] if (name := p["name"])} == {
        "intent": "path",
        "expand[]": "query",
    }
    pattern = fetch["parameters"][1]["schema"]["items"]["pattern"]
    assert re.search(pattern, "latest_charge.customer")
    assert not re.search(pattern, "amount")
    charge = document["components"]["schemas"]["PaymentIntent"]["properties"]["latest_charge"]
    assert {"$ref": "#/components/schemas/Charge"} in charge["anyOf"]


def test_every_reference_leads_somewhere(document: Any) -> None:
    for ref in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)):
        node = document
        for part in ref.split("/"):
            node = node[part]


class Anchors(HTMLParser):
    """The ids of a page and the links to them."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert "style" not in given
        assert tag not in ("script", "link", "img")
        if id := given.get("id"):
            self.ids.append(id)
        if (href := given.get("href")) and href.startswith("#"):
            self.links.append(href[1:])


def test_the_reference_page_is_whole_without_scripts(running: Running, document: Any) -> None:
    with urlopen(running.url + "/reference") as answer:
        html = answer.read().decode()
        policy = answer.headers["Content-Security-Policy"]
    page = Anchors()
    page.feed(html)

    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert len(set(page.ids)) == len(page.ids)
    assert set(page.links) <= set(page.ids)
    operations = {o["operationId"] for methods in document["paths"].values() for o in methods.values()}
    assert operations <= set(page.ids)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_schemathesis_finds_nothing_with_every_check(running: Running, tmp_path: Path, seed: int) -> None:
    for amount in range(3):
        running.shelf.put(amount)
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", running.url + "/openapi.json", "--checks", "all",
        "--header", f"Authorization: Bearer {KEY}", "--max-examples", "20", "--seed", str(seed), "--continue-on-failure",
    ]  # fmt: skip
    done = subprocess.run(
        command,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )

    assert done.returncode == 0, done.stdout[-6000:]
    [cases] = re.findall(r"(\d+) generated, \1 passed", done.stdout)
    assert int(cases) >= 300
