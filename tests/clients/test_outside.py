"""A channel of another package, as anybody would add one: both wheels in a new environment, nothing of this folder in reach.

`guilder channel check` holds it; then real payments through `guilder up`, where money comes as it does to bank accounts.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import stripe
from test_clients import ROOT, environment, find_uv

from guilder.platform import embedded

EXAMPLE = ROOT / "examples" / "bank_transfer"
MOST_LINES = 300
pytestmark = pytest.mark.slow


@dataclass
class Outside:
    """An environment with Guilder and the channel, and where its commands run."""

    python: Path
    folder: Path

    def environ(self, **ours: str) -> dict[str, str]:
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("GUILDER_", "PYTHON", "VIRTUAL_ENV"))}
        return plain | ours

    def guilder(self, *words: str, **ours: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python.with_name("guilder"), *words], cwd=self.folder, env=self.environ(**ours), capture_output=True, text=True, check=False,
            timeout=250, stdin=subprocess.DEVNULL,
        )  # fmt: skip


def ran(*argv: object, cwd: Path) -> None:
    done = subprocess.run([str(a) for a in argv], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Outside:
    """Both wheels, built and installed; their dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("outside")
    builder, uv = environment("hatchling"), find_uv()
    assert uv is not None
    wheels = folder / "wheels"
    for project in (ROOT, EXAMPLE):
        ran(builder, "-m", "hatchling", "build", "-t", "wheel", "-d", wheels, cwd=project)
    python = folder / "venv" / "bin" / "python"
    ran(uv, "venv", "-q", "--python", sys.executable, folder / "venv", cwd=folder)
    ran(uv, "pip", "install", "-q", "--no-deps", "--python", python, *wheels.glob("*.whl"), cwd=folder)
    [site] = (folder / "venv" / "lib").glob("python*/site-packages")
    here = next(p for p in sys.path if p.endswith("site-packages"))
    (site / "dependencies.pth").write_text(f"{here}\n")  # read as a folder: what its own .pth files say is not
    return Outside(python, folder)


def test_it_comes_from_the_wheels(outside: Outside) -> None:
    where = "import guilder, bank_transfer; print(guilder.__file__, bank_transfer.__file__)"
    done = subprocess.run(
        [outside.python, "-c", where], env=outside.environ(), capture_output=True, text=True, check=True
    )
    assert all(str(outside.folder) in file for file in done.stdout.split())


def test_the_channel_is_small() -> None:
    """Code that runs; what explains it is not counted."""
    count = 0
    for file in sorted((EXAMPLE / "bank_transfer").glob("*.py")):
        count += sum(1 for _ in code_lines(file.read_text("utf-8")))
    assert count <= MOST_LINES


def code_lines(text: str) -> Iterator[str]:
    quoted = False
    for line in text.splitlines():
        bare = line.strip()
        if bare.startswith('"""') or (quoted and bare.endswith('"""')):
            quoted = not quoted and not (bare.endswith('"""') and len(bare) > 3)
        elif bare and not bare.startswith("#") and not quoted:
            yield line


def test_the_channel_holds(outside: Outside) -> None:
    done = outside.guilder("channel", "check", "bank_transfer", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    [case] = json.loads(done.stdout)
    verdicts = {(r["operation"], r["behaviour"]): r["verdict"] for r in case["results"]}
    assert case["failures"] == [] and verdicts["refund", "fault"] == "holds"
    assert verdicts["cancel", "normal"] == verdicts["payout", "normal"] == "not declared"


def test_it_is_listed_with_its_form(outside: Outside) -> None:
    assert "bank_transfer" in outside.guilder("channel", "list").stdout
    form = json.loads(outside.guilder("channel", "show", "bank_transfer", "--json").stdout)
    assert (
        form["config"]["properties"]["secret"]["writeOnly"]
        and not form["config"]["properties"]["customer"]["writeOnly"]
    )
    assert form["config"]["required"] == ["base_url", "customer", "secret"]


@dataclass
class Shop:
    """A running installation, its demo merchant with a contract with the fake bank, and that bank."""

    outside: Outside
    state: Path
    client: stripe.StripeClient
    simulators: str
    customer: str

    def post(self, path: str, **body: Any) -> Any:
        request = urllib.request.Request(
            self.simulators + path, json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def asked(self, amount: int) -> tuple[Any, dict[str, Any]]:
        """A payment, and what its payer is shown."""
        intent = self.client.v1.payment_intents.create(
            {
                "amount": amount, "currency": "cny", "confirm": True, "payment_method_types": ["bank_transfer"],  # type: ignore[list-item]
                "payment_method_data": {"type": "bank_transfer"},  # type: ignore[typeddict-item]
            }
        )  # fmt: skip
        assert intent.status == "requires_action"
        action: Any = intent.next_action
        return intent, action["display_bank_transfer_instructions"]

    def comes(self, shown: dict[str, Any], amount: int) -> None:
        self.post("/bank/credits", account_number=shown["account_number"], amount=amount)

    def until(self, intent: Any, status: str) -> Any:
        deadline = time.monotonic() + 40
        while (seen := self.client.v1.payment_intents.retrieve(intent.id)).status != status:
            assert time.monotonic() < deadline, f"{seen.status}, not {status}"
            time.sleep(0.1)
        return seen

    def order(self, shown: dict[str, Any]) -> dict[str, Any]:
        """The bank's own book."""
        with urllib.request.urlopen(f"{self.simulators}/sim/book?account={self.customer}", timeout=30) as answer:
            return next(t for t in json.load(answer)["trades"] if t["token"] == shown["account_number"])

    def cases(self) -> str:
        return self.guilder("cases", "list").stdout

    def guilder(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.outside.guilder(*words, GUILDER_STATE=str(self.state), GUILDER_ENVIRONMENTS="test")


@pytest.fixture(scope="module")
def shop(outside: Outside, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """`guilder up`, as an operator starts it; then the contract, as he adds it."""
    state = tmp_path_factory.mktemp("up") / "state"
    ports = {f"GUILDER_{name}_PORT": "0" for name in ("API", "CASHIER", "SIMULATORS", "METRICS")}
    environ = outside.environ(GUILDER_STATE=str(state), GUILDER_ENVIRONMENTS="test", **ports)
    process = subprocess.Popen(
        [outside.python.with_name("guilder"), "up"], env=environ, stdin=subprocess.DEVNULL, cwd=outside.folder
    )
    try:
        deadline = time.monotonic() + 120
        while not (state / "up.json").exists():
            assert process.poll() is None and time.monotonic() < deadline, "it did not start"
            time.sleep(0.1)
        at = json.loads((state / "up.json").read_text())
        client = stripe.StripeClient(at["demo"]["secret_key"], base_addresses={"api": at["api"]})
        shop = Shop(outside, state, client, at["simulators"], "")
        opened = shop.post("/sim/accounts", channel="bank_transfer")
        shop.customer = opened["id"]
        (outside.folder / "bank.json").write_text(json.dumps(opened["config"]))
        done = shop.guilder("channels", "add", at["demo"]["merchant"], "bank_transfer", "bank.json")
        assert done.stdout.startswith("ca_"), done.stdout + done.stderr
        yield shop
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(40)
        embedded.destroy(state)


def test_what_was_due_arrives_and_half_goes_back(shop: Shop) -> None:
    intent, shown = shop.asked(1250)
    assert shown["amount_due"] == "12.50"
    shop.comes(shown, 1250)
    assert shop.until(intent, "succeeded").amount_received == 1250
    refund = shop.client.v1.refunds.create({"payment_intent": intent.id, "amount": 625})
    deadline = time.monotonic() + 40
    while shop.client.v1.refunds.retrieve(refund.id).status != "succeeded":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert [r["amount"] for r in shop.order(shown)["refunds"]] == [625]


def test_it_comes_in_two_parts(shop: Shop) -> None:
    intent, shown = shop.asked(2000)
    shop.comes(shown, 1500)
    time.sleep(1)
    assert shop.client.v1.payment_intents.retrieve(intent.id).status == "requires_action", "the rest is waited for"
    shop.comes(shown, 500)
    assert shop.until(intent, "succeeded").amount_received == 2000


def test_more_comes_than_was_due(shop: Shop) -> None:
    """It is not taken for a payment of what was due: a person decides, and nobody pays again meanwhile."""
    intent, shown = shop.asked(3000)
    shop.comes(shown, 3100)
    shop.until(intent, "processing")
    assert "31.00" in shop.cases() or "3100" in shop.cases(), shop.cases()


def test_it_comes_twice(shop: Shop) -> None:
    """The payment stays paid, once; the second transfer is a case."""
    intent, shown = shop.asked(4000)
    shop.comes(shown, 4000)
    shop.until(intent, "succeeded")
    shop.comes(shown, 4000)
    time.sleep(2)
    assert shop.client.v1.payment_intents.retrieve(intent.id).amount_received == 4000
    assert "80.00" in shop.cases() or "8000" in shop.cases(), shop.cases()


def test_it_comes_late(shop: Shop) -> None:
    """The payment was canceled; what comes then goes back, all of it."""
    intent, shown = shop.asked(5000)
    shop.client.v1.payment_intents.cancel(intent.id)
    shop.until(intent, "canceled")
    shop.comes(shown, 5000)
    deadline = time.monotonic() + 40
    while [r["state"] for r in shop.order(shown)["refunds"]] != ["SUCCESS"]:
        assert time.monotonic() < deadline, shop.order(shown)
        time.sleep(0.2)
    assert shop.client.v1.payment_intents.retrieve(intent.id).status == "canceled"


def test_it_ends_short(shop: Shop) -> None:
    """Canceled with a part arrived: the bank says so, and it is a case."""
    intent, shown = shop.asked(6000)
    shop.comes(shown, 5900)
    shop.client.v1.payment_intents.cancel(intent.id)
    deadline = time.monotonic() + 40
    while "59.00" not in (seen := shop.cases()):
        assert time.monotonic() < deadline, seen + str(shop.client.v1.payment_intents.retrieve(intent.id))
        time.sleep(0.5)


def test_what_comes_without_a_number_is_in_the_days_file(shop: Shop) -> None:
    shop.post("/bank/credits", account_number=shop.customer, amount=777, text="for something")
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 8 * 3600))
    shop.post(f"/sim/accounts/{shop.customer}/close-day", day=day)
    words = ["reconcile", "--channel", "bank_transfer", "--day", day]
    done = shop.guilder(*words)
    assert done.returncode == 1 and "7.77" in done.stdout
